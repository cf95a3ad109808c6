"""Free-response reading: marks on films against known places, and the curve of sensitivity over false marks a film.

The curve (FROC) is that of Bunch et al., "A free response approach to the measurement and characterization of
radiographic observer performance", Proc. SPIE 127 (1977).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

Box = tuple[float, float, float, float]  # top, left, bottom, right: shares of the film's sides
MARGIN = 0.03  # share of the film's side by which a mark's middle may miss the true box
MAX_AREA = 4.0  # times the widened true box: a larger rectangle points at nothing


@dataclass(frozen=True)
class Mark:
    """A place that a reader marked. confidence: any scale on which larger is surer."""

    box: Box
    confidence: float


@dataclass(frozen=True)
class Reading:
    """One film as it was read. truths: the true places, none for a normal film. marks: the reader's."""

    truths: tuple[Box, ...]
    marks: tuple[Mark, ...]


@dataclass(frozen=True)
class CurvePoint:
    """Of all marks of at least this confidence.

    sensitivity: share of the true places with a mark; None where no film has a true place. false_marks: a film.
    """

    confidence: float
    sensitivity: float | None
    false_marks: float


def is_hit(mark: Box, truth: Box) -> bool:
    """Tell whether a mark points at a true place.

    Its middle lies in the box widened by `MARGIN`, and it is not more than `MAX_AREA` times as large as that.
    """
    top, left, bottom, right = truth[0] - MARGIN, truth[1] - MARGIN, truth[2] + MARGIN, truth[3] + MARGIN
    row, column = (mark[0] + mark[2]) / 2, (mark[1] + mark[3]) / 2
    if not (top <= row <= bottom and left <= column <= right):
        return False
    return (mark[2] - mark[0]) * (mark[3] - mark[1]) <= MAX_AREA * (bottom - top) * (right - left)


def count_marks(reading: Reading, confidence: float = float("-inf")) -> tuple[int, int]:
    """Count the true places that have a mark of at least a confidence, and the marks that point at none."""
    marks = [mark.box for mark in reading.marks if mark.confidence >= confidence]
    hit_count = sum(any(is_hit(mark, truth) for mark in marks) for truth in reading.truths)
    false = sum(not any(is_hit(mark, truth) for truth in reading.truths) for mark in marks)
    return hit_count, false


def compute_free_response_curve(readings: Sequence[Reading]) -> tuple[CurvePoint, ...]:
    """Compute a point for every confidence that was given, the surest first.

    Several marks on one true place count once, and none of them as false. Empty without a film or a mark.
    """
    confidences = sorted({mark.confidence for reading in readings for mark in reading.marks}, reverse=True)
    return tuple(_compute_point(readings, confidence) for confidence in confidences)


def compute_overall_point(readings: Sequence[Reading]) -> CurvePoint:
    """Compute the point of all marks, however unsure. Raises ValueError without a film."""
    if not readings:
        raise ValueError("No film was read.")
    return _compute_point(readings, float("-inf"))


def _compute_point(readings: Iterable[Reading], confidence: float) -> CurvePoint:
    counts = [(len(reading.truths), *count_marks(reading, confidence)) for reading in readings]
    truths, hits, false = (sum(column) for column in zip(*counts, strict=True))
    return CurvePoint(confidence, hits / truths if truths else None, false / len(counts))
