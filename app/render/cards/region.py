"""What the record explains of places of the film."""

from __future__ import annotations

import html
from collections.abc import Mapping

from diff3m.explain import Context, RegionAttribution
from diff3m.imaging.zones import OUTSIDE

from .. import panels, wording
from .registry import card

MIN_CHANGE = 0.01  # of the grey range: a smaller change of a region is not worth a word


@card("region", "What the record explains of places")
def region_card(regions: Mapping[str, RegionAttribution], context: Context) -> str:
    """Return the card of regions by name; "" is the largest difference, where no place was named."""
    sentences = "".join(
        f"<p>{html.escape(region_sentence(region, name))}</p>" for name, region in drop_repeated_region(regions).items()
    )
    how = panels.small_text(
        "Measured on estimates of the normal film in one step, on which the record acts more than on the normal film "
        "in the viewer, so the differences are others than those of the findings."
    )
    return f'<div class="card">{sentences}{how}</div>'


def drop_repeated_region(regions: Mapping[str, RegionAttribution]) -> dict[str, RegionAttribution]:
    """Return regions by name, without the one under "" where that is one of the others."""
    boxes = [region.box for name, region in regions.items() if name]
    return {name: region for name, region in regions.items() if name or region.box not in boxes}


def is_worth_a_word(change: float) -> bool:
    """Tell whether a change of a region is at least `MIN_CHANGE`, as it is written: in tenths of a percent."""
    return round(abs(change), 3) >= MIN_CHANGE


def region_sentence(region: RegionAttribution, name: str = "") -> str:
    """Say what the record explains of a region. name: its zone; "" for the place of the largest difference."""
    sign, verb = "brighter" if region.known > 0 else "darker", "are" if wording.is_plural(name) else "is"
    start = (
        f"With the record, {_place(name)} {verb} {wording.percent(abs(region.known))} of the grey range {sign} than "
        f"normal; without it the difference would be {wording.signed_percent(region.unknown)}. "
    )
    change = abs(region.known) - abs(region.unknown)
    group = max(region.groups, key=lambda name: abs(region.groups[name]), default="")
    if not group or not is_worth_a_word(region.groups[group]):
        return start + f"Nothing in the record changes that by as much as {wording.percent(MIN_CHANGE)}."
    effect = "explains part of it" if change < 0 else "makes it larger"
    effect = "leaves it as it is" if abs(change) < MIN_CHANGE else effect
    return (
        f"{start}The record as a whole {effect}; its largest single effect here is that of {group} "
        f"({wording.signed_percent(region.groups[group])})."
    )


def _place(name: str) -> str:
    if not name:
        return "the place that differs most"
    return f"the place {name}" if name.startswith(OUTSIDE) else name if name.startswith("your ") else f"the {name}"
