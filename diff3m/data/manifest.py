"""The manifest, the table of films that training, calibration and evaluation read.

Columns, in any case: `path`, relative to the manifest's folder or absolute; the schema's feature names (empty =
unknown); `label` ("normal" or anything else, empty = not known); `patient` or `subject_id` (whose film it is, for
checks alone). The table is CSV or Parquet, as `read_table` reads it; docs/data.md lists the columns that
`diff3m prepare` writes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache, reduce
from pathlib import Path

import numpy as np
import pandas as pd

from ..ehr import UNKNOWN_WORDS, EHRError, EHRSchema, Record
from ..ehr.facts import MAX_TEXT, read_text
from .paths import clean_name, locate
from .table import PARQUET, ManifestError, read_table, stream_table

__all__ = [
    "NORMAL",
    "PARQUET",
    "PATIENT_COLUMNS",
    "REPORT_COLUMNS",
    "Case",
    "Manifest",
    "ManifestError",
    "describe_unread_columns",
    "find_feature",
    "normalize_label",
    "normalize_patient",
    "read_manifest",
    "read_normal_cases",
    "read_patients_by_row",
    "read_table",
    "rename_columns",
]

NORMAL = "normal"
PATIENT_COLUMNS = ("patient", "subject_id")  # in any case; the first that is not empty names a row's patient
REPORT_COLUMNS = ("race", "ethnicity", "insurance")  # for reports on subgroups alone; no model sees them
FEATURE_WORDS = {  # first words of column names that seem to hold a feature
    "age": "age", "sex": "sex", "gender": "sex", "view": "view", "viewposition": "view", "projection": "view",
    "bmi": "bmi", "height": "height_cm", "weight": "weight_kg", "systolic": "systolic_mmhg", "sbp": "systolic_mmhg",
    "diastolic": "diastolic_mmhg", "dbp": "diastolic_mmhg",
}  # fmt: skip
FLOAT_ID = re.compile(r"(\d+)\.0*")  # an id that was stored in a column of floats


@dataclass(frozen=True)
class Case:
    """One row of a manifest.

    row: its number in the file, from 1 for the first row of data.
    path: of the film.
    record: as the schema parses it.
    label: None where not known.
    note: a sentence where the film was found under another name than the manifest's, or its path is of another machine.
    report_columns: values of `REPORT_COLUMNS`, where the manifest has them.
    column_note: a sentence where a column that seems to hold a feature was not read.
    """

    row: int
    path: Path
    record: Record
    label: str | None
    note: str = ""
    report_columns: Mapping[str, str] = field(default_factory=dict)
    column_note: str = ""

    @property
    def abnormal(self) -> bool | None:
        """True for any label but "normal"; None without a label."""
        return None if self.label is None else self.label != NORMAL

    @property
    def notes(self) -> tuple[str, ...]:
        """The notes that are shown beside the row's result."""
        return tuple(note for note in (self.note, self.column_note) if note)


class Manifest:
    """A manifest's rows, read some at a time, so that a table of any length fits into memory.

    path: of the table. schema: of the records. limit: number of first rows that are read; None for all. label: only
    rows with this label; None for all. duplicates: how many rows name a film that an earlier row names.

    All rows are checked at once; `len` is their number, and iteration yields a `Case` for each. Raises ManifestError
    naming the first row that is wrong.
    """

    def __init__(self, path: str | Path, schema: EHRSchema, limit: int | None = None, label: str | None = None) -> None:
        self.path, self.schema, self.limit, self.label = Path(path), schema, limit, label
        names = (_parse_row(number, values, schema)[0] for number, values in self._values())
        films = np.fromiter((hash(clean_name(name)) for name in names), np.int64)
        self._rows, self.duplicates = len(films), len(films) - len(np.unique(films))
        if not self._rows:
            raise ManifestError(
                f"The manifest {self.path.name} holds no {label} film: its column `label` must say `{label}` for the "
                "films to learn from."
                if label
                else f"The manifest {self.path.name} has no rows."
            )

    def __len__(self) -> int:
        return self._rows

    def __iter__(self) -> Iterator[Case]:
        return self.cases()

    def cases(self, is_wanted: Callable[[int], bool] = lambda position: True) -> Iterator[Case]:
        """Yield the rows whose position, 0 to `len` − 1, `is_wanted` accepts; the others are not parsed."""
        for position, (number, values) in enumerate(self._values()):
            if is_wanted(position):
                yield _make_case(number, values, self.path.parent, self.schema)

    def _values(self) -> Iterator[tuple[int, dict]]:
        rows = _read_rows(self.path, self.schema, self.limit)
        return (
            rows
            if self.label is None
            else (row for row in rows if normalize_label(row[1].get("label", "")) == self.label)
        )


def read_manifest(path: str | Path, schema: EHRSchema, limit: int | None = None) -> list[Case]:
    """Read and check all rows, or the first `limit`. Raises ManifestError naming the first row that is wrong."""
    path = Path(path)
    cases = [_make_case(number, values, path.parent, schema) for number, values in _read_rows(path, schema, limit)]
    if not cases:
        raise ManifestError(f"The manifest {path.name} has no rows.")
    return cases


