"""Regions of a heat map: where film and reconstruction differ, as connected places with a size and a mean residual."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

SMALLEST = 0.0015  # share of the picture under which a place is not worth a name


@dataclass(frozen=True)
class Region:
    """mask: (S, S) bool. share: of the picture, 0..1. value: mean of the map inside. residual: mean of film − reconstruction inside. row, column: of
    its middle, as shares of the side."""

    mask: np.ndarray
    share: float
    value: float
    residual: float
    row: float
    column: float


def regions(heat: np.ndarray, residual: np.ndarray, threshold: float, margin: float, limit: int = 6) -> list[Region]:
    """Connected places where the signed heat map (S, S) lies beyond ±threshold, the margin (share of a side) left out.

    Places above and below are separate. The largest first (by size times the map's mean inside), at most `limit`. residual: (S, S).
    """
    side = heat.shape[0]
    cut = round(margin * side)
    inside = np.zeros(heat.shape, bool)
    inside[cut : side - cut, cut : side - cut] = True
    found = []
    for beyond in (heat > threshold, heat < -threshold):
        count, labels = cv2.connectedComponents((beyond & inside).astype(np.uint8), connectivity=8)
        for index in range(1, count):
            mask = labels == index
            if mask.mean() >= SMALLEST:
                rows, columns = np.nonzero(mask)
                place = (rows.mean() + 0.5) / side, (columns.mean() + 0.5) / side
                found.append(
                    Region(
                        mask,
                        float(mask.mean()),
                        float(heat[mask].mean()),
                        float(residual[mask].mean()),
                        *map(float, place),
                    )
                )
    return sorted(found, key=lambda region: -region.share * abs(region.value))[:limit]
