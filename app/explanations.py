"""What the record changed: fit, attributions, information and influence curves, as HTML made from their numbers."""

from __future__ import annotations

import html
from collections.abc import Iterator, Mapping

import cv2
import numpy as np

from diff3m.detector import Detector
from diff3m.ehr import EHRSchema, Feature, Record
from diff3m.explain import (
    Attribution,
    Counterfactual,
    Influence,
    Information,
    RecordFit,
    RegionAttribution,
    Uncertainty,
    attribute,
    attribute_region,
    counterfactual,
    influence,
    information,
    uncertainty,
)
from diff3m.radiograph import Radiograph

from . import figures, panels, words
from .pictures import Frame, inline, signed, strip
from .turns import MODEL

UNUSUAL = 2.0  # standard deviations from which a film does not fit its record
NOTHING = 0.002  # of the grey range: a smaller mean change of the picture is next to nothing
NOTICED = 0.01  # of the grey range: a smaller change of a region is not worth a word
FLAT = 1.0  # of the misfit: a curve that moves less says nothing
FEW_BITS = 2.0  # within the estimate's own noise
FAR = 3.0  # spreads of the training values from which a shift is no longer given as a number
MAP_SIGMA = 3.0  # pixels of the Gaussian that the information map is shown after
FRAME_HEIGHT = 128  # pixels, of the strip's pictures


def explained(detector: Detector, film: Radiograph, record: Mapping, feature: str | None, aspect: float) -> Iterator[tuple[str, str]]:
    """Explain one film step by step: (what is being done, HTML so far)."""
    parsed = detector.schema.parse(record)
    yield "Asking what each part of the record adds …", ""
    with MODEL.turn():
        found = attribute(detector, film, parsed)
    shown = fit_card(found, detector.schema, parsed) + attribution_card(found)
    yield "Measuring the record's information …", shown
    with MODEL.turn():
        shown += region_card(attribute_region(detector, film, parsed))
        shown += information_card(information(detector, film, parsed), aspect)
    yield "Drawing this person with and without the record …", shown
    with MODEL.turn():
        shown += with_and_without_card(counterfactual(detector, film, parsed, [{}]), aspect)
    yield "Measuring how much hangs on the noise level …", shown
    with MODEL.turn():
        shown += spread_card(uncertainty(detector, film, parsed))
    if feature is None:
        yield "", shown
        return
    yield f"Drawing the influence of {detector.schema[feature].label} …", shown
    with MODEL.turn():
        curve = influence(detector, film, parsed, feature)
    yield "", shown + influence_card(curve, detector.schema[feature], aspect)


def influence_choices(schema: EHRSchema) -> list[tuple[str, str]]:
    """(label, name) of the numbers whose influence can be drawn."""
    return [(feature.label, feature.name) for feature in schema.features if feature.kind == "number" and feature.trained]


def first_choice(choices: list[tuple[str, str]]) -> str | None:
    """BMI where the model knows it, else the first number; None where it knows none."""
    names = [name for _, name in choices]
    return "bmi" if "bmi" in names else next(iter(names), None)


def fit_card(found: Attribution, schema: EHRSchema, record: Record) -> str:
    """Does the film fit its record, group by group?"""
    items = "".join(f"<li>{html.escape(fit_sentence(fit, record))}</li>" for fit in found.fits)
    text = panels.quiet(
        "Measured along what each part of the record does to a film. The values “the film looks like” are the model's guess from the "
        "picture: they show direction and rough size, and are no measurement of the patient."
    )
    return f'<div class="card"><h3>Does the film fit the record?</h3><ul>{items}</ul>{text}</div>'


