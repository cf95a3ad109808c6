"""Radiographs: any supported file → one grey float image and an allow-listed set of header facts.

`read_radiograph` opens PNG, JPEG, WebP, TIFF and DICOM by content, never by suffix. `prepare` is the one preprocessing
of training and inference.
"""

from __future__ import annotations

import io
import os
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

MIN_SIDE = 64
MAX_PIXELS = 64_000_000
MAX_ASPECT = 2.0
MAX_BYTES = 256 * 2**20
FORMATS = ("PNG", "JPEG", "WEBP", "TIFF")
COLOR_SPREAD = 0.10  # channel difference, of full scale, from which a pixel counts as colored
COLOR_SHARE = 0.05  # share of colored pixels that makes a picture a color picture
TRIM_LIMIT = 0.30  # at most this share of a side is taken for a border


class RadiographError(ValueError):
    """A file that cannot be judged as a chest film; the message says what to do."""


@dataclass(frozen=True)
class Radiograph:
    """One film as read.

    pixels: (H, W) float32 in [0, 1], bright = dense (bone white). source: "DICOM", "PNG", "JPEG", "WEBP", "TIFF" or "array".
    facts: EHR values found in the header, by feature name. header: other allow-listed facts as text. notes: sentences
    for the reader about what was seen or changed.
    """

    pixels: np.ndarray
    source: str = "array"
    facts: dict[str, float | str] = field(default_factory=dict)
    header: dict[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def aspect(self) -> float:
        """Width over height."""
        return self.pixels.shape[1] / self.pixels.shape[0]


def read_radiograph(source: str | os.PathLike | bytes) -> Radiograph:
    """Open a film from a path or from bytes. Raises RadiographError with a sentence that says what to do."""
    data = _bytes(source)
    if not data:
        raise RadiographError("The file is empty. Export or download it again.")
    from .dicom import looks_like_dicom, read_dicom

    if looks_like_dicom(data):
        return read_dicom(data)
    return _read_raster(data)


def _bytes(source: str | os.PathLike | bytes) -> bytes:
    if isinstance(source, bytes):
        data = source
    else:
        path = Path(source)
        if path.is_dir():
            raise RadiographError("This is a folder. Choose one image or DICOM file in it.")
        try:
            if path.stat().st_size > MAX_BYTES:
                raise RadiographError(f"The file is larger than {MAX_BYTES // 2**20} MB. Export a single film.")
            data = path.read_bytes()
        except FileNotFoundError:
            raise RadiographError("There is no such file. Check the path.") from None
        except OSError:
            raise RadiographError("The file cannot be read. Check that it exists and that you may open it.") from None
    if len(data) > MAX_BYTES:
        raise RadiographError(f"The file is larger than {MAX_BYTES // 2**20} MB. Export a single film.")
    return data


def _read_raster(data: bytes) -> Radiograph:
    try:
        image = Image.open(io.BytesIO(data), formats=FORMATS)
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        raise RadiographError("This file is no PNG, JPEG, WebP, TIFF or DICOM image. Export the film in one of these formats.") from None
    name = image.format or "image"
    if image.width * image.height > MAX_PIXELS:
        raise RadiographError(f"The image has {image.width}×{image.height} pixels, more than {MAX_PIXELS // 10**6} million. Export it smaller.")
    if getattr(image, "n_frames", 1) > 1:
        raise RadiographError(f"The {name} file holds {image.n_frames} pictures. Export a single frontal film.")
    try:
        image.load()
        pixels = _grey(ImageOps.exif_transpose(image))
    except RadiographError:
        raise
    except Exception:  # decoders raise many kinds of error on damaged data
        raise RadiographError(f"The {name} file is damaged or incomplete. Export or download it again.") from None
    return Radiograph(check_film(pixels), source=name)


def _grey(image: Image.Image) -> np.ndarray:
    """A PIL image of any mode as float32 in its own units."""
    if image.mode in ("I;16", "I;16B", "I;16L", "I", "F"):
        return np.asarray(image).astype(np.float32)
    if image.mode in ("1", "L"):
        return np.asarray(image.convert("L")).astype(np.float32)
    if image.mode in ("LA", "PA", "RGBA") or "transparency" in image.info:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, (0, 0, 0, 255)), image)
    return grey_from_rgb(np.asarray(image.convert("RGB")))


