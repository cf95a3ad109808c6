"""The manifest: the one table that every data set becomes. Training, calibration and evaluation all read it.

Columns (in any case): path, the schema's feature names (empty = unknown), label ("normal" or anything else, empty = not known), patient or
subject_id (whose film it is, for checks alone). `path` is relative to the manifest's folder, or absolute. CSV or Parquet.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import reduce
from pathlib import Path

import pandas as pd

from ..ehr import UNKNOWN_WORDS, EHRError, EHRSchema, Record

NORMAL = "normal"
PARQUET = (".parquet", ".pq")  # ends of a manifest's name; any other is CSV
PATIENT_COLUMNS = ("patient", "subject_id")  # in any case; the first that says something names a row's patient
FLOAT_ID = re.compile(r"(\d+)\.0*")  # a number that went through a column of floats
TOO_LONG = re.compile(r"Expected \d+ fields in line (\d+), saw \d+")
COMMAS = "Put quotes around values that hold a comma."


class ManifestError(ValueError):
    """A manifest that cannot be used; the message names the row and column and says what to do."""


@dataclass(frozen=True)
class Case:
    """One row: its number in the file (the first row of data is 1), the film's path, the parsed record, the label or None."""

    row: int
    path: Path
    record: Record
    label: str | None

    @property
    def abnormal(self) -> bool | None:
        """True for any label but "normal"; None without a label."""
        return None if self.label is None else self.label != NORMAL


def read_table(path: Path) -> pd.DataFrame:
    """A CSV or Parquet file as text columns. Raises ManifestError."""
    if not path.is_file():
        raise ManifestError(f"There is no manifest file {path}. Check the path.")
    try:
        if path.suffix.lower() in PARQUET:
            return pd.read_parquet(path).astype("string").fillna("")
        return read_csv(path, dtype=str, keep_default_na=False, skipinitialspace=True, compression=None)
    except ManifestError:
        raise
    except pd.errors.EmptyDataError:
        raise ManifestError(f"The manifest {path.name} is empty. It needs a header line and one row a film.") from None
    except Exception as error:  # pandas raises many kinds of error
        if long := TOO_LONG.search(str(error)):
            raise ManifestError(
                f"Line {long[1]} of the manifest {path.name} has more fields than the header. {COMMAS}"
            ) from None
        raise ManifestError(
            f"The manifest {path.name} cannot be read as a table ({str(error)[:200]}). Save it as CSV with a header line."
        ) from None


def read_csv(path: Path, usecols: list[str] | None = None, **options) -> pd.DataFrame:
    """A CSV file as its header names it. Where its first row has more fields, pandas would take the first for an index: fields beyond the header may
    only be empty (a comma at the end of each line). Raises ManifestError naming the first row with another, and what pandas raises."""
    first = pd.read_csv(path, **{**options, "dtype": str, "nrows": 1})
    if isinstance(first.index, pd.RangeIndex):
        return pd.read_csv(path, usecols=usecols, **options)
    columns, beyond = list(first.columns), [f"beyond the header, {number}" for number in range(first.index.nlevels)]
    table = pd.read_csv(path, header=0, names=[*columns, *beyond], usecols=[*(usecols or columns), *beyond], **options)
    more = table[beyond].apply(lambda cells: cells.astype("string").str.strip().fillna("") != "").any(axis=1)
    if more.any():
        raise ManifestError(f"Row {int(more.idxmax()) + 1} of {path.name} has more fields than the header. {COMMAS}")
    return table.drop(columns=beyond)


def read_manifest(path: str | Path, schema: EHRSchema, limit: int | None = None) -> list[Case]:
    """All rows, checked. Raises ManifestError naming the first row that is wrong."""
    path = Path(path)
    table = read_table(path)
    spelled = {name.lower(): name for name in schema.names}
    columns = [str(column).strip().lower() for column in table.columns]
    table.columns = [spelled.get(column, column) for column in columns]
    if "path" not in table.columns:
        raise ManifestError(
            f"The manifest {path.name} has no column `path`. Its columns are: {', '.join(table.columns)[:300]}."
        )
    if len(set(table.columns)) < len(table.columns):
        raise ManifestError(f"The manifest {path.name} has two columns of the same name. Rename or remove one.")
    if limit is not None and limit < 1:
        raise ManifestError(f"The limit must be at least 1, got {limit}.")
    cases = list(_cases(table if limit is None else table.head(limit), path.parent, schema))
    if not cases:
        raise ManifestError(f"The manifest {path.name} has no rows.")
    return cases


def label_key(value: object) -> str:
    """A label without blanks around it, `normal` however it is written; "" where there is none."""
    text = "" if pd.isna(value) else str(value).strip()
    return NORMAL if text.casefold() == NORMAL else text


def patient_key(value: object) -> str:
    """A patient's id as text that is the same in every table: without blanks around it or the `.0` of a column of floats; "" where unknown."""
    text = "" if value is None or value is pd.NA else str(value).strip()
    if text.casefold() in UNKNOWN_WORDS:
        return ""
    whole = FLOAT_ID.fullmatch(text)
    return whole[1] if whole else text


def patient_keys(table: pd.DataFrame) -> pd.Series | None:
    """Each row's patient as `patient_key` gives it, from the first of `PATIENT_COLUMNS` that names one; None without such a column."""
    spelled = {str(column).strip().lower(): column for column in table.columns}
    keys = [table[spelled[name]].map(patient_key) for name in PATIENT_COLUMNS if name in spelled]
    return reduce(lambda first, other: first.where(first != "", other), keys) if keys else None


def patients_of(path: str | Path) -> set[str]:
    """The patients that a manifest names in `patient` or `subject_id`, as `patient_key` gives them; empty without such a column. Raises
    ManifestError."""
    keys = patient_keys(read_table(Path(path)))
    return set(keys) - {""} if keys is not None else set()


def shared_patients(first: str | Path, second: str | Path) -> tuple[list[str], bool]:
    """Patients that two manifests both name, sorted, and whether both name any. Raises ManifestError."""
    one, other = patients_of(first), patients_of(second)
    return sorted(one & other), bool(one and other)


def shared_films(first: Iterable[Case], second: Iterable[Case]) -> list[Path]:
    """Films that are in both, sorted, however their paths are written."""
    return sorted({case.path.resolve() for case in first} & {case.path.resolve() for case in second})


def normal_cases(path: str | Path, schema: EHRSchema) -> list[Case]:
    """The rows labelled `normal`, for training and calibration. Raises ManifestError if there is none."""
    cases = [case for case in read_manifest(path, schema) if case.abnormal is False]
    if not cases:
        raise ManifestError(
            f"The manifest {Path(path).name} holds no normal film: its column `label` must say `normal` for the films to learn from."
        )
    return cases


def _cases(table: pd.DataFrame, folder: Path, schema: EHRSchema) -> Iterator[Case]:
    for row, values in enumerate(table.to_dict("records"), start=1):
        name = str(values["path"]).strip()
        if not name:
            raise ManifestError(f"Row {row}: the path is empty.")
        try:
            record = schema.parse(values)
        except EHRError as error:
            raise ManifestError(f"Row {row}: {error}") from None
        yield Case(row, folder / name, record, label_key(values.get("label", "")) or None)
