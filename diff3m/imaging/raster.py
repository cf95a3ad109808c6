"""PNG, JPEG, WebP and TIFF films, read with all of their bits, upright and in true proportions."""

from __future__ import annotations

import io
import logging
import struct
from typing import Any

import cv2
import numpy as np
from PIL import Image, ImageOps
from PIL.TiffImagePlugin import ImageFileDirectory_v2, TiffImageFile

from .geometry import MAX_PIXEL_ASPECT, pixels_are_square, square_size, stretch_note, with_square_pixels
from .jpeg import count_scans, read_jpeg_header
from .radiograph import Radiograph, RadiographError, check_size, grey_from_rgb, normalize_film

logging.getLogger("PIL").setLevel(logging.WARNING)  # below that, Pillow logs the text of TIFF and EXIF tags

FORMATS = ("PNG", "JPEG", "WEBP", "TIFF")
MAGIC = (b"\x89PNG", b"\xff\xd8\xff", b"II*\0", b"MM\0*", b"II+\0", b"MM\0+", b"RIFF")
MAX_SCANS = 200  # of a progressive JPEG; about 10 are usual
MAX_PAGES = 20  # of a TIFF that are looked at: a film and its thumbnails
ORDINARY_FRAMES = (0xC0, 0xC1, 0xC2, 0xC9, 0xCA)  # markers of baseline, extended and progressive JPEG, in both codings
PNG_DEEP_COLOR = (2, 4, 6)  # color types of PNG that Pillow cuts to 8 bits: RGB, grey with alpha, RGBA
PNG_SPREAD = {2: 85, 4: 17}  # by bits: Pillow scales grey levels to 0 to 255, but not the transparent one
# TIFF tags
NEW_SUBFILE_TYPE, SUBFILE_TYPE, BITS_PER_SAMPLE, PHOTOMETRIC, SAMPLES, SAMPLE_FORMAT = 254, 255, 258, 262, 277, 339
COMPRESSION, PLANAR, PREDICTOR, EXTRA_SAMPLES = 259, 284, 317, 338
WHITE_IS_ZERO, CONTIGUOUS = 0, 1
UNASSOCIATED_ALPHA = 2  # of ExtraSamples: colors are not multiplied by it; 1: they are, 0: the sample is no alpha
CLASSIC_TIFF, SHORT = 42, 3  # version of a TIFF with 32-bit offsets; type of a tag's value
PREDICTED = (5, 8, 32946, 34925, 50000)  # LZW, deflate, LZMA, Zstandard: compressions that know a predictor
UNSIGNED_INTEGER, SIGNED_INTEGER = 1, 2  # of SampleFormat
ORIENTATION = 0x0112  # EXIF
TRANSPOSED = (5, 6, 7, 8)  # EXIF orientations that exchange width and height

TURNED = "The picture was turned or mirrored, as its EXIF orientation says. Compare the side marker."
FIRST_PICTURE = (
    "The file holds further pictures that belong to the first (a preview or a depth map); they were left out."
)
KIND_OF_TIFF = (
    "This kind of TIFF is not read, or the file is damaged. Save the film as a grey TIFF of 8 or 16 bits, or as PNG."
)
KIND_OF_JPEG = (
    "This kind of JPEG (of 12 bits, lossless or JPEG-LS) is not read. Save the film as PNG, or as an ordinary JPEG."
)
BAD_ASPECT = "The file's pixel proportions are not plausible and were ignored."


def looks_like_raster(data: bytes) -> bool:
    """Tell whether bytes begin as a PNG, JPEG, TIFF or WebP file does."""
    return data.startswith(MAGIC)


def read_raster(data: bytes) -> Radiograph:
    """Read a film from the bytes of a PNG, JPEG, WebP or TIFF file.

    Raises RadiographError, whose message says what to do.
    """
    try:
        image = Image.open(io.BytesIO(data), formats=FORMATS)
    except Exception:  # decoders raise many kinds of error on damaged data
        raise RadiographError(_open_error(data)) from None
    name = "JPEG" if image.format == "MPO" else image.format or "image"
    notes: list[str] = []
    try:
        _choose_picture(image, name, notes)
        aspect = _pixel_aspect(image, notes)
        check_size(image.width, image.height, aspect)
        height, width = square_size(image.height, image.width, aspect)
        check_size(width, height)
        if name == "JPEG" and count_scans(data, MAX_SCANS) > MAX_SCANS:
            raise RadiographError("This JPEG file is built of too many scans. Save it again as a plain JPEG or PNG.")
        orientation = _orientation(image)
        pixels = _decode(image, data, name)
        if orientation != 1:
            notes.append(TURNED)
        pixels = with_square_pixels(pixels, aspect)
        pixels = pixels if name == "TIFF" else _turn_upright(pixels, orientation)
    except RadiographError:
        raise
    except Exception:
        message = f"The {name} file is damaged or incomplete. Export or download it again."
        raise RadiographError(KIND_OF_TIFF if name == "TIFF" else message) from None
    return Radiograph(normalize_film(pixels), source=name, notes=tuple(notes))


