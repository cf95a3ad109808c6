"""Outlines and thickness of lungs and heart, in cm on a grid. In this module `a` is the anatomy and `g` the grid."""

from __future__ import annotations

import numpy as np

from .anatomy import Anatomy
from .shapes import Grid


def compute_lung_outline(a: Anatomy, y: np.ndarray) -> np.ndarray:
    """Compute half the inner width of the rib cage, in cm, at heights y in cm below the apices.

    At its widest it is half of `thorax_width`.
    """
    u = np.clip(y / (0.78 * a.thorax_length), 0.0, 1.0)
    return a.thorax_width / 2 * (0.30 + 0.70 * np.sqrt(1 - (1 - u) ** 2.4))


def compute_dome(a: Anatomy, x: np.ndarray, side: int) -> np.ndarray:
    """Compute the height of the diaphragm, in cm below the apices.

    x: cm from the midline. side: −1 for the image's left (the patient's right), 1 for its right.
    """
    half = a.thorax_width / 2
    xi = (np.abs(x) - 0.46 * half) / (0.54 * half)
    base = a.lung_length - a.diaphragm_elevation[0 if side < 0 else 1] + (a.diaphragm_tilt if side > 0 else 0.0)
    return base + a.diaphragm_dome * np.clip(xi, 0, 1.3) ** 2.2 + 1.2 * np.clip(-xi, 0, 1.3) ** 2


def draw_lungs(a: Anatomy, g: Grid) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the lungs on the image's left and right, 1 inside and 0 outside, and their depth along the beam in cm."""
    half = a.thorax_width / 2
    outer = compute_lung_outline(a, g.y)
    apex_x, apex_half = 0.40 * half, 0.36 * half
    top = 3.2 * ((np.abs(g.x) - apex_x) / apex_half) ** 2 * (np.abs(g.x) < half)
    fields = []
    for side in (-1, 1):
        distance = np.minimum(
            outer - np.abs(g.x), np.minimum(compute_dome(a, g.x, side) - g.y, g.y - np.minimum(top, 6.0))
        )
        distance = np.minimum(distance, side * (g.x - side * 0.9 - a.mediastinal_shift))
        fields.append(g.inside(distance, 0.25))
    across = np.clip(1 - ((np.abs(g.x) - 0.42 * half) / (0.62 * half)) ** 2, 0.0, 1)
    down = np.clip(0.62 + 0.45 * g.y / a.thorax_length, 0.5, 1.0)
    depth = 0.62 * 21.5 * down * across**0.5  # does not grow with fat, unlike that of the body
    return fields[0], fields[1], depth.astype(np.float32)


def compute_heart_borders(a: Anatomy, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return how far the heart reaches to the image's left and right of the midline, in cm; NaN above and below it.

    y: heights in cm below the apices. The two maxima add up to `ctr` times `thorax_width`.
    """
    width = a.ctr * a.thorax_width
    to_right, to_left = width * a.heart_left_share, width * (1 - a.heart_left_share)
    top, bottom = 0.40 * a.thorax_length, a.lung_length + 2.2
    v = (y - top) / (bottom - top)
    rise = np.sin(np.pi / 2 * np.clip(v / 0.70, 0, 1))
    fall = np.sqrt(np.clip(1 - (np.clip(v - 0.70, 0, None) / 0.42) ** 2, 0, 1))
    left_rise = np.sin(np.pi / 2 * np.clip(v / 0.55, 0, 1))
    left_fall = np.sqrt(np.clip(1 - (np.clip(v - 0.55, 0, None) / 0.60) ** 2, 0, 1))
    there = (v >= 0) & (v <= 1.1)
    right = to_right * (0.22 + 0.78 * rise**1.25) * fall
    left = to_left * (0.50 + 0.50 * left_rise) * left_fall
    return np.where(there, left, np.nan), np.where(there, right, np.nan)


def draw_heart(a: Anatomy, g: Grid) -> np.ndarray:
    """Return the thickness of the heart along the beam, in cm."""
    left, right = compute_heart_borders(a, g.y)
    left, right = np.nan_to_num(left, nan=-1.0), np.nan_to_num(right, nan=-1.0)
    x = g.x - a.mediastinal_shift
    mask = g.inside(np.minimum(right - x, x + left), 0.3)
    middle, half = (right - left) / 2, np.maximum((right + left) / 2, 0.5)
    profile = np.sqrt(np.clip(1 - 0.80 * ((x - middle) / half) ** 2, 0, 1))
    # the end of the great vessels is thinner than the ventricles
    rise = np.clip((g.y / a.thorax_length - 0.40) / 0.30, 0, 1) ** 0.7
    return mask * profile * rise * 9.0 * (0.7 + 0.3 * a.ctr / 0.45)
