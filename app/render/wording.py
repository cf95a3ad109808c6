"""Results in words: what page, report and table say, made from the numbers alone.

One word for each thing, everywhere that a reader sees:
    film            what was loaded
    normal film     what would be normal for this record (also "pseudo-healthy", on files)
    difference      film − normal film, brighter or darker, in percent of the grey range
    map             the difference over the film
    finding         a connected place that differs by more than the threshold; its place is a zone (`imaging.zones`)
    main finding    the first finding: the one of the largest weight inside the chest
    stands out      a finding that is larger than those of nearly all normal films (`diff3m.findings`)
    score           how unusual the film is as a whole: 0 for an average normal film
    percentile      the share of normal films with a lower score, always with one decimal, rounded down;
                    no film is at 100.0: of one above all of 273 normal films it is "> 99.6"
    record          what is known of the patient
    model           what learned from normal films
    measurement     what the reader measured on the film
Words of the method (checkpoint, residual, reconstruction, misfit, bits, z-score) stay under Numbers and in files.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from diff3m.analysis import Analysis, format_percentile, is_above_all, supported_percentile
from diff3m.ehr import VIEW_LABELS, EHRSchema, Record
from diff3m.explain import WithoutRecord
from diff3m.findings import Finding
from diff3m.imaging.zones import OUTSIDE
from diff3m.scoring.score import UNUSUAL, Component, Scoring

FITS = 1.645  # standard deviations: nine normal films in ten lie within
ATTENTION_LIMIT = (
    "Attention says where the model looked in the record, not what changed the result: it does not know the score."
)
NO_SCORE = "This model gives no score: it was not compared with normal films."
PSEUDO_HEALTHY = (
    "The normal film is the model's guess at what would be normal for this record, not a picture of the patient."
)
PARTS = {  # of a score, see `Component.part`
    "residual": "how far the film lies from its normal film",
    "record": "how far the film contradicts what the record says",
}
SIMULATED = {  # what a model learned from, where its name does not say it to a reader
    "phantoms": "simulated patients"
}
MODEL_NOTES = {  # what a reader of the record should know of a model
    "real-films": "None of these changed how well the shipped model detects disease.",
    "phantoms": "It is for teaching: to it every real film is unusual.",
}
ABBREVIATIONS = ("bmi", "ehr")  # groups of a record whose names are in capitals
NUMBER_WORDS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


def model_title(name: str) -> str:
    """Return a model's name as a person reads it, e.g. "Real films"."""
    return SIMULATED.get(name, name.replace("-", " ")).capitalize()


def model_sentence(name: str, schema: EHRSchema) -> str:
    """Say what a model learned from, and what it knows of a patient."""
    known = [
        feature.label if feature.label.isupper() else feature.label.lower()
        for feature in schema.features
        if feature.trained
    ]
    sentence = (
        f"This model learned what is normal from {model_title(name).lower()}, and knows "
        f"{join_words(known) or 'nothing'} of a patient."
    )
    return f"{sentence} {MODEL_NOTES.get(name, '')}".rstrip()


def verdict_words(percentile: float) -> str:
    """Return a few words for a percentile among normal films."""
    if percentile >= 99:
        return "Very unusual as a whole"
    if percentile >= UNUSUAL:
        return "Unusual as a whole"
    if percentile >= 80:
        return "In the upper range of normal films as a whole"
    return "Ordinary as a whole"


def verdict_sentence(analysis: Analysis, findings: Sequence[Finding], schema: EHRSchema) -> str:
    """Join score, record and findings into one sentence.

    For instance "Ordinary as a whole, but one place stands out: right lower zone."
    """
    places = _places_that_stand_out(findings)
    if analysis.percentile is None:
        return f"{NO_SCORE[:-1]}; {places}."
    percentile = supported_percentile(analysis.percentile, analysis.normals)
    start, usual = verdict_words(percentile), percentile < UNUSUAL
    unfit = [text for text, z in _fits(analysis, schema) if abs(z) >= FITS]
    if unfit:
        return f"{start}; {join_words(unfit)}, and {places}."
    if usual and any(finding.stands_out for finding in findings):
        return f"{start}, but {places}."
    return f"{start}{', and' if usual else ';'} {places}."


def _places_that_stand_out(findings: Sequence[Finding]) -> str:
    """Say which places stand out, e.g. "two places stand out: right lower zone and heart".

    Where none does although the map is colored, say why: normal films have such places too.
    """
    zones = list(dict.fromkeys(finding.zone for finding in findings if finding.stands_out))
    if not zones:
        has_color = any(finding.zone != OUTSIDE for finding in findings)
        return "no place differs more than normal films do" if has_color else "no place stands out"
    is_clear = len(zones) == 1 or not any(" and " in zone for zone in zones)
    names = join_words(zones) if is_clear else "; ".join(zones)
    return f"{count_words(len(zones), 'place')} stand{'s' if len(zones) == 1 else ''} out: {names}"


