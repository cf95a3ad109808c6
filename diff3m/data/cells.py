"""Cells of tables as text, cleaned: blanks, spreadsheets' ="063", decimal commas."""

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
    """What cleaning has to know of a whole column.

    has_value: whether any cell has a value. commas: whether any is a number with a decimal comma. numbers: whether all
    that have a value are such numbers or whole ones. thousands: whether all commas could part thousands.
    """

    name: str
    has_value: bool = False
    commas: bool = False
    numbers: bool = True
    thousands: bool = True

    def add(self, text: pd.Series) -> None:
        """Take note of more cells of the column, as `_plain` gives them."""
        self.has_value |= bool((text != "").any())
        if not self.numbers:
            return
        with_comma = text.str.fullmatch(DECIMAL_COMMA)
        self.commas |= bool(with_comma.any())
        self.numbers &= bool((with_comma | text.str.fullmatch(INTEGER) | (text == "")).all())
        self.thousands &= bool(text[with_comma].str.fullmatch(THOUSANDS).all())

    def has_decimal_commas(self, semicolons: bool) -> bool:
        """Tell whether commas are decimal; "1,000" is left alone where commas part the fields."""
        return self.commas and self.numbers and (semicolons or not self.thousands)


def columns_of(chunks: Iterable[pd.DataFrame]) -> list[Column]:
    """Return what cleaning has to know of a table, given its parts."""
    columns: list[Column] = []
    for chunk in chunks:
        columns = columns or _columns(chunk)
        for place, column in enumerate(columns):
            column.add(_plain(chunk.iloc[:, place]))
    return columns


def clean_table(table: pd.DataFrame, semicolons: bool) -> pd.DataFrame:
    """Return a table's text, cleaned.

    Without blanks around it, spreadsheets' ="063" as 063, decimal commas as points; rows without a value and columns
    without name and value are left out. semicolons: whether they part the fields.
    """
    columns, cells = _columns(table), [_plain(table.iloc[:, place]) for place in range(table.shape[1])]
    for column, text in zip(columns, cells, strict=True):
        column.add(text)
    return _assemble(columns, cells, table.index, semicolons)


def clean_chunk(chunk: pd.DataFrame, columns: list[Column], semicolons: bool) -> pd.DataFrame:
    """Return a part of a table cleaned as the whole is; see `clean_table`."""
    cells = [_plain(chunk.iloc[:, place]) for place in range(chunk.shape[1])]
    return _assemble(columns, cells, chunk.index, semicolons)


def _columns(table: pd.DataFrame) -> list[Column]:
    return [Column(_excel_text(pd.Series([str(name)], dtype="string"))[0].strip()) for name in table.columns]


def _assemble(columns: list[Column], cells: list[pd.Series], index: pd.Index, semicolons: bool) -> pd.DataFrame:
    places = [place for place, column in enumerate(columns) if column.name or column.has_value]
    if not places:
        return pd.DataFrame(index=index)
    texts = [
        _with_points(cells[place]) if columns[place].has_decimal_commas(semicolons) else cells[place]
        for place in places
    ]
    result = pd.concat(texts, axis=1)
    result.columns = [columns[place].name for place in places]
    return result[(result != "").any(axis=1)]


def _plain(cells: pd.Series) -> pd.Series:
    text = cells.astype("string").fillna("").str.replace("\u00a0", " ", regex=False)
    return _excel_text(text.str.replace(INVISIBLE, "", regex=True).str.strip())


def _with_points(text: pd.Series) -> pd.Series:
    plain = text.str.replace(".", "", regex=False).str.replace(",", ".", regex=False)
    return text.where(~text.str.fullmatch(DECIMAL_COMMA), plain)


def _excel_text(text: pd.Series) -> pd.Series:
    """="063", as spreadsheets write a number that is to stay text, as 063."""
    return text.str.replace(EXCEL_TEXT, r"\1", regex=True) if text.str.startswith('="').any() else text
