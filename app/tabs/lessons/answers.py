"""Parts of answers: analyses of phantoms, viewer states, and pieces of HTML and text."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence

from diff3m.analysis import Analysis, format_percentile
from diff3m.detector import Detector
from diff3m.export.files import draw_heat_over_film
from diff3m.findings import Finding as Place
from diff3m.findings import find_findings

from ...components.viewer import ViewerFilm, ViewerFinding, ViewerState
from ...render import wording
from ...render.images import Frame, picture_strip
from ...runtime.model_thread import analyze_in_turn
from ..teach_films import PHANTOM_TAG, PhantomFilm, make_analyzed_film, make_plain_film

PICTURE = 104  # pixels: height of the small pictures, so that an answer fits beside its film


def analyze(detector: Detector, phantom: PhantomFilm, changes: Mapping[str, object] | None = None) -> Analysis:
    """Analyze a phantom when the model is free. changes: of its record, by feature name."""
    return analyze_in_turn(detector, phantom.film, {**phantom.patient.to_record(), **(changes or {})})


def make_phantom_view(phantom: PhantomFilm, name: str) -> ViewerFilm:
    """Return a phantom for the viewer before it is analyzed."""
    return make_plain_film(phantom.pixels, name, tags=(PHANTOM_TAG,))


def make_analyzed_view(
    phantom: PhantomFilm,
    analysis: Analysis,
    detector: Detector,
    name: str,
    findings: tuple[ViewerFinding, ...] = (),
) -> ViewerFilm:
    """Return a phantom with its analysis for the viewer. findings: outlined places."""
    return make_analyzed_film(phantom.pixels, analysis, detector, findings, name=name, tags=(PHANTOM_TAG,))


def card(title: str, text: str | Sequence[str], content: str = "") -> str:
    """Return a card with a title, a paragraph or several, and further HTML."""
    paragraphs = "".join(f"<p>{html.escape(part)}</p>" for part in ([text] if isinstance(text, str) else text))
    return f'<div class="card"><h3>{html.escape(title)}</h3>{paragraphs}{content}</div>'


def conclusion(steps: str, answer: str | Sequence[str], content: str = "") -> str:
    """Return the answer, with further HTML, above the steps that led to it, so that it is seen without scrolling."""
    return card("The answer", answer, content) + steps


def small_pictures(*frames: Frame) -> str:
    """Return small pictures side by side."""
    return picture_strip(frames, PICTURE, tall=False)


def table(head: Sequence[str], rows: Sequence[Sequence[str]], emphasis: int | None = None) -> str:
    """Return a table whose first column names its rows. emphasis: index of the row that is set in bold."""
    cells = "".join(f'<th scope="col">{html.escape(text)}</th>' for text in head)
    lines = [f"<tr>{cells}</tr>"]
    for index, (name, *values) in enumerate(rows):
        row_class = ' class="emphasis"' if index == emphasis else ""
        columns = "".join(f"<td>{html.escape(value)}</td>" for value in values)
        lines.append(f'<tr{row_class}><th scope="row">{html.escape(name)}</th>{columns}</tr>')
    return f'<div class="table"><table class="measured">{"".join(lines)}</table></div>'


def percentile_text(percentile: float | None, normals: int) -> str:
    """Return a percentile among so many normal films, or a dash for a model without a score."""
    return "–" if percentile is None else format_percentile(percentile, normals)


def find_outstanding_places(analysis: Analysis, detector: Detector) -> list[Place]:
    """Return the places that stand out from those of nearly all normal films, the largest difference first."""
    places = find_findings(analysis, analysis.case, detector.scoring)
    return sorted((place for place in places if place.stands_out), key=lambda place: -abs(place.largest))


def places_text(places: Sequence[Place]) -> str:
    """Return the first place that stands out and how many more do; "none" where there is none."""
    if not places:
        return "none"
    more = f" and {wording.count_words(len(places) - 1, 'other')}" if len(places) > 1 else ""
    return f"{places[0].zone}, {wording.signed_percent(places[0].largest)}{more}"


def make_question_state(phantom: PhantomFilm, name: str) -> ViewerState:
    """Return a phantom before it is analyzed."""
    return ViewerState(make_phantom_view(phantom, name), description=name)


def make_answer_state(
    phantom: PhantomFilm,
    analysis: Analysis,
    detector: Detector,
    name: str,
    findings: tuple[ViewerFinding, ...] = (),
) -> ViewerState:
    """Return a phantom with its analysis. findings: outlined places."""
    return ViewerState(make_analyzed_view(phantom, analysis, detector, name, findings), description=name)


def result_pictures(analysis: Analysis, detector: Detector) -> str:
    """Return film, normal film and difference as small pictures."""
    limit = detector.scoring.heat_normal
    findings = find_findings(analysis, analysis.case, detector.scoring)
    return small_pictures(
        Frame(analysis.film, "the film"),
        Frame(analysis.reconstruction, "normal"),
        Frame(
            draw_heat_over_film(analysis.film, analysis.heat_map, limit),
            "difference",
            wording.findings_summary(findings, limit),
        ),
    )


def describe_record_fit(analysis: Analysis, detector: Detector) -> str:
    """Return how the film fits its record, in words."""
    return " ".join(wording.contradiction_sentences(analysis, detector.schema))
