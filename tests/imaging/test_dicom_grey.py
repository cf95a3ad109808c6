"""Grey scale and stored pixels of DICOM films against the standard's formulas in numpy, GDCM and pydicom."""

import io

import gdcm
import numpy as np
import pydicom
import pytest
from helpers import CORNERS, EXPECTED, FILM, compressed_dicom, dicom, scaled, with_element
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset
from pydicom.pixels import apply_voi_lut
from pydicom.sequence import Sequence

from diff3m.imaging import RadiographError, read_radiograph

Y, X = np.mgrid[:128, :128]
EXACT = dict(abs=2e-6)


@pytest.mark.parametrize("vr", ["US", "SS"])
@pytest.mark.parametrize("implicit", [False, True])
def test_padding_of_either_vr_never_stretches_the_contrast(vr, implicit):
    expected = np.where(CORNERS, 0, (FILM - FILM[~CORNERS].min()) / np.ptp(FILM[~CORNERS]))
    for pattern, film, signed in ((35536, FILM.astype(np.int16) - 2048, True), (63536, FILM.copy(), False)):
        stored = film.astype(np.uint16)
        stored[CORNERS] = pattern
        value = pattern if vr == "US" else pattern - 65536
        data = with_element(
            stored.view(np.int16) if signed else stored,
            (0x00280120, vr, value),
            implicit=implicit,
            BitsStored=16,
            HighBit=15,
        )
        assert read_radiograph(data).pixels == pytest.approx(expected, **EXACT), pattern


def test_padding_ranges_and_padding_beyond_the_stored_bits():
    film = FILM.copy()
    film[CORNERS] = 63536  # beyond BitsStored 12
    film[:5] = 63540
    outside = CORNERS | (Y < 5)
    data = with_element(film, (0x00280120, "SS", -2000), (0x00280121, "US", 63540))
    expected = np.where(outside, 0, (FILM - FILM[~outside].min()) / np.ptp(FILM[~outside]))
    assert read_radiograph(data).pixels == pytest.approx(expected, **EXACT)


@pytest.mark.parametrize("bits", [8, 10, 12, 14])
@pytest.mark.parametrize("signed", [False, True])
def test_left_justified_pixels_are_shifted(bits, signed):
    film = np.round(EXPECTED * (2**bits - 1)).astype(np.int32) - signed * 2 ** (bits - 1)
    words = ((film & (2**bits - 1)) << (16 - bits)).astype(np.uint16)
    words |= np.uint16(1) & (X > 60).astype(np.uint16)  # an overlay in an unused bit
    data = dicom(words, BitsStored=bits, HighBit=15, PixelRepresentation=int(signed))
    assert read_radiograph(data).pixels == pytest.approx(scaled(film), **EXACT)


def test_bits_above_the_stored_ones_are_overlays_or_a_wrong_header():
    with_overlay = FILM.copy()
    with_overlay[30:40, 30:90] |= 0x8000
    assert read_radiograph(dicom(with_overlay)).pixels == pytest.approx(EXPECTED, **EXACT)
    overlay_file = with_element((FILM | np.uint16(0x8000) * (X > 60)).astype(np.uint16), (0x60000102, "US", 15))
    film = read_radiograph(overlay_file)
    assert film.pixels == pytest.approx(EXPECTED, **EXACT) and any("overlay" in note for note in film.notes)
    deep = read_radiograph(dicom((FILM * 16).astype(np.uint16)))  # 16 bits under a header of 12
    assert deep.pixels == pytest.approx(EXPECTED, **EXACT) and any("BitsStored" in note for note in deep.notes)
    unsigned = read_radiograph(dicom(FILM, PixelRepresentation=1))  # 12 bits that a header calls signed
    assert unsigned.pixels == pytest.approx(EXPECTED, **EXACT) and any("unsigned" in note for note in unsigned.notes)
    plain = (FILM.astype(np.int32) - 2048) & 0xFFF  # truly signed, without its sign in the upper bits
    signed = read_radiograph(dicom(plain.astype(np.uint16), PixelRepresentation=1))
    assert signed.pixels == pytest.approx(EXPECTED, **EXACT) and not signed.notes


def lut_item(first: int, vr: str, entries: np.ndarray, bits: int = 16) -> Dataset:
    item = Dataset()
    count = len(entries) if vr == "US" or len(entries) < 32768 else len(entries) - 65536
    item.add_new(0x00283002, vr, [count, first, bits])
    item.add_new(0x00283006, "OW", entries.astype("<u2").tobytes())
    return item


