"""What a reader does in "Read first, then look": marks, confidences, times, and the table and the report of them."""

from __future__ import annotations

import csv
import html
import io
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from matplotlib.figure import Figure

from diff3m.analysis import Analysis
from diff3m.detector import Detector
from diff3m.evaluation.free_response import (
    Box,
    Mark,
    Reading,
    count_marks,
    free_response_curve,
    hits,
    overall_point,
)
from diff3m.scoring.regions import find_regions

from ..render import figures, panels
from .case_set import ReadingCase
from .teach_films import mask_box

MAX_MARKS = 5  # on one film
CONFIDENCES = {"a guess": 1, "possible": 2, "probable": 3, "certain": 4}
DEFAULT_CONFIDENCE = 3
COLUMNS = ("set", "film", "labelled", "truths", "seconds", "mark", "box", "confidence", "hit")
MAX_CSV = 2**20  # bytes


@dataclass(frozen=True)
class FilmReading:
    """One film as it was read. model: the model's marks on it, none where it was not asked."""

    film: str
    reading: Reading
    seconds: float
    labelled: bool = True
    model: tuple[Mark, ...] = ()


@dataclass(frozen=True)
class Session:
    """A reader's way through a set.

    index: of the film that is shown. marks: on it so far. started: when it was shown, in seconds of a monotonic clock.
    revealed: whether its truth is shown.
    """

    set_name: str
    index: int = 0
    marks: tuple[Mark, ...] = ()
    started: float = 0.0
    revealed: bool = False
    films: tuple[FilmReading, ...] = field(default=())

    def next_film(self, now: float) -> Session:
        """Go on to the next film."""
        return replace(self, index=self.index + 1, marks=(), started=now, revealed=False)

    def reveal(self, case: ReadingCase, model: tuple[Mark, ...], now: float) -> Session:
        """End the reading of a film."""
        reading = Reading(tuple(truth.box for truth in case.truths), self.marks)
        film = FilmReading(case.name, reading, now - self.started, case.labelled, model)
        return replace(self, films=(*self.films, film), revealed=True)


def carry_confidences(before: Sequence[Mark], boxes: Sequence[Box]) -> tuple[Mark, ...]:
    """Give the boxes that the viewer reports the confidences that the reader gave them.

    A box that did not move keeps its own; one that was moved, its place's; a new one gets `DEFAULT_CONFIDENCE`.
    """
    by_box = {mark.box: mark.confidence for mark in before}
    same_count = len(before) == len(boxes)
    marks = []
    for index, box in enumerate(boxes[:MAX_MARKS]):
        moved = before[index].confidence if same_count else DEFAULT_CONFIDENCE
        marks.append(Mark(box, by_box.get(box, moved)))
    return tuple(marks)


def model_marks(analysis: Analysis, detector: Detector) -> tuple[Mark, ...]:
    """The places that the model would mark: regions of its difference, by their mean."""
    scoring = detector.scoring
    regions = find_regions(analysis.heat_map, scoring.heat_normal, scoring.margin)[:6]
    return tuple(Mark(mask_box(region.mask), abs(region.mean)) for region in regions)


def film_sentences(film: FilmReading, case: ReadingCase) -> list[str]:
    """What came of one film, in words."""
    if not film.labelled:
        return ["What is on this film is not known: the table gives no box and no label."]
    found, false = count_marks(film.reading)
    names = ", ".join(truth.label for truth in case.truths)
    truth = f"The truth: {names}, outlined." if names else "The truth: a normal film."
    count = len(film.reading.truths)
    verdict = f"You found {found} of {count}." if count else ("You left it alone." if not film.reading.marks else "")
    wrong = f"False marks: {false}." if false else ""
    model_found, model_false = count_marks(Reading(film.reading.truths, film.model))
    model = f"The model's outlined places: {model_found} of {count} found, {model_false} false."
    return [text for text in (truth, verdict, wrong, model) if text]


