"""Preprocessing, the same for training and inference: cut borders, stretch the contrast, resize to a square."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from .radiograph import Radiograph, RadiographError

TRIM_LIMIT = 0.30  # at most this share of a side is taken for a border
EVEN = 0.02  # of the film's range: a row or column whose 5th to 95th percentiles differ by less is even
BORDER_SAMPLES = 256  # rows or columns of the shorter side that are examined for borders
MIN_CONTRAST = 1e-6  # between the two percentiles, of the film's range

Box = tuple[int, int, int, int]


@dataclass(frozen=True)
class Preprocessing:
    """How a film becomes a network input; a checkpoint stores it.

    size: side in pixels, 8 to 4096. low, high: percentiles that become 0 and 1. trim: whether constant borders are cut
    first. Raises ValueError for values out of range.
    """

    size: int = 128
    low: float = 1.0
    high: float = 99.0
    trim: bool = True

    def __post_init__(self) -> None:
        if not isinstance(self.size, int) or not 8 <= self.size <= 4096 or not 0 <= self.low < self.high <= 100:
            raise ValueError("preprocessing needs a size of 8 to 4096 and percentiles 0 ≤ low < high ≤ 100")


@dataclass(frozen=True)
class PreparedFilm:
    """A film as the network sees it, and where in the film as read that is.

    square: (S, S) float32 in [0, 1], the network's input.
    box: (top, bottom, left, right) of the part that the square shows, in pixels of the film as read.
    low, high: the values of the film's pixels that became 0 and 1.
    """

    square: np.ndarray
    box: Box
    low: float
    high: float

    @property
    def aspect(self) -> float:
        """Width over height of the box: the proportions in which the square is displayed."""
        top, bottom, left, right = self.box
        return (right - left) / (bottom - top)

    def crop(self, image: np.ndarray) -> np.ndarray:
        """Crop an image of the film's size to the box: (H, W, …) → (h, w, …), a view."""
        top, bottom, left, right = self.box
        return image[top:bottom, left:right]

    def stretch(self, pixels: np.ndarray) -> np.ndarray:
        """Stretch pixels of the film as read to the contrast of the square: float32 in [0, 1]."""
        return np.clip((pixels - np.float64(self.low)) / (self.high - self.low), 0, 1).astype(np.float32)


def prepare_film(radiograph: Radiograph, settings: Preprocessing) -> PreparedFilm:
    """Cut the borders, resize to (size, size), and stretch the contrast of one film.

    Width and height are scaled separately, as in the films that the shipped checkpoints were trained on. Raises
    RadiographError for a film without contrast.
    """
    box = film_box(radiograph, settings)
    top, bottom, left, right = box
    pixels, side = radiograph.pixels[top:bottom, left:right], (settings.size, settings.size)
    low, high = np.percentile(cv2.resize(pixels, side, interpolation=cv2.INTER_AREA), [settings.low, settings.high])
    if not high - low > MIN_CONTRAST:
        raise RadiographError("The image holds almost no contrast. Export the film again with its full grey scale.")
    contrast = np.clip((pixels - low) / (high - low), 0, 1).astype(np.float32)
    square = cv2.resize(contrast, side, interpolation=cv2.INTER_AREA).clip(0, 1)
    return PreparedFilm(square, box, float(low), float(high))


def film_box(radiograph: Radiograph, settings: Preprocessing) -> Box:
    """Return (top, bottom, left, right) of the part that is prepared, in pixels: all of the film without `trim`."""
    height, width = radiograph.pixels.shape
    return border_box(radiograph.pixels) if settings.trim else (0, height, 0, width)


def border_box(pixels: np.ndarray) -> Box:
    """Return (top, bottom, left, right) of a film (H, W) without constant borders such as padding and collimation.

    Rows and columns at an edge are border as long as they are even: their 5th and 95th percentiles differ by under 2 %
    of the film's range. An even edge of more than 30 % of the side counts as part of the film and is not cut.
    """
    height, width = pixels.shape
    step = max(1, min(height, width) // BORDER_SAMPLES)
    small = pixels[::step, ::step]
    even = EVEN * float(np.ptp(small))

    def margin(lines: np.ndarray) -> int:
        limit = int(TRIM_LIMIT * len(lines))
        spread = np.subtract(*np.percentile(lines, [95, 5], axis=1))
        uneven = np.flatnonzero(spread > even)
        first = int(uneven[0]) if len(uneven) else 0
        return first * step if first <= limit else 0

    return margin(small), height - margin(small[::-1]), margin(small.T), width - margin(small.T[::-1])


def prepare_mask(mask: np.ndarray, radiograph: Radiograph, settings: Preprocessing) -> np.ndarray:
    """Crop and resize a mask as its film is prepared.

    mask: bool, of any size in the proportions of the film as read. Returns (size, size) bool.
    """
    height, width = radiograph.pixels.shape
    top, bottom, left, right = film_box(radiograph, settings)
    full_mask = cv2.resize(mask.astype(np.float32), (width, height), interpolation=cv2.INTER_LINEAR)
    inside = full_mask[top:bottom, left:right]
    return cv2.resize(inside, (settings.size, settings.size), interpolation=cv2.INTER_AREA) > 0.5


def prepare(radiograph: Radiograph, settings: Preprocessing) -> np.ndarray:
    """Return the network's input alone, (size, size) float32 in [0, 1]: see `prepare_film`."""
    return prepare_film(radiograph, settings).square
