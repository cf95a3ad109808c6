"""From film and reconstruction to heat map, anomaly score and percentile among normals.

The released code scores by mean squared error. The residual's fine grain is reconstruction error everywhere, and disease
lies in its low frequencies, so residuals are blurred with their sign before anything else is done, and several
measurements are averaged as z-scores against normal films of the same view.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

ANY_VIEW = "any"
KINDS = ("absolute", "largest", "brighter", "darker", "ssim", "mse", "max", "contradiction", "logit", "peak_logit")
OF_HEAD = ("logit", "peak_logit")
COMBINATIONS = ("mean", "max", "balanced", "foremost")
ESTIMATES = ("x_t", "masked_pixels")
SOURCES = ("inversion", "one_step", "head")
TOP_SHARE = 0.0122  # the 200 most extreme of 128² pixels
SSIM_C1, SSIM_C2 = 0.01**2, 0.03**2  # for values in [0, 1]; Wang et al. 2004
PERCENTILE_MIN = 20  # fewer normals of a view than this: compare with all views


@dataclass(frozen=True)
class Component:
    """One measurement of a residual.

    kind: "absolute" (mean |blurred residual|), "brighter" / "darker" / "largest" (mean of its most positive / most negative / largest
    `share`), "ssim" (1 − mean structural similarity), "mse" and "max" (of the unblurred residual, as in the released code), "contradiction"
    (how far the film lies from its record toward a higher value of `feature`, see `contradiction`; NaN where that is unknown), "logit" and
    "peak_logit" (mean of the anomaly head's map, and of its largest `share`).
    sigma: of the Gaussian, in pixels of a 128-pixel side. level: the noise level of the reconstruction.
    source: "inversion" (DDIM up and down), "one_step" (x̂_0 from freshly noised films, averaged over noises) or "head" (`anomaly_head`, at its
    own level).
    relative: divided by the film's own median |blurred residual|, so that contrast and grain of the film do not count.
    """

    kind: str
    sigma: float
    level: int
    source: str = "inversion"
    share: float = TOP_SHARE
    relative: bool = False
    feature: str = ""

    def __post_init__(self) -> None:
        if self.kind not in KINDS or self.source not in SOURCES:
            raise ValueError(f"unknown score component {self.kind!r} of {self.source!r}")
        if (self.kind == "contradiction") != bool(self.feature) or (self.feature and self.source != "one_step"):
            raise ValueError("a contradiction, and nothing else, names a feature, and is measured in one step")
        if (self.kind in OF_HEAD) != (self.source == "head"):
            raise ValueError("a logit, and nothing else, is measured by the head")

    @property
    def key(self) -> tuple[str, int]:
        """Which reconstruction it measures."""
        return self.source, self.level

    @property
    def part(self) -> str:
        """What it looks at: "residual", "head" or "record"."""
        return "record" if self.feature else "head" if self.source == "head" else "residual"


@dataclass(frozen=True)
class ViewCalibration:
    """Normal films of one view: number, mean and std of each component, their scores, sorted, and the mean of their combined z-scores, which
    `offset` takes away so that an average normal film scores 0. weights: of the components' z-scores, where they do not count alike."""

    count: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    scores: tuple[float, ...]
    offset: float = 0.0
    weights: tuple[float, ...] = ()


@dataclass(frozen=True)
class Scoring:
    """How a checkpoint scores: components, margin (share of each side left out), DDIM steps at `noise_level`, calibration.

    noise_level: the level whose reconstruction is shown. Other levels take steps in proportion. estimate: "x_t", or
    "masked_pixels" to let masked pixel generation stand in for x_t as published. released_path: walk every timestep as
    the released loop does, its quirks included (see `reconstruct.reconstruct_as_released`). one_step_noises: draws averaged by
    one-step components. heat_sigma: blur of the heat map, in pixels of a 128-pixel side. heat_normal: the |heat map| value that
    95 % of the pixels of normal films stay under; where display thresholds start. combine: "mean" of the z-scores, their "max",
    "balanced": the mean z-score of each part (`Component.part`), in standard deviations of normals, counts alike, or "foremost": the largest of
    these.
    map_normal: as heat_normal, of the anomaly head's map (probabilities).
    window: shares of top, right, bottom and left that the components leave out, instead of the margin. mirrored_noises: one-step noises are also
    taken with the other sign, so that what is odd in a noise cancels.
    """

    components: tuple[Component, ...] = (
        Component("absolute", 2, 400),
        Component("absolute", 4, 400),
        Component("ssim", 6, 400),
    )
    noise_level: int = 400
    steps: int = 10
    margin: float = 0.08
    estimate: str = "x_t"
    released_path: bool = False
    one_step_noises: int = 3
    heat_sigma: float = 3.0
    heat_normal: float = 0.05
    map_normal: float = 0.5
    combine: str = "mean"
    window: tuple[float, float, float, float] | None = None
    mirrored_noises: bool = False
    calibration: tuple[tuple[str, ViewCalibration], ...] = ()

    def __post_init__(self) -> None:
        if self.estimate not in ESTIMATES:
            raise ValueError(f'estimate must be "x_t" or "masked_pixels", got {self.estimate!r}')
        if self.combine not in COMBINATIONS:
            raise ValueError(f"combine must be one of {', '.join(COMBINATIONS)}, got {self.combine!r}")
        if self.window is not None and (len(self.window) != 4 or not all(0 <= share < 0.5 for share in self.window)):
            raise ValueError(f"window must be four shares of at least 0 and under a half, got {self.window!r}")

    @property
    def keys(self) -> list[tuple[str, int]]:
        """Which reconstructions the components measure. Contradictions make estimates of their own."""
        return [component.key for component in self.components if not component.feature]

    @property
    def uses_head(self) -> bool:
        """Whether a component is measured by the anomaly head."""
        return any(component.source == "head" for component in self.components)

    @property
    def residuals(self) -> tuple[Component, ...]:
        """The components that no anomaly head measures."""
        return tuple(component for component in self.components if component.source != "head")

    @property
    def measured_inside(self) -> float | tuple[float, float, float, float]:
        """What components leave out: `window`, or `margin` where there is none."""
        return self.margin if self.window is None else self.window

    def for_view(self, view: str | None) -> tuple[str, ViewCalibration]:
        """The normals to compare with: the view's own, or all if the view is unknown or has too few. Raises LookupError."""
        by_view = dict(self.calibration)
        if view in by_view and by_view[view].count >= PERCENTILE_MIN:
            return view, by_view[view]
        if ANY_VIEW not in by_view:
            raise LookupError("this checkpoint has not been calibrated: run `diff3m calibrate`")
        return ANY_VIEW, by_view[ANY_VIEW]

    def z_scores(self, values: Tensor, view: str | None) -> Tensor:
        """Component values (n,) in standard deviations from the mean of normals of the view, float64; NaN where a value is NaN (not known)."""
        _, normals = self.for_view(view)
        return (values.double() - torch.tensor(normals.mean)) / torch.tensor(normals.std)

    def score(self, values: Tensor, view: str | None) -> float:
        """Combined z-scores of component values (n,) against normals of the view: 0 = an average normal film, larger = more unusual."""
        normals = self.for_view(view)[1]
        parts = [component.part for component in self.components]
        return float(combined(self.z_scores(values, view), self.combine, normals.weights, parts)) - normals.offset

    def percentile(self, score: float, view: str | None) -> float:
        """Share of normal films of the view with a lower score, 0 to 100 (ties count half)."""
        scores = self.for_view(view)[1].scores
        return 50.0 * (bisect_left(scores, score) + bisect_right(scores, score)) / len(scores)

    def to_dict(self) -> dict:
        values = asdict(self)
        values["calibration"] = {view: asdict(entry) for view, entry in self.calibration}
        return values

    @classmethod
    def from_dict(cls, values: Mapping) -> Scoring:
        """Read what `to_dict` wrote. Raises ValueError or TypeError."""
        plain = dict(values)
        plain["components"] = tuple(Component(**entry) for entry in plain["components"])
        plain["window"] = tuple(plain["window"]) if plain.get("window") else None
        plain["calibration"] = tuple(
            (view, ViewCalibration(**{key: tuple(v) if isinstance(v, list) else v for key, v in entry.items()}))
            for view, entry in plain.get("calibration", {}).items()
        )
        return cls(**plain)


# the released code's scores, at its level and with a step at every timestep
RELEASED_SCORING = Scoring(
    (Component("mse", 0, 400), Component("max", 0, 400)),
    noise_level=400,
    steps=400,
    margin=0.0,
    estimate="masked_pixels",
    released_path=True,
)


def calibrate(
    scoring: Scoring, values: Tensor, views: list[str | None], heat_maps: Tensor, anomaly_maps: Tensor | None = None
) -> Scoring:
    """The scoring with a calibration from normal films: component values (N, n), views (None = unknown), heat maps (N, S, S), and anomaly maps
    alike (probabilities) of a checkpoint with a head."""
    groups = {ANY_VIEW: list(range(len(views)))}
    for index, view in enumerate(views):
        if view is not None:
            groups.setdefault(view, []).append(index)
    entries = tuple(
        (view, _calibrate_view(values[torch.tensor(rows)], scoring)) for view, rows in groups.items() if len(rows) > 1
    )
    heat_normal = float(np.percentile(inner(heat_maps, scoring.margin).abs().numpy(), 95))
    if anomaly_maps is not None:
        scoring = replace(
            scoring, map_normal=round(float(np.percentile(inner(anomaly_maps, scoring.measured_inside).numpy(), 95)), 5)
        )
    return replace(scoring, calibration=entries, heat_normal=round(heat_normal, 5))


def combined(z: Tensor, how: str, weights: Sequence[float] = (), parts: Sequence[str] = ()) -> Tensor:
    """One score from z-scores (…, n): their maximum, mean, weighted sum, or the largest of the parts' weighted sums, of those that are known (not
    NaN). weights: see `part_weights`; without them, "balanced" and "foremost" are means."""
    if how == "max":
        return z.nan_to_num(nan=-torch.inf).amax(-1)
    if not weights:
        return z.nanmean(-1)
    weighted = z * torch.tensor(weights, dtype=z.dtype)
    if how != "foremost":
        return weighted.nansum(-1)
    by_part = [weighted[..., [name == part for name in parts]] for part in dict.fromkeys(parts)]
    return torch.stack([found.nansum(-1).masked_fill(found.isnan().all(-1), -torch.inf) for found in by_part]).amax(0)


def by_noise_level(measured: Sequence[tuple[Component, float | None]], how: str) -> dict[int, tuple[float, int]]:
    """What the residuals of each noise level alone say: their mean z-score (of "max": the largest), and how many they are. measured: components and
    their z-scores (None or NaN: not measured)."""
    found: dict[int, list[float]] = {}
    for component, z in measured:
        if component.part == "residual" and z is not None and np.isfinite(z):
            found.setdefault(component.level, []).append(z)
    return {
        level: (float((max if how == "max" else np.mean)(values)), len(values))
        for level, values in sorted(found.items())
    }


def part_weights(z: Tensor, how: str, parts: Sequence[str]) -> tuple[float, ...]:
    """Weights of the components that give each part's mean z-score of normals (N, n) a standard deviation of 1; "balanced": shared among the parts.
    Empty for combinations that weigh nothing."""
    if how not in ("balanced", "foremost"):
        return ()
    names, weights = list(dict.fromkeys(parts)), np.zeros(len(parts))
    for name in names:
        rows = np.array(parts) == name
        spread = float(z[:, torch.from_numpy(rows)].nanmean(1).nan_to_num(nan=0.0).std().clamp_min(1e-9))
        weights[rows] = 1 / (rows.sum() * spread)
    return tuple((weights / (len(names) if how == "balanced" else 1)).tolist())


def _calibrate_view(values: Tensor, scoring: Scoring) -> ViewCalibration:
    values = values.double()
    mean = values.nanmean(0).nan_to_num(nan=0.0)
    deviation = values - mean
    std = (deviation.square().nansum(0) / ((~values.isnan()).sum(0) - 1).clamp_min(1)).sqrt().clamp_min(1e-9)
    parts = [component.part for component in scoring.components]
    weights = part_weights(deviation / std, scoring.combine, parts)
    scores = combined(deviation / std, scoring.combine, weights, parts)
    offset = float(scores.mean())
    sorted_scores = tuple(round(score - offset, 5) for score in sorted(scores.tolist()))
    return ViewCalibration(len(values), tuple(mean.tolist()), tuple(std.tolist()), sorted_scores, offset, weights)


def gaussian_blur(x: Tensor, sigma: float) -> Tensor:
    """Gaussian filter, σ in pixels, reflected edges, cut at 3σ. (B, 1, H, W) → the same."""
    if sigma <= 0:
        return x
    radius = min(max(1, int(3 * sigma + 0.5)), min(x.shape[-2:]) - 1)
    offsets = torch.arange(-radius, radius + 1, device=x.device, dtype=x.dtype)
    kernel = torch.exp(-0.5 * (offsets / sigma) ** 2)
    kernel = kernel / kernel.sum()
    x = F.conv2d(F.pad(x, (radius, radius, 0, 0), mode="reflect"), kernel.view(1, 1, 1, -1))
    return F.conv2d(F.pad(x, (0, 0, radius, radius), mode="reflect"), kernel.view(1, 1, -1, 1))


def structural_similarity(a: Tensor, b: Tensor, sigma: float) -> Tensor:
    """SSIM map with a Gaussian window (Wang et al. 2004), values in [0, 1]. (B, 1, H, W) → the same."""
    mu_a, mu_b = gaussian_blur(a, sigma), gaussian_blur(b, sigma)
    var_a = gaussian_blur(a * a, sigma) - mu_a**2
    var_b = gaussian_blur(b * b, sigma) - mu_b**2
    covariance = gaussian_blur(a * b, sigma) - mu_a * mu_b
    return (
        (2 * mu_a * mu_b + SSIM_C1)
        * (2 * covariance + SSIM_C2)
        / ((mu_a**2 + mu_b**2 + SSIM_C1) * (var_a + var_b + SSIM_C2))
    )


def inner(x: Tensor, margin: float | tuple[float, float, float, float]) -> Tensor:
    """Cut `margin` of each side (or top, right, bottom, left) away: markers and collimation edges make false residuals there. (…, S, S) → smaller."""
    shares = (margin,) * 4 if isinstance(margin, int | float) else margin
    top, right, bottom, left = (round(share * x.shape[-1]) for share in shares)
    return x[..., top : x.shape[-2] - bottom, left : x.shape[-1] - right]


def measure(
    component: Component, film: Tensor, reconstruction: Tensor, margin: float | tuple[float, float, float, float]
) -> Tensor:
    """One component for films and reconstructions (B, 1, S, S) in [0, 1] (of a logit: the head's logits instead of a reconstruction): (B,)."""
    if component.kind in OF_HEAD:
        share = component.share if component.kind == "peak_logit" else 1.0
        return _largest_mean(inner(reconstruction, margin).flatten(1), share)
    sigma = component.sigma * film.shape[-1] / 128
    residual = film - reconstruction
    if component.kind == "ssim":
        return 1 - inner(structural_similarity(film, reconstruction, sigma), margin).mean(dim=(1, 2, 3))
    if component.kind == "mse":
        return residual.square().mean(dim=(1, 2, 3))
    if component.kind == "max":
        return residual.abs().amax(dim=(1, 2, 3))
    blurred = inner(gaussian_blur(residual, sigma), margin).flatten(1)
    if component.relative:
        blurred = blurred / blurred.abs().median(dim=1, keepdim=True).values.clamp_min(1e-6)
    if component.kind == "absolute":
        return blurred.abs().mean(dim=1)
    signed = {"brighter": blurred, "darker": -blurred, "largest": blurred.abs()}[component.kind]
    return _largest_mean(signed, component.share)


def _largest_mean(values: Tensor, share: float) -> Tensor:
    """Mean of the largest share of each row, (B, n) → (B,)."""
    return values.topk(max(1, round(share * values.shape[1])), dim=1).values.mean(1)


def contradiction(film: Tensor, estimate: Tensor, raised: Tensor, margin: float) -> Tensor:
    """How far films lie from the estimate under their record in the direction in which a higher value of one feature moves it.

    All (B, 1, S, S) from the same noises; raised: the estimate under the record with that feature raised. ⟨x − x̂_0, d⟩/‖d‖ with
    d = x̂_0(raised) − x̂_0: the score test (Rao 1948) of "the record's value is right" against a higher one, as the denoising
    likelihood's gradient gives it. Positive: the film looks like one of a higher value. Returns (B,).
    """
    direction, residual = (inner(image, margin).flatten(1) for image in (raised - estimate, film - estimate))
    return (residual * direction).sum(1) / direction.norm(dim=1).clamp_min(1e-6)


def heat_map(film: Tensor, reconstruction: Tensor, sigma: float) -> Tensor:
    """Signed blurred residual: positive where the film is brighter than expected. In grey levels of the film's range, [−1, 1]."""
    return gaussian_blur(film - reconstruction, sigma * film.shape[-1] / 128)
