import io
import struct
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pydicom
import pytest
from helpers import EXPECTED, FILM, compressed_dicom, dicom
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    RLELossless,
)

from diff3m.imaging import RadiographError, dicom_syntax, read_radiograph
from diff3m.imaging.dicom import header_facts
from diff3m.imaging.dicom_content import VRS, looks_like_dicom


def test_plain_pixels_are_exact():
    film = read_radiograph(dicom(FILM))
    assert film.source == "DICOM"
    assert film.pixels == pytest.approx(EXPECTED, abs=1e-6)


def test_monochrome1_is_inverted():
    film = read_radiograph(dicom(4095 - FILM, PhotometricInterpretation="MONOCHROME1"))
    assert film.pixels == pytest.approx(EXPECTED, abs=1e-6)


def test_rescale_and_window_are_applied():
    data = dicom(FILM, RescaleSlope=2.0, RescaleIntercept=-1000.0, WindowCenter=3000.0, WindowWidth=4000.0)
    values = np.clip((FILM * 2.0 - 1000 - (3000 - 0.5)) / (4000 - 1) + 0.5, 0, 1)  # PS3.3 C.11.2.1.2
    expected = (values - values.min()) / np.ptp(values)
    assert read_radiograph(data).pixels == pytest.approx(expected, abs=2e-3)


def test_negative_values_are_read():
    signed = FILM.astype(np.int16) - 2000
    assert read_radiograph(dicom(signed)).pixels == pytest.approx(EXPECTED, abs=1e-6)


def test_padding_does_not_set_the_range():
    pixels = FILM.astype(np.int16).copy()
    pixels[:30] = -2000
    film = read_radiograph(dicom(pixels, PixelPaddingValue=-2000))
    inside = FILM[30:].astype(np.float32)
    assert film.pixels[:30].max() == 0
    assert film.pixels[30:] == pytest.approx((inside - inside.min()) / np.ptp(inside), abs=1e-6)


def test_run_length_encoding_is_read():
    dataset = pydicom.dcmread(io.BytesIO(dicom(FILM)))
    dataset.compress(RLELossless, generate_instance_uid=False)
    buffer = io.BytesIO()
    dataset.save_as(buffer)
    assert read_radiograph(buffer.getvalue()).pixels == pytest.approx(EXPECTED, abs=1e-6)


def test_header_facts_come_from_the_allow_list_only():
    attributes = dict(
        PatientAge="063Y",
        PatientSex="F",
        ViewPosition="AP",
        PatientSize="1.70",
        PatientWeight="81",
        BodyPartExamined="CHEST",
    )
    film = read_radiograph(
        dicom(FILM, **attributes, PatientName="Somebody^Else", PatientID="1234", InstitutionName="Nowhere")
    )
    assert film.facts == {"age": 63.0, "sex": "F", "view": "AP", "height_cm": 170.0, "weight_kg": 81.0}
    assert "Somebody" not in repr(film) and "1234" not in repr(film) and "Nowhere" not in repr(film)


@pytest.mark.parametrize(
    ("tags", "age"),
    [
        ({"PatientAge": "018M"}, 1.5),
        ({"PatientAge": "58"}, 58.0),
        ({"PatientBirthDate": "19600615", "StudyDate": "20200614"}, 59.0),
        ({"PatientBirthDate": "19600615", "StudyDate": "20200615"}, 60.0),
        ({"PatientBirthDate": "20300615", "StudyDate": "20200615"}, None),
        ({"PatientAge": "999Y"}, None),
        ({"PatientAge": "abc"}, None),
        ({}, None),
    ],
)
def test_age(tags, age):
    assert read_radiograph(dicom(FILM, **tags)).facts.get("age") == age


def test_lateral_and_other_body_parts_are_noted():
    film = read_radiograph(dicom(FILM, ViewPosition="LL", BodyPartExamined="HAND"))
    assert "view" not in film.facts
    assert any("lateral" in note for note in film.notes) and any("HAND" in note for note in film.notes)


