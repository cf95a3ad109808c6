"""The gate before analysis: is this a whole, upright, positive frontal chest film, as the model knows them?

A film is resized to 32×32, standardized and compared with the principal components of normal films. Its distance is
the larger of two z-scores, that of the log residual outside the components and that of the log Mahalanobis length
within them (Jackson and Mudholkar, Technometrics 1979: Q and T²). If a quarter turn of the film or its negative is
much nearer to normal films, the film is turned or inverted, and the gate says how to correct it.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import cv2
import numpy as np
from safetensors.numpy import load_file, save_file

from ..resources import resource
from .edit import turn_pixels
from .preprocess import Preprocessing, prepare
from .radiograph import Radiograph, RadiographError
from .read import read_radiograph

WEIGHTS = resource("assets/film-gate.safetensors")
SIDE, COMPONENTS = 32, 20
THUMBNAIL = Preprocessing(size=SIDE)
CLEARLY = 0.5  # z by which another position must be nearer than the film as it is
SMALL = 128  # pixels, the side that the shipped networks see: a film with a smaller side gets a note
LETTERS = 6  # marks of one height in one line from which they count as writing

NOT_A_CHEST = (
    "This does not look like a whole frontal chest film: it may be a side view, another part of the body, a detail, or "
    "no radiograph at all. The model knows frontal chest films only, and its answer would mean nothing."
)
TURNED = "The film seems to be turned: {turn} would set it upright."
NEGATIVE = "The film seems to be a negative: bones are dark and air is bright."
WRITING = (
    "There seems to be writing burned into the film. It counts as a difference, and may name the patient: cut it away "
    "before you share anything."
)
TINY = "The film is small ({width}×{height} pixels), so fine detail is missing from the start."
ACCEPTED = "Analyzed knowingly, although the gate stopped this film: {reason}"
GO_ON = "Correct the film, or go on knowingly with --accept (accept=True in Python)."
TURNS = {1: "a quarter turn to the left", 2: "half a turn", 3: "a quarter turn to the right"}


@dataclass(frozen=True)
class Quality:
    """What the gate says of a film.

    passes: whether nothing speaks against an analysis.
    turn, negative: the quarter turns to the left, and whether to invert, that would correct the film.
    distance, limit: the film's distance from normal films, and the largest that passes; see `Gate.distance`.
    reasons: sentences why the film is stopped; empty if it passes.
    notes: sentences that do not stop it.
    """

    passes: bool
    turn: int
    negative: bool
    distance: float
    limit: float
    reasons: tuple[str, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Gate:
    """The fitted gate.

    mean (1024,), components (20, 1024), variances (20,): of standardized normal films. outside, within: mean and
    standard deviation of the two log measures over normal films that the components were not fitted on. limit: the
    largest distance that passes.
    """

    mean: np.ndarray
    components: np.ndarray
    variances: np.ndarray
    outside: np.ndarray
    within: np.ndarray
    limit: float

    @classmethod
    def fit(cls, films: np.ndarray, others: np.ndarray) -> Gate:
        """Fit a gate on thumbnails of normal films.

        films: (N, 32, 32) in [0, 1], for the components. others: (M, 32, 32) of further normal films, for the scale of
        distances; the largest distance among them becomes the limit.
        """
        rows = _standardize(films)
        mean = rows.mean(0)
        _, singular, basis = np.linalg.svd(rows - mean, full_matrices=False)
        plain = cls(
            mean,
            basis[:COMPONENTS],
            singular[:COMPONENTS] ** 2 / (len(rows) - 1),
            np.array([0.0, 1.0]),
            np.array([0.0, 1.0]),
            0.0,
        )
        outside, within = plain._measures(others)
        result = replace(
            plain, outside=np.array([outside.mean(), outside.std()]), within=np.array([within.mean(), within.std()])
        )
        return replace(result, limit=float(result.distance(others).max()))

    def distance(self, films: np.ndarray) -> np.ndarray:
        """Return the distances (N,) of thumbnails (N, 32, 32) in [0, 1] from normal films.

        Their unit is the standard deviation of normal films.
        """
        outside, within = self._measures(films)
        return np.maximum((outside - self.outside[0]) / self.outside[1], (within - self.within[0]) / self.within[1])

    def _measures(self, films: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the log residual outside the components and the log Mahalanobis length within them, each (N,)."""
        rows = _standardize(films) - self.mean
        weights = rows @ self.components.T
        residual = rows - weights @ self.components
        return np.log(np.square(residual).mean(1) + 1e-9), np.log((np.square(weights) / self.variances).mean(1) + 1e-9)

    def save(self, path: Path) -> None:
        """Write the gate as safetensors."""
        arrays = {
            name: np.asarray(getattr(self, name), np.float32)
            for name in ("mean", "components", "variances", "outside", "within", "limit")
        }
        save_file({name: np.atleast_1d(values) for name, values in arrays.items()}, path)


