"""Pictures as arrays: grey films and heat maps over them. Pure functions; shared by the command line and the app."""

from __future__ import annotations

import cv2
import numpy as np

COLOR_MAP = "coolwarm"  # of signed differences: red for brighter, blue for darker
OUTLINE = (60, 220, 90)


def to_uint8(image: np.ndarray) -> np.ndarray:
    """Return an image in [0, 1], any shape, as uint8."""
    return np.round(np.clip(image, 0, 1) * 255).astype(np.uint8)


def draw_signed(difference: np.ndarray, full: float) -> np.ndarray:
    """Draw a difference (S, S) in red (brighter) and blue (darker) over white, at full color from `full`: (S, S, 3)."""
    return to_uint8(_apply_color_map(0.5 + 0.5 * np.clip(difference / max(full, 1e-6), -1, 1)))


def _apply_color_map(values: np.ndarray) -> np.ndarray:
    """Return the colors (…, 3) in [0, 1] of values in [0, 1]."""
    from matplotlib import colormaps  # takes a while to import

    return colormaps[COLOR_MAP](values)[..., :3]


def compute_full_color_limit(values: np.ndarray) -> float:
    """Compute the value at which a signed map has full color: the 99.5th percentile of its absolute values."""
    return float(np.quantile(np.abs(values), 0.995))


def to_png(picture: np.ndarray) -> bytes:
    """Return a grey (H, W) or RGB (H, W, 3) uint8 picture as a PNG file."""
    return cv2.imencode(".png", picture if picture.ndim == 2 else cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))[1].tobytes()


def enlarge(image: np.ndarray, height: int, aspect: float = 1.0) -> np.ndarray:
    """Enlarge an image (H, W) or (H, W, 3) to `height` and height·aspect pixels, cubic and in its own range."""
    size = (max(1, round(height * aspect)), height)
    larger = cv2.resize(image, size, interpolation=cv2.INTER_CUBIC)
    return np.clip(larger, image.min(), image.max())


def reduce_height(image: np.ndarray, height: int) -> np.ndarray:
    """Return an image (H, W) or (H, W, 3) of at most `height` pixels, in its own proportions."""
    rows, columns = image.shape[:2]
    if rows <= height:
        return image
    return cv2.resize(image, (max(1, round(height * columns / rows)), height), interpolation=cv2.INTER_AREA)


def draw_outline(picture: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Return the outline of a mask (any size, bool) in green over a color picture (H, W, 3) uint8."""
    resized_mask = cv2.resize(mask.astype(np.uint8), picture.shape[1::-1], interpolation=cv2.INTER_LINEAR)
    contours, _ = cv2.findContours(resized_mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    return cv2.drawContours(picture.copy(), contours, -1, OUTLINE, max(1, picture.shape[0] // 256), cv2.LINE_AA)


def draw_overlay(film: np.ndarray, heat: np.ndarray, *, alpha: float, threshold: float, full: float) -> np.ndarray:
    """Draw a heat map in color over a grey film: red where the film is brighter than expected, blue where darker.

    film: (H, W) in [0, 1]. heat: (H, W), signed. alpha: opacity of the colors, 0 to 1. threshold, full: sizes of the
    heat below which nothing is colored, and from which the color is full. Returns (H, W, 3) uint8.
    """
    strength = np.clip((np.abs(heat) - threshold) / max(full - threshold, 1e-6), 0, 1)
    color = _apply_color_map(0.5 + 0.5 * np.clip(heat / max(full, 1e-6), -1, 1))
    # a soft edge: opacity rises quickly above the threshold, so that the border of a region can be seen
    opacity = (alpha * np.clip(strength * 4, 0, 1))[..., None]
    grey = np.repeat(film[..., None], 3, axis=2)
    return to_uint8(grey * (1 - opacity) + color * opacity)
