"""Painted lesions that add tissue or fluid: consolidation, ground glass, nodules, interstitial lines, hila, effusions.

Every painter has the signature `paint(film, organs, rng) -> (painted film, mask)`. Film and mask are (S, S) float32;
the mask is where and how strongly tissue was added, in [0, 1].
"""

from __future__ import annotations

import numpy as np

from ...imaging.organs import Organs
from .shapes import (
    add_density,
    blur,
    compute_ellipse_radius,
    draw_curve,
    draw_irregular_patch,
    draw_lines,
    draw_polygon,
    draw_smooth_noise,
    draw_step_below,
    logistic,
    make_coordinates,
    measure_lung_depth,
)

PaintedPair = tuple[np.ndarray, np.ndarray]


def draw_strength(rng: np.random.Generator, low: float = 0.06, high: float = 0.9) -> float:
    """Draw the strength of a lesion, log-uniform from `low` to `high`, so that faint lesions are common."""
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def paint_consolidation(film: np.ndarray, organs: Organs, rng: np.random.Generator) -> PaintedPair:
    """Paint one to four patchy opacities in the lungs.

    Some have an air bronchogram. One that touches heart or diaphragm hides their border (silhouette sign).
    """
    side = film.shape[0]
    mask = np.zeros_like(film)
    for _ in range(int(rng.choice([1, 1, 1, 2, 3, 4]))):
        extent = float(np.exp(rng.uniform(np.log(0.03), np.log(0.2))))
        mask = np.maximum(mask, draw_irregular_patch(side, organs.point_in_lungs(rng), extent, rng))
    if rng.random() < 0.7:  # alveoli fill within the lung; without the limit the opacity lies over the chest wall too
        mask = mask * np.clip(blur(organs.lungs, rng.uniform(0.5, 2.5)) * 1.3, 0, 1)
    texture = np.clip(1 + rng.uniform(0.03, 0.4) * draw_smooth_noise(side, rng.uniform(1, 6), rng), 0.2, 1.8)
    if rng.random() < 0.3:
        texture = texture * (1 - rng.uniform(0.4, 0.9) * _draw_bronchi(organs, side, rng))
    density = np.clip(draw_strength(rng) * mask * texture, 0, 1)
    return add_density(film, density, rng.uniform(0, 1), rng.uniform(0.7, 1.0)), mask


def _draw_bronchi(organs: Organs, side: int, rng: np.random.Generator) -> np.ndarray:
    """Draw branching air-filled bronchi from the hila: (S, S) in [0, 1]."""
    paths = []
    for lung_side in (-1, 1):
        left, top, right, bottom = organs.boxes[lung_side]
        hilum = np.array([right - 0.02 if lung_side < 0 else left + 0.02, top + 0.45 * (bottom - top)])
        for _ in range(4):
            end = np.array([rng.uniform(left, right), rng.uniform(top, bottom)])
            path = draw_curve(hilum, end, 0.02, rng)
            paths += [
                path,
                draw_curve(path[8], path[8] + (end - hilum) * 0.4 + rng.normal(scale=0.04, size=2), 0.01, rng),
            ]
    return draw_lines(side, paths, rng.uniform(0.006, 0.014), 0.5)


def paint_ground_glass(film: np.ndarray, organs: Organs, rng: np.random.Generator) -> PaintedPair:
    """Paint a faint, even haze over one or both lungs or a part of them; ribs and vessels stay visible."""
    side = film.shape[0]
    mask = _draw_lung_region(organs, side, rng)
    cloud = np.clip(1 + rng.uniform(0.1, 0.5) * draw_smooth_noise(side, rng.uniform(4, 12), rng), 0.1, 1.9)
    return add_density(
        film, draw_strength(rng, 0.05, 0.5) * mask * cloud, rng.uniform(0.5, 1), rng.uniform(0.6, 0.9)
    ), mask


