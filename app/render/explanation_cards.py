"""Cards of the explanations: fit, attributions, information, other records and influence curves, as HTML with captions made from their numbers."""

from __future__ import annotations

import html
from collections.abc import Mapping

import cv2
import numpy as np

from diff3m.ehr import HABITUS, EHRSchema, Feature, Record
from diff3m.explain import (
    NOTHING_MOVED,
    Agreement,
    Attribution,
    Counterfactual,
    Gradients,
    Influence,
    Information,
    RecordFit,
    RegionAttribution,
    Uncertainty,
    agreements,
    in_people,
)
from diff3m.export.overlay import full_color, signed
from diff3m.scoring.score import Scoring

from . import figures, panels, wording
from .images import Frame, inline, strip

NOTHING = 0.002  # of the grey range: a smaller mean change of the picture is next to nothing
NOTICED = 0.01  # of the grey range: a smaller change of a region is not worth a word
SMALL_SCORE = 0.1  # standard deviations: a smaller change of the score is not worth a word
FLAT = 1.0  # of the misfit: a curve that moves less says nothing
FEW_BITS = 2.0  # within the estimate's own noise
FAR = 3.0  # spreads of the training values from which a shift is no longer given as a number
MAP_SIGMA = 3.0  # pixels of the Gaussian that the information map is shown after
FRAME_HEIGHT = 128  # pixels, of the strip's pictures


def fit_card(found: Attribution, record: Record) -> str:
    """Does the film fit its record, group by group?"""
    items = "".join(f"<li>{html.escape(fit_sentence(fit, record))}</li>" for fit in found.fits)
    text = panels.quiet(
        "Measured along what each part of the record does to a film; habitus is BMI, height and weight together. The values “the film looks "
        "like” are the model's guess from the picture: they show direction and rough size, and are no measurement of the patient."
    )
    return f'<div class="card"><h3>Does the film fit the record?</h3><ul>{items}</ul>{text}</div>'


def fit_sentence(fit: RecordFit, record: Record) -> str:
    """One sentence on one group of the record."""
    name = fit.group.capitalize()
    if not fit.known:
        return f"{name}: not in the record."
    given = fit.feature.describe(record.get(fit.feature.name))
    what = f"{fit.feature.label} {given}" if record.get(fit.feature.name) is not None else name
    if abs(fit.z) < wording.FITS:
        return f"{what}: the film fits ({fit.z:+.1f} standard deviations of normal films)."
    if fit.shift is None:
        toward = (
            fit.feature.labels[-1 if fit.z > 0 else 0] if fit.feature.labels else ("the last", "the first")[fit.z < 0]
        )
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
    how = panels.quiet(
        "Shapley values: each group's share of the change from knowing nothing to knowing the whole record, averaged over the orders in "
        "which the groups could become known. Read the largest bar, not the order of the others: on simulated patients in whom one part is "
        "extreme, the largest bar names it in most films, but the order of the rest does not follow what truly changes. On real films "
        "nothing can be checked against a truth."
    )
    return (
        f'<div class="card columns"><div><h3>What the record explains</h3><p>{html.escape(caption)}</p></div><div>{chart}</div>'
        f'<div class="wide">{how}</div></div>'
    )


def attribution_sentence(found: Attribution) -> str:
    """The attribution in words."""
    normal = len(found.fits)
    start = (
        f"On a scale where a normal film has about {normal}, the film contradicts what the model expects by {found.unknown:.1f} without the record "
        f"and by {found.known:.1f} with it. "
    )
    group = max(found.groups, key=lambda name: abs(found.groups[name]))
    value = found.groups[group]
    if abs(value) < 1:
        return start + "No part of the record changes that by more than 1: nothing here is explained by the record."
    if value < 0 and found.known < found.unknown:
        return start + f"The largest part of what the record explains is explained by {group} ({value:+.1f})."
    if value < 0:
        return (
            start
            + f"The record as a whole explains nothing; the largest single effect is that of {group}, which explains some ({value:+.1f})."
        )
    return (
        start
        + f"It is {group} that makes the film more unusual, not less ({value:+.1f}): the picture does not show what the record says."
    )


