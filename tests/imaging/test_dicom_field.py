"""DICOM films as devices, archives and anonymizers really write them, against the standard's formulas in numpy."""

import io

import numpy as np
import pydicom
import pytest
from helpers import CORNERS, EXPECTED, FILM, behind_meta, dicom, scaled, with_element
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import JPEG2000Lossless

from diff3m.imaging import RadiographError, read_radiograph

EXACT = dict(abs=3e-6)
PADDED = np.where(CORNERS, 0, (FILM - FILM[~CORNERS].min()) / np.ptp(FILM[~CORNERS]))
PADDING = b"\x28\x00\x20\x01"  # the tag of PixelPaddingValue
WHOLE = dict(BitsStored=16, HighBit=15)


def padded(outside: int, kind: str = "u2", offset: int = 0) -> np.ndarray:
    film = FILM.astype(np.int64) + offset
    film[CORNERS] = outside
    return film.astype(kind)


def of_vr(data: bytes, tag: bytes, vr: bytes) -> bytes:
    """A file in which an element of two bytes is written with another VR, with the long length that some VRs have."""
    place = data.index(tag)
    length = b"\x00\x00\x02\x00\x00\x00" if vr in (b"UN", b"OW") else b"\x02\x00"
    return data[: place + 4] + vr + length + data[place + 8 :]


@pytest.mark.parametrize("vr", [b"UN", b"OW", b"SS"])
def test_padding_under_any_vr(vr):
    data = of_vr(with_element(padded(63536), (0x00280120, "US", 63536), **WHOLE), PADDING, vr)
    assert read_radiograph(data).pixels == pytest.approx(PADDED, **EXACT)


@pytest.mark.parametrize("vr, value", [("IS", "-2000"), ("DS", "63536"), ("LO", "-2000"), ("SL", -2000)])
def test_padding_as_text_or_long_number(vr, value):
    data = with_element(padded(63536), (0x00280120, vr, value), **WHOLE)
    assert read_radiograph(data).pixels == pytest.approx(PADDED, **EXACT)


@pytest.mark.parametrize("vr, outside", [("US", -30000), ("SL", -100_000)])
def test_padding_of_32_bits(vr, outside):
    film = padded(outside, "i4", -2048)
    value = outside & 0xFFFF if vr == "US" else outside
    tags = dict(BitsAllocated=32, BitsStored=32, HighBit=31, PixelRepresentation=1)
    assert read_radiograph(with_element(film, (0x00280120, vr, value), **tags)).pixels == pytest.approx(PADDED, **EXACT)


@pytest.mark.parametrize("mask", [0xFFFF, 0xFFF])
def test_padding_of_a_signed_film_as_a_pattern_of_its_stored_bits(mask):
    film = (padded(-2000, "i4", -2048) & mask).astype(np.uint16)
    data = with_element(film, (0x00280120, "US", 0x830), PixelRepresentation=1)  # −2000 in 12 bits
    assert read_radiograph(data).pixels == pytest.approx(PADDED, **EXACT)


def test_padding_that_cannot_be_used_is_noted():
    data = of_vr(with_element(padded(63536), (0x00280120, "US", 63536), **WHOLE), PADDING, b"XX")
    assert any("PixelPaddingValue" in note for note in read_radiograph(data).notes)


def big_endian(values: np.ndarray, *elements: tuple, **tags) -> bytes:
    dataset = pydicom.dcmread(io.BytesIO(dicom(values, **tags)))
    for element in elements:
        dataset.add_new(*element)
    dataset.PixelData = values.astype(values.dtype.newbyteorder(">")).tobytes()
    return behind_meta(dataset, "1.2.840.10008.1.2.2", implicit=False, little=False)


def test_big_endian_films_are_padded_shifted_and_signed_alike():
    for data, expected in (
        (big_endian(FILM), EXPECTED),
        (big_endian(padded(63536), (0x00280120, "SS", -2000), **WHOLE), PADDED),
        (big_endian((FILM << 4).astype(np.uint16), HighBit=15), EXPECTED),
        (big_endian(FILM.astype(np.int16) - 2048), EXPECTED),
    ):
        film = read_radiograph(data)
        assert film.pixels == pytest.approx(expected, **EXACT) and not film.notes