def _draw_lung_region(organs: Organs, side: int, rng: np.random.Generator) -> np.ndarray:
    """Choose both lungs, one of them, or a zone, with a soft border: (S, S) in [0, 1]."""
    x, y = make_coordinates(side)
    mask = organs.lungs if rng.random() < 0.5 else organs.lung(int(rng.choice([-1, 1])))
    mask = blur(mask, rng.uniform(0.8, 3))
    _, top, _, bottom = organs.chest()
    choice = rng.random()
    if choice < 0.3:  # lower or upper zones
        mask = mask * draw_step_below(
            side, rng.uniform(top + 0.25 * (bottom - top), top + 0.7 * (bottom - top)), rng.uniform(8, 40)
        )
    elif choice < 0.42:
        mask = mask * (
            1
            - draw_step_below(
                side, rng.uniform(top + 0.3 * (bottom - top), top + 0.6 * (bottom - top)), rng.uniform(8, 40)
            )
        )
    elif choice < 0.62:  # around the hila, as in edema
        middle = (top + 0.5 * (bottom - top)) + rng.uniform(-0.05, 0.05)
        mask = mask * np.exp(
            -0.5 * (((x - 0.5) / rng.uniform(0.12, 0.22)) ** 2 + ((y - middle) / rng.uniform(0.12, 0.25)) ** 2)
        )
    return mask


def paint_white_lung(film: np.ndarray, organs: Organs, rng: np.random.Generator) -> PaintedPair:
    """Paint one lung, or nearly all of it, without air: fluid or consolidation from apex to base."""
    side = film.shape[0]
    lung_side = int(rng.choice([-1, 1]))
    left, top, right, bottom = organs.boxes[lung_side]
    mask = np.clip(blur(organs.lung(lung_side), rng.uniform(1.0, 3.0)) * rng.uniform(1.0, 1.6), 0, 1)
    if rng.random() < 0.5:
        mask = mask * draw_step_below(side, top + rng.uniform(-0.1, 0.45) * (bottom - top), rng.uniform(8, 40))
    if rng.random() < 0.5:  # the lung's outer border disappears too
        outer = draw_polygon(
            side,
            np.array(
                [[left - 0.03, top], [right + 0.03, top], [right + 0.03, bottom + 0.08], [left - 0.03, bottom + 0.08]]
            ),
            3,
        )
        mask = np.maximum(
            mask, outer * draw_step_below(side, top + rng.uniform(0.0, 0.5) * (bottom - top), rng.uniform(10, 40))
        )
    cloud = np.clip(1 + 0.2 * draw_smooth_noise(side, 9, rng), 0.4, 1.5)
    return add_density(
        film, np.clip(rng.uniform(0.4, 1.0) * mask * cloud, 0, 1), rng.uniform(0, 0.5), rng.uniform(0.75, 1.0)
    ), mask


def paint_nodules(film: np.ndarray, organs: Organs, rng: np.random.Generator) -> PaintedPair:
    """Paint one to six round densities of 5 mm to 5 cm in diameter (a film is about 40 cm wide)."""
    side = film.shape[0]
    mask = np.zeros_like(film)
    for _ in range(int(rng.choice([1, 1, 1, 2, 3, 6]))):
        radius = float(np.exp(rng.uniform(np.log(0.00625), np.log(0.0625))))
        distance = compute_ellipse_radius(
            side, organs.point_in_lungs(rng), radius, radius * rng.uniform(0.8, 1.2), rng.uniform(0, np.pi)
        )
        if rng.random() < 0.4:  # lobulated or spiculated outline
            distance = distance * (1 + rng.uniform(0.05, 0.25) * draw_smooth_noise(side, max(radius * 50, 0.8), rng))
        profile = np.sqrt(np.clip(1 - distance**2, 0, None)) ** rng.uniform(0.4, 1)
        if rng.random() < 0.1:  # a cavity
            profile = profile * np.clip(distance / rng.uniform(0.5, 0.8), 0.3, 1)
        mask = np.maximum(mask, profile)
    mask = blur(mask, rng.uniform(0.2, 0.9))
    return add_density(film, draw_strength(rng, 0.12, 0.9) * mask, rng.uniform(0.3, 1), rng.uniform(0.75, 1.0)), mask


