"""Painted changes of size, place and air: large hearts, collapse, raised diaphragms, pneumothorax, emphysema.

Painters have the signature of `densities`: `paint(film, organs, rng) -> (painted film, mask)`.
"""

from __future__ import annotations

import numpy as np

from ...imaging.organs import Organs
from .densities import PaintedPair, draw_strength
from .shapes import (
    add_density,
    blur,
    compute_change_mask,
    compute_ellipse_radius,
    draw_irregular_patch,
    draw_step_below,
    logistic,
    make_coordinates,
    measure_lung_depth,
    warp,
)


def paint_large_heart(film: np.ndarray, organs: Organs, rng: np.random.Generator) -> PaintedPair:
    """Magnify the heart by a warp, up to one and a half times its width; the lungs beside it are compressed."""
    side = film.shape[0]
    x, y = make_coordinates(side)
    center_x, center_y, half_width, half_height = organs.heart_box()
    center_x += rng.uniform(-0.03, 0.03)
    gain = rng.uniform(0.08, 0.5)
    reach = rng.uniform(1.5, 2.1)  # where the warp ends, in half axes of the heart
    radius = compute_ellipse_radius(side, (center_x, center_y), half_width, half_height * rng.uniform(0.9, 1.3))
    fade = np.clip((reach - radius) / (reach - 0.6), 0, 1)
    shrink = 1 - gain / (1 + gain) * fade**2 * (3 - 2 * fade)
    vertical = rng.uniform(0.2, 0.7)
    result = warp(film, center_x + (x - center_x) * shrink, center_y + (y - center_y) * (1 - vertical * (1 - shrink)))
    if rng.random() < 0.4:  # a larger heart is thicker along the beam as well
        result = add_density(result, rng.uniform(0.02, 0.2) * logistic((1.05 + gain - radius) * 8), 0.8)
    return result, compute_change_mask(film, result)


def paint_shift(film: np.ndarray, organs: Organs, rng: np.random.Generator) -> PaintedPair:
    """Displace heart and mediastinum to one side.

    With collapse the diaphragm rises on that side and a zone of the lung is dense.
    """
    side = film.shape[0]
    x, y = make_coordinates(side)
    lung_side = int(rng.choice([-1, 1]))
    left, top, right, bottom = organs.chest()
    middle = (left + right) / 2
    across = np.clip(1 - np.abs(x - middle) / max((right - left) / 2, 0.1), 0, 1)
    down = logistic((y - top - 0.03) * 25)
    displacement = lung_side * rng.uniform(0.02, 0.09) * across * down
    lung_left, _, lung_right, lung_bottom = organs.boxes[lung_side]
    lung_middle, half = (lung_left + lung_right) / 2, max((lung_right - lung_left) / 2, 0.08)
    collapse = rng.random() < 0.6
    rise = rng.uniform(0.02, 0.1) if collapse else 0.0
    dome = np.exp(-(((x - lung_middle) / (1.1 * half)) ** 4)) * np.exp(-(((y - lung_bottom) / 0.16) ** 2))
    result = warp(film, x - displacement, y + rise * dome)
    if collapse:
        zone = blur(organs.lung(lung_side), 2)
        level = rng.uniform(top + 0.3 * (bottom - top), top + 0.7 * (bottom - top))
        zone = zone * (draw_step_below(side, level, 20) if rng.random() < 0.6 else 1 - draw_step_below(side, level, 20))
        result = add_density(result, draw_strength(rng, 0.1, 0.8) * zone, rng.uniform(0, 0.6), rng.uniform(0.7, 1.0))
    return result, compute_change_mask(film, result)


def paint_raised_diaphragm(film: np.ndarray, organs: Organs, rng: np.random.Generator) -> PaintedPair:
    """Raise one half of the diaphragm, without making the lung denser."""
    x, y = make_coordinates(film.shape[0])
    left, _, right, bottom = organs.boxes[int(rng.choice([-1, 1]))]
    half = max((right - left) / 2, 0.08)
    dome = np.exp(-(((x - (left + right) / 2) / (1.1 * half)) ** 4)) * np.exp(-(((y - bottom) / 0.2) ** 2))
    result = warp(film, x, y + rng.uniform(0.03, 0.14) * dome)
    return result, compute_change_mask(film, result)


