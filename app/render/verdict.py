"""The right rail as HTML: the verdict with its histogram, the findings as buttons, and the numbers."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import Protocol

from diff3m.analysis import Analysis, format_percentile
from diff3m.detector import Detector
from diff3m.findings import Finding
from diff3m.imaging.zones import OUTSIDE
from diff3m.scoring import Scoring

from . import figures, panels, wording


class Place(Protocol):
    """A place that the viewer outlines: what it is, and its number as text, "" where it has none."""

    @property
    def label(self) -> str:
        """What it is, such as "right lower zone"."""

    @property
    def value(self) -> str:
        """Its number with its unit."""

    @property
    def stands_out(self) -> bool:
        """Whether it is larger than nearly all places of normal films."""


def verdict_card(analysis: Analysis, sentence: str, detector: Detector, effect: str = "") -> str:
    """Return the verdict with percentile, histogram and what the record changed.

    sentence: of `wording.verdict_sentence`. effect: of `wording.without_record_sentence`, "" for none.
    """
    text = f'<p class="verdict">{html.escape(sentence)}</p>'
    end = f'<p class="quiet record-effect">{html.escape(effect)}</p>'
    if analysis.score is None or analysis.percentile is None:
        return text + end
    normals = detector.scoring.select_calibration(analysis.record.get("view"))[1].scores
    percentile = format_percentile(analysis.percentile, analysis.normals)
    chart = figures.inline_svg(
        figures.small_histogram(normals, analysis.score),
        f"Scores of {wording.compared_with(analysis)}; this film is at percentile {percentile}.",
        max_width=figures.SMALL_WIDTH,
    )
    return (
        f'{text}<p class="percentile"><b>percentile {html.escape(percentile)}</b>'
        f"{html.escape(wording.comparison_phrase(analysis))}</p>"
        f'<div class="histogram">{chart}</div>{end}'
    )


def finding_chips(films: Sequence[tuple[str, Sequence[Place] | None, int]]) -> str:
    """Return places as buttons that center the viewer, and, beside each finding, one that explains it.

    films: (name, places, number of them that are findings) of the first and of the second film; places are None for a
    film that is not analyzed. Places after the findings, such as the truth of an example, cannot be explained. Those
    outside the lungs are folded.
    """
    if not films:
        return panels.small_text("After the analysis, places that differ are listed here.")
    lists = [
        (f"<h4>{html.escape(name)}</h4>" if len(films) > 1 else "") + _chip_list(film, places, findings)
        for film, (name, places, findings) in enumerate(films)
    ]
    return f'<div class="chips">{"".join(lists)}</div>'


def _chip_list(film: int, places: Sequence[Place] | None, findings: int) -> str:
    if places is None:
        return panels.small_text("This film is not analyzed yet.")
    if not places:
        return panels.small_text("No place differs more than places of normal films do.")
    rows, outside = "", ""
    for index, place in enumerate(places):
        row = _chip(film, index, place, index < findings)
        if place.label == OUTSIDE:
            outside += row
        else:
            rows += row
    fold = f"<details><summary>{OUTSIDE.capitalize()}</summary>{outside}</details>" if outside else ""
    return rows + fold


def _chip(film: int, index: int, place: Place, can_explain: bool) -> str:
    label, where = html.escape(place.label), f'data-film="{film}" data-finding="{index}"'
    explain = (
        f'<button type="button" class="chip-explain" {where} title="What did the record change here?" '
        f'aria-label="Explain finding {index + 1}, {label}">Explain</button>'
    )
    kind = "chip stands-out" if place.stands_out else "chip"
    return (
        f'<div class="chip-row"><button type="button" class="{kind}" {where}><span>{index + 1} {label}</span>'
        f"<b>{html.escape(place.value)}</b></button>{explain if can_explain else ''}</div>"
    )


def findings_meaning(scoring: Scoring) -> str:
    """Say what the number beside a finding is, and what it is not."""
    return (
        f"{wording.standing_out(scoring)} The numbers are the largest difference there (+ is brighter than normal), "
        "and say where to look, not what is there; sides are the patient's unless the film is mirrored."
    )


def comparison_sentence(first: Analysis, second: Analysis) -> str:
    """Say how the second film's score differs from the first one's; "" where either has none."""
    if first.percentile is None or second.percentile is None:
        return ""
    change = second.score - first.score
    return (
        f"The second film: percentile {format_percentile(second.percentile, second.normals)}, score "
        f"{second.score:+.2f}, which is {abs(change):.2f} {'higher' if change >= 0 else 'lower'} than the first one's. "
        "The films are not aligned: position and breath differ too."
    )


def numbers_table(analysis: Analysis, findings: Sequence[Finding], detector: Detector) -> str:
    """Return the parts of the score and the findings with all of their numbers, as two tables."""
    score = "" if analysis.score is None else f"{analysis.score:+.2f}"
    rows = [("score", score)]
    if analysis.percentile is not None:
        rows.append(("percentile", format_percentile(analysis.percentile, analysis.normals)))
    rows += [(f"{name}, z", f"{z:+.1f}") for name, z in wording.score_parts(analysis, detector.schema)]
    rows.append(("seconds", f"{sum(analysis.seconds.values()):.1f}"))
    places = [
        (
            f"{number} {finding.zone}",
            wording.signed_percent(finding.mean),
            wording.signed_percent(finding.largest),
            wording.percent(finding.share),
        )
        for number, finding in enumerate(findings, start=1)
    ]
    of_findings = _table(("finding", "mean", "largest", "of film"), places) if places else ""
    meaning = panels.small_text(wording.score_meaning(detector.scoring))
    return f"{_table(('measurement', 'value'), rows)}{of_findings}{meaning}"


def _table(names: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    head = "".join(f'<th scope="col">{html.escape(name)}</th>' for name in names)
    body = ""
    for first, *cells in rows:
        values = "".join(f"<td>{html.escape(cell)}</td>" for cell in cells)
        body += f'<tr><th scope="row">{html.escape(first)}</th>{values}</tr>'
    return f'<table class="numbers"><tr>{head}</tr>{body}</table>'