def paint_interstitium(film: np.ndarray, organs: Organs, rng: np.random.Generator) -> PaintedPair:
    """Paint interstitial disease: a net of fine lines, small dots, or coarse grain in the lungs or a part of them."""
    side = film.shape[0]
    region = _draw_lung_region(organs, side, rng)
    choice = rng.random()
    if choice < 0.4:
        pattern = _draw_network(organs, side, rng)
    elif choice < 0.7:
        pattern = np.zeros_like(film)
        count = int(rng.integers(60, 400))
        columns, rows = (rng.random((2, count)) * side).astype(int)
        pattern[rows, columns] = rng.uniform(0.5, 1, count)
        pattern = blur(pattern, rng.uniform(0.5, 1.2))
        pattern = pattern / max(float(np.quantile(pattern, 0.995)), 1e-6)
    else:
        pattern = 0.5 + 0.5 * np.clip(draw_smooth_noise(side, rng.uniform(0.8, 2.5), rng), -2, 2)
    size = draw_strength(rng, 0.02, 0.2)
    result = film + size * region * np.clip(pattern, -1, 1.5) + region * rng.uniform(0, 0.5) * size
    return result, region


def _draw_network(organs: Organs, side: int, rng: np.random.Generator) -> np.ndarray:
    """Draw fine, short, irregular lines that cross: (S, S) in [0, 1]."""
    paths = []
    for _ in range(int(rng.integers(80, 260))):
        start = np.array(organs.point_in_lungs(rng))
        angle, length = rng.uniform(0, 2 * np.pi), rng.uniform(0.02, 0.08)
        paths.append(draw_curve(start, start + length * np.array([np.cos(angle), np.sin(angle)]), 0.006, rng, 6))
    return draw_lines(side, paths, rng.uniform(0.003, 0.008), 0.3)


def paint_atelectasis(film: np.ndarray, organs: Organs, rng: np.random.Generator) -> PaintedPair:
    """Paint one to three plates of lung without air in the lower lungs, or a collapsed lower lobe beside the spine."""
    side = film.shape[0]
    mask = np.zeros_like(film)
    for _ in range(int(rng.choice([1, 1, 2, 3]))):
        lung_side = int(rng.choice([-1, 1]))
        if rng.random() < 0.3:
            mask = np.maximum(mask, _draw_lower_lobe(organs, side, lung_side, rng))
            continue
        left, top, right, bottom = organs.boxes[lung_side]
        center = np.array([rng.uniform(left, right), top + rng.uniform(0.4, 1.0) * (bottom - top)])
        angle, half = rng.normal(scale=0.5), rng.uniform(0.015, 0.11)
        direction = half * np.array([np.cos(angle), np.sin(angle)])
        path = draw_curve(center - direction, center + direction, 0.008, rng)
        width = float(np.exp(rng.uniform(np.log(0.005), np.log(0.03))))
        plate = draw_lines(side, [path], width, rng.uniform(0.4, 1.5))
        plate = plate / max(float(plate.max()), 1e-6)
        mask = np.maximum(mask, plate * np.clip(1.3 * blur(organs.lungs, 1), 0, 1))
    return add_density(film, draw_strength(rng, 0.08, 0.8) * mask, rng.uniform(0.2, 1), rng.uniform(0.75, 1.0)), mask


def _draw_lower_lobe(organs: Organs, side: int, lung_side: int, rng: np.random.Generator) -> np.ndarray:
    """Draw a triangle from the hilum to the diaphragm along the spine: (S, S) in [0, 1]."""
    left, top, right, bottom = organs.boxes[lung_side]
    medial, lateral = (right, left) if lung_side < 0 else (left, right)
    base = bottom + rng.uniform(-0.03, 0.02)
    corners = [
        [medial, top + rng.uniform(0.4, 0.65) * (bottom - top)],
        [medial + rng.uniform(0.15, 0.75) * (lateral - medial), base],
        [medial - rng.uniform(0.0, 0.1) * (lateral - medial), base],
    ]
    return draw_polygon(side, np.array(corners), rng.uniform(0.8, 3))


