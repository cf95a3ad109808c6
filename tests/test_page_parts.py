"""Parts of the page without a server: pictures for the viewer, the form, film tools, files, stored results."""

from __future__ import annotations

import io
import zipfile
from dataclasses import replace

import cv2
import gradio as gr
import numpy as np
import pydicom
import pytest
from helpers import drawn_film

from app.components import film_pictures
from app.components.ehr_form import FROM_HEADER, add_bmi, build_form, find_features_at_fault
from app.components.events import without_repetition
from app.components.film_edit import Corrections, correct_and_inspect
from app.components.viewer import ViewerFinding
from app.render import cards, figures, verdict, wording
from app.render.report import result_to_dict
from app.tabs.open_films import describe_error
from diff3m.checkpoint.folder import load_checkpoint, save_scoring
from diff3m.detector import Detector
from diff3m.ehr import EHRError, paper_schema
from diff3m.evaluation.calibration import calibrate_on_normals
from diff3m.explain import Context
from diff3m.export.cache import load_analysis, save_analysis
from diff3m.export.secondary_capture import can_export_dicom, secondary_captures
from diff3m.findings import find_findings, prepared_box
from diff3m.imaging import Radiograph, edit_film, inspect, with_quality


@pytest.fixture
def detector(calibrated_checkpoint, film_folder) -> Detector:
    """The tiny checkpoint, calibrated."""
    detector = Detector(load_checkpoint(calibrated_checkpoint), device="cpu")
    save_scoring(calibrated_checkpoint, calibrate_on_normals(detector, film_folder / "manifest.csv"))
    return Detector(load_checkpoint(calibrated_checkpoint), device="cpu", precision="float32")


@pytest.fixture
def analysis(detector):
    return detector.analyze(drawn_film(96, 3, bright=0.5), {"age": 60, "sex": "F", "view": "PA"})


def test_the_viewer_gets_film_normal_and_maps_in_the_films_own_frame(analysis, detector, tmp_path, monkeypatch):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    film = np.zeros((300, 200), np.float32)  # the model sees what lies inside the black border
    film[60:260, 20:180] = cv2.resize(drawn_film(200, 3, bright=0.5), (160, 200))
    case = detector.case(film, {"view": "PA"})
    result = detector.analyze(case)
    picture = film_pictures.make_film_picture(case.film, "film", 32)
    truth = np.zeros((32, 32), bool)
    truth[8:16, 8:16] = truth[20:24, 20:24] = True
    findings = find_findings(result, case, detector.scoring, threshold=0.001)
    viewer_film = film_pictures.add_analysis(picture, result, case, detector.scoring, findings, truth)
    top, bottom, left, right = case.prepared.box
    assert [(entry.name, entry.signed) for entry in viewer_film.maps] == [("Difference", True)]
    assert viewer_film.maps[0].box == (top / 300, left / 200, bottom / 300, right / 200)
    *places, place, other = viewer_film.findings
    assert place.label == other.label == film_pictures.TRUTH, "each part of the truth has an outline of its own"
    assert [(one.label, one.box) for one in places] == [(one.zone, one.box) for one in findings]
    values = [float(one.value.removesuffix(" %").replace("−", "-")) for one in places]
    assert values == [round(100 * one.largest, 1) for one in findings], "chips say the largest of the map that is shown"
    assert max(map(abs, values)) <= 100 * np.abs(result.heat_map).max() + 0.05
    expected = [
        top + (bottom - top) / 4,
        left + (right - left) / 4,
        top + (bottom - top) / 2,
        left + (right - left) / 2,
    ]
    assert place.box == pytest.approx(
        [edge / side for edge, side in zip(expected, (300, 200) * 2, strict=True)], abs=0.01
    )
    normal = cv2.imread(str(viewer_film.normal), cv2.IMREAD_UNCHANGED) / 65535
    assert normal.shape == (300, 200) and np.allclose(normal, result.pseudo_healthy, atol=1e-4)
    forming = film_pictures.add_forming_normal(result.reconstruction, case, picture, detector.scoring)
    assert cv2.imread(str(forming.normal), cv2.IMREAD_UNCHANGED).dtype == np.uint8
    box = prepared_box(place.box, case)
    assert box == pytest.approx((0.25, 0.25, 0.5, 0.5), abs=0.02)


def test_a_film_of_8_bits_stays_one_of_8_bits(tmp_path, monkeypatch):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    levels = np.arange(256, dtype=np.uint8).repeat(64).reshape(128, 128)
    eight = film_pictures.make_film_picture(Radiograph(levels / np.float32(255)), "film", 32)
    assert np.array_equal(cv2.imread(str(eight.film), cv2.IMREAD_UNCHANGED), levels)
    sixteen = film_pictures.make_film_picture(Radiograph(np.linspace(0, 1, 128 * 128).reshape(128, 128)), "film", 32)
    assert cv2.imread(str(sixteen.film), cv2.IMREAD_UNCHANGED).dtype == np.uint16


