"""Random variation of normal films that is no disease: pose, exposure and processing."""

from __future__ import annotations

import cv2
import numpy as np

from ...imaging.organs import Organs
from .shapes import blur, make_coordinates


def vary_pose(film: np.ndarray, organs: Organs, rng: np.random.Generator) -> tuple[np.ndarray, Organs]:
    """Turn, shift, zoom and stretch a film (S, S) and its organs at random; one film in six is badly positioned."""
    side = film.shape[0]
    gross = 2.2 if rng.random() < 1 / 6 else 1.0
    matrix = cv2.getRotationMatrix2D(
        (side / 2, side / 2), rng.uniform(-5, 5) * gross, np.exp(rng.uniform(-0.08, 0.08) * gross)
    )
    matrix[0] *= np.exp(rng.uniform(-0.05, 0.05))
    matrix[0, 2] += side / 2 - matrix[0] @ np.array([side / 2, side / 2, 1])
    matrix[:, 2] += rng.uniform(-0.04, 0.04, 2) * side * gross
    border = cv2.BORDER_REPLICATE if rng.random() < 0.7 else cv2.BORDER_CONSTANT
    result = cv2.warpAffine(film, matrix, (side, side), flags=cv2.INTER_LINEAR, borderMode=border)
    return result, organs.transform(matrix)


def vary_processing(film: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Vary blur, sharpness, grain, gamma, contrast and exposure, as devices and their software differ.

    film: (S, S) in [0, 1]. Returns (S, S) float32 in [0, 1].
    """
    if rng.random() < 0.5:
        blurred = blur(film, rng.uniform(0.3, 1.1))
        film = blurred if rng.random() < 0.4 else film + rng.uniform(0.2, 1) * (film - blurred)
    if rng.random() < 0.2:  # local contrast, as multi-scale processing raises it
        film = film + rng.uniform(-0.25, 0.4) * (film - blur(film, rng.uniform(4, 14)))
    if rng.random() < 0.3:
        film = film + blur(rng.standard_normal(film.shape, dtype=np.float32), 0.6) * rng.uniform(0, 0.03)
    film = np.clip(film, 0, 1) ** np.exp(rng.uniform(-0.3, 0.3))
    if rng.random() < 0.35:
        x, y = make_coordinates(film.shape[0])
        film = film + rng.uniform(-0.16, 0.16) * (x - 0.5) + rng.uniform(-0.16, 0.16) * (y - 0.5)
    return np.clip(film, 0, 1).astype(np.float32)


def stretch_contrast(film: np.ndarray, *others: np.ndarray) -> tuple[np.ndarray, ...]:
    """Stretch films (S, S) alike, so that the 1st and 99th percentiles of the first become 0 and 1.

    Preprocessing stretches a film in the same way.
    """
    low, high = np.percentile(film[::2, ::2], [1, 99])
    scale = 1 / max(float(high - low), 0.1)
    return tuple(((image - low) * scale).astype(np.float32) for image in (film, *others))
