"""Reading tables as columns of text: CSV of any spreadsheet or language, gzipped or not, and Parquet.

Supported are UTF-8 and UTF-16 with and without a byte order mark, and Windows-1252; commas, semicolons, tabs and pipes;
a `sep=` line; decimal commas; cells such as ="063"; blank lines, and rows and columns of separators alone; lines that
are quoted as a whole.
"""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import re
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import IO, TypeVar

import pandas as pd

from .cells import Column, clean_chunk, clean_table, inspect_columns
from .parquet_table import read_parquet, stream_parquet

Result = TypeVar("Result")
PARQUET = (".parquet", ".pq")  # ends of the names of tables that are written as Parquet
SAMPLE_BYTES = 2**18
SAMPLE_LINES = 50
CHUNK_ROWS = 500_000  # rows that pandas parses at a time
STREAM_ROWS = 20_000  # rows of a part of a table that is read in parts
SEPARATORS = (",", ";", "\t", "|")
SEPARATOR_LINE = re.compile(r'\s*"?sep=(.)"?\s*', re.IGNORECASE)
MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF32_LE, "utf-32"), (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"),
)  # fmt: skip
ZIP_MAGIC, OLD_EXCEL_MAGIC, PARQUET_MAGIC, GZIP_MAGIC = b"PK\x03\x04", b"\xd0\xcf\x11\xe0", b"PAR1", b"\x1f\x8b"
TOO_LONG = re.compile(r"Expected \d+ fields in line (\d+), saw \d+")
MAX_BEYOND = 2  # empty fields at the ends of rows, beyond those that the sample shows
SAVE_AGAIN = "Save it as “CSV UTF-8”."
NO_VALUE = ' \t\r,;|"\ufeff'  # characters of a line without a value
# letters that Windows-1252 has outside its main block of letters, where other encodings have other characters
RARE_LETTERS = frozenset("ŠšŽžŒœŸƒˆÐðÞþÝý")
# letters that stand in one word in no Western language, but are read so from Central European and Baltic text
NORDIC, ROMANCE = frozenset("øØåÅæÆ"), frozenset("áÁíÍúÚìÌùÙèÈûÛâÂ")
WORD = re.compile(r"[^\W\d_]+")
# é, ’ and their like in UTF-8: in Windows-1252 hardly ever side by side
UTF8_LETTER = re.compile(rb"\xc3[\x80-\xbf]|\xe2\x80[\x80-\xbf]")


class ManifestError(ValueError):
    """A manifest or another table that cannot be used; the message names the row and column and says what to do."""


@dataclass(frozen=True)
class _Format:
    """How a file of text is written.

    skip: number of lines before the header. beyond: number of fields that rows may have beyond those of the header.
    quoted_lines: whether each line is one quoted field.
    """

    encoding: str = "utf-8"
    separator: str = ","
    skip: int = 0
    beyond: int = 0
    quoted_lines: bool = False


def read_table(path: str | Path, columns: Sequence[str] | None = None, dtype: object = str) -> pd.DataFrame:
    """Read a table as text, "" where a cell is empty.

    path: of CSV, gzipped CSV or Parquet, recognized by content. columns: names of the columns to read; all by default.
    dtype: as `pandas.read_csv` takes it; cells of another type than str are not cleaned (decimal commas, ="063").
    Row labels count the rows of the file from 0; rows without any value are left out. Raises ManifestError.
    """
    path = Path(path)
    with _translate_errors(path):
        sample = _read_sample(path)
        if sample[:4] == PARQUET_MAGIC:
            return clean_table(read_parquet(path, columns), semicolons=False)
        table, file_format = _parse_in_any_encoding(path, sample, partial(_parse, path, sample, columns, dtype))
        return clean_table(table, file_format.separator == ";") if dtype is str else table