def movement_card(prior: Attribution, beside: Attribution) -> str:
    """What the record moves in the picture of normal, before the film is seen and beside it."""
    said, charts = movement_sentences(prior, beside), ""
    for title, one, sentence in zip(
        ("Before the film is seen", "Beside this film"), (prior, beside), said, strict=True
    ):
        bars = figures.attribution_bars(one.groups, "nearer to the record's normal  ◂   ▸  farther from it")
        charts += f"<div><h4>{title}</h4>{figures.inline_svg(bars, sentence)}<p>{html.escape(sentence)}</p></div>"
    how = panels.quiet(
        "How far normal as expected with parts of the record unknown lies from normal as the whole record makes expect it, in squared standard "
        "deviations of normal people, and each group's Shapley value. Before the film is seen: under noise that hides it. On simulated patients "
        "these values follow what truly changes before the film is seen, and beside the film only roughly; on real films there is no truth to "
        "compare with. A value that another part of the record tells already (height tells of sex) gets less."
    )
    title = '<h3 class="wide">What the record moves in the picture of normal</h3>'
    special = f"<p>{html.escape(unusual_sentence(prior))}</p>" if prior.unusual else ""
    return f'<div class="card columns">{title}{charts}<div class="wide">{special}{how}</div></div>'


def movement_sentences(prior: Attribution, beside: Attribution) -> tuple[str, str]:
    """What the record moves before the film is seen, and beside it, in words."""
    first = f"Knowing the record moves the picture of normal by {prior.unknown:.1f} (0: not at all){_mostly(prior)}."
    if beside.unknown < NOTHING_MOVED <= prior.unknown:
        return (
            first,
            f"With the film there, knowing the record moves it by {beside.unknown:.1f}: the film shows the rest itself.",
        )
    return first, f"With the film there, knowing the record moves it by {beside.unknown:.1f}{_mostly(beside)}."


def unusual_sentence(prior: Attribution) -> str:
    """Which part of this record moves normal unusually far, in words."""
    group = prior.farthest_out
    if group is None:
        return "Nothing in this record stands out: as a whole it hardly moves normal."
    share = f"more than in {in_people(prior.unusual[group])}"
    if prior.stands_out is None:
        return f"No part of this record is far out of the ordinary; the nearest to it is {group}, which moves normal {share}."
    return f"What stands out in this record is {group}: it moves normal {share}."


def _mostly(found: Attribution) -> str:
    """The group that moves most, where anything moves to speak of."""
    if found.unknown < NOTHING_MOVED:
        return ", next to nothing"
    group = min(found.groups, key=lambda name: found.groups[name])
    return f", most strongly by {group} ({found.groups[group]:+.1f})"


def region_card(found: Mapping[str, RegionAttribution]) -> str:
    """What the record says about places of the film, by name; "" is the one that differs most."""
    said = "".join(
        f"<p>{'<b>' + html.escape(name) + '.</b> ' if name else ''}{html.escape(region_sentence(one))}</p>"
        for name, one in found.items()
    )
    how = panels.quiet(
        "Measured on estimates of the normal film in one step, on which the record acts more than on the reconstruction shown above. The outlined "
        "regions of the heat map and the part that is magnified are explained too, where there are any."
    )
    return f'<div class="card"><h3>The place that differs most, and others</h3>{said}{how}</div>'


def region_sentence(found: RegionAttribution) -> str:
    """The region's attribution in words."""
    place = wording.place_of((found.box[0] + found.box[2]) / 2, (found.box[1] + found.box[3]) / 2)
    sign = "brighter" if found.known > 0 else "darker"
    start = (
        f"Under the record, the {place} of the picture is {abs(found.known):.1%} of the grey range {sign} than expected; without the "
        f"record the difference would be {found.unknown:+.1%}. "
    )
    change = abs(found.known) - abs(found.unknown)
    group = max(found.groups, key=lambda name: abs(found.groups[name]), default="")
    if not group or abs(found.groups[group]) < NOTICED:
        return start + f"Nothing in the record changes that by as much as {NOTICED:.0%}."
    whole = (
        "leaves it as it is" if abs(change) < NOTICED else "explains part of it" if change < 0 else "makes it larger"
    )
    return (
        start
        + f"The record as a whole {whole}; its largest single effect here is that of {group} ({found.groups[group]:+.1%})."
    )


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
    smooth, residual = (cv2.GaussianBlur(image, (0, 0), MAP_SIGMA) for image in (found.map, found.residual))
    scale, full = (full_color(image) or 1.0 for image in (smooth, residual))
    frames = [
        Frame(signed(smooth, scale), "where the record informs", "Map of where the record informs the picture"),
        Frame(
            signed(residual, full),
            f"where the film differs; full color at {full:.1%}",
            "Residual of the film under its record",
        ),
    ]
    how = panels.quiet(
        "Left, red: where the record helps to predict the picture; blue: where it misleads. Estimated from the denoising errors with and "
        "without the record over ten noise levels; differences of a bit or two are noise. Right, red: brighter than expected under the record, "
        "in one step; blue: darker. Where both are colored, the record speaks of the place that is out of the ordinary."
    )
    pictures = strip(frames, 2 * FRAME_HEIGHT, aspect)
    return f'<div class="card"><h3>Where the record informs</h3><p>{html.escape(caption)}</p>{pictures}{how}</div>'


