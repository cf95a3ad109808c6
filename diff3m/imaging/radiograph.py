"""Radiographs: any supported file → one grey float image and an allow-listed set of header facts.

`read_radiograph` opens PNG, JPEG, WebP, TIFF and DICOM by content, never by suffix. `prepare` is the one preprocessing
of training and inference.
"""

from __future__ import annotations

import io
import logging
import os
import stat
from dataclasses import dataclass, field

import cv2
import numpy as np
from PIL import Image, ImageOps

logging.getLogger("PIL").setLevel(logging.WARNING)  # below that, Pillow logs the text of TIFF and EXIF tags

MIN_SIDE = 64
MAX_PIXELS = 36_000_000  # the largest detectors have about half of that
MAX_SCANS = 200  # of a progressive JPEG; about 10 are usual
MAX_RANGE = 1e30
MAX_ASPECT = 2.0
MAX_BYTES = 256 * 2**20
FORMATS = ("PNG", "JPEG", "WEBP", "TIFF")
COLOR_SPREAD = 0.10  # channel difference, of full scale, from which a pixel counts as colored
COLOR_SHARE = 0.05  # share of colored pixels that makes a picture a color picture
TIFF_PHOTOMETRIC = 262
TRIM_LIMIT = 0.30  # at most this share of a side is taken for a border


class RadiographError(ValueError):
    """A file that cannot be judged as a chest film; the message says what to do."""


