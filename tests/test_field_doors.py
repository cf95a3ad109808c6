"""The same gate and the same facts where other tests do not look: Python, the manifest's notes, `prepare dicom`."""

import csv

import cv2
import numpy as np
import pydicom
import pytest
from helpers import FILM, dicom

from diff3m.data.prepare.dicom_folder import read_header
from diff3m.detector import Detector
from diff3m.evaluation.run import evaluate
from diff3m.imaging import GateError, read_radiograph


def test_a_stopped_file_is_analyzed_knowingly_only_in_python(tiny_detector, film_folder):
    film = film_folder / "film0.png"
    cv2.imwrite(str(film), 255 - cv2.imread(str(film), cv2.IMREAD_GRAYSCALE))
    for opens in (tiny_detector.analyze, tiny_detector.case):
        with pytest.raises(GateError, match="negative"):
            opens(film)
    analysis = tiny_detector.analyze(film, accept=True)
    assert "negative" in analysis.accepted[0] and any("knowingly" in note for note in analysis.notes)


def test_a_film_found_under_another_name_is_noted_beside_its_score(calibrated_checkpoint, film_folder, tmp_path):
    rows = "path,label,gender\nFILM0.PNG,normal,F\nfilm1.png,x,M\n./film1.png,normal,F\n"
    (film_folder / "m.csv").write_text(rows)
    metrics = evaluate(Detector.from_pretrained(calibrated_checkpoint, device="cpu"), film_folder / "m.csv", tmp_path)
    first, second, third = csv.DictReader((tmp_path / "scores.csv").open())
    assert "FILM0.PNG" in first["notes"] and "FILM" not in second["notes"]
    assert all("`gender` was not read" in row["notes"] for row in (first, second, third))
    assert metrics["duplicates"] == 1


def raw(dataset: pydicom.Dataset, tag: int, vr: str, value: str) -> None:
    dataset[tag] = pydicom.dataelem.RawDataElement(pydicom.tag.Tag(tag), vr, len(value), value.encode(), 0, False, True)


@pytest.mark.parametrize("tags, values, expected", [
    (dict(PatientAge="000Y", PatientBirthDate="19500101", AcquisitionDate="20150601"), {}, dict(age=65)),
    (dict(PatientSex="W", ViewPosition="PA1"), {}, dict(sex="F", view="PA")),
    ({}, {0x00101030: ("DS", "70,5"), 0x00101020: ("DS", "1,78")}, dict(weight_kg=70.5, height_cm=178)),
])  # fmt: skip
def test_prepare_reads_a_header_as_the_analysis_does(tmp_path, tags, values, expected):
    (tmp_path / "plain.dcm").write_bytes(dicom(FILM, **tags))
    dataset = pydicom.dcmread(tmp_path / "plain.dcm")
    for tag, (vr, value) in values.items():
        raw(dataset, tag, vr, value)
    dataset.save_as(tmp_path / "film.dcm")
    entry = read_header(tmp_path, "film.dcm", salt=b"12345678", whole=False)
    assert {name: entry[name] for name in expected} == expected == read_radiograph(tmp_path / "film.dcm").facts


def test_views_of_several_values_are_counted_in_prepare_as_in_the_analysis(tmp_path):
    (tmp_path / "film.dcm").write_bytes(dicom(FILM, ViewPosition=["PA", "LATERAL"]))
    entry = read_header(tmp_path, "film.dcm", salt=b"12345678", whole=False)
    assert not entry["view"] and any("neither PA nor AP" in note for note in entry["notes"])
    assert not np.any([name == "view" for name in read_radiograph(tmp_path / "film.dcm").facts])