@cache
def shipped_gate() -> Gate:
    """Load the gate in assets/, which studies/06-film-gate/fit_gate.py fitted."""
    arrays = load_file(WEIGHTS)
    limit = float(arrays.pop("limit")[0])
    return Gate(**{name: values.astype(np.float64) for name, values in arrays.items()}, limit=limit)


class GateError(RadiographError):
    """A film that the gate stops. quality: what the gate says of it."""

    def __init__(self, quality: Quality) -> None:
        super().__init__(f"{' '.join(quality.reasons)} {GO_ON}")
        self.quality = quality


def read_film(source: str | os.PathLike | bytes, accept: bool = False) -> Radiograph:
    """Read a file and pass the film through the gate.

    source: see `read_radiograph`. accept: see `pass_gate`. Raises RadiographError, or its subclass GateError.
    """
    return pass_gate(read_radiograph(source), accept)


def pass_gate(film: Radiograph, accept: bool = False) -> Radiograph:
    """Inspect a film before analysis, and return it with the gate's notes among its own.

    accept: let films through that the gate would stop; `Radiograph.accepted` and the notes then give its reasons.
    Raises GateError for such a film otherwise, and RadiographError for a film without contrast.
    """
    quality = inspect(film)
    if quality.reasons and not accept:
        raise GateError(quality)
    return with_quality(film, quality)


def with_quality(film: Radiograph, quality: Quality) -> Radiograph:
    """Return the film with the gate's reasons and notes among its own, so that they appear beside every result."""
    accepted = tuple(ACCEPTED.format(reason=reason) for reason in quality.reasons)
    return replace(film, notes=(*film.notes, *accepted, *quality.notes), accepted=quality.reasons)


def inspect(film: Radiograph, gate: Gate | None = None) -> Quality:
    """Inspect a film: does it look like the normal films of a gate, and how would it if turned or inverted?

    gate: the shipped one by default. Raises RadiographError for a film without contrast.
    """
    gate = gate or shipped_gate()
    thumbnail = prepare(film, THUMBNAIL)
    positions = [(turn, negative) for negative in (False, True) for turn in range(4)]
    distances = gate.distance(np.stack([turn_pixels(thumbnail, *position) for position in positions]))
    best, own = int(distances.argmin()), float(distances[0])
    turn, negative = positions[best]
    height, width = film.pixels.shape
    notes = [TINY.format(width=width, height=height)] if min(height, width) < SMALL else []
    notes += [WRITING] if has_writing(film.pixels) else []
    if distances[best] <= gate.limit and distances[best] < own - CLEARLY:
        reasons = [TURNED.format(turn=TURNS[turn])] if turn else []
        reasons += [NEGATIVE] if negative else []
    else:
        turn, negative, reasons = 0, False, [] if own <= gate.limit else [NOT_A_CHEST]
    return Quality(
        passes=not reasons,
        turn=turn,
        negative=negative,
        distance=own,
        limit=gate.limit,
        reasons=tuple(reasons),
        notes=tuple(notes),
    )


def _standardize(films: np.ndarray) -> np.ndarray:
    """Return thumbnails (N, 32, 32) as rows (N, 1024) of mean 0 and standard deviation 1."""
    rows = np.asarray(films, np.float64).reshape(len(films), -1)
    return (rows - rows.mean(1, keepdims=True)) / (rows.std(1, keepdims=True) + 1e-6)


def has_writing(pixels: np.ndarray) -> bool:
    """Tell whether writing is burned into a film (H, W) in [0, 1].

    Writing is at least six small marks of one height in one line, sharply cut and among the brightest or darkest of the
    film.
    """
    scale = 1024 / max(pixels.shape)
    picture = cv2.resize(pixels, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA) if scale < 1 else pixels
    side = max(picture.shape)
    kernel = cv2.getStructuringElement(cv2.MORPH_RECT, (max(3, side // 40) | 1,) * 2)
    for polarity in (picture, 1 - picture):
        marks = (cv2.morphologyEx(polarity, cv2.MORPH_TOPHAT, kernel) > 0.35) & (polarity > 0.9)
        _, _, boxes, centers = cv2.connectedComponentsWithStats(marks.astype(np.uint8), connectivity=8)
        rows = [
            (height, y)
            for (_, _, width, height, area), (_, y) in zip(boxes[1:], centers[1:], strict=True)
            if 6 <= height <= side / 20 and width <= 1.6 * height and area > 0.15 * width * height
        ]
        for height, y in rows:
            if sum(abs(h - height) <= max(2, 0.25 * height) and abs(v - y) <= 0.3 * height for h, v in rows) >= LETTERS:
                return True
    return False
