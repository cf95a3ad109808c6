"""A manifest from any folder of images with a table, whose columns the user names."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from ...ehr import EHRError, paper_schema
from ...ehr.facts import OTHER_VIEWS, age_from_dates, read_age, read_view
from ..manifest import (
    PATIENT_COLUMNS,
    ManifestError,
    describe_unread_columns,
    find_feature,
    read_patients_by_row,
    read_table,
)
from ..paths import clean_name
from .films import FilmCheck, select_usable_films
from .report import NOT_FRONTAL, Report, keep_rows
from .splits import TWO_SPLITS, UNCHECKED, is_in_one_split
from .tables import CONTRADICTORY, DUPLICATE, find_contradictions, refuse_overwriting, write_manifests

# columns in which rows of one film must agree
COMPARED = ("path", "label", "split", *PATIENT_COLUMNS, *paper_schema().names)
DATES = ("birth_date", "study_date")  # columns of which the age follows where it is unknown
UNCHECKED_SPLIT = f"{UNCHECKED} (if a column names patients, say --column patient=COLUMN)"


def prepare_folder(
    table: Path,
    out: Path,
    columns: Mapping[str, str],
    conditions: Mapping[str, set[str]],
    check: FilmCheck | None = None,
) -> Report:
    """Select rows of a table (CSV or Parquet) and rename its columns into a manifest at `out`.

    Dropped are rows of one film that contradict each other, films whose view is not frontal, and, where the table has
    `split` and `patient` or `subject_id`, patients who are in two splits. Films without a patient number stay, and are
    counted. Paths are read relative to the table's folder and written relative to that of `out`.

    columns: manifest column → the table's column, e.g. {"path": "file"}; others keep their names. conditions: the
    table's column → the values to keep. check: see `FilmCheck`. Raises ManifestError if a column is missing or
    ambiguous, no row is left, or `out` is the table.
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
        rows = rows.assign(**{patient: read_patients_by_row(rows)})
    if set(DATES) <= set(rows.columns):
        rows = rows.assign(age=_read_ages(rows))
    rows = _deduplicate_films(rows, selection, patient, table.parent, report)
    if "view" in rows.columns:
        rows = keep_rows(rows, ~rows["view"].map(_is_not_frontal).astype(bool), report, NOT_FRONTAL)
    rows = select_usable_films(rows, table.parent, report, check)
    if note := describe_unread_columns(tuple(rows.columns), paper_schema()):
        report.note(note.rstrip("."), rows["path"])
    if "split" in rows.columns and patient is None:
        report.note(UNCHECKED_SPLIT, rows["path"])
    elif "split" in rows.columns:
        report.note(UNCHECKED, rows.loc[rows[patient] == "", "path"])
    write_manifests(rows, table.parent, out, paper_schema(), report, split=False)
    return report


def _deduplicate_films(
    rows: pd.DataFrame, selection: np.ndarray, patient: str | None, folder: Path, report: Report
) -> pd.DataFrame:
    """Return the selected rows, one for each film; a.png, ./a.png and its absolute path are one film.

    Patients in two splits, and rows of one film that contradict each other, are searched for in the whole table, not
    only among the selected rows.
    """
    films = rows["path"].map(lambda name: os.path.abspath(folder / clean_name(name)))
    values = rows[[name for name in COMPARED if name in rows.columns]].apply(lambda cells: cells.str.casefold())
    differ = find_contradictions(values.assign(path=films), films)
    one_split = pd.Series(True, rows.index)
    if patient is not None and {patient, "split"} <= set(rows.columns):
        one_split = is_in_one_split(rows, patient)
    rows = keep_rows(rows[selection], one_split[selection], report, TWO_SPLITS)
    rows = keep_rows(rows, rows["path"] != "", report, "no path")
    rows = keep_rows(rows, ~differ[rows.index], report, CONTRADICTORY)
    return keep_rows(rows, ~films[rows.index].duplicated(), report, DUPLICATE)


def _read_ages(rows: pd.DataFrame) -> list[object]:
    """Return each row's age as the table has it, or from its dates where that is empty or a placeholder."""
    ages = rows["age"] if "age" in rows.columns else [""] * len(rows)
    return [
        (age_from_dates(birth, study) or "") if _is_unknown_age(age) else age
        for age, birth, study in zip(ages, *(rows[name] for name in DATES), strict=True)
    ]


def _is_unknown_age(age: str) -> bool:
    """Tell whether a cell is empty or a placeholder; text that is no age is not, and is counted later."""
    try:
        return read_age(age) is None
    except EHRError:
        return False


def _is_not_frontal(view: str) -> bool:
    try:
        return read_view(view) in OTHER_VIEWS
    except EHRError:
        return False


def _rename(rows: pd.DataFrame, columns: Mapping[str, str], table: Path) -> pd.DataFrame:
    """Rename the columns of a table to those of the manifest, in lower case.

    A column that `columns` names replaces one of the table's own with the same name in any case. Raises ManifestError
    where two columns then have one name.
    """
    targets = [name.strip().lower() for name in columns]
    if len(set(targets)) < len(targets):
        raise ManifestError(f"Two columns are named for {_find_repeat(targets)}. Name one.")
    own = [str(name).strip().lower() for name in rows.columns]
    own = [find_feature(name, paper_schema()) or name for name in own]
    others = rows.loc[:, [name not in targets for name in own]]
    others.columns = [name for name in own if name not in targets]
    if others.columns.duplicated().any():
        name = _find_repeat(list(others.columns))
        raise ManifestError(
            f"{table} has two columns of the same name once case is ignored: {name}. Rename one, or say which counts, "
            f"{name}=COLUMN."
        )
    return others.assign(**{name: rows[source] for name, source in zip(targets, columns.values(), strict=True)})


def _find_repeat(names: list[str]) -> str:
    return next(name for name in names if names.count(name) > 1)
