"""Any folder of images with a table → a manifest, by naming which column is which."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from .manifest import ManifestError, read_table


def manifest_from_table(table: Path, out: Path, columns: Mapping[str, str], where: Mapping[str, set[str]]) -> pd.DataFrame:
    """Select rows of a CSV and rename its columns into a manifest at `out`.

    columns: manifest column → the table's column, e.g. {"path": "file"}; others keep their names. where: the table's column →
    the values to keep. Paths are read relative to the table's folder and written relative to `out`'s.
    Raises ManifestError if a column is missing or no row is left.
    """
    rows = read_table(table)
    missing = [name for name in (*columns.values(), *where) if name not in rows.columns]
    if missing:
        raise ManifestError(f"{table} has no column {', '.join(missing)}. Its columns are: {', '.join(rows.columns)}.")
    for name, values in where.items():
        rows = rows[rows[name].isin(values)]
    rows = rows.assign(**{name: rows[source] for name, source in columns.items()})
    if "path" not in rows.columns:
        raise ManifestError(f"{table} has no column `path`. Say which column holds it, e.g. path=file.")
    if rows.empty:
        raise ManifestError(f"No row of {table} meets the conditions.")
    out.parent.mkdir(parents=True, exist_ok=True)
    rows = rows.assign(path=[os.path.relpath(table.parent / name, out.parent) for name in rows["path"]])
    rows.to_csv(out, index=False)
    return rows
