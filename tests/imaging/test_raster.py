"""PNG, JPEG and TIFF films of many kinds: all bits kept, upright, in true proportions, or a sentence."""

import io

import cv2
import numpy as np
import pytest
from helpers import DEEP, GREY, scaled, tiff
from PIL import Image

from diff3m.imaging import RadiographError, read_radiograph


def encoded(image: Image.Image, kind: str, **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("channels", [3, 4])
@pytest.mark.parametrize("suffix", [".png", ".tiff"])
def test_16_bits_of_several_channels_are_kept(channels, suffix):
    layers = [DEEP] * 3 + [np.full_like(DEEP, 65535)] * (channels - 3)
    film = read_radiograph(cv2.imencode(suffix, np.dstack(layers))[1].tobytes())
    assert film.pixels == pytest.approx(scaled(DEEP), abs=1e-6)


def test_16_bit_transparency_becomes_black_and_16_bit_colors_are_refused():
    alpha = np.where(np.arange(96) < 48, 0, 65535).astype(np.uint16)[None].repeat(96, 0)
    film = read_radiograph(cv2.imencode(".png", np.dstack([DEEP] * 3 + [alpha]))[1].tobytes())
    assert film.pixels == pytest.approx(scaled(np.where(alpha > 0, DEEP, 0)), abs=1e-6)
    y, x = np.mgrid[:96, :96]
    colors = np.dstack([x * 40, y * 40, 3900 - x * 20 - y * 20]).astype(np.uint16)  # 12 bits of 16
    with pytest.raises(RadiographError, match="color"):
        read_radiograph(cv2.imencode(".png", colors)[1].tobytes())


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("white_is_zero", [False, True])
@pytest.mark.parametrize("kind", ["u1", "u2", "i2", "u4", "i4", "f4", "f8", "f2"])
def test_tiffs_are_read_or_named(kind, order, white_is_zero):
    values = (DEEP // 16 if kind == "u1" else DEEP).astype(np.float64)
    values = values * 1e6 if kind == "u4" else values - 1500 if kind in ("i2", "i4") else values
    values = values.astype(kind)
    try:
        film = read_radiograph(tiff(values, order=order, white_is_zero=white_is_zero))
    except RadiographError as error:
        assert "kind of TIFF" in str(error)
        assert kind not in ("u1", "f4") and (kind not in ("u2", "i2", "i4") or white_is_zero), "this one is read"
        return
    expected = scaled(values)
    assert film.pixels == pytest.approx(1 - expected if white_is_zero else expected, abs=1e-6)


def test_planar_16_bit_color_tiffs_are_not_misread():
    planes = tiff(np.concatenate([DEEP] * 3), changes={257: 96, 262: 2, 277: 3, 278: 96, 284: 2})
    with pytest.raises(RadiographError, match="kind of TIFF"):
        read_radiograph(planes)


def test_thumbnails_and_depth_maps_are_left_out():
    small = DEEP[::3, ::3]
    for pages, is_thumbnail in (((DEEP, small), (False, True)), ((small, DEEP), (True, False))):
        film = read_radiograph(tiff(*pages, thumbnails=is_thumbnail))
        assert film.pixels == pytest.approx(scaled(DEEP), abs=1e-6) and "further pictures" in film.notes[0]
    with pytest.raises(RadiographError, match="several pictures"):
        read_radiograph(tiff(DEEP, DEEP, thumbnails=(False, False)))
    image = Image.fromarray(GREY)
    phone = encoded(image, "MPO", save_all=True, append_images=[image.resize((64, 64))])
    film = read_radiograph(phone)
    assert film.source == "JPEG" and film.pixels.shape == (96, 96) and "further pictures" in film.notes[0]


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "JPEG"])
def test_true_proportions_by_the_files_resolution(kind):
    half = Image.fromarray(cv2.resize(GREY, (160, 80), interpolation=cv2.INTER_CUBIC))
    options = dict(quality=100) if kind == "JPEG" else {}
    film = read_radiograph(encoded(half, kind, dpi=(200, 100), **options))
    expected = cv2.resize(np.asarray(half).astype(np.float32), (160, 160), interpolation=cv2.INTER_LINEAR)
    assert film.pixels.shape == (160, 160) and "not square" in film.notes[0]
    assert film.pixels == pytest.approx(scaled(expected), abs=0.02)
    square = read_radiograph(encoded(half, kind, dpi=(72, 72), **options))
    assert square.pixels.shape == (80, 160) and not square.notes
    odd = read_radiograph(encoded(Image.fromarray(GREY), kind, dpi=(10000, 1), **options))
    assert odd.pixels.shape == (96, 96) and "not plausible" in odd.notes[0]


def test_exif_orientation_is_followed_and_noted():
    image = Image.fromarray(GREY[:, :80])
    exif = Image.Exif()
    exif[0x0112] = 6  # shown after a quarter turn to the right
    film = read_radiograph(encoded(image, "PNG", exif=exif))
    assert film.pixels == pytest.approx(scaled(np.rot90(GREY[:, :80], -1)), abs=1e-6) and "EXIF" in film.notes[0]


def test_a_chunk_that_runs_beyond_the_file_is_no_endless_loop():
    data = bytearray(cv2.imencode(".png", np.dstack([DEEP] * 4))[1].tobytes())
    start = data.index(b"IDAT") - 4
    data[start : start + 4] = (0x9B009E00).to_bytes(4, "big")
    with pytest.raises(RadiographError, match="damaged"):
        read_radiograph(bytes(data))
