"""Numbers in words: what the page says about a result, made from the numbers alone."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import NormalDist

import numpy as np

from diff3m.analysis import Analysis
from diff3m.ehr import VIEW_LABELS, EHRSchema, Record
from diff3m.scoring.regions import Region
from diff3m.scoring.score import Scoring, by_noise_level

FITS = 1.645  # standard deviations: nine normal films in ten lie within
ATTENTION_LIMIT = (
    "Attention says where the model looked in the record, not what changed the result: it does not know the score."
)
PARTS = {  # of a score, see `Component.part`
    "residual": "how far the film lies from what the model would draw as normal for this patient",
    "head": "how much looks like the lesions painted into normal films to teach it",
    "record": "how far the film contradicts what the record says",
}
SIDES = "Left and right are the picture's: the patient's right is on the picture's left, if the film is not mirrored."
SIMULATED = {
    "phantoms": "simulated patients"
}  # what a checkpoint learned from, where its name does not say it to a reader


def model_title(name: str) -> str:
    """A checkpoint's name as a person reads it, e.g. "Real films"."""
    return SIMULATED.get(name, name.replace("-", " ")).capitalize()


def model_sentence(name: str, schema: EHRSchema) -> str:
    """What a checkpoint learned from, and what it knows of a patient."""
    known = [
        feature.label if feature.label.isupper() else feature.label.lower()
        for feature in schema.features
        if feature.trained
    ]
    listed = ", ".join(known[:-1]) + " and " + known[-1] if len(known) > 1 else "".join(known)
    warning = " It is for teaching: to it every real film is unusual." if name in SIMULATED else ""
    return f"This model learned what is normal from {model_title(name).lower()}, and knows {listed or 'nothing'} of a patient.{warning}"


def verdict(percentile: float) -> str:
    """A few words for a percentile among normal films."""
    if percentile >= 99:
        return "Very unusual among normal films"
    if percentile >= 95:
        return "Unusual among normal films"
    if percentile >= 80:
        return "In the upper range of normal films"
    return "Within the range of normal films"


def compared_with(analysis: Analysis) -> str:
    """The films that the score was placed among, e.g. "193 normal PA films"."""
    view = f"{analysis.compared_with} " if analysis.compared_with in VIEW_LABELS else ""
    return f"{analysis.normals} normal {view}films"


def score_sentence(analysis: Analysis) -> str:
    """Score and percentile in one sentence."""
    if analysis.score is None or analysis.percentile is None:
        return "This checkpoint gives no score: it has not been calibrated on normal films."
    return (
        f"The anomaly score is {analysis.score:+.2f}: higher than that of {analysis.whole_percentile} % of {compared_with(analysis)} "
        "that the model never saw in training (0 = an average normal film)."
    )


def score_meaning(analysis: Analysis, scoring: Scoring) -> str:
    """What the score does and does not mean."""
    mixed = "" if analysis.compared_with in VIEW_LABELS else " AP and PA films are mixed in the comparison: "
    if mixed:
        mixed += (
            "the view is unknown."
            if analysis.record.get("view") is None
            else "too few normal films of this view are there."
        )
    return (
        f"{_made_of(scoring)}. It does not say what the "
        "difference is, nor that there is disease: one normal film in twenty lies above percentile 95, and small or subtle "
        f"findings can lie below it.{mixed}"
    )


def _made_of(scoring: Scoring) -> str:
    """What a score says, by the parts that are in it and how they count."""
    said = [text for part, text in PARTS.items() if part in {component.part for component in scoring.components}]
    if len(said) < 2:
        return f"It says {said[0]}"
    if scoring.combine in ("max", "foremost"):
        return f"It says which is most unusual, and by how much: {', or '.join(said)}"
    if scoring.combine == "balanced" and len(said) == 2:
        return f"Half of it says {said[0]}, half {said[1]}"
    return f"It is the mean of several measurements, which say {', and '.join(said)}"


def spread_sentences(analysis: Analysis, scoring: Scoring) -> list[str]:
    """The score by noise level, where it was measured at several, and by the anomaly map: how much the opinion hangs on what is measured."""
    by_level = by_noise_level([(component, z) for component, _, z in analysis.components], scoring.combine)
    learned = [
        z for component, _, z in analysis.components if component.part == "head" and z is not None and np.isfinite(z)
    ]
    if len(by_level) < 2:
        return []
    largest = scoring.combine == "max"
    listed = ", ".join(f"{level} ({_detail(level)}): {value:+.1f}" for level, (value, _) in by_level.items())
    listed += f"; of the anomaly map: {np.mean(learned):+.1f}" if learned else ""
    unusual = [value > (unusual_above(count) if largest else FITS) for value, count in by_level.values()]
    unusual += [value > FITS for value in learned]
    agree = "They disagree, so take the score with care." if any(unusual) else "None of them finds the film unusual."
    agree = "All of them find the film unusual." if all(unusual) else agree
    return [
        f"{'Largest' if largest else 'Mean'} z-score (0: an average normal film) of the residuals by noise level, {listed}. {agree}"
    ]


def unusual_above(count: int) -> float:
    """The value that the largest of so many independent z-scores of a normal film exceeds as rarely as one of them exceeds `FITS`."""
    normal = NormalDist()
    return normal.inv_cdf(normal.cdf(FITS) ** (1 / count))


def _detail(level: int) -> str:
    """What of a film a noise level leaves to judge."""
    return "fine detail" if level <= 50 else "middle sizes" if level <= 150 else "large shapes"


