"""A film turned, inverted or cropped."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from .radiograph import Radiograph, check_film


def corrected(
    film: Radiograph,
    turn: int = 0,
    negative: bool = False,
    cut: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0),
) -> Radiograph:
    """The film turned by quarter turns to the left, inverted if asked, and then cut by shares of its new top, right, bottom and left.

    Raises RadiographError if what is left is no film, ValueError for shares that leave nothing.
    """
    if not (all(0 <= share < 1 for share in cut) and cut[0] + cut[2] < 0.9 and cut[1] + cut[3] < 0.9):
        raise ValueError("What is cut away must leave at least a tenth of the film's height and width.")
    pixels = turned(film.pixels, turn, negative)
    height, width = pixels.shape
    top, right, bottom, left = (
        round(share * side) for share, side in zip(cut, (height, width, height, width), strict=True)
    )
    return replace(film, pixels=check_film(np.ascontiguousarray(pixels[top : height - bottom, left : width - right])))


def turned(pixels: np.ndarray, turn: int, negative: bool) -> np.ndarray:
    """Pixels in [0, 1] turned by quarter turns to the left, and inverted if asked."""
    pixels = np.rot90(pixels, turn)
    return 1 - pixels if negative else pixels
