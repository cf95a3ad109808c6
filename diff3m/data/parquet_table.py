"""Parquet tables as text, whole or a part at a time; `table.py` is their caller."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pandas as pd
from pyarrow import parquet


def read_parquet(path: Path, columns: Sequence[str] | None) -> pd.DataFrame:
    """Read a Parquet table as text, "" where a cell is empty. columns: the columns to read; None for all."""
    table = _with_index_columns(pd.read_parquet(path, columns=None if columns is None else list(columns)))
    return (table if columns is None else table[list(columns)]).astype("string").fillna("")


def parquet_chunks(path: Path, rows: int) -> Iterator[pd.DataFrame]:
    """Yield an empty part that has the columns, then the table's rows as text, at most `rows` at a time."""
    start = 0
    with parquet.ParquetFile(path) as file:
        yield _with_index_columns(file.schema_arrow.empty_table().to_pandas()).astype("string")
        for batch in file.iter_batches(rows):
            chunk = _with_index_columns(batch.to_pandas()).astype("string").fillna("")
            chunk.index = pd.RangeIndex(start, start + len(chunk))
            start += len(chunk)
            yield chunk


def _with_index_columns(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table in which columns that were the index of a data frame are columns again."""
    return table.reset_index() if any(name is not None for name in table.index.names) else table
