"""Films for the Teach tab: phantoms at two resolutions, and a film with its analysis as the viewer shows it."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from diff3m.analysis import Analysis
from diff3m.data.phantom import make_person
from diff3m.data.phantom.patient import Patient
from diff3m.detector import Detector
from diff3m.imaging import Radiograph
from diff3m.imaging.compose import compose_pseudo_healthy

from ..components.film_pictures import make_analysis_map
from ..components.viewer import ViewerFilm, ViewerFinding, build_film
from ..runtime.storage import store_picture

PHANTOMS = "phantoms"  # name of the checkpoint that learned from simulated patients
MODEL_SIDE = 256  # pixels of the phantoms that the model analyzes
DISPLAY_SIDE = 512  # pixels of the same phantom in the viewer
PHANTOM_TAG = "simulated, no patient"
FILM_HEIGHT = "var(--teach-film)"  # of the viewers, set in assets/teach.css for each width of the window


@dataclass(frozen=True, eq=False)
class PhantomFilm:
    """One phantom under one record.

    pixels: (DISPLAY_SIDE, DISPLAY_SIDE) float32 in [0, 1], for the viewer. film: what the model takes. mask: of the
    lesion, (DISPLAY_SIDE, DISPLAY_SIDE) bool, or None.
    """

    patient: Patient
    pixels: np.ndarray
    film: Radiograph
    mask: np.ndarray | None = None


def make_scroll_script(elem_id: str) -> str:
    """Return JavaScript for a button's `js=` that scrolls to the answer where it lies below the fold, as on a phone."""
    return (
        f"() => {{ const answer = document.getElementById({json.dumps(elem_id)}); "
        "if (answer.getBoundingClientRect().top > innerHeight - 160) answer.scrollIntoView({ block: 'start' }); }"
    )


def make_phantom_film(number: int, lesion: str | None = None, **changes: object) -> PhantomFilm:
    """Draw the phantom of a number. lesion: its kind, or None. changes: of its record, by feature name."""
    return _make_phantom_film(number, lesion, tuple(sorted(changes.items())))


@lru_cache(maxsize=64)  # a class looks at the same few films again and again; each takes a second to draw
def _make_phantom_film(number: int, lesion: str | None, changes: tuple) -> PhantomFilm:
    person = make_person(number, lesion)
    patient = person.patient.with_values(**dict(changes))
    film = Radiograph(person.render(MODEL_SIDE, patient))
    if lesion is None:
        return PhantomFilm(patient, person.render(DISPLAY_SIDE, patient), film)
    drawing = person.render_with_lesion(DISPLAY_SIDE, patient)
    return PhantomFilm(patient, drawing.film, film, drawing.mask)


def make_plain_film(pixels: np.ndarray, name: str = "Film", **options: object) -> ViewerFilm:
    """Return a film (H, W) in [0, 1] for the viewer, not analyzed. options: further fields of `ViewerFilm`."""
    return build_film(pixels, store=store_picture, name=name, **options)


def make_analyzed_film(
    pixels: np.ndarray,
    analysis: Analysis,
    detector: Detector,
    findings: tuple[ViewerFinding, ...] = (),
    **options: object,
) -> ViewerFilm:
    """Return a film with its pseudo-healthy version and its maps for the viewer.

    Parameters:
        pixels: (H, W) float32 in [0, 1], the film as it is shown; the same scene as the analyzed film.
        findings: outlined places. options: further fields of `ViewerFilm`.
    """
    prepared = detector.case(Radiograph(pixels)).prepared
    square = replace(prepared, square=analysis.film)
    normal = compose_pseudo_healthy(pixels, square, analysis.reconstruction, analysis.heat_map, analysis.heat_normal)
    maps = (make_analysis_map(analysis, detector.scoring, prepared, pixels.shape),)
    return build_film(pixels, store=store_picture, normal=normal, maps=maps, findings=findings, **options)
