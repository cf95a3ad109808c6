"""What every `diff3m prepare` does with its tables: open them; one row a film, one split a patient, readable images; manifests and a report."""

from __future__ import annotations

import hashlib
import json
import os
import zlib
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd

from ...case import prepare_film
from ...ehr import EHRSchema
from ...imaging.dicom import looks_like_dicom
from ...imaging.radiograph import Preprocessing, RadiographError, read_radiograph
from ..manifest import NORMAL, PARQUET, ManifestError, label_key, patient_key, read_csv
from .plausibility import CONTRADICTS, plausible
from .report import Report, keep

MAGIC = (b"\x89PNG", b"\xff\xd8\xff", b"II*\x00", b"MM\x00*", b"RIFF")
ENDS = {b"\xff\xd8\xff": b"\xff\xd9", b"\x89PNG": b"IEND"}
TWO_SPLITS, CONTRADICTORY, DUPLICATE = (
    "patient in two splits",
    "rows of one film that contradict each other",
    "duplicate row",
)  # why rows are dropped
SPLITS = ("train", "val", "test")
UNCHECKED = "without a patient number, so that its split could not be checked"  # something to know of a row
END_BYTES = 1024  # some writers pad their files


def open_table(folder: Path, *names: str, **options) -> pd.DataFrame:
    """The first of several file names that exists under a folder, as a table; each is tried plain and gzipped.

    Raises ManifestError naming what was looked for, and what is wrong with the file; a table without rows is wrong.
    """
    path = next((path for path in places(folder, *names) if path.is_file()), None)
    if path is None:
        raise ManifestError(f"There is no {' or '.join(names)} (or .gz) in {folder}. Check the folder.")
    try:
        table = read_csv(path, **options)
    except ManifestError:
        raise
    except (ValueError, OSError, EOFError, zlib.error) as error:
        raise ManifestError(f"{path} cannot be read ({str(error)[:200]}). Load it again from where it came.") from None
    if table.empty:
        raise ManifestError(f"{path} has no rows. Load it again from where it came.")
    return table


def places(folder: Path, *names: str) -> list[Path]:
    """Where `open_table` looks for a table, in turn."""
    return [folder / f"{name}{end}" for name in names for end in ("", ".gz")]


def beside(out: Path, end: str) -> Path:
    """What is written beside OUT: OUT-report.json for report.json."""
    return out.with_name(f"{out.stem}-{end}")


def refuse_overwriting(out: Path, tables: Iterable[Path], splits: bool = True) -> None:
    """Raise ManifestError where OUT, or a file that is written beside it (those of splits too, if `splits`), is a table to be read."""
    ends = [
        "report.json",
        *([f"{name}{out.suffix}" for name in SPLITS] + ["boxes.csv", "schema.yaml"] if splits else []),
    ]
    written = [path for path in (out, *(beside(out, end) for end in ends)) if path.exists()]
    for table in tables:
        if same := next((path for path in written if table.exists() and path.samefile(table)), None):
            raise ManifestError(f"{same} is a table to be read, and would be overwritten. Choose another --out.")


def contradictory(told: pd.DataFrame, keys: pd.Series) -> pd.Series:
    """By row, whether another row of the same key says something else; rows without a key are False."""
    answers = told.groupby(list(told.columns), sort=False, dropna=False).ngroup()
    return answers.groupby(keys).transform("nunique") > 1


def without_duplicates(rows: pd.DataFrame, column: str, report: Report, told: list[str] | None = None) -> pd.DataFrame:
    """One row for each film that a column names: the same row twice counts once, and of rows that differ in what they tell of a film (all columns,
    or those `told`) none is kept, since nobody can say which is right."""
    rows = keep(rows, ~contradictory(rows[told or list(rows.columns)], rows[column]), report, CONTRADICTORY, column)
    return keep(rows, ~rows[column].duplicated(), report, DUPLICATE, column)