def grey_from_rgb(rgb: np.ndarray) -> np.ndarray:
    """(H, W, 3) 8- or 16-bit → (H, W) float32, if the picture holds no color. Raises RadiographError for a color picture."""
    full = float(np.iinfo(rgb.dtype).max)
    spread = (rgb.max(axis=2).astype(np.float32) - rgb.min(axis=2)) / full
    if (spread > COLOR_SPREAD).mean() > COLOR_SHARE:
        raise RadiographError("This is a color picture, not a radiograph. Export the film itself in grey levels, without color overlays.")
    return rgb.mean(axis=2, dtype=np.float32)


def check_film(pixels: np.ndarray) -> np.ndarray:
    """Scale a decoded film to [0, 1]. Raises RadiographError if it is too small, too long, blank or not finite."""
    if pixels.ndim != 2:
        raise RadiographError("The file does not hold a single grey picture. Export one frontal film.")
    height, width = pixels.shape
    if min(height, width) < MIN_SIDE:
        raise RadiographError(f"The image has {width}×{height} pixels; at least {MIN_SIDE}×{MIN_SIDE} are needed. Export the film in full size.")
    if max(height, width) / min(height, width) > MAX_ASPECT:
        raise RadiographError(f"The image is {width}×{height} pixels, too long for a frontal chest film. Crop it to the chest.")
    if not np.isfinite(pixels).all():
        raise RadiographError("The image holds values that are not numbers. Export it again as PNG or DICOM.")
    low, high = float(pixels.min()), float(pixels.max())
    if not high > low:
        raise RadiographError("The image is blank: every pixel has the same value. Export the film again.")
    return ((pixels - low) / (high - low)).astype(np.float32)


@dataclass(frozen=True)
class Preprocessing:
    """How a film becomes a network input: stored in the checkpoint.

    size: side in pixels. low, high: percentiles that become 0 and 1. trim: cut constant borders first.
    """

    size: int = 128
    low: float = 1.0
    high: float = 99.0
    trim: bool = True


def border_box(pixels: np.ndarray) -> tuple[int, int, int, int]:
    """(top, bottom, left, right) of the film without constant borders (padding, collimation).

    A row or column at the edge is border while it is even (its 5th to 95th percentiles differ by under 2 % of the film's
    range). At most 30 % of a side is cut; beyond that the edge is taken for part of the film and left.
    """
    height, width = pixels.shape
    step = max(1, min(height, width) // 256)
    small = pixels[::step, ::step]
    even = 0.02 * float(np.ptp(small))

    def margin(lines: np.ndarray) -> int:
        limit = int(TRIM_LIMIT * len(lines))
        spread = np.subtract(*np.percentile(lines, [95, 5], axis=1))
        uneven = np.flatnonzero(spread > even)
        first = int(uneven[0]) if len(uneven) else 0
        return first * step if first <= limit else 0

    return margin(small), height - margin(small[::-1]), margin(small.T), width - margin(small.T[::-1])


def crop_to_film(radiograph: Radiograph, settings: Preprocessing) -> np.ndarray:
    """The film's pixels inside its borders, at full size, contrast-stretched: what `prepare` shrinks. (h, w) in [0, 1]."""
    pixels = radiograph.pixels
    if settings.trim:
        top, bottom, left, right = border_box(pixels)
        pixels = pixels[top:bottom, left:right]
    shrunk = cv2.resize(pixels, (settings.size, settings.size), interpolation=cv2.INTER_AREA)
    low, high = np.percentile(shrunk, [settings.low, settings.high])
    if not high - low > 1e-6:
        raise RadiographError("The image holds almost no contrast. Export the film again with its full grey scale.")
    return np.clip((pixels - low) / (high - low), 0, 1).astype(np.float32)


def prepare(radiograph: Radiograph, settings: Preprocessing) -> np.ndarray:
    """The network's input: borders cut, resized to (size, size), contrast stretched per film; float32 in [0, 1].

    Width and height are scaled separately, as in the films that the shipped checkpoints were trained on.
    """
    film = crop_to_film(radiograph, settings)
    return cv2.resize(film, (settings.size, settings.size), interpolation=cv2.INTER_AREA).clip(0, 1)