def paint_pneumothorax(film: np.ndarray, organs: Organs, rng: np.random.Generator) -> PaintedPair:
    """Paint air beside a lung, from the apex down its lateral side, where it lies in an upright patient.

    The air is dark and nearly without vessels, outside a thin pleural line; the lung inside is a little denser.
    """
    side = film.shape[0]
    _, y = make_coordinates(side)
    lung_side = int(rng.choice([-1, 1]))
    lung = organs.lung(lung_side)
    _, top, _, bottom = organs.boxes[lung_side]
    gap = float(np.exp(rng.uniform(np.log(0.015), np.log(0.15))))
    reach = np.clip(1.3 - rng.uniform(0.3, 1.2) * (y - top) / max(bottom - top, 0.1), 0.02, 1.3)
    distance = blur(_measure_lateral_depth(lung, lung_side), 0.5)
    air = logistic((gap * reach - distance) * 300) * lung
    sigma = rng.uniform(1, 3)
    smooth = blur(film * lung, sigma) / np.maximum(blur(lung, sigma), 1e-3)  # of the lung alone, not the chest wall
    darker = (0.7 * smooth + 0.3 * film) * (1 - draw_strength(rng, 0.08, 0.6))
    result = film * (1 - air) + darker * air
    pleura = np.exp(-0.5 * ((distance - gap * reach) / max(0.004, 0.5 / side)) ** 2) * lung
    result = result + rng.uniform(0, 0.1) * pleura + rng.uniform(0, 0.06) * (lung - air).clip(0)
    return result, np.maximum(air, compute_change_mask(film, result))


def _measure_lateral_depth(lung: np.ndarray, lung_side: int) -> np.ndarray:
    """Measure how far each pixel of a lung (S, S) lies from its lateral and upper border, in shares of the side.

    lung_side: −1 for the lung on the left of the image, 1 for the other. What lies medial to the lung or below it
    does not count as a border. Without a lung it is 0 everywhere.
    """
    mask = lung if lung_side < 0 else lung[:, ::-1]
    inside = np.maximum.accumulate(mask > 0.5, axis=1)  # from the lateral border to the other side
    rows = np.flatnonzero(inside.any(axis=1))
    if len(rows):
        last = max(rows[0], rows[-1] - len(inside) // 16)  # the recess narrows below
        inside[last:] = inside[last]
    extension = np.pad(inside, ((0, len(inside)), (0, len(inside))), mode="edge").astype(np.float32)
    depth = measure_lung_depth(extension)[: len(inside), : len(inside)] * 2  # its side is twice as long
    return (depth if lung_side < 0 else depth[:, ::-1]).astype(np.float32)


def paint_lucency(film: np.ndarray, organs: Organs, rng: np.random.Generator) -> PaintedPair:
    """Paint too much air: a bulla or emphysema of a part of a lung, or of both lungs with a flat diaphragm."""
    side = film.shape[0]
    if rng.random() < 0.6:
        mask = draw_irregular_patch(side, organs.point_in_lungs(rng), rng.uniform(0.05, 0.2), rng)
        mask = mask * np.clip(blur(organs.lungs, 1.5) + 0.2, 0, 1)
        result = _add_air(film, mask, 0.9, 0.6, rng)
    else:
        x, y = make_coordinates(side)
        bottom = organs.chest()[3]
        mask = blur(organs.lungs, 1.5)
        flat = warp(film, x, y - rng.uniform(0.01, 0.06) * np.exp(-(((y - bottom) / 0.16) ** 2)))
        result = _add_air(flat, mask, 0.3, 0.2, rng)
    return result, np.maximum(mask, compute_change_mask(film, result))


def _add_air(
    film: np.ndarray, mask: np.ndarray, max_blur: float, max_air: float, rng: np.random.Generator
) -> np.ndarray:
    """Darken a film inside a mask, both (S, S), and blur it there, because vessels vanish with the tissue.

    max_blur, max_air: largest shares of the blur and of the darkening.
    """
    smooth = blur(film, rng.uniform(1.5, 4))
    result = film + rng.uniform(0.2, max_blur) * mask * (smooth - film)
    return result * (1 - mask * draw_strength(rng, 0.05, max_air))
