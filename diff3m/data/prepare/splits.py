"""Train, val and test by patient: nobody in two of them."""

from __future__ import annotations

import hashlib

import numpy as np
import pandas as pd

from ..manifest import patient_key
from .report import Report, keep

SPLITS = ("train", "val", "test")
TWO_SPLITS = "patient in two splits"
UNCHECKED = "without a patient number, so that its split could not be checked"  # something to know of a row


def disjoint(rows: pd.DataFrame, report: Report, patient: str = "patient", split: str = "split") -> pd.DataFrame:
    """Return rows of patients who are in one split only."""
    return keep(rows, in_one_split(rows, patient, split), report, TWO_SPLITS)


def in_one_split(rows: pd.DataFrame, patient: str = "patient", split: str = "split") -> pd.Series:
    """Tell by row whether its patient is in one split only, however it is spelled.

    Rows without a patient, of whom nobody can say, are True.
    """
    keys = rows[patient].map(patient_key)
    return (keys == "") | (split_key(rows[split]).groupby(keys).transform("nunique") <= 1)


def split_key(splits: pd.Series) -> pd.Series:
    """Return a split's name without case or blanks around it; <NA> where there is none."""
    names = splits.astype("string").str.strip().str.casefold()
    return names.mask(names == "")


def assign_splits(rows: pd.DataFrame, shares: tuple[float, float] = (0.8, 0.1), seed: int = 0) -> pd.DataFrame:
    """Return the rows with `split`: train, val and test by a hash of (seed, patient).

    A patient's split is the same whatever else the table holds. All films without a patient go to one split, since any
    two of them may be of one patient. shares: of train and val.
    """

    def split(patient: str) -> str:
        number = int.from_bytes(hashlib.sha256(f"{seed}/{patient}".encode()).digest()[:8], "big") / 2**64
        return SPLITS[int(np.searchsorted(np.cumsum(shares), number, side="right"))]

    keys = rows["patient"].map(patient_key)
    return rows.assign(split=keys.map({key: split(key) for key in keys.unique()}))


def hold_out_validation(rows: pd.DataFrame, seed: int, share: float = 0.1) -> pd.DataFrame:
    """Move a share of the training patients to "val", for releases that have train and test alone."""
    training = rows["split"] == "train"
    return rows.assign(split=rows["split"].mask(training, assign_splits(rows, (1 - share, share), seed)["split"]))