def with_and_without_card(found: Counterfactual, aspect: float) -> str:
    """What normal looks like for this person with the record and without it, side by side, and what the record did to the picture."""
    change = -found.differences[0]
    size = float(np.abs(change).mean())
    caption = f"The record moves the picture of what is normal by {size:.2%} of the grey range on average" + (
        ": next to nothing."
        if size < NOTHING
        else ", most where the colors are (red: brighter with the record, blue: darker)."
    )
    labels = ("normal, record known", "normal, record unknown", "what the record did")
    return _two_normals("With and without the record", caption, found, 0, change, labels, aspect)


def other_record_card(found: Counterfactual, schema: EHRSchema, name: str, aspect: float) -> str:
    """The same for another record of the same person, the second of `found.others`."""
    change = found.differences[1]
    size = float(np.abs(change).mean())
    feature = schema[name]
    own, other = (feature.describe(record.get(name)) for record in (found.record, found.others[1]))
    caption = (
        f"With {feature.label} {other} instead of {own}, the picture of what is normal moves by {size:.2%} of the grey range on average"
        + (": next to nothing." if size < NOTHING else " (red: brighter under the other record, blue: darker).")
    )
    labels = ("normal, this record", f"normal, {feature.label} {other}", "what the change did")
    return _two_normals("Under another record", caption, found, 1, change, labels, aspect)


def _two_normals(
    title: str,
    caption: str,
    found: Counterfactual,
    other: int,
    change: np.ndarray,
    labels: tuple[str, str, str],
    aspect: float,
) -> str:
    """The film, what is normal under its record and under another, and the difference, as a card."""
    full = max(full_color(change), 0.02)
    frames = [
        Frame(found.film, "the film"),
        Frame(found.reconstruction, labels[0]),
        Frame(found.reconstructions[other], labels[1]),
        Frame(signed(change, full), f"{labels[2]}; full color at {full:.1%}"),
    ]
    how = panels.quiet(
        "Both from the same noise, inverted under the record over all noise levels, so that only the record differs."
    )
    return f'<div class="card"><h3>{title}</h3><p>{html.escape(caption)}</p>{strip(frames, 2 * FRAME_HEIGHT, aspect)}{how}</div>'


def second_opinion_card(found: Attribution, gradients: Gradients, schema: EHRSchema) -> str:
    """Whether other methods of attribution say the same."""
    said = "".join(
        f"<p>{html.escape(agreement_sentence(name, one))}</p>" for name, one in agreements(found, gradients).items()
    )
    listed = ", ".join(f"{group} {value:+.1f}" for group, value in gradients.groups.items())
    parts = ", ".join(
        f"{schema[name].label if name in schema else name} {value:+.1f}" for name, value in found.parts.items()
    )
    how = panels.quiet(
        f"Shapley values by single values of the record: {parts or 'none is known'}. Integrated gradients by group: {listed} (they miss the whole "
        f"change by {abs(gradients.gap):.1f}). They walk a straight line from “unknown” to the record, through records that nobody has; Shapley "
        "values ask only for records that training saw."
    )
    return f'<div class="card"><h3>Do other methods agree?</h3>{said}{how}</div>'


def agreement_sentence(name: str, found: Agreement) -> str:
    """Agreement with Shapley values in words."""
    start, many = name[0].upper() + name[1:], name.endswith("s")
    if not found.compared:
        return f"{start}: no part of the record changes the misfit by 1 or more, so there is nothing to compare."
    if found.whole:
        return f"{start} {'agree' if many else 'agrees'} with the Shapley values above in the signs and in the order of the groups."
    doubts = [] if found.signs == 1 else [f"{found.signs:.0%} of the signs are the same"]
    doubts += [] if found.order else ["the order of the groups is another"]
    doubts += [] if found.largest else ["it names another group as the largest: take the ranking with care"]
    return f"{start} {'do' if many else 'does'} not agree with the Shapley values above in everything: {'; '.join(doubts)}."


def score_card(found: Attribution) -> str:
    """What each part of the record adds to the anomaly score."""
    sentence = score_sentence(found)
    bars = figures.attribution_bars(found.groups, "lowers the score  ◂   ▸  raises it", digits=2)
    how = panels.quiet(
        "Shapley values of the anomaly score over all combinations of known and unknown parts of the record. They are exact, and often small: "
        "the score is measured where the film itself, seen through little noise, tells most of what the record says."
    )
    chart = figures.inline_svg(bars, sentence)
    return f'<div class="card columns"><div><h3>The record and the score</h3><p>{html.escape(sentence)}</p>{how}</div><div>{chart}</div></div>'


