"""Synthetic lesions whose place is known exactly, for tests, lessons and measurements; training never paints them."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

MASK_FROM = 0.25  # share of the lesion's largest density from which a pixel is in its mask


def _make_grid(size: int) -> tuple[np.ndarray, np.ndarray]:
    """Return y and x of every pixel as shares of the side, each (size, size) float64."""
    y, x = np.mgrid[0:size, 0:size] / size
    return y, x


def _draw_texture(size: int, rng: np.random.Generator) -> np.ndarray:
    """Return cloudy noise around 1, (size, size) in [0.3, 1.7], as of patchy air space disease."""
    cloud = cv2.GaussianBlur(rng.normal(size=(size, size)).astype(np.float32), (0, 0), size / 40)
    return np.clip(1 + 0.25 * cloud / cloud.std(), 0.3, 1.7)


def draw_opacity(size: int, center: tuple[float, float], extent: float, rng: np.random.Generator) -> np.ndarray:
    """Return the density of a patchy cloud with soft edges: (size, size) in [0, 1].

    center: (x, y), and extent: shares of the side, as for the other kinds.
    """
    y, x = _make_grid(size)
    angle = rng.uniform(0, np.pi)
    u = (x - center[0]) * np.cos(angle) + (y - center[1]) * np.sin(angle)
    v = -(x - center[0]) * np.sin(angle) + (y - center[1]) * np.cos(angle)
    cloud = np.exp(-0.5 * ((u / (0.6 * extent)) ** 2 + (v / (0.45 * extent)) ** 2)) * _draw_texture(size, rng)
    return np.clip(cloud, 0, 1)


def draw_nodule(size: int, center: tuple[float, float], extent: float, rng: np.random.Generator) -> np.ndarray:
    """Return the density of a round nodule with a fairly sharp edge, densest in the middle: (size, size) in [0, 1]."""
    y, x = _make_grid(size)
    radius = np.hypot(x - center[0], (y - center[1]) * rng.uniform(0.9, 1.1)) / extent
    return np.sqrt(np.clip(1 - radius**2, 0, None)) ** 0.7


def draw_effusion(size: int, center: tuple[float, float], extent: float, rng: np.random.Generator) -> np.ndarray:
    """Return the density of fluid at a lung's base, below a level that climbs toward the chest wall.

    center: of its surface. Returns (size, size) in [0, 1].
    """
    y, x = _make_grid(size)
    outward = np.clip((x - center[0]) / extent * np.sign(center[0] - 0.5), -1, 1.5)
    level = center[1] - 0.30 * extent * np.clip(outward, 0, None) ** 2 * 2
    across = np.exp(-(((x - center[0]) / (1.15 * extent)) ** 4))
    below = 1 / (1 + np.exp(-(y - level) * 70))
    fade = np.exp(-((np.clip(y - center[1] - extent, 0, None) / 0.08) ** 2))
    return across * below * fade


KINDS: dict[str, Callable[..., np.ndarray]] = {
    "opacity": draw_opacity,
    "nodule": draw_nodule,
    "effusion": draw_effusion,
}


def paint_lesion(
    film: np.ndarray, kind: str, center: tuple[float, float], extent: float, strength: float, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Paint a lesion on a film (S, S) in [0, 1].

    kind: one of `KINDS`. center: (x, y), and extent: shares of the side. strength: in (0, 1], the share of the way to
    white where the density is 1. seed: of shape and texture. Returns the film (S, S) float32 and the lesion's mask
    (S, S) bool. Raises ValueError for an unknown kind or a strength out of range.
    """
    if kind not in KINDS:
        raise ValueError(f"unknown lesion {kind!r}; choose one of {', '.join(KINDS)}")
    if not 0 < strength <= 1:
        raise ValueError(f"strength must lie in (0, 1], got {strength}")
    profile = KINDS[kind](film.shape[0], center, extent, np.random.default_rng(seed)).astype(np.float32)
    return (film + strength * profile * (1 - film)).astype(np.float32), profile > MASK_FROM * profile.max()
