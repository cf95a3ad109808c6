"""The radiograph: a film's pixels and what its file says of them, and the limits of what counts as a film."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

MIN_SIDE = 64  # pixels
MAX_PIXELS = 36_000_000  # the largest detectors have about half of that
MAX_RANGE = 1e30  # between the largest and the smallest value; float32 ends at 3.4e38
MAX_ASPECT = 2.0  # of the longer side to the shorter
MAX_BYTES = 256 * 2**20
COLOR_SPREAD = 0.10  # channel difference, of full scale, from which a pixel counts as colored
COLOR_SHARE = 0.05  # share of colored pixels that makes a picture a color picture


class RadiographError(ValueError):
    """A file that cannot be judged as a chest film; the message says what to do."""


@dataclass(frozen=True)
class Radiograph:
    """One film as read.

    pixels: (H, W) float32 in [0, 1], bright = dense (bone white). source: "DICOM", "PNG", "JPEG", "WEBP", "TIFF" or "array".
    facts: EHR values found in the header, by feature name. notes: sentences for the reader about what was seen.
    """

    pixels: np.ndarray
    source: str = "array"
    facts: dict[str, float | str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def grey_from_rgb(rgb: np.ndarray) -> np.ndarray:
    """(H, W, 3) 8- or 16-bit → (H, W) float32, if the picture holds no color. Raises RadiographError for a color picture."""
    full = float(np.iinfo(rgb.dtype).max)
    spread = (rgb.max(axis=2).astype(np.float32) - rgb.min(axis=2)) / full
    if (spread > COLOR_SPREAD).mean() > COLOR_SHARE:
        raise RadiographError(
            "This is a color picture, not a radiograph. Export the film itself in grey levels, without color overlays."
        )
    return rgb.mean(axis=2, dtype=np.float32)


def check_film(pixels: np.ndarray) -> np.ndarray:
    """Scale a decoded film to [0, 1]. Raises RadiographError if it is too small, too long, blank or not finite."""
    if pixels.ndim != 2:
        raise RadiographError("The file does not hold a single grey picture. Export one frontal film.")
    check_size(pixels.shape[1], pixels.shape[0])
    if not np.isfinite(pixels).all():
        raise RadiographError("The image holds values that are not numbers. Export it again as PNG or DICOM.")
    low, high = float(pixels.min()), float(pixels.max())
    if not high > low:
        raise RadiographError("The image is blank: every pixel has the same value. Export the film again.")
    if high - low > MAX_RANGE:
        raise RadiographError(
            "The image holds values that are too large to be grey levels. Export it again as PNG or DICOM."
        )
    return ((pixels - np.float32(low)) / np.float32(high - low)).astype(np.float32, copy=False)


def check_size(width: int, height: int) -> None:
    """Raise RadiographError for a picture that is too small, too large or too long for a frontal chest film."""
    if min(height, width) < MIN_SIDE:
        raise RadiographError(
            f"The image has {width}×{height} pixels; at least {MIN_SIDE}×{MIN_SIDE} are needed. Export the film in full size."
        )
    if max(height, width) > MAX_ASPECT * min(height, width):
        raise RadiographError(
            f"The image is {width}×{height} pixels, too long for a frontal chest film. Crop it to the chest."
        )
    if width * height > MAX_PIXELS:
        raise RadiographError(
            f"The image has {width}×{height} pixels, more than {MAX_PIXELS // 10**6} million. Export it smaller."
        )