def stream_table(path: str | Path, rows: int = STREAM_ROWS) -> Iterator[pd.DataFrame]:
    """Yield what `read_table` returns, at most `rows` rows at a time, so that a table of any length fits into memory.

    The file is read twice, because the meaning of commas is decided by whole columns. The first part may be empty: it
    has the columns of a table without rows. Raises ManifestError.
    """
    path = Path(path)
    with _translate_errors(path):
        sample = _read_sample(path)
        if sample[:4] == PARQUET_MAGIC:
            chunks, semicolons = partial(stream_parquet, path, rows), False
            columns = inspect_columns(chunks())
        else:
            columns, file_format = _parse_in_any_encoding(path, sample, partial(_scan, path, sample, rows))
            chunks, semicolons = partial(_stream_chunks, path, file_format, rows=rows), file_format.separator == ";"
        for chunk in chunks():
            yield clean_chunk(chunk, columns, semicolons)


@contextmanager
def _translate_errors(path: Path) -> Iterator[None]:
    """Check that a file exists, and turn errors of its reader into a ManifestError that says what to do."""
    if not path.is_file():
        raise ManifestError(f"There is no table {path}. Check the path.")
    try:
        yield
    except ManifestError:
        raise
    except (OSError, EOFError, zlib.error) as error:
        raise ManifestError(f"{path} cannot be read ({str(error)[:200]}). Load it again from where it came.") from None
    except Exception as error:  # pandas raises many kinds of error
        raise ManifestError(
            f"The table {path.name} cannot be read ({str(error)[:200]}). Save it as CSV with a header line."
        ) from None


def _read_sample(path: Path) -> bytes:
    """Return the beginning of a file, unpacked."""
    with _open(path) as file:
        return file.read(SAMPLE_BYTES)


@contextmanager
def _open(path: Path):
    """Open a file for reading bytes, unpacked where it is gzipped."""
    with path.open("rb") as file:
        is_gzip = file.read(2) == GZIP_MAGIC
        file.seek(0)
        if not is_gzip:
            yield file
            return
        with gzip.GzipFile(fileobj=file) as content:
            yield content


def _parse_in_any_encoding(path: Path, sample: bytes, parse: Callable[[str], Result]) -> Result:
    """Return parse(encoding) for UTF-8 or the encoding that the sample shows, else for Windows-1252.

    Raises ManifestError for a workbook, an empty file, or text that Windows-1252 does not fit either.
    """
    if sample.startswith((ZIP_MAGIC, OLD_EXCEL_MAGIC)):
        raise ManifestError(
            f"The table {path.name} is a workbook or archive, no CSV. Open it in a spreadsheet. {SAVE_AGAIN}"
        )
    if not sample.strip():
        raise ManifestError(f"The table {path.name} is empty. It needs a header line and one row a film.")
    encoding = _detect_encoding(sample, path.name)
    try:
        return parse(encoding)
    except UnicodeDecodeError:
        if encoding != "utf-8":
            raise ManifestError(f"The text of the table {path.name} is damaged. {SAVE_AGAIN}") from None
    with _open(path) as file:
        check_windows_text(file.read(), path.name)
    return parse("cp1252")


def _parse(
    path: Path, sample: bytes, columns: Sequence[str] | None, dtype: object, encoding: str
) -> tuple[pd.DataFrame, _Format]:
    """Return the whole table, and how its file is written."""
    file_format = _detect_format(sample.decode(encoding, "ignore"), encoding)
    chunks = list(_stream_chunks(path, file_format, columns, dtype))
    return chunks[0] if len(chunks) == 1 else pd.concat(chunks), file_format


def _scan(path: Path, sample: bytes, rows: int, encoding: str) -> tuple[list[Column], _Format]:
    """Return the properties of the table's columns, and how its file is written."""
    file_format = _detect_format(sample.decode(encoding, "ignore"), encoding)
    return inspect_columns(_stream_chunks(path, file_format, rows=rows)), file_format


def _stream_chunks(
    path: Path, file_format: _Format, columns: Sequence[str] | None = None, dtype: object = str, rows: int = CHUNK_ROWS
) -> Iterator[pd.DataFrame]:
    """Yield the rows of a text file, at most `rows` at a time."""
    with _open(path) as file:
        if not file_format.quoted_lines:
            yield from _read_csv(file, path.name, file_format, columns, dtype, rows)
            return
        lines = csv.reader(io.TextIOWrapper(file, file_format.encoding, newline=""))
        text = "\n".join(row[0] if row else "" for row in lines)
        plain = replace(file_format, encoding="utf-8")
        yield from _read_csv(io.BytesIO(text.encode()), path.name, plain, columns, dtype, rows)