@pytest.mark.parametrize("bits, high_bit, kind", [(10, 11, "u2"), (12, 13, "u2"), (12, 31, "u4"), (6, 7, "u1")])
def test_pixels_left_justified_in_any_word(bits, high_bit, kind):
    film = np.round(EXPECTED * (2**bits - 1)).astype(kind)
    words = (film << (high_bit + 1 - bits)).astype(kind)
    data = dicom(words, BitsAllocated=words.itemsize * 8, BitsStored=bits, HighBit=high_bit)
    assert read_radiograph(data).pixels == pytest.approx(film / film.max(), **EXACT)


@pytest.mark.parametrize("syntax, implicit", [
    ("1.2.840.10008.1.2.1", True), ("1.2.840.10008.1.2", False), ("1.2.840.10008.1.2.2", False), ("1.2.3.4.5", True),
    ("1.2.840.10008.1.2.4.70", False), ("1.2.840.10008.1.2.4.90", False), ("1.2.840.10008.1.2.5", True),
])  # fmt: skip
def test_uncompressed_films_under_a_transfer_syntax_that_does_not_fit(syntax, implicit):
    dataset = pydicom.dcmread(io.BytesIO(dicom(FILM)))
    assert read_radiograph(behind_meta(dataset, syntax, implicit)).pixels == pytest.approx(EXPECTED, **EXACT)


def test_a_private_syntax_with_big_endian_pixels():
    dataset = pydicom.dcmread(io.BytesIO(dicom(FILM)))
    dataset.PixelData = FILM.astype(">u2").tobytes()
    film = read_radiograph(behind_meta(dataset, "1.2.840.113619.5.2", implicit=True))
    assert film.pixels == pytest.approx(EXPECTED, **EXACT) and not film.notes


@pytest.mark.parametrize("syntax", [b"1.2.840.10008.1.2.1\0\0\0", b"1.2.840.10008.1.2.4.50", b"1.2.840.10008.1.2.4.70"])
def test_compressed_films_under_a_transfer_syntax_that_does_not_fit(syntax):
    dataset = pydicom.dcmread(io.BytesIO(dicom(FILM)))
    dataset.compress(JPEG2000Lossless)
    buffer = io.BytesIO()
    dataset.save_as(buffer)
    film = read_radiograph(buffer.getvalue().replace(b"1.2.840.10008.1.2.4.90", syntax))
    assert film.pixels == pytest.approx(EXPECTED, **EXACT) and any("transfer syntax" in note for note in film.notes)


def test_a_blank_preamble_without_dicm():
    assert read_radiograph(bytes(128) + dicom(FILM)[132:]).pixels == pytest.approx(EXPECTED, **EXACT)


@pytest.mark.parametrize("tags, sentence", [
    (dict(PhotometricInterpretation="MONOCHROME1", PresentationLUTShape="IDENTITY"), "contradicts itself"),
    (dict(WindowCenter=[1, 2048], WindowWidth=[0, 8192]), "One of the header's windows"),
    (dict(SamplesPerPixel=0), "lacks SamplesPerPixel"),
    (dict(ViewPosition="FRONTAL"), "neither PA nor AP"), (dict(ViewPosition="PORTABLE"), "neither PA nor AP"),
    (dict(PatientBirthDate="1950", StudyDate="20150601"), "no age"),
    (dict(PixelSpacing="0.2"), "one length instead of two"),
])  # fmt: skip
def test_what_is_guessed_or_ignored_is_noted(tags, sentence):
    film = read_radiograph(dicom(FILM, **tags))
    expected = 1 - EXPECTED if "PresentationLUTShape" in tags else EXPECTED
    assert film.pixels == pytest.approx(expected, **EXACT) and any(sentence in note for note in film.notes)


