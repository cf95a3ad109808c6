"""Lesson: same film, two hospitals. What processing, exposure and the view in the record alone do to score and map."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np

from diff3m.analysis import Analysis
from diff3m.detector import Detector
from diff3m.imaging import Radiograph
from diff3m.scoring.score import UNUSUAL

from ...components.viewer import ViewerState
from ..teach_films import PhantomFilm, make_phantom_film
from . import answers
from .lesson import Lesson, Step

PERSON = 2_050_202  # number of the phantom
GAMMA = 1.5
SHARPENING, SHARPENING_SIGMA = 1.2, 1 / 100  # strength, and the blur's standard deviation as a share of the side
DARKER = 0.6  # of the brightness
GRAIN = 0.03  # of the grey range: standard deviation of a low dose's noise
EFFECT = 1.0  # points of percentile under which a change is called none

Process = Callable[[np.ndarray], np.ndarray]


def apply_grey_curve(film: np.ndarray, gamma: float = GAMMA) -> np.ndarray:
    """Apply another grey curve: a power of the film (H, W) in [0, 1]."""
    return np.clip(film, 0, 1) ** gamma


def sharpen(film: np.ndarray, strength: float = SHARPENING) -> np.ndarray:
    """Sharpen a film (H, W) in [0, 1] by `strength` times its difference from a blurred copy (unsharp masking)."""
    blurred = cv2.GaussianBlur(film, (0, 0), SHARPENING_SIGMA * film.shape[0])
    return np.clip(film + strength * (film - blurred), 0, 1)


def darken(film: np.ndarray, factor: float = DARKER) -> np.ndarray:
    """Return the film (H, W) with all greys multiplied by a factor."""
    return film * factor


def add_grain(film: np.ndarray, size: float = GRAIN) -> np.ndarray:
    """Add the noise of a low dose to a film (H, W) in [0, 1]. size: its standard deviation; the same at each call."""
    noise = np.random.default_rng(0).normal(size=film.shape)
    return np.clip(film + size * noise, 0, 1).astype(np.float32)


@dataclass(frozen=True)
class Variant:
    """What another hospital does differently: a name, steps of processing, and changes of the record."""

    name: str
    steps: tuple[Process, ...] = ()
    record: Mapping[str, object] | None = None

    def apply(self, phantom: PhantomFilm) -> PhantomFilm:
        """Return the phantom after the processing."""
        pixels, film = phantom.pixels, phantom.film.pixels
        for step in self.steps:
            pixels, film = step(pixels), step(film)
        return replace(phantom, pixels=pixels, film=Radiograph(np.ascontiguousarray(film, np.float32)))


WRONG_VIEW = {"view": "AP"}
VARIANTS = (
    Variant("grey curve", (apply_grey_curve,)),
    Variant("sharpening", (sharpen,)),
    Variant("darker", (darken,)),
    Variant("grain of a low dose", (add_grain,)),
    Variant("record says AP", record=WRONG_VIEW),
)
OTHER_HOSPITAL = Variant("all of these", (apply_grey_curve, sharpen, darken, add_grain), WRONG_VIEW)
FIRST = "hospital A"


@dataclass(frozen=True)
class Outcome:
    """What one variant did. map_change: mean size of the change of the difference map, in shares of the grey range."""

    name: str
    percentile: float | None
    row: tuple[str, ...]
    map_change: float


def _measure_outcome(name: str, analysis: Analysis, first: Analysis, detector: Detector) -> Outcome:
    places = answers.places_text(answers.find_outstanding_places(analysis, detector))
    change = float(np.abs(analysis.heat_map - first.heat_map).mean())
    percentile = answers.percentile_text(analysis.percentile, analysis.normals)
    return Outcome(name, analysis.percentile, (name, percentile, f"{change:.1%}", places), change)


def _table(outcomes: Sequence[Outcome]) -> str:
    head = ["what differs", "percentile", "map changes by", "stands out"]
    return answers.table(head, [entry.row for entry in outcomes])


def conclusion_text(outcomes: Sequence[Outcome]) -> str:
    """Say in words which single change moved score and map most. outcomes: the first hospital's first, all last."""
    first, *single, together = outcomes
    by_map = max(single, key=lambda entry: entry.map_change)
    text = "Nothing in the patient changed. "
    if first.percentile is not None:
        moves = {entry.name: (entry.percentile or 0) - first.percentile for entry in single}
        name = max(moves, key=lambda key: abs(moves[key]))
        text += f"One change moved the score most: {name}, by {moves[name]:+.1f} points of percentile. "
        still = [entry for entry, move in moves.items() if abs(move) < EFFECT]
        text += f"The score hardly moved with: {', '.join(still)}. " if still else ""
        crosses = (first.percentile >= UNUSUAL) != ((together.percentile or 0) >= UNUSUAL)
        limit = f"{'crosses' if crosses else 'does not cross'} the limit at {UNUSUAL}"
        text += f"All changes together take it from {first.row[1]} to {together.row[1]}, which {limit}. "
    text += f"The map changed most with: {by_map.name} ({by_map.row[2]} of the grey range on average). "
    return text + (
        "Overall brightness and contrast are normalized before the model sees a film; the shape of the grey curve and "
        "sharpened edges are not. Compare scores within one hospital, or calibrate on its own normal films."
    )


def show_film() -> ViewerState:
    """Return the film of both hospitals, before the answer."""
    phantom = make_phantom_film(PERSON, view="PA")
    other = OTHER_HOSPITAL.apply(phantom)
    films = (answers.make_phantom_view(film, name) for film, name in ((phantom, "A"), (other, "B")))
    return ViewerState(*films, description="The same patient's film as hospital A and hospital B show it")


def answer_processing(detector: Detector) -> Iterator[Step]:
    """Analyze the film as it is, with each change alone, and with all of them."""
    phantom = make_phantom_film(PERSON, view="PA")
    title = "The same patient, one change at a time"
    text = f"Score and map of {FIRST}'s film, then of the same film with each change alone."
    first = answers.analyze(detector, phantom)
    outcomes = [_measure_outcome(FIRST, first, first, detector)]
    yield Step(answers.card(title, text, _table(outcomes)))
    for variant in (*VARIANTS, OTHER_HOSPITAL):
        variation = variant.apply(phantom)
        analysis = answers.analyze(detector, variation, variant.record)
        outcomes.append(_measure_outcome(variant.name, analysis, first, detector))
        yield Step(answers.card(title, text, _table(outcomes)))
    films = (
        answers.make_analyzed_view(film, result, detector, name)
        for film, result, name in ((phantom, first, "A"), (variation, analysis, "B"))
    )
    state = ViewerState(*films, description="The films of both hospitals with their maps")
    yield Step(answers.conclusion(answers.card(title, text, _table(outcomes)), conclusion_text(outcomes)), state)


PROCESSING = Lesson(
    "hospitals",
    "Same film, two hospitals",
    "One healthy phantom as two hospitals would show it. **B** uses another grey curve, sharpens, shows the film "
    "darker, saves dose, which adds grain, and records AP instead of PA. Which of these alone moves the score most?",
    ("The grey curve", "The sharpening", "The darker picture", "The grain", "The record", "None of them"),
    "First let the class find differences between A and B, and ask whether any of them is the patient's. After the "
    "answer switch the map on: what is colored in B and not in A comes from the hospital. Ask what a score that was "
    "calibrated in A is worth in B.",
    show_film,
    answer_processing,
)