BAD = {
    "CT slice": (dicom(FILM, Modality="CT"), "modality CT"),
    "several frames": (dicom(np.stack([FILM, FILM]), NumberOfFrames=2), "2 frames"),
    "no pixels": (dicom(FILM, PixelData=None), "no picture"),
    "truncated pixels": (dicom(FILM)[:-9000], "cut short"),
    "truncated header": (dicom(FILM)[:200], "."),
    "no size": (dicom(FILM, Rows=None), "how large"),
    "constant": (dicom(np.full((128, 128), 7, np.uint16)), "blank"),
    "only a preamble": (bytes(128) + b"DICM", "."),
    "noise": (bytes(128) + b"DICM" + np.random.default_rng(0).bytes(3000), "."),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_dicom_gets_a_sentence(name):
    data, word = BAD[name]
    with pytest.raises(RadiographError, match=word) as excinfo:
        read_radiograph(data)
    assert str(excinfo.value).endswith(".")


PYDICOMS_OWN = sorted(Path(get_testdata_file("CT_small.dcm")).parent.glob("*.dcm"))


@pytest.mark.parametrize("path", PYDICOMS_OWN, ids=lambda path: path.name)
def test_each_of_pydicoms_own_files_gets_a_film_or_a_sentence(path):
    try:
        film = read_radiograph(path)
    except RadiographError as error:
        assert str(error).endswith(".")
    else:
        assert film.pixels.ndim == 2 and film.pixels.min() == 0 and film.pixels.max() == 1


REFUSED = [
    "CT_small.dcm",
    "MR_small.dcm",
    "rtplan.dcm",
    "JPEG-lossy.dcm",
    "JPGExtended.dcm",
    "SC_rgb_rle_2frame.dcm",
    "liver_1frame.dcm",
]


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_single_readable_projection_is_refused(name):
    with pytest.raises(RadiographError):
        read_radiograph(get_testdata_file(name))


# pydicom's own compressed files with a single grey frame; modality set to CR, since none of them is a radiograph
COMPRESSED = [
    "693_J2KI.dcm", "MR_small_RLE.dcm", "MR_small_bigendian.dcm",
    "MR_small_expb.dcm", "MR_small_implicit.dcm", "MR_small_jp2klossless.dcm", "MR_small_jpeg_ls_lossless.dcm",
]  # fmt: skip


@pytest.mark.parametrize("name", COMPRESSED)
def test_compressed_syntaxes_decode_to_what_pydicom_says(name):
    dataset = pydicom.dcmread(get_testdata_file(name, download=False))
    stored = dataset.pixel_array.astype(np.float64)
    dataset.Modality = "CR"
    for tag in ("WindowCenter", "WindowWidth", "VOILUTSequence", "PixelPaddingValue"):
        if tag in dataset:
            delattr(dataset, tag)
    buffer = io.BytesIO()
    dataset.save_as(buffer)
    film = read_radiograph(buffer.getvalue())
    expected = (stored - stored.min()) / np.ptp(stored)
    if dataset.PhotometricInterpretation == "MONOCHROME1":
        expected = 1 - expected
    assert film.pixels == pytest.approx(expected, abs=1e-5)


def test_files_without_preamble_are_recognized():
    whole = dicom(FILM)
    assert looks_like_dicom(whole)
    bare = whole[132:]
    assert looks_like_dicom(bare)
    assert read_radiograph(bare).pixels == pytest.approx(EXPECTED, abs=1e-6)


SAY_ALL = """
import logging, sys, warnings
logging.basicConfig(level=logging.DEBUG)
from diff3m.imaging import RadiographError, read_radiograph
try:
    print(read_radiograph(sys.stdin.buffer.read()))
except RadiographError as error:
    print(error)
"""


def with_secrets() -> dict[str, bytes]:
    """Films whose header holds SECRET where a reader or its library might quote it."""
    plain = dicom(
        FILM,
        PatientAge="063Y",
        PatientSize="1.70",
        PatientBirthDate="19600101",
        SpecificCharacterSet="ISO_IR 100",
        BodyPartExamined="CHEST",
    )
    bad_header = plain
    for valid, wrong in (
        (b"063Y", b"SECR"),
        (b"1.70", b"SECR"),
        (b"19600101", b"SECRET33"),
        (b"ISO_IR 100", b"SECRETSET1"),
    ):
        assert valid in bad_header
        bad_header = bad_header.replace(valid, wrong)
    syntax = b"1.2.840.10008.1.2.1\0"
    assert syntax in plain
    return {
        "malformed values": bad_header,
        "modality": dicom(FILM, Modality="SECRET NAME"),
        "body part": dicom(FILM, BodyPartExamined="SECRET NAME"),
        "transfer syntax": plain.replace(syntax, b"SECRET^NAME^1951020\0"),
    }


@pytest.mark.parametrize("case", ["malformed values", "modality", "body part", "transfer syntax"])
def test_no_header_value_is_said_anywhere(case):
    process = subprocess.run(
        [sys.executable, "-c", SAY_ALL], input=with_secrets()[case], capture_output=True, timeout=120
    )
    assert process.stdout and b"Traceback" not in process.stderr
    assert b"SECR" not in process.stdout + process.stderr


def jpeg() -> bytes:
    """FILM as a JPEG picture."""
    ok, frame = cv2.imencode(".jpg", (EXPECTED * 255).astype(np.uint8))
    assert ok
    return frame.tobytes()


def test_jpeg_baseline_is_read():
    assert read_radiograph(compressed_dicom(jpeg(), JPEGBaseline8Bit)).pixels == pytest.approx(EXPECTED, abs=0.08)


def test_pictures_of_another_size_than_the_header_says_are_never_decoded(monkeypatch):
    huge = b"\xff\x4f\xff\x51" + struct.pack(">HH4I", 41, 0, 60000, 60000, 0, 0) + bytes(60)
    films = [
        compressed_dicom(jpeg(), JPEGBaseline8Bit, Rows=64, Columns=64),
        compressed_dicom(huge, JPEG2000Lossless),
        compressed_dicom(b"\xff\xd8 no jpeg", JPEGBaseline8Bit),
    ]
    calls = []
    monkeypatch.setattr(Dataset, "pixel_array", property(lambda self: calls.append(self)))
    for data in films:
        with pytest.raises(RadiographError, match="decoded"):
            read_radiograph(data)
    assert not calls


def test_a_decoder_that_dies_takes_nothing_with_it(monkeypatch, tmp_path):
    """GDCM is known to abort on damaged JPEG Lossless and JPEG-LS; it runs in a process of its own."""
    film = compressed_dicom(jpeg().replace(b"\xff\xc0", b"\xff\xc3"), "1.2.840.10008.1.2.4.70")
    for body in ("import os; os.abort()", "import time; time.sleep(60)", "print('no array')"):
        (tmp_path / "worker.py").write_text(body)
        monkeypatch.setattr(dicom_syntax, "WORKER", tmp_path / "worker.py")
        monkeypatch.setattr(dicom_syntax, "WORKER_SECONDS", 1)
        with pytest.raises(RadiographError, match="decoded"):
            read_radiograph(film)


def test_a_deflated_bomb_is_refused_without_being_unpacked():
    dataset = pydicom.dcmread(io.BytesIO(dicom(FILM)))
    dataset.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    buffer = io.BytesIO()
    dataset.save_as(buffer)
    assert read_radiograph(buffer.getvalue()).pixels == pytest.approx(EXPECTED, abs=1e-6)
    dataset.PixelData = bytes(300 * 2**20)
    buffer = io.BytesIO()
    dataset.save_as(buffer)
    assert len(buffer.getvalue()) < 2**20
    bomb = buffer.getvalue()
    without_preamble = bomb[132:]
    without_length = bomb[:132] + bomb[144:]  # no (0002,0000)
    dataset.file_meta.PrivateInformationCreatorUID = "1.2.3"
    dataset.file_meta.PrivateInformation = bytes(5000)  # pushes the transfer syntax away from the start
    late = io.BytesIO()
    dataset.save_as(late, enforce_file_format=False)
    late_file = late.getvalue()
    for data in (bomb, without_preamble, without_length, late_file):
        with pytest.raises(RadiographError, match="Unpacked"):
            read_radiograph(data)


def test_a_sequence_where_text_is_expected_is_no_value():
    inner = Dataset()
    for _ in range(600):
        outer = Dataset()
        outer.add_new(0x00180015, "SQ", [inner])
        inner = outer
    assert header_facts(inner) == ({}, ())


def test_a_real_dicom_film(real_uploads):
    film = read_radiograph(real_uploads / "rsna_chest_pa.dcm")
    assert film.pixels.shape == (1024, 1024)
    assert film.facts == {"age": 62.0, "sex": "M", "view": "PA"}


def test_value_representations_are_those_of_pydicom():
    assert {vr.decode() for vr in VRS} == {vr.value for vr in pydicom.valuerep.VR if len(vr.value) == 2}
