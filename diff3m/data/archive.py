"""ZIP archives of films from an unknown sender, read without writing anything; harmful ones are refused.

Names are read as Windows, macOS and Linux write them. Files that these systems add to a ZIP are left out.
"""

from __future__ import annotations

import lzma
import re
import stat
import struct
import unicodedata
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path, PurePosixPath

from ..imaging.radiograph import MAX_BYTES as MAX_FILE_BYTES
from .paths import Match, NameIndex, clean_name, is_junk

MAX_FILES = 5_000
MAX_BYTES = 4 * 2**30  # unpacked, all files together
MAX_RATIO = 200  # unpacked over packed, of one file of more than a megabyte
NESTED = (".zip", ".gz", ".tgz", ".tar", ".7z", ".rar", ".xz", ".bz2")
SPECIAL = (stat.S_IFLNK, stat.S_IFCHR, stat.S_IFBLK, stat.S_IFIFO, stat.S_IFSOCK)
# a backslash that may be the second byte of a Japanese or Chinese letter rather than a separator of folders
TRAIL_BYTE = re.compile(r"(?<=[^\x00-\x7f])\\")
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)
ENCRYPTED, UTF8_FLAG = 0x1, 0x800
DOS_DIRECTORY, UNICODE_PATH = 0x10, 0x7075  # an external attribute; the extra field of Info-ZIP, WinZip and 7-Zip
# encodings of names without the flag for UTF-8, as DOS, Windows and old macOS write them in several languages
OTHER_ENCODINGS = (
    "cp850", "cp1252", "mac_roman", "cp932", "gb18030", "cp949", "big5", "euc_jp", "cp866", "cp1251", "cp852", "cp1250",
    "cp737", "cp1253", "cp857", "cp1254", "cp862", "cp1255", "cp864", "cp1256", "cp874",
)  # fmt: skip


class ArchiveError(ValueError):
    """A ZIP that cannot be used; the message says why and what to do."""


class Archive:
    """The files of a ZIP that was checked when it was opened, read one at a time into memory.

    path: of the ZIP. Raises ArchiveError for a file that is no ZIP, is damaged, or looks harmful.
    """

    def __init__(self, path: str | Path) -> None:
        try:
            self._zip = zipfile.ZipFile(path)
            entries = [entry for entry in self._zip.infolist() if not _is_folder(entry)]
        except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
            raise ArchiveError(
                "This file is no ZIP archive, or it is damaged. Pack the films again as a plain ZIP."
            ) from None
        _check_count(entries)
        films = [(_decode_name(entry), entry) for entry in entries if not is_junk(TRAIL_BYTE.sub("_", entry.filename))]
        _check_entries(films)
        self._entries = dict(films)
        self._index = NameIndex(self._entries, _decode_spellings(films))

    @property
    def names(self) -> list[str]:
        """Names of all files, with forward slashes, without those that operating systems add."""
        return list(self._entries)

    def match(self, name: str) -> Match | None:
        """Find the file that a manifest calls `name`, with a note where case was ignored; see `NameIndex.find`."""
        return self._index.find(name)

    def find(self, name: str) -> str | None:
        """Return the name in the ZIP of the file that a manifest calls `name`; None where there is none."""
        match = self.match(name)
        return match.name if match else None

    def read(self, name: str) -> bytes:
        """Return a file's bytes. Raises ArchiveError if it is damaged or holds more than it declares."""
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
        """Close the file."""
        self._zip.close()


def _is_folder(entry: zipfile.ZipInfo) -> bool:
    is_marked = stat.S_ISDIR(entry.external_attr >> 16) or bool(entry.external_attr & DOS_DIRECTORY)
    return entry.filename.endswith(("/", "\\")) or (is_marked and not entry.file_size)


def _decode_name(entry: zipfile.ZipInfo) -> str:
    """Return an entry's name with forward slashes.

    Without the flag for UTF-8 `zipfile` decodes names as CP437, but macOS writes UTF-8 all the same, and other programs
    add the name in UTF-8 as an extra field.
    """
    name = entry.filename
    if not entry.flag_bits & UTF8_FLAG:
        with suppress(UnicodeError):
            name = _read_unicode_path(entry) or name.encode("cp437").decode("utf-8")
    return name.replace("\\", "/")


def _read_unicode_path(entry: zipfile.ZipInfo) -> str:
    """Return the name in the Unicode Path extra field; "" where there is none, or it is of another name.

    Source: APPNOTE.TXT 4.6.9.
    """
    position = 0
    while position + 4 <= len(entry.extra):
        kind, length = struct.unpack_from("<HH", entry.extra, position)
        content = entry.extra[position + 4 : position + 4 + length]
        if kind == UNICODE_PATH and content[1:5] == struct.pack("<I", zlib.crc32(entry.orig_filename.encode("cp437"))):
            return content[5:].decode("utf-8").partition("\0")[0]
        position += 4 + length
    return ""


def _decode_spellings(films: list[tuple[str, zipfile.ZipInfo]]) -> Iterator[tuple[str, str]]:
    """Yield (spelling, name) for each encoding in which a name may be written where the ZIP does not say which."""
    for name, entry in films:
        if not entry.flag_bits & UTF8_FLAG and not entry.filename.isascii():
            for encoding in OTHER_ENCODINGS:
                with suppress(UnicodeError):
                    yield entry.filename.encode("cp437").decode(encoding), name


def _check_count(entries: list[zipfile.ZipInfo]) -> None:
    """Raise ArchiveError for too many files."""
    if len(entries) > MAX_FILES:
        raise ArchiveError(f"The ZIP holds {len(entries):,} files; at most {MAX_FILES:,} are read. Split it.")


def _check_entries(films: list[tuple[str, zipfile.ZipInfo]]) -> None:
    """Raise ArchiveError for names, kinds, encryption or sizes that no ZIP of films has."""
    if not films:
        raise ArchiveError("The ZIP is empty. Put the films into it.")
    if len({PurePosixPath(unicodedata.normalize("NFC", clean_name(name))) for name, _ in films}) < len(films):
        raise ArchiveError("The ZIP holds two files of the same name. Pack the films again.")
    if sum(entry.file_size for _, entry in films) > MAX_BYTES:
        raise ArchiveError(f"The ZIP unpacks to more than {MAX_BYTES // 2**30} GB. Split it.")
    for name, entry in films:
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts or (len(name) > 1 and name[1] == ":"):
            raise ArchiveError("The ZIP holds a file whose path leads out of it. Pack plain files only.")
        if stat.S_IFMT(entry.external_attr >> 16) in SPECIAL:
            raise ArchiveError("The ZIP holds a link or a device instead of a file. Pack plain files only.")
        if path.suffix.lower() in NESTED:
            raise ArchiveError("The ZIP holds another archive. Unpack that first and pack the films themselves.")
        if entry.flag_bits & ENCRYPTED:
            raise ArchiveError("The ZIP is locked with a password. Pack it without one.")
        if entry.compress_type not in METHODS:
            raise ArchiveError(
                "The ZIP is packed in a way that is not read (Deflate64, perhaps). Pack it as a plain ZIP."
            )
        if entry.file_size > MAX_FILE_BYTES:
            raise ArchiveError(f"The ZIP holds a file of more than {MAX_FILE_BYTES // 2**20} MB. Leave it out.")
        if entry.file_size > 2**20 and entry.file_size > MAX_RATIO * max(1, entry.compress_size):
            raise ArchiveError("The ZIP holds a file that unpacks to far more than any film does. Leave it out.")
