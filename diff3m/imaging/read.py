"""Reading a film: any supported file, known by its content and never by its suffix, becomes a Radiograph."""

from __future__ import annotations

import io
import logging
import os
import stat

import numpy as np
from PIL import Image, ImageOps

from .dicom import looks_like_dicom, read_dicom
from .radiograph import MAX_BYTES, Radiograph, RadiographError, check_film, check_size, grey_from_rgb

logging.getLogger("PIL").setLevel(logging.WARNING)  # below that, Pillow logs the text of TIFF and EXIF tags

MAX_SCANS = 200  # of a progressive JPEG; about 10 are usual
FORMATS = ("PNG", "JPEG", "WEBP", "TIFF")
TIFF_PHOTOMETRIC = 262


def read_radiograph(source: str | os.PathLike | bytes) -> Radiograph:
    """Open a film from a path or from bytes. Raises RadiographError with a sentence that says what to do."""
    data = _bytes(source)
    if len(data) > MAX_BYTES:
        raise RadiographError(f"The file is larger than {MAX_BYTES // 2**20} MB. Export a single film.")
    if not data:
        raise RadiographError("The file is empty. Export or download it again.")
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
