"""Calibration of the record's fit: what it measures, what it returns, and what the command writes."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from app.render.cards.movement import unusual_sentence
from diff3m.checkpoint.folder import CONFIG_FILE, load_checkpoint
from diff3m.cli.main import main
from diff3m.data.manifest import read_normal_cases
from diff3m.data.phantom import make_person
from diff3m.detector import Detector
from diff3m.evaluation import fit_calibration
from diff3m.evaluation.fit_calibration import calibrate_fit_on_normals
from diff3m.explain import ExplanationError, attribute, calibrate_fit, calibrate_usual
from diff3m.explain.record_fit import compute_z_scores, measure_deviations
from diff3m.imaging import read_film


def phantom_cases(detector, count=8):
    return [
        detector.case(make_person(number).render(64), make_person(number).patient.to_record())
        for number in range(count)
    ]


def test_calibrated_normals_have_mean_zero_and_spread_one(fitted_detector):
    fits = fitted_detector.config.fit
    z = [
        compute_z_scores(
            measure_deviations(fitted_detector, fitted_detector.inputs([case]), [case.record], fits)[0][0], fits
        )
        for case in phantom_cases(fitted_detector)
    ]
    assert np.allclose(np.mean(z, 0), 0, atol=1e-6) and np.allclose(np.std(z, 0, ddof=1), 1, atol=1e-6)
    levels = {"age": 350, "sex": 600, "view": 350, "habitus": 500, "blood pressure": 350}
    assert {fit.group: fit.level for fit in fits} == levels


def test_calibration_returns_a_value_and_writes_nothing(tiny_detector):
    path = tiny_detector.checkpoint.folder / CONFIG_FILE
    before = path.read_text()
    calibration = calibrate_fit(tiny_detector, phantom_cases(tiny_detector, 3))
    assert len(calibration.fit) == len(calibration.prior_fit) == 5 and {fit.count for fit in calibration.fit} == {3}
    assert path.read_text() == before and tiny_detector.config.fit == ()
    with pytest.raises(ExplanationError, match="at least two"):
        calibrate_fit(tiny_detector, phantom_cases(tiny_detector, 1))
    some = [case.with_record({**case.record, "age": None}) for case in phantom_cases(tiny_detector, 2)]
    with pytest.raises(ExplanationError, match="know age"):
        calibrate_fit(tiny_detector, some)


@pytest.fixture
def normals(tmp_path):
    """Write a manifest of four normal phantoms with their records; returns its path."""
    lines = ["path,label,age,sex,view,bmi,systolic_mmhg,diastolic_mmhg"]
    for number in range(4):
        cv2.imwrite(str(tmp_path / f"{number}.png"), (make_person(number).render(64) * 255).astype(np.uint8))
        record = make_person(number).patient.to_record()
        values = (record[name] for name in ("age", "sex", "view", "bmi", "systolic_mmhg", "diastolic_mmhg"))
        lines.append(f"{number}.png,normal," + ",".join(map(str, values)))
    path = tmp_path / "manifest.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


def test_the_command_writes_the_calibration(tiny_copy, normals, capsys):
    detector = Detector(load_checkpoint(tiny_copy), device="cpu", precision="float32")
    cases = [detector.case(read_film(row.path), row.record) for row in read_normal_cases(normals, detector.schema)]
    assert main(["calibrate", str(tiny_copy), "--manifest", str(normals), "--fit"]) == 0
    config, text = load_checkpoint(tiny_copy).config, capsys.readouterr().out
    assert [fit.count for fit in config.fit] == [4] * 5 and all(len(fit.movements) == 101 for fit in config.prior_fit)
    assert config.fit == calibrate_fit(detector, cases).fit
    assert "age: 4 normal films, noise level 350" in text and "age: moves normal by up to" in text


@pytest.fixture
def measurement_calls(monkeypatch):
    """Replace the two measurements of a film by quick ones; returns the list of those that were called."""
    calls = []

    def deviations(detector, case, fits):
        calls.append("deviations")
        return np.linspace(0, 1, len(fits)) * case.record["age"]

    def movements(detector, case):
        calls.append("movements")
        if calls.count("movements") == calls.count("stop here") == 2:
            raise KeyboardInterrupt
        return np.array([fit.mean * case.record["age"] for fit in detector.config.prior_fit])

    monkeypatch.setattr(fit_calibration, "measure_case_deviations", deviations)
    monkeypatch.setattr(fit_calibration, "measure_case_movements", movements)
    return calls


def test_a_run_that_was_ended_goes_on_with_the_film_at_which_it_ended(
    tiny_detector, normals, tmp_path, measurement_calls
):
    whole = calibrate_fit_on_normals(tiny_detector, normals, tmp_path / "whole")
    measurement_calls[:] = ["stop here"] * 2
    with pytest.raises(KeyboardInterrupt):
        calibrate_fit_on_normals(tiny_detector, normals, tmp_path / "parts")
    assert measurement_calls.count("deviations") == 4
    measurement_calls.clear()
    assert calibrate_fit_on_normals(tiny_detector, normals, tmp_path / "parts") == whole
    assert measurement_calls == ["movements"] * 3, "of four films one was measured before the end"
    assert not list((tmp_path / "parts").iterdir())


def test_films_that_cannot_be_used_are_left_out_of_the_fit(tiny_detector, normals, tmp_path, measurement_calls):
    (normals.parent / "1.png").write_bytes(b"no picture")
    upside_down = cv2.imread(str(normals.parent / "2.png"), cv2.IMREAD_GRAYSCALE)[::-1]
    cv2.imwrite(str(normals.parent / "2.png"), upside_down)
    calibration = calibrate_fit_on_normals(tiny_detector, normals, tmp_path / "parts")
    assert {fit.count for fit in (*calibration.fit, *calibration.prior_fit)} == {2}
    assert measurement_calls == ["deviations"] * 2 + ["movements"] * 2
    (normals.parent / "0.png").write_bytes(b"no picture")
    with pytest.raises(ExplanationError, match="at least two normal films"):
        calibrate_fit_on_normals(tiny_detector, normals, tmp_path / "parts")
    assert not list((tmp_path / "parts").iterdir()), "so that another manifest can be tried"


@pytest.mark.slow
def test_what_is_unusual_is_measured_against_normals_own_records(fitted_detector):
    cases = phantom_cases(fitted_detector)
    fits = fitted_detector.config.prior_fit
    sizes = np.zeros((len(cases), len(fits)))
    for row, case in enumerate(cases):
        x0, members = fitted_detector.inputs([case]), fitted_detector.schema.explanation_groups
        alone = [{feature.name: case.record[feature.name] for feature in members[fit.group]} for fit in fits]
        records = [fitted_detector.schema.parse(values) for values in ({}, *alone)]
        z = compute_z_scores(measure_deviations(fitted_detector, x0, records, fits)[0], fits)
        sizes[row] = np.square(z[1:] - z[0]).sum(1)
    result = attribute(fitted_detector, cases[3], "prior", parts=False)
    ranks = [
        np.interp(0.9 * own, np.sort(column), np.arange(len(cases)) / (len(cases) - 1)) * 101 / 102
        for own, column in zip(sizes[3], sizes.T, strict=True)
    ]
    assert list(result.unusual) == [fit.group for fit in fits]
    assert list(result.unusual.values()) == pytest.approx(ranks, abs=0.02)
    assert attribute(fitted_detector, cases[3], parts=False).unusual == {}
    plain = replace(
        fitted_detector.config, prior_fit=tuple(replace(fit, movements=()) for fit in fitted_detector.config.prior_fit)
    )
    assert attribute(fitted_detector.with_config(plain), cases[3], "prior", parts=False).unusual == {}
    age_alone = fitted_detector.case(make_person(3).render(64), {"age": 30})
    unusual = attribute(fitted_detector, age_alone, "prior", parts=False).unusual
    assert set(unusual) == {"age"}, "what is unknown is not out of the ordinary"
    moving = replace(result, unknown=4.0, unusual={"age": 0.4, "view": 0.97})
    sentence = unusual_sentence(moving)
    assert moving.stands_out == "view" and "view" in sentence and "in 97 of 100 normal films" in sentence
    assert "No part" in unusual_sentence(replace(moving, unusual={"age": 0.4}))
    still = replace(moving, unknown=0.4)
    assert "Nothing in this record stands out" in unusual_sentence(still), "what moves normal by next to nothing"


def test_unknown_values_do_not_count_as_usual(fitted_detector):
    cases = phantom_cases(fitted_detector, 6)

    def usual(some):
        return {fit.group: fit.movements for fit in calibrate_usual(fitted_detector, some)}

    view_alone = [case.with_record(fitted_detector.schema.parse({"view": "PA"})) for case in cases[3:]]
    assert usual([*cases[:3], *view_alone])["age"] == usual(cases[:3])["age"], "three more whose age is unknown"
    ages = [case.with_record(fitted_detector.schema.parse({"age": 40 + index})) for index, case in enumerate(cases)]
    assert usual(ages)["habitus"] == ()
