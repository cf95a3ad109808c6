"""What every `diff3m prepare` does with its tables: open them, keep one row a film, write manifests and a report."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from ...ehr import EHRSchema
from ..manifest import NORMAL, PARQUET, ManifestError, label_key, read_table
from .plausibility import MAX_DIFFERENCE, plausible
from .report import Report, keep
from .splits import SPLITS

CONTRADICTORY, DUPLICATE = "rows of one film that contradict each other", "duplicate row"  # why rows are dropped


def open_table(folder: Path, *names: str, columns: Sequence[str] | None = None, dtype: object = str) -> pd.DataFrame:
    """Read a table of a data set: the first of several file names under a folder, each tried plain and gzipped.

    columns, dtype: as `read_table` takes them. Raises ManifestError naming what was looked for, or what is wrong with
    the file; a table without rows is wrong.
    """
    path = next((path for path in places(folder, *names) if path.is_file()), None)
    if path is None:
        raise ManifestError(f"There is no {' or '.join(names)} (or .gz) in {folder}. Check the folder.")
    table = read_table(path, columns, dtype)
    if table.empty:
        raise ManifestError(f"{path} has no rows. Load it again from where it came.")
    return table


def places(folder: Path, *names: str) -> list[Path]:
    """Return where `open_table` looks for a table, in turn."""
    return [folder / f"{name}{end}" for name in names for end in ("", ".gz")]


def beside(out: Path, end: str) -> Path:
    """Return what is written beside OUT: OUT-report.json for report.json."""
    return out.with_name(f"{out.stem}-{end}")


def refuse_overwriting(out: Path, tables: Iterable[Path], splits: bool = True) -> None:
    """Raise ManifestError where OUT is a table that is to be read.

    So it does for a file that is written beside OUT, those of splits too if `splits`.
    """
    ends = [
        "report.json",
        *([f"{name}{out.suffix}" for name in SPLITS] + ["boxes.csv", "schema.yaml"] if splits else []),
    ]
    targets = [path for path in (out, *(beside(out, end) for end in ends)) if path.exists()]
    for table in tables:
        if same := next((path for path in targets if table.exists() and path.samefile(table)), None):
            raise ManifestError(f"{same} is a table to be read, and would be overwritten. Choose another --out.")


def contradictory(values: pd.DataFrame, keys: pd.Series) -> pd.Series:
    """Tell by row whether another row of the same key says something else; rows without a key are False."""
    answers = values.groupby(list(values.columns), sort=False, dropna=False).ngroup()
    return answers.groupby(keys).transform("nunique") > 1


def without_duplicates(
    rows: pd.DataFrame, column: str, report: Report, columns: list[str] | None = None
) -> pd.DataFrame:
    """Return one row for each film that a column names.

    The same row twice counts once; of rows that differ in the `columns` columns (all by default) none is kept, since
    nobody can say which is right.
    """
    rows = keep(rows, ~contradictory(rows[columns or list(rows.columns)], rows[column]), report, CONTRADICTORY, column)
    return keep(rows, ~rows[column].duplicated(), report, DUPLICATE, column)


def one_row_each(rows: pd.DataFrame, key: str, report: Report, reason: str) -> pd.DataFrame:
    """Return rows of a table of the source that should have one for each key.

    The same row twice counts once; keys whose rows differ are left out, since nobody can say which is right, and
    counted under a reason.
    """
    several = contradictory(rows, rows[key])
    report.omit(reason, [f"{key} {value}" for value in rows.loc[several, key].unique()])
    return rows[~several].drop_duplicates()


def write_manifests(
    rows: pd.DataFrame,
    root: Path,
    out: Path,
    schema: EHRSchema,
    report: Report,
    split: bool = True,
    max_difference: float = MAX_DIFFERENCE,
    doubt_units: bool = True,
) -> pd.DataFrame:
    """Write OUT, OUT-report.json and, if `split`, one file a split (OUT-train.csv …).

    Paths become relative to OUT's folder.

    CSV, or Parquet where OUT ends in .parquet. max_difference, doubt_units: see `plausible`. Raises ManifestError if no
    row is left.
    """
    rows = plausible(rows, schema, report, max_difference, doubt_units).reset_index(drop=True)
    if rows.empty:
        raise ManifestError(f"No film is left of {report.input_rows} rows. " + "; ".join(report.lines()[1:]))
    report.output_rows = len(rows)
    report.labels = Counter(rows["label"].map(label_key) if "label" in rows.columns else [""] * len(rows))
    report.missing = {
        name: int((rows[name].isna() | (rows[name].astype(str) == "")).sum())
        for name in schema.names
        if name in rows.columns
    }
    if {"height_cm", "weight_kg", "bmi"} <= set(rows.columns):
        report.missing["bmi"] = int((rows["bmi"].isna() & (rows["height_cm"].isna() | rows["weight_kg"].isna())).sum())
    start = os.path.relpath(
        os.path.realpath(root), os.path.realpath(out.parent)
    )  # the folders themselves: links do not survive "../"
    rows = rows.assign(path=[os.path.normpath(os.path.join(start, name)) for name in rows["path"]])
    out.parent.mkdir(parents=True, exist_ok=True)
    _write(rows, out)
    for name in sorted(rows["split"].unique()) if split else ():
        _write(rows[rows["split"] == name], beside(out, f"{name}{out.suffix}"))
    beside(out, "report.json").write_text(json.dumps(report.to_dict(), indent=1) + "\n")
    return rows


def _write(rows: pd.DataFrame, path: Path) -> None:
    partial = path.with_name(f"{path.name}.partial")
    if path.suffix.lower() in PARQUET:
        rows.to_parquet(partial, index=False)
    else:
        rows.to_csv(partial, index=False)
    os.replace(partial, path)


def label_of(normal: pd.Series, known: pd.Series) -> np.ndarray:
    """Return `normal`, `abnormal`, or empty where nothing is known. Both by row; unknown counts as False."""
    is_normal, is_known = (values.astype("boolean").fillna(False).to_numpy(bool) for values in (normal, known))
    return np.where(~is_known, "", np.where(is_normal, NORMAL, "abnormal"))
