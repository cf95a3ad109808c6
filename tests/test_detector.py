from dataclasses import replace

import cv2
import numpy as np
import pytest
from helpers import drawn_film

import diff3m.detector as detector_module
import diff3m.imaging.preprocess as preprocess_module
from diff3m.analysis import Placement
from diff3m.checkpoint.folder import CheckpointError, load_checkpoint
from diff3m.checkpoint.source import resolve_checkpoint
from diff3m.detector import Detector
from diff3m.ehr import EHRError, EHRSchema
from diff3m.explain import Context
from diff3m.export.files import analysis_to_dict
from diff3m.imaging import Radiograph, RadiographError, prepare, prepare_film
from diff3m.notes import NOTES, note, notes_on
from diff3m.scoring.score import Component

RECORD = {"age": 60, "sex": "F", "view": "PA", "height_cm": 170, "weight_kg": 70}


def test_an_analysis_is_whole(tiny_detector):
    analysis = tiny_detector.analyze(Radiograph(drawn_film(100)), RECORD)
    for image in (analysis.film, analysis.reconstruction, analysis.residual, analysis.heat_map):
        assert image.shape == (32, 32) and np.isfinite(image).all()
    assert analysis.residual == pytest.approx(analysis.film - analysis.reconstruction, abs=1e-6)
    assert 0 <= analysis.reconstruction.min() and analysis.reconstruction.max() <= 1
    assert set(analysis.attention) == {"demographics", "ehr"}
    for weights in analysis.attention.values():
        assert sum(weights.values()) == pytest.approx(1, abs=1e-5)
    assert analysis.record["bmi"] == pytest.approx(24.2)
    assert set(analysis.reconstructions) == {40, 80}
    assert analysis.score is None and any("calibrate" in note for note in analysis.notes)


def test_same_inputs_and_seed_same_output(tiny_detector):
    film = Radiograph(drawn_film(100))
    first, second, other = (tiny_detector.analyze(film, RECORD, seed=seed) for seed in (1, 1, 2))
    assert np.array_equal(first.heat_map, second.heat_map) and first.components == second.components
    assert first.components != other.components  # one-step estimates draw noise


def test_settings_are_obeyed(tiny_detector):
    film = Radiograph(drawn_film(100))
    plain = tiny_detector.analyze(film, RECORD)
    for change in ({"noise_level": 200}, {"steps": 4}, {"estimate": "masked_pixels"}):
        analysis = tiny_detector.analyze(film, RECORD, **change)
        assert not np.array_equal(plain.reconstruction, analysis.reconstruction), change
    assert 200 in tiny_detector.analyze(film, RECORD, noise_level=200).reconstructions
    for wrong in ({"noise_level": 1001}, {"noise_level": -3}, {"steps": 81}, {"steps": -1}):
        with pytest.raises(ValueError, match="between"):
            tiny_detector.analyze(film, RECORD, **wrong)


def test_the_record_changes_the_reconstruction(tiny_detector):
    film = Radiograph(drawn_film(100))
    full, empty = tiny_detector.analyze(film, RECORD), tiny_detector.analyze(film, {})
    assert not np.array_equal(full.reconstruction, empty.reconstruction)


def test_many_equals_one_by_one(tiny_detector):
    cases = [tiny_detector.case(drawn_film(100, seed=seed), {"age": 30 + seed}) for seed in range(5)]
    together = list(tiny_detector.analyze_many(iter(cases), batch_size=2))
    for case, analysis in zip(cases, together, strict=True):
        alone = tiny_detector.analyze(case)
        assert analysis.reconstruction == pytest.approx(alone.reconstruction, abs=1e-4)
        assert [v for _, v, _ in analysis.components] == pytest.approx([v for _, v, _ in alone.components], abs=1e-4)


def test_arrays_and_paths_are_films_too(tiny_detector, film_folder):
    assert tiny_detector.analyze(drawn_film(100)).film.shape == (32, 32)
    assert tiny_detector.analyze(film_folder / "film0.png").film.shape == (32, 32)
    with pytest.raises(RadiographError):
        tiny_detector.analyze(np.zeros((100, 100)))
    with pytest.raises(EHRError, match="Age"):
        tiny_detector.analyze(drawn_film(100), {"age": -5})


def test_an_analysis_prepares_the_film_and_parses_the_record_once(tiny_detector, monkeypatch):
    """And all explanations of the same case prepare nothing more."""
    calls = {"prepare_film": 0, "border_box": 0, "parse": 0}

    def count(module, name):
        function = getattr(module, name)

        def counted(*arguments):
            calls[name] += 1
            return function(*arguments)

        monkeypatch.setattr(module, name, counted)

    count(detector_module, "prepare_film")
    count(preprocess_module, "border_box")
    count(EHRSchema, "parse")
    case = tiny_detector.case(drawn_film(100), RECORD)
    analysis = tiny_detector.analyze(case)
    assert calls == {"prepare_film": 1, "border_box": 1, "parse": 1}
    context = Context(tiny_detector, case)
    for explanation in context.list_requested():
        context.attempt(explanation.name)
    assert set(context.collect_results()) >= {"attention", "region", "information", "record_unknown"}
    assert calls["prepare_film"] == calls["border_box"] == 1
    assert np.array_equal(analysis.film, case.x0) and analysis.aspect == case.aspect