def report(films: Sequence[FilmReading], title: str = "Your reading", reader: str = "you") -> str:
    """Sensitivity, false marks a film, time and the free-response curve as HTML.

    The model's curve stands beside it where the model was asked.
    """
    known = [film for film in films if film.labelled]
    if not known:
        return panels.status("No film with a known truth was read, so there is nothing to count.")
    readings = [film.reading for film in known]
    curves = {reader: readings}
    note = "A mark counts as a hit if its middle lies in the true box or close to it. "
    if any(film.model for film in known):
        curves["the model"] = [Reading(film.reading.truths, film.model) for film in known]
        note += "The model's places are ordered by their mean on its map. "
    lines = [_curve_sentence(name, part) for name, part in curves.items()]
    seconds = statistics.median(film.seconds for film in known)
    lines.append(f"Median time for a film: {seconds:.0f} s. Films read: {len(known)}.")
    items = "".join(f"<li>{html.escape(line)}</li>" for line in lines)
    chart = figures.inline_svg(free_response_figure(curves), " ".join(lines))
    note += "A few films say little of a reader."
    return f'<div class="card"><h3>{html.escape(title)}</h3><ul>{items}</ul>{chart}{panels.quiet(note)}</div>'


def _curve_sentence(name: str, readings: Sequence[Reading]) -> str:
    point = overall_point(readings)
    places = sum(len(reading.truths) for reading in readings)
    share = "no place to find" if point.sensitivity is None else f"sensitivity {point.sensitivity:.0%} of {places}"
    return f"{name.capitalize()}: {share}, {point.false_marks:.1f} false marks a film."


def free_response_figure(curves: dict[str, Sequence[Reading]]) -> Figure:
    """Draw sensitivity over false marks a film, a line for each reader."""
    figure = Figure(figsize=(5.4, 3.2), layout="constrained")
    axes = figure.add_subplot()
    colors = (figures.CASE, figures.NORMAL, figures.KNOWN)
    for (name, readings), color in zip(curves.items(), colors, strict=False):
        points = [point for point in free_response_curve(readings) if point.sensitivity is not None]
        false = [0.0, *(point.false_marks for point in points)]
        shares = [0.0, *(point.sensitivity for point in points)]
        axes.plot(false, shares, marker="o", markersize=4, color=color, linewidth=2, label=name)
    axes.set_ylim(-0.03, 1.03)
    axes.set_xlim(left=-0.03)
    axes.set_xlabel("false marks a film")
    axes.set_ylabel("share of places found")
    axes.legend(frameon=False, fontsize=9)
    return figure


def table_csv(set_name: str, films: Sequence[FilmReading]) -> str:
    """Write one row a mark, and one for each film without a mark. Boxes: top left bottom right, shares of the sides."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(COLUMNS)
    for film in films:
        truths = "; ".join(_box_text(box) for box in film.reading.truths)
        start = (set_name, film.film, int(film.labelled), truths, f"{film.seconds:.1f}")
        for number, mark in enumerate(film.reading.marks, start=1):
            hit = any(hits(mark.box, truth) for truth in film.reading.truths)
            writer.writerow([*start, number, _box_text(mark.box), f"{mark.confidence:g}", int(hit)])
        if not film.reading.marks:
            writer.writerow([*start, "", "", "", ""])
    return text.getvalue()


def read_csv(data: bytes) -> list[FilmReading]:
    """Read what `table_csv` wrote. Raises ValueError with a sentence for anything else."""
    try:
        if len(data) > MAX_CSV:
            raise ValueError("too large")
        films: dict[tuple[str, str], FilmReading] = {}
        for row in csv.DictReader(io.StringIO(data.decode("utf-8-sig"))):
            key = row["set"], row["film"]
            truths = tuple(_read_box(part) for part in filter(None, row["truths"].split("; ")))
            labelled = row["labelled"] == "1"
            film = films.get(key) or FilmReading(row["film"], Reading(truths, ()), float(row["seconds"]), labelled)
            if row["mark"]:
                mark = Mark(_read_box(row["box"]), float(row["confidence"]))
                film = replace(film, reading=replace(film.reading, marks=(*film.reading.marks, mark)))
            films[key] = film
    except (ValueError, KeyError, TypeError, AttributeError):
        raise ValueError("This is no table of a reading. Drop the CSV files that this page wrote.") from None
    if not films:
        raise ValueError("This table holds no film. Drop the CSV files that this page wrote.")
    return list(films.values())


def _box_text(box: Box) -> str:
    return " ".join(f"{share:.4f}" for share in box)


def _read_box(text: str) -> Box:
    top, left, bottom, right = (float(part) for part in text.split())
    if not np.isfinite([top, left, bottom, right]).all():
        raise ValueError("not a finite number")
    return top, left, bottom, right
