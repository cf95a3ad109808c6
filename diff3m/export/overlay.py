"""Pictures as arrays: grey films and heat maps over them. Pure functions; shared by the command line and the app."""

from __future__ import annotations

import cv2
import numpy as np

# palette: (color map of signed differences, of sizes); all but the first are told apart with any color vision
PALETTES = {
    "Red and blue": ("coolwarm", "inferno"),
    "Orange and purple": ("PuOr_r", "cividis"),
    "Brown and teal": ("BrBG_r", "viridis"),
}
MODES = ("signed", "absolute")
OUTLINE, REGION = (60, 220, 90), (250, 204, 21)


def to_uint8(image: np.ndarray) -> np.ndarray:
    """(H, W) in [0, 1] → uint8."""
    return np.round(np.clip(image, 0, 1) * 255).astype(np.uint8)


def signed(difference: np.ndarray, full: float) -> np.ndarray:
    """Draw a difference (S, S) in red (brighter) and blue (darker) over white, at full color from `full`: (S, S, 3)."""
    return to_uint8(_colors("coolwarm", 0.5 + 0.5 * np.clip(difference / max(full, 1e-6), -1, 1)))


def _colors(color_map: str, values: np.ndarray) -> np.ndarray:
    """Colors (…, 3) in [0, 1] of values in [0, 1]."""
    from matplotlib import colormaps  # takes a while to import

    return colormaps[color_map](values)[..., :3]


def full_color(values: np.ndarray) -> float:
    """Return the value at which a signed map is in full color, the 99.5th percentile: few places lie beyond."""
    return float(np.quantile(np.abs(values), 0.995))


def to_png(picture: np.ndarray) -> bytes:
    """Return a grey (H, W) or RGB (H, W, 3) uint8 picture as a PNG file."""
    return cv2.imencode(".png", picture if picture.ndim == 2 else cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))[1].tobytes()


def enlarge(image: np.ndarray, height: int, aspect: float = 1.0) -> np.ndarray:
    """Enlarge an image (H, W) or (H, W, 3) to `height` and height·aspect pixels, cubic and in its own range."""
    size = (max(1, round(height * aspect)), height)
    larger = cv2.resize(image, size, interpolation=cv2.INTER_CUBIC)
    return np.clip(larger, image.min(), image.max())


def outlined(picture: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Return the outline of a mask (any size, bool) in green over a color picture (H, W, 3) uint8."""
    resized_mask = cv2.resize(mask.astype(np.uint8), picture.shape[1::-1], interpolation=cv2.INTER_LINEAR)
    contours, _ = cv2.findContours(resized_mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    return cv2.drawContours(picture.copy(), contours, -1, OUTLINE, max(1, picture.shape[0] // 256), cv2.LINE_AA)


def numbered(picture: np.ndarray, mask: np.ndarray, text: str) -> np.ndarray:
    """Draw the outline of a mask (H, W) bool in yellow over a color picture (H, W, 3) uint8, with a number beside it.

    An empty mask draws nothing.
    """
    contours, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    if not contours:
        return picture
    image = cv2.drawContours(picture.copy(), contours, -1, REGION, 1, cv2.LINE_AA)
    left, top, _, _ = cv2.boundingRect(max(contours, key=cv2.contourArea))
    place = (max(2, left), max(14, top - 4))
    for color, thickness in (((0, 0, 0), 3), (REGION, 1)):
        cv2.putText(image, text, place, cv2.FONT_HERSHEY_SIMPLEX, 0.5, color, thickness, cv2.LINE_AA)
    return image


def overlay(
    film: np.ndarray,
    heat: np.ndarray,
    *,
    alpha: float,
    threshold: float,
    full: float,
    mode: str = "signed",
    palette: str = "Red and blue",
) -> np.ndarray:
    """Return a heat map in color over a grey film.

    film: (H, W) in [0, 1]; heat: (H, W) signed, same units as `threshold` (below it nothing is colored) and `full`
    (full color from there on). mode "signed": one color of the palette where the film is brighter than expected, the
    other where darker; "absolute": size only. palette: a name of PALETTES. Returns (H, W, 3) uint8.
    """
    if mode not in MODES:
        raise ValueError(f'mode must be "signed" or "absolute", got {mode!r}')
    signed_map, size_map = PALETTES[palette]
    size = np.abs(heat)
    reach = max(full - threshold, 1e-6)
    strength = np.clip((size - threshold) / reach, 0, 1)
    if mode == "signed":
        color = _colors(signed_map, 0.5 + 0.5 * np.clip(heat / max(full, 1e-6), -1, 1))
    else:
        color = _colors(size_map, np.clip(size / max(full, 1e-6), 0, 1))
    # a soft edge: opacity rises quickly above the threshold, so that the border of a region can be seen
    opacity = (alpha * np.clip(strength * 4, 0, 1))[..., None]
    grey = np.repeat(film[..., None], 3, axis=2)
    return to_uint8(grey * (1 - opacity) + color * opacity)
