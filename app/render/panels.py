"""Pieces of the page as HTML: status and progress, the film that is open, what the gate says, the record."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import Protocol
from urllib.parse import urlencode

from diff3m.analysis import Analysis, Settings
from diff3m.detector import Detector
from diff3m.imaging import Quality

from . import figures, wording


class NamedFilm(Protocol):
    """A film that is open: its name, its kind and size, its notes, and a small picture as HTML."""

    @property
    def name(self) -> str:
        """Its name for the reader."""

    @property
    def facts(self) -> str:
        """Its kind and size."""

    @property
    def notes(self) -> tuple[str, ...]:
        """What was guessed or ignored."""

    @property
    def thumbnail(self) -> str:
        """A small picture as HTML."""


def status_line(text: str, alert: bool = False) -> str:
    """Return the line that says what is going on; **bold** as in Markdown."""
    safe = html.escape(text)
    while safe.count("**") >= 2:
        safe = safe.replace("**", "<b>", 1).replace("**", "</b>", 1)
    return f'<div class="status{" alert" if alert else ""}" role="{"alert" if alert else "status"}">{safe}</div>'


def progress_line(text: str, share: float | None) -> str:
    """Return the same line with how far something has come, 0 to 1; None where that is not known."""
    value = "" if share is None else f' value="{share:.3f}"'
    safe = html.escape(text)
    return f'<div class="status" role="status">{safe}<progress{value} max="1" aria-label="{safe}"></progress></div>'


def example_link(example: str, settings: Settings) -> str:
    """Return a link that opens the page with an example and its settings."""
    query = urlencode(
        {"example": example, "level": settings.noise_level, "steps": settings.steps, "seed": settings.seed}
    )
    return f'<p class="quiet"><a href="?{query}">Link to this example with these settings</a></p>'


def film_cards(films: Sequence[NamedFilm]) -> str:
    """Return the films that are open: thumbnail, name, size and notes."""
    return "".join(
        f'<div class="film">{film.thumbnail}<div><p class="name" title="{html.escape(film.name, quote=True)}">'
        f'{html.escape(film.name)}</p><p class="facts">{html.escape(film.facts)}</p></div></div>{note_list(film.notes)}'
        for film in films
    )


def rail_title(title: str, text: str) -> str:
    """Return a heading of a rail, with what a reader may want to know under it."""
    return f'<h2>{html.escape(title)}</h2><p class="quiet">{html.escape(text)}</p>'


def summary_with_link(sentence: str) -> str:
    """Return what the record changed, with the way to the details."""
    link = '<p class="quiet"><a href="#explanation">All explanations, below</a></p>'
    return (f'<p class="verdict">{html.escape(sentence)}</p>' if sentence else "") + link


def record_summary(analysis: Analysis, detector: Detector) -> str:
    """Return whether the film fits its record, before anything is explained."""
    known = {name: value for name, value in analysis.record.items() if detector.schema[name].trained}
    sentences = wording.contradiction_sentences(analysis, detector.schema)
    values = ", ".join(
        f"{detector.schema[name].label} {detector.schema[name].describe(value)}"
        for name, value in known.items()
        if value is not None
    )
    return small_text(f"Analyzed with {values or 'an unknown record'}.") + "".join(
        f"<p>{html.escape(text)}</p>" for text in sentences
    )


def small_text(text: str) -> str:
    """Return a paragraph in small type."""
    return f'<p class="quiet">{html.escape(text)}</p>'


def note_list(items: Sequence[str]) -> str:
    """Return sentences that the reader must not miss."""
    return f'<ul class="notes">{"".join(f"<li>{html.escape(item)}</li>" for item in items)}</ul>' if items else ""


def gate_alert(quality: Quality, accepted: bool) -> str:
    """Return why the gate stops a film; empty where nothing speaks against it."""
    if not quality.reasons:
        return ""
    how = "<p><b>You go on with the film as it is.</b></p>" if accepted else ""
    paragraphs = "".join(f"<p>{html.escape(reason)}</p>" for reason in quality.reasons)
    return f'<div class="status alert" role="alert">{paragraphs}{how}</div>'


def attention_card(analysis: Analysis, detector: Detector) -> str:
    """Return bars of attention by group; values that the model does not know are pale."""
    schema, groups = detector.schema, {}
    for group, weights in analysis.attention.items():
        rows = []
        for name, weight in weights.items():
            value = analysis.record.get(name) if schema[name].trained else None
            rows.append((f"{schema[name].label}: {schema[name].describe(value)}", weight, value is not None))
        groups[wording.group_title(group)] = rows
    caption = wording.attention_caption(analysis, schema)
    chart = figures.inline_svg(figures.attention_bars(groups), caption)
    text = f"<h3>Attention over the record</h3><p>{html.escape(caption)}</p>"
    return f'<div class="card columns"><div>{text}</div><div>{chart}</div></div>'
