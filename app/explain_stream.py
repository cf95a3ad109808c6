"""What the record changed, explained step by step: one sentence first, then the registry's explanations in folds."""

from __future__ import annotations

import html
from collections.abc import Iterable, Iterator

from diff3m.ehr import EHRSchema
from diff3m.explain import EXPLANATIONS, Context

from .render import cards, panels
from .runtime.model_lock import MODEL

MIN_EFFECT = 1.0  # of the misfit, in which a normal film has about 1 for each part of the record


def explanation_cards(context: Context, names: Iterable[str] | None = None) -> Iterator[tuple[str, str]]:
    """Yield (what is being computed, HTML so far) before each explanation, and ("", everything) at the end.

    names: of the explanations; default, those that are requested. The first is open, the others are folded. What this
    checkpoint cannot explain is said once, in its place, and costs no other explanation.
    """
    wanted = context.selection() if names is None else [EXPLANATIONS[name] for name in names]
    page = ""
    for explanation in wanted:
        yield explanation.progress, _with_summary(context, page)
        failures = len(context.failures)
        with MODEL.turn():  # one turn each, so that others may go between
            result = context.attempt(explanation.name)
        if result is None:
            page += panels.notes(context.failures[failures:])
            continue
        opened = "" if "<details" in page else " open"
        card = cards.render(explanation.name, result, context)
        page += f"<details{opened}><summary>{html.escape(explanation.title)}</summary>{card}</details>"
    yield "", _with_summary(context, page)


def _with_summary(context: Context, page: str) -> str:
    sentence = summary(context)
    return f'<p class="verdict">{html.escape(sentence)}</p>{page}' if sentence else page


def summary(context: Context) -> str:
    """What the record changed, in one sentence; "" while nothing is known of it."""
    attribution = context.results.get("misfit")
    if attribution is None or not attribution.groups:
        return ""
    group = max(attribution.groups, key=lambda name: abs(attribution.groups[name]))
    value, change = attribution.groups[group], attribution.unknown - attribution.known
    name = group if group.isupper() else group.capitalize()
    if abs(value) < MIN_EFFECT:
        return "The record changed little: no part of it explains what differs."
    if value > 0:
        return f"{name} makes the film more unusual, not less: the picture does not show what the record says."
    if change <= 0:
        return f"The record as a whole explains nothing; {group} alone explains some."
    share = min(change / attribution.unknown, 1.0)
    return f"The record explains {share:.0%} of how unusual the film is without it, most of that by {group}."


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