def paint_hila(film: np.ndarray, organs: Organs, rng: np.random.Generator) -> PaintedPair:
    """Paint one or both hila enlarged by lobulated densities, or the upper mediastinum widened."""
    side = film.shape[0]
    mask = np.zeros_like(film)
    if rng.random() < 0.3:
        left, top, right, _ = organs.chest()
        width = rng.uniform(0.03, 0.09)
        middle = (left + right) / 2 + rng.uniform(-0.04, 0.04)
        mask = logistic(
            (1 - compute_ellipse_radius(side, (middle, top + 0.14), 0.06 + width, 0.14)) * rng.uniform(4, 12)
        )
    for lung_side in (-1, 1):
        if mask.any() or (rng.random() < 0.35 and lung_side < 0):
            continue
        left, top, right, bottom = organs.boxes[lung_side]
        x = right - 0.015 if lung_side < 0 else left + 0.015
        y = top + rng.uniform(0.38, 0.55) * (bottom - top)
        for _ in range(int(rng.integers(1, 4))):
            center = (x + rng.normal(scale=0.02), y + rng.normal(scale=0.035))
            mask = np.maximum(mask, draw_irregular_patch(side, center, rng.uniform(0.02, 0.06), rng))
    return add_density(film, draw_strength(rng, 0.1, 0.8) * mask, rng.uniform(0.2, 0.9), rng.uniform(0.75, 1.0)), mask


def paint_effusion(film: np.ndarray, organs: Organs, rng: np.random.Generator) -> PaintedPair:
    """Paint fluid on one or both sides.

    It has a meniscus that climbs toward the chest wall, or is a layer behind the lung of a lying patient; little of it
    only blunts the angle.
    """
    both = rng.random() < 0.25
    sides = (-1, 1) if both else (int(rng.choice([-1, 1])),)
    masks = [_draw_fluid(film, organs, lung_side, rng) for lung_side in sides]
    mask = np.maximum.reduce(masks)
    return add_density(
        film, np.clip(draw_strength(rng, 0.15, 1.0) * mask, 0, 1), rng.uniform(0, 0.6), rng.uniform(0.7, 1.0)
    ), mask


def _draw_fluid(film: np.ndarray, organs: Organs, lung_side: int, rng: np.random.Generator) -> np.ndarray:
    """Return the density of fluid on one side: (S, S) in [0, 1]. lung_side: −1 the image's left, 1 its right."""
    side = film.shape[0]
    x, y = make_coordinates(side)
    left, top, right, bottom = organs.boxes[lung_side]
    width, height = right - left, bottom - top
    outward = np.clip((x - left) / width if lung_side > 0 else (right - x) / width, -0.2, 1.15)
    if rng.random() < 0.3:  # layered behind the lung: denser toward the base, without a surface
        lung = blur(organs.lung(lung_side), 2)
        return lung * np.clip((y - top) / height * rng.uniform(0.7, 1.4), 0, 1) ** rng.uniform(0.5, 2)
    depth = float(np.exp(rng.uniform(np.log(0.05), np.log(0.7))))
    surface = (
        bottom
        + 0.02
        - depth * height * (rng.uniform(0.4, 0.8) + rng.uniform(0.3, 0.8) * outward.clip(0) ** rng.uniform(2, 4))
    )
    fluid = logistic((y - surface) * rng.uniform(25, 120))
    inside = logistic((outward + rng.uniform(-0.05, 0.05)) * 40) * logistic((1.06 - outward) * 60)
    floor = np.exp(-((np.clip(y - bottom - rng.uniform(0, 0.08), 0, None) / 0.06) ** 2))
    return fluid * inside * floor


def paint_pleura(film: np.ndarray, organs: Organs, rng: np.random.Generator) -> PaintedPair:
    """Paint thickened pleura along the chest wall, or a loculated, lens-shaped collection at it."""
    side = film.shape[0]
    lung_side = int(rng.choice([-1, 1]))
    left, top, right, bottom = organs.boxes[lung_side]
    x, _ = make_coordinates(side)
    wall = left if lung_side < 0 else right
    center = (wall, rng.uniform(top + 0.1, bottom))
    mask = logistic(
        (
            1
            - compute_ellipse_radius(
                side, center, rng.uniform(0.015, 0.07), rng.uniform(0.05, 0.22), rng.normal(scale=0.15)
            )
        )
        * 8
    )
    rim = (measure_lung_depth(organs.lung(lung_side)) < rng.uniform(0.01, 0.03)) & (organs.lung(lung_side) > 0.5)
    if rng.random() < 0.4:
        mask = blur((rim & (lung_side * (x - (left + right) / 2) > 0)).astype(np.float32), 0.8)
    return add_density(film, draw_strength(rng, 0.15, 0.8) * mask, rng.uniform(0.2, 0.9), rng.uniform(0.75, 1.0)), mask
