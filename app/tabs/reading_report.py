"""The report of a reading: sensitivity, false marks, time, free-response curve and the table of all marks."""

from __future__ import annotations

import csv
import html
import io
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from matplotlib.figure import Figure

from diff3m.evaluation.free_response import (
    Box,
    Mark,
    Reading,
    compute_free_response_curve,
    compute_overall_point,
    is_hit,
)

from ..render import figures, panels, wording
from .reading_session import FilmReading

COLUMNS = ("set", "film", "counted", "truths", "seconds", "mark", "box", "confidence", "hit")
MAX_CSV = 2**20  # bytes
NOT_OURS = "Drop the CSV files that this page wrote."


def report_html(readers: Mapping[str, Sequence[FilmReading]], title: str = "Your reading") -> str:
    """Return sensitivity, false marks a film, time and the free-response curves as HTML.

    readers: the films of each reader or group, by its name. The model's curve stands beside them where its marks are
    known. Films whose truth is not known are left out.
    """
    counted_films = {name: [film for film in films if film.is_counted] for name, films in readers.items()}
    counted_films = {name: films for name, films in counted_films.items() if films}
    if not counted_films:
        return panels.status_line("No film with a known truth was read, so there is nothing to count.")
    curves = {name: [film.reading for film in films] for name, films in counted_films.items()}
    note = "A mark counts as a hit if its middle lies in the true box or close to it. "
    by_model = [film for films in counted_films.values() for film in films if film.model is not None]
    if by_model:
        curves["the model"] = [Reading(film.reading.truths, film.model or ()) for film in by_model]
        note += "The model's places are ordered by their mean on its map. "
    lines = [_curve_sentence(name, readings) for name, readings in curves.items()]
    lines += [_time_sentence(name, films) for name, films in counted_films.items()]
    items = "".join(f"<li>{html.escape(line)}</li>" for line in lines)
    has_places = any(reading.truths for readings in curves.values() for reading in readings)
    chart = figures.inline_svg(plot_free_response(curves), " ".join(lines)) if has_places else ""
    note += "A few films say little of a reader."
    return f'<div class="card"><h3>{html.escape(title)}</h3><ul>{items}</ul>{chart}{panels.small_text(note)}</div>'


def _time_sentence(name: str, films: Sequence[FilmReading]) -> str:
    seconds = statistics.median(film.seconds for film in films)
    return f"{name.capitalize()}: {seconds:.0f} s for a film (median), {wording.count_words(len(films), 'film')} read."


def _curve_sentence(name: str, readings: Sequence[Reading]) -> str:
    point = compute_overall_point(readings)
    places = sum(len(reading.truths) for reading in readings)
    share = "no place to find" if point.sensitivity is None else f"sensitivity {point.sensitivity:.0%} of {places}"
    return f"{name.capitalize()}: {share}, {point.false_marks:.1f} false marks a film."


def plot_free_response(curves: dict[str, Sequence[Reading]]) -> Figure:
    """Draw sensitivity over false marks a film, a line for each reader."""
    figure = Figure(figsize=(4.6, 3.0), layout="constrained")
    axes = figure.add_subplot()
    colors = (figures.CASE, figures.NORMAL, figures.KNOWN)
    for (name, readings), color in zip(curves.items(), colors, strict=False):
        points = [point for point in compute_free_response_curve(readings) if point.sensitivity is not None]
        false = [0.0, *(point.false_marks for point in points)]
        shares = [0.0, *(point.sensitivity for point in points)]
        axes.plot(false, shares, marker="o", markersize=4, color=color, linewidth=2, label=name)
    axes.set_ylim(-0.03, 1.03)
    axes.set_xlim(left=-0.03)
    axes.set_xlabel("false marks a film")
    axes.set_ylabel("share of places found")
    axes.legend(frameon=False, fontsize=9)
    return figure


def format_csv(set_name: str, films: Sequence[FilmReading]) -> str:
    """Write one row a mark, and one for each film without a mark. Boxes: top left bottom right, shares of the sides."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(COLUMNS)
    for film in films:
        truths = "; ".join(_box_text(box) for box in film.reading.truths)
        start = (set_name, film.film, int(film.is_counted), truths, f"{film.seconds:.1f}")
        for number, mark in enumerate(film.reading.marks, start=1):
            hit = any(is_hit(mark.box, truth) for truth in film.reading.truths)
            writer.writerow([*start, number, _box_text(mark.box), f"{mark.confidence:g}", int(hit)])
        if not film.reading.marks:
            writer.writerow([*start, "", "", "", ""])
    return text.getvalue()


def read_csv(data: bytes) -> list[FilmReading]:
    """Read what `format_csv` wrote. Raises ValueError with a sentence for anything else."""
    try:
        if len(data) > MAX_CSV:
            raise ValueError("the table is too large")
        films: dict[tuple[str, str], FilmReading] = {}
        for row in csv.DictReader(io.StringIO(data.decode("utf-8-sig"))):
            key = row["set"], row["film"]
            truths = tuple(_read_box(part) for part in filter(None, row["truths"].split("; ")))
            is_counted = row["counted"] == "1"
            film = films.get(key) or FilmReading(row["film"], Reading(truths, ()), float(row["seconds"]), is_counted)
            if row["mark"]:
                mark = Mark(_read_box(row["box"]), float(row["confidence"]))
                film = replace(film, reading=replace(film.reading, marks=(*film.reading.marks, mark)))
            films[key] = film
    except (ValueError, KeyError, TypeError, AttributeError):
        raise ValueError(f"This is no table of a reading. {NOT_OURS}") from None
    if not films:
        raise ValueError(f"This table holds no film. {NOT_OURS}")
    return list(films.values())


def _box_text(box: Box) -> str:
    return " ".join(f"{share:.4f}" for share in box)


def _read_box(text: str) -> Box:
    top, left, bottom, right = (float(part) for part in text.split())
    if not np.isfinite([top, left, bottom, right]).all():
        raise ValueError("not a finite number")
    return top, left, bottom, right
