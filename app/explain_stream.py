"""Explanations of what the record changed, streamed as HTML: a summary first, then a card for each explanation."""

from __future__ import annotations

import html
from collections.abc import Iterable, Iterator
from functools import partial

from diff3m.ehr import EHRSchema
from diff3m.explain import EXPLANATIONS, Context

from .render import cards, figures, panels
from .render.explanation_summary import summarize_explanations
from .runtime.model_thread import MODEL


def stream_cards(context: Context, names: Iterable[str] | None = None) -> Iterator[tuple[str, str]]:
    """Yield (progress, HTML so far) before each explanation, and ("", all HTML) at the end.

    names: of the explanations; default, those of the request. The first card is open, the others are folded. Where the
    checkpoint cannot compute an explanation, a note says why in its place.
    """
    explanations = context.list_requested() if names is None else [EXPLANATIONS[name] for name in names]
    page = ""
    for explanation in explanations:
        yield explanation.progress, _add_summary(context, page)
        failures = len(context.failures)
        result = MODEL.run(partial(context.attempt, explanation.name))  # one job each, so that others may go between
        if result is None:
            page += panels.note_list(context.failures[failures:])
            continue
        state = "" if "<details" in page else " open"
        title = html.escape(cards.card_title(explanation.name))
        card = cards.render(explanation.name, result, context)
        page += f"<details{state}><summary>{title}</summary>{card}</details>"
    yield "", _add_summary(context, page)


def _add_summary(context: Context, page: str) -> str:
    """Return the cards, preceded by one sentence and one chart."""
    summary = summarize_explanations(context.results, context.case.record, context.detector.schema)
    if not summary.is_measured:
        return page
    chart = summary.figure
    picture = "" if chart is None else figures.inline_svg(chart, summary.sentence)
    return f'<div id="explanation-summary"><p class="verdict">{html.escape(summary.sentence)}</p>{picture}</div>{page}'


def make_summary_sentence(context: Context) -> str:
    """Return one sentence on what the record changed; "" while nothing was measured."""
    summary = summarize_explanations(context.results, context.case.record, context.detector.schema)
    return summary.sentence if summary.is_measured else ""


def list_change_choices(schema: EHRSchema) -> list[tuple[str, str]]:
    """Return (label, name) of the features that another record may change."""
    return [(feature.label, feature.name) for feature in schema.features if feature.trained]


def list_influence_choices(schema: EHRSchema) -> list[tuple[str, str]]:
    """Return (label, name) of the numbers whose influence can be followed."""
    return [
        (feature.label, feature.name) for feature in schema.features if feature.kind == "number" and feature.trained
    ]


def select_first_choice(choices: list[tuple[str, str]]) -> str | None:
    """Return BMI where the model knows it, else the first number; None where it knows none."""
    names = [name for _, name in choices]
    return "bmi" if "bmi" in names else next(iter(names), None)
