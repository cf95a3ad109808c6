"""Calibration: the scale of scores and percentiles from measurements of normal films."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from .filters import crop_borders
from .score import ANY_VIEW, Scoring, ViewCalibration, combine_z_scores

NORMAL_SHARE = 95  # percentile of normal pixels at which the display of heat maps starts


def calibrate_scoring(
    scoring: Scoring,
    values: Tensor,
    views: Sequence[str | None],
    heat_maps: Tensor,
    regions: Tensor | None = None,
) -> Scoring:
    """Calibrate a scoring on normal films.

    values: (N, n), the measurements of n components. views: of each film, None where unknown. heat_maps: (N, S, S), of
    the same films or of some of them. regions: (N, S, S) bool, the pixels of the maps that count, away from the margin;
    all by default. Returns the scoring with `calibration` and `heat_normal`.
    """
    pixels = crop_borders(heat_maps, scoring.margin)
    if regions is not None:
        pixels = pixels[crop_borders(regions, scoring.margin)]
    heat_normal = round(float(np.percentile(pixels.abs().numpy(), NORMAL_SHARE)), 5)
    calibration = calibrate_views(scoring, values, views)
    return replace(scoring, calibration=calibration, heat_normal=heat_normal)


def calibrate_views(
    scoring: Scoring, values: Tensor, views: Sequence[str | None]
) -> tuple[tuple[str, ViewCalibration], ...]:
    """Calibrate the score alone: for all films together ("any"), and for each view of at least two films.

    values, views: as in `calibrate_scoring`. Returns pairs of view and calibration.
    """
    groups = {ANY_VIEW: list(range(len(views)))}
    for index, view in enumerate(views):
        if view is not None:
            groups.setdefault(view, []).append(index)
    return tuple(
        (view, _calibrate_view(values[torch.tensor(rows)], scoring)) for view, rows in groups.items() if len(rows) > 1
    )


def _calibrate_view(values: Tensor, scoring: Scoring) -> ViewCalibration:
    """Calibrate on the films of one view, (N, n); NaN for what was not measured."""
    values = values.double()
    mean = values.nanmean(0).nan_to_num(nan=0.0)
    deviation = values - mean
    std = (deviation.square().nansum(0) / ((~values.isnan()).sum(0) - 1).clamp_min(1)).sqrt().clamp_min(1e-9)
    scores = combine_z_scores(deviation / std, scoring.combine)
    offset = float(scores.mean())
    sorted_scores = tuple(round(score - offset, 5) for score in sorted(scores.tolist()))
    return ViewCalibration(len(values), tuple(mean.tolist()), tuple(std.tolist()), sorted_scores, offset)
