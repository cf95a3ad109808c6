"""A ZIP of films from a stranger: opened without writing anything, and refused with a sentence where it means harm."""

from __future__ import annotations

import lzma
import stat
import zipfile
import zlib
from pathlib import Path, PurePosixPath

MAX_FILES = 5_000
MAX_BYTES = 4 * 2**30  # unpacked, all files together
MAX_FILE_BYTES = 256 * 2**20
MAX_RATIO = 200  # unpacked over packed, of one file of more than a megabyte
NESTED = (".zip", ".gz", ".tgz", ".tar", ".7z", ".rar", ".xz", ".bz2")
SPECIAL = (stat.S_IFLNK, stat.S_IFCHR, stat.S_IFBLK, stat.S_IFIFO, stat.S_IFSOCK)
ENCRYPTED = 0x1


class ArchiveError(ValueError):
    """A ZIP that cannot be used; the message says why and what to do."""


class Archive:
    """The files of a checked ZIP, read one at a time into memory. Raises ArchiveError."""

    def __init__(self, path: str | Path) -> None:
        try:
            self._zip = zipfile.ZipFile(path)
            entries = [entry for entry in self._zip.infolist() if not entry.is_dir()]
        except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
            raise ArchiveError(
                "This file is no ZIP archive, or it is damaged. Pack the films again as a plain ZIP."
            ) from None
        _check(entries)
        self._entries = {entry.filename: entry for entry in entries}
        self._by_name: dict[str, list[str]] = {}
        for name in self._entries:
            self._by_name.setdefault(PurePosixPath(name).name, []).append(name)

    @property
    def names(self) -> list[str]:
        """Names of all files."""
        return list(self._entries)

    def find(self, name: str) -> str | None:
        """The file that a manifest calls `name`: that very path, or the only file of that base name."""
        plain = str(PurePosixPath(name.replace("\\", "/")))
        if plain in self._entries:
            return plain
        same = self._by_name.get(PurePosixPath(plain).name, [])
        return same[0] if len(same) == 1 else None

    def read(self, name: str) -> bytes:
        """A file's bytes. Raises ArchiveError if it is damaged or holds more than it declares."""
        entry = self._entries[name]
        try:
            with self._zip.open(entry) as file:
                data = file.read(entry.file_size + 1)
        except (
            zipfile.BadZipFile,
            zlib.error,
            lzma.LZMAError,
            EOFError,
            OSError,
            ValueError,
            NotImplementedError,
            RuntimeError,
        ):
            raise ArchiveError("This file of the ZIP is damaged. Pack the films again.") from None
        if len(data) > entry.file_size:
            raise ArchiveError("This file of the ZIP is larger than the ZIP declares. Pack the films again.")
        return data

    def close(self) -> None:
        self._zip.close()


def _check(entries: list[zipfile.ZipInfo]) -> None:
    if not entries:
        raise ArchiveError("The ZIP is empty. Put the films into it.")
    if len(entries) > MAX_FILES:
        raise ArchiveError(f"The ZIP holds {len(entries):,} files; at most {MAX_FILES:,} are taken. Split it.")
    if sum(entry.file_size for entry in entries) > MAX_BYTES:
        raise ArchiveError(f"The ZIP unpacks to more than {MAX_BYTES // 2**30} GB. Split it.")
    for entry in entries:
        path = PurePosixPath(entry.filename.replace("\\", "/"))
        if path.is_absolute() or ".." in path.parts or (len(entry.filename) > 1 and entry.filename[1] == ":"):
            raise ArchiveError("The ZIP holds a file whose path leads out of it. Pack plain files only.")
        if stat.S_IFMT(entry.external_attr >> 16) in SPECIAL:
            raise ArchiveError("The ZIP holds a link or a device instead of a file. Pack plain files only.")
        if path.suffix.lower() in NESTED:
            raise ArchiveError("The ZIP holds another archive. Unpack that first and pack the films themselves.")
        if entry.flag_bits & ENCRYPTED:
            raise ArchiveError("The ZIP is locked with a password. Pack it without one.")
        if entry.file_size > MAX_FILE_BYTES:
            raise ArchiveError(f"The ZIP holds a file of more than {MAX_FILE_BYTES // 2**20} MB. Leave it out.")
        if entry.file_size > 2**20 and entry.file_size > MAX_RATIO * max(1, entry.compress_size):
            raise ArchiveError("The ZIP holds a file that unpacks to far more than any film does. Leave it out.")