def one_row_each(rows: pd.DataFrame, key: str, report: Report, reason: str) -> pd.DataFrame:
    """Rows of a table of the source that should have one for each key: the same row twice counts once; keys whose rows differ are left out, since
    nobody can say which is right, and counted under a reason."""
    several = contradictory(rows, rows[key])
    report.leave(reason, [f"{key} {value}" for value in rows.loc[several, key].unique()])
    return rows[~several].drop_duplicates()


def with_readable_images(rows: pd.DataFrame, root: Path, report: Report, decode: bool = False) -> pd.DataFrame:
    """Rows whose `path` under root is there, begins as an image does (or is DICOM) and, for JPEG and PNG, ends as one. decode: each is also read
    whole, as training does, which takes as long as reading them: damaged in the middle, blank, tiny or far too long films are named as well."""

    def state(name: str) -> str:
        try:
            with (root / name).open("rb") as file:
                start = file.read(132)
                file.seek(max(0, file.seek(0, os.SEEK_END) - END_BYTES))
                end = file.read()
        except OSError:
            return "missing image"
        known = start.startswith(MAGIC) or looks_like_dicom(start)
        whole = all(mark in end for begin, mark in ENDS.items() if start.startswith(begin))
        if not (known and whole):
            return "unreadable image"
        try:
            if decode:
                prepare_film(read_radiograph(root / name), Preprocessing(size=64))
        except RadiographError:
            return "image that no film can be made of"
        return ""

    with ThreadPoolExecutor(16) as pool:
        states = np.array(list(pool.map(state, rows["path"], chunksize=256)), dtype=object)
    for reason in sorted(set(states) - {""}):
        report.drop(reason, rows.loc[states == reason, "path"])
    return rows[states == ""]


def disjoint(rows: pd.DataFrame, report: Report, patient: str = "patient", split: str = "split") -> pd.DataFrame:
    """Rows of patients who are in one split only."""
    return keep(rows, in_one_split(rows, patient, split), report, TWO_SPLITS)


def in_one_split(rows: pd.DataFrame, patient: str = "patient", split: str = "split") -> pd.Series:
    """By row, whether its patient is in one split only, however it is spelled; rows with an unknown patient, of whom nobody can say, are True."""
    keys = rows[patient].map(patient_key)
    return (keys == "") | (split_key(rows[split]).groupby(keys).transform("nunique") <= 1)


def split_key(splits: pd.Series) -> pd.Series:
    """A split's name without case or blanks around it; <NA> where there is none."""
    names = splits.astype("string").str.strip().str.casefold()
    return names.mask(names == "")


def assign_splits(rows: pd.DataFrame, shares: tuple[float, float] = (0.8, 0.1), seed: int = 0) -> pd.DataFrame:
    """Train, val and test by a hash of (seed, patient): a patient's split is the same whatever else the table holds. All films of unknown patients
    go to one split, since any two of them may be of one patient."""

    def split(patient: str) -> str:
        number = int.from_bytes(hashlib.sha256(f"{seed}/{patient}".encode()).digest()[:8], "big") / 2**64
        return SPLITS[0] if number < shares[0] else SPLITS[1] if number < shares[0] + shares[1] else SPLITS[2]

    keys = rows["patient"].map(patient_key)
    return rows.assign(split=keys.map({key: split(key) for key in keys.unique()}))


def write_manifests(
    rows: pd.DataFrame,
    root: Path,
    out: Path,
    schema: EHRSchema,
    report: Report,
    split: bool = True,
    apart: float = CONTRADICTS,
    doubted: bool = True,
) -> pd.DataFrame:
    """Write OUT, one file a split (OUT-train.csv …, if `split`) and OUT-report.json; paths become relative to OUT's folder.

    CSV, or Parquet where OUT ends in .parquet. apart, doubted: see `plausible`. Raises ManifestError if no row is left.
    """
    rows = plausible(rows, schema, report, apart, doubted).reset_index(drop=True)
    if rows.empty:
        raise ManifestError(f"No film is left of {report.read} rows. " + "; ".join(report.lines()[1:]))
    report.kept = len(rows)
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
    """`normal`, `abnormal`, or empty where nothing is known."""
    return np.where(~known, "", np.where(normal, NORMAL, "abnormal"))
