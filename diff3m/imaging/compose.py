"""The pseudo-healthy film at the film's own resolution (docs/method.md, "Healing").

Where the reconstruction differs, the low frequencies are the reconstruction's, and where it differs clearly the middle
ones too; the fine detail is the film's. Elsewhere the pseudo-healthy film is the film itself.
"""

from __future__ import annotations

import cv2
import numpy as np

from .preprocess import PreparedFilm
from .scale import scale_sigma

# standard deviations of Gaussians, in pixels of a 128-pixel film: over the whole difference, over its low frequencies,
# and over the difference whose size decides about the middle frequencies, which lie between the first two
SIGMA, LOW_SIGMA, MIDDLE_SIGMA = 1.2, 2.5, 2.0
# multiples of the limit of normal films: up to the first, the reconstruction has no weight; from the second, all of it
LOW_RANGE, MIDDLE_RANGE = (0.2, 0.4), (1.0, 2.0)
FADE = 0.03  # share of the side over which the difference fades out toward the border of the box


def smooth_difference(difference: np.ndarray) -> np.ndarray:
    """Smooth the difference of a prepared film and its reconstruction, and fade it out at the border.

    difference: (S, S), film − reconstruction in grey levels of the prepared film's range. Returns (S, S) float32.
    """
    return _blur(difference, SIGMA) * _fade(difference.shape[0])


def compose_pseudo_healthy(
    pixels: np.ndarray,
    prepared: PreparedFilm,
    reconstruction: np.ndarray,
    heat_map: np.ndarray,
    heat_normal: float,
) -> np.ndarray:
    """Compose the film minus the weighted difference on the film's own pixels and proportions.

    pixels: (H, W) in [0, 1], the film as read. prepared: its square x₀, box and contrast. reconstruction: (S, S) in
    [0, 1], x̂₀ of the square. heat_map: (S, S), the blurred difference where it counts. heat_normal: the limit of
    normal films; with 0, the difference counts everywhere. Returns (H, W) float32 in [0, 1];
    outside the box it is the film itself.
    """
    top, bottom, left, right = prepared.box
    difference = prepared.square - reconstruction
    if heat_normal > 0:
        difference = weight_difference(difference, heat_map, heat_normal)
    else:
        difference = smooth_difference(difference)
    difference *= np.float32(prepared.high - prepared.low)
    full_difference = cv2.resize(difference, (right - left, bottom - top), interpolation=cv2.INTER_CUBIC)
    result = pixels.astype(np.float32, copy=True)
    result[top:bottom, left:right] = np.clip(result[top:bottom, left:right] - full_difference, 0, 1)
    return result


def weight_difference(difference: np.ndarray, heat_map: np.ndarray, heat_normal: float) -> np.ndarray:
    """Smooth a difference as `smooth_difference` does, and weight it by its size.

    All of it counts where the heat map reaches `LOW_RANGE`; its middle frequencies only where the difference itself
    reaches `MIDDLE_RANGE`, because noise takes these from every reconstruction. difference, heat_map: (S, S), see
    `compose_pseudo_healthy`. heat_normal: the |heat| under which 95 % of the pixels of normal films lie, above 0.
    Returns (S, S) float32.
    """
    weight = _rise(heat_map, heat_normal, LOW_RANGE)
    low = _blur(difference, LOW_SIGMA)
    middle = _blur(difference, SIGMA) - low
    middle *= _rise(_blur(difference, MIDDLE_SIGMA), heat_normal, MIDDLE_RANGE)
    return weight * (low + middle) * _fade(difference.shape[0])


def _blur(difference: np.ndarray, sigma: float) -> np.ndarray:
    """Blur a difference (S, S) by a Gaussian. sigma: in pixels of a 128-pixel side. Returns float32."""
    return cv2.GaussianBlur(difference.astype(np.float32), (0, 0), scale_sigma(sigma, difference.shape[0]))


def _rise(difference: np.ndarray, limit: float, multiples: tuple[float, float]) -> np.ndarray:
    """Return weights that rise from 0 to 1 while |difference| rises from one multiple of a limit to the other."""
    low, high = (multiple * limit for multiple in multiples)
    return _smoothstep((np.abs(difference) - low) / (high - low))


def _smoothstep(x: np.ndarray) -> np.ndarray:
    """Return 0 below 0, 1 above 1, and the cubic 3x² − 2x³ between: float32."""
    x = np.clip(x, 0, 1)
    return (x * x * (3 - 2 * x)).astype(np.float32)


def _fade(side: int) -> np.ndarray:
    """Return weights that are 1 inside a square and fall to 0 at its border: (side, side) float32."""
    distance = np.minimum(np.arange(side) + 0.5, side - np.arange(side) - 0.5) / side
    ramp = _smoothstep(distance / FADE)
    return np.minimum(ramp[:, None], ramp[None])
