"""Splits into train, val and test, in which no patient is in two."""

from __future__ import annotations

import hashlib

import numpy as np
import pandas as pd

from ..manifest import normalize_patient
from .report import Report, keep_rows

SPLITS = ("train", "val", "test")
TWO_SPLITS = "patient in two splits"
UNCHECKED = "without a patient number, so that its split could not be checked"


def drop_shared_patients(rows: pd.DataFrame, report: Report) -> pd.DataFrame:
    """Drop the rows of patients who are in two splits."""
    return keep_rows(rows, is_in_one_split(rows), report, TWO_SPLITS)


def is_in_one_split(rows: pd.DataFrame, patient: str = "patient") -> pd.Series:
    """Tell by row whether its patient is in one split only, however ids and splits are spelled.

    patient: the column of patients. Rows without a patient, which cannot be checked, are True.
    """
    keys = rows[patient].map(normalize_patient)
    return (keys == "") | (normalize_splits(rows["split"]).groupby(keys).transform("nunique") <= 1)


def normalize_splits(splits: pd.Series) -> pd.Series:
    """Return the names of splits in lower case and stripped of blanks; <NA> where there is none."""
    names = splits.astype("string").str.strip().str.casefold()
    return names.mask(names == "")


def assign_splits(rows: pd.DataFrame, shares: tuple[float, float] = (0.8, 0.1), seed: int = 0) -> pd.DataFrame:
    """Add the column `split`: train, val or test by a hash of (seed, patient).

    A patient's split does not depend on the other rows of the table. All films without a patient go to one split,
    because any two of them may be of one patient. shares: of the patients in train and in val; the rest is test.
    """

    def split(patient: str) -> str:
        number = int.from_bytes(hashlib.sha256(f"{seed}/{patient}".encode()).digest()[:8], "big") / 2**64
        return SPLITS[int(np.searchsorted(np.cumsum(shares), number, side="right"))]

    keys = rows["patient"].map(normalize_patient)
    return rows.assign(split=keys.map({key: split(key) for key in keys.unique()}))


def hold_out_validation(rows: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Move a tenth of the training patients to "val", for data sets that are released with train and test alone."""
    training = rows["split"] == "train"
    return rows.assign(split=rows["split"].mask(training, assign_splits(rows, (0.9, 0.1), seed)["split"]))
