"""The anomaly score: its components, their combination, and the normal films that it is compared with.

Measurements (`measure.py`) become z-scores against normal films of the same view (`calibrate.py`) and are combined.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .filters import Border

ANY_VIEW = "any"
KINDS = ("absolute", "largest", "brighter", "darker", "ssim", "mse", "max", "contradiction")
COMBINATIONS = ("mean", "max")
ESTIMATES = ("x_t", "masked_pixels")
SOURCES = ("inversion", "noising", "one_step")
RECONSTRUCTIONS = ("inversion", "noising", "released")
TOP_SHARE = 0.0122  # the 200 most extreme of 128² pixels
UNUSUAL = 95  # percentile of normal films from which a film is called unusual
MIN_NORMALS = 20  # a view with fewer normal films is compared with all views


@dataclass(frozen=True)
class Component:
    """One measurement that enters a score.

    kind: "absolute" (mean |blurred residual|), "brighter", "darker" or "largest" (mean of its most positive, most
        negative or largest `share`), "ssim" (1 − mean structural similarity), "mse" and "max" (of the residual as it
        is, as in the released code), "contradiction" (how far the film lies from its record toward a higher value of
        `feature`, see `measure_contradiction`; NaN where that is unknown).
    sigma: of the Gaussian, in pixels of a 128-pixel side; 0 for none.
    level: noise level of the reconstruction, from 1.
    source: "inversion" (DDIM up and down), "noising" (noise added and DDIM down, averaged over noises) or "one_step"
        (the same in one step).
    share: of the pixels, above 0 to 1.
    relative: divide by the film's own median |blurred residual|, so that its contrast and grain do not count.
    feature: name of the feature of a contradiction; "" for every other kind.

    Raises ValueError for values that do not fit together.
    """

    kind: str
    sigma: float
    level: int
    source: str = "inversion"
    share: float = TOP_SHARE
    relative: bool = False
    feature: str = ""

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"kind must be one of {', '.join(KINDS)}, got {self.kind!r}")
        if self.source not in SOURCES:
            raise ValueError(f"source must be one of {', '.join(SOURCES)}, got {self.source!r}")
        if (self.kind == "contradiction") != bool(self.feature) or (self.feature and self.source != "one_step"):
            raise ValueError("a contradiction, and nothing else, names a feature, and is measured in one step")
        if not 0 <= self.sigma < math.inf or self.level < 1 or not 0 < self.share <= 1:
            raise ValueError("sigma must be at least 0, level at least 1 and share above 0 and at most 1")

    @property
    def key(self) -> tuple[str, int]:
        """The reconstruction that it measures: (source, noise level)."""
        return self.source, self.level

    @property
    def part(self) -> str:
        """What it looks at: "residual" or "record"."""
        return "record" if self.feature else "residual"


@dataclass(frozen=True)
class ViewCalibration:
    """Calibration on the normal films of one view.

    count: number of films. mean, std: of each component. scores: of the films, ascending. offset: mean of their
    combined z-scores, which is subtracted so that an average normal film scores 0.
    """

    count: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    scores: tuple[float, ...]
    offset: float = 0.0

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> ViewCalibration:
        """Read what `dataclasses.asdict` returned, with tuples as JSON's lists. Raises TypeError for unknown keys."""
        entries: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value for key, value in values.items()
        }
        entries.pop("weights", None)  # an unused key of some checkpoints
        return cls(**entries)


