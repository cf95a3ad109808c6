"""Names of places on a frontal film, as a radiologist says them: lung zones by side of the patient, heart, mediastinum.

A frontal film is seen as if the patient faced the reader, so the patient's right lung lies on the image's left.
"""

from __future__ import annotations

import numpy as np

from .organs import Organs

HEART, MEDIASTINUM, OUTSIDE = "heart", "mediastinum", "outside the lungs"
HEIGHTS = ("upper", "mid", "lower")  # thirds of a lung from apex to base
SIDES = {-1: "right", 1: "left"}  # of the patient, by the image's side
ZONES = (*(f"{side} {height} zone" for side in SIDES.values() for height in HEIGHTS), HEART, MEDIASTINUM, OUTSIDE)


def zone_map(organs: Organs) -> np.ndarray:
    """Return the index into `ZONES` of every pixel: (S, S) uint8.

    organs: of a film on which both lungs can be seen; of a film with a white lung, take the pseudo-healthy one.
    """
    size = organs.heart.shape[0]
    y = (np.arange(size) + 0.5)[:, None] / size
    x = (np.arange(size) + 0.5)[None] / size
    zones = np.full((size, size), ZONES.index(OUTSIDE), np.uint8)
    left, top, right, bottom = organs.chest()
    medial = organs.boxes[-1][2], organs.boxes[1][0]
    between = (x > min(medial)) & (x < max(medial)) & (y > top) & (y < bottom)
    zones[between] = ZONES.index(MEDIASTINUM)
    zones[(organs.heart > 0.5) & (x > left) & (x < right)] = ZONES.index(HEART)
    for side, name in SIDES.items():
        _, lung_top, _, lung_bottom = organs.boxes[side]
        third = np.clip((y - lung_top) / max(lung_bottom - lung_top, 1e-6) * 3, 0, 2).astype(int)
        heights = np.array([ZONES.index(f"{name} {height} zone") for height in HEIGHTS], np.uint8)
        inside = (organs.lung(side) > 0.5) & (organs.heart < 0.5)
        zones[inside] = np.broadcast_to(heights[third], zones.shape)[inside]
    return zones


def name_zone(mask: np.ndarray, zones: np.ndarray) -> str:
    """Return the zone in which most of a mask lies.

    mask: (S, S) bool. zones: as `zone_map` gives them. Raises ValueError for an empty mask.
    """
    if not mask.any():
        raise ValueError("the mask is empty, so it lies in no zone")
    return ZONES[int(np.argmax(np.bincount(zones[mask], minlength=len(ZONES))))]
