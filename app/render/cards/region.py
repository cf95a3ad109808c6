"""What the record explains of places of the film."""

from __future__ import annotations

import html
from collections.abc import Mapping

from diff3m.explain import Context, RegionAttribution

from .. import panels, wording
from .registry import card

MIN_CHANGE = 0.01  # of the grey range: a smaller change of a region is not worth a word


@card("region")
def region_card(regions: Mapping[str, RegionAttribution], context: Context) -> str:
    """Return the card of regions by name; "" is the one that was asked for, or else that of the largest difference."""
    sentences = "".join(
        f"<p>{'<b>' + html.escape(name) + '.</b> ' if name else ''}{html.escape(region_sentence(region))}</p>"
        for name, region in regions.items()
    )
    how = panels.quiet(
        "Measured on estimates of the normal film in one step, on which the record acts more than on the "
        "reconstruction shown above. The outlined regions of the heat map and the part that is magnified are "
        "explained too, where there are any."
    )
    return f'<div class="card"><h3>What the record explains of places</h3>{sentences}{how}</div>'


def region_sentence(region: RegionAttribution) -> str:
    """Say in words what the record explains of a region."""
    place = wording.place_of((region.box[0] + region.box[2]) / 2, (region.box[1] + region.box[3]) / 2)
    sign = "brighter" if region.known > 0 else "darker"
    start = (
        f"Under the record, the {place} of the picture is {abs(region.known):.1%} of the grey range {sign} than "
        f"expected; without the record the difference would be {region.unknown:+.1%}. "
    )
    change = abs(region.known) - abs(region.unknown)
    group = max(region.groups, key=lambda name: abs(region.groups[name]), default="")
    if not group or abs(region.groups[group]) < MIN_CHANGE:
        return start + f"Nothing in the record changes that by as much as {MIN_CHANGE:.0%}."
    effect = "explains part of it" if change < 0 else "makes it larger"
    effect = "leaves it as it is" if abs(change) < MIN_CHANGE else effect
    return (
        f"{start}The record as a whole {effect}; its largest single effect here is that of {group} "
        f"({region.groups[group]:+.1%})."
    )
