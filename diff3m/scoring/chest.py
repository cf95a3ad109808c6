"""The chest: the region in which a difference between a film and its normal film counts.

Markers, jewelry, chin, arms and collimation differ from what a model expects as much as disease does, and no disease of
the chest lies there. The region is the convex hull of lungs and heart, as `imaging.organs` outlines them on the normal
film (a white lung has no outline in the film itself), widened so that pleura and diaphragm are inside.
"""

from __future__ import annotations

import cv2
import numpy as np
import torch
from torch import Tensor

from ..imaging.organs import MIN_LUNG_AREA, Organs, segment_organs

WIDENING = 6 / 128  # share of the film's side by which the hull grows
EDGE = 1.5 / 128  # standard deviation of the Gaussian that softens its edge, as a share of the side


def chest_region(organs: Organs) -> np.ndarray:
    """Return the region of the chest on one film: (S, S) float32, 1 inside, 0 outside, with a soft edge.

    Where a lung is not recognized, its usual place counts as well.
    """
    side = len(organs.heart)
    region = (np.maximum(organs.lungs, organs.heart) > 0.5).astype(np.uint8)
    for lung, box in organs.boxes.items():
        if (organs.lung(lung) > 0.5).mean() < MIN_LUNG_AREA / 2:
            left, top, right, bottom = (round(share * side) for share in box)
            region[top:bottom, left:right] = 1
    cv2.fillConvexPoly(region, cv2.convexHull(cv2.findNonZero(region)), 1)
    width = 2 * round(WIDENING * side) + 1
    region = cv2.dilate(region, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (width, width)))
    return cv2.GaussianBlur(region.astype(np.float32), (0, 0), EDGE * side)


def chest_regions(films: np.ndarray) -> np.ndarray:
    """Return the region of the chest on prepared films: (N, S, S) float32. films: (N, S, S) in [0, 1]."""
    return np.stack([chest_region(Organs.from_masks(masks, films.shape[-1])) for masks in segment_organs(films)])


def within_chest(films: Tensor, reconstructions: Tensor) -> Tensor:
    """Return reconstructions inside the chest and the films themselves outside, so that nothing differs there.

    films, reconstructions: (B, 1, S, S) in [0, 1]. The chest is outlined on the reconstructions.
    """
    regions = torch.from_numpy(chest_regions(reconstructions[:, 0].float().cpu().numpy()))[:, None]
    return films + regions.to(films) * (reconstructions - films)