@pytest.mark.parametrize("vr", ["US", "SS"])
@pytest.mark.parametrize("implicit", [False, True])
@pytest.mark.parametrize("first", [-1024, 0, -500])
def test_voi_luts_from_any_first_value_and_vr(first, vr, implicit):
    entries = np.linspace(0, 1, 4096) ** 1.5 * 65535
    item = lut_item(first & 0xFFFF if vr == "US" else first, vr, entries)
    data = with_element(
        FILM, (0x00283010, "SQ", Sequence([item])), implicit=implicit, RescaleSlope="1", RescaleIntercept=str(first)
    )
    film = read_radiograph(data)
    assert film.pixels == pytest.approx(scaled(entries.astype(np.uint16)[FILM]), **EXACT) and not film.notes
    assert film.full_range == pytest.approx(EXPECTED, **EXACT)


def test_modality_luts_and_malformed_tables():
    entries = np.sqrt(np.linspace(0, 1, 4096)) * 65535
    film = read_radiograph(with_element(FILM, (0x00283000, "SQ", Sequence([lut_item(0, "US", entries)]))))
    assert film.pixels == pytest.approx(scaled(entries.astype(np.uint16)[FILM]), **EXACT)
    for sequence in (0x00283000, 0x00283010):
        for item in (Dataset(), lut_item(0, "US", entries[:0]), lut_item(30000, "US", entries)):
            film = read_radiograph(with_element(FILM, (sequence, "SQ", Sequence([item]))))
            if sequence == 0x00283010 or not item or not len(item[0x00283006].value):
                assert film.pixels == pytest.approx(EXPECTED, **EXACT) and any("LUT" in note for note in film.notes)


WINDOWS = {
    "LINEAR": lambda v, c, w: np.clip((v - (c - 0.5)) / (w - 1) + 0.5, 0, 1),  # PS3.3 C.11.2.1.2.1
    "LINEAR_EXACT": lambda v, c, w: np.clip((v - c) / w + 0.5, 0, 1),
    "SIGMOID": lambda v, c, w: 1 / (1 + np.exp(-4 * (v - c) / w)),
}


@pytest.mark.parametrize("function", WINDOWS)
@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_windows_are_applied_and_offered_beside_the_full_range(function, photometric):
    data = dicom(FILM, WindowCenter=[2000, 1500], WindowWidth=[1500, 5000], VOILUTFunction=function,
                 WindowCenterWidthExplanation=["LUNG", "SECRET"], PhotometricInterpretation=photometric)  # fmt: skip
    film = read_radiograph(data)
    expected, own = (
        WINDOWS[function](FILM.astype(float), 2000, 1500),
        apply_voi_lut(FILM, pydicom.dcmread(io.BytesIO(data))),
    )
    expected, own, full = scaled(expected), scaled(own), EXPECTED
    if photometric == "MONOCHROME1":
        expected, own, full = 1 - expected, 1 - own, 1 - full
    assert film.pixels == pytest.approx(expected, abs=1e-5) and film.pixels == pytest.approx(own, abs=1e-3)
    assert film.full_range == pytest.approx(full, **EXACT)
    assert [window.explanation for window in film.windows] == ["LUNG", "window 2"]
    low, high = film.windows[0].low, film.windows[0].high
    if function != "SIGMOID":
        again = np.clip((film.unwindowed - low) / (high - low), 0, 1)
        assert scaled(again) == pytest.approx(film.pixels, abs=1e-5)


UNUSABLE = {
    "empty function": dict(WindowCenter=2048, WindowWidth=4096, VOILUTFunction=""),
    "unknown function": dict(WindowCenter=2048, WindowWidth=4096, VOILUTFunction="LOG"),
    "empty rescale": dict(RescaleSlope="", RescaleIntercept=""),
    "slope 0": dict(RescaleSlope=0),
    "width 0": dict(WindowCenter=1, WindowWidth=0),
    "negative width": dict(WindowCenter=2000, WindowWidth=-400),
    "width under 1": dict(WindowCenter=0.2, WindowWidth=0.4, RescaleSlope=0.0001),
    "width missing": dict(WindowCenter=2000),
    "beside the film": dict(WindowCenter=30000, WindowWidth=100),
    "a step": dict(WindowCenter=2000, WindowWidth=1),
}


@pytest.mark.parametrize("name", UNUSABLE)
def test_one_unusable_attribute_is_left_out_with_a_note(name):
    film = read_radiograph(dicom(FILM, **UNUSABLE[name]))
    assert film.pixels == pytest.approx(EXPECTED, **EXACT) and len(film.notes) >= 1


def test_decimal_commas_are_read_with_a_note():
    data = dicom(FILM, WindowCenter="1999.5", WindowWidth="1000.0")
    commas = data.replace(b"1999.5", b"1999,5").replace(b"1000.0", b"1000,0")
    film = read_radiograph(commas)
    assert film.pixels == pytest.approx(read_radiograph(data).pixels, **EXACT) and "comma" in film.notes[0]


