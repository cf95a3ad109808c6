"""One film and one patient's record, prepared once: what the detector analyzes and every explanation explains."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace

import numpy as np

from .ehr import Record
from .imaging.radiograph import Preprocessing, Radiograph, border_box, check_film, prepare, read_radiograph

FilmSource = Radiograph | np.ndarray | str | os.PathLike
BorderBox = tuple[int, int, int, int]


@dataclass(frozen=True)
class PreparedFilm:
    """A film as the network takes it.

    pixels: (S, S) float32 in [0, 1]. border_box: (top, bottom, left, right) of the film without its constant borders,
    in pixels of the native film. aspect: width over height of that box, the proportions in which the square is shown.
    """

    pixels: np.ndarray
    border_box: BorderBox
    aspect: float


@dataclass(frozen=True, eq=False)
class Case:
    """One film and one record, prepared for one checkpoint by `Detector.case`.

    film: the native film. record: parsed, one entry for each feature of the checkpoint, None where unknown.
    x0: the prepared film, (S, S) float32 in [0, 1]. border_box, aspect: see `PreparedFilm`.
    """

    film: Radiograph
    record: Record
    x0: np.ndarray
    border_box: BorderBox
    aspect: float

    def with_record(self, record: Record) -> Case:
        """Return the same film under another parsed record; nothing is prepared again."""
        return replace(self, record=record)


def open_film(source: FilmSource) -> Radiograph:
    """Return a Radiograph from a Radiograph, a grey array (H, W) or a file. Raises RadiographError."""
    if isinstance(source, Radiograph):
        return source
    if isinstance(source, np.ndarray):
        return Radiograph(check_film(source.astype(np.float32)))
    return read_radiograph(source)


def prepare_film(film: Radiograph, settings: Preprocessing) -> PreparedFilm:
    """Cut the borders, stretch the contrast and resize, deriving the border box once. Raises RadiographError."""
    height, width = film.pixels.shape
    top, bottom, left, right = border_box(film.pixels) if settings.trim else (0, height, 0, width)
    inside = replace(film, pixels=film.pixels[top:bottom, left:right])
    pixels = prepare(inside, replace(settings, trim=False))
    return PreparedFilm(pixels, (top, bottom, left, right), (right - left) / (bottom - top))
