"""What the detector says of one film, and the settings that it was analyzed with."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from torch import Tensor

from .case import Case
from .ehr import Record
from .imaging.compose import compose_pseudo_healthy
from .reconstruct import validate_seed
from .scoring.score import ANY_VIEW, ESTIMATES, Component, Scoring


@dataclass(frozen=True)
class Settings:
    """How a film is analyzed.

    noise_level: the level whose reconstruction is shown, 1 to 1000. steps: DDIM steps each way to the checkpoint's own
    noise level, other levels in proportion. seed: of one-step noises. estimate: see `Scoring`.
    """

    noise_level: int
    steps: int
    seed: int
    estimate: str

    @classmethod
    def of(
        cls,
        scoring: Scoring,
        timesteps: int,
        noise_level: int | None = None,
        steps: int | None = None,
        seed: int = 0,
        estimate: str | None = None,
    ) -> Settings:
        """Fill in a score's own settings where the others are None.

        timesteps: of the schedule, the highest noise level. Raises ValueError for values out of range.
        """
        level = scoring.noise_level if noise_level is None else noise_level
        steps = scoring.steps if steps is None else steps
        estimate = scoring.estimate if estimate is None else estimate
        if estimate not in ESTIMATES:
            raise ValueError(f"The estimate must be one of {', '.join(ESTIMATES)}, got {estimate!r}.")
        if not 1 <= level <= timesteps:
            raise ValueError(f"The noise level must lie between 1 and {timesteps}, got {level}.")
        if not 1 <= steps <= scoring.noise_level:
            raise ValueError(f"The number of steps must lie between 1 and {scoring.noise_level}, got {steps}.")
        return cls(int(level), int(steps), validate_seed(seed), estimate)


@dataclass(frozen=True)
class Placement:
    """Where a film's component values stand among normal films.

    score: combined z-score (0 = average normal), None for a checkpoint without calibration. percentile: share of normal
    films with a lower score, 0 to 100. compared_with: "PA", "AP" or "any"; normals: how many films that is.
    z_scores: of each component, None where there is no calibration.
    """

    score: float | None
    percentile: float | None
    compared_with: str
    normals: int
    z_scores: tuple[float | None, ...]


def place_among_normals(values: Tensor, view: str | None, scoring: Scoring) -> Placement:
    """Place component values (n,) among the calibration's normal films of a view."""
    try:
        group, calibration = scoring.select_calibration(view)
    except LookupError:
        return Placement(None, None, ANY_VIEW, 0, (None,) * len(values))
    score = scoring.score(values, view)
    z_scores = tuple(scoring.z_scores(values, view).tolist())
    return Placement(score, scoring.percentile(score, view), group, calibration.count, z_scores)


@dataclass(frozen=True)
class Analysis:
    """What the model thinks of one film. Arrays are (S, S) float32; film and reconstruction in [0, 1].

    residual: film − reconstruction. heat_map: the same after a Gaussian, + brighter than expected, − darker.
    score, percentile, compared_with, normals: see `Placement`; the percentile in tenths, see `in_tenths`.
    attention: {group: {feature: weight}}, each group summing to 1. reconstructions: by noise level.
    components: (component, value, z-score) of each part of the score. aspect: width over height in which the arrays are
    shown. notes: plain sentences for the reader (`notes.NOTES`, and those of the film). seconds: by stage.
    heat_sigma, heat_normal: blur of the heat map and the limit of normal films, see `Scoring`; 0 without calibration.
    accepted: why the gate would have stopped the film, where the reader went on knowingly. case: what was analyzed;
    None for an analysis that was read from a file without its film.
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
    heat_sigma: float = 0.0
    heat_normal: float = 0.0
    accepted: tuple[str, ...] = ()
    case: Case | None = None

    @property
    def analyzed_case(self) -> Case:
        """The film and record that were analyzed. Raises LookupError for an analysis that was stored without them."""
        if self.case is None:
            raise LookupError("This analysis was stored without its film.")
        return self.case

    @cached_property
    def pseudo_healthy(self) -> np.ndarray:
        """The pseudo-healthy film on the film's own pixels, (H, W) float32 in [0, 1] (see `imaging.compose`).

        Raises LookupError for an analysis without its film.
        """
        case = self.analyzed_case
        return compose_pseudo_healthy(
            case.film.pixels, case.prepared, self.reconstruction, self.heat_map, self.heat_normal
        )

    def __post_init__(self) -> None:
        if self.percentile is not None:
            object.__setattr__(self, "percentile", in_tenths(self.percentile))


def in_tenths(percentile: float) -> float:
    """Round a percentile down to one decimal, as it is shown: a limit that it names is a limit it reached."""
    return math.floor(round(10 * percentile, 6)) / 10


def format_percentile(percentile: float, normals: int) -> str:
    """Return a percentile among so many normal films as it stands everywhere, e.g. "97.3", or "> 99.6" above all."""
    return f"{'> ' if is_above_all(percentile) else ''}{supported_percentile(percentile, normals):.1f}"


def is_above_all(percentile: float | None) -> bool:
    """Tell whether the score lies above those of all normal films; not where there is no score."""
    return percentile is not None and percentile >= 100


def supported_percentile(percentile: float, normals: int) -> float:
    """Return a percentile, or for a film above all normal films the one that so many films can vouch for.

    Of N normal films and one more, the one more is expected to be the highest of all with probability 1/(N + 1), so a
    film above all N of them lies above percentile 100 N/(N + 1), and how far is unknown.
    """
    return in_tenths(100 * normals / (normals + 1)) if is_above_all(percentile) else percentile
