import contextlib
import io
import os

import cv2
import numpy as np
import pytest
from helpers import drawn_film
from PIL import Image

from diff3m.imaging import (
    Preprocessing,
    Radiograph,
    RadiographError,
    border_box,
    prepare,
    prepare_film,
    prepare_mask,
    read_radiograph,
)


def encoded(image: Image.Image, kind: str, **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def grey(size: int = 96) -> Image.Image:
    return Image.fromarray((drawn_film(size) * 255).astype(np.uint8))


@pytest.mark.parametrize(
    ("kind", "options"), [("PNG", {}), ("TIFF", {}), ("JPEG", {"quality": 95}), ("WEBP", {"quality": 95})]
)
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_formats_are_known_by_content(tmp_path, kind, options, mode):
    path = tmp_path / "no-suffix"
    path.write_bytes(encoded(grey().convert(mode), kind, **options))
    film = read_radiograph(path)
    assert film.source == kind and film.pixels.dtype == np.float32
    expected = np.asarray(grey()).astype(np.float32)
    expected = (expected - expected.min()) / np.ptp(expected)
    assert np.abs(film.pixels - expected).mean() < 0.02


def test_sixteen_bits_are_kept():
    levels = (np.linspace(0, 60000, 96 * 96).reshape(96, 96)).astype(np.uint16)
    ok, data = cv2.imencode(".png", levels)
    assert ok
    film = read_radiograph(data.tobytes())
    assert len(np.unique(film.pixels)) > 9000
    assert film.pixels == pytest.approx(levels / 60000, abs=1e-5)


@pytest.mark.parametrize("mode", ["LA", "RGBA", "P", "I", "F"])
def test_other_modes_are_read(mode):
    film = read_radiograph(encoded(grey().convert("L").convert(mode), "TIFF" if mode in ("F", "I") else "PNG"))
    assert film.pixels.shape == (96, 96)


def photograph() -> Image.Image:
    y, x = np.mgrid[0:96, 0:96]
    return Image.fromarray(np.stack([x * 2, y * 2, 190 - x - y // 2], axis=2).astype(np.uint8))


def animation() -> bytes:
    return encoded(grey(), "WEBP", save_all=True, append_images=[grey(), grey().rotate(20)])


BAD = {
    "empty": (b"", "empty"),
    "text": (b"hello, this is no picture" * 9, "no PNG"),
    "truncated png": (encoded(grey(), "PNG")[:2000], "damaged"),
    "truncated jpeg": (encoded(grey(256), "JPEG")[:1500], "damaged"),
    "color photograph": (encoded(photograph(), "PNG"), "color"),
    "one pixel": (encoded(Image.new("L", (1, 1), 9), "PNG"), "at least"),
    "blank": (encoded(Image.new("L", (128, 128), 9), "PNG"), "blank"),
    "strip": (encoded(Image.fromarray((drawn_film(512)[:100] * 255).astype(np.uint8)), "PNG"), "too long"),
    "animation": (animation(), "pictures"),
    "pdf": (b"%PDF-1.7 \n" + bytes(500), "no PNG"),
    "bomb": (encoded(Image.new("1", (9000, 9000)), "PNG"), "million"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_files_get_a_sentence(name):
    data, word = BAD[name]
    with pytest.raises(RadiographError, match=word) as excinfo:
        read_radiograph(data)
    assert str(excinfo.value).endswith(".") and "Traceback" not in str(excinfo.value)


def test_bad_paths_get_a_sentence(tmp_path):
    with pytest.raises(RadiographError, match="no such file"):
        read_radiograph(tmp_path / "absent.png")
    with pytest.raises(RadiographError, match="folder"):
        read_radiograph(tmp_path)


def test_pixel_limit_is_checked_before_decoding(monkeypatch):
    def decoded(self):
        raise AssertionError("the picture was decoded")

    monkeypatch.setattr(Image.Image, "load", decoded)
    with pytest.raises(RadiographError, match="million"):
        read_radiograph(BAD["bomb"][0])


def test_white_is_zero_tiffs_are_turned_around():
    for bits, image in ((8, grey()), (16, Image.fromarray(np.asarray(grey()).astype(np.uint16) * 257))):
        data = encoded(image, "TIFF")
        inverse = read_radiograph(white_is_zero(data)).pixels
        assert inverse == pytest.approx(1 - read_radiograph(data).pixels, abs=1e-5), bits


def white_is_zero(data: bytes) -> bytes:
    """A little-endian TIFF with its PhotometricInterpretation entry (262, SHORT, 1 value) set to 0."""
    entry = (262).to_bytes(2, "little") + (3).to_bytes(2, "little") + (1).to_bytes(4, "little")
    place = data.index(entry) + len(entry)
    return data[:place] + bytes(2) + data[place + 2 :]


def test_values_beyond_float_range_are_refused():
    wild = np.asarray(grey()).astype(np.float32)
    wild[0, :2] = (3.3e38, -3.3e38)
    with pytest.raises(RadiographError, match="too large"):
        read_radiograph(encoded(Image.fromarray(wild), "TIFF"))


def test_a_jpeg_of_endless_scans_is_refused_before_it_is_decoded():
    data = encoded(grey(), "JPEG", progressive=True)
    scan = data.rindex(b"\xff\xda")
    with pytest.raises(RadiographError, match="scans"):
        read_radiograph(data[:-2] + data[scan:-2] * 500 + data[-2:])


@pytest.mark.parametrize("kind", ["two pages cut short", "junk after the first page"])
def test_damaged_further_pages_are_no_crash(kind):
    pages = encoded(grey(), "TIFF", save_all=True, append_images=[grey()])
    for cut in range(len(pages) // 2, len(pages), 97):
        data = pages[:cut] if kind.startswith("two") else pages[:cut] + b"junk" * 9
        with contextlib.suppress(RadiographError):
            assert read_radiograph(data).pixels.shape == (96, 96)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes on this system")
def test_pipes_devices_and_nonsense_are_no_files(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for source in (tmp_path / "pipe", "/dev/zero", "a\0b", "a" * 5000, None, 3):
        with pytest.raises(RadiographError):
            read_radiograph(source)


def test_borders_do_not_change_what_the_model_sees():
    film = drawn_film(400)
    film_with_border = np.zeros((500, 480), dtype=np.float32)
    film_with_border[60:460, 30:430] = film
    top, bottom, left, right = border_box(film_with_border)
    assert abs(top - 60) <= 2 and abs(bottom - 460) <= 2 and abs(left - 30) <= 2 and abs(right - 430) <= 2
    bare, with_border = (prepare(Radiograph(image), Preprocessing(64)) for image in (film, film_with_border))
    assert np.abs(bare - with_border).mean() < 0.02
    whole_film = prepare(Radiograph(film_with_border), Preprocessing(64, trim=False))
    assert np.abs(bare - whole_film).mean() > 0.1


def test_a_film_without_borders_is_left_whole():
    assert border_box(drawn_film(300, seed=3)) == (0, 300, 0, 300)


def test_preparation_is_contrast_invariant_and_bounded():
    film = drawn_film(200)
    first = prepare(Radiograph(film), Preprocessing(64))
    second = prepare(Radiograph(0.3 + 0.4 * film), Preprocessing(64))
    assert first.shape == (64, 64) and first.dtype == np.float32
    assert 0 <= first.min() < 0.03 and 0.97 < first.max() <= 1
    assert second == pytest.approx(first, abs=1e-4)


def test_full_size_crop_shrinks_to_the_prepared_film():
    film = Radiograph(drawn_film(256))
    prepared = prepare_film(film, Preprocessing(64))
    crop = prepared.stretch(prepared.crop(film.pixels))
    assert crop.shape == (256, 256)
    assert cv2.resize(crop, (64, 64), interpolation=cv2.INTER_AREA) == pytest.approx(prepared.square, abs=1e-5)


def test_real_films_are_read(real_uploads):
    for path in sorted(real_uploads.glob("*.png")):
        film = read_radiograph(path)
        assert min(film.pixels.shape) >= 1000
        assert 0.2 < prepare(film, Preprocessing()).mean() < 0.9


def test_a_mask_is_cut_and_scaled_as_its_film():
    film = np.zeros((300, 300), np.float32)
    film[30:270, 60:240] = drawn_film(300)[30:270, 60:240]  # a wide black border
    film[40:80, 70:130], film[200:240, 70:130] = 1.0, 0.0  # so that the mark does not change the contrast stretch
    mask = np.zeros((150, 150), bool)  # at half the film's size
    mask[60:75, 75:90] = True  # a square of the film's pixels 120:150, 150:180
    film_with_mark = film.copy()
    film_with_mark[120:150, 150:180] = 1.0
    for settings in (Preprocessing(size=64), Preprocessing(size=64, trim=False)):
        difference = np.abs(prepare(Radiograph(film_with_mark), settings) - prepare(Radiograph(film), settings))
        differs, prepared = difference > 0.5 * difference.max(), prepare_mask(mask, Radiograph(film), settings)
        assert prepared.shape == (64, 64) and 2 * (differs & prepared).sum() / (differs.sum() + prepared.sum()) > 0.85
