"""Case sets of one's own: rows of a manifest, results stored beside them, and the examples and lessons they become."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import cv2
import gradio as gr
import numpy as np
import pytest
from helpers import ROOT, dicom_film, drawn_film

from app.examples import MAX_STRIP, get_strip_title, load_examples, read_mask
from app.tabs.explore import build_explore
from app.tabs.explore_layout import build_model_select
from app.tabs.folder_set import FolderEntry, parse_boxes, read_case_set, read_case_sets, read_truths
from app.tabs.lessons.own import make_own_lessons
from app.tabs.set_examples import list_set_examples
from app.tabs.set_results import FOLDER, draw_truths
from diff3m.data.manifest import ManifestError
from diff3m.data.phantom import make_person
from diff3m.imaging import Radiograph

HEAD = "path,age,title,question,answer,boxes,label,mask\n"
GOOD = '0.png,50,First,Where?,There.,"spot 48 24 24 24",,\n1.png,,,,,,normal,\nc.dcm,,,Which view?,,,pneumonia,\n'


@pytest.fixture
def folder(tmp_path):
    """Two films of 96×96, one with a box, a DICOM film with a label alone, and their manifest."""
    path = tmp_path / "ward-3"
    path.mkdir()
    for index in range(2):
        cv2.imwrite(str(path / f"{index}.png"), (drawn_film(96, index) * 255).astype(np.uint8))
    (path / "c.dcm").write_bytes(dicom_film())
    (path / "manifest.csv").write_text(HEAD + GOOD)
    return path


def test_boxes_are_pixels_with_labels():
    nodule, other = parse_boxes("small nodule 10 20 30 40; 0,0,5,5", 200, 100)
    assert nodule.label == "small nodule" and nodule.box == (0.1, 0.1, 0.3, 0.4)
    assert other.label == "finding" and other.box == (0.0, 0.0, 0.025, 0.05)
    assert parse_boxes("", 10, 10) == ()
    for text in ("nodule", "1 2 3", "1 2 0 4", "1 2 3 -4"):
        with pytest.raises(ManifestError, match=r"The box .* cannot be read.* x y width height"):
            parse_boxes(text, 10, 10)
    with pytest.raises(ManifestError, match="within the film, which has 100×200 pixels"):
        parse_boxes("nodule 310 20 60 55", 200, 100)


def test_a_folder_becomes_a_set(folder, tiny_detector):
    cases = read_case_set(folder, tiny_detector)
    assert (cases.name, cases.title, len(cases), cases.problems) == ("ward-3", "Ward 3", 3, ())
    first, second, third = (cases.read_case(index) for index in range(3))
    assert first.truths[0].box == (0.25, 0.5, 0.5, 0.75) and first.truths[0].label == "spot"
    assert (first.title, first.question, first.answer, first.record["age"]) == ("First", "Where?", "There.", 50)
    assert [case.is_counted for case in (first, second, third)] == [True, True, False]
    assert third.label == "pneumonia" and third.record["view"] == "PA", "from the DICOM header"


def test_the_link_of_a_set_can_be_copied(folder, tiny_detector, capsys):
    read_case_set(folder, tiny_detector, "ward é 3")
    assert "Link: ?read=ward+%C3%A9+3\n" in capsys.readouterr().err


def test_columns_are_named_as_in_any_manifest_and_others_are_said(folder, tiny_detector, capsys):
    (folder / "manifest.csv").write_text("Path,BMI (kg/m²),Gender,Label\n0.png,31,F,Normal\n")
    cases = read_case_set(folder, tiny_detector)
    assert cases.read_case(0).record["bmi"] == 31 and cases.read_case(0).is_counted
    assert "The column `gender` was not read. To use it, name it `sex`." in capsys.readouterr().err


def test_a_bad_row_is_left_out_with_its_reason(folder, tiny_detector, capsys):
    (folder / "text.png").write_text("no picture")
    bad = (
        "nowhere.png,,,,,,,\n,,No film,,,,,\n0.png,abc,,,,,,\n0.png,,,,,nodule here,,\n0.png,,,,,spot 90 0 50 5,,\n"
        "text.png,,,,,,,\n0.png,,,,,,,no-mask.png\n"
    )
    (folder / "manifest.csv").write_text(HEAD + bad + GOOD)
    cases = read_case_set(folder, tiny_detector)
    assert len(cases) == 3 and cases.read_case(0).title == "First"
    reasons = ("no such file", "`path` is empty", "Age", "cannot be read", "within the film", "text.png", "its mask")
    log = capsys.readouterr().err
    for row, (problem, reason) in enumerate(zip(cases.problems, reasons, strict=True), start=1):
        assert problem.startswith(f"Row {row} (") and reason in problem, problem
        assert problem in log
    assert "3 films ready, 7 left out" in log and "?read=ward-3" in log


def test_a_film_that_the_gate_would_stop_is_used_and_said(folder, tiny_detector, capsys):
    cv2.imwrite(str(folder / "turned.png"), (np.rot90(make_person(1).render(96)) * 255).astype(np.uint8))
    (folder / "manifest.csv").write_text("path\nturned.png\n")
    for _ in range(2):  # computed, then stored
        assert len(read_case_set(folder, tiny_detector)) == 1
        assert "Row 1 (turned.png) is used as it is." in capsys.readouterr().err


def test_a_folder_that_is_no_set_gets_a_sentence(folder, tiny_detector):
    (folder / "manifest.csv").write_text("path,boxes\n0.png,here\n")
    with pytest.raises(ManifestError, match=r"No row of .* can be used\. Row 1 \(0.png\) is left out\. The box 'here'"):
        read_case_set(folder, tiny_detector)
    (folder / "manifest.csv").write_text("file\n0.png\n")
    with pytest.raises(ManifestError, match=r"no column `path`\. Its columns are: file"):
        read_case_set(folder, tiny_detector)
    (folder / "manifest.csv").write_text("path\n")
    with pytest.raises(ManifestError, match="no rows"):
        read_case_set(folder, tiny_detector)
    (folder / "manifest.csv").unlink()
    with pytest.raises(ManifestError, match=r"no manifest\.csv"):
        read_case_set(folder, tiny_detector)


def test_a_mask_is_a_truth_with_an_outline(folder, tiny_detector):
    mask = np.zeros((192, 192), np.uint8)
    cv2.circle(mask, (48, 96), 20, 255, -1)
    mask[150:170, 150:170] = 255
    cv2.imwrite(str(folder / "m.png"), mask)
    entry = FolderEntry(1, "0.png", folder / "0.png", {}, label="nodule", mask=folder / "m.png")
    film = Radiograph(drawn_film(96))
    circle, square = sorted(read_truths(entry, film), key=lambda truth: truth.box)
    assert circle.label == "nodule" and circle.box == pytest.approx((76 / 192, 28 / 192, 117 / 192, 69 / 192))
    assert len(circle.outline) > 6 and square.box == pytest.approx((150 / 192, 150 / 192, 170 / 192, 170 / 192))
    assert entry.is_counted
    cv2.imwrite(str(folder / "m.png"), mask[:90])
    with pytest.raises(ManifestError, match="other proportions"):
        read_truths(entry, film)
    picture = draw_truths((circle,), (96, 48))
    assert picture.shape == (512, 256) and picture[256, 64] == 255 and picture[256, 200] == 0


def test_a_second_start_analyzes_nothing_and_a_change_only_its_film(folder, tiny_detector, monkeypatch):
    analysis_calls = []
    analyze = tiny_detector.analyze
    monkeypatch.setattr(
        tiny_detector, "analyze", lambda case, *rest: analysis_calls.append(case) or analyze(case, *rest)
    )
    first = read_case_set(folder, tiny_detector)
    assert len(analysis_calls) == 3
    again = read_case_set(folder, tiny_detector)
    assert len(analysis_calls) == 3, "all results were stored"
    case = again.read_case(1)
    assert np.array_equal(again.analyze(1, case).film, first.analyze(1, case).film) and len(analysis_calls) == 3
    (folder / "manifest.csv").write_text((HEAD + GOOD).replace("0.png,50", "0.png,51"))
    stored = {path.name for path in (folder / FOLDER).iterdir()}
    new_set = read_case_set(folder, tiny_detector)
    assert len(analysis_calls) == 4 and new_set.read_case(0).record["age"] == 51
    assert len({path.name for path in (folder / FOLDER).iterdir()}) == len(stored), "the old result is gone"
    new_set.stored[1].result.write_bytes(b"cut short")
    read_case_set(folder, tiny_detector)
    assert len(analysis_calls) == 5, "a damaged result is computed again"


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_may_not_be_written_is_left_as_it_is(folder, tiny_detector):
    folder.chmod(0o555)
    try:
        cases = read_case_set(folder, tiny_detector)
    finally:
        folder.chmod(0o755)
    assert len(cases) == 3 and not (folder / FOLDER).exists()


def test_a_result_folder_that_cannot_be_made_is_replaced(folder, tiny_detector):
    (folder / FOLDER).write_text("a file in its place")
    cases = read_case_set(folder, tiny_detector)
    assert cases.stored[0].load(tiny_detector) is not None and (folder / FOLDER).is_file()


def test_sets_of_one_name_are_told_apart(folder, tiny_detector, tmp_path):
    other, simulated_folder = tmp_path / "other" / "ward-3", tmp_path / "simulated-1"
    for copy in (other, simulated_folder):
        shutil.copytree(folder, copy)
    names = [cases.name for cases in read_case_sets([folder, other, simulated_folder], tiny_detector)]
    assert names == ["ward-3", "ward-3-2", "own-simulated-1"]


def test_cases_are_the_examples_of_explore(folder, tiny_detector):
    cases = read_case_set(folder, tiny_detector)
    examples = list_set_examples([cases])[tiny_detector.config.name]
    first, _, third = examples
    assert (first.id, first.title, first.record["age"]) == ("ward-3/0.png", "First", 50)
    assert third.title == "c" and cv2.imread(third.picture) is not None, "a DICOM film has a thumbnail"
    assert (
        first.load_result(tiny_detector).record["age"] == 50 and read_mask(first.mask)[200, 300] and third.mask is None
    )
    assert get_strip_title(examples) == "From the case set Ward 3." and "synthetic" in get_strip_title(
        load_examples("phantoms")
    )
    with gr.Blocks() as page:
        many = {tiny_detector.config.name: [replace(first, id=str(number)) for number in range(MAX_STRIP + 3)]}
        build_explore([tiny_detector], build_model_select([tiny_detector]), page, many)
    strip = next(block for block in page.blocks.values() if getattr(block, "elem_id", "") == "examples")
    assert len(strip.value) == MAX_STRIP


def test_rows_with_a_question_are_lessons(folder, tiny_detector):
    lessons = make_own_lessons([read_case_set(folder, tiny_detector)])
    assert [(lesson.name, lesson.title) for lesson in lessons] == [
        ("ward-3/0.png", "Ward 3: First"),
        ("ward-3/c.dcm", "Ward 3: Film 3"),
    ]
    lesson = lessons[0]
    state = lesson.show()
    assert lesson.question == "Where?" and state.film.normal is None and not state.film.findings
    (step,) = lesson.answer(None)
    assert "There. The truth: spot, outlined." in step.html and "Places that stand out" in step.html
    assert step.state.film.normal is not None and step.state.film.findings[0].box == (0.25, 0.5, 0.5, 0.75)
    (folder / "0.png").unlink()
    assert lesson.show().film is None
    (step,) = lesson.answer(None)
    assert "Row 1 (0.png)" in step.html and step.state is None


def recipe(heading: str) -> str:
    """The script below a heading of docs/teach.md."""
    text = (ROOT / "docs" / "teach.md").read_text(encoding="utf-8").split(f"### {heading}\n")[1]
    return text.split("```python\n")[1].split("```")[0]


def run_recipe(heading: str, place: Path) -> Path:
    subprocess.run([sys.executable, "-c", recipe(heading)], cwd=place, check=True, timeout=300)
    return place / "my-cases"


@pytest.mark.parametrize(
    ("table", "sex"), [("Data_Entry_2017.csv", "Patient Gender"), ("Data_Entry_2017_v2020.csv", "Patient Sex")]
)
def test_the_recipe_for_chestxray14_makes_a_set(tmp_path, tiny_detector, table, sex):
    source = tmp_path / "ChestX-ray14"
    (source / "images_001" / "images").mkdir(parents=True)
    for number in range(3):
        film = (drawn_film(96, number) * 255).astype(np.uint8)
        cv2.imwrite(str(source / "images_001" / "images" / f"0000000{number}_000.png"), film)
    (source / "BBox_List_2017.csv").write_text(
        "Image Index,Finding Label,Bbox [x,y,w,h],,,\n"
        "00000001_000.png,Infiltrate,10.5,20.25,30,40,,,\n00000001_000.png,Mass,50,20,30,40,,,\n"
        "00009999_000.png,Mass,1,2,3,4,,,\n"
    )
    (source / table).write_text(
        f"Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,{sex},View Position\n"
        "00000000_000.png,No Finding,0,0,58,M,PA\n00000001_000.png,Infiltration|Mass,0,1,81,F,AP\n"
        "00000002_000.png,Effusion,0,2,60,F,PA\n00009999_000.png,Mass,0,9,60,F,PA\n"
    )
    cases = read_case_set(run_recipe("From ChestX-ray14", tmp_path), tiny_detector)
    assert cases.problems == () and len(cases) == 2
    normal, abnormal = cases.read_case(0), cases.read_case(1)
    assert normal.is_counted and not normal.truths and normal.record["view"] == "PA"
    assert [truth.label for truth in abnormal.truths] == ["Infiltrate", "Mass"]
    assert abnormal.record["age"] == 81 and abnormal.record["sex"] == "F"
    assert abnormal.truths[0].box == pytest.approx((20.25 / 96, 10.5 / 96, 60.25 / 96, 40.5 / 96))


def test_the_recipe_for_vindr_makes_a_set(tmp_path, tiny_detector):
    source = tmp_path / "vindr-cxr" / "1.0.0"
    for name in ("test", "annotations"):
        (source / name).mkdir(parents=True)
    boxes, labels = ["image_id,class_name,x_min,y_min,x_max,y_max"], ["image_id,Nodule/Mass,Pneumonia,No finding"]
    for number in range(7):
        (source / "test" / f"a{number}.dicom").write_bytes(dicom_film())
        has_box = number in (4, 5)
        boxes.append(f"a{number},Nodule/Mass,32,16,64.5,48" if has_box else f"a{number},No finding,,,,")
        labels.append(f"a{number},{int(has_box)},{int(number == 6)},{int(number < 4)}")
    (source / "annotations" / "annotations_test.csv").write_text("\n".join(boxes) + "\n")
    (source / "annotations" / "image_labels_test.csv").write_text("\n".join(labels) + "\n")
    cases = read_case_set(run_recipe("From VinDr-CXR", tmp_path), tiny_detector)
    assert cases.problems == () and len(cases) == 5, (
        "three normal films and both with a box; a pneumonia without one is neither"
    )
    assert [bool(cases.read_case(index).truths) for index in range(5)] == [False] * 3 + [True] * 2
    truth = cases.read_case(4).truths[0]
    assert truth.label == "Nodule/Mass" and truth.box == pytest.approx((16 / 128, 32 / 128, 48 / 128, 64.5 / 128))