def test_polarity_by_photometric_interpretation_and_presentation():
    for tags in (
        dict(PhotometricInterpretation="MONOCHROME1"),
        dict(PhotometricInterpretation="monochrome1 "),
        dict(PhotometricInterpretation="MONOCHROME1", PresentationLUTShape="INVERSE"),
        dict(PresentationLUTShape="INVERSE"),
    ):
        assert read_radiograph(dicom(4095 - FILM, **tags)).pixels == pytest.approx(EXPECTED, **EXACT), tags
    film = read_radiograph(dicom(FILM, PresentationLUTShape="IDENTITY"))
    assert film.pixels == pytest.approx(EXPECTED, **EXACT) and not film.notes


@pytest.mark.parametrize(
    "tag",
    ["PhotometricInterpretation", "SamplesPerPixel", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation"],
)
def test_missing_tags_are_read_where_it_is_plain_what_is_meant(tag):
    film = read_radiograph(dicom(FILM, **{tag: None}))
    assert film.pixels == pytest.approx(EXPECTED, **EXACT)
    assert tag in ("BitsStored", "HighBit") or any(tag in note for note in film.notes)


def test_missing_tags_are_named_and_uncompressed_films_never_sent_to_be_uncompressed():
    noise = np.random.default_rng(0).integers(0, 65536, (128, 128)).astype(np.uint16)
    with pytest.raises(RadiographError, match="lacks PixelRepresentation"):
        read_radiograph(dicom(noise, PixelRepresentation=None, BitsStored=16, HighBit=15))
    for tags in (dict(BitsAllocated=12), dict(BitsAllocated=64), dict(BitsAllocated=None, Rows=200), dict(Rows=250)):
        with pytest.raises(RadiographError) as excinfo:
            read_radiograph(dicom(FILM, **tags))
        assert "uncompressed" not in str(excinfo.value), tags


def test_headless_films_are_read_with_the_encoding_that_the_parser_found():
    whole = pydicom.dcmread(io.BytesIO(dicom(FILM)))
    for implicit, little in ((True, True), (False, True), (False, False)):
        bare = Dataset()
        bare.update({tag: whole[tag] for tag in whole.keys()})  # noqa: SIM118
        if not little:
            bare.PixelData = FILM.astype(">u2").tobytes()
        for first in ("SOPClassUID", "SOPInstanceUID", "Modality", "SamplesPerPixel"):  # what comes first
            buffer = io.BytesIO()
            bare.save_as(buffer, implicit_vr=implicit, little_endian=little)
            assert read_radiograph(buffer.getvalue()).pixels == pytest.approx(EXPECTED, **EXACT), (
                implicit,
                little,
                first,
            )
            delattr(bare, first) if first != "SamplesPerPixel" else None
    without_syntax = dicom(FILM).replace(b"\x02\0\x10\0UI\x14\x001.2.840.10008.1.2.1\0", b"")
    assert len(without_syntax) == len(dicom(FILM)) - 28
    assert read_radiograph(without_syntax).pixels == pytest.approx(EXPECTED, **EXACT)


def test_compressed_films_without_a_transfer_syntax_are_known_by_their_picture():
    for name in ("MR_small_jp2klossless.dcm", "MR_small_jpeg_ls_lossless.dcm", "MR_small_RLE.dcm"):
        dataset = pydicom.dcmread(get_testdata_file(name, download=False))
        stored = dataset.pixel_array
        dataset.Modality = "CR"
        for tag in ("WindowCenter", "WindowWidth", "PixelPaddingValue"):
            delattr(dataset, tag) if tag in dataset else None
        buffer = io.BytesIO()
        dataset.save_as(buffer)
        data = buffer.getvalue()
        start = data.index(b"\x08\0\x05\0CS") if b"\x08\0\x05\0CS" in data[:1000] else data.index(b"\x08\0\x08\0CS")
        assert read_radiograph(data[start:]).pixels == pytest.approx(scaled(stored), abs=1e-5), name


def test_jpeg_of_12_bits_is_read():
    imagecodecs = pytest.importorskip("imagecodecs")
    frame = imagecodecs.jpeg8_encode(FILM, level=98, bitspersample=12)
    data = compressed_dicom(frame, "1.2.840.10008.1.2.4.51", BitsAllocated=16, BitsStored=12, HighBit=11)
    assert read_radiograph(data).pixels == pytest.approx(EXPECTED, abs=0.02)


def test_the_whole_chain_agrees_with_gdcm(tmp_path):
    """Rescale of a signed film, stored by GDCM's own reader."""
    signed = FILM.astype(np.int16) - 2048
    (tmp_path / "film.dcm").write_bytes(
        dicom(signed, BitsStored=12, HighBit=11, RescaleSlope="2", RescaleIntercept="100")
    )
    reader = gdcm.ImageReader()
    reader.SetFileName(str(tmp_path / "film.dcm"))
    assert reader.Read()
    image = reader.GetImage()
    values = np.frombuffer(image.GetBuffer().encode("utf-8", "surrogateescape"), np.int16).reshape(128, 128)
    display = values * image.GetSlope() + image.GetIntercept()
    assert read_radiograph(tmp_path / "film.dcm").pixels == pytest.approx(scaled(display), **EXACT)