@dataclass(frozen=True)
class Scoring:
    """How a checkpoint reconstructs and scores films.

    components: the measurements.
    reconstruction: how the displayed reconstruction is computed: by "inversion", by "noising", or by the "released"
        walk over every timestep (`released.inference`).
    noise_level: level whose reconstruction is shown, 1 to the schedule's end (default 400).
    steps: DDIM steps each way at `noise_level` (default 10); other levels take steps in proportion.
    rounds: how often "noising" is repeated, each time on the previous estimate (default 1).
    margin: share of every side that calibration of the heat map leaves out, and components where `window` is None.
    estimate: "x_t", or "masked_pixels" to replace x_t by the output of masked pixel generation, as published.
    one_step_noises: number of noises over which "noising" and "one_step" average.
    heat_sigma: blur of the heat map, in pixels of a 128-pixel side.
    heat_normal: |heat map| below which 95 % of the pixels of normal films lie; its display starts there.
    place_normal: |heat map| that 95 % of normal films reach nowhere in lungs, heart and mediastinum; a place that
        reaches it stands out.
    combine: "mean" of the z-scores, or their "max".
    window: shares of top, right, bottom and left that the components leave out, instead of the margin.
    chest: count differences in the chest alone (`scoring.chest`), in components, heat map and pseudo-healthy film.
    mirrored_noises: use each noise with the other sign too, so that terms that are odd in the noise cancel.
    calibration: pairs of view and calibration; empty before `calibrate_scoring`.

    Raises ValueError for values out of range.
    """

    components: tuple[Component, ...] = (
        Component("absolute", 2, 400),
        Component("absolute", 4, 400),
        Component("ssim", 6, 400),
    )
    reconstruction: str = "inversion"
    noise_level: int = 400
    steps: int = 10
    rounds: int = 1
    margin: float = 0.08
    estimate: str = "x_t"
    one_step_noises: int = 3
    heat_sigma: float = 3.0
    heat_normal: float = 0.05
    place_normal: float = 0.12
    combine: str = "mean"
    window: tuple[float, float, float, float] | None = None
    mirrored_noises: bool = False
    chest: bool = False
    calibration: tuple[tuple[str, ViewCalibration], ...] = ()

    def __post_init__(self) -> None:
        if self.estimate not in ESTIMATES:
            raise ValueError(f"estimate must be one of {', '.join(ESTIMATES)}, got {self.estimate!r}")
        if self.reconstruction not in RECONSTRUCTIONS:
            raise ValueError(f"reconstruction must be one of {', '.join(RECONSTRUCTIONS)}, got {self.reconstruction!r}")
        if self.combine not in COMBINATIONS:
            raise ValueError(f"combine must be one of {', '.join(COMBINATIONS)}, got {self.combine!r}")
        if self.window is not None and (len(self.window) != 4 or not all(0 <= share < 0.5 for share in self.window)):
            raise ValueError(f"window must be four shares of at least 0 and under a half, got {self.window!r}")
        if not 0 <= self.margin < 0.5:
            raise ValueError(f"margin must be a share of at least 0 and under a half, got {self.margin}")
        if not 1 <= self.steps <= self.noise_level:
            raise ValueError(f"steps must lie between 1 and noise_level, {self.noise_level}, got {self.steps}")
        if self.rounds < 1:
            raise ValueError(f"rounds must be at least 1, got {self.rounds}")
        if self.one_step_noises < 1 or not 0 <= self.heat_sigma < math.inf:
            raise ValueError("one_step_noises must be at least 1 and heat_sigma at least 0")

    @property
    def keys(self) -> list[tuple[str, int]]:
        """The reconstructions that the components measure; contradictions need estimates of their own instead."""
        return [component.key for component in self.components if not component.feature]

    @property
    def main_key(self) -> tuple[str, int]:
        """The reconstruction that an analysis shows: (source, noise level)."""
        return ("noising" if self.reconstruction == "noising" else "inversion"), self.noise_level

    @property
    def uses_inversion(self) -> bool:
        """Whether the displayed reconstruction is computed by DDIM inversion, which draws no random noise."""
        return self.reconstruction == "inversion"

    @property
    def normal_limit(self) -> float:
        """`heat_normal`, or 0 before calibration, when no limit is known."""
        return self.heat_normal if self.calibration else 0.0

    @property
    def border(self) -> Border:
        """The borders that the components leave out: `window`, or `margin` where there is none."""
        return self.margin if self.window is None else self.window

    def select_calibration(self, view: str | None) -> tuple[str, ViewCalibration]:
        """Select the calibration of a view, or that of all films if the view is unknown or has too few films.

        Returns the name of the view, or "any", and its calibration. Raises LookupError before calibration.
        """
        by_view = dict(self.calibration)
        if view in by_view and by_view[view].count >= MIN_NORMALS:
            return view, by_view[view]
        if ANY_VIEW not in by_view:
            raise LookupError("this checkpoint has not been calibrated: run `diff3m calibrate`")
        return ANY_VIEW, by_view[ANY_VIEW]

    def z_scores(self, values: Tensor, view: str | None) -> Tensor:
        """Standardize component values (n,) by the normal films of a view: float64, NaN where a value is NaN."""
        _, normals = self.select_calibration(view)
        return (values.double() - torch.tensor(normals.mean)) / torch.tensor(normals.std)

    def score(self, values: Tensor, view: str | None) -> float:
        """Return the score of component values (n,): 0 for an average normal film of the view, larger if unusual."""
        normals = self.select_calibration(view)[1]
        return float(combine_z_scores(self.z_scores(values, view), self.combine)) - normals.offset

    def percentile(self, score: float, view: str | None) -> float:
        """Return the percentage of normal films of the view with a lower score; equal ones count half."""
        scores = self.select_calibration(view)[1].scores
        return 50.0 * (bisect_left(scores, score) + bisect_right(scores, score)) / len(scores)

    def to_dict(self) -> dict:
        """Return plain values for JSON."""
        values = asdict(self)
        values["calibration"] = {view: asdict(entry) for view, entry in self.calibration}
        return values

    @classmethod
    def from_dict(cls, values: Mapping) -> Scoring:
        """Read what `to_dict` wrote. Raises ValueError or TypeError."""
        plain = dict(values)
        if plain.pop("released_path", False):  # another name of it in some checkpoints
            plain["reconstruction"] = "released"
        plain.pop("map_normal", None)  # an unused key of some checkpoints
        if any(entry.get("source") == "head" for entry in plain["components"]):
            raise ValueError(
                "its score uses an anomaly head, which this version does not have: calibrate another score"
            )
        plain["components"] = tuple(Component(**entry) for entry in plain["components"])
        plain["window"] = tuple(plain["window"]) if plain.get("window") else None
        plain["calibration"] = tuple(
            (view, ViewCalibration.from_dict(entry)) for view, entry in plain.get("calibration", {}).items()
        )
        return cls(**plain)


