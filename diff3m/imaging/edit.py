"""Corrections of a film by hand: turning, inverting and cropping."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from .radiograph import Radiograph, Window, normalize_film

Shares = tuple[float, float, float, float]  # of the height or width, from the top, right, bottom and left


def edit_film(
    film: Radiograph,
    turn: int = 0,
    negative: bool = False,
    cut: Shares = (0.0, 0.0, 0.0, 0.0),
) -> Radiograph:
    """Turn and invert a film, and then crop it; its spacing and windows follow.

    turn: quarter turns to the left. negative: whether to invert. cut: shares of the turned film that are cut off at the
    top, right, bottom and left, each 0 to under 1. Raises RadiographError if what remains is no film, and ValueError
    for shares that leave less than a tenth of its height or width.
    """
    if not (all(0 <= share < 1 for share in cut) and cut[0] + cut[2] < 0.9 and cut[1] + cut[3] < 0.9):
        raise ValueError("What is cut away must leave at least a tenth of the film's height and width.")
    pixels = normalize_film(_crop(turn_pixels(film.pixels, turn, negative), cut))
    spacing = film.spacing_mm[::-1] if film.spacing_mm and turn % 2 else film.spacing_mm
    grey = _crop(turn_pixels(film.unwindowed, turn, negative), cut)
    full_range = None if film.full_range is None else normalize_film(grey)
    low, high = float(grey.min()), float(grey.max())
    windows = tuple(_adapt_window(window, negative, low, high) for window in film.windows)
    return replace(film, pixels=pixels, spacing_mm=spacing, windows=windows, full_range=full_range)


def turn_pixels(pixels: np.ndarray, turn: int, negative: bool) -> np.ndarray:
    """Turn pixels (H, W) in [0, 1] by quarter turns to the left, and invert them if `negative`."""
    pixels = np.rot90(pixels, turn)
    return 1 - pixels if negative else pixels


def _crop(pixels: np.ndarray, cut: Shares) -> np.ndarray:
    """Cut shares off the top, right, bottom and left of pixels (H, W)."""
    height, width = pixels.shape
    top, right, bottom, left = (
        round(share * side) for share, side in zip(cut, (height, width, height, width), strict=True)
    )
    return np.ascontiguousarray(pixels[top : height - bottom, left : width - right])


def _adapt_window(window: Window, negative: bool, low: float, high: float) -> Window:
    """Return a window for a film that was inverted if `negative`, and whose values low to high then became 0 to 1."""
    ends = (1 - window.high, 1 - window.low) if negative else (window.low, window.high)
    return replace(window, low=(ends[0] - low) / (high - low), high=(ends[1] - low) / (high - low))