def test_page_numbers_report_and_api_say_the_same_percentile(analysis, detector):
    result = replace(analysis, percentile=78.987, score=1.0)
    assert "percentile 78.9</b>" in verdict.verdict_card(result, "words", detector)
    assert "<td>78.9</td>" in verdict.numbers_table(result, (), detector)
    assert "Percentile 78.9 " in wording.score_sentence(result)
    values = result_to_dict(result, (), detector)
    assert values["percentile"] == 78.9 and values["percentile_text"] == "78.9"


def test_page_numbers_report_and_api_put_no_film_at_percentile_100(analysis, detector):
    result = replace(analysis, percentile=100.0, score=99.0, normals=273)
    assert "<b>percentile &gt; 99.6</b>, above all 273 normal" in verdict.verdict_card(result, "words", detector)
    assert "<td>&gt; 99.6</td>" in verdict.numbers_table(result, (), detector)
    assert "percentile > 99.6, score +99.00" in verdict.comparison_sentence(result, result)
    values = result_to_dict(result, (), detector)
    assert values["percentile"] == 100.0 and values["percentile_text"] == "> 99.6", "the share as counted, and as said"
    axes = figures.score_histogram(np.linspace(-1, 1, 273), 99.0, 100.0, "PA").axes[0]
    assert axes.get_legend().get_title().get_text() == "percentile > 99.6"


def test_every_finding_has_a_button_that_explains_it_and_the_truth_has_none():
    places = [ViewerFinding("heart", "+7.4 %", (0, 0, 1, 1)), ViewerFinding("the truth", "", (0, 0, 1, 1))]
    page = verdict.finding_chips([("film", places, 1)])
    assert page.count('class="chip"') == 2 and page.count('class="chip-explain"') == 1
    assert 'data-finding="0"' in page.split("chip-explain")[1] and "+7.4 %" in page
    assert "not analyzed yet" in verdict.finding_chips([("film", places, 1), ("prior", None, 0)])
    outside = replace(places[0], label="outside the lungs")
    page = verdict.finding_chips([("film", [places[0], outside], 2)])
    assert page.index("heart") < page.index("<details>") < page.index("2 outside the lungs")


def test_the_form_fills_marks_and_leaves_out_what_the_model_ignores():
    schema = paper_schema()
    trained = {"age", "sex", "view"}
    features = tuple(replace(feature, trained=feature.name in trained) for feature in schema.features)
    with gr.Blocks():
        form, partial = build_form(schema), build_form(replace(schema, features=features), "_other")
    updates = form.fill({"age": 62.0, "sex": "M", "height_cm": 170.0, "weight_kg": 70.0}, FROM_HEADER)
    assert updates[form.get_field("age")]["value"] == "62" and updates[form.get_field("age")]["info"] == FROM_HEADER
    assert updates[form.get_field("bmi")]["value"] == updates[form.computed_bmi] == "24.2"
    assert updates[form.get_field("view")]["value"] == "unknown" and updates[form.get_field("view")]["info"] == ""
    assert set(form.fill({"sex": "F"}, FROM_HEADER, keep=True)) == {form.get_field("sex")}
    values = {form.computed_bmi: "24.2", **{field: "" for field in form.fields}}
    values |= {form.get_field("bmi"): "24.2", form.get_field("height_cm"): "170", form.get_field("weight_kg"): "90"}
    assert schema.parse(form.read(values))["bmi"] == 31.1, "a weight that was just typed counts, not the BMI before it"
    values[form.get_field("bmi")] = "45"
    with pytest.raises(EHRError, match="contradicts"):
        schema.parse(form.read(values))
    partial_values = {
        partial.computed_bmi: "",
        **{field: "" for field in partial.fields},
        partial.get_field("bmi"): "900",
    }
    assert set(partial.read(partial_values)) == trained, "nothing is said of a value that cannot count"
    assert find_features_at_fault(EHRError("Blood pressure: swapped."), schema) == {"systolic_mmhg", "diastolic_mmhg"}
    marks = form.mark(EHRError("BMI: 45 contradicts height"))
    assert [field for field, update in marks.items() if update["elem_classes"]] == [form.get_field("bmi")]


def test_bmi_is_computed_only_from_a_whole_and_plausible_pair():
    schema = paper_schema()
    known = {"height_cm": 170.0, "weight_kg": 70.0}
    assert add_bmi(schema, known) == ({**known, "bmi": 24.2}, {"bmi"})
    assert add_bmi(schema, {"height_cm": 170.0, "unheard_of": 1}) == ({"height_cm": 170.0}, set())
    assert add_bmi(schema, {"height_cm": 230.0, "weight_kg": 25.0})[1] == set()


