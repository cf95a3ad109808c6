"""The pseudo-healthy film at the film's own resolution (docs/method.md, "Healing").

Where the reconstruction differs clearly, the low frequencies are the reconstruction's and the fine detail is the film's.
Where it differs by little of what normal films differ by, the pseudo-healthy film is the film itself.
"""

from __future__ import annotations

import cv2
import numpy as np

from .preprocess import PreparedFilm
from .scale import scale_sigma

SIGMA = 1.2  # pixels of a 128-pixel film: standard deviation of the Gaussian over the difference
# multiples of the limit of normal films: up to the first, the reconstruction has no weight; from the second, all of it
WEIGHT_RANGE = (0.2, 0.4)
FADE = 0.03  # share of the side over which the difference fades out toward the border of the box


def smooth_difference(difference: np.ndarray) -> np.ndarray:
    """Smooth the difference of a prepared film and its reconstruction, and fade it out at the border.

    difference: (S, S), film − reconstruction in grey levels of the prepared film's range. Returns (S, S) float32.
    """
    side = difference.shape[0]
    smooth = cv2.GaussianBlur(difference.astype(np.float32), (0, 0), scale_sigma(SIGMA, side))
    return smooth * _fade(side)


def compose_pseudo_healthy(
    pixels: np.ndarray,
    prepared: PreparedFilm,
    reconstruction: np.ndarray,
    heat_map: np.ndarray,
    heat_normal: float,
) -> np.ndarray:
    """Compose film − upsample(w · Gaussian(x₀ − x̂₀)) on the film's own pixels and proportions.

    pixels: (H, W) in [0, 1], the film as read. prepared: its square x₀, box and contrast. reconstruction: (S, S) in
    [0, 1], x̂₀ of the square. heat_map: (S, S), the blurred difference where it counts. heat_normal: the limit of
    normal films, see `WEIGHT_RANGE`; with 0, w = 1 everywhere. Returns (H, W) float32 in [0, 1];
    outside the box it is the film itself.
    """
    top, bottom, left, right = prepared.box
    difference = smooth_difference(prepared.square - reconstruction)
    if heat_normal > 0:
        difference *= reconstruction_weight(heat_map, heat_normal)
    difference *= np.float32(prepared.high - prepared.low)
    full_difference = cv2.resize(difference, (right - left, bottom - top), interpolation=cv2.INTER_CUBIC)
    result = pixels.astype(np.float32, copy=True)
    result[top:bottom, left:right] = np.clip(result[top:bottom, left:right] - full_difference, 0, 1)
    return result


def reconstruction_weight(heat: np.ndarray, heat_normal: float) -> np.ndarray:
    """Return the weight w of the reconstruction: 0 where a heat map is small, rising smoothly to 1.

    heat: (S, S), the blurred difference. heat_normal: the |heat| under which 95 % of the pixels of normal films lie,
    above 0. Returns (S, S) float32 in [0, 1].
    """
    low, high = (multiple * heat_normal for multiple in WEIGHT_RANGE)
    return _smoothstep((np.abs(heat) - low) / (high - low))


def _smoothstep(x: np.ndarray) -> np.ndarray:
    """Return 0 below 0, 1 above 1, and the cubic 3x² − 2x³ between: float32."""
    x = np.clip(x, 0, 1)
    return (x * x * (3 - 2 * x)).astype(np.float32)


def _fade(side: int) -> np.ndarray:
    """Return weights that are 1 inside a square and fall to 0 at its border: (side, side) float32."""
    distance = np.minimum(np.arange(side) + 0.5, side - np.arange(side) - 0.5) / side
    ramp = _smoothstep(distance / FADE)
    return np.minimum(ramp[:, None], ramp[None])