def standing_out(scoring: Scoring) -> str:
    """Say from which difference on the map is colored, and from which on a place stands out."""
    return (
        f"The map is colored from a difference of {percent(scoring.heat_normal)} of the grey range on; a place stands "
        f"out (bold) from {percent(scoring.place_normal)} on, which one normal film in twenty reaches."
    )


def finding_sentence(finding: Finding) -> str:
    """Say where a finding lies and how far it differs, in one line."""
    return (
        f"{finding.zone[0].upper()}{finding.zone[1:]}: {percent(abs(finding.largest))} {_direction(finding)} than "
        f"normal at most, {percent(abs(finding.mean))} on average"
    )


def findings_summary(findings: Sequence[Finding], threshold: float) -> str:
    """Say where the main finding lies and how far it differs, in one sentence; also a map's alternative text."""
    if not findings:
        return f"Nowhere does the film differ from its normal film by more than {percent(threshold)} of the grey range."
    first = findings[0]
    return (
        f"The main finding is {in_zone(first.zone)}: up to {percent(abs(first.largest))} of the grey range "
        f"{_direction(first)} than normal."
    )


def _direction(finding: Finding) -> str:
    return "brighter" if finding.largest > 0 else "darker"


def percent(share: float) -> str:
    """Return a share as text with one decimal, e.g. "9.7 %"."""
    return f"{100 * share:.1f} %"


def signed_percent(share: float) -> str:
    """Return a share with its sign, e.g. "+9.7 %"; the value of a finding's chip."""
    return f"{signed(100 * share)} %"


def signed(value: float, digits: int = 1) -> str:
    """Return a number with its sign, e.g. "−0.2"; one that rounds to nothing has none: "0.0"."""
    text = f"{value:+.{digits}f}".replace("-", "−")
    return text if text.strip("+−0.") else text[1:]


def in_zone(zone: str) -> str:
    """Return a zone with its preposition, e.g. "in the right lower zone"."""
    return zone if zone == OUTSIDE else f"in the {zone}"


def zone_difference(zone: str) -> str:
    """Return what differs in a zone, e.g. "the heart's difference", "the difference outside the lungs"."""
    if zone == OUTSIDE:
        return f"the difference {zone}"
    return f"the {zone}'{'' if is_plural(zone) else 's'} difference"


def is_plural(zone: str) -> bool:
    """Tell whether a zone's name is a plural, such as "left mid and lower zones"."""
    return zone.endswith("zones")


def comparison_phrase(analysis: Analysis) -> str:
    """Return what follows a percentile, e.g. " among 193 normal PA films" or ", above all 193 normal PA films"."""
    return f"{', above all' if is_above_all(analysis.percentile) else ' among'} {compared_with(analysis)}"


def compared_with(analysis: Analysis) -> str:
    """Return the films that the score was placed among, e.g. "193 normal PA films"."""
    view = f"{analysis.compared_with} " if analysis.compared_with in VIEW_LABELS else ""
    return f"{analysis.normals} normal {view}film{'' if analysis.normals == 1 else 's'}"


def score_sentence(analysis: Analysis) -> str:
    """Give percentile and score in one sentence."""
    if analysis.score is None or analysis.percentile is None:
        return NO_SCORE
    return (
        f"Percentile {format_percentile(analysis.percentile, analysis.normals)}{comparison_phrase(analysis)} "
        f"(score {analysis.score:+.2f}; 0 is an average normal film)."
    )


def without_record_sentence(analysis: Analysis, other: WithoutRecord) -> str:
    """Say what the record changed in an analysis: `other` is what it would have been without one."""
    change = f"the normal film changes by {percent(other.change)} of the grey range"
    if other.percentile is None or analysis.percentile is None:
        return f"Without the record {change}."
    becomes, before = (format_percentile(value, analysis.normals) for value in (other.percentile, analysis.percentile))
    becomes = f"{'stays' if becomes == before else 'becomes'} {becomes}"
    return f"Without the record {change}, and the percentile {becomes}."


def limit_sentences(analysis: Analysis) -> list[str]:
    """Return what a reader must know before believing the result, in two lines or three."""
    lines = [
        f"One normal film in twenty lies above percentile {UNUSUAL}, and small or subtle findings can lie below it.",
        "A finding is a difference from the normal film, and about one normal film in twenty has one that stands out. "
        "It does not say what it is, nor that there is disease.",
    ]
    if analysis.score is not None and analysis.compared_with not in VIEW_LABELS:
        unknown = analysis.record.get("view") is None
        why = "the view is unknown" if unknown else "there are too few normal films of this view"
        lines.append(f"AP and PA films are mixed in the comparison: {why}.")
    return lines if analysis.score is not None else lines[1:]


