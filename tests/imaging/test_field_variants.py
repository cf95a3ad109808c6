"""DICOM headers that contradict their pixels, lack what is plain, or ask for what is not drawn; the right picture, and
a note."""

import io

import imagecodecs
import numpy as np
import pydicom
import pytest
from helpers import EXPECTED, FILM, behind_meta, compressed_dicom, dicom, drawn_film, with_element
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from diff3m.imaging import RadiographError, read_radiograph
from diff3m.imaging.dicom_contradictions import correct_byte_order, correct_sign

EXACT = dict(abs=3e-6)
SIXTEEN = np.round(EXPECTED * 65535).astype(np.uint16)
EIGHT = (FILM >> 4).astype(np.uint8)
EXPECTED_EIGHT = (EIGHT - EIGHT.min()) / np.ptp(EIGHT)


# the values as FloatPixelData, and no PixelData
FLOATING = with_element(FILM, (0x7FE00008, "OF", FILM.astype("f4").tobytes()))
FLOATING = FLOATING.replace(b"\xe0\x7f\x10\0OW", b"\xe1\x7f\x10\0OW")


def channels(pixels: np.ndarray, **tags) -> bytes:
    """A color film of three equal channels."""
    rgb = np.dstack([pixels] * 3)
    bits = pixels.itemsize * 8
    layout = dict(BitsAllocated=bits, BitsStored=bits, HighBit=bits - 1, PlanarConfiguration=0)
    own = dict(SamplesPerPixel=3, PhotometricInterpretation="RGB", PixelData=rgb.tobytes())
    return dicom(pixels, **{**layout, **own, **tags})


@pytest.mark.parametrize("pixels, tags, sign", [
    (SIXTEEN, dict(BitsStored=16, HighBit=15, PixelRepresentation=1), "signed"),
    (EIGHT, dict(BitsAllocated=8, BitsStored=8, HighBit=7, PixelRepresentation=1), "signed"),
    ((FILM.astype(int) - 2048).astype(np.int16), dict(PixelRepresentation=0), "unsigned"),
    ((FILM.astype(int) - 1024).astype(np.int16), dict(BitsStored=16, HighBit=15, PixelRepresentation=0), "unsigned"),
    (((FILM.astype(int) - 2048) & 0xFFF).astype(np.uint16), dict(BitsStored=12, HighBit=11), "unsigned"),
])  # fmt: skip
def test_a_sign_that_does_not_fit_the_pixels_is_corrected_with_a_note(pixels, tags, sign):
    film = read_radiograph(dicom(pixels, **tags))
    expected = EXPECTED_EIGHT if pixels.dtype == np.uint8 else EXPECTED
    assert film.pixels == pytest.approx(expected, abs=2e-5)
    assert any(f"pixels are {sign}, which does not fit" in note for note in film.notes)


@pytest.mark.parametrize("stored", [FILM, SIXTEEN])
def test_pixels_in_another_byte_order_are_read_with_a_note(stored):
    film = read_radiograph(dicom(stored.byteswap(), BitsStored=16, HighBit=15))
    assert film.pixels == pytest.approx(EXPECTED, abs=2e-5) and any("byte order" in note for note in film.notes)


@pytest.mark.parametrize("seed", range(5))
def test_true_headers_are_never_corrected(seed):
    film = drawn_film(128, seed)
    variant = film.copy()
    variant[:20] = 0
    variant[5:15, 8:120:3] = 0.999  # letters on black
    for values in (film, variant, 1 - film):
        deep = np.round(values * 65535).astype(np.uint16)
        for stored, bits in ((deep, 16), (deep >> 4, 12), (deep >> 4, 16), ((deep >> 8).astype(np.uint8), 8),
                             (((deep >> 4).astype(int) - 2048).astype(np.int16), 12),
                             (((deep >> 4).astype(int) - 1024).astype(np.int16), 16)):  # fmt: skip
            notes = []
            assert correct_sign(stored, bits, notes) is stored and correct_byte_order(stored, notes) is stored
            assert not notes


@pytest.mark.parametrize("variant", ["MONOCHROM1", "MONO1", "MONOCHROME_1", "MINISWHITE", "WHITEISZERO"])
def test_odd_spellings_of_monochrome1_are_inverted(variant):
    film = read_radiograph(dicom(4095 - FILM, PhotometricInterpretation=variant))
    assert film.pixels == pytest.approx(EXPECTED, **EXACT) and not film.notes


