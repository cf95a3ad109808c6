"""What the record changed, explained step by step: one sentence first, then the registry's explanations in folds."""

from __future__ import annotations

import html
from collections.abc import Iterable, Iterator

from diff3m.ehr import EHRSchema
from diff3m.explain import EXPLANATIONS, Context

from .render import cards, figures, panels
from .render.explanation_summary import explanation_summary
from .runtime.model_lock import MODEL


def explanation_cards(context: Context, names: Iterable[str] | None = None) -> Iterator[tuple[str, str]]:
    """Yield (what is being computed, HTML so far) before each explanation, and ("", everything) at the end.

    names: of the explanations; default, those that are requested. The first is open, the others are folded. What this
    checkpoint cannot explain is said once, in its place, and costs no other explanation.
    """
    explanations = context.requested() if names is None else [EXPLANATIONS[name] for name in names]
    page = ""
    for explanation in explanations:
        yield explanation.progress, _with_summary(context, page)
        failures = len(context.failures)
        with MODEL.turn():  # one turn each, so that others may go between
            result = context.attempt(explanation.name)
        if result is None:
            page += panels.note_list(context.failures[failures:])
            continue
        state = "" if "<details" in page else " open"
        title = html.escape(cards.card_title(explanation.name))
        card = cards.render(explanation.name, result, context)
        card = card.replace(f"<h3>{title}</h3>", "", 1)  # its heading is that of the fold
        page += f"<details{state}><summary>{title}</summary>{card}</details>"
    yield "", _with_summary(context, page)


def _with_summary(context: Context, page: str) -> str:
    """Return the cards with one sentence and one chart before them."""
    summary = explanation_summary(context.results, context.case.record, context.detector.schema)
    if not summary.is_measured:
        return page
    chart = summary.figure
    picture = "" if chart is None else figures.inline_svg(chart, summary.sentence)
    return f'<div id="explanation-summary"><p class="verdict">{html.escape(summary.sentence)}</p>{picture}</div>{page}'


def summary_sentence(context: Context) -> str:
    """Return what the record changed in one sentence; "" while nothing is known of it."""
    summary = explanation_summary(context.results, context.case.record, context.detector.schema)
    return summary.sentence if summary.is_measured else ""


def change_choices(schema: EHRSchema) -> list[tuple[str, str]]:
    """Return (label, name) of the features that another record may change."""
    return [(feature.label, feature.name) for feature in schema.features if feature.trained]


def influence_choices(schema: EHRSchema) -> list[tuple[str, str]]:
    """Return (label, name) of the numbers whose influence can be followed."""
    return [
        (feature.label, feature.name) for feature in schema.features if feature.kind == "number" and feature.trained
    ]


def first_choice(choices: list[tuple[str, str]]) -> str | None:
    """Return BMI where the model knows it, else the first number; None where it knows none."""
    names = [name for _, name in choices]
    return "bmi" if "bmi" in names else next(iter(names), None)
