"""Painted changes that use pixels of another film, or hide a part of the film.

Painters have the signature of `densities` with the other film as a further argument: `paint(film, organs, other, rng)
-> (painted film, mask)`.
"""

from __future__ import annotations

import cv2
import numpy as np

from ...imaging.organs import Organs
from .densities import PaintedPair
from .shapes import blur, compute_change_mask, draw_irregular_patch, draw_smooth_noise, logistic, make_coordinates


def paint_foreign_patch(film: np.ndarray, organs: Organs, other: np.ndarray, rng: np.random.Generator) -> PaintedPair:
    """Paint a patch of another film, shifted and perhaps mirrored.

    It is blended with soft edges, or by Poisson image editing (Pérez et al., SIGGRAPH 2003).
    """
    side = film.shape[0]
    center = organs.point_in_lungs(rng)
    extent = float(np.exp(rng.uniform(np.log(0.04), np.log(0.2))))
    shift = rng.uniform(-0.3, 0.3, 2) * side
    source = np.roll(other, np.round(shift).astype(int), (0, 1))
    if rng.random() < 0.5:
        source = source[:, ::-1]
    if rng.random() < 0.4:
        result = _clone_patch(film, np.ascontiguousarray(source), center, extent, rng)
    else:
        mask = draw_irregular_patch(side, center, extent, rng) * rng.uniform(0.4, 1)
        result = film * (1 - mask) + source * mask
    return result, compute_change_mask(film, result)


def _clone_patch(
    film: np.ndarray, source: np.ndarray, center: tuple[float, float], extent: float, rng: np.random.Generator
) -> np.ndarray:
    """Clone an ellipse of a source film into a film by Poisson image editing.

    Returns the film itself where the border leaves less of the ellipse than 16 pixels, or than the three rows and
    columns that the equation needs.
    """
    side = film.shape[0]
    x, y = make_coordinates(side)
    axes = extent * rng.uniform(0.7, 1.3, 2)
    inside = (((x - center[0]) / axes[0]) ** 2 + ((y - center[1]) / axes[1]) ** 2) < 1
    margin = max(2, side // 32)
    inside[:margin], inside[-margin:], inside[:, :margin], inside[:, -margin:] = False, False, False, False
    rows, columns = np.flatnonzero(inside.any(1)), np.flatnonzero(inside.any(0))
    if inside.sum() < 16 or min(len(rows), len(columns)) < 3:
        return film
    middle = (int((columns[0] + columns[-1]) // 2), int((rows[0] + rows[-1]) // 2))
    low, high = float(film.min()), float(film.max())
    scale = 255 / max(high - low, 1e-3)
    color = [
        cv2.cvtColor(np.clip((image - low) * scale, 0, 255).astype(np.uint8), cv2.COLOR_GRAY2BGR)
        for image in (source, film)
    ]
    mode = cv2.MIXED_CLONE if rng.random() < 0.4 else cv2.NORMAL_CLONE
    blend = cv2.seamlessClone(color[0], color[1], inside.astype(np.uint8) * 255, middle, mode)[..., 0]
    change = blend.astype(np.float32) - color[1][..., 0]  # keeps the film's own precision where nothing changed
    return film + change / scale


def paint_hidden(film: np.ndarray, organs: Organs, other: np.ndarray, rng: np.random.Generator) -> PaintedPair:
    """Hide a large part of the film behind an even grey or a cloud.

    What is filled in then has to come from the rest of the film and from the record.
    """
    side = film.shape[0]
    x, y = make_coordinates(side)
    angle, offset = rng.uniform(0, 2 * np.pi), rng.uniform(-0.15, 0.25)
    mask = logistic(((x - 0.5) * np.cos(angle) + (y - 0.5) * np.sin(angle) - offset) * rng.uniform(15, 200))
    if rng.random() < 0.4:
        left, top, right, bottom = organs.chest()
        mask = logistic(
            (
                0.5
                - np.maximum(
                    np.abs(x - (left + right) / 2) / (right - left), np.abs(y - (top + bottom) / 2) / (bottom - top)
                )
            )
            * 60
        )
    level = rng.uniform(0, 1)
    fill = level + rng.uniform(0, 0.15) * draw_smooth_noise(side, rng.uniform(2, 15), rng)
    if rng.random() < 0.3:
        fill = blur(other, rng.uniform(4, 12))
    result = film * (1 - mask) + np.clip(fill, 0, 1) * mask
    return result.astype(np.float32), mask
