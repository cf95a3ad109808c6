"""Any folder of images with a table → a manifest, by naming which column is which."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from ..ehr import paper_schema
from .manifest import ManifestError, read_table
from .preparing import Report, keep, with_readable_images, without_duplicates, write_manifests


def manifest_from_table(table: Path, out: Path, columns: Mapping[str, str], where: Mapping[str, set[str]], decode: bool = False) -> Report:
    """Select rows of a table (CSV or Parquet) and rename its columns into a manifest at `out`.

    columns: manifest column → the table's column, e.g. {"path": "file"}; others keep their names. where: the table's column →
    the values to keep. decode: see `with_readable_images`. Paths are read relative to the table's folder and written relative to `out`'s. Where
    columns `patient` and `split` are there, patients in two splits are dropped. Raises ManifestError if a column is missing or no row is left.
    """
    rows, report = read_table(table), Report()
    missing = [name for name in (*columns.values(), *where) if name not in rows.columns]
    if missing:
        raise ManifestError(f"{table} has no column {', '.join(missing)}. Its columns are: {', '.join(rows.columns)}.")
    meets = np.logical_and.reduce([rows[name].isin(values) for name, values in where.items()]) if where else np.ones(len(rows), bool)
    rows = rows.assign(**{name: rows[source] for name, source in columns.items()})
    rows.columns = [str(name).strip().lower() for name in rows.columns]  # as the manifest's reader takes them
    if rows.columns.duplicated().any():
        raise ManifestError(f"{table} has two columns of the same name once case is ignored. Rename one.")
    if "path" not in rows.columns:
        raise ManifestError(f"{table} has no column `path`. Say which column holds it, e.g. path=file.")
    if not meets.any():
        raise ManifestError(f"No row of {table} meets the conditions.")
    report.read = int(meets.sum())
    if {"patient", "split"} <= set(rows.columns):  # of the whole table: the splits that `where` leaves out count too
        alone = rows.groupby("patient")["split"].transform("nunique") == 1
        rows = keep(rows[meets], alone[meets], report, "patient in two splits")
    else:
        rows = rows[meets]
    rows = keep(rows, rows["path"].str.strip() != "", report, "no path")
    rows = with_readable_images(without_duplicates(rows, "path", report), table.parent, report, decode)
    write_manifests(rows, table.parent, out, paper_schema(), report, split=False)
    return report
