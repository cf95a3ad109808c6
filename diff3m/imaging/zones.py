"""Names of places on a frontal film in a radiologist's words: lung zones by side of the patient, heart, mediastinum.

A frontal film is seen as if the patient faced the reader, so the patient's right lung lies on the image's left.
"""

from __future__ import annotations

import cv2
import numpy as np

from .organs import Organs

HEART, MEDIASTINUM, OUTSIDE = "heart", "mediastinum", "outside the lungs"
HEIGHTS = ("upper", "mid", "lower")  # thirds of a lung from apex to base
SIDES = {-1: "right", 1: "left"}  # of the patient, by the image's side
LUNGS = tuple(f"{side} lung" for side in SIDES.values())
PART_SHARE = 0.25  # share of a place from which its part in another organ becomes a place of its own
ZONE_SHARE = 0.25  # share of a place in a lung from which a zone is part of its name
ZONES = (*(f"{side} {height} zone" for side in SIDES.values() for height in HEIGHTS), HEART, MEDIASTINUM, OUTSIDE)
# of every zone: 0 and 1 the lungs, 2 the middle, 3 outside
_ORGANS = np.array([0] * len(HEIGHTS) + [1] * len(HEIGHTS) + [2, 2, 3])


def zone_map(organs: Organs) -> np.ndarray:
    """Return the index into `ZONES` of every pixel: (S, S) uint8.

    organs: of a film on which both lungs are visible; for a film with a white lung, those of its reconstruction.
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


def split_by_organ(mask: np.ndarray, zones: np.ndarray) -> list[np.ndarray]:
    """Split a place that spans several organs: right lung, left lung, the middle (heart and mediastinum) and outside.

    mask: (S, S) bool. zones: as `zone_map` gives them. A connected part in one organ that holds at least `PART_SHARE`
    of the place becomes a place of its own; smaller parts go to the nearest of those. Returns disjoint masks that
    together are `mask`.
    """
    organs = _ORGANS[zones]
    parts = []
    for organ in np.unique(organs[mask]):
        count, labels = cv2.connectedComponents((mask & (organs == organ)).astype(np.uint8), connectivity=8)
        parts += [labels == index for index in range(1, count)]
    parts = [part for part in parts if part.sum() >= PART_SHARE * mask.sum()]
    if len(parts) < 2:
        return [mask]
    distances = [cv2.distanceTransform((~part).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE) for part in parts]
    nearest = np.argmin(distances, axis=0)
    return [mask & (nearest == index) for index in range(len(parts))]


def name_zone(mask: np.ndarray, zones: np.ndarray) -> str:
    """Name where a mask lies, e.g. "right mid zone", "right mid and lower zones", "left lung" or "heart".

    mask: (S, S) bool. zones: as `zone_map` gives them. The organ that holds most of it counts; of a lung, every zone
    with at least `ZONE_SHARE` of what lies in that lung. Raises ValueError for an empty mask.
    """
    if not mask.any():
        raise ValueError("the mask is empty, so it lies in no zone")
    counts = np.bincount(zones[mask], minlength=len(ZONES))
    organ = int(np.argmax(np.bincount(_ORGANS, counts)))
    if organ >= len(LUNGS):
        return ZONES[int(np.argmax(np.where(organ == _ORGANS, counts, 0)))]
    inside = counts[organ * len(HEIGHTS) : (organ + 1) * len(HEIGHTS)]
    heights = [height for height, count in zip(HEIGHTS, inside, strict=True) if count >= ZONE_SHARE * inside.sum()]
    if len(heights) == len(HEIGHTS):
        return LUNGS[organ]
    side = LUNGS[organ].split()[0]
    return f"{side} {' and '.join(heights)} zone{'s' if len(heights) > 1 else ''}"