@pytest.mark.parametrize("name", ["AcquisitionDate", "ContentDate", "SeriesDate"])
def test_an_age_counts_to_any_date_of_the_study(name):
    tags = {"PatientAge": "000Y", "PatientBirthDate": "19500101", "StudyDate": "19000101", name: "20150601"}
    assert read_radiograph(dicom(FILM, **tags)).facts == {"age": 65}


@pytest.mark.parametrize("item, view, word", [
    (dict(LongCodeValue="399348003"), "AP", ""),
    (dict(URNCodeValue="urn:oid:2.16.840.1.113883.6.96.272479007"), "PA", ""),
    (dict(CodeValue="R-99999"), None, "neither PA nor AP"),
    (dict(CodeValue="X", CodeMeaning="unheard of"), None, "neither PA nor AP"),
])  # fmt: skip
def test_views_by_codes_of_any_length(item, view, word):
    code = Dataset()
    for name, value in item.items():
        setattr(code, name, value)
    film = read_radiograph(dicom(FILM, ViewCodeSequence=Sequence([code])))
    assert film.facts.get("view") == view and (word in " ".join(film.notes) if word else not film.notes)


def test_two_views_in_one_header_are_noted():
    code = Dataset()
    code.CodeValue = "R-10236"
    film = read_radiograph(dicom(FILM, ViewPosition="PA", ViewCodeSequence=Sequence([code])))
    assert film.facts["view"] == "PA" and any("two views" in note for note in film.notes)


@pytest.mark.parametrize(
    "word", ["흉부", "RINTA", "ทรวงอก", "صدر", "Krūtinė", "Органы грудной клетки", "klatka_piersiowa"]
)
def test_the_chest_in_more_languages(word):
    text = word.encode() + b" " * (len(word.encode()) % 2)
    film = read_radiograph(dicom(FILM, BodyPartExamined="Q" * len(text)).replace(b"Q" * len(text), text))
    assert not film.notes


def test_no_message_asks_for_an_uncompressed_copy_of_an_uncompressed_film():
    for tags in (
        dict(BitsAllocated=12),
        dict(SamplesPerPixel=3),
        dict(Rows=256),
        dict(Columns=None),
        dict(BitsAllocated=1),
    ):
        with pytest.raises(RadiographError) as refusal:
            read_radiograph(dicom(FILM, **tags))
        assert "uncompressed" not in str(refusal.value)


def item(**attributes) -> Dataset:
    result = Dataset()
    for name, value in attributes.items():
        setattr(result, name, value)
    return result


WINDOWED = np.clip((FILM - 1999.5) / 1499 + 0.5, 0, 1)
FUNCTIONAL_GROUPS = {
    "window": (dict(FrameVOILUTSequence=dict(WindowCenter=2000, WindowWidth=1500)), WINDOWED),
    "rescale": (dict(PixelValueTransformationSequence=dict(RescaleSlope=-1, RescaleIntercept=4095)), 4095.0 - FILM),
    "orientation": (dict(PatientOrientationInFrameSequence=dict(PatientOrientation=["R", "F"])), FILM[:, ::-1]),
    "spacing": (dict(PixelMeasuresSequence=dict(PixelSpacing=[0.2, 0.2])), FILM),
}


@pytest.mark.parametrize("where", ["SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"])
@pytest.mark.parametrize("name", FUNCTIONAL_GROUPS)
def test_functional_groups_of_a_single_frame_are_read(name, where):
    macros, expected = FUNCTIONAL_GROUPS[name]
    group = item(**{sequence: Sequence([item(**attributes)]) for sequence, attributes in macros.items()})
    film = read_radiograph(dicom(FILM, NumberOfFrames=1, **{where: Sequence([group])}))
    assert film.pixels == pytest.approx(scaled(expected.astype(float)), **EXACT)
    assert film.spacing_mm == ((0.2, 0.2) if name == "spacing" else None)
    top = dict(WindowCenter=2048, WindowWidth=4096, RescaleSlope=1, RescaleIntercept=0, PatientOrientation=["L", "F"])
    film = read_radiograph(dicom(FILM, **top, **{where: Sequence([group])}))
    assert film.pixels == pytest.approx(EXPECTED, **EXACT)  # what stands at the top counts
