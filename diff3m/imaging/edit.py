"""A film turned, inverted or cropped by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from .radiograph import Radiograph, Window, check_film

Shares = tuple[float, float, float, float]


def edit_film(
    film: Radiograph,
    turn: int = 0,
    negative: bool = False,
    cut: Shares = (0.0, 0.0, 0.0, 0.0),
) -> Radiograph:
    """Return the film turned by quarter turns to the left, inverted if asked, and then cut.

    The cut is by shares of the new top, right, bottom and left.

    Its spacing and windows follow. Raises RadiographError if what is left is no film, ValueError for shares that leave
    nothing.
    """
    if not (all(0 <= share < 1 for share in cut) and cut[0] + cut[2] < 0.9 and cut[1] + cut[3] < 0.9):
        raise ValueError("What is cut away must leave at least a tenth of the film's height and width.")
    pixels = check_film(_cut(turn_pixels(film.pixels, turn, negative), cut))
    spacing = film.spacing_mm[::-1] if film.spacing_mm and turn % 2 else film.spacing_mm
    grey = _cut(turn_pixels(film.unwindowed, turn, negative), cut)
    full_range = None if film.full_range is None else check_film(grey)
    low, high = float(grey.min()), float(grey.max())
    windows = tuple(_follow(window, negative, low, high) for window in film.windows)
    return replace(film, pixels=pixels, spacing_mm=spacing, windows=windows, full_range=full_range)


def turn_pixels(pixels: np.ndarray, turn: int, negative: bool) -> np.ndarray:
    """Return pixels in [0, 1] turned by quarter turns to the left, and inverted if asked."""
    pixels = np.rot90(pixels, turn)
    return 1 - pixels if negative else pixels


def _cut(pixels: np.ndarray, cut: Shares) -> np.ndarray:
    """Without shares of the top, right, bottom and left."""
    height, width = pixels.shape
    top, right, bottom, left = (
        round(share * side) for share, side in zip(cut, (height, width, height, width), strict=True)
    )
    return np.ascontiguousarray(pixels[top : height - bottom, left : width - right])


def _follow(window: Window, negative: bool, low: float, high: float) -> Window:
    """Return a window of a film that was perhaps inverted, and whose values from low to high then became 0 to 1."""
    ends = (1 - window.high, 1 - window.low) if negative else (window.low, window.high)
    return replace(window, low=(ends[0] - low) / (high - low), high=(ends[1] - low) / (high - low))
