"""What the detector says of one film, and the settings that it was asked under."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from .ehr import Record
from .scoring.score import Component


@dataclass(frozen=True)
class Settings:
    """noise_level: the level whose reconstruction is shown, 1..1000. steps: DDIM steps each way to the checkpoint's own
    noise level, other levels in proportion. seed: of one-step noises. estimate: see `Scoring`."""

    noise_level: int
    steps: int
    seed: int
    estimate: str


@dataclass(frozen=True)
class Analysis:
    """What the model thinks of one film. Arrays are (S, S) float32; film and reconstruction in [0, 1].

    residual: film − reconstruction. heat_map: the same after a Gaussian, + brighter than expected, − darker. anomaly_map: the anomaly head's
    probability that a place was painted, in [0, 1], 0 at the edges, where it was taught nothing; None for a checkpoint without a head.
    score: combined z-score among normals (0 = average normal); None for a checkpoint without calibration. percentile: share of
    normal films with a lower score, 0..100. compared_with: "PA", "AP" or "any"; normals: how many films that is.
    attention: {group: {feature: weight}}, each group summing to 1. reconstructions: by noise level.
    components: (component, value, z) for each part of the score. notes: sentences for the reader. seconds: by stage.
    accepted: why the gate would have stopped the film, where the reader went on knowingly.
    """

    film: np.ndarray
    reconstruction: np.ndarray
    residual: np.ndarray
    heat_map: np.ndarray
    score: float | None
    percentile: float | None
    compared_with: str
    normals: int
    attention: dict[str, dict[str, float]]
    record: Record
    settings: Settings
    reconstructions: dict[int, np.ndarray]
    components: tuple[tuple[Component, float, float | None], ...]
    aspect: float
    notes: tuple[str, ...]
    seconds: dict[str, float]
    anomaly_map: np.ndarray | None = None
    accepted: tuple[str, ...] = ()

    @property
    def whole_percentile(self) -> int | None:
        """The percentile as it is shown: rounded down, so that a limit it names is a limit it reached."""
        return None if self.percentile is None else math.floor(self.percentile)
