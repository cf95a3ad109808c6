"""One film and one patient's record, prepared once: what the detector analyzes and every explanation explains."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace

import numpy as np

from .ehr import Record
from .imaging import PreparedFilm, Radiograph, normalize_film, read_film

FilmSource = Radiograph | np.ndarray | str | os.PathLike


@dataclass(frozen=True, eq=False)
class Case:
    """One film and one record, prepared for one checkpoint by `Detector.case`.

    film: the native film. record: parsed, one entry for each feature of the checkpoint, None where unknown.
    prepared: the film as the network takes it, with its box and contrast in the native film.
    """

    film: Radiograph
    record: Record
    prepared: PreparedFilm

    @property
    def x0(self) -> np.ndarray:
        """The prepared film, (S, S) float32 in [0, 1]."""
        return self.prepared.square

    @property
    def aspect(self) -> float:
        """Width over height in which the prepared film is shown."""
        return self.prepared.aspect

    def with_record(self, record: Record) -> Case:
        """Return the same film under another parsed record; nothing is prepared again."""
        return replace(self, record=record)


def open_film(source: FilmSource, accept: bool = False) -> Radiograph:
    """Return a Radiograph from a Radiograph, a grey array (H, W) or a file, which must pass the gate.

    accept: take a file that the gate stops, and note why; see `read_film`. Raises RadiographError.
    """
    if isinstance(source, Radiograph):
        return source
    if isinstance(source, np.ndarray):
        return Radiograph(normalize_film(source.astype(np.float32)))
    return read_film(source, accept)
