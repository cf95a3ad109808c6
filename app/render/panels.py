"""What the Explore tab shows of a film and of an analysis, as HTML and pictures: pure functions of their numbers."""

from __future__ import annotations

import html
from collections.abc import Sequence
from urllib.parse import urlencode

import numpy as np

from diff3m.analysis import Analysis, Settings
from diff3m.detector import Detector
from diff3m.diffusion import Progress
from diff3m.export.files import PICTURE_HEIGHT
from diff3m.export.overlay import enlarge, to_png, to_uint8
from diff3m.imaging import Quality, Radiograph

from ..runtime.storage import keep_picture
from . import figures, wording

PHASES = {"inversion": "Turning the film into noise", "denoising": "Drawing the normal film of this patient"}


def picture(image: np.ndarray, aspect: float) -> str:
    """A grey (S, S) image in [0, 1] as shown, 512 pixels high, in the film's own proportions: the path of a PNG for
    Gradio.

    Handed an array, Gradio writes the file anew at every update, while the page may be fetching it.
    """
    return kept_picture(enlarge(image, PICTURE_HEIGHT, aspect))


def kept_picture(image: np.ndarray) -> str:
    """A grey picture (H, W) in [0, 1] as the path of a PNG for Gradio."""
    return str(keep_picture(to_png(to_uint8(image))))


def status(text: str, alert: bool = False) -> str:
    """The line that says what is going on; **bold** as in Markdown."""
    safe = html.escape(text)
    while safe.count("**") >= 2:
        safe = safe.replace("**", "<b>", 1).replace("**", "</b>", 1)
    return f'<div class="status{" alert" if alert else ""}" role="{"alert" if alert else "status"}">{safe}</div>'


def progress(event: Progress, seconds: float) -> str:
    """The same line while an analysis runs. seconds: since it began."""
    left = seconds / max(event.done, 1) * (event.total - event.done)
    text = f"{PHASES[event.phase]}: step {event.done} of {event.total}, about {left:.0f} s left"
    return progress_bar(text, event.done, event.total)


def progress_bar(text: str, done: int, total: int) -> str:
    """The same line with how far something has come."""
    return f'<div class="status" role="status">{text}<progress value="{done}" max="{total}" aria-label="{text}"></progress></div>'


def link(example: str, settings: Settings) -> str:
    """A link that opens the page with an example and its settings."""
    query = urlencode(
        {"example": example, "level": settings.noise_level, "steps": settings.steps, "seed": settings.seed}
    )
    return f'<p class="quiet"><a href="?{query}">Link to this example with these settings</a> (copy its address to share it)</p>'


def film_facts(film: Radiograph, labels: Sequence[str]) -> str:
    """What was read: format, size, which record fields came from the header, notes."""
    height, width = film.pixels.shape
    lines = [f"{film.source}, {width}×{height} pixels"]
    if labels:
        lines.append(f"From the header: {', '.join(labels)}")
    return quiet(" · ".join(lines)) + notes(film.notes)


def quiet(text: str) -> str:
    return f'<p class="quiet">{html.escape(text)}</p>'


def notes(items: Sequence[str]) -> str:
    """Sentences that the reader must not miss."""
    return f'<ul class="notes">{"".join(f"<li>{html.escape(item)}</li>" for item in items)}</ul>' if items else ""


def score(analysis: Analysis, detector: Detector) -> str:
    """Verdict, percentile, what they mean, and the histogram of normals."""
    sentence = wording.score_sentence(analysis)
    if analysis.score is None or analysis.percentile is None:
        return f'<div class="card"><p>{html.escape(sentence)}</p></div>{notes(analysis.notes)}'
    normals = detector.scoring.for_view(analysis.record.get("view"))[1].scores
    limits = " ".join(wording.limits(analysis))
    said = wording.contradiction_sentences(analysis, detector.schema)
    fits = "".join(f"<p>{html.escape(text)}</p>" for text in said)
    chart = figures.inline_svg(
        figures.score_histogram(normals, analysis.score, analysis.percentile, analysis.compared_with), sentence
    )
    return (
        f'<div class="card columns"><div><p class="verdict">{html.escape(wording.verdict(analysis.percentile))}</p>'
        f'<p class="big">percentile {analysis.percentile:.1f}</p><p>{html.escape(sentence)}</p>{fits}</div><div>{chart}</div>'
        f'<div class="wide">{quiet(limits)}</div></div>{notes(analysis.notes)}'
    )


def heat_words(summary: str, legend: str, places: Sequence[str] = (), outline: bool = False) -> str:
    """What the heat map shows, its regions by number, and how to read it."""
    truth = "The green outline is the truth: where this synthetic film was changed. " if outline else ""
    listed = (
        f"<p>Outlined in yellow:</p><ul>{''.join(f'<li>{html.escape(place)}</li>' for place in places)}</ul>"
        if places
        else ""
    )
    return f"<p>{html.escape(summary)}</p>{listed}{quiet(f'{truth}{legend} {wording.SIDES}')}"


def gate(quality: Quality, accepted: bool) -> str:
    """What the look at the film before analysis found; empty where nothing speaks against it."""
    if not quality.reasons:
        return notes(quality.notes)
    how = "You chose to go on with the film as it is." if accepted else "Set the film right below, or go on knowingly."
    listed = "".join(f"<p>{html.escape(reason)}</p>" for reason in quality.reasons)
    return f'<div class="status alert" role="alert">{listed}<p><b>{how}</b></p></div>{notes(quality.notes)}'


def attention(analysis: Analysis, detector: Detector) -> str:
    """Bars of attention by group; values that the model does not know are pale."""
    schema, groups = detector.schema, {}
    for group, weights in analysis.attention.items():
        rows = []
        for name, weight in weights.items():
            value = analysis.record.get(name) if schema[name].trained else None
            rows.append((f"{schema[name].label}: {schema[name].describe(value)}", weight, value is not None))
        groups[wording.group_title(group)] = rows
    caption = wording.attention_caption(analysis, schema)
    chart = figures.inline_svg(figures.attention_bars(groups), caption)
    return f'<div class="card columns"><div><h3>Attention over the record</h3><p>{html.escape(caption)}</p></div><div>{chart}</div></div>'
