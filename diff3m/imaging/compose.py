"""The pseudo-healthy film at the film's own resolution.

Where the model's picture differs by more than it does on normal films, its low frequencies are the model's opinion and
its fine detail is the patient's; everywhere else it is the patient's film.
"""

from __future__ import annotations

import cv2
import numpy as np

from .preprocess import PreparedFilm
from .scale import scale_sigma

SIGMA = 1.2  # pixels of a 128-pixel film: standard deviation of the Gaussian that the difference is smoothed with
OPINION = (0.7, 1.4)  # of the usual limit: blurred differences from which, and beyond which, the model's opinion counts
FADE = 0.03  # share of the side over which the difference fades out toward the border of the box


def smooth_difference(difference: np.ndarray, sigma: float = SIGMA) -> np.ndarray:
    """Smooth the difference of a prepared film and its reconstruction, and fade it out at the border.

    difference: (S, S), film − reconstruction in grey levels of the prepared film's range. sigma: standard deviation of
    the Gaussian in pixels of a 128-pixel film. Returns (S, S) float32.
    """
    side = difference.shape[0]
    smooth = cv2.GaussianBlur(difference.astype(np.float32), (0, 0), scale_sigma(sigma, side))
    return smooth * _fade(side)


def compose_pseudo_healthy(
    pixels: np.ndarray,
    prepared: PreparedFilm,
    reconstruction: np.ndarray,
    heat_sigma: float = 0.0,
    heat_normal: float = 0.0,
) -> np.ndarray:
    """Film − upsampled w · Gaussian of (x₀ − x̂₀), on the film's own pixels and proportions.

    pixels: (H, W) in [0, 1], the film as read. prepared: its square, box and contrast. reconstruction: (S, S), the
    model's picture of the square. heat_sigma, heat_normal: of the checkpoint's `Scoring`; where the heat map stays
    under the limit of normal films, the film stays as it is. With a limit of 0, w = 1 everywhere. Returns (H, W)
    float32 in [0, 1]; outside the box the film itself.
    """
    top, bottom, left, right = prepared.box
    residual = prepared.square - reconstruction
    difference = smooth_difference(residual)
    if heat_normal > 0:
        difference *= opinion_weight(smooth_difference(residual, heat_sigma), heat_normal)
    difference *= np.float32(prepared.high - prepared.low)
    full_difference = cv2.resize(difference, (right - left, bottom - top), interpolation=cv2.INTER_CUBIC)
    result = pixels.astype(np.float32, copy=True)
    result[top:bottom, left:right] = np.clip(result[top:bottom, left:right] - full_difference, 0, 1)
    return result


def opinion_weight(heat: np.ndarray, heat_normal: float) -> np.ndarray:
    """Weight of the model's opinion: 0 where a heat map is usual for normal films, rising smoothly to 1.

    heat: (S, S), the blurred difference. heat_normal: the size under which 95 % of the points of normal films stay.
    Returns (S, S) float32 in [0, 1].
    """
    low, high = (share * heat_normal for share in OPINION)
    ramp = np.clip((np.abs(heat) - low) / (high - low), 0, 1)
    return (ramp * ramp * (3 - 2 * ramp)).astype(np.float32)


def _fade(side: int) -> np.ndarray:
    """1 inside, falling to 0 at the border: (side, side) float32."""
    distance = np.minimum(np.arange(side) + 0.5, side - np.arange(side) - 0.5) / side
    ramp = np.clip(distance / FADE, 0, 1)
    ramp = (ramp * ramp * (3 - 2 * ramp)).astype(np.float32)
    return np.minimum(ramp[:, None], ramp[None])
