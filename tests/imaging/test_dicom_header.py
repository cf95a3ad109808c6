"""What a DICOM header says beside the pixels: kind, view, body part, orientation, size."""

import cv2
import numpy as np
import pytest
from helpers import EXPECTED, FILM, dicom
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from diff3m.imaging import RadiographError, edit_film, looks_like_dicom, read_radiograph

# what a film whose rows and columns run so must go through to hang with the patient's left at the right, by numpy
UPRIGHT = {
    ("L", "F"): lambda p: p,
    ("R", "F"): np.fliplr,
    ("L", "H"): np.flipud,
    ("R", "H"): lambda p: np.rot90(p, 2),
    ("F", "R"): lambda p: np.rot90(p, -1),
    ("H", "L"): lambda p: np.rot90(p, 1),
    ("F", "L"): np.transpose,
    ("H", "R"): lambda p: np.rot90(np.transpose(p), 2),
}


@pytest.mark.parametrize("directions", UPRIGHT)
def test_films_hang_upright_by_patient_orientation(directions):
    stored = FILM[:, :112]
    film = read_radiograph(dicom(stored, PatientOrientation=list(directions), PixelSpacing=[0.2, 0.2]))
    expected = UPRIGHT[directions](stored.astype(np.float64))
    assert film.pixels == pytest.approx((expected - expected.min()) / np.ptp(expected), abs=1e-6)
    assert bool(film.notes) == (directions != ("L", "F"))


def test_orientations_that_say_nothing_are_noted_and_leave_the_film():
    for orientation, word in ((["A", "F"], "side view"), (["L", "R"], "not understood"), ("X", "not understood")):
        film = read_radiograph(dicom(FILM, PatientOrientation=orientation))
        assert film.pixels == pytest.approx(EXPECTED, abs=1e-6) and word in film.notes[0]
    film = read_radiograph(dicom(FILM, FieldOfViewHorizontalFlip="YES", FieldOfViewRotation=90))
    assert film.pixels == pytest.approx(EXPECTED, abs=1e-6) and "turned and mirrored" in film.notes[0]
    assert not read_radiograph(dicom(FILM, FieldOfViewHorizontalFlip="NO", FieldOfViewRotation=0)).notes


@pytest.mark.parametrize(
    "tags", [dict(PixelSpacing=[0.4, 0.2]), dict(PixelAspectRatio=[2, 1]), dict(ImagerPixelSpacing=[0.4, 0.2])]
)
def test_pixels_that_are_not_square_are_made_so(tags):
    stored = cv2.resize(FILM, (128, 64), interpolation=cv2.INTER_AREA)
    film = read_radiograph(dicom(stored, **tags))
    expected = cv2.resize(stored.astype(np.float32), (128, 128), interpolation=cv2.INTER_LINEAR)
    assert film.pixels == pytest.approx((expected - expected.min()) / np.ptp(expected), abs=1e-6)
    assert film.spacing_mm is None or film.spacing_mm == pytest.approx((0.2, 0.2))
    assert any("not square" in note for note in film.notes)
    sideways = read_radiograph(dicom(stored, PatientOrientation=["F", "R"], **tags))
    assert sideways.pixels == pytest.approx(np.rot90(film.pixels, -1), abs=1e-6)


def test_proportions_decide_whether_a_film_is_too_long():
    assert read_radiograph(dicom(cv2.resize(FILM, (640, 256)), PixelAspectRatio=[5, 2])).pixels.shape == (640, 640)
    with pytest.raises(RadiographError, match="too long"):
        read_radiograph(dicom(FILM, PixelAspectRatio=[5, 2]))
    for tags in (
        dict(PixelSpacing=[0, 0.2]),
        dict(PixelSpacing=[0.2, 90]),
        dict(PixelAspectRatio=[0, 1]),
        dict(PixelAspectRatio=[99, 1]),
    ):
        film = read_radiograph(dicom(FILM, **tags))
        assert (
            film.pixels == pytest.approx(EXPECTED, abs=1e-6) and film.spacing_mm is None and "ignored" in film.notes[0]
        )


MAGNIFIED = {"EstimatedRadiographicMagnificationFactor": 1.25}


@pytest.mark.parametrize(
    ("tags", "spacing", "at_detector"),
    [
        (dict(PixelSpacing=[0.2, 0.2]), 0.2, False),
        (dict(ImagerPixelSpacing=[0.2, 0.2]), 0.2, True),
        (dict(ImagerPixelSpacing=[0.2, 0.2], **MAGNIFIED), 0.16, False),
        (dict(ImagerPixelSpacing=[0.2, 0.2], PixelSpacing=[0.2, 0.2], **MAGNIFIED), 0.16, False),
        (dict(ImagerPixelSpacing=[0.2, 0.2], PixelSpacing=[0.17, 0.17], **MAGNIFIED), 0.17, False),
        (dict(ImagerPixelSpacing=[0.2, 0.2], PixelSpacing=[0.20002, 0.2], **MAGNIFIED), 0.16, False),  # rounded
        (dict(ImagerPixelSpacing=[0.2, 0.2], EstimatedRadiographicMagnificationFactor=40), 0.2, True),
        (dict(NominalScannedPixelSpacing=[0.1, 0.1]), 0.1, True),  # on the film that was scanned, which magnified
    ],
)  # fmt: skip
def test_millimeters(tags, spacing, at_detector):
    film = read_radiograph(dicom(FILM, **tags))
    assert film.spacing_mm == pytest.approx((spacing, spacing), rel=1e-3) and film.at_detector == at_detector


