"""Parquet tables as text, whole or a part at a time, for `table.py`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pandas as pd
import pyarrow as pa
from pyarrow import parquet

# an id of 16 digits in a column with empty cells keeps all of them; through floating point it would not
INTEGERS = {
    pa.int8(): pd.Int8Dtype(), pa.int16(): pd.Int16Dtype(), pa.int32(): pd.Int32Dtype(), pa.int64(): pd.Int64Dtype(),
    pa.uint8(): pd.UInt8Dtype(), pa.uint16(): pd.UInt16Dtype(), pa.uint32(): pd.UInt32Dtype(),
    pa.uint64(): pd.UInt64Dtype(),
}  # fmt: skip


def read_parquet(path: Path, columns: Sequence[str] | None) -> pd.DataFrame:
    """Read a Parquet table as text, "" where a cell is empty. columns: the columns to read; None for all."""
    content = parquet.read_table(path, columns=None if columns is None else list(columns), use_pandas_metadata=True)
    table = _restore_index_columns(content.to_pandas(types_mapper=INTEGERS.get))
    return (table if columns is None else table[list(columns)]).astype("string").fillna("")


def stream_parquet(path: Path, rows: int) -> Iterator[pd.DataFrame]:
    """Yield an empty part that has the columns, then the table's rows as text, at most `rows` at a time."""
    start = 0
    with parquet.ParquetFile(path) as file:
        yield _restore_index_columns(file.schema_arrow.empty_table().to_pandas()).astype("string")
        for batch in file.iter_batches(rows):
            chunk = _restore_index_columns(batch.to_pandas(types_mapper=INTEGERS.get)).astype("string").fillna("")
            chunk.index = pd.RangeIndex(start, start + len(chunk))
            start += len(chunk)
            yield chunk


def _restore_index_columns(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table in which columns that were the index of a data frame are columns again."""
    return table.reset_index() if any(name is not None for name in table.index.names) else table
