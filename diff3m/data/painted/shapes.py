"""Soft shapes, blurs and density changes that painted lesions and devices are built from.

Films and masks are (S, S) float32 arrays, films in [0, 1] with dense tissue bright. Positions are (x, y) as shares of
the side, with the origin in the upper left corner; lengths are shares of the side.
"""

from __future__ import annotations

from functools import cache

import cv2
import numpy as np

from ...imaging.scale import REFERENCE_SIDE, scale_sigma

SUBPIXEL_BITS = 4  # cv2 draws at a sixteenth of a pixel


@cache
def make_coordinates(side: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the x and y of every pixel of a film, each (side, side)."""
    y, x = np.mgrid[0:side, 0:side].astype(np.float32) / side
    return x, y


def blur(image: np.ndarray, sigma: float) -> np.ndarray:
    """Blur an image (S, S) with a Gaussian. sigma: standard deviation in pixels of a 128-pixel film."""
    return cv2.GaussianBlur(image, (0, 0), max(scale_sigma(sigma, image.shape[0]), 0.05))


def draw_smooth_noise(side: int, sigma: float, rng: np.random.Generator) -> np.ndarray:
    """Draw noise of standard deviation 1 that is smooth over `sigma` pixels of a 128-pixel film: (side, side)."""
    coarse = max(8, min(side, int(2.5 * REFERENCE_SIDE / max(sigma, 0.5))))
    noise: np.ndarray = cv2.GaussianBlur(
        rng.standard_normal((coarse, coarse), dtype=np.float32), (0, 0), max(scale_sigma(sigma, coarse), 0.3)
    )
    noise = noise / max(float(noise.std()), 1e-6)
    return noise if coarse == side else cv2.resize(noise, (side, side), interpolation=cv2.INTER_LINEAR)


def logistic(x: np.ndarray) -> np.ndarray:
    """Compute the logistic function 1/(1 + exp(−x)); x is clipped to ±30."""
    return 1 / (1 + np.exp(np.clip(-x, -30, 30)))


def compute_ellipse_radius(
    side: int, center: tuple[float, float], width: float, height: float, angle: float = 0.0
) -> np.ndarray:
    """Return the distance from a center in units of an ellipse's half axes, which is 1 on the ellipse: (side, side).

    width, height: half axes. angle: radians.
    """
    x, y = make_coordinates(side)
    dx, dy = x - center[0], y - center[1]
    u, v = dx * np.cos(angle) + dy * np.sin(angle), dy * np.cos(angle) - dx * np.sin(angle)
    return np.sqrt((u / width) ** 2 + (v / height) ** 2)


def draw_irregular_patch(side: int, center: tuple[float, float], extent: float, rng: np.random.Generator) -> np.ndarray:
    """Draw a patch with an irregular outline and an edge between sharp and very soft: (side, side) in [0, 1]."""
    axes = extent * rng.uniform(0.6, 1.25, 2)
    radius = compute_ellipse_radius(side, center, axes[0], axes[1], rng.uniform(0, np.pi))
    outline = 1 + rng.uniform(0.1, 0.35) * draw_smooth_noise(side, np.clip(extent * 40, 2, 9), rng)
    return logistic((outline - radius) * 2 / rng.uniform(0.08, 0.7))


def draw_lines(
    side: int, paths: list[np.ndarray], width: float, sharpness: float = 0.35, is_closed: bool = False
) -> np.ndarray:
    """Draw anti-aliased polylines, each (N, 2), of a width: (side, side) in [0, 1].

    Lines thinner than a pixel are drawn fainter. sharpness: pixels of a 128-pixel film by which they are blurred.
    """
    layer = np.zeros((side, side), np.uint8)
    thickness = max(1, round(width * side))
    points = [np.round(path * side * 2**SUBPIXEL_BITS).astype(np.int32) for path in paths]
    cv2.polylines(layer, points, is_closed, 255, thickness, cv2.LINE_AA, SUBPIXEL_BITS)
    return blur(layer.astype(np.float32) * (min(1.0, width * side / thickness) / 255), sharpness)


def draw_polygon(side: int, points: np.ndarray, softness: float = 0.5) -> np.ndarray:
    """Draw a filled polygon (N, 2), blurred by `softness` pixels of a 128-pixel film: (side, side) in [0, 1]."""
    layer = np.zeros((side, side), np.uint8)
    cv2.fillPoly(layer, [np.round(points * side * 2**SUBPIXEL_BITS).astype(np.int32)], 255, cv2.LINE_AA, SUBPIXEL_BITS)
    return blur(layer.astype(np.float32) / 255, softness)


def draw_curve(
    start: np.ndarray, end: np.ndarray, bend: float, rng: np.random.Generator, points: int = 16
) -> np.ndarray:
    """Draw a smooth curve between two points that bows sideways by about `bend`: (points, 2)."""
    t = np.linspace(0, 1, points)[:, None]
    along = end - start
    sideways = np.array([-along[1], along[0]]) / max(float(np.hypot(*along)), 1e-6)
    bow = np.sin(np.pi * t) * rng.normal(scale=bend) + np.sin(2 * np.pi * t) * rng.normal(scale=bend / 2)
    return start + t * along + bow * sideways


def add_density(film: np.ndarray, density: np.ndarray, detail: float, level: float | np.ndarray = 1.0) -> np.ndarray:
    """Add tissue along the beam to a film.

    density: (S, S) in [0, 1], the share of the way to `level`, the grey level of tissue without air, where that is
    brighter than the film. detail: in [0, 1], how much of the film's structure stays visible: at 0 it fades with the
    density; at 1 the added brightness is as smooth as the density, so that ribs and vessels keep their contrast.
    """
    headroom = np.clip(level - film, 0, None)
    if detail > 0:
        headroom = (1 - detail) * headroom + detail * np.clip(level - blur(film, 3.0), 0, None)
    return film + density * headroom


def warp(film: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Resample a film: the value at each pixel is that of the film at the position (x, y), each (S, S)."""
    side = film.shape[0]
    return cv2.remap(
        film,
        (x * side).astype(np.float32),
        (y * side).astype(np.float32),
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REPLICATE,
    )


def compute_change_mask(film: np.ndarray, painted: np.ndarray) -> np.ndarray:
    """Compute where two films differ: (S, S) in [0, 1], 1 where the smoothed difference is at least 0.05."""
    return np.clip(blur(np.abs(painted - film).astype(np.float32), 1.5) / 0.05, 0, 1)


def measure_lung_depth(mask: np.ndarray) -> np.ndarray:
    """Measure the distance of each pixel of a mask (S, S) from its border, in shares of the side; 0 outside: (S, S)."""
    inside = (mask > 0.5).astype(np.uint8)
    return cv2.distanceTransform(inside, cv2.DIST_L2, 3) / mask.shape[0]


def draw_step_below(side: int, level: np.ndarray | float, sharpness: float) -> np.ndarray:
    """Draw a soft step that is 1 below the height `level` and 0 above it: (side, side).

    level: share of the side, a number or (side, side). sharpness: slope of the step, per side.
    """
    _, y = make_coordinates(side)
    return logistic((y - level) * sharpness)