def _read_csv(
    file: IO[bytes], name: str, file_format: _Format, columns: Sequence[str] | None, dtype: object, rows: int
) -> Iterator[pd.DataFrame]:
    """Yield the rows of CSV, at most `rows` at a time; columns are read by position, so that names may repeat.

    Raises ManifestError for fields beyond the header that are not empty: pandas alone would shift such rows.
    """
    separator, skip = file_format.separator, file_format.skip
    options = dict(sep=separator, skiprows=skip, encoding=file_format.encoding, skipinitialspace=separator != "\t")
    try:
        head = pd.read_csv(file, header=None, dtype=str, nrows=1, keep_default_na=False, **options).iloc[0]
        names = [str(cell).strip() for cell in head]
        if missing := [column for column in columns or () if column not in names]:
            raise ManifestError(
                f"The table {name} has no column {', '.join(missing)}. Its columns are: {', '.join(names)[:300]}."
            )
        positions = [*range(len(names))] if columns is None else [names.index(column) for column in columns]
        types = {names.index(column): kind for column, kind in dtype.items()} if isinstance(dtype, dict) else dtype
        file.seek(0)
        # all columns are read, and then chosen from: pandas lets too long rows pass where it is given `usecols`
        options["skiprows"] = skip + 1  # pandas counts a header that holds line breaks once
        reader = pd.read_csv(file, header=None, names=[*range(len(names) + file_format.beyond)], dtype=types,
                             keep_default_na=dtype is not str, chunksize=rows, **options)  # fmt: skip
        with reader:
            for chunk in reader:
                part = _cut_to_header(chunk, len(names), name, file_format)[positions]
                if not isinstance(part.index, pd.RangeIndex):  # pandas' way with longer rows still
                    raise ManifestError(
                        f"Row 1 of {name} has more fields than the header. {_advise_quotes(file_format)}"
                    )
                part.columns = [names[position] for position in positions]
                yield part
    except pd.errors.EmptyDataError:
        raise ManifestError(f"The table {name} is empty. It needs a header line and one row a film.") from None
    except pd.errors.ParserError as error:
        if match := TOO_LONG.search(str(error)):
            raise ManifestError(
                f"Line {int(match[1]) + skip} of the table {name} has more fields than the header. "
                f"{_advise_quotes(file_format)}"
            ) from None
        raise


def _cut_to_header(rows: pd.DataFrame, count: int, name: str, file_format: _Format) -> pd.DataFrame:
    """Cut rows to `count` fields. Raises ManifestError naming the first row that has more that is not empty."""
    beyond = rows.iloc[:, count:]
    has_value = beyond.apply(lambda cells: cells.astype("string").str.strip().fillna("") != "").any(axis=1)
    if beyond.shape[1] and has_value.any():
        number = int(has_value.idxmax()) + 1
        raise ManifestError(f"Row {number} of {name} has more fields than the header. {_advise_quotes(file_format)}")
    return rows.iloc[:, :count]


def _advise_quotes(file_format: _Format) -> str:
    """Return the advice for a table whose rows have more fields than its header."""
    names = {",": "comma", ";": "semicolon", "\t": "tab", "|": "pipe"}
    separator = names.get(file_format.separator, file_format.separator)
    return f"Put quotes around values that hold a {separator}, and remove lines above the header."