def test_a_film_is_taken_as_it_is_handled():
    film = edit_film(Radiograph(drawn_film(200)))
    assert Corrections().apply(film) is film
    corrections = Corrections().with_change(turn=1).with_change(turn=-2).with_change(negative=True)
    assert corrections == Corrections(turn=3, negative=True)
    corrected_film, quality = correct_and_inspect(film, corrections)
    assert np.allclose(corrected_film.pixels, 1 - np.rot90(film.pixels, 3), atol=1e-5) and quality.limit > 0


def test_dicom_files_are_secondary_captures_of_nobody(analysis, detector):
    if not can_export_dicom():
        pytest.skip("highdicom is not installed")
    captures = secondary_captures(analysis, detector)
    assert set(captures) == {"film", "normal_film", "difference"}
    datasets = {name: pydicom.dcmread(io.BytesIO(data)) for name, data in captures.items()}
    assert {dataset.SOPClassUID.name for dataset in datasets.values()} == {"Secondary Capture Image Storage"}
    assert len({dataset.SeriesInstanceUID for dataset in datasets.values()}) == 1
    assert all(not dataset.PatientName and not dataset.PatientID for dataset in datasets.values())
    assert all(
        not dataset.PatientOrientation and "BurnedInAnnotation" not in dataset for dataset in datasets.values()
    ), "neither is known"
    assert (
        datasets["film"].pixel_array.shape == analysis.case.film.pixels.shape
        and datasets["difference"].pixel_array.shape[2] == 3
    )


def test_a_stored_result_comes_back_until_the_checkpoint_changes(analysis, detector, tmp_path):
    path = tmp_path / "stored.npz"
    assert load_analysis(path, detector) is None
    save_analysis(path, replace(analysis, accepted=("It may be turned.",)), detector)
    again = load_analysis(path, detector)
    assert again.accepted == ("It may be turned.",)
    assert again.score == analysis.score and again.record == analysis.record and again.components == analysis.components
    assert np.abs(again.heat_map - analysis.heat_map).max() < 1e-3 and again.settings == analysis.settings
    other = detector.with_scoring(replace(detector.scoring, steps=detector.scoring.steps + 1))
    assert load_analysis(path, other) is None


@pytest.fixture
def cohort(tmp_path_factory):
    """A manifest of four films and one that is missing, and a ZIP that also holds a picture of noise."""
    folder, lines = tmp_path_factory.mktemp("cohort"), ["path,view,age,label"]
    with zipfile.ZipFile(folder / "films.zip", "w") as archive:
        for index in range(4):
            data = cv2.imencode(".png", (drawn_film(96, index, 0.5 * (index > 1)) * 255).astype(np.uint8))[1].tobytes()
            archive.writestr(f"films/{index}.png", data)
            lines.append(f"{index}.png,{('PA', 'AP')[index % 2]},50,{'opacity' if index > 1 else 'normal'}")
        archive.writestr(
            "noise.png",
            cv2.imencode(".png", np.random.default_rng(0).integers(0, 255, (99, 99), np.uint8))[1].tobytes(),
        )
    lines += ["absent.png,PA,50,normal"]
    (folder / "manifest.csv").write_text("\n".join(lines) + "\n")
    return folder


def test_what_the_gate_saw_stays_with_the_result(detector):
    noise = Radiograph(np.random.default_rng(0).random((200, 200), np.float32))
    quality = inspect(noise)
    analysis = detector.analyze(with_quality(noise, quality))
    assert quality.reasons and analysis.accepted == quality.reasons
    assert all(any(reason in note for note in analysis.notes) for reason in quality.reasons)


def test_an_error_that_is_nobodys_fault_is_told_without_its_text(caplog):
    assert describe_error(ValueError("Mend it.")) == "Mend it."
    assert "secret" not in describe_error(RuntimeError("secret")) + caplog.text and "RuntimeError" in caplog.text


def test_attention_is_drawn_by_group_and_unknown_groups_are_pale(detector):
    case = detector.case(drawn_film(64), {"age": 50})
    page = cards.render("attention", {"age": 0.7, "sex": 0.3}, Context(detector, case))
    assert "<svg" in page and "not what changed the result" in page
    axes = figures.group_attention_bars([("Age", 0.7, True), ("Sex", 0.3, False)]).axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["Age", "Sex"]
    known, unknown = axes.patches
    assert known.get_width() == 0.7 and known.get_facecolor() != unknown.get_facecolor()


def test_a_streaming_handler_ends_with_an_update_that_changes_nothing():
    """Gradio sends the last update once more when a generator ends."""

    def handler(values, event=None):
        yield {"status": values}
        yield {"status": event}

    last = {"status": gr.skip()}
    assert list(without_repetition(handler)("a", "b")) == [{"status": "a"}, {"status": "b"}, last]
    assert list(without_repetition(lambda values: iter(()))("a")) == []
