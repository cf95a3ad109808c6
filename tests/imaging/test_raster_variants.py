"""Pictures whose orientation, transparency or kind is written in a rare way: the right picture, or its right name."""

import io
import struct
import zlib

import cv2
import imagecodecs
import numpy as np
import pytest
from helpers import DEEP, GREY, scaled, tiff
from PIL import Image, TiffImagePlugin

from diff3m.imaging import RadiographError, read_radiograph

EXACT = dict(abs=1e-6)
BACK = {3: 2, 6: 1, 8: -1}  # quarter turns to the left from the upright picture to the stored one, by EXIF orientation


def png(pixels: np.ndarray, color_type: int, transparent: bytes, depth: int = 0) -> bytes:
    """A PNG with a transparent color, written from the specification. depth: bits, those of dtype by default."""
    depth = depth or pixels.itemsize * 8
    if depth < 8:
        bits = np.unpackbits(pixels[:, :, None], axis=2)[:, :, 8 - depth :].reshape(len(pixels), -1)
        lines = b"".join(b"\0" + line.tobytes() for line in np.packbits(bits, axis=1))
    else:
        lines = b"".join(b"\0" + line.astype(f">u{depth // 8}").tobytes() for line in pixels)
    head = struct.pack(">IIBBBBB", pixels.shape[1], pixels.shape[0], depth, color_type, 0, 0, 0)
    chunks = ((b"IHDR", head), (b"tRNS", transparent), (b"IDAT", zlib.compress(lines)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )


@pytest.mark.parametrize("pixels", [GREY, DEEP])
@pytest.mark.parametrize("color", [False, True])
def test_a_transparent_color_becomes_black_at_any_depth(pixels, color):
    white = np.iinfo(pixels.dtype).max
    film = pixels.copy()
    film[:20] = white
    key = struct.pack(">H", white) * (3 if color else 1)
    result = read_radiograph(png(np.dstack([film] * 3) if color else film, 2 if color else 0, key))
    expected = pixels.copy()
    expected[:20] = 0
    assert result.pixels == pytest.approx(scaled(expected), **EXACT)


@pytest.mark.parametrize("depth", [2, 4])
def test_a_transparent_grey_of_few_bits_becomes_black(depth):
    white = 2**depth - 1
    film = np.round(scaled(GREY) * white).astype(np.uint8)
    film[:20] = white
    result = read_radiograph(png(film, 0, struct.pack(">H", white), depth))
    assert result.pixels == pytest.approx(scaled(np.where(film == white, 0, film)), **EXACT)


@pytest.mark.parametrize("meaning", [0, 1, 2])  # of ExtraSamples: no alpha; multiplied already; not yet
@pytest.mark.parametrize("orientation", [1, 3])
def test_the_fourth_channel_of_a_16_bit_tiff_counts_as_the_file_says(meaning, orientation):
    alpha = np.tile(np.linspace(0, 65535, DEEP.shape[1]).astype(np.uint16), (len(DEEP), 1))
    stored = np.dstack([DEEP] * 3 + [alpha])[:: 1 if orientation == 1 else -1, :: 1 if orientation == 1 else -1]
    height, width = DEEP.shape
    changes = {256: width, 258: 16, 262: 2, 277: 4, 338: meaning, 274: orientation}
    result = read_radiograph(tiff(np.ascontiguousarray(stored).reshape(height, 4 * width), changes=changes))
    expected = DEEP * (alpha / 65535) if meaning == 2 else DEEP
    assert result.pixels == pytest.approx(scaled(expected), **EXACT)


@pytest.mark.parametrize("orientation", BACK)
@pytest.mark.parametrize("kind", ["u1", "u2", "f4", "rgb"])
@pytest.mark.parametrize("order", ["<", ">"])
def test_tiffs_are_turned_once_and_the_turn_is_noted(orientation, kind, order):
    film = (GREY if kind == "u1" else DEEP)[:, :80]
    stored = np.rot90(film, BACK[orientation])
    height, width = stored.shape
    changes = {274: orientation} | ({256: width, 258: 16, 262: 2, 277: 3} if kind == "rgb" else {})
    pixels = np.dstack([stored] * 3).reshape(height, 3 * width) if kind == "rgb" else stored.astype(kind)
    changes = dict(sorted(changes.items()))
    result = read_radiograph(tiff(np.ascontiguousarray(pixels), order=order, changes=changes))
    assert result.pixels == pytest.approx(scaled(film), **EXACT) and "EXIF" in result.notes[0]


def test_a_tiff_that_lies_on_its_side_is_stretched_in_its_true_direction():
    flat = cv2.resize(DEEP, (160, 80), interpolation=cv2.INTER_AREA)  # pixels twice as high as wide
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags[274] = 6
    buffer = io.BytesIO()
    Image.fromarray(np.rot90(flat).copy()).save(buffer, "TIFF", tiffinfo=tags, dpi=(100, 200))
    result = read_radiograph(buffer.getvalue())
    assert result.pixels == pytest.approx(scaled(cv2.resize(flat.astype(np.float32), (160, 160))), abs=1e-5)
    assert any("2 times as high as wide" in note for note in result.notes)


@pytest.mark.parametrize("encode", [
    lambda: imagecodecs.jpeg8_encode(DEEP, level=95, bitspersample=12), lambda: imagecodecs.jpegls_encode(DEEP),
    lambda: imagecodecs.ljpeg_encode(DEEP, bitspersample=12),
])  # fmt: skip
def test_rare_kinds_of_jpeg_are_named(encode):
    with pytest.raises(RadiographError, match="kind of JPEG"):
        read_radiograph(encode())


def test_a_damaged_jpeg_is_called_damaged():
    whole = cv2.imencode(".jpg", GREY)[1].tobytes()
    for data in (whole[:40], whole[: len(whole) // 2], whole[:3] + bytes(50)):
        with pytest.raises(RadiographError, match="damaged"):
            read_radiograph(data)