def _detect_encoding(sample: bytes, name: str) -> str:
    """Return the encoding of text by its byte order mark or zero bytes; else UTF-8, which decoding then checks."""
    for mark, encoding in MARKS:
        if sample.startswith(mark):
            return encoding
    head = sample[: len(sample) // 2 * 2][:4000]
    even, odd = head[::2].count(0), head[1::2].count(0)
    if not even and not odd:
        return "utf-8"
    if odd > len(head) // 8 and even * 10 < odd:
        return "utf-16-le"
    if even > len(head) // 8 and odd * 10 < even:
        return "utf-16-be"
    raise ManifestError(f"The table {name} is no text. Save it as CSV with a header line.")


def check_windows_text(data: bytes, name: str) -> None:
    """Raise ManifestError unless bytes that are no UTF-8 make sense as Windows-1252.

    Text in Mac Roman, DOS and non-Western encodings would have signs or capitals in the middle of words, or words of
    accented letters alone. Letters in UTF-8 are refused too: they show that rows are in different encodings.
    """
    refusal = ManifestError(
        f"The text of the table {name} is in an encoding that cannot be told (Mac, DOS or several, perhaps). "
        f"{SAVE_AGAIN}"
    )
    if UTF8_LETTER.search(data):
        raise refusal
    try:
        text = data.decode("cp1252")
    except UnicodeDecodeError:
        raise refusal from None
    clear = doubtful = 0
    for match in re.finditer(r"[^\x00-\x7f]", text):
        position, char = match.start(), match[0]
        before, after = text[position - 1 : position], text[position + 1 : position + 2]
        inside = before.isalpha() or after.isalpha()
        if before > "\x7f" and char.isalpha() and after > "\x7f" and before.isalpha() and after.isalpha():
            raise refusal  # a word of accents alone: Cyrillic, Greek, Chinese
        if not char.isalpha() and after > "\x7f" and not after.isalpha():
            raise refusal  # signs side by side: Japanese, Chinese
        if char.isalpha() and char not in RARE_LETTERS and _case_fits(before, char, after):
            clear += inside
        elif char not in "’®©°²³µ±×" or (before.isalpha() and after.isalpha() and char != "’"):
            doubtful += inside
    is_mixed = any(NORDIC & (letters := set(word[0])) and ROMANCE & letters for word in WORD.finditer(text))
    if is_mixed or (doubtful and doubtful >= clear):
        raise refusal


def _case_fits(before: str, char: str, after: str) -> bool:
    """Tell whether a letter has a case that occurs between its neighbors."""
    return not (before.isupper() and after.isupper()) if char.islower() else not before.islower()


def _detect_format(text: str, encoding: str) -> _Format:
    """Return how a table is written, from the beginning of its text."""
    lines = text.splitlines()
    skip = next((number for number, line in enumerate(lines) if line.strip(NO_VALUE)), 0)
    if lines and (match := SEPARATOR_LINE.fullmatch(lines[skip].lstrip("\ufeff"))):
        return _count_extra_fields(_Format(encoding, match[1], skip + 1), lines)
    rows = [line for line in lines[skip : skip + SAMPLE_LINES] if line.strip()]
    separator, header = _detect_separator(rows), rows[0].strip() if rows else ""
    if separator is None and header[:1] == header[-1:] == '"' and len(header) > 2:
        inner = [next(csv.reader([row]), [""])[0] for row in rows]
        if (separator := _detect_separator(inner)) is not None:
            return _count_extra_fields(_Format(encoding, separator, quoted_lines=True), inner)
    return _count_extra_fields(_Format(encoding, separator or ",", skip), lines)


def _count_extra_fields(file_format: _Format, lines: list[str]) -> _Format:
    """Return the format with the number of fields that rows of these lines have beyond the header."""
    counts = _count_fields(lines[file_format.skip : file_format.skip + SAMPLE_LINES], file_format.separator)
    return replace(file_format, beyond=max(counts, default=0) - (counts[0] if counts else 0) + MAX_BEYOND)


def _count_fields(rows: list[str], separator: str) -> list[int]:
    """Return the number of fields of each row that is not blank."""
    return [len(fields) for fields in csv.reader(rows, delimiter=separator, skipinitialspace=True) if fields]


def _detect_separator(rows: list[str]) -> str | None:
    """Return the separator whose number of fields most rows share with the header; None for a table of one column."""
    best, merit = None, (0.0, 0)
    for separator in SEPARATORS:
        counts = _count_fields(rows, separator)
        if counts and counts[0] > 1:
            share = sum(count == counts[0] for count in counts) / len(counts)
            if (share, counts[0]) > merit:
                best, merit = separator, (share, counts[0])
    return best
