"""What the record changed, explained step by step: the cards of the registry's explanations as they are computed."""

from __future__ import annotations

from collections.abc import Iterator

from diff3m.ehr import EHRSchema
from diff3m.explain import Context

from .render import cards, panels
from .runtime.model_lock import MODEL


def explanation_cards(context: Context) -> Iterator[tuple[str, str]]:
    """Yield (what is being computed, HTML so far) before each explanation, and ("", everything) at the end.

    What this checkpoint cannot explain is said once, in its place, and costs no other explanation.
    """
    page = ""
    for explanation in context.requested():
        yield explanation.progress, page
        failures = len(context.failures)
        with MODEL.turn():  # one turn each, so that others may go between
            result = context.attempt(explanation.name)
        page += (
            panels.notes(context.failures[failures:])
            if result is None
            else cards.render(explanation.name, result, context)
        )
    yield "", page


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
