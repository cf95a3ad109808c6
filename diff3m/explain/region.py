"""Shapley values of the mean residual in a region of the film: what the record explains of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
from torch import Tensor

from ..case import Case
from ..detector import Detector
from ..imaging.scale import scale_sigma
from ..scoring.filters import crop_borders, gaussian_blur
from ..scoring.score import Scoring
from .coalitions import compute_shapley_values, list_coalitions
from .needs import ExplanationError, Need
from .record_fit import estimate_one_step, list_explainable_groups
from .registry import Box, Context, Explanation, register
from .text import join_values

REGION_LEVEL = 350  # noise level of a region's residual
REGION_SIDE = 0.16  # side of the region around the largest residual, as a share of the film's


@dataclass(frozen=True)
class RegionAttribution:
    """What each group adds to the mean residual in a region.

    box: (top, left, bottom, right) as shares of the prepared film's side. groups: Shapley values by explanation group;
    they sum to known − unknown. known, unknown: the mean residual under the whole record and under an unknown one, in
    shares of the grey range, + brighter than expected.
    """

    box: Box
    groups: dict[str, float]
    known: float
    unknown: float


def attribute_region(
    detector: Detector, case: Case, box: Box | None = None, level: int = REGION_LEVEL
) -> RegionAttribution:
    """Attribute the mean residual in a region to the record's groups.

    The residual is that of one-step estimates, because inversion carries in the noise what the record does not
    explain. box: (top, left, bottom, right) as shares of the side; default, the square around the largest blurred
    residual. level: noise level of the estimates. Raises ExplanationError for an empty box, or where the checkpoint or
    the record does not allow it.
    """
    return attribute_regions(detector, case, [box], level)[0]


def attribute_regions(
    detector: Detector, case: Case, boxes: Sequence[Box | None], level: int = REGION_LEVEL
) -> tuple[RegionAttribution, ...]:
    """Attribute the mean residuals in several regions at the cost of one, because they share the estimates.

    boxes, level: as in `attribute_region`. Returns one attribution for each box, in their order. Raises
    ExplanationError.
    """
    coalitions, x0 = list_coalitions(detector, case.record, single=False), detector.inputs([case])
    residual = (x0 - estimate_one_step(detector, x0, coalitions.records, level))[:, 0]
    results = []
    for box in boxes:
        rows, columns, shares = locate_region(residual[-1], detector.scoring, box)
        values = residual[:, rows, columns].double().mean(dim=(1, 2)).cpu().tolist()
        groups = dict.fromkeys(list_explainable_groups(detector), 0.0)
        groups |= compute_shapley_values(dict(zip(coalitions.members, values, strict=True)), coalitions.groups)
        results.append(RegionAttribution(shares, groups, values[-1], values[0]))
    return tuple(results)


def locate_region(residual: Tensor, scoring: Scoring, box: Box | None) -> tuple[slice, slice, Box]:
    """Return rows and columns of a region of a residual (S, S), and the box that they fill.

    box: see `attribute_region`. Raises ExplanationError for an empty one.
    """
    side = residual.shape[-1]
    rows, columns = _to_pixels(_find_largest_residual(residual, scoring) if box is None else box, side)
    return rows, columns, (rows.start / side, columns.start / side, rows.stop / side, columns.stop / side)


def _find_largest_residual(residual: Tensor, scoring: Scoring) -> Box:
    """Return the square of `REGION_SIDE` around the largest |blurred residual| (S, S), away from the margin."""
    side = residual.shape[-1]
    heat = crop_borders(gaussian_blur(residual[None, None], scale_sigma(scoring.heat_sigma, side)), scoring.margin)[
        0, 0
    ].abs()
    margin = (side - heat.shape[-1]) // 2
    row, column = (int(place) + margin for place in np.unravel_index(int(heat.argmax()), heat.shape))
    top, left = (min(max(place / side - REGION_SIDE / 2, 0.0), 1.0 - REGION_SIDE) for place in (row, column))
    return top, left, top + REGION_SIDE, left + REGION_SIDE


def _to_pixels(box: Sequence[float], side: int) -> tuple[slice, slice]:
    """Return rows and columns of a box in shares of the side. Raises ExplanationError for an empty one."""
    if not np.isfinite(box).all():
        raise ExplanationError(
            "The region must be four numbers: top, left, bottom and right as shares of the film, 0 to 1."
        )
    top, left, bottom, right = (round(min(max(share, 0.0), 1.0) * side) for share in box)
    if bottom <= top or right <= left:
        raise ExplanationError(
            "The region is empty: give top, left, bottom and right as shares of the film, 0 to 1, each pair rising."
        )
    return slice(top, bottom), slice(left, right)


def _explain(context: Context) -> dict[str, RegionAttribution]:
    """Attribute the region that differs most, or the request's box, under the name "", and the request's regions."""
    names, boxes = zip(("", context.request.box), *context.request.regions, strict=True)
    return dict(zip(names, attribute_regions(context.detector, context.case, boxes), strict=True))


def _validate(context: Context) -> None:
    boxes = [box for _, box in context.request.regions]
    for box in boxes if context.request.box is None else [context.request.box, *boxes]:
        _to_pixels(box, context.detector.config.preprocessing.size)


def _to_dict(regions: dict[str, RegionAttribution]) -> list[dict]:
    return [{"name": name, **asdict(region)} for name, region in regions.items()]


def _describe(regions: dict[str, RegionAttribution]) -> list[str]:
    lines = []
    for name, region in regions.items():
        top, left, bottom, right = region.box
        lines += [
            f"{name or 'region'} from {top:.0%} to {bottom:.0%} of the height, {left:.0%} to {right:.0%} of the width:",
            f"  mean residual {region.known:+.1%} of the grey range, {region.unknown:+.1%} without the record; "
            f"added by {join_values(region.groups, '+.1%')}",
        ]
    return lines


register(
    Explanation(
        name="region",
        title="Places of the film",
        progress="Measuring what it explains of single places …",
        order=50,
        cost="low",
        explain=_explain,
        to_dict=_to_dict,
        describe=_describe,
        needs=(Need.UNKNOWN_TOKENS,),
        validate=_validate,
    )
)
