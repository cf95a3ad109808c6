"""What the record changed, in one sentence and one chart: made from the results of the registry's explanations."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from diff3m.ehr import EHRSchema, Record
from diff3m.explain import RegionAttribution

from . import figures, wording
from .cards.layout import NO_CHANGE
from .cards.region import MIN_CHANGE, drop_repeated_region, is_worth_a_word

SMALL_CHANGE = 0.01  # of the grey range: a smaller mean change of the normal film is small
AXIS = "explains it  ◂   difference, % of the grey range   ▸  makes it larger"
FRACTIONS = {
    0.1: "a tenth",
    0.2: "a fifth",
    0.25: "a quarter",
    1 / 3: "a third",
    0.5: "half",
    2 / 3: "two thirds",
    0.75: "three quarters",
    0.9: "most",
    1.0: "all",
}


@dataclass(frozen=True)
class ExplanationSummary:
    """What the record changed.

    sentence: the summary. place: which difference the chart is of, e.g. "the heart's difference". effects: what each
    known part of the record does to its size, in percent of the grey range, negative where it explains some of it;
    empty where no place was explained. is_measured: whether anything was measured that the sentence tells.
    """

    sentence: str
    place: str = ""
    effects: Mapping[str, float] | None = None
    is_measured: bool = True

    @property
    def figure(self) -> Figure | None:
        """The effects as bars; None where there are none."""
        return figures.attribution_bars(dict(self.effects), AXIS) if self.effects else None


def summarize_explanations(results: Mapping[str, Any], record: Record, schema: EHRSchema) -> ExplanationSummary:
    """Summarize what the record changed.

    results: by name of the explanation, as `explain.Context.collect_results` returns them. Used are "region", whose
    names are zones ("" for the largest difference), and "three_records" or "record_unknown"; each may be missing.
    record, schema: of the case.
    """
    change = _measure_change(results)
    regions: Mapping[str, RegionAttribution] = drop_repeated_region(results.get("region", {}))
    known = _list_known_groups(record, schema)
    if not known:
        return ExplanationSummary("The record is empty, so it changed nothing.")
    start = (
        ""
        if change is None
        else f"The record changed {_amount(change)} ({wording.percent(change)} of the grey range on average)"
    )
    effects = {
        name: {group: value for group, value in _compute_effects(region).items() if group in known}
        for name, region in regions.items()
    }
    pairs = [(abs(value), name, group) for name, values in effects.items() for group, value in values.items()]
    if not pairs:
        if start:
            return ExplanationSummary(f"{start}.")
        return ExplanationSummary("Nothing was measured of what the record changed.", is_measured=False)
    size, name, group = max(pairs, key=lambda pair: pair[0])
    place = _place(name)
    chart = {title: 100 * value for title, value in effects[name].items()}
    if not is_worth_a_word(size):
        whole = "it" if start else "the record"
        end = f"no part of {whole} changes {place} by as much as {100 * MIN_CHANGE:.0f} % of the grey range"
    else:
        end = f"knowing {_fact(group, record, schema)} {_effect(effects[name][group], regions[name], place)}"
    sentence = f"{start}: {end}." if start else f"{end[0].upper()}{end[1:]}."
    return ExplanationSummary(sentence, place, chart)


def _measure_change(results: Mapping[str, Any]) -> float | None:
    """Return the mean absolute change of the normal film without the record, in shares of the grey range."""
    for name in ("three_records", "record_unknown"):
        if name in results:
            return float(np.abs(results[name].differences[0]).mean())
    return None


def _amount(change: float) -> str:
    return "next to nothing" if change < NO_CHANGE else "little" if change < SMALL_CHANGE else "the normal film clearly"


def _list_known_groups(record: Record, schema: EHRSchema) -> set[str]:
    """Return the explanation groups of which the record holds a value that the model uses."""
    return {
        group
        for group, members in schema.explanation_groups.items()
        if any(member.trained and record.get(member.name) is not None for member in members)
    }


def _compute_effects(region: RegionAttribution) -> dict[str, float]:
    """Return what each group does to the size of a region's difference: negative where it explains some of it."""
    sign = 1.0 if region.unknown >= 0 else -1.0
    return {group: sign * value for group, value in region.groups.items()}


def _effect(value: float, region: RegionAttribution, place: str) -> str:
    """Say what one group does to the difference of a place."""
    if value > 0 or abs(region.unknown) < MIN_CHANGE:
        return (
            f"changes {place} by {wording.percent(abs(value))} of the grey range"
            if value < 0
            else f"makes {place} larger"
        )
    share = min(1.0, -value / abs(region.unknown))
    return f"explains {FRACTIONS[min(FRACTIONS, key=lambda fraction: abs(fraction - share))]} of {place}"


def _place(name: str) -> str:
    """Return a region's difference in words; a repeated zone's number, as in "heart (2)", is left out."""
    zone = re.sub(r" \(\d+\)$", "", name)
    return wording.zone_difference(zone) if zone else "the largest difference"


def _fact(group: str, record: Record, schema: EHRSchema) -> str:
    """Return what is known of a group as a clause, e.g. "that this is an AP film" or "the age of 63 years"."""
    members = schema.explanation_groups[group]
    known = [member for member in members if member.trained and record.get(member.name) is not None]
    feature = next((member for member in known if member.name == "bmi"), known[0])
    value = record[feature.name]
    if feature.name == "view":
        return f"that this is {'an' if str(value)[0] in 'AEIOU' else 'a'} {value} film"
    if feature.name == "sex":
        return f"that the patient is {feature.describe(value).lower()}"
    label = feature.label if feature.label.isupper() else feature.label.lower()
    return f"the {label} of {feature.describe(value)}"