def test_a_case_knows_its_native_film_box_and_proportions(tiny_detector):
    bordered_film = np.zeros((140, 200), np.float32)
    bordered_film[20:120, 30:150] = cv2.resize(drawn_film(100), (120, 100))
    case = tiny_detector.case(bordered_film, RECORD)
    top, bottom, left, right = case.prepared.box
    assert case.film.pixels.shape == (140, 200) and case.x0.shape == (32, 32)
    assert abs(np.array(case.prepared.box) - (20, 120, 30, 150)).max() <= 1
    assert case.aspect == (right - left) / (bottom - top)
    settings = tiny_detector.config.preprocessing
    assert np.array_equal(case.x0, prepare(case.film, settings))
    whole_film = prepare_film(case.film, replace(settings, trim=False))
    assert whole_film.box == (0, 140, 0, 200) and whole_film.aspect == 200 / 140


def test_a_case_is_taken_for_what_it_is(tiny_detector):
    case = tiny_detector.case(drawn_film(100), RECORD)
    alone = tiny_detector.analyze(drawn_film(100), RECORD)
    assert np.array_equal(tiny_detector.analyze(case).heat_map, alone.heat_map)
    unknown = case.with_record(tiny_detector.schema.parse({}))
    assert np.array_equal(tiny_detector.analyze(unknown).heat_map, tiny_detector.analyze(drawn_film(100)).heat_map)
    with pytest.raises(ValueError, match="holds its record already"):
        tiny_detector.analyze(case, RECORD)
    larger = replace(case.prepared, square=np.zeros((64, 64), np.float32))
    for other in (replace(case, prepared=larger), replace(case, record={"age": 60})):
        with pytest.raises(ValueError, match="another checkpoint"):
            tiny_detector.analyze(other)


def test_notes_have_codes_and_words(tiny_detector):
    values = {"steps": 4, "features": "BMI, Age", "age": 18, "feature": "BMI"}
    for code, words in NOTES.items():
        assert note(code, **values).endswith(".") and "{" not in note(code, **values), words
    config, film = tiny_detector.config, Radiograph(drawn_film(100), notes=("Of the film.",))
    case = tiny_detector.case(film, {"age": 12})
    placement = Placement(0.5, 60.0, "PA", 30, (0.5,) * 3)
    settings = tiny_detector.settings()
    assert notes_on(case, placement, settings, config) == ("Of the film.", note("minor", age=18))
    other = notes_on(case, placement, tiny_detector.settings(steps=4), config)
    assert note("other_settings", steps=2) in other
    uncalibrated_notes = notes_on(case, Placement(None, None, "any", 0, (None,) * 3), settings, config)
    assert uncalibrated_notes[1] == note("not_calibrated")
    contradiction = Component("contradiction", 0, 80, "one_step", feature="bmi")
    scoring = replace(config.scoring, components=(contradiction,))
    ignorant = tuple(replace(feature, trained=feature.name != "age") for feature in config.schema.features)
    other_config = replace(config, scoring=scoring, schema=replace(config.schema, features=ignorant))
    both = notes_on(case, placement, settings, other_config)
    assert note("feature_unknown", features="BMI") in both and note("features_ignored", features="Age") in both


def test_the_callback_is_called_with_progress_and_cancels(tiny_detector):
    reports = []
    tiny_detector.analyze(drawn_film(100), callback=reports.append)
    assert reports[-1].done == reports[-1].total and reports[-1].preview.shape == (1, 1, 32, 32)

    class Stop(Exception):
        pass

    def stop(progress):
        raise Stop

    with pytest.raises(Stop):
        tiny_detector.analyze(drawn_film(100), callback=stop)


def test_bfloat16_stays_close(tiny_checkpoint):
    full, half = (
        Detector(load_checkpoint(tiny_checkpoint), "cpu", p).analyze(drawn_film(100), RECORD)
        for p in ("float32", "bfloat16")
    )
    assert np.abs(full.reconstruction - half.reconstruction).mean() < 0.02


def test_a_contradiction_does_not_depend_on_the_precision(tiny_checkpoint):
    component = Component("contradiction", 0, 80, "one_step", feature="age")
    values = []
    for precision in ("float32", "bfloat16"):
        detector = Detector(load_checkpoint(tiny_checkpoint), "cpu", precision)
        detector = detector.with_scoring(replace(detector.scoring, components=(component,)))
        values.append(detector.analyze(drawn_film(100), RECORD).components[0][1])
    assert values[0] == pytest.approx(values[1], rel=1e-5) and np.isfinite(values[0])


@pytest.mark.parametrize("source", ["no-such-checkpoint", "./no/such/folder", "/no/such"])
def test_a_missing_checkpoint_gets_a_sentence(source):
    with pytest.raises(CheckpointError, match="no checkpoint"):
        resolve_checkpoint(source)


def test_a_folder_without_configuration_gets_a_sentence(tmp_path):
    with pytest.raises(CheckpointError, match=r"config\.json"):
        Detector.from_pretrained(tmp_path)


def test_a_contradiction_is_measured_where_the_record_has_the_value(tiny_detector):
    component = Component("contradiction", 0, 80, "one_step", feature="systolic_mmhg")
    detector = tiny_detector.with_scoring(
        replace(tiny_detector.scoring, components=(component, *tiny_detector.scoring.components))
    )
    film = drawn_film()
    known, higher, unknown = (detector.analyze(film, {"systolic_mmhg": value}) for value in (110, 180, None))
    assert known.components[0][1] != higher.components[0][1] and np.isnan(unknown.components[0][1])
    assert known.components[1:] == tiny_detector.analyze(film, {"systolic_mmhg": 110}).components
    assert analysis_to_dict(unknown, detector)["components"][0]["value"] is None