def _open_error(data: bytes) -> str:
    """Return the error message for bytes that Pillow cannot open."""
    if data.startswith(MAGIC[2:6]):
        return KIND_OF_TIFF
    if data.startswith(MAGIC[1]) and _is_rare_jpeg(data):
        return KIND_OF_JPEG
    if data.startswith(MAGIC[:2]):
        return "The picture file is damaged or incomplete. Export or download it again."
    return "This file is no PNG, JPEG, WebP, TIFF or DICOM image. Export the film in one of these formats."


def _choose_picture(image: Image.Image, name: str, notes: list[str]) -> None:
    """Seek the film in a file; thumbnails, previews and depth maps beside it do not count, but are noted.

    Raises RadiographError for a file of several pictures.
    """
    if image.format == "MPO":
        notes.append(FIRST_PICTURE)
        image.seek(0)
        return
    several = RadiographError(f"The {name} file holds several pictures. Export a single frontal film.")
    if name != "TIFF":
        if _can_seek(image, 1):
            raise several
        image.seek(0)
        return
    pictures, pages = [], 0
    while pages < MAX_PAGES and _can_seek(image, pages):
        tags = _tags(image)
        is_reduced = bool(int(tags.get(NEW_SUBFILE_TYPE, 0)) & 0b101) or int(tags.get(SUBFILE_TYPE, 1)) == 2
        pictures += [] if is_reduced else [pages]
        pages += 1
    if pages == MAX_PAGES or len(pictures) > 1:
        raise several
    if pages > 1:
        notes.append(FIRST_PICTURE)
    image.seek(pictures[0] if pictures else 0)


def _can_seek(image: Image.Image, page: int) -> bool:
    """Seek a page; tell whether it exists. Pillow's own count of all pages can take very long."""
    try:
        image.seek(page)
    except Exception:  # none, or damaged from there on
        return False
    return True


def _is_rare_jpeg(data: bytes) -> bool:
    """Tell whether a JPEG file is of a kind that Pillow does not know, by its frame header."""
    header = read_jpeg_header(data)
    return header is not None and (header.marker not in ORDINARY_FRAMES or header.precision != 8)


def _tags(image: Image.Image) -> ImageFileDirectory_v2:
    """Return the tags of the current page of a TIFF, which Pillow always opens as this class."""
    assert isinstance(image, TiffImageFile)
    return image.tag_v2


def _pixel_aspect(image: Image.Image, notes: list[str]) -> float:
    """Return height over width of a pixel by the file's resolution: PNG pHYs, JFIF density, TIFF X- and YResolution.

    The pixel is one of the decoded picture, which Pillow turns upright for a TIFF and leaves as stored for other files.
    """
    info = image.info
    resolution: Any = None
    if image.format in ("JPEG", "MPO"):
        resolution = info.get("jfif_density")
    elif image.format == "PNG":
        resolution = info.get("aspect") or info.get("dpi")
    elif image.format == "TIFF":
        resolution = _tags(image).get(282), _tags(image).get(283)
    try:
        across, down = (float(value) for value in resolution)
        aspect = across / down
    except (TypeError, ValueError, ZeroDivisionError):  # no resolution, or a malformed one
        return 1.0
    if not 1 / MAX_PIXEL_ASPECT <= aspect <= MAX_PIXEL_ASPECT:
        notes.append(BAD_ASPECT)
        return 1.0
    if pixels_are_square(aspect):
        return 1.0
    upright = 1 / aspect if _orientation(image) in TRANSPOSED else aspect
    notes.append(stretch_note(upright))
    return upright if image.format == "TIFF" else aspect


def _orientation(image: Image.Image) -> int:
    """Return the EXIF orientation, 1 to 8; 1 where it is missing or malformed."""
    try:
        value = int(image.getexif().get(ORIENTATION, 1))
    except Exception:  # Pillow raises many kinds of error on damaged EXIF data
        return 1
    return value if 1 <= value <= 8 else 1


