"""What an explanation needs of a checkpoint, and the sentence that says what is missing."""

from __future__ import annotations

from enum import Enum, auto

from ..detector import Detector


class ExplanationError(ValueError):
    """An explanation that this checkpoint or this record cannot give; the message says why."""


class Need(Enum):
    """A property that a checkpoint must have."""

    UNKNOWN_TOKENS = auto()  # it was trained on records with unknown values
    FIT = auto()  # a calibrated fit of the record, given the film
    PRIOR_FIT = auto()  # the same without the film
    SCORE = auto()  # a calibrated anomaly score


NO_FIT = "This checkpoint's fit of the record has not been calibrated: run `diff3m calibrate` with --fit."
MISSING = {
    Need.UNKNOWN_TOKENS: (
        "This checkpoint cannot say what a part of the record adds: it was trained without a token for unknown values."
    ),
    Need.FIT: NO_FIT,
    Need.PRIOR_FIT: NO_FIT,
    Need.SCORE: "This checkpoint gives no score, so there is no score to explain: run `diff3m calibrate`.",
}


def meets(detector: Detector, need: Need) -> bool:
    """Tell whether a checkpoint has the property that a need names."""
    config = detector.config
    return {
        Need.UNKNOWN_TOKENS: config.network.unknown_tokens,
        Need.FIT: bool(config.fit),
        Need.PRIOR_FIT: bool(config.prior_fit),
        Need.SCORE: bool(config.scoring.calibration),
    }[need]


def require(detector: Detector, *needs: Need) -> None:
    """Raise ExplanationError for the first need that the checkpoint does not meet."""
    for need in needs:
        if not meets(detector, need):
            raise ExplanationError(MISSING[need])