def test_three_channels_are_known_by_their_length_and_keep_the_polarity_of_a_grey_film():
    film = read_radiograph(channels(EIGHT, SamplesPerPixel=None, PhotometricInterpretation=None))
    assert film.pixels == pytest.approx(EXPECTED_EIGHT, **EXACT) and any(
        "SamplesPerPixel" in note for note in film.notes
    )
    inverted = read_radiograph(channels(255 - EIGHT, PhotometricInterpretation="MONOCHROME1"))
    assert inverted.pixels == pytest.approx(EXPECTED_EIGHT, **EXACT)
    grey = dicom(EIGHT, BitsAllocated=8, BitsStored=8, HighBit=7, PhotometricInterpretation="YBR_FULL")
    assert read_radiograph(grey).pixels == pytest.approx(EXPECTED_EIGHT, **EXACT)


def test_shared_colors_need_two_thirds_of_the_bytes():
    pairs = np.stack([EIGHT[:, ::2], EIGHT[:, 1::2], *[np.full((128, 64), 128, np.uint8)] * 2], axis=-1)
    film = read_radiograph(channels(EIGHT, PhotometricInterpretation="YBR_FULL_422", PixelData=pairs.tobytes()))
    assert film.pixels == pytest.approx(EXPECTED_EIGHT, abs=0.02)


@pytest.mark.parametrize("tags", [
    dict(BitsAllocated=16), dict(SamplesPerPixel=3, PhotometricInterpretation="YBR_FULL_422", PlanarConfiguration=0)
])  # fmt: skip
def test_a_jpeg_knows_its_bits_and_channels_better_than_the_header(tags):
    frame = imagecodecs.jpeg8_encode(EIGHT, level=98)
    film = read_radiograph(compressed_dicom(frame, "1.2.840.10008.1.2.4.50", **tags))
    assert film.pixels == pytest.approx(EXPECTED_EIGHT, abs=0.03)
    color = imagecodecs.jpeg8_encode(np.dstack([EIGHT] * 3), level=98)
    assert read_radiograph(compressed_dicom(color, "1.2.840.10008.1.2.4.50")).pixels == pytest.approx(
        EXPECTED_EIGHT, abs=0.05
    )


def test_what_the_picture_holds_beyond_its_size_is_noted_unless_it_is_padding():
    cut = read_radiograph(dicom(FILM, Rows=100))
    top = FILM[:100].astype(float)
    assert cut.pixels == pytest.approx((top - top.min()) / np.ptp(top), **EXACT)
    assert any("holds more of a picture" in note for note in cut.notes)
    assert not read_radiograph(dicom(FILM, PixelData=FILM.tobytes() + bytes(4096))).notes


@pytest.mark.parametrize("data, sentence", [
    (dicom(FILM, SamplesPerPixel=4), "4 values a pixel"),
    (dicom(FILM, PixelData=None), "header of a film and no picture"),
    (FLOATING, "floating-point"),
])  # fmt: skip
def test_refusals_say_what_is_wrong(data, sentence):
    with pytest.raises(RadiographError, match=sentence):
        read_radiograph(data)


@pytest.mark.parametrize("tags, word", [
    (dict(ShutterShape="RECTANGULAR"), "shutter"),
    (dict(RescaleSlope="1e30"), "RescaleSlope"),
    (dict(PixelSpacing=[0.2, 0.2], PixelAspectRatio=[2, 1]), "proportions"),
    (dict(PixelSpacing=[0.2, 0.2], ImagerPixelSpacing=[0.4, 0.2]), "proportions"),
])  # fmt: skip
def test_what_is_ignored_is_noted(tags, word):
    film = read_radiograph(dicom(FILM, **tags))
    assert film.pixels == pytest.approx(EXPECTED, **EXACT) and any(word in note for note in film.notes)


def test_a_presentation_table_that_is_not_used_is_noted():
    table = Dataset()
    table.LUTDescriptor = [4096, 0, 16]
    table.add_new(0x00283006, "OW", (np.arange(4096)[::-1] * 16).astype("<u2").tobytes())
    film = read_radiograph(with_element(FILM, (0x20500010, "SQ", Sequence([table]))))
    assert film.pixels == pytest.approx(EXPECTED, **EXACT) and any("presentation LUT" in note for note in film.notes)


def test_the_spacing_of_a_scanned_film_is_that_of_the_film_and_not_of_the_patient():
    film = read_radiograph(dicom(FILM, NominalScannedPixelSpacing=[0.2, 0.2]))
    assert film.spacing_mm == (0.2, 0.2) and film.at_detector
    magnification = dict(NominalScannedPixelSpacing=[0.22, 0.22], EstimatedRadiographicMagnificationFactor=1.1)
    assert read_radiograph(dicom(FILM, **magnification)).spacing_mm == pytest.approx((0.2, 0.2))


