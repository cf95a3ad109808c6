"""Any folder of images with a table → a manifest, by naming which column is which."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from ...ehr import EHRError, paper_schema
from ...ehr.facts import OTHER_VIEWS, age_from_dates, read_age, read_view
from ..manifest import PATIENT_COLUMNS, ManifestError, column_note, feature_of_column, patient_keys, read_table
from ..paths import clean_name
from .films import FilmCheck, usable_films
from .report import NOT_FRONTAL, Report, keep
from .splits import TWO_SPLITS, UNCHECKED, in_one_split
from .tables import CONTRADICTORY, DUPLICATE, contradictory, refuse_overwriting, write_manifests

COMPARED = (
    "path",
    "label",
    "split",
    *PATIENT_COLUMNS,
    *paper_schema().names,
)  # what rows of one film may not differ in
DATES = ("birth_date", "study_date")  # columns that tell the age where the table does not
UNCHECKED_SPLIT = f"{UNCHECKED} (if a column names patients, say --column patient=COLUMN)"


def manifest_from_table(
    table: Path,
    out: Path,
    columns: Mapping[str, str],
    conditions: Mapping[str, set[str]],
    check: FilmCheck | None = None,
) -> Report:
    """Select rows of a table (CSV or Parquet) and rename its columns into a manifest at `out`.

    columns: manifest column → the table's column, e.g. {"path": "file"}; others keep their names. conditions: the
    table's column → the values to keep. check: see `usable_films`. Paths are read relative to the table's folder and
    written relative to that of `out`.

    Rows of one film that contradict each other are dropped, as are films whose view is not frontal, and, where columns
    `patient` (or `subject_id`) and `split` are there, patients in two splits; films without a patient number stay, and
    are counted. Raises ManifestError if a column is missing or ambiguous, no row is left, or `out` is the table.
    """
    refuse_overwriting(out, [table], splits=False)
    rows = read_table(table).reset_index(drop=True)
    missing = [name for name in (*columns.values(), *conditions) if name not in rows.columns]
    if missing:
        raise ManifestError(f"{table} has no column {', '.join(missing)}. Its columns are: {', '.join(rows.columns)}.")
    selection = np.ones(len(rows), bool)
    for name, values in conditions.items():
        selection &= rows[name].isin(values).to_numpy(bool)
    rows = _rename(rows, columns, table)
    if "path" not in rows.columns:
        raise ManifestError(f"{table} has no column `path`. Say which column holds it, e.g. path=file.")
    if not selection.any():
        raise ManifestError(f"No row of {table} meets the conditions.")
    report = Report(input_rows=int(selection.sum()))
    patient = next((name for name in PATIENT_COLUMNS if name in rows.columns), None)
    if patient is not None:
        rows = rows.assign(**{patient: patient_keys(rows)})
    if set(DATES) <= set(rows.columns):
        rows = rows.assign(age=_ages(rows))
    rows = _one_row_a_film(rows, selection, patient, table.parent, report)
    if "view" in rows.columns:
        rows = keep(rows, ~rows["view"].map(_is_not_frontal).astype(bool), report, NOT_FRONTAL)
    rows = usable_films(rows, table.parent, report, check)
    if note := column_note(tuple(rows.columns), paper_schema()):
        report.note(note.rstrip("."), rows["path"])
    if "split" in rows.columns and patient is None:
        report.note(UNCHECKED_SPLIT, rows["path"])
    elif "split" in rows.columns:
        report.note(UNCHECKED, rows.loc[rows[patient] == "", "path"])
    write_manifests(rows, table.parent, out, paper_schema(), report, split=False)
    return report


def _one_row_a_film(
    rows: pd.DataFrame, selection: np.ndarray, patient: str | None, folder: Path, report: Report
) -> pd.DataFrame:
    """Return the selected rows, one a film: a.png, ./a.png and its absolute path are one film.

    Patients in two splits and rows of one film that contradict each other are looked for in the whole table: rows that
    are not selected count too.
    """
    films = rows["path"].map(lambda name: os.path.abspath(folder / clean_name(name)))
    values = rows[[name for name in COMPARED if name in rows.columns]].apply(lambda cells: cells.str.casefold())
    differ = contradictory(values.assign(path=films), films)
    one_split = pd.Series(True, rows.index)
    if patient is not None and {patient, "split"} <= set(rows.columns):
        one_split = in_one_split(rows, patient)
    rows = keep(rows[selection], one_split[selection], report, TWO_SPLITS)
    rows = keep(rows, rows["path"] != "", report, "no path")
    rows = keep(rows, ~differ[rows.index], report, CONTRADICTORY)
    return keep(rows, ~films[rows.index].duplicated(), report, DUPLICATE)


def _ages(rows: pd.DataFrame) -> list[object]:
    """Return each row's age: as the table says, or from its dates where that is empty or a placeholder."""
    ages = rows["age"] if "age" in rows.columns else [""] * len(rows)
    return [
        (age_from_dates(birth, study) or "") if _says_no_age(age) else age
        for age, birth, study in zip(ages, *(rows[name] for name in DATES), strict=True)
    ]


def _says_no_age(age: str) -> bool:
    try:
        return read_age(age) is None
    except EHRError:
        return False  # what it says instead is counted


def _is_not_frontal(view: str) -> bool:
    try:
        return read_view(view) in OTHER_VIEWS
    except EHRError:
        return False


def _rename(rows: pd.DataFrame, columns: Mapping[str, str], table: Path) -> pd.DataFrame:
    """Return the table under the manifest's names, in lower case as the manifest's reader takes them.

    A column that `columns` names counts; one of the table's own that has the same name once case is ignored is left
    out. Raises ManifestError where two remain.
    """
    targets = [name.strip().lower() for name in columns]
    if len(set(targets)) < len(targets):
        raise ManifestError(f"Two columns are named for {_first_repeat(targets)}. Name one.")
    own = [str(name).strip().lower() for name in rows.columns]
    own = [feature_of_column(name, paper_schema()) or name for name in own]
    others = rows.loc[:, [name not in targets for name in own]]
    others.columns = [name for name in own if name not in targets]
    if others.columns.duplicated().any():
        name = _first_repeat(list(others.columns))
        raise ManifestError(
            f"{table} has two columns of the same name once case is ignored: {name}. Rename one, or say which counts, "
            f"{name}=COLUMN."
        )
    return others.assign(**{name: rows[source] for name, source in zip(targets, columns.values(), strict=True)})


def _first_repeat(names: list[str]) -> str:
    return next(name for name in names if names.count(name) > 1)