def score_sentence(found: Attribution) -> str:
    """The score with and without the record, in words."""
    start = f"The anomaly score is {found.known:+.2f} with the record and would be {found.unknown:+.2f} without it."
    group = max(found.groups, key=lambda name: abs(found.groups[name]), default="")
    if not group or abs(found.groups[group]) < SMALL_SCORE:
        return f"{start} No part of the record changes it by as much as {SMALL_SCORE:.1f}."
    return f"{start} The largest single effect on it is that of {group} ({found.groups[group]:+.2f})."


def spread_card(found: Uncertainty, scoring: Scoring, aspect: float) -> str:
    """How much the score and the heat map hang on the noise level and on the seed."""
    levels = ", ".join(f"{level}: {value:+.2f}" for level, value in found.by_level.items())
    seeds = list(found.by_seed.values())
    drawn = (
        f"Over {len(seeds)} seeds the score lies between {min(seeds):+.2f} and {max(seeds):+.2f}."
        if max(seeds) > min(seeds)
        else "The score uses no fresh noise, so that the seed does not matter."
    )
    which = "Largest" if scoring.combine == "max" else "Mean"
    text = f"{which} z-score of the residuals by noise level (0: an average normal film): {levels}. {drawn}"
    full = max(float(found.heat_spread.max()), 1e-6)
    where = panels.quiet(
        f"The heat map's standard deviation over reconstructions from noise levels {', '.join(map(str, found.heat_levels))} is "
        f"{float(found.heat_spread.mean()):.1%} of the grey range on average, {full:.1%} where it is largest (white). It uses no fresh noise: every "
        "seed gives the same map."
    )
    shown = inline(
        Frame(found.heat_spread / full, "Where the heat map hangs on the noise level"), 2 * FRAME_HEIGHT, aspect
    )
    text = f"<h3>How sure is the score?</h3><p>{html.escape(text)}</p>{where}"
    return f'<div class="card columns"><div>{text}</div><div>{shown}</div></div>'


def influence_card(curve: Influence, feature: Feature, aspect: float) -> str:
    """The curve of one number, and what normal looks like along it."""
    trained = (curve.values >= curve.trained[0]) & (curve.values <= curve.trained[1])
    usual = bool(trained.any())
    trained |= not usual  # a curve that lies wholly beyond is told of as it is
    best = float(curve.values[trained][int(curve.misfit[trained].argmin())])
    own = "" if curve.own is None else f" The record says {feature.describe(curve.own)}."
    flat = float(np.ptp(curve.misfit[trained])) < FLAT
    fit = (
        "The curve is nearly flat: this film says little about it."
        if flat
        else f"The film fits the record best near {best:.0f} {feature.unit}."
    )
    moved = float(np.ptp(curve.region[trained]))
    place = wording.place_of((curve.box[0] + curve.box[2]) / 2, (curve.box[1] + curve.box[3]) / 2)
    region = (
        f" The residual of the place that differs most ({place} of the picture) moves by {moved:.1%} of the grey range."
    )
    score = "" if curve.score is None else f" The anomaly score moves by {float(np.ptp(curve.score[trained])):.2f}."
    beyond = "" if usual else " All of these values are far from those of training."
    fixed = " Everything else is held fixed" + (
        ", but weight and BMI follow each other." if feature.name in HABITUS else "."
    )
    caption = f"{feature.label}: {fit}{own}{region}{score}{beyond}{fixed}"
    chart = figures.inline_svg(figures.influence_curve(curve, f"{feature.label} ({feature.unit})"), caption)
    frames = [
        Frame(image, f"{value:.0f}", f"What normal would look like at {feature.label} {value:.0f}")
        for value, image in zip(
            curve.values, () if curve.reconstructions is None else curve.reconstructions, strict=False
        )
    ]
    below = "Below: what normal would look like for this person at each value, from the same noise. " if frames else ""
    text = panels.quiet(
        f"{below}Misfit: how badly film and record contradict each other. Residual: film minus what is expected. Shaded: more than two standard "
        "deviations from the average of the training films, where few or none were."
    )
    pictures = strip(frames, FRAME_HEIGHT, aspect, tall=False) if frames else ""
    return f'<div class="card"><h3>Influence of {html.escape(feature.label)}</h3><p>{html.escape(caption)}</p>{chart}{text}{pictures}</div>'
