"""What the record changed, explained step by step: what is asked of the model, in which order, and what the reader may ask for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache

from diff3m.detector import Detector
from diff3m.ehr import EHRSchema, Record
from diff3m.explain import (
    Attribution,
    Box,
    Counterfactual,
    ExplanationError,
    Influence,
    attribute,
    attribute_regions,
    counterfactual,
    influence,
    influence_strip,
    information,
    integrated_gradients,
    other_record,
    uncertainty,
)
from diff3m.imaging import Radiograph

from .render import panels
from .render.explanation_cards import (
    attribution_card,
    fit_card,
    influence_card,
    information_card,
    movement_card,
    other_record_card,
    region_card,
    score_card,
    second_opinion_card,
    spread_card,
    with_and_without_card,
)
from .runtime.model_lock import MODEL


@dataclass(frozen=True)
class Asked:
    """What the reader wants to know. number: whose influence is drawn, or None. change: a feature and the value of another record, or None.
    boxes: regions of the film that are explained beside the one that differs most, with their names."""

    number: str | None = None
    change: tuple[str, str] | None = None
    boxes: tuple[tuple[str, Box], ...] = ()


def explained(
    detector: Detector, film: Radiograph, record: Mapping, asked: Asked, aspect: float
) -> Iterator[tuple[str, str]]:
    """Explain one film step by step: (what is being done, HTML so far). What this checkpoint cannot explain is said in its place, once, and costs no
    other explanation. Raises EHRError with a sentence."""
    parsed = detector.schema.parse(record)
    other, cards = None if asked.change is None else other_record(detector.schema, parsed, *asked.change), {}
    for doing, place, explain in _steps(detector, film, parsed, other, asked, aspect):
        yield doing, "".join(cards.values())
        try:
            with MODEL.turn():
                cards[place] = explain()
        except ExplanationError as error:
            said = panels.notes([str(error)])
            cards |= {} if place in cards or said in cards.values() else {place: said}
    yield "", "".join(cards.values())


def _steps(
    detector: Detector, film: Radiograph, record: Record, other: Record | None, asked: Asked, aspect: float
) -> Iterator[tuple[str, str, Callable[[], str]]]:
    """(what is being done, the place of its card, what makes the card) of every explanation, the quick ones first."""
    schema, scored = detector.schema, bool(detector.scoring.calibration)
    given = (detector, film, record)

    @cache
    def misfit() -> Attribution:
        return attribute(*given, parts=False)

    @cache
    def drawn() -> Counterfactual:
        return counterfactual(*given, [{}] if other is None else [{}, other])

    yield (
        "Asking what each part of the record adds …",
        "fit",
        lambda: fit_card(misfit(), record) + attribution_card(misfit()),
    )
    if detector.config.prior_fit:
        yield (
            "Asking what the record makes expect before the film is seen …",
            "movement",
            lambda: movement_card(
                attribute(*given, "prior", parts=False), attribute(*given, "expectation", parts=False, before=misfit())
            ),
        )
    names, boxes = zip(("", None), *asked.boxes, strict=True)
    yield (
        "Asking what it explains of single places …",
        "region",
        lambda: region_card(dict(zip(names, attribute_regions(*given, boxes), strict=True))),
    )
    yield "Measuring the record's information …", "information", lambda: information_card(information(*given), aspect)
    yield "Drawing this person without a record …", "without", lambda: with_and_without_card(drawn(), aspect)
    if other is not None:
        yield (
            "Drawing this person under another record …",
            "other",
            lambda: other_record_card(drawn(), schema, asked.change[0], aspect),
        )
    if asked.number is not None:
        feature = schema[asked.number]

        @cache
        def curve() -> Influence:
            return influence(*given, feature.name, strip=False, score=scored)

        yield (
            f"Measuring the influence of {feature.label} …",
            "influence",
            lambda: influence_card(curve(), feature, aspect),
        )
        yield (
            f"Drawing what normal would look like along {feature.label} …",
            "influence",
            lambda: influence_card(influence_strip(*given, curve()), feature, aspect),
        )
    if scored:
        yield (
            "Asking what each part of the record does to the score …",
            "score",
            lambda: score_card(attribute(*given, "score", parts=False)),
        )
        yield (
            "Measuring how much hangs on the noise level …",
            "spread",
            lambda: spread_card(uncertainty(*given), detector.scoring, aspect),
        )
    yield (
        "Asking integrated gradients for a second opinion …",
        "second",
        lambda: second_opinion_card(attribute(*given, before=misfit()), integrated_gradients(*given), schema),
    )


def change_choices(schema: EHRSchema) -> list[tuple[str, str]]:
    """(label, name) of the features that another record may change."""
    return [(feature.label, feature.name) for feature in schema.features if feature.trained]


def influence_choices(schema: EHRSchema) -> list[tuple[str, str]]:
    """(label, name) of the numbers whose influence can be drawn."""
    return [
        (feature.label, feature.name) for feature in schema.features if feature.kind == "number" and feature.trained
    ]


def first_choice(choices: list[tuple[str, str]]) -> str | None:
    """BMI where the model knows it, else the first number; None where it knows none."""
    names = [name for _, name in choices]
    return "bmi" if "bmi" in names else next(iter(names), None)
