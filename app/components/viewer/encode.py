"""Arrays as files for the viewer: grey PNG without loss, which the browser reads with all of its bits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from .state import ViewerFilm, Window

MAX_SIDE = 4096  # the largest texture that nearly every graphics card takes
MIDDLE, REACH = 32768, 32767  # of 16 bits: where a map's zero lies, and how far its largest value lies from it
COMPRESSION = [cv2.IMWRITE_PNG_COMPRESSION, 1]
# Percentiles of a film's greys between which each window lies. Lungs are dark and the mediastinum is bright; ribs lie
# over both, so their window leaves out the darkest lung and the densest spine.
PRESETS = {"Lungs": (1, 70), "Mediastinum": (40, 99.5), "Bones": (25, 98)}
MIN_WIDTH = 0.02


def encode_film(pixels: np.ndarray) -> bytes:
    """Write a film as a grey PNG.

    Parameters:
        pixels: (H, W), bright = dense. uint8 and uint16 are stored as they are; floats, in [0, 1], as 16 bits. A side
            of more than MAX_SIDE pixels is reduced to that, with the other in proportion.

    Raises ValueError for other shapes and types, and for floats that are not finite.
    """
    pixels = np.asarray(pixels)
    if pixels.ndim != 2 or not pixels.size:
        raise ValueError(f"A film is one grey picture (height, width), got an array of shape {pixels.shape}.")
    if pixels.dtype.kind == "f":
        if not np.isfinite(pixels).all():
            raise ValueError("The film has values that are not finite numbers. Replace them before it is shown.")
        pixels = np.round(np.clip(pixels, 0, 1) * 65535).astype(np.uint16)
    if pixels.dtype not in (np.uint8, np.uint16):
        raise ValueError(f"A film is uint8, uint16 or float in [0, 1], got {pixels.dtype}.")
    height, width = pixels.shape
    factor = MAX_SIDE / max(height, width)
    if factor < 1:
        size = (max(1, round(width * factor)), max(1, round(height * factor)))
        pixels = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
    return cv2.imencode(".png", pixels, COMPRESSION)[1].tobytes()


def encode_map(values: np.ndarray, scale: float | None = None) -> tuple[bytes, float]:
    """Write a map (H, W) of any sign as a 16-bit PNG: (file, scale).

    scale: the largest size that can be stored; default that of the values.
    """
    values = np.asarray(values, dtype=np.float64)
    if values.ndim != 2 or not values.size or not np.isfinite(values).all():
        raise ValueError(f"A map is one array (height, width) of finite numbers, got shape {values.shape}.")
    scale = float(np.abs(values).max() or 1.0) if scale is None else float(scale)
    stored = np.round(np.clip(values / scale, -1, 1) * REACH).astype(np.int32) + MIDDLE
    return cv2.imencode(".png", stored.astype(np.uint16), COMPRESSION)[1].tobytes(), scale


def window_presets(pixels: np.ndarray, maximum: float | None = None) -> tuple[Window, ...]:
    """Compute windows for lungs, mediastinum and bones from a film's own greys (H, W).

    maximum: the value that is white, as in `ViewerFilm`. The outer twentieth of each side does not count: collimation
    and markers lie there.
    """
    pixels = np.asarray(pixels)
    white = maximum or (1.0 if pixels.dtype.kind == "f" else float(np.iinfo(pixels.dtype).max))
    rows, columns = (side // 20 for side in pixels.shape)
    inner = pixels[rows : pixels.shape[0] - rows, columns : pixels.shape[1] - columns]
    step = max(1, max(inner.shape) // 512)
    inner = inner[::step, ::step] / white
    windows = []
    for name, percentiles in PRESETS.items():
        low, high = np.percentile(inner, percentiles)
        windows.append(Window(name, float(low + high) / 2, max(float(high - low), MIN_WIDTH)))
    return tuple(windows)


def build_film(
    pixels: np.ndarray, *, store: Callable[[bytes], Path], normal: np.ndarray | None = None, **options
) -> ViewerFilm:
    """Encode a film and what is normal for it and store both.

    Parameters:
        pixels: (H, W), as for `encode_film`.
        store: writes the bytes of a PNG where Gradio may serve them and returns the path, the same for the same bytes.
        normal: (H, W), the same scene as `pixels`; any resolution.
        options: further fields of `ViewerFilm`. spacing_mm is that of `pixels`: it grows where the film is reduced.
    """
    film = ViewerFilm(store(encode_film(pixels)), None if normal is None else store(encode_film(normal)), **options)
    reduction = max(1.0, max(np.shape(pixels)) / MAX_SIDE)
    if film.spacing_mm is None or reduction == 1:
        return film
    row, column = film.spacing_mm
    return replace(film, spacing_mm=(row * reduction, column * reduction))