def region_sentences(found: Sequence[Region], learned: bool = False) -> list[str]:
    """One line a region, in the order of their numbers on the picture. learned: regions of the anomaly map."""
    return [
        f"{number}: {place_of(region.row, region.column)} of the picture, {region.share:.1%} of it, on average "
        + (f"{region.value:.0%} in the anomaly map, " if learned else "")
        + f"{abs(region.residual):.1%} {'brighter' if region.residual > 0 else 'darker'} than expected"
        for number, region in enumerate(found, start=1)
    ]


def contradiction_sentences(analysis: Analysis, schema: EHRSchema) -> list[str]:
    """For each number whose fit to the film the score measures: whether the film looks like one of a higher or lower value."""
    by_feature: dict[str, list[float]] = {}
    for component, _, z in analysis.components:
        if component.feature and z is not None and np.isfinite(z):
            by_feature.setdefault(component.feature, []).append(z)
    sentences = []
    for name, values in by_feature.items():
        z, label = float(np.mean(values)), schema[name].label.lower()
        given = schema[name].describe(analysis.record[name])
        if abs(z) < FITS:
            sentences.append(f"The film fits a {label} of {given}: {z:+.1f} standard deviations of normal films.")
        else:
            way = "higher" if z > 0 else "lower"
            sentences.append(
                f"The film looks like one of a {way} {label} than {given}: {z:+.1f} standard deviations of normal films."
            )
    return sentences


def place_of(row: float, column: float) -> str:
    """A place in the picture in words, from shares of its height and width; not of the patient, whose right is on the picture's left (`SIDES`)."""
    vertical = ("upper", "middle", "lower")[min(2, int(3 * row))]
    horizontal = "left" if column < 0.45 else "right" if column > 0.55 else "center"
    return "middle" if (vertical, horizontal) == ("middle", "center") else f"{vertical} {horizontal}"


def heat_summary(heat: np.ndarray, threshold: float, margin: float) -> str:
    """Where and how much a signed heat map (S, S) is colored, its outer margin left out; also its alternative text."""
    side = heat.shape[0]
    cut = round(margin * side)
    size = np.abs(heat[cut : side - cut, cut : side - cut])
    share = float((size > threshold).mean())
    if share == 0:
        return f"Nowhere does the film differ from the reconstruction by more than {threshold:.1%} of its grey range."
    row, column = (int(place) + cut for place in np.unravel_index(size.argmax(), size.shape))
    place = place_of(row / side, column / side)
    sign = "brighter" if heat[row, column] > 0 else "darker"
    amount = "Less than 1%" if share < 0.01 else f"{share:.0%}"
    return (
        f"{amount} of the picture differs by more than {threshold:.1%} of the grey range. The largest difference is in the {place} "
        f"of the picture, where the film is {size.max():.1%} {sign} than the reconstruction."
    )


ANOMALY_LEGEND = (
    "The lighter the color, the more likely the place was changed, to a network that learned from normal films with lesions painted into half "
    "of them, never from disease. It judges the film, not the reconstruction beside it. At the start the threshold is the value that 95 % of the "
    "places of normal films stay under. It shows where to look, not what is there."
)


def anomaly_summary(anomaly: np.ndarray, threshold: float, margin: float) -> str:
    """Where and how much an anomaly map (S, S) of probabilities is colored, its outer margin left out; also its alternative text."""
    side = anomaly.shape[0]
    cut = round(margin * side)
    inside = anomaly[cut : side - cut, cut : side - cut]
    share = float((inside > threshold).mean())
    row, column = (int(place) + cut for place in np.unravel_index(inside.argmax(), inside.shape))
    largest = f"The largest is {inside.max():.0%}, in the {place_of(row / side, column / side)} of the picture."
    if share == 0:
        return f"Nowhere does the anomaly map exceed {threshold:.0%}. {largest}"
    amount = "Less than 1%" if share < 0.01 else f"{share:.0%}"
    return f"{amount} of the picture has more than {threshold:.0%} in the anomaly map. {largest}"


def color_names(palette: str, mode: str) -> str:
    """What the colors of a palette say, e.g. "Red: brighter than expected; blue: darker. "."""
    first, second = palette.split(" and ")
    return (
        f"{first}: brighter than expected; {second}: darker. "
        if mode == "signed"
        else "The lighter the color, the larger the difference. "
    )


def heat_legend(full: float) -> str:
    """How to read the heat map; full: the difference that has full color."""
    return (
        f"Colored where film and reconstruction differ by more than the threshold, in full color from {full:.1%} of the grey range. "
        "At the start the threshold is the value that 95 % of the picture points of normal films stay under. "
        "It shows a difference, not a diagnosis."
    )


def group_title(group: str) -> str:
    """An attention group's name as a title."""
    return group.upper() if len(group) <= 3 else group.capitalize()


def asked_of(record: Record, schema: EHRSchema) -> str:
    """The record that an explanation is of, in one sentence."""
    known = [
        f"{feature.label} {feature.describe(record[feature.name])}"
        for feature in schema.features
        if record.get(feature.name) is not None
    ]
    return f"Explained under this record: {', '.join(known) or 'nothing known'}."


def attention_caption(analysis: Analysis, schema: EHRSchema) -> str:
    """One sentence on where attention lay."""
    parts = []
    for group, weights in analysis.attention.items():
        known = {
            name: weight
            for name, weight in weights.items()
            if analysis.record.get(name) is not None and schema[name].trained
        }
        if known:
            name = max(known, key=known.get)
            parts.append(f"in the group “{group_title(group)}”, most to {schema[name].label} ({known[name]:.2f})")
        else:
            parts.append(
                f"every value of the group “{group_title(group)}” is unknown to the model, so its weights say nothing about the patient"
            )
    return f"Attention: {'; '.join(parts)}. {ATTENTION_LIMIT}"