def find_feature(column: str, schema: EHRSchema) -> str | None:
    """Find the feature that a column holds and return its name; None for other columns.

    column: its name in lower case; the feature's unit may follow, as in "height (cm)".
    """
    words = _split_words(column)
    for feature in schema.features:
        if words in (_split_words(feature.name), _split_words(f"{feature.name} {feature.unit}")):
            return feature.name
    return None


@lru_cache(maxsize=64)
def describe_unread_columns(columns: tuple[str, ...], schema: EHRSchema) -> str:
    """Return sentences on columns that seem to hold a feature under another name or unit; "" where there are none.

    columns: their names in lower case, those of features as the schema writes them.
    """
    has_image_size = any(
        "width" in _split_words(column) for column in columns
    )  # then a height may be that of the picture
    sentences = []
    for column in columns:
        first_word = _split_words(column).removeprefix("patient ").removeprefix("s ").partition(" ")[0]
        name = FEATURE_WORDS.get(first_word, "")
        if name in schema and name not in columns and not (has_image_size and name == "height_cm"):
            unit = f", in {schema[name].unit}" if schema[name].unit else ""
            sentences.append(f"The column `{column[:MAX_TEXT]}` was not read. To use it, name it `{name}`{unit}.")
    return " ".join(sentences)


def _split_words(name: str) -> str:
    """Return the words of a column's name in lower case, separated by blanks."""
    return " ".join(re.findall(r"[^\W_]+", name.lower().replace("²", "2")))


def normalize_label(value: object) -> str:
    """Return a label without surrounding blanks, `normal` in lower case; "" where it is not known, as in "NaN"."""
    text = "" if pd.isna(value) else read_text(value)
    return NORMAL if text.casefold() == NORMAL else text


def normalize_patient(value: object) -> str:
    """Return a patient's id in the same form for every table; "" where it is not known.

    Surrounding blanks and the `.0` of a column of floats are removed.
    """
    text = "" if value is None or value is pd.NA else str(value).strip()
    if text.casefold() in UNKNOWN_WORDS:
        return ""
    whole = FLOAT_ID.fullmatch(text)
    return whole[1] if whole else text


def read_patients_by_row(table: pd.DataFrame) -> pd.Series | None:
    """Return each row's patient by `normalize_patient`, from the first of `PATIENT_COLUMNS` that is not empty.

    None for a table without such a column.
    """
    columns = {str(column).strip().lower(): column for column in table.columns}
    keys = [table[columns[name]].map(normalize_patient) for name in PATIENT_COLUMNS if name in columns]
    return reduce(lambda first, other: first.where(first != "", other), keys) if keys else None


def read_normal_cases(path: str | Path, schema: EHRSchema) -> list[Case]:
    """Read the rows labelled `normal`, for training and calibration. Raises ManifestError if there are none."""
    cases = [case for case in read_manifest(path, schema) if case.abnormal is False]
    if not cases:
        raise ManifestError(
            f"The manifest {Path(path).name} holds no normal film: its column `label` must say `normal` for the films "
            "to learn from."
        )
    return cases


def _read_rows(path: Path, schema: EHRSchema, limit: int | None) -> Iterator[tuple[int, dict]]:
    """Yield the number, from 1, and the values of each row. Raises ManifestError for no file or wrong columns."""
    if not path.is_file():
        raise ManifestError(f"There is no manifest file {path}. Check the path.")
    if limit is not None and limit < 1:
        raise ManifestError(f"The limit must be at least 1, got {limit}.")
    remaining = limit
    for chunk in stream_table(path):
        rename_columns(chunk, path, schema)
        part = chunk if remaining is None else chunk.head(remaining)
        yield from zip((part.index + 1).tolist(), part.to_dict("records"), strict=True)
        if remaining is not None:
            remaining -= len(part)
            if not remaining:
                return


def rename_columns(table: pd.DataFrame, path: Path, schema: EHRSchema) -> None:
    """Rename a table's columns in place as the schema writes them.

    Raises ManifestError where `path` is missing, or two columns have one name.
    """
    columns = [str(column).strip().lower() for column in table.columns]
    table.columns = [find_feature(column, schema) or column for column in columns]
    if "path" not in table.columns:
        raise ManifestError(
            f"The manifest {path.name} has no column `path`. Its columns are: {', '.join(table.columns)[:300]}."
        )
    if len(set(table.columns)) < len(table.columns):
        raise ManifestError(f"The manifest {path.name} has two columns of the same name. Rename or remove one.")


def _parse_row(number: int, values: dict, schema: EHRSchema) -> tuple[str, Record]:
    """Return the path and the record of a row. Raises ManifestError naming the row."""
    name = str(values["path"]).strip()
    if not name:
        raise ManifestError(f"Row {number}: the path is empty. Name the film, or remove the row.")
    try:
        return name, schema.parse(values)
    except EHRError as error:
        raise ManifestError(f"Row {number}: {error}") from None


def _make_case(number: int, values: dict, folder: Path, schema: EHRSchema) -> Case:
    """Return a row as a case. folder: of the manifest. Raises ManifestError naming the row."""
    name, record = _parse_row(number, values, schema)
    path, note = locate(folder, name)
    columns = {column: values[column] for column in REPORT_COLUMNS if values.get(column)}
    label = normalize_label(values.get("label", "")) or None
    return Case(number, path, record, label, note, columns, describe_unread_columns(tuple(values), schema))
