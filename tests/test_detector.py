from dataclasses import replace

import numpy as np
import pytest
from conftest import drawn_film

from diff3m.checkpoint.folder import CheckpointError, load_checkpoint
from diff3m.checkpoint.source import resolve_checkpoint
from diff3m.detector import Detector
from diff3m.ehr import EHRError
from diff3m.export.files import analysis_to_dict
from diff3m.imaging import Radiograph, RadiographError
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
        changed = tiny_detector.analyze(film, RECORD, **change)
        assert not np.array_equal(plain.reconstruction, changed.reconstruction), change
    assert 200 in tiny_detector.analyze(film, RECORD, noise_level=200).reconstructions
    for wrong in ({"noise_level": 1001}, {"noise_level": -3}, {"steps": 81}, {"steps": -1}):
        with pytest.raises(ValueError, match="between"):
            tiny_detector.analyze(film, RECORD, **wrong)


def test_the_record_changes_the_reconstruction(tiny_detector):
    film = Radiograph(drawn_film(100))
    full, empty = tiny_detector.analyze(film, RECORD), tiny_detector.analyze(film, {})
    assert not np.array_equal(full.reconstruction, empty.reconstruction)


def test_many_equals_one_by_one(tiny_detector):
    cases = [(Radiograph(drawn_film(100, seed=s)), {"age": 30 + s}) for s in range(5)]
    together = list(tiny_detector.analyze_many(cases, batch_size=2))
    for (film, record), analysis in zip(cases, together, strict=True):
        alone = tiny_detector.analyze(film, record)
        assert analysis.reconstruction == pytest.approx(alone.reconstruction, abs=1e-4)
        assert [v for _, v, _ in analysis.components] == pytest.approx([v for _, v, _ in alone.components], abs=1e-4)


def test_arrays_and_paths_are_films_too(tiny_detector, film_folder):
    assert tiny_detector.analyze(drawn_film(100)).film.shape == (32, 32)
    assert tiny_detector.analyze(film_folder / "film0.png").film.shape == (32, 32)
    with pytest.raises(RadiographError):
        tiny_detector.analyze(np.zeros((100, 100)))
    with pytest.raises(EHRError, match="Age"):
        tiny_detector.analyze(drawn_film(100), {"age": -5})


def test_the_callback_hears_progress_and_cancels(tiny_detector):
    heard = []
    tiny_detector.analyze(drawn_film(100), callback=heard.append)
    assert heard[-1].done == heard[-1].total and heard[-1].preview.shape == (1, 1, 32, 32)

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
