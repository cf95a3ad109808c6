"""Any folder of images with a table → a manifest, by naming which column is which."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from ...ehr import paper_schema
from ..manifest import PATIENT_COLUMNS, ManifestError, patient_keys, read_table
from .report import Report, keep
from .tables import (
    CONTRADICTORY,
    DUPLICATE,
    TWO_SPLITS,
    UNCHECKED,
    contradictory,
    in_one_split,
    refuse_overwriting,
    with_readable_images,
    write_manifests,
)

TOLD = ("path", "label", "split", *PATIENT_COLUMNS, *paper_schema().names)  # what rows of one film may not differ in
UNNAMED = f"{UNCHECKED} (if a column names patients, say --column patient=COLUMN)"


def manifest_from_table(
    table: Path, out: Path, columns: Mapping[str, str], where: Mapping[str, set[str]], decode: bool = False
) -> Report:
    """Select rows of a table (CSV or Parquet) and rename its columns into a manifest at `out`.

    columns: manifest column → the table's column, e.g. {"path": "file"}; others keep their names. where: the table's column →
    the values to keep. decode: see `with_readable_images`. Paths are read relative to the table's folder and written relative to `out`'s. Rows of
    one film that contradict each other are dropped, and, where columns `patient` (or `subject_id`) and `split` are there, patients in two splits;
    films without a patient number stay, and are counted. Raises ManifestError if a column is missing or ambiguous, no row is
    left, or `out` is the table.
    """
    refuse_overwriting(out, [table], splits=False)
    rows, report = read_table(table).reset_index(drop=True), Report()
    missing = [name for name in (*columns.values(), *where) if name not in rows.columns]
    if missing:
        raise ManifestError(f"{table} has no column {', '.join(missing)}. Its columns are: {', '.join(rows.columns)}.")
    meets = (
        np.logical_and.reduce([rows[name].isin(values) for name, values in where.items()])
        if where
        else np.ones(len(rows), bool)
    )
    rows = _renamed(rows, columns, table)
    if "path" not in rows.columns:
        raise ManifestError(f"{table} has no column `path`. Say which column holds it, e.g. path=file.")
    if not meets.any():
        raise ManifestError(f"No row of {table} meets the conditions.")
    report.read = int(meets.sum())
    patient = next((name for name in PATIENT_COLUMNS if name in rows.columns), None)
    if patient is not None:
        rows = rows.assign(**{patient: patient_keys(rows)})
    rows = with_readable_images(_once(rows, meets, patient, table.parent, report), table.parent, report, decode)
    if "split" in rows.columns and patient is None:
        report.note(UNNAMED, rows["path"])
    elif "split" in rows.columns:
        report.note(UNCHECKED, rows.loc[rows[patient] == "", "path"])
    write_manifests(rows, table.parent, out, paper_schema(), report, split=False)
    return report


def _once(rows: pd.DataFrame, meets: np.ndarray, patient: str | None, folder: Path, report: Report) -> pd.DataFrame:
    """The rows that meet the conditions, one a film. Patients in two splits and rows of one film that contradict each other are looked for in the
    whole table: rows that do not meet the conditions count too. a.png, ./a.png and its absolute path are one film."""
    films = rows["path"].map(lambda name: os.path.abspath(folder / name.strip()))
    told = rows[[name for name in TOLD if name in rows.columns]].apply(lambda cells: cells.str.strip().str.casefold())
    differ = contradictory(told.assign(path=films), films)
    apart = in_one_split(rows, patient) if {patient, "split"} <= set(rows.columns) else np.ones(len(rows), bool)
    rows = keep(rows[meets], apart[meets], report, TWO_SPLITS)
    rows = keep(rows, rows["path"].str.strip() != "", report, "no path")
    rows = keep(rows, ~differ[rows.index], report, CONTRADICTORY)
    return keep(rows, ~films[rows.index].duplicated(), report, DUPLICATE)


def _renamed(rows: pd.DataFrame, columns: Mapping[str, str], table: Path) -> pd.DataFrame:
    """The table under the manifest's names, in lower case as the manifest's reader takes them. A column that `columns` names counts; one of the
    table's own that has the same name once case is ignored is left out. Raises ManifestError where two are left."""
    named = [name.strip().lower() for name in columns]
    if len(set(named)) < len(named):
        raise ManifestError(f"Two columns are named for {_twice(named)}. Name one.")
    own = [str(name).strip().lower() for name in rows.columns]
    others = rows.loc[:, [name not in named for name in own]]
    others.columns = [name for name in own if name not in named]
    if others.columns.duplicated().any():
        name = _twice(list(others.columns))
        raise ManifestError(
            f"{table} has two columns of the same name once case is ignored: {name}. Rename one, or say which counts, {name}=COLUMN."
        )
    return others.assign(**{name: rows[source] for name, source in zip(named, columns.values(), strict=True)})


def _twice(names: list[str]) -> str:
    return next(name for name in names if names.count(name) > 1)
