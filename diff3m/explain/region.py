"""What the record explains of a place: Shapley values of the mean residual in a region of the film."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from captum.attr import ShapleyValues
from torch import Tensor

from ..detector import Detector
from ..imaging import Radiograph
from ..scoring.filters import gaussian_blur, inner
from ..scoring.score import Scoring
from .coalitions import attributed, coalitions_of, groups_of
from .record_fit import ExplanationError, explainable_groups, one_step

REGION_LEVEL, REGION_SIDE = (
    350,
    0.16,
)  # noise level of a region's residual; side of the region that is found, as a share of the film's
Box = tuple[float, float, float, float]  # top, left, bottom, right as shares of the film's side


@dataclass(frozen=True)
class RegionAttribution:
    """What each group adds to the mean residual in a region. box: (top, left, bottom, right) as shares of the prepared film's side. groups sum to
    known − unknown, both in grey levels of the film's range: + brighter than expected under the whole record, or under none."""

    box: Box
    groups: dict[str, float]
    known: float
    unknown: float


def attribute_region(
    detector: Detector,
    radiograph: Radiograph | np.ndarray | str | os.PathLike,
    ehr: Mapping[str, object] | None,
    box: Box | None = None,
    level: int = REGION_LEVEL,
) -> RegionAttribution:
    """Attribute the mean residual in a region to the record's groups: "this bright area is explained by habitus; that one by nothing in it".

    The residual is that of one-step estimates, which inversion's hiding of the record does not touch. box: (top, left, bottom, right) as shares of
    the side; default, the square around the largest blurred residual. Raises RadiographError, EHRError or ExplanationError.
    """
    return attribute_regions(detector, radiograph, ehr, [box], level)[0]


def attribute_regions(
    detector: Detector,
    radiograph: Radiograph | np.ndarray | str | os.PathLike,
    ehr: Mapping[str, object] | None,
    boxes: Sequence[Box | None],
    level: int = REGION_LEVEL,
) -> tuple[RegionAttribution, ...]:
    """`attribute_region` of several regions (None: the hottest) for the price of one: the coalitions' estimates are shared."""
    record = detector.schema.parse(ehr or {})
    x0 = detector.prepared([detector.film(radiograph)])
    players, coalitions, records = coalitions_of(detector, record, single=False)
    residual = (x0 - one_step(detector, x0, records, level))[:, 0]
    names, found = groups_of(detector, record, players), []
    for box in boxes:
        rows, columns, shares = region_of(residual[-1], detector.scoring, box)
        values = residual[:, rows, columns].double().mean(dim=(1, 2)).cpu().tolist()
        groups = dict.fromkeys(explainable_groups(detector), 0.0)
        groups |= attributed(ShapleyValues, dict(zip(coalitions, values, strict=True)), names)
        found.append(RegionAttribution(shares, groups, values[-1], values[0]))
    return tuple(found)


def region_of(residual: Tensor, scoring: Scoring, box: Box | None) -> tuple[slice, slice, Box]:
    """Rows and columns of a region of a residual (S, S), and the box that they fill; None: around the largest blurred residual."""
    side = residual.shape[-1]
    rows, columns = _pixels(_hottest(residual, scoring) if box is None else box, side)
    return rows, columns, (rows.start / side, columns.start / side, rows.stop / side, columns.stop / side)


def _hottest(residual: Tensor, scoring: Scoring) -> Box:
    """The square of `REGION_SIDE` around the largest |blurred residual| (S, S), away from the margin."""
    side = residual.shape[-1]
    heat = inner(gaussian_blur(residual[None, None], scoring.heat_sigma * side / 128), scoring.margin)[0, 0].abs()
    cut = (side - heat.shape[-1]) // 2
    row, column = (int(place) + cut for place in np.unravel_index(int(heat.argmax()), heat.shape))
    top, left = (min(max(place / side - REGION_SIDE / 2, 0.0), 1.0 - REGION_SIDE) for place in (row, column))
    return top, left, top + REGION_SIDE, left + REGION_SIDE


def _pixels(box: Sequence[float], side: int) -> tuple[slice, slice]:
    """Rows and columns of a box in shares of the side. Raises ExplanationError for an empty one."""
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


def check_box(box: Box) -> None:
    """Raise ExplanationError for a region that is none."""
    _pixels(box, 100)