# default for a network that was trained to heal, until a score is chosen for it (studies/26-192-pixels)
HEALED = Scoring(
    components=(Component("brighter", 1, 60, "noising", share=0.025),),
    reconstruction="noising",
    noise_level=60,
    steps=1,
    rounds=2,
    one_step_noises=2,
    heat_sigma=5,
    mirrored_noises=True,
    chest=True,
)


def combine_z_scores(z: Tensor, combine: str) -> Tensor:
    """Combine z-scores (…, n) into scores (…), leaving out those that are NaN. combine: see `Scoring`."""
    return z.nan_to_num(nan=-torch.inf).amax(-1) if combine == "max" else z.nanmean(-1)


def by_noise_level(
    measurements: Sequence[tuple[Component, float | None]], combine: str
) -> dict[int, tuple[float, int]]:
    """Combine the z-scores of residuals for each noise level separately.

    measurements: components and their z-scores, None or NaN where not measured. combine: see `Scoring`. Returns by
    level the combined z-score and the number of components.
    """
    z_scores: dict[int, list[float]] = {}
    for component, z in measurements:
        if component.part == "residual" and z is not None and np.isfinite(z):
            z_scores.setdefault(component.level, []).append(z)
    return {
        level: (float((max if combine == "max" else np.mean)(values)), len(values))
        for level, values in sorted(z_scores.items())
    }
