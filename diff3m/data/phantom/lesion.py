"""Lesions of six kinds in a phantom, present before the film is exposed, each with its exact mask.

A lesion changes the anatomy (heart, diaphragm, mediastinum) or the matter along the beam (fluid for air, air for lung).
Its mask is where the line integral of attenuation differs from that of the same person without the lesion by more than
15 % of the largest difference.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np

from .anatomy import Anatomy
from .organs import compute_dome, compute_lung_outline
from .render import LUNG, SOFT, Layers, compute_layers, expose
from .shapes import Grid, draw_smooth_noise

KINDS = ("opacity", "nodule", "effusion", "pneumothorax", "cardiomegaly", "atelectasis")
MASK_FROM = 0.15  # share of the largest change of attenuation from which a pixel is in the mask


@dataclass(frozen=True)
class Lesion:
    """A lesion of a phantom: kind, place, size and strength.

    kind: one of `KINDS`. side: −1 for the image's left, 1 for its right. x, y: of its middle, as shares of half the
    thorax width and of the lung length. extent: in cm a radius, the height of fluid, the width of the gap or the
    elevation of the diaphragm; for cardiomegaly the addition to the cardiothoracic ratio. strength: share of the air
    that is replaced, or density relative to soft tissue. seed: of its texture. Raises ValueError for an unknown kind.
    """

    kind: str
    side: int
    x: float
    y: float
    extent: float
    strength: float
    seed: int

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"unknown lesion {self.kind!r}; choose one of {', '.join(KINDS)}")


# by kind: the range of extents, from barely visible to gross, and that of strengths
RANGES = {
    "opacity": ((1.2, 4.0), (0.15, 0.80)),
    "nodule": ((0.5, 2.0), (0.60, 1.20)),
    "effusion": ((2.0, 9.0), (0.55, 0.95)),
    "pneumothorax": ((0.8, 4.0), (1.0, 1.0)),
    "cardiomegaly": ((0.03, 0.10), (1.0, 1.0)),
    "atelectasis": ((0.8, 3.0), (0.30, 0.80)),
}


def draw_lesion(kind: str, rng: np.random.Generator) -> Lesion:
    """Draw a lesion of a kind, with extent and strength uniform over `RANGES`, from as many draws for every kind.

    Raises ValueError for an unknown kind.
    """
    if kind not in KINDS:
        raise ValueError(f"unknown lesion {kind!r}; choose one of {', '.join(KINDS)}")
    u = rng.uniform(size=5)
    (low, high), (faint, dense) = RANGES[kind]
    side = -1 if u[0] < 0.5 else 1
    return Lesion(
        kind,
        side,
        0.38 + 0.42 * u[1],
        0.18 + 0.62 * u[2],
        low + (high - low) * u[3],
        faint + (dense - faint) * u[4],
        int(rng.integers(2**31)),
    )


@dataclass(frozen=True)
class LesionFilm:
    """A film with a lesion.

    film: (S, S) float32 in [0, 1]. mask: (S, S) bool, the lesion's. anatomy: as the lesion displaced it.
    """

    film: np.ndarray
    mask: np.ndarray
    anatomy: Anatomy


def render_with_lesion(anatomy: Anatomy, lesion: Lesion, size: int = 256) -> LesionFilm:
    """Render a film (size, size) of an anatomy with a lesion, with the same exposure and noise as without it.

    size: pixels a side, at least 32. Raises ValueError for less.
    """
    healthy = compute_layers(anatomy, size).attenuation
    new_anatomy = displace(anatomy, lesion)
    maps = compute_layers(new_anatomy, size)
    attenuation = np.maximum(maps.attenuation + _compute_change(lesion, new_anatomy, maps), 0).astype(np.float32)
    change = np.abs(attenuation - healthy)
    return LesionFilm(expose(attenuation, new_anatomy), change > MASK_FROM * change.max(), new_anatomy)


def displace(anatomy: Anatomy, lesion: Lesion) -> Anatomy:
    """Return the anatomy as a lesion displaces it.

    Cardiomegaly enlarges the heart; atelectasis raises the diaphragm and shifts the mediastinum to its side.
    """
    if lesion.kind == "cardiomegaly":
        return replace(anatomy, ctr=min(anatomy.ctr + lesion.extent, 0.80))
    if lesion.kind == "atelectasis":
        elevation = (lesion.extent, 0.0) if lesion.side < 0 else (0.0, lesion.extent)
        return replace(anatomy, diaphragm_elevation=elevation, mediastinal_shift=0.45 * lesion.extent * lesion.side)
    return anatomy


def _compute_change(lesion: Lesion, a: Anatomy, maps: Layers) -> np.ndarray | float:
    """Return the change of the line integral beyond that of the displaced anatomy: (S, S)."""
    if lesion.kind == "cardiomegaly":
        return 0.0
    g, rng = maps.grid, np.random.default_rng(lesion.seed)
    lung = maps.lung_left if lesion.side < 0 else maps.lung_right
    air = SOFT * (1 - LUNG) * maps.lung_depth * lung  # what filling all alveoli would add
    half, length = a.thorax_width / 2, a.lung_length
    x, y = lesion.side * lesion.x * half, lesion.y * length
    if lesion.kind == "opacity":
        patchy = np.clip(1 + 0.30 * draw_smooth_noise(rng, g.x.shape, 24), 0.2, 1.8)
        shape = g.cloud(x, y, lesion.extent, lesion.extent * rng.uniform(0.6, 1.0), rng.uniform(0, np.pi))
        return np.minimum(lesion.strength * shape * patchy, 1.0) * air
    if lesion.kind == "nodule":
        return (
            lesion.strength
            * SOFT
            * (1 - LUNG)
            * 2
            * lesion.extent
            * g.ellipsoid(x, y, lesion.extent, lesion.extent * rng.uniform(0.85, 1.15))
            * lung
        )
    if lesion.kind == "effusion":
        return lesion.strength * air * _draw_fluid(lesion, a, g)
    if lesion.kind == "pneumothorax":
        return _draw_pneumothorax(lesion, a, maps, lung)
    return lesion.strength * air * _draw_wedge(lesion, a, g)


def _draw_fluid(lesion: Lesion, a: Anatomy, g: Grid) -> np.ndarray:
    """Return 1 below the surface of fluid, a meniscus that climbs toward the chest wall, and 0 above it."""
    outward = np.clip(np.abs(g.x) / (a.thorax_width / 2), 0, 1)
    angle = float(compute_dome(a, np.array(lesion.side * a.thorax_width / 2), lesion.side))
    surface = angle - lesion.extent * (0.55 + 0.45 * outward**3)
    return g.inside(g.y - surface, 0.9)


def _draw_pneumothorax(lesion: Lesion, a: Anatomy, maps: Layers, lung: np.ndarray) -> np.ndarray:
    """Return the change by air outside a collapsed lung: no vessels or lung tissue, and a thin line of pleura."""
    g = maps.grid
    gap = lesion.extent * np.clip(1.15 - 0.75 * g.y / a.lung_length, 0.2, 1.15)
    inward = np.minimum(
        compute_lung_outline(a, g.y) - np.abs(g.x), 1.15 * (g.y + 0.2)
    )  # distance from chest wall and apex
    outside = g.inside(gap - inward, 0.2) * lung
    pleura = 0.10 * np.exp(-0.5 * ((inward - gap) / max(0.12, 0.5 * g.pixel)) ** 2) * lung
    tissue = SOFT * LUNG * maps.lung_depth
    return pleura - outside * (0.9 * tissue + maps.vessels) + 0.10 * (lung - outside) * tissue


def _draw_wedge(lesion: Lesion, a: Anatomy, g: Grid) -> np.ndarray:
    """Return an airless wedge from the hilum to the base or to the apex: 1 inside, 0 outside."""
    half, length = a.thorax_width / 2, a.lung_length
    lower = lesion.y > 0.42
    far = 1.02 * length if lower else 0.02 * length
    points = np.array([[0.10, 0.42 * length], [0.10, far], [0.62 if lower else 0.50, far]]) * np.array(
        [lesion.side * half, 1.0]
    )
    wedge = np.zeros(g.x.shape, np.uint8)
    cv2.fillPoly(wedge, [np.round(g.pixels(points) * 16).astype(np.int32)], 255, cv2.LINE_AA, 4)
    return cv2.GaussianBlur(wedge.astype(np.float32) / 255, (0, 0), max(0.5 / g.pixel, 0.5))
