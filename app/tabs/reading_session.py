"""Marks, confidences and times of a reader in "Read first, then look". `reading_report` summarizes them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from diff3m.analysis import Analysis
from diff3m.detector import Detector
from diff3m.evaluation.free_response import Box, Mark, Reading, count_marks
from diff3m.findings import mask_box
from diff3m.scoring.regions import find_regions

from ..render import wording
from .case_set import ReadingCase
from .truth import describe_truth

MAX_MARKS = 5  # on one film
CONFIDENCES = {"a guess": 1, "possible": 2, "probable": 3, "certain": 4}
DEFAULT_CONFIDENCE = 3
MAX_MODEL_MARKS = 6


@dataclass(frozen=True)
class FilmReading:
    """One film as it was read.

    film: its name. seconds: from the film to *Done*. is_counted: see `ReadingCase`. model: the model's marks on it;
    None in a reading from a table.
    """

    film: str
    reading: Reading
    seconds: float
    is_counted: bool = True
    model: tuple[Mark, ...] | None = None


@dataclass(frozen=True)
class ReadingSession:
    """A reader's way through a set.

    index: of the film on the page. marks: on it so far. start: when it came, in seconds of a monotonic clock.
    is_revealed: whether its truth is on the page. films: those that were read.
    """

    set_name: str
    index: int = 0
    marks: tuple[Mark, ...] = ()
    start: float = 0.0
    is_revealed: bool = False
    films: tuple[FilmReading, ...] = field(default=())

    def next_film(self, now: float) -> ReadingSession:
        """Go on to the next film."""
        return replace(self, index=self.index + 1, marks=(), start=now, is_revealed=False)

    def reveal(self, case: ReadingCase, model: tuple[Mark, ...], now: float) -> ReadingSession:
        """End the reading of a film."""
        reading = Reading(tuple(truth.box for truth in case.truths), self.marks)
        film = FilmReading(case.name, reading, now - self.start, case.is_counted, model)
        return replace(self, films=(*self.films, film), is_revealed=True)


def carry_confidences(before: Sequence[Mark], boxes: Sequence[Box]) -> tuple[Mark, ...]:
    """Give the boxes that the viewer reports the confidences that the reader gave them.

    A box that did not move keeps its own; one that was moved, its place's; a new one gets `DEFAULT_CONFIDENCE`.
    """
    by_box = {mark.box: mark.confidence for mark in before}
    same_count = len(before) == len(boxes)
    marks = []
    for index, box in enumerate(boxes[:MAX_MARKS]):
        default = before[index].confidence if same_count else DEFAULT_CONFIDENCE
        marks.append(Mark(box, by_box.get(box, default)))
    return tuple(marks)


def list_model_marks(analysis: Analysis, detector: Detector) -> tuple[Mark, ...]:
    """Return the places that the model would mark: regions of its difference, by their mean."""
    scoring = detector.scoring
    regions = find_regions(analysis.heat_map, scoring.heat_normal, scoring.margin)[:MAX_MODEL_MARKS]
    return tuple(Mark(mask_box(region.mask), abs(region.mean)) for region in regions)


def describe_film(film: FilmReading, case: ReadingCase) -> list[str]:
    """Say what is on one film, and what the reader and the model found of it."""
    sentences, marks = describe_truth(case), len(film.reading.marks)
    if not film.is_counted:
        return [*sentences, f"You made {wording.count_words(marks, 'mark')}."]
    hit_count, false = count_marks(film.reading)
    count = len(film.reading.truths)
    if count:
        sentences.append(f"You found {hit_count} of {count}.")
    elif not marks:
        sentences.append("You left it alone, which is right.")
    if false:
        sentences.append(f"False marks: {false}.")
    model_hits, model_false = count_marks(Reading(film.reading.truths, film.model or ()))
    start = f"The model found {model_hits} of {count}, and" if count else "The model"
    sentences.append(f"{start} made {wording.count_words(model_false, 'false mark')}.")
    return sentences
