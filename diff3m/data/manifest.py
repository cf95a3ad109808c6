"""The manifest: the one table that every data set becomes. Training, calibration and evaluation all read it.

Columns, in any case: `path`; the schema's feature names (empty = unknown); `label` ("normal" or anything else, empty =
not known); `patient` or `subject_id` (whose film it is, for checks alone). `path` is relative to the manifest's folder,
or absolute. Any table that `read_table` reads is one, CSV or Parquet; docs/data.md lists the columns that `diff3m
prepare` writes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import reduce
from pathlib import Path

import pandas as pd

from ..ehr import UNKNOWN_WORDS, EHRError, EHRSchema, Record
from ..ehr.facts import read_text
from .paths import locate
from .table import PARQUET, ManifestError, read_table

__all__ = [
    "NORMAL",
    "PARQUET",
    "PATIENT_COLUMNS",
    "Case",
    "ManifestError",
    "feature_of_column",
    "label_key",
    "normal_cases",
    "patient_key",
    "patient_keys",
    "patients_of",
    "read_manifest",
    "read_table",
    "shared_films",
    "shared_patients",
]

NORMAL = "normal"
PATIENT_COLUMNS = ("patient", "subject_id")  # in any case; the first that says something names a row's patient
FLOAT_ID = re.compile(r"(\d+)\.0*")  # a number that went through a column of floats


@dataclass(frozen=True)
class Case:
    """One row of a manifest.

    row: its number in the file; the first row of data is 1. path: of the film. record: as the schema parses it. label:
    None where not known. note: a sentence where the film was found under another name than the manifest's, or cannot be
    on this machine.
    """

    row: int
    path: Path
    record: Record
    label: str | None
    note: str = ""

    @property
    def abnormal(self) -> bool | None:
        """True for any label but "normal"; None without a label."""
        return None if self.label is None else self.label != NORMAL


def read_manifest(path: str | Path, schema: EHRSchema, limit: int | None = None) -> list[Case]:
    """All rows, checked, or the first `limit`. Raises ManifestError naming the first row that is wrong."""
    path = Path(path)
    if not path.is_file():
        raise ManifestError(f"There is no manifest file {path}. Check the path.")
    table = read_table(path)
    columns = [str(column).strip().lower() for column in table.columns]
    table.columns = [feature_of_column(column, schema) or column for column in columns]
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


def feature_of_column(column: str, schema: EHRSchema) -> str | None:
    """The feature that a column in small letters holds: by its name, with or without its unit, as "height (cm)"."""
    words = _words(column)
    for feature in schema.features:
        if words in (_words(feature.name), _words(f"{feature.name} {feature.unit}")):
            return feature.name
    return None


def _words(name: str) -> str:
    return " ".join(re.findall(r"[^\W_]+", name.lower().replace("²", "2")))


def label_key(value: object) -> str:
    """A label without blanks around it, `normal` however it is written; "" where there is none, as in "NaN"."""
    text = "" if pd.isna(value) else read_text(value)
    return NORMAL if text.casefold() == NORMAL else text


def patient_key(value: object) -> str:
    """A patient's id as text that is the same in every table.

    Blanks around it and the `.0` of a column of floats are removed.

    "" where it is not known.
    """
    text = "" if value is None or value is pd.NA else str(value).strip()
    if text.casefold() in UNKNOWN_WORDS:
        return ""
    whole = FLOAT_ID.fullmatch(text)
    return whole[1] if whole else text


def patient_keys(table: pd.DataFrame) -> pd.Series | None:
    """Each row's patient as `patient_key` gives it, from the first of `PATIENT_COLUMNS` that names one.

    None without such a column.
    """
    columns = {str(column).strip().lower(): column for column in table.columns}
    keys = [table[columns[name]].map(patient_key) for name in PATIENT_COLUMNS if name in columns]
    return reduce(lambda first, other: first.where(first != "", other), keys) if keys else None


def patients_of(path: str | Path) -> set[str]:
    """The patients that a manifest names in `patient` or `subject_id`, as `patient_key` gives them.

    Empty without such a column.

    Raises ManifestError.
    """
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
            f"The manifest {Path(path).name} holds no normal film: its column `label` must say `normal` for the films "
            "to learn from."
        )
    return cases


def _cases(table: pd.DataFrame, folder: Path, schema: EHRSchema) -> Iterator[Case]:
    for row, values in zip(table.index + 1, table.to_dict("records"), strict=True):
        name = str(values["path"]).strip()
        if not name:
            raise ManifestError(f"Row {row}: the path is empty. Name the film, or remove the row.")
        try:
            record = schema.parse(values)
        except EHRError as error:
            raise ManifestError(f"Row {row}: {error}") from None
        path, note = locate(folder, name)
        yield Case(int(row), path, record, label_key(values.get("label", "")) or None, note)
