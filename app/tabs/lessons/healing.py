"""Lesson: what heals and what does not. Painted lesions, gross to invisible, against the same film without them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import cv2
import numpy as np

from diff3m.analysis import Analysis
from diff3m.data.painted.lesions import paint_lesion
from diff3m.detector import Detector
from diff3m.findings import Finding as Place
from diff3m.findings import mask_box
from diff3m.imaging import Radiograph, prepare_mask
from diff3m.scoring.score import UNUSUAL

from ...components.viewer import ViewerFinding, ViewerState
from ..case_set import find_truths
from ..teach_films import MODEL_SIDE, PhantomFilm, make_phantom_film
from . import answers
from .lesson import Lesson, Setting, Step

PERSON = 2_050_202  # number of the phantom that the lesions are painted into
STRENGTHS = (0.8, 0.4, 0.2, 0.1, 0.05)  # of the series, shares of the way to white
GREY_STEP = 1 / 255  # of an 8-bit film: a lesion that adds less is not in the file
SETTING = Setting("Strength of the lesions (share of the way to white)", 0.02, 1.0, 0.02, 0.4)


@dataclass(frozen=True)
class Lesion:
    """A painted lesion. kind, center, extent, seed: as `paint_lesion` takes them."""

    name: str
    kind: str
    center: tuple[float, float]
    extent: float
    seed: int


LESIONS = (
    Lesion("cloud", "opacity", (0.31, 0.46), 0.11, 3),
    Lesion("nodule", "nodule", (0.69, 0.40), 0.028, 0),
    Lesion("fluid", "effusion", (0.71, 0.66), 0.13, 0),
)


@dataclass(frozen=True)
class Removal:
    """What was painted and what is left of it in the normal film: mean brightness inside, shares of the grey range."""

    addition: float
    remaining: float

    @property
    def share(self) -> float | None:
        """The share that the normal film is without; None for a lesion too faint to be in the file."""
        return None if abs(self.addition) < GREY_STEP else 1 - self.remaining / self.addition


@dataclass(frozen=True)
class Measurement:
    """What was measured at one strength: percentile, and of each lesion the removal and whether it stands out.

    normals: how many normal films the percentile is among.
    """

    strength: float
    percentile: float | None
    removals: tuple[Removal, ...]
    stands_out: tuple[bool, ...]
    normals: int = 0


def measure_removal(painted: Analysis, twin: Analysis, mask: np.ndarray) -> Removal:
    """Compare a painted film with its unpainted twin, in the film and in the normal film.

    The twin's own normal film is what is compared with, so that an error that both have does not count, and the
    surroundings' median difference is taken off, because a gross lesion stretches the contrast of the whole film.
    mask: (S, S) bool, of the lesion in the prepared film.
    """

    def contrast(difference: np.ndarray) -> float:
        return float(difference[mask].mean() - np.median(difference[~mask]))

    return Removal(contrast(painted.film - twin.film), contrast(painted.reconstruction - twin.reconstruction))


def place_stands_out(places: Sequence[Place], mask: np.ndarray) -> bool:
    """Return whether the middle of a mask (S, S) lies in the box of a place that stands out."""
    top, left, bottom, right = mask_box(mask)
    row, column = (top + bottom) / 2, (left + right) / 2
    boxes = (place.prepared_box for place in places)
    return any(box[0] <= row <= box[2] and box[1] <= column <= box[3] for box in boxes)


@lru_cache(maxsize=128)
def make_painted_film(strength: float) -> tuple[PhantomFilm, tuple[np.ndarray, ...]]:
    """Return the phantom with all lesions at a strength, and their masks, (H, W) bool each."""
    phantom = make_phantom_film(PERSON)
    pixels, masks = phantom.pixels, []
    for lesion in LESIONS:
        pixels, mask = paint_lesion(pixels, lesion.kind, lesion.center, lesion.extent, strength, lesion.seed)
        masks.append(mask)
    size = (MODEL_SIDE, MODEL_SIDE)
    change = cv2.resize(pixels - phantom.pixels, size, interpolation=cv2.INTER_AREA)
    film = Radiograph(np.clip(phantom.film.pixels + change, 0, 1).astype(np.float32))
    return replace(phantom, pixels=np.clip(pixels, 0, 1), film=film), tuple(masks)


def _measure(detector: Detector, strength: float, twin: Analysis) -> tuple[Analysis, Measurement]:
    phantom, masks = make_painted_film(strength)
    analysis = answers.analyze(detector, phantom)
    places = answers.find_outstanding_places(analysis, detector)
    small = [prepare_mask(mask, phantom.film, detector.config.preprocessing) for mask in masks]
    removals = tuple(measure_removal(analysis, twin, mask) for mask in small)
    stands_out = tuple(place_stands_out(places, mask) for mask in small)
    return analysis, Measurement(strength, analysis.percentile, removals, stands_out, analysis.normals)


def _removal_text(removal: Removal, stands_out: bool) -> str:
    share = removal.share
    text = "too faint" if share is None else f"{share:.0%}"
    return f"{text}, stands out" if stands_out else text


def _table(measurements: Sequence[Measurement], twin: Analysis, strength: float) -> str:
    head = ["strength", "percentile", *(f"{lesion.name}: removed" for lesion in LESIONS)]
    rows = []
    for entry in measurements:
        cells = map(_removal_text, entry.removals, entry.stands_out)
        rows.append([f"{entry.strength:.2f}", answers.percentile_text(entry.percentile, entry.normals), *cells])
    rows.append(["unpainted", answers.percentile_text(twin.percentile, twin.normals), *["–"] * len(LESIONS)])
    return answers.table(head, rows, next(i for i, entry in enumerate(measurements) if entry.strength == strength))


def conclusion_text(measurements: Sequence[Measurement], strength: float) -> str:
    """Say in words what was measured at a strength, and down to which strength anything reports it."""
    current = next(entry for entry in measurements if entry.strength == strength)
    shares = [(removal.share, lesion.name) for removal, lesion in zip(current.removals, LESIONS, strict=True)]
    known = sorted((share, name) for share, name in shares if share is not None)
    if known:
        (low, least), (high, most) = known[0], known[-1]
        start = f"At strength {strength:.2f} the normal film is without {high:.0%} of the {most} and {low:.0%} of the "
        start += f"{least}. The difference cannot show what the normal film keeps of a lesion."
    else:
        start = f"At strength {strength:.2f} the lesions add less than one grey step: they are not in the file."
    visible = [entry.strength for entry in measurements if any(entry.stands_out)]
    places = f"A place stands out down to strength {min(visible):.2f}" if visible else "No place stands out"
    unusual = [entry.strength for entry in measurements if (entry.percentile or 0) >= UNUSUAL]
    limit = f"percentile {UNUSUAL}"
    score = f"the score reaches {limit} down to {min(unusual):.2f}" if unusual else f"the score never reaches {limit}"
    return f"{start} {places}; {score}. Where neither reports a lesion, it is still in the film."


def show_painted(strength: float) -> ViewerState:
    """Return the painted film before the answer."""
    phantom, _ = make_painted_film(round(strength, 2))
    return answers.make_question_state(phantom, f"Three lesions at strength {strength:.2f}")


def answer_painted(detector: Detector, strength: float) -> Iterator[Step]:
    """Measure the chosen strength, then the series, from gross to invisible."""
    strength = round(strength, 2)
    healthy = make_phantom_film(PERSON)
    healthy_analysis = answers.analyze(detector, healthy)
    phantom, masks = make_painted_film(strength)
    analysis, first = _measure(detector, strength, healthy_analysis)
    truths = [find_truths(mask, f"{lesion.name}, painted") for lesion, mask in zip(LESIONS, masks, strict=True)]
    findings = tuple(ViewerFinding(truth.label, "", truth.box, truth.outline) for parts in truths for truth in parts)
    name = f"Painted at strength {strength:.2f}"
    title = "How much of each lesion the normal film removes"
    text = "Measured inside each lesion, against the same film without lesions."
    state = answers.make_answer_state(phantom, analysis, detector, name, findings=findings)
    yield Step(answers.card(title, text, _table([first], healthy_analysis, strength)), state)
    measurements = [first]
    for other in STRENGTHS:
        if other == strength:
            continue
        measurements.append(_measure(detector, other, healthy_analysis)[1])
        measurements.sort(key=lambda entry: -entry.strength)
        yield Step(answers.card(title, text, _table(measurements, healthy_analysis, strength)))
    steps = answers.card(title, text, _table(measurements, healthy_analysis, strength))
    yield Step(answers.conclusion(steps, conclusion_text(measurements, strength)))


HEALING = Lesson(
    "heal",
    "What heals and what does not",
    "Three lesions were painted into the film of a healthy phantom: a **cloud** (left in the picture), a **nodule** "
    "(right, above) and **fluid** (right, below). The model draws what would be normal. Which lesion does it remove "
    "most of?",
    ("The cloud", "The nodule", "The fluid", "All alike", "None of them"),
    "Set the strength so that the class just sees all three. After the answer press *Swipe*, then move the slider down "
    "until nobody sees them: the answer follows. Ask where the class stops seeing them, and where the score does. "
    "The normal film is made from the film itself, so part of a lesion comes back.",
    show_painted,
    answer_painted,
    SETTING,
)
