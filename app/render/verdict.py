"""The right rail: score and map in one sentence, the score among normal films, findings, and the numbers."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from typing import Protocol

import numpy as np

from diff3m.analysis import Analysis
from diff3m.detector import Detector
from diff3m.scoring import Component

from . import panels, wording

UNUSUAL = 95.0  # percentile from which a film is called unusual
VERY_UNUSUAL = 99.0
UPPER = 80.0
BINS = 22
KINDS = {
    "absolute": "mean size of the difference",
    "brighter": "where it is brighter",
    "darker": "where it is darker",
    "largest": "where it differs most",
    "ssim": "loss of structure",
    "mse": "mean squared difference",
    "max": "largest difference",
    "contradiction": "contradicts",
}


class Place(Protocol):
    """A finding: what it is, and its number as text."""

    @property
    def label(self) -> str: ...

    @property
    def value(self) -> str: ...


def percentile_text(percentile: float) -> str:
    """A percentile with one decimal, rounded down: a limit that it names is a limit that it reached."""
    return f"{math.floor(10 * percentile) / 10:.1f}"


def verdict_sentence(analysis: Analysis, places: Sequence[Place]) -> str:
    """Score and map in one sentence. places: those that stand out, strongest first."""
    where = f"{places[0].label}, {places[0].value}" if places else ""
    if analysis.percentile is None:
        start = "There is no score: this model has not been calibrated on normal films"
        return f"{start}. The strongest place: {where}." if where else f"{start}. No place stands out."
    if analysis.percentile >= UNUSUAL:
        level = "Very unusual as a whole" if analysis.percentile >= VERY_UNUSUAL else "Unusual as a whole"
        return f"{level}. The strongest place: {where}." if where else f"{level}, but no single place stands out."
    level = "In the upper range of normal films" if analysis.percentile >= UPPER else "Ordinary as a whole"
    if not where:
        return f"{level}, and no place stands out."
    if len(places) == 1:
        return f"{level}, but one place stands out: {where}."
    return f"{level}, but {len(places)} places stand out. The strongest: {where}."


def verdict_card(analysis: Analysis, sentence: str, detector: Detector) -> str:
    """The verdict with percentile and histogram, as HTML."""
    text = f'<p class="verdict">{html.escape(sentence)}</p>'
    if analysis.score is None or analysis.percentile is None:
        return text
    normals = detector.scoring.for_view(analysis.record.get("view"))[1].scores
    percentile = percentile_text(analysis.percentile)
    among = html.escape(wording.compared_with(analysis))
    return (
        f'{text}<p class="percentile"><b>percentile {percentile}</b> among {among}</p>'
        f"{histogram(normals, analysis.score, f'Scores of {among}; this film is at percentile {percentile}.')}"
    )


def histogram(scores: Sequence[float], score: float, alternative: str) -> str:
    """Scores of normal films as bars, with this film's as a line: an SVG 60 pixels high. Beyond the bars, at their end."""
    counts, edges = np.histogram(scores, BINS)
    low, high = float(edges[0]), float(edges[-1])
    span = high - low or 1.0
    width, height, base = 268, 60, 46
    bars = "".join(
        f'<rect x="{2 + index * 12}" y="{base - 42 * count / counts.max():.1f}" width="11" '
        f'height="{42 * count / counts.max():.1f}"/>'
        for index, count in enumerate(counts)
    )
    place = 2 + 12 * BINS * min(max((score - low) / span, 0.0), 1.0)
    anchor = "start" if place < 60 else "end" if place > width - 60 else "middle"
    return (
        f'<svg class="histogram" role="img" aria-label="{html.escape(alternative, quote=True)}" '
        f'viewBox="0 0 {width} {height}"><g class="bars">{bars}</g>'
        f'<line x1="{place:.1f}" x2="{place:.1f}" y1="0" y2="{base}"/>'
        f'<text x="{place:.1f}" y="{height - 2}" text-anchor="{anchor}">score {score:+.2f}</text></svg>'
    )


def chips(films: Sequence[tuple[str, Sequence[Place]]], analyzed: bool) -> str:
    """Findings as buttons that center the viewer. films: (name, findings) of the first and the second film."""
    if not analyzed:
        return panels.quiet("After the analysis, places that differ are listed here.")
    lists = []
    for film, (name, findings) in enumerate(films):
        title = f"<h4>{html.escape(name)}</h4>" if len(films) > 1 else ""
        buttons = "".join(
            f'<button type="button" class="chip" data-film="{film}" data-finding="{index}"><span>{index + 1} '
            f"{html.escape(finding.label)}</span><b>{html.escape(finding.value)}</b></button>"
            for index, finding in enumerate(findings)
        )
        lists.append(title + (buttons or panels.quiet("No place differs more than places of normal films do.")))
    return f'<div class="chips">{"".join(lists)}</div>'


def findings_meaning(analysis: Analysis) -> str:
    """What the numbers beside the findings are, and what they are not."""
    numbers = "The number is the largest difference there, in percent of the grey range; + is brighter than expected."
    return f"{numbers} It shows where to look, not what is there. Sides are the patient's, if the film is not mirrored."


def comparison(first: Analysis, second: Analysis) -> str:
    """How the second film's result differs from the first one's, named as what it is."""
    if first.percentile is None or second.percentile is None:
        return ""
    change = first.score - second.score
    return (
        f"The second film: percentile {percentile_text(second.percentile)}, score {second.score:+.2f}; the first one's "
        f"score is {abs(change):.2f} {'higher' if change >= 0 else 'lower'}. The films are not aligned: position and "
        "breath differ too."
    )


def numbers_table(analysis: Analysis, detector: Detector) -> str:
    """Score, its measurements and the seconds, as a table."""
    rows = [("score", "" if analysis.score is None else f"{analysis.score:+.2f}", "")]
    if analysis.percentile is not None:
        rows.append(("percentile", percentile_text(analysis.percentile), ""))
    rows += [
        (component_name(component, detector), f"{value:.4g}", _z(z)) for component, value, z in analysis.components
    ]
    rows.append(("seconds", f"{sum(analysis.seconds.values()):.1f}", ""))
    cells = "".join(
        f'<tr><th scope="row">{html.escape(name)}</th><td>{value}</td><td>{z}</td></tr>' for name, value, z in rows
    )
    head = '<tr><th scope="col">measurement</th><th scope="col">value</th><th scope="col">z</th></tr>'
    return f'<table class="numbers">{head}{cells}</table>{panels.quiet(wording.score_meaning(detector.scoring))}'


def component_name(component: Component, detector: Detector) -> str:
    """A part of the score in words, e.g. "where it is brighter, noise level 60"."""
    feature = f" {detector.schema[component.feature].label}" if component.feature else ""
    return f"{KINDS.get(component.kind, component.kind)}{feature}, noise level {component.level}"


def _z(value: float | None) -> str:
    return "" if value is None or not math.isfinite(value) else f"{value:+.1f}"