def test_spacing_and_windows_follow_a_film_that_is_corrected_by_hand():
    film = read_radiograph(dicom(FILM[:, :100], PixelSpacing=[0.2, 0.201], WindowCenter=2000, WindowWidth=1500))
    sideways = edit_film(film, turn=1, negative=True, cut=(0.1, 0, 0, 0))
    assert sideways.spacing_mm == pytest.approx(film.spacing_mm[::-1])
    window, full = sideways.windows[0], sideways.unwindowed
    display = np.clip((full - window.low) / (window.high - window.low), 0, 1)
    assert (display - display.min()) / np.ptp(display) == pytest.approx(sideways.pixels, abs=1e-5)


def view_code(value: str, meaning: str = "") -> Sequence:
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = value, "SNM3", meaning
    return Sequence([code])


def test_views_in_any_spelling_and_by_code():
    for view, expected in (("PA", "PA"), ("POSTERO_ANTERIOR", "PA"), ("AP SUPINE", "AP"), ("P-A", "PA"), ("ap", "AP")):
        film = read_radiograph(dicom(FILM, ViewPosition=view))
        assert film.facts == {"view": expected} and not film.notes, view
    for view in ("LL", "LLD", "RLO", "LATERAL", "Left lateral"):
        film = read_radiograph(dicom(FILM, ViewPosition=view))
        assert "view" not in film.facts and "frontal films only" in film.notes[0], view
    assert read_radiograph(dicom(FILM, ViewCodeSequence=view_code("R-10214"))).facts == {"view": "PA"}
    assert read_radiograph(dicom(FILM, ViewCodeSequence=view_code("399348003"))).facts == {"view": "AP"}
    assert "lateral" in read_radiograph(dicom(FILM, ViewCodeSequence=view_code("R-10236", "left lateral"))).notes[0]


def test_placeholders_of_anonymizers_are_no_ages():
    for tags in (
        dict(PatientBirthDate="19000101", StudyDate="20190416"),
        dict(PatientBirthDate="20190416", StudyDate="20190416"),
        dict(PatientAge="000Y"),
        dict(PatientAge="999Y"),
    ):
        assert "age" not in read_radiograph(dicom(FILM, **tags)).facts, tags
    for age in ("000Y", "999Y", "unknown"):
        tags = dict(PatientAge=age, PatientBirthDate="19500101", StudyDate="20150601")
        assert read_radiograph(dicom(FILM, **tags)).facts["age"] == 65


def test_modalities():
    for modality in ("CR", "DX", "DR", "XR", "RG", "dx", "RX", ""):
        assert not read_radiograph(dicom(FILM, Modality=modality)).notes, modality
    film = read_radiograph(dicom(FILM, Modality="MR SECRET"))
    assert "modality" in film.notes[0] and "SECRET" not in film.notes[0]
    for modality in ("CT", "MR", "MG", "US", "IO", "SEG"):
        with pytest.raises(RadiographError, match=f"modality {modality}"):
            read_radiograph(dicom(FILM, Modality=modality))
    with pytest.raises(RadiographError, match="another modality"):
        read_radiograph(dicom(FILM, Modality="", SOPClassUID="1.2.840.10008.5.1.4.1.1.2"))


@pytest.mark.parametrize(
    "word", ["CHEST", "TORAX", "TÓRAX", "TORACE", "PECHO", "Thorax pa/lat", "LUNG", "ТОРАКС", "Грудная клетка", "胸部"]
)
def test_the_chest_in_several_languages(word):
    for encoding in ("utf-8", "iso8859-5", "latin-1", "cp1251", "shift_jis"):
        try:
            value = word.encode(encoding)
        except UnicodeEncodeError:
            continue
        value += b" " * (len(value) % 2)
        data = dicom(FILM, BodyPartExamined="Q" * len(value)).replace(b"Q" * len(value), value)
        assert value in data and not read_radiograph(data).notes, encoding


def test_other_body_parts_are_noted():
    for word, term in (("HAND", "HAND"), ("T SPINE", "another"), ("COLUMNA DORSAL", "another"), ("SECRET", "another")):
        (note,) = read_radiograph(dicom(FILM, BodyPartExamined=word)).notes
        assert term in note and "SECRET" not in note


def test_raw_detector_values_are_noted():
    assert "raw" in read_radiograph(dicom(FILM, PresentationIntentType="FOR PROCESSING")).notes[0]


def test_a_plausible_first_element_is_dicom_and_other_files_are_not():
    for start in (
        b"\x08\0\x16\0UI\x1a\0",
        b"\x08\0\x60\0CS\x02\0",
        b"\x10\0\x10\0\x08\0\0\0",
        b"\0\x08\0\x05CS\0\x0a",
        b"\x08\0\x01\0\x04\0\0\0",
    ):
        assert looks_like_dicom(start + bytes(100)), start
    for other in (
        b"%PDF-1.7\n" + bytes(100),
        b"PK\3\4" + bytes(100),
        b"hello, this is no picture",
        bytes(200),
        b"\x7fELF" + bytes(99),
        b"\0\0\x01\0\x01\0\x10\x10" + bytes(99),
        b"\x1f\x8b\x08\0" + bytes(99),
        b"GIF89a" + bytes(99),
        b"BM" + bytes(99),
    ):
        assert not looks_like_dicom(other), other[:8]