def fit_sentence(fit: RecordFit, record: Record) -> str:
    """One sentence on one group of the record."""
    name = fit.group.capitalize()
    if not fit.known:
        return f"{name}: not in the record."
    given = fit.feature.describe(record.get(fit.feature.name))
    what = f"{fit.feature.label} {given}" if record.get(fit.feature.name) is not None else name
    if abs(fit.z) < UNUSUAL:
        return f"{what}: the film fits ({fit.z:+.1f} standard deviations of normal films)."
    if fit.shift is None:
        toward = fit.feature.labels[-1 if fit.z > 0 else 0] if fit.feature.labels else ("the last", "the first")[fit.z < 0]
        same = record.get(fit.feature.name) == fit.feature.categories[-1 if fit.z > 0 else 0]
        verb = "looks even more like" if same else "looks more like"
        return f"{what}: the film {verb} {toward} than such films do ({fit.z:+.1f} standard deviations)."
    way = "higher" if fit.shift > 0 else "lower"
    far = abs(fit.shift) > FAR * fit.feature.std
    amount = f"a value far {way}" if far else f"a value about {abs(fit.shift):.0f} {fit.feature.unit} {way}"
    return f"{what}: the film looks like {amount} ({fit.z:+.1f} standard deviations)."


def attribution_card(found: Attribution) -> str:
    """What each part of the record adds to the misfit."""
    caption = attribution_sentence(found)
    chart = figures.inline_svg(figures.attribution_bars(found.groups), caption)
    parts = ", ".join(f"{name.replace('_', ' ')} {value:+.1f}" for name, value in found.parts.items())
    how = panels.quiet(
        "Shapley values: each group's share of the change from knowing nothing to knowing the whole record, averaged over the orders in "
        f"which the groups could become known. By single values: {parts or 'none is known'}."
    )
    return (
        f'<div class="card columns"><div><h3>What the record explains</h3><p>{html.escape(caption)}</p></div><div>{chart}</div>'
        f'<div class="wide">{how}</div></div>'
    )


def attribution_sentence(found: Attribution) -> str:
    """The attribution in words."""
    normal = len(found.fits)
    start = (
        f"Without the record the film contradicts what the model expects by {found.unknown:.1f}; with it, by {found.known:.1f} "
        f"(a normal film: about {normal}). "
    )
    group = max(found.groups, key=lambda name: abs(found.groups[name]))
    value = found.groups[group]
    if abs(value) < 1:
        return start + "No part of the record changes that by more than 1: nothing here is explained by the record."
    if value < 0:
        return start + f"Most of what is explained is explained by {group} ({value:+.1f})."
    return start + f"It is {group} that makes the film more unusual, not less ({value:+.1f}): the picture does not show what the record says."


def region_card(found: RegionAttribution) -> str:
    """What the record says about the place where the film differs most."""
    return f'<div class="card"><h3>The place that differs most</h3><p>{html.escape(region_sentence(found))}</p></div>'


def region_sentence(found: RegionAttribution) -> str:
    """The region's attribution in words."""
    place = words.place_of((found.box[0] + found.box[2]) / 2, (found.box[1] + found.box[3]) / 2)
    sign = "brighter" if found.known > 0 else "darker"
    start = (
        f"Under the record, the {place} of the picture is {abs(found.known):.1%} of the grey range {sign} than expected; without the "
        f"record the difference would be {found.unknown:+.1%}. "
    )
    change = abs(found.known) - abs(found.unknown)
    group = max(found.groups, key=lambda name: abs(found.groups[name]), default="")
    if not group or abs(found.groups[group]) < NOTICED:
        return start + f"Nothing in the record changes that by as much as {NOTICED:.0%}."
    whole = "leaves it as it is" if abs(change) < NOTICED else "explains part of it" if change < 0 else "makes it larger"
    return start + f"The record as a whole {whole}; its largest single effect here is that of {group} ({found.groups[group]:+.1%})."


