"""Regions of a map: connected places beyond a threshold, with their size and values."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

MIN_SHARE = 0.0015  # share of the picture below which a place is ignored


@dataclass(frozen=True)
class Region:
    """One connected place of a map.

    mask: (S, S) bool. share: of the picture, 0 to 1. mean, largest: the mean and the value of largest size of the
    signed map inside.
    """

    mask: np.ndarray
    share: float
    mean: float
    largest: float

    @classmethod
    def of(cls, mask: np.ndarray, heat: np.ndarray) -> Region:
        """Measure a map (S, S) inside a mask (S, S) that is not empty."""
        values = heat[mask].astype(np.float64)
        return cls(mask, float(mask.mean()), float(values.mean()), float(values[np.abs(values).argmax()]))


def find_regions(heat: np.ndarray, threshold: float, margin: float) -> list[Region]:
    """Find connected places where a signed map lies beyond ±threshold.

    heat: (S, S). threshold: above 0. margin: share of every side that is left out. Places above and below are separate.
    Returns regions of at least `MIN_SHARE`, in descending order of share times |mean|.
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
            if mask.mean() >= MIN_SHARE:
                regions.append(Region.of(mask, heat))
    return sorted(regions, key=lambda region: -region.share * abs(region.mean))