def test_consistent_proportions_are_not_noted():
    wide = FILM[::2]
    film = read_radiograph(
        dicom(wide, PixelSpacing=[0.4, 0.2], ImagerPixelSpacing=[0.44, 0.22], PixelAspectRatio=[2, 1])
    )
    assert film.pixels.shape == (128, 128) and len(film.notes) == 1 and "not square" in film.notes[0]


@pytest.mark.parametrize("word", ["UNKNOWN", "OTHER", "unspecified", "TRUNK", "KLATKI PIERSIOWEJ"])
def test_no_other_body_part_is_named_where_none_is(word):
    assert not read_radiograph(dicom(FILM, BodyPartExamined=word)).notes


@pytest.mark.parametrize("variant, view", [
    ("后前位", "PA"), ("前后位", "AP"), ("A→P", "AP"), ("задне-передняя", "PA"), ("postéro-ant.", "PA"), ("側面", None)
])  # fmt: skip
def test_views_in_any_character_set(variant, view):
    for encoding in ("utf-8", "gb18030" if "位" in variant else "cp1251" if "з" in variant else "utf-8"):
        text = variant.encode(encoding)
        text += b" " * (len(text) % 2)
        film = read_radiograph(dicom(FILM, ViewPosition="Q" * len(text)).replace(b"Q" * len(text), text))
        assert film.facts.get("view") == view, encoding


def test_dicm_without_its_preamble():
    assert read_radiograph(dicom(FILM)[128:]).pixels == pytest.approx(EXPECTED, **EXACT)


@pytest.mark.parametrize("tags, age, word", [
    (dict(PatientAge="119Y", PatientBirthDate="19000101", StudyDate="20190416"), None, "placeholder"),
    (dict(PatientAge="115Y", PatientBirthDate="19010101", StudyDate="20160101"), None, "placeholder"),
    (dict(PatientBirthDate="19500101", StudyDate="19700101"), None, "placeholder"),
    (dict(PatientBirthDate="19500101", StudyDate="19700101", AcquisitionDate="20150601"), 65, ""),
    (dict(PatientBirthDate="19500101", AcquisitionDateTime="20150601103000.000000+0100"), 65, ""),
    (dict(PatientAge="063Y", PatientBirthDate="20050101", StudyDate="20150601"), 63, "contradict"),
    (dict(PatientAge="063Y", PatientBirthDate="19510301", StudyDate="20150601"), 63, ""),
    (dict(PatientAge="000Y", PatientBirthDate="20150531", StudyDate="20150601"), 0.01, "under 18"),
    (dict(PatientBirthDate="20150301", StudyDate="20150601"), 0.25, "under 18"),
])  # fmt: skip
def test_ages_and_dates_that_contradict_each_other(tags, age, word):
    film = read_radiograph(dicom(FILM, **tags))
    assert film.facts.get("age") == age
    assert any(word in note for note in film.notes) if word else not film.notes


def test_prepare_reads_the_header_of_any_encoding_and_counts_what_was_guessed(tmp_path):
    from diff3m.data.prepare.dicom_folder import read_header

    dataset = pydicom.dcmread(io.BytesIO(dicom(FILM, PatientAge="063Y", PatientSex="F", ViewPosition="PA")))
    for name, data in (
        ("bare.dcm", dicom(FILM, PatientAge="063Y", PatientSex="F", ViewPosition="PA")[128:]),
        ("other.dcm", behind_meta(dataset, "1.2.840.10008.1.2.2", implicit=True)),
    ):
        (tmp_path / name).write_bytes(data)
        entry = read_header(tmp_path, name, salt=b"12345678", whole=False)
        assert (entry["age"], entry["sex"], entry["view"]) == (63, "F", "PA"), name
    item = Dataset()
    item.CodeValue = "399348003"
    dates = dict(PatientAge="063Y", PatientBirthDate="20000101", StudyDate="20150601")
    two = dicom(FILM, ViewPosition="PA", ViewCodeSequence=Sequence([item]), **dates)
    (tmp_path / "two.dcm").write_bytes(two)
    notes = " ".join(read_header(tmp_path, "two.dcm", salt=b"12345678", whole=False)["notes"])
    assert "name two views" in notes and "contradict each other" in notes
