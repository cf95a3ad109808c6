"""Opening films and adding results to them, independently of the page's components."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from diff3m.analysis import Analysis
from diff3m.case import Case
from diff3m.detector import Detector
from diff3m.findings import find_findings
from diff3m.imaging import Radiograph, RadiographError, prepare_mask, read_radiograph, with_quality

from ..components import film_pictures
from ..components.film_edit import Corrections, correct_and_inspect
from ..examples import Example, read_mask
from ..render import wording
from ..render.images import Frame, inline_image
from .session import OpenFilm

log = logging.getLogger(__name__)

THUMBNAIL = 48  # pixels
GONE = "Your film is no longer on the server: films are deleted within the hour. Drop it again."
FAILED = (
    "Something failed on the server ({kind}). Try again; if it fails again, restart the page or use a smaller film."
)


def read_file(path: str) -> Radiograph:
    """Read a film that was uploaded. Raises RadiographError."""
    if not Path(path).is_file():
        raise RadiographError(GONE)
    return read_radiograph(path)


def open_film(
    path: str, corrections: Corrections, name: str, detector: Detector, example: str = ""
) -> tuple[OpenFilm, Case]:
    """Read a film, correct it and inspect it.

    Parameters:
        path: of its file. corrections: by hand. name: for the reader.
        example: id of the example that it is, or "".

    Returns the film and its case, whose record is empty. Raises RadiographError or ValueError.
    """
    radiograph, quality = correct_and_inspect(read_file(path), corrections)
    case = detector.case(with_quality(radiograph, quality))
    height, width = radiograph.pixels.shape
    film = OpenFilm(
        path=path,
        name=name,
        corrections=corrections,
        quality=quality,
        facts=f"{radiograph.source}, {width}×{height} pixels",
        notes=(*radiograph.notes, *quality.notes),
        thumbnail=inline_image(Frame(case.x0, name), THUMBNAIL, case.aspect),
        picture=film_pictures.make_film_picture(radiograph, name, detector.config.preprocessing.size),
        presets=film_pictures.list_presets(radiograph),
        preset=film_pictures.select_first_preset(radiograph),
        example=example,
    )
    return film, case


def read_true_mask(film: OpenFilm, case: Case, detector: Detector, examples: Sequence[Example]) -> np.ndarray | None:
    """Return where an example was changed, (S, S) bool; None where that is unknown or the film was corrected."""
    example = next((entry for entry in examples if entry.id == film.example), None)
    mask = read_mask(example.mask) if example and film.corrections.is_identity else None
    return None if mask is None else prepare_mask(mask, case.film, detector.config.preprocessing)


def add_result(
    film: OpenFilm, analysis: Analysis, case: Case, detector: Detector, examples: Sequence[Example]
) -> OpenFilm:
    """Return an open film with its analysis, its findings, its verdict and its picture for the viewer."""
    scoring, analysis = detector.scoring, replace(analysis, case=case)
    findings = tuple(find_findings(analysis, case, scoring))
    truth = read_true_mask(film, case, detector, examples)
    picture = film_pictures.add_analysis(film.picture, analysis, case, scoring, findings, truth)
    verdict = wording.verdict_sentence(analysis, findings, detector.schema)
    return replace(film, analysis=analysis, findings=findings, result_picture=picture, verdict=verdict)


def describe_error(error: Exception) -> str:
    """Return the sentence that the page shows for an error.

    For a ValueError (RadiographError, EHRError, settings out of range) this is its own sentence. For other errors it
    says that something failed; their kind is logged, but not their text, which may quote a file.
    """
    if isinstance(error, ValueError):
        return str(error)
    log.error("an analysis ended in %s", type(error).__name__)
    return FAILED.format(kind=type(error).__name__)