@dataclass(frozen=True)
class Radiograph:
    """One film as read.

    pixels: (H, W) float32 in [0, 1], bright = dense (bone white). source: "DICOM", "PNG", "JPEG", "WEBP", "TIFF" or "array".
    facts: EHR values found in the header, by feature name. notes: sentences for the reader about what was seen.
    """

    pixels: np.ndarray
    source: str = "array"
    facts: dict[str, float | str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def read_radiograph(source: str | os.PathLike | bytes) -> Radiograph:
    """Open a film from a path or from bytes. Raises RadiographError with a sentence that says what to do."""
    data = _bytes(source)
    if len(data) > MAX_BYTES:
        raise RadiographError(f"The file is larger than {MAX_BYTES // 2**20} MB. Export a single film.")
    if not data:
        raise RadiographError("The file is empty. Export or download it again.")
    from .dicom import looks_like_dicom, read_dicom

    return read_dicom(data) if looks_like_dicom(data) else _read_raster(data)


def _bytes(source: str | os.PathLike | bytes) -> bytes:
    if isinstance(source, bytes | bytearray | memoryview):
        return bytes(source)
    try:
        path = os.fspath(source)
        mode = os.stat(path).st_mode
        if stat.S_ISDIR(mode):
            raise RadiographError("This is a folder. Choose one image or DICOM file in it.")
        if not stat.S_ISREG(mode):
            raise RadiographError("This is no ordinary file. Choose an image or DICOM file.")
        with open(path, "rb") as file:
            return file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise RadiographError("There is no such file. Check the path.") from None
    except (OSError, TypeError, ValueError) as error:
        if isinstance(error, RadiographError):
            raise
        raise RadiographError("The file cannot be read. Check that it exists and that you may open it.") from None


def _read_raster(data: bytes) -> Radiograph:
    try:
        image = Image.open(io.BytesIO(data), formats=FORMATS)
    except Exception:  # decoders raise many kinds of error on damaged data
        raise RadiographError(
            "This file is no PNG, JPEG, WebP, TIFF or DICOM image. Export the film in one of these formats."
        ) from None
    name = image.format or "image"
    check_size(image.width, image.height)
    try:
        if _has_second_picture(image):
            raise RadiographError(f"The {name} file holds several pictures. Export a single frontal film.")
        if data.count(b"\xff\xda") > MAX_SCANS and name == "JPEG":
            raise RadiographError("This JPEG file is built of too many scans. Save it again as a plain JPEG or PNG.")
        image.load()
        pixels = _grey(ImageOps.exif_transpose(image))
        if image.mode.startswith("I;16") and getattr(image, "tag_v2", {}).get(TIFF_PHOTOMETRIC) == 0:
            pixels = pixels.max() + pixels.min() - pixels  # white is zero; Pillow turns only 1- and 8-bit films around
    except RadiographError:
        raise
    except Exception:
        raise RadiographError(f"The {name} file is damaged or incomplete. Export or download it again.") from None
    return Radiograph(check_film(pixels), source=name)


def _has_second_picture(image: Image.Image) -> bool:
    """True if a second frame can be reached; counting them all can take very long."""
    try:
        image.seek(1)
    except Exception:  # none, or damaged from there on
        second = False
    else:
        second = True
    image.seek(0)
    return second


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
        raise RadiographError(
            "This is a color picture, not a radiograph. Export the film itself in grey levels, without color overlays."
        )
    return rgb.mean(axis=2, dtype=np.float32)


def check_film(pixels: np.ndarray) -> np.ndarray:
    """Scale a decoded film to [0, 1]. Raises RadiographError if it is too small, too long, blank or not finite."""
    if pixels.ndim != 2:
        raise RadiographError("The file does not hold a single grey picture. Export one frontal film.")
    check_size(pixels.shape[1], pixels.shape[0])
    if not np.isfinite(pixels).all():
        raise RadiographError("The image holds values that are not numbers. Export it again as PNG or DICOM.")
    low, high = float(pixels.min()), float(pixels.max())
    if not high > low:
        raise RadiographError("The image is blank: every pixel has the same value. Export the film again.")
    if high - low > MAX_RANGE:
        raise RadiographError(
            "The image holds values that are too large to be grey levels. Export it again as PNG or DICOM."
        )
    return ((pixels - np.float32(low)) / np.float32(high - low)).astype(np.float32, copy=False)


def check_size(width: int, height: int) -> None:
    """Raise RadiographError for a picture that is too small, too large or too long for a frontal chest film."""
    if min(height, width) < MIN_SIDE:
        raise RadiographError(
            f"The image has {width}×{height} pixels; at least {MIN_SIDE}×{MIN_SIDE} are needed. Export the film in full size."
        )
    if max(height, width) > MAX_ASPECT * min(height, width):
        raise RadiographError(
            f"The image is {width}×{height} pixels, too long for a frontal chest film. Crop it to the chest."
        )
    if width * height > MAX_PIXELS:
        raise RadiographError(
            f"The image has {width}×{height} pixels, more than {MAX_PIXELS // 10**6} million. Export it smaller."
        )


@dataclass(frozen=True)
class Preprocessing:
    """How a film becomes a network input: stored in the checkpoint.

    size: side in pixels. low, high: percentiles that become 0 and 1. trim: cut constant borders first.
    """

    size: int = 128
    low: float = 1.0
    high: float = 99.0
    trim: bool = True

    def __post_init__(self) -> None:
        if not isinstance(self.size, int) or not 8 <= self.size <= 4096 or not 0 <= self.low < self.high <= 100:
            raise ValueError("preprocessing needs a size of 8 to 4096 and percentiles 0 ≤ low < high ≤ 100")


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


def inside_borders(radiograph: Radiograph, settings: Preprocessing) -> np.ndarray:
    """The film's pixels without its borders, or all of them where the settings do not trim."""
    if not settings.trim:
        return radiograph.pixels
    top, bottom, left, right = border_box(radiograph.pixels)
    return radiograph.pixels[top:bottom, left:right]


def prepare_mask(mask: np.ndarray, radiograph: Radiograph, settings: Preprocessing) -> np.ndarray:
    """A mask of the film as read (any size of its proportions, bool), cut and scaled as `prepare` does the film: (size, size) bool."""
    height, width = radiograph.pixels.shape
    top, bottom, left, right = border_box(radiograph.pixels) if settings.trim else (0, height, 0, width)
    fitted = cv2.resize(mask.astype(np.float32), (width, height), interpolation=cv2.INTER_LINEAR)[
        top:bottom, left:right
    ]
    return cv2.resize(fitted, (settings.size, settings.size), interpolation=cv2.INTER_AREA) > 0.5


def film_aspect(radiograph: Radiograph, settings: Preprocessing) -> float:
    """Width over height of the film inside its borders: the proportions in which `prepare`'s square is to be shown."""
    height, width = inside_borders(radiograph, settings).shape
    return width / height


def crop_to_film(radiograph: Radiograph, settings: Preprocessing) -> np.ndarray:
    """The film's pixels inside its borders, at full size, contrast-stretched: what `prepare` shrinks. (h, w) in [0, 1]."""
    pixels = inside_borders(radiograph, settings)
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