def information_card(found: Information, aspect: float) -> str:
    """Bits that the record carries about the film, and where."""
    groups = ", ".join(f"{name} {bits:.1f}" for name, bits in found.groups.items()) or "none is known"
    effect = "saves" if found.bits >= 0 else "costs"
    meaning = " The record misleads the model here: the film is not what it predicts." if found.bits < -FEW_BITS else ""
    meaning = " That is next to nothing." if abs(found.bits) <= FEW_BITS else meaning
    caption = (
        f"Knowing the record {effect} the model {abs(found.bits):.1f} bits in describing this film.{meaning} "
        f"Lost when one group alone is unknown: {groups}."
    )
    smooth = cv2.GaussianBlur(found.map, (0, 0), MAP_SIGMA)
    scale = float(np.quantile(np.abs(smooth), 0.995)) or 1.0
    shown = inline(Frame(signed(smooth, scale), "Map of where the record informs the picture"), 2 * FRAME_HEIGHT, aspect)
    how = panels.quiet(
        "Red: where the record helps to predict the picture; blue: where it misleads. Estimated from the denoising errors with and "
        "without the record over ten noise levels; differences of a bit or two are noise."
    )
    return f'<div class="card columns"><div><h3>Where the record informs</h3><p>{html.escape(caption)}</p>{how}</div><div>{shown}</div></div>'


def with_and_without_card(found: Counterfactual, aspect: float) -> str:
    """What normal looks like for this person with the record and without it, side by side, and what the record did to the picture."""
    change = -found.differences[0]
    size = float(np.abs(change).mean())
    full = max(float(np.quantile(np.abs(change), 0.995)), 0.02)
    frames = [
        Frame(found.film, "the film"),
        Frame(found.reconstruction, "normal, record known"),
        Frame(found.reconstructions[0], "normal, record unknown"),
        Frame(signed(change, full), f"what the record did; full color at {full:.1%}"),
    ]
    caption = f"The record moves the picture of what is normal by {size:.2%} of the grey range on average" + (
        ": next to nothing." if size < NOTHING else ", most where the colors are (red: brighter with the record, blue: darker)."
    )
    how = panels.quiet("Both from the same noise, inverted under the record over all noise levels, so that only the record differs.")
    return f'<div class="card"><h3>With and without the record</h3><p>{html.escape(caption)}</p>{strip(frames, 2 * FRAME_HEIGHT, aspect)}{how}</div>'


def spread_card(found: Uncertainty) -> str:
    """How much the score hangs on the noise level and on the seed."""
    levels = ", ".join(f"{level}: {value:+.2f}" for level, value in found.by_level.items())
    seeds = list(found.by_seed.values())
    drawn = (
        f"Over {len(seeds)} seeds it lies between {min(seeds):+.2f} and {max(seeds):+.2f}."
        if max(seeds) > min(seeds)
        else "It uses no fresh noise, so that the seed does not matter."
    )
    text = f"By noise level alone the score would be {levels} (standard deviations of normal films). {drawn}"
    where = panels.quiet(f"The heat map's own spread over noise levels is {float(found.heat_spread.mean()):.1%} of the grey range on average.")
    return f'<div class="card"><h3>How sure is the score?</h3><p>{html.escape(text)}</p>{where}</div>'


def influence_card(curve: Influence, feature: Feature, aspect: float) -> str:
    """The curve of one number, and what normal looks like along it."""
    trained = (curve.values >= curve.trained[0]) & (curve.values <= curve.trained[1])
    best = float(curve.values[trained][int(curve.misfit[trained].argmin())])
    own = "" if curve.own is None else f" The record says {feature.describe(curve.own)}."
    flat = float(np.ptp(curve.misfit[trained])) < FLAT
    fit = "The curve is nearly flat: this film says little about it." if flat else f"The film fits the record best near {best:.0f} {feature.unit}."
    caption = f"{feature.label}: {fit}{own} Everything else is held fixed."
    chart = figures.inline_svg(figures.influence_curve(curve, f"{feature.label} ({feature.unit})"), caption)
    frames = ""
    if curve.reconstructions is not None:
        for value, image in zip(curve.values, curve.reconstructions, strict=True):
            label = f"{value:.0f}"
            picture = inline(Frame(image, f"What normal would look like at {feature.label} {label}"), FRAME_HEIGHT, aspect)
            frames += f"<figure>{picture}<figcaption>{label}</figcaption></figure>"
    text = panels.quiet("Below: what normal would look like for this person at each value, from the same noise. Shaded: beyond the training values.")
    return (
        f'<div class="card"><h3>Influence of {html.escape(feature.label)}</h3><p>{html.escape(caption)}</p>{chart}{text}'
        f'<div class="strip">{frames}</div></div>'
    )
