"""The pseudo-healthy film at the film's own resolution.

Its low frequencies are the model's opinion, its fine detail is the patient's.
"""

from __future__ import annotations

import cv2
import numpy as np

from .preprocess import PreparedFilm

SIGMA = 1.2  # pixels of a 128-pixel film: standard deviation of the Gaussian that the difference is smoothed with
REFERENCE_SIDE = 128  # pixels, to which SIGMA refers
FADE = 0.03  # share of the side over which the difference fades out toward the border of the box


def smooth_difference(difference: np.ndarray, sigma: float = SIGMA) -> np.ndarray:
    """Smooth the difference of a prepared film and its reconstruction, and fade it out at the border.

    difference: (S, S), film − reconstruction in grey levels of the prepared film's range. sigma: standard deviation of
    the Gaussian in pixels of a 128-pixel film. Returns (S, S) float32.
    """
    side = difference.shape[0]
    smooth = cv2.GaussianBlur(difference.astype(np.float32), (0, 0), sigma * side / REFERENCE_SIDE)
    return smooth * _fade(side)


def compose_pseudo_healthy(pixels: np.ndarray, prepared: PreparedFilm, reconstruction: np.ndarray) -> np.ndarray:
    """Film − upsampled Gaussian of (x₀ − x̂₀), on the film's own pixels and proportions.

    pixels: (H, W) in [0, 1], the film as read. prepared: its square, box and contrast. reconstruction: (S, S), the
    model's picture of the square. Returns (H, W) float32 in [0, 1]; outside the box the film itself.
    """
    top, bottom, left, right = prepared.box
    difference = smooth_difference(prepared.square - reconstruction) * np.float32(prepared.high - prepared.low)
    full_difference = cv2.resize(difference, (right - left, bottom - top), interpolation=cv2.INTER_CUBIC)
    result = pixels.astype(np.float32, copy=True)
    result[top:bottom, left:right] = np.clip(result[top:bottom, left:right] - full_difference, 0, 1)
    return result


def _fade(side: int) -> np.ndarray:
    """1 inside, falling to 0 at the border: (side, side) float32."""
    distance = np.minimum(np.arange(side) + 0.5, side - np.arange(side) - 0.5) / side
    ramp = np.clip(distance / FADE, 0, 1)
    ramp = (ramp * ramp * (3 - 2 * ramp)).astype(np.float32)
    return np.minimum(ramp[:, None], ramp[None])