def score_meaning(scoring: Scoring) -> str:
    """Say what a score is made of, for the Numbers."""
    present = {component.part for component in scoring.components}
    parts = [text for part, text in PARTS.items() if part in present]
    if len(parts) < 2:
        return f"The score says {''.join(parts)}."
    if scoring.combine == "max":
        return f"The score says which is most unusual, and by how much: {', or '.join(parts)}."
    return f"The score is the mean of several measurements, which say {', and '.join(parts)}."


def score_parts(analysis: Analysis, schema: EHRSchema) -> list[tuple[str, float]]:
    """Return what the score is made of as (name, mean z-score among normal films), for the Numbers."""
    values: dict[str, list[float]] = {}
    for component, _, z in analysis.components:
        if z is not None and np.isfinite(z):
            values.setdefault(_part_name(component, schema), []).append(z)
    return [(name, float(np.mean(entries))) for name, entries in values.items()]


def _part_name(component: Component, schema: EHRSchema) -> str:
    if component.part == "record":
        return f"Fit of {schema[component.feature].label}"
    detail = "fine detail" if component.level <= 50 else "middle sizes" if component.level <= 150 else "large shapes"
    return f"Difference from noise level {component.level} ({detail})"


def contradiction_sentences(analysis: Analysis, schema: EHRSchema) -> list[str]:
    """Say for each number whose fit the score measures whether the film looks like one of a higher or lower value."""
    return [
        f"{text[0].upper()}{text[1:]} ({z:+.1f} standard deviations of normal films)."
        for text, z in _fits(analysis, schema)
    ]


def _fits(analysis: Analysis, schema: EHRSchema) -> list[tuple[str, float]]:
    """Return, for each number whose fit the score measures, how the film fits it in words, and the z-score."""
    by_feature: dict[str, list[float]] = {}
    for component, _, z in analysis.components:
        if component.feature and z is not None and np.isfinite(z):
            by_feature.setdefault(component.feature, []).append(z)
    fits = []
    for name, values in by_feature.items():
        z, label = float(np.mean(values)), schema[name].label
        label = label if label.isupper() else label.lower()
        value = schema[name].describe(analysis.record[name])
        if abs(z) < FITS:
            fits.append((f"the film fits a {label} of {value}", z))
        else:
            fits.append((f"the film looks like one of a {'higher' if z > 0 else 'lower'} {label} than {value}", z))
    return fits


def normal_film_title(record: Record) -> str:
    """Return what stands over the normal film of an analysis under a record."""
    is_known = any(value is not None for value in record.values())
    return "Normal for this record" if is_known else "Normal, record unknown"


def record_rows(record: Record, schema: EHRSchema) -> list[tuple[str, str]]:
    """Return the record as (label, value), without the values that the model does not use."""
    return [
        (feature.label, feature.describe(record.get(feature.name))) for feature in schema.features if feature.trained
    ]


def explained_record(record: Record, schema: EHRSchema) -> str:
    """Name the record that an explanation is of, in one sentence."""
    known = [
        f"{feature.label} {feature.describe(record[feature.name])}"
        for feature in schema.features
        if feature.trained and record.get(feature.name) is not None
    ]
    return f"Explained for this record: {', '.join(known) or 'nothing known'}."


def group_title(group: str) -> str:
    """Return an attention group's name as a title."""
    return group.upper() if group in ABBREVIATIONS else group.capitalize()


def attention_caption(analysis: Analysis, schema: EHRSchema) -> str:
    """Say in one sentence where attention lay; groups of which the model knows nothing are left out."""
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
    if not parts:
        return "Attention says nothing here: the model knows nothing of this patient."
    return f"Attention: {'; '.join(parts)}. {ATTENTION_LIMIT}"


def cohort_sentence(count: int, films: int, unusual: int) -> str:
    """Say how many films were scored and how many of them are unusual."""
    start = f"{count} of {films} film{'' if films == 1 else 's'} {'was' if films == 1 else 'were'} scored"
    return f"{start}; {unusual} {'lies' if unusual == 1 else 'lie'} above percentile {UNUSUAL} of normal films."


def count_words(number: int, noun: str) -> str:
    """Return a number with its noun, in words up to nine, e.g. "two places"."""
    word = NUMBER_WORDS[number] if number < len(NUMBER_WORDS) else str(number)
    return f"{word} {noun}{'' if number == 1 else 's'}"


def join_words(items: Sequence[str]) -> str:
    """Return a list in words: "a, b and c"."""
    return f"{', '.join(items[:-1])} and {items[-1]}" if len(items) > 1 else "".join(items)