def _turn_upright(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Turn a picture as its EXIF orientation says."""
    if orientation == 1:
        return pixels
    carrier = Image.fromarray(pixels)
    carrier.getexif()[ORIENTATION] = orientation
    return np.asarray(ImageOps.exif_transpose(carrier))


def _decode(image: Image.Image, data: bytes, name: str) -> np.ndarray:
    """Decode the picture: (H, W) float32 in its own units, bright = dense."""
    if name == "PNG" and data[24] == 16 and data[25] in PNG_DEEP_COLOR:
        return _decode_16_bit_channels(_plain_png(data), image.info.get("transparency"))
    if name == "TIFF":
        return _decode_tiff(image, data)
    image.load()
    pixels, transparent = _grey(image), image.info.get("transparency")
    if name == "PNG" and image.mode in ("1", "L", "I;16") and isinstance(transparent, int):
        pixels[pixels == transparent * PNG_SPREAD.get(data[24], 1)] = 0
    return pixels


def _decode_tiff(image: Image.Image, data: bytes) -> np.ndarray:
    """Decode the current page of a TIFF, upright: Pillow turns it when it loads the picture."""
    tags = _tags(image)
    bits, samples = tags.get(BITS_PER_SAMPLE, (1,)), int(tags.get(SAMPLES, 1))
    depth, kind = int(bits[0]), int(next(iter(tags.get(SAMPLE_FORMAT, (UNSIGNED_INTEGER,)))))
    if depth == 8 and kind == SIGNED_INTEGER and (samples > 1 or image.mode != "L"):
        raise RadiographError(KIND_OF_TIFF)
    if tags.get(PREDICTOR, 1) != 1 and tags.get(COMPRESSION) not in PREDICTED:
        raise RadiographError(KIND_OF_TIFF)
    if samples > 1 and depth > 8:
        if depth != 16 or kind != UNSIGNED_INTEGER or image.tell() or tags.get(PLANAR, CONTIGUOUS) != CONTIGUOUS:
            raise RadiographError(KIND_OF_TIFF)
        orientation, has_alpha = _orientation(image), UNASSOCIATED_ALPHA in tags.get(EXTRA_SAMPLES, ())
        stored = data if orientation == 1 else _without_orientation(data)
        return _turn_upright(_decode_16_bit_channels(stored, has_alpha=has_alpha), orientation)
    image.load()
    pixels = _grey(image)
    if depth == 8 and kind == SIGNED_INTEGER:  # Pillow takes them for unsigned
        pixels = pixels.astype(np.uint8).view(np.int8).astype(np.float32)
    if image.mode == "I" and depth == 32 and kind == UNSIGNED_INTEGER:
        pixels = np.asarray(image).astype(np.int32).view(np.uint32).astype(np.float32)
    if tags.get(PHOTOMETRIC) == WHITE_IS_ZERO and image.mode not in ("1", "L"):  # these Pillow turns around itself
        pixels = pixels.max() + pixels.min() - pixels
    return pixels


def _without_orientation(data: bytes) -> bytes:
    """Return a TIFF whose first page says that it is upright, because OpenCV may turn one that is not.

    Raises RadiographError for a TIFF of 64-bit offsets.
    """
    order = "<" if data[:2] == b"II" else ">"
    version, start = struct.unpack(f"{order}HI", data[2:8])
    if version != CLASSIC_TIFF:
        raise RadiographError(KIND_OF_TIFF)
    (count,) = struct.unpack_from(f"{order}H", data, start)
    result = bytearray(data)
    for position in range(start + 2, start + 2 + 12 * count, 12):
        if struct.unpack_from(f"{order}H", data, position)[0] == ORIENTATION:
            struct.pack_into(f"{order}HIHH", result, position + 2, SHORT, 1, 1, 0)
    return bytes(result)


def _plain_png(data: bytes) -> bytes:
    """Return a PNG reduced to its header and pixels.

    Raises ValueError for a file that is cut short: OpenCV's reader hangs on chunks that run beyond the end.
    """
    chunks, position = [data[:8]], 8
    while position < len(data):
        end = position + 12 + int.from_bytes(data[position : position + 4], "big")
        kind = data[position + 4 : position + 8]
        if end > len(data):
            raise ValueError("a chunk runs beyond the end of the file")
        if kind in (b"IHDR", b"IDAT", b"IEND"):
            chunks.append(data[position:end])
        if kind == b"IEND":
            return b"".join(chunks)
        position = end
    raise ValueError("the file has no end")


def _decode_16_bit_channels(
    data: bytes, transparent: tuple[int, int, int] | None = None, has_alpha: bool = True
) -> np.ndarray:
    """Decode a picture of several channels of 16 bits, which Pillow would cut to 8: (H, W) float32.

    transparent: the RGB color that becomes black. has_alpha: whether the fourth channel is an alpha by which the colors
    are still to be multiplied. Raises RadiographError for color, or for another kind of picture.
    """
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None or pixels.dtype != np.uint16:
        raise RadiographError("This kind of picture is not read. Save the film in grey levels of 8 or 16 bits as PNG.")
    if pixels.ndim == 2:
        return pixels.astype(np.float32)
    grey = grey_from_rgb(pixels[..., :3])
    if transparent is not None:
        grey[(pixels[..., 2::-1] == transparent).all(axis=2)] = 0
    if pixels.shape[2] == 4 and has_alpha:
        grey *= pixels[..., 3] / np.float32(65535)  # over black
    return grey


def _grey(image: Image.Image) -> np.ndarray:
    """Return a PIL image of any mode as (H, W) float32 in its own units; transparent pixels become black."""
    if image.mode in ("I;16", "I;16B", "I;16L", "I", "F"):
        return np.asarray(image).astype(np.float32)
    if image.mode in ("1", "L"):
        return np.asarray(image.convert("L")).astype(np.float32)
    if image.mode in ("LA", "PA", "RGBA") or "transparency" in image.info:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, (0, 0, 0, 255)), image)
    return grey_from_rgb(np.asarray(image.convert("RGB")))
