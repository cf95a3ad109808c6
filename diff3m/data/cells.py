"""Cleaning of table cells: blanks around text, numbers that spreadsheets write as ="063", decimal commas."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import pandas as pd

DECIMAL_COMMA = r"[-+]?(?:\d{1,3}(?:\.\d{3})+|\d+),\d+"
INTEGER = r"[-+]?\d+"
THOUSANDS = r"[-+]?\d{1,3},\d{3}"
EXCEL_TEXT = r'^="(.*)"$'
INVISIBLE = "[\x1a\u200b\u200c\u200d\u2060\ufeff]"


@dataclass
class Column:
    """Properties of a whole column that decide how its cells are cleaned.

    has_value: whether any cell has a value. has_commas: whether any is a number with a comma. is_numeric: whether all
    that have a value are such numbers or whole ones. may_be_thousands: whether all commas could separate thousands.
    """

    name: str
    has_value: bool = False
    has_commas: bool = False
    is_numeric: bool = True
    may_be_thousands: bool = True

    def update(self, text: pd.Series) -> None:
        """Update the properties with more cells of the column, as `_clean_cells` returns them."""
        self.has_value |= bool((text != "").any())
        if not self.is_numeric:
            return
        with_comma = text.str.fullmatch(DECIMAL_COMMA)
        self.has_commas |= bool(with_comma.any())
        self.is_numeric &= bool((with_comma | text.str.fullmatch(INTEGER) | (text == "")).all())
        self.may_be_thousands &= bool(text[with_comma].str.fullmatch(THOUSANDS).all())

    def has_decimal_commas(self, semicolons: bool) -> bool:
        """Tell whether commas are decimal; "1,000" stays as it is where fields are not separated by semicolons."""
        return self.has_commas and self.is_numeric and (semicolons or not self.may_be_thousands)


def inspect_columns(chunks: Iterable[pd.DataFrame]) -> list[Column]:
    """Return the columns of a table that is given in parts."""
    columns: list[Column] = []
    for chunk in chunks:
        columns = columns or _make_columns(chunk)
        for index, column in enumerate(columns):
            column.update(_clean_cells(chunk.iloc[:, index]))
    return columns


def clean_table(table: pd.DataFrame, semicolons: bool) -> pd.DataFrame:
    """Clean the text of a table.

    Blanks around text are removed, ="063" becomes 063, and decimal commas become points. Rows without a value, and
    columns without name and value, are left out. semicolons: whether semicolons separate the fields.
    """
    columns, cells = _make_columns(table), [_clean_cells(table.iloc[:, index]) for index in range(table.shape[1])]
    for column, text in zip(columns, cells, strict=True):
        column.update(text)
    return _assemble(columns, cells, table.index, semicolons)


def clean_chunk(chunk: pd.DataFrame, columns: list[Column], semicolons: bool) -> pd.DataFrame:
    """Clean a part of a table by the properties of its whole columns; see `clean_table`."""
    cells = [_clean_cells(chunk.iloc[:, index]) for index in range(chunk.shape[1])]
    return _assemble(columns, cells, chunk.index, semicolons)


def _make_columns(table: pd.DataFrame) -> list[Column]:
    """Return the columns of a table by name, before their cells are looked at."""
    return [Column(_unwrap_excel_text(pd.Series([str(name)], dtype="string"))[0].strip()) for name in table.columns]


def _assemble(columns: list[Column], cells: list[pd.Series], rows: pd.Index, semicolons: bool) -> pd.DataFrame:
    """Return a table of plain cells with decimal points, without empty rows and unnamed empty columns."""
    indices = [index for index, column in enumerate(columns) if column.name or column.has_value]
    if not indices:
        return pd.DataFrame(index=rows)
    texts = [
        _replace_decimal_commas(cells[index]) if columns[index].has_decimal_commas(semicolons) else cells[index]
        for index in indices
    ]
    result = pd.concat(texts, axis=1)
    result.columns = [columns[index].name for index in indices]
    return result[(result != "").any(axis=1)]


def _clean_cells(cells: pd.Series) -> pd.Series:
    """Return cells as text without blanks and invisible characters, "" where there is no value."""
    text = cells.astype("string").fillna("").str.replace("\u00a0", " ", regex=False)
    return _unwrap_excel_text(text.str.replace(INVISIBLE, "", regex=True).str.strip())


def _replace_decimal_commas(text: pd.Series) -> pd.Series:
    """Return text in which numbers with a decimal comma have a point, and no points between thousands."""
    plain = text.str.replace(".", "", regex=False).str.replace(",", ".", regex=False)
    return text.where(~text.str.fullmatch(DECIMAL_COMMA), plain)


def _unwrap_excel_text(text: pd.Series) -> pd.Series:
    """Return text in which ="063", as spreadsheets write a number that is to stay text, is 063."""
    return text.str.replace(EXCEL_TEXT, r"\1", regex=True) if text.str.startswith('="').any() else text
