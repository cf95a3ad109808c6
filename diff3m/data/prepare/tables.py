"""Steps that all `diff3m prepare` commands share: open tables, keep one row per film, write manifests and a report."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from ...ehr import EHRSchema
from ..manifest import NORMAL, PARQUET, ManifestError, normalize_label, read_table
from .plausibility import MAX_DIFFERENCE, mask_implausible
from .report import Report, keep_rows
from .splits import SPLITS

CONTRADICTORY, DUPLICATE = "rows of one film that contradict each other", "duplicate row"  # reasons of a report


def open_table(folder: Path, *names: str, columns: Sequence[str] | None = None, dtype: object = str) -> pd.DataFrame:
    """Read a table of a data set: the first of several file names that the folder has, plain or gzipped.

    columns, dtype: as `read_table` takes them. Raises ManifestError if there is no such file, or if it has no rows or
    cannot be read.
    """
    path = next((path for path in list_table_paths(folder, *names) if path.is_file()), None)
    if path is None:
        raise ManifestError(f"There is no {' or '.join(names)} (or .gz) in {folder}. Check the folder.")
    table = read_table(path, columns, dtype)
    if table.empty:
        raise ManifestError(f"{path} has no rows. Load it again from where it came.")
    return table


def list_table_paths(folder: Path, *names: str) -> list[Path]:
    """Return the paths at which `open_table` looks for a table, in order."""
    return [folder / f"{name}{end}" for name in names for end in ("", ".gz")]


def make_path_beside(out: Path, end: str) -> Path:
    """Return the path of a file beside OUT: OUT-report.json for "report.json"."""
    return out.with_name(f"{out.stem}-{end}")


def refuse_overwriting(out: Path, tables: Iterable[Path], splits: bool = True) -> None:
    """Raise ManifestError if OUT, or a file that is written beside it, is one of the tables to be read.

    splits: whether files of splits are written beside OUT too.
    """
    ends = [
        "report.json",
        *([f"{name}{out.suffix}" for name in SPLITS] + ["boxes.csv", "schema.yaml"] if splits else []),
    ]
    targets = [path for path in (out, *(make_path_beside(out, end) for end in ends)) if path.exists()]
    for table in tables:
        if same := next((path for path in targets if table.exists() and path.samefile(table)), None):
            raise ManifestError(f"{same} is a table to be read, and would be overwritten. Choose another --out.")


def find_contradictions(values: pd.DataFrame, keys: pd.Series) -> pd.Series:
    """Tell by row whether another row of the same key has other values; rows without a key are False."""
    answers = values.groupby(list(values.columns), sort=False, dropna=False).ngroup()
    return answers.groupby(keys).transform("nunique") > 1


def drop_duplicate_films(
    rows: pd.DataFrame, column: str, report: Report, columns: list[str] | None = None
) -> pd.DataFrame:
    """Return one row for each film.

    Equal rows count once. Rows of one film that differ are all dropped, because it is unknown which is right.

    column: that names the film. columns: those in which rows of one film are compared, all by default.
    """
    rows = keep_rows(
        rows, ~find_contradictions(rows[columns or list(rows.columns)], rows[column]), report, CONTRADICTORY, column
    )
    return keep_rows(rows, ~rows[column].duplicated(), report, DUPLICATE, column)


def drop_ambiguous_keys(rows: pd.DataFrame, key: str, report: Report, reason: str) -> pd.DataFrame:
    """Return one row for each key of a source table.

    Equal rows count once. Keys whose rows differ are left out, because it is unknown which is right, and counted as
    omissions under a reason.
    """
    several = find_contradictions(rows, rows[key])
    report.omit(reason, [f"{key} {value}" for value in rows.loc[several, key].unique()])
    return rows[~several].drop_duplicates()


def write_manifests(
    rows: pd.DataFrame,
    root: Path,
    out: Path,
    schema: EHRSchema,
    report: Report,
    *,
    split: bool = True,
    max_difference: float = MAX_DIFFERENCE,
    doubt_units: bool = True,
) -> pd.DataFrame:
    """Write OUT, OUT-report.json and, if `split`, one file for each split (OUT-train.csv …).

    root: folder to which the rows' paths are relative; the written paths are relative to OUT's folder. Files are CSV,
    or Parquet where OUT ends in .parquet. max_difference, doubt_units: see `mask_implausible`. Raises ManifestError if
    no row is left.
    """
    rows = mask_implausible(rows, schema, report, max_difference=max_difference, doubt_units=doubt_units)
    rows = rows.reset_index(drop=True)
    if rows.empty:
        raise ManifestError(f"No film is left of {report.input_rows} rows. " + "; ".join(report.format_lines()[1:]))
    report.output_rows = len(rows)
    report.labels = Counter(rows["label"].map(normalize_label) if "label" in rows.columns else [""] * len(rows))
    report.missing = {
        name: int((rows[name].isna() | (rows[name].astype(str) == "")).sum())
        for name in schema.names
        if name in rows.columns
    }
    if {"height_cm", "weight_kg", "bmi"} <= set(rows.columns):
        report.missing["bmi"] = int((rows["bmi"].isna() & (rows["height_cm"].isna() | rows["weight_kg"].isna())).sum())
    # without symbolic links, which ".." would not lead back through
    start = os.path.relpath(os.path.realpath(root), os.path.realpath(out.parent))
    rows = rows.assign(path=[os.path.normpath(os.path.join(start, name)) for name in rows["path"]])
    out.parent.mkdir(parents=True, exist_ok=True)
    _write(rows, out)
    for name in sorted(rows["split"].unique()) if split else ():
        _write(rows[rows["split"] == name], make_path_beside(out, f"{name}{out.suffix}"))
    make_path_beside(out, "report.json").write_text(json.dumps(report.to_dict(), indent=1) + "\n")
    return rows


def _write(rows: pd.DataFrame, path: Path) -> None:
    """Write a table as CSV or Parquet; the file appears whole or not at all."""
    partial = path.with_name(f"{path.name}.partial")
    if path.suffix.lower() in PARQUET:
        rows.to_parquet(partial, index=False)
    else:
        rows.to_csv(partial, index=False)
    os.replace(partial, path)


def assign_labels(normal: pd.Series, known: pd.Series) -> np.ndarray:
    """Return by row "normal", "abnormal", or "" where the label is not known; a missing value counts as False."""
    is_normal, is_known = (values.astype("boolean").fillna(False).to_numpy(bool) for values in (normal, known))
    return np.where(~is_known, "", np.where(is_normal, NORMAL, "abnormal"))
