"""Regions of a heat map: where film and reconstruction differ, as connected places with a size and a mean residual."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

MIN_SHARE = 0.0015  # share of the picture under which a place is not worth a name


@dataclass(frozen=True)
class Region:
    """One connected place.

    mask: (S, S) bool. share: of the picture, 0 to 1. value: mean of the map inside. residual: mean of film −
    reconstruction inside. row, column: of its middle, as shares of the side.
    """

    mask: np.ndarray
    share: float
    value: float
    residual: float
    row: float
    column: float


def find_regions(
    heat: np.ndarray, residual: np.ndarray, threshold: float, margin: float, limit: int = 6
) -> list[Region]:
    """Find connected places where a signed heat map lies beyond ±threshold.

    heat, residual: (S, S). margin: share of every side that is left out. limit: how many at most. Places above and
    below are separate. Returns the largest first, by size times the map's mean inside.
    """
    side = heat.shape[0]
    border = round(margin * side)
    inside = np.zeros(heat.shape, bool)
    inside[border : side - border, border : side - border] = True
    regions = []
    for beyond in (heat > threshold, heat < -threshold):
        count, labels = cv2.connectedComponents((beyond & inside).astype(np.uint8), connectivity=8)
        for index in range(1, count):
            mask = labels == index
            if mask.mean() < MIN_SHARE:
                continue
            rows, columns = np.nonzero(mask)
            regions.append(
                Region(
                    mask=mask,
                    share=float(mask.mean()),
                    value=float(heat[mask].mean()),
                    residual=float(residual[mask].mean()),
                    row=float((rows.mean() + 0.5) / side),
                    column=float((columns.mean() + 0.5) / side),
                )
            )
    return sorted(regions, key=lambda region: -region.share * abs(region.value))[:limit]
