"""Soft-edged shapes on a grid in cm, for the renderer. All return float32 arrays of the grid's shape."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np


@dataclass(frozen=True)
class Grid:
    """Pixel centers in cm.

    x: (S, S), from the chest's midline, positive to the image's right. y: (S, S), from the apices downward. pixel: its
    side.
    """

    x: np.ndarray
    y: np.ndarray
    pixel: float

    @classmethod
    def of(cls, size: int, field_cm: float, center_x: float, apex_y: float, rotation: float = 0.0) -> Grid:
        """Return the grid of a square field of `size` pixels a side; the other parameters as in `Anatomy`."""
        centers = ((np.arange(size, dtype=np.float32) + 0.5) * (field_cm / size)).astype(np.float32)
        x, y = np.meshgrid(centers - np.float32(center_x), centers - np.float32(apex_y))
        cos, sin = np.float32(np.cos(rotation)), np.float32(np.sin(rotation))
        return cls(cos * x + sin * y, -sin * x + cos * y, field_cm / size)

    def inside(self, distance: np.ndarray, softness: float = 0.0) -> np.ndarray:
        """Return 1 where a signed distance (cm, positive inside) is well above 0, and 0 where it is well below.

        Between them the change is linear over a pixel, or over `softness` cm.
        """
        return np.clip(0.5 + distance / max(softness, self.pixel), 0.0, 1.0)

    def ellipsoid(self, x: float, y: float, half_width: float, half_height: float, power: float = 0.5) -> np.ndarray:
        """Return the thickness of an ellipsoid, 1 in the middle. power: ½ for a true one, more for a thinner edge."""
        rest = 1 - ((self.x - x) / half_width) ** 2 - ((self.y - y) / half_height) ** 2
        return np.maximum(rest, 0.0) ** power

    def cloud(self, x: float, y: float, half_width: float, half_height: float, angle: float = 0.0) -> np.ndarray:
        """Return a Gaussian, 1 in the middle. half_width, half_height: its standard deviations. angle: radians."""
        dx, dy = self.x - x, self.y - y
        u, v = dx * np.cos(angle) + dy * np.sin(angle), -dx * np.sin(angle) + dy * np.cos(angle)
        return np.exp(-0.5 * ((u / half_width) ** 2 + (v / half_height) ** 2)).astype(np.float32)

    def band(self, center: np.ndarray, half_width: float, hollow: float = 0.55) -> np.ndarray:
        """Return a bone seen from the side: a band around the heights `center`, its cortex denser than its middle.

        hollow: share of density that the middle lacks.
        """
        q = np.abs(self.y - center) / half_width
        return self.inside((1 - q) * half_width) * (1 - hollow + hollow * np.minimum(q, 1.0) ** 2)

    def pixels(self, points: np.ndarray) -> np.ndarray:
        """Convert points (N, 2) in cm to fractional pixel coordinates (column, row)."""
        x0, y0 = self.x[0, 0], self.y[0, 0]
        along = np.array([self.x[0, -1] - x0, self.y[0, -1] - y0]) / (self.x.shape[1] - 1)
        down = np.array([-along[1], along[0]])
        offset = points - np.array([x0, y0])
        return np.stack([offset @ along, offset @ down], 1) / self.pixel**2

    def lines(self, paths: list[np.ndarray], width: float, weight: float) -> np.ndarray:
        """Draw anti-aliased polylines, each (N, 2) in cm.

        width: in cm. weight: the value on the lines, also where they cross.
        """
        layer = np.zeros(self.x.shape, np.uint8)
        share = min(1.0, width / self.pixel)  # thinner than a pixel: fainter
        corners = [np.round(self.pixels(path) * 16).astype(np.int32) for path in paths]
        cv2.polylines(layer, corners, False, 255, max(1, round(width / self.pixel)), cv2.LINE_AA, 4)
        return layer * np.float32(weight * share / 255)


def draw_smooth_noise(rng: np.random.Generator, shape: tuple[int, int], cells: int) -> np.ndarray:
    """Draw noise of standard deviation about 1 with about `cells` blobs a side, the same field for any shape."""
    coarse = rng.normal(size=(cells + 3, cells + 3)).astype(np.float32)
    return cv2.resize(coarse, shape[::-1], interpolation=cv2.INTER_CUBIC)
