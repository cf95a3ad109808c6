"""Measurements of a film and its reconstruction: the components of the anomaly score, and the heat map.

The released code scores by mean squared error. But the fine grain of a residual is reconstruction error everywhere, and
disease appears in its low frequencies, so most components blur the signed residual first.
"""

from __future__ import annotations

from torch import Tensor

from ..imaging.scale import scale_sigma
from .chest import within_chest
from .filters import Border, crop_borders, gaussian_blur, structural_similarity
from .score import Component, Scoring


def measure_component(component: Component, film: Tensor, reconstruction: Tensor, border: Border) -> Tensor:
    """Measure one component of the score on films and their reconstructions.

    component: of any kind but "contradiction", see `measure_contradiction`. film, reconstruction: (B, 1, S, S) in
    [0, 1]. border: shares that are left out, see `crop_borders`; "mse" and "max" use the whole film. Returns (B,).
    """
    sigma = scale_sigma(component.sigma, film.shape[-1])
    residual = film - reconstruction
    if component.kind == "ssim":
        return 1 - crop_borders(structural_similarity(film, reconstruction, sigma), border).mean(dim=(1, 2, 3))
    if component.kind == "mse":
        return residual.square().mean(dim=(1, 2, 3))
    if component.kind == "max":
        return residual.abs().amax(dim=(1, 2, 3))
    blurred = crop_borders(gaussian_blur(residual, sigma), border).flatten(1)
    if component.relative:
        blurred = blurred / blurred.abs().median(dim=1, keepdim=True).values.clamp_min(1e-6)
    if component.kind == "absolute":
        return blurred.abs().mean(dim=1)
    signed = {"brighter": blurred, "darker": -blurred, "largest": blurred.abs()}[component.kind]
    return _mean_of_largest(signed, component.share)


def _mean_of_largest(values: Tensor, share: float) -> Tensor:
    """Return the mean of the largest `share` of each row, at least of one value: (B, n) → (B,)."""
    return values.topk(max(1, round(share * values.shape[1])), dim=1).values.mean(1)


def measure_contradiction(film: Tensor, estimate: Tensor, higher: Tensor, border: Border) -> Tensor:
    """Measure how far films lie from the estimate under their record toward a higher value of one feature.

    The measure is ⟨x − x̂_0, d⟩/‖d‖ with d = x̂_0(higher) − x̂_0. It is the score test (Rao 1948) of
    "the record's value is right" against a higher one, with the gradient of the denoising likelihood. It is positive
    for a film that looks like one of a higher value.

    film: x, (B, 1, S, S). estimate: x̂_0 under the record, and higher: under the record with the feature raised, both
    (B, 1, S, S) and from the same noises. border: see `crop_borders`. Returns (B,).
    """
    direction, residual = (crop_borders(image, border).flatten(1) for image in (higher - estimate, film - estimate))
    return (residual * direction).sum(1) / direction.norm(dim=1).clamp_min(1e-6)


def select_region(film: Tensor, reconstruction: Tensor, scoring: Scoring) -> Tensor:
    """Return the reconstruction where a scoring counts differences, and the film itself elsewhere: (B, 1, S, S)."""
    return within_chest(film, reconstruction) if scoring.chest else reconstruction


def compute_heat_map(film: Tensor, reconstruction: Tensor, sigma: float) -> Tensor:
    """Blur the signed residual: positive where the film is brighter than expected.

    film, reconstruction: (B, 1, S, S) in [0, 1], see `select_region`. sigma: of the Gaussian, in pixels of a 128-pixel
    side. Returns (B, 1, S, S) in [−1, 1].
    """
    return gaussian_blur(film - reconstruction, scale_sigma(sigma, film.shape[-1]))
