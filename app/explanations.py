"""What the record changed, explained step by step: what is asked of the model, in which order, and what the reader may ask for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from diff3m.detector import Detector
from diff3m.ehr import EHRSchema
from diff3m.explain import (
    Box,
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
from diff3m.radiograph import Radiograph

from .explanation_cards import (
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
from .turns import MODEL


@dataclass(frozen=True)
class Asked:
    """What the reader wants to know. number: whose influence is drawn, or None. change: a feature and the value of another record, or None.
    boxes: regions of the film that are explained beside the one that differs most, with their names."""

    number: str | None = None
    change: tuple[str, str] | None = None
    boxes: tuple[tuple[str, Box], ...] = ()


def explained(detector: Detector, film: Radiograph, record: Mapping, asked: Asked, aspect: float) -> Iterator[tuple[str, str]]:
    """Explain one film step by step: (what is being done, HTML so far). Raises EHRError or ExplanationError with a sentence."""
    parsed = detector.schema.parse(record)
    other = None if asked.change is None else other_record(detector.schema, parsed, *asked.change)
    yield "Asking what each part of the record adds …", ""
    with MODEL.turn():
        found = attribute(detector, film, parsed, parts=False)
        moved = attribute(detector, film, parsed, "expectation", parts=False, before=found)
    shown = fit_card(found, parsed) + attribution_card(found)
    if detector.config.prior_fit:
        yield "Asking what the record makes expect before the film is seen …", shown
        with MODEL.turn():
            shown += movement_card(attribute(detector, film, parsed, "prior", parts=False), moved)
    yield "Asking what it explains of single places …", shown
    with MODEL.turn():
        regions = attribute_regions(detector, film, parsed, [None, *(box for _, box in asked.boxes)])
    shown += region_card(dict(zip(["", *(name for name, _ in asked.boxes)], regions, strict=True)))
    yield "Measuring the record's information …", shown
    with MODEL.turn():
        shown += information_card(information(detector, film, parsed), aspect)
    yield "Drawing this person under other records …", shown
    with MODEL.turn():
        drawn = counterfactual(detector, film, parsed, [{}] if other is None else [{}, other])
    shown += with_and_without_card(drawn, aspect)
    if other is not None:
        shown += other_record_card(drawn, detector.schema, asked.change[0], aspect)
    if asked.number is not None:
        feature = detector.schema[asked.number]
        yield f"Measuring the influence of {feature.label} …", shown
        with MODEL.turn():
            curve = influence(detector, film, parsed, asked.number, strip=False, score=bool(detector.scoring.calibration))
        yield f"Drawing what normal would look like along {feature.label} …", shown + influence_card(curve, feature, aspect)
        with MODEL.turn():
            shown += influence_card(influence_strip(detector, film, parsed, curve), feature, aspect)
    if detector.scoring.calibration:
        yield "Asking what each part of the record does to the score …", shown
        with MODEL.turn():
            shown += score_card(attribute(detector, film, parsed, "score", parts=False))
    yield "Measuring how much hangs on the noise level …", shown
    with MODEL.turn():
        shown += spread_card(uncertainty(detector, film, parsed), aspect)
    yield "Asking integrated gradients for a second opinion …", shown
    with MODEL.turn():
        single = attribute(detector, film, parsed, before=found)
        shown += second_opinion_card(single, integrated_gradients(detector, film, parsed))
    yield "", shown


def change_choices(schema: EHRSchema) -> list[tuple[str, str]]:
    """(label, name) of the features that another record may change."""
    return [(feature.label, feature.name) for feature in schema.features if feature.trained]


def influence_choices(schema: EHRSchema) -> list[tuple[str, str]]:
    """(label, name) of the numbers whose influence can be drawn."""
    return [(feature.label, feature.name) for feature in schema.features if feature.kind == "number" and feature.trained]


def first_choice(choices: list[tuple[str, str]]) -> str | None:
    """BMI where the model knows it, else the first number; None where it knows none."""
    names = [name for _, name in choices]
    return "bmi" if "bmi" in names else next(iter(names), None)
