"""Finding the files that a table names, whatever system the table was written on.

Windows writes backslashes, macOS decomposes accents (NFD), web tools write %20 for a blank, and some file systems
ignore case.
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath
from urllib.parse import unquote

OTHER_CASE = "The file {file} is taken for {name}: they differ in upper and lower case alone."
FOREIGN = "The path {name} is of another machine. Write it relative to the folder of the table."
DRIVE = re.compile(r"[A-Za-z]:[\\/]")
MAX_QUOTED = 80  # characters of a path in a note
# files that are no films, beside those whose names begin with a dot
JUNK_NAMES = frozenset(
    {"thumbs.db", "ehthumbs.db", "ehthumbs_vista.db", "desktop.ini", "icon\r", "picasa.ini", "zbthumbnail.info",
     "dicomdir", "autorun.inf"}
)  # fmt: skip
JUNK_FOLDERS = frozenset(
    {"__macosx", "$recycle.bin", "recycler", "system volume information", "@eadir", "#recycle", "#snapshot",
     "lost+found", "network trash folder", "temporary items", "__pycache__"}
)  # fmt: skip
JUNK_STARTS = ("~$", "thumbs.db:", "desktop.ini:")


@dataclass(frozen=True)
class Match:
    """The file that a table refers to.

    name: as the folder or archive writes it. note: a sentence where the file was guessed, else "".
    """

    name: str
    note: str = ""


def clean_name(name: str) -> str:
    """Return a path of a table with forward slashes, without quotes and blanks around it, and without file:// or ./."""
    plain = name.strip().strip("\"'").strip().replace("\\", "/")
    if plain.lower().startswith("file://"):
        plain = unquote(re.sub(r"^file://(?:localhost)?", "", plain, flags=re.IGNORECASE))
        plain = plain[1:] if DRIVE.match(plain[1:]) else plain
    return re.sub(r"^(?:\./+)+", "", plain)


def is_junk(name: str) -> bool:
    """Tell whether a file is one that an operating system, a storage device or an office program adds, and no film."""
    parts = [part.casefold() for part in PurePosixPath(name.replace("\\", "/")).parts]
    is_hidden = any(part.startswith(".") and part.strip(".") for part in parts)
    return bool(parts) and (
        is_hidden
        or parts[-1] in JUNK_NAMES
        or parts[-1].startswith(JUNK_STARTS)
        or any(part in JUNK_FOLDERS for part in parts[:-1])
    )


def is_foreign(name: str) -> bool:
    """Tell whether a path is absolute on Windows or names a Windows server, while this machine does not run Windows."""
    return os.name != "nt" and (DRIVE.match(name.strip()) is not None or name.strip().startswith("\\\\"))


def list_spellings(name: str) -> Iterator[str]:
    """Yield the spellings of a path that a table may mean, the likeliest first, each once."""
    unique: set[str] = set()
    plain = clean_name(name)
    for text in (name, plain, clean_name(unquote(plain))):
        for form in (None, "NFC", "NFD"):
            spelling = unicodedata.normalize(form, text) if form else text
            if spelling not in unique:
                unique.add(spelling)
                yield spelling


def locate(folder: Path, name: str) -> tuple[Path, str]:
    """Return the path of the file that a table in `folder` means by `name`, and a note where it was guessed, else "".

    Case is ignored if no file has the name in the same case. Where there is no such file, return the path as the table
    writes it, with a note if it is one of another machine.
    """
    for spelling in list_spellings(name):
        path = folder / spelling
        if os.path.lexists(path):
            return path, ""
    plain = clean_name(name)
    if match := _find_ignoring_case(folder, plain):
        return match, OTHER_CASE.format(file=match.name[:MAX_QUOTED], name=PurePosixPath(plain).name[:MAX_QUOTED])
    foreign = (
        is_foreign(name) or is_foreign(plain) or (os.path.isabs(plain) and not os.path.isdir(os.path.dirname(plain)))
    )
    return folder / plain, FOREIGN.format(name=name.strip()[:MAX_QUOTED]) if foreign else ""


def _find_ignoring_case(folder: Path, name: str) -> Path | None:
    """Find the only file of a path, ignoring case and the form of accents; None for no or several such files."""
    path = Path("/") if name.startswith("/") else folder
    parts = [part for part in PurePosixPath(name).parts if part != "/"]
    for number, part in enumerate(parts):
        if part in (".", "..") or (number < len(parts) - 1 and (path / part).is_dir()):
            path = path / part
            continue
        names = _list_folder(str(path)).get(_normalize_case(part), ())
        if len(names) != 1:
            return None
        path = path / names[0]
    return path if parts else None


@lru_cache(maxsize=4096)
def _list_folder(folder: str) -> dict[str, tuple[str, ...]]:
    """Return a folder's file names by `_normalize_case`. Cached, because a table names many files of one folder."""
    names: dict[str, tuple[str, ...]] = {}
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                key = _normalize_case(entry.name)
                names[key] = (*names.get(key, ()), entry.name)
    except OSError:
        pass
    return names


def _normalize_case(name: str) -> str:
    """Return a name without regard to case and the form of accents."""
    return unicodedata.normalize("NFC", name).casefold()


class NameIndex:
    """An index of an archive's files, by which the names of a table are found.

    names: as the archive writes them. other_spellings: (spelling, name) for further spellings of names.
    """

    def __init__(self, names: Iterable[str], other_spellings: Iterable[tuple[str, str]] = ()) -> None:
        self._by_path: dict[str, str] = {}
        self._by_file: dict[str, list[str]] = {}
        for name in names:
            path = unicodedata.normalize("NFC", clean_name(name))
            self._by_path.setdefault(path, name)
            self._by_file.setdefault(_normalize_case(PurePosixPath(path).name), []).append(name)
        for spelling, name in other_spellings:
            self._by_path.setdefault(unicodedata.normalize("NFC", clean_name(spelling)), name)

    def find(self, name: str) -> Match | None:
        """Return the file of exactly this path, else the only one whose path has the same end; None for other names.

        Names are compared first in the same case, then in any.
        """
        for spelling in list_spellings(name):
            if match := self._by_path.get(str(PurePosixPath(unicodedata.normalize("NFC", spelling)))):
                return Match(match)
        plain = unicodedata.normalize("NFC", clean_name(name))
        parts = PurePosixPath(plain).parts
        if not parts:
            return None
        candidates = self._by_file.get(_normalize_case(unquote(parts[-1])), []) or self._by_file.get(
            _normalize_case(parts[-1]), []
        )
        same_case = [file for file in candidates if _split_path(file)[-1] in (parts[-1], unquote(parts[-1]))]
        best = _find_longest_tail(same_case or candidates, parts)
        if best is None:
            return None
        return Match(best, "" if same_case else OTHER_CASE.format(file=best[-MAX_QUOTED:], name=plain[-MAX_QUOTED:]))


def _split_path(name: str) -> tuple[str, ...]:
    """Return the folders and the file name of a path."""
    return PurePosixPath(unicodedata.normalize("NFC", clean_name(name))).parts


def _find_longest_tail(names: list[str], parts: tuple[str, ...]) -> str | None:
    """Return the one name that shares the most parts with the end of a path; None where several share as many."""

    def count_shared(name: str) -> int:
        tail = 0
        for own, other in zip(reversed(_split_path(name)), reversed(parts), strict=False):
            if own.casefold() != other.casefold():
                break
            tail += 1
        return tail

    lengths = [count_shared(name) for name in names]
    longest = max(lengths, default=0)
    return names[lengths.index(longest)] if names and lengths.count(longest) == 1 else None
