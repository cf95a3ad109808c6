"""Explanations against known causes: the oracle, and the shipped model on phantoms."""

import functools
import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from helpers import RECORD

from diff3m.cli.main import main
from diff3m.data.manifest import ManifestError
from diff3m.data.phantom import SEEDS, make_person, write_cohort
from diff3m.data.phantom.cohort import draw_ignored_value
from diff3m.evaluation import explanation_table, explanation_truth
from diff3m.evaluation.explanation_table import METHODS, spearman
from diff3m.evaluation.explanation_truth import make_extreme_patient
from diff3m.evaluation.oracle import GROUPS, Oracle, average_population, infer_population
from diff3m.evaluation.phantom_numbers import FIRST, get_explanation_number
from diff3m.explain import attribute, measure_record_fit, sum_attention_by_group
from diff3m.imaging import Radiograph


@pytest.mark.slow
@pytest.mark.parametrize("group", ["view", "habitus", "blood pressure"])
def test_the_extreme_group_is_what_explains_a_normal_phantom(phantoms, group):
    """Shares of 100 films are in docs/explanations.md; here four of "dev", to catch a broken one."""
    hits = 0
    for number in range(SEEDS["dev"][0] + 65_000, SEEDS["dev"][0] + 65_004):
        patient = make_extreme_patient(group, np.random.default_rng([number, 4]))
        case = phantoms.case(Radiograph(make_person(number).render(128, patient)), patient.to_record())
        groups = attribute(phantoms, case, parts=False).groups
        hits += max(groups, key=lambda name: abs(groups[name])) == group
    assert hits >= 3


def test_the_oracle_infers_what_is_unknown_from_what_is_known():
    """Against people drawn from the population: those alike in what is known, and the mean of what is not."""
    crowd = [make_person(number).patient for number in range(40_000)]
    patient = replace(make_person(3).patient, sex="M", age=75.0).with_values(
        systolic_mmhg=150.0, diastolic_mmhg=80.0, bmi=30.0, height_cm=178.0
    )
    alike = [
        p for p in crowd if abs(p.systolic_mmhg - 150) < 4 and abs(p.diastolic_mmhg - 80) < 4 and abs(p.bmi - 30) < 3
    ]
    (guess, share), *others = infer_population(patient, ["age", "view"])
    assert guess.age == pytest.approx(np.mean([p.age for p in alike]), abs=2)
    assert guess.bmi == 30 and share == pytest.approx(0.65)
    assert [one.view for one, _ in others] == ["AP"]
    tall = [p.sex for p in crowd if abs(p.height_cm - 178) < 1 and abs(p.bmi - 30) < 3]
    by_sex = {one.sex: part for one, part in infer_population(patient, ["sex"])}
    assert by_sex["M"] == pytest.approx(tall.count("M") / len(tall), abs=0.04)
    assert sum(by_sex.values()) == pytest.approx(1)
    assert [share for _, share in average_population(patient, ["sex"])] == [0.5, 0.5]
    young = [p for p in crowd if p.sex == "M" and abs(p.age - 25) < 2]
    (guess, _), *_ = infer_population(replace(patient, age=25.0), ["blood pressure", "habitus"])
    assert guess.systolic_mmhg == pytest.approx(np.mean([p.systolic_mmhg for p in young]), abs=1.5)
    assert guess.height_cm == pytest.approx(np.mean([p.height_cm for p in young]), abs=1)
    whole = list(infer_population(patient, []))
    assert len(whole) == 1 and whole[0][1] == 1 and whole[0][0].age == pytest.approx(75)


def test_a_wrong_pressure_moves_the_fit_toward_the_true_one(phantoms):
    person = make_person(SEEDS["dev"][0] + 66_000)
    case = phantoms.case(person.render(128, person.patient.with_values(systolic_mmhg=120.0, diastolic_mmhg=75.0)))
    fits = []
    for value in (90.0, 120.0, 190.0):
        record = person.patient.with_values(systolic_mmhg=value, diastolic_mmhg=75.0).to_record()
        by_group = {
            fit.group: fit for fit in measure_record_fit(phantoms, case.with_record(phantoms.schema.parse(record)))
        }
        fits.append(by_group["blood pressure"])
    assert fits[0].z > fits[1].z > fits[2].z and fits[2].shift < 0 < fits[0].shift


@pytest.mark.slow
def test_the_oracle_explains_an_extreme_by_its_own_group(phantoms):
    oracle = Oracle(phantoms, people=3)
    for group in ("habitus", "blood pressure"):
        patient = make_extreme_patient(group, np.random.default_rng(1))
        values = oracle.attribute(make_person(11), patient)
        assert min(values, key=values.get) == group
    patient = make_extreme_patient("blood pressure", np.random.default_rng(1))
    truth = oracle.compute_curve(make_person(11), patient, "systolic_mmhg", [90.0, patient.systolic_mmhg, 200.0])
    assert truth[1] < 1e-9 < truth.max()
    weights = sum_attention_by_group(phantoms, phantoms.case(Radiograph(make_person(11).render(128)), RECORD))
    assert sum(weights.values()) == pytest.approx(2, abs=1e-3)  # two attention groups, each summing to 1


def test_rank_correlation():
    assert spearman(np.array([1.0, 2, 3]), np.array([10.0, 20, 40])) == pytest.approx(1)
    # ranks (1, 2.5, 2.5, 4) and (4, 3, 1, 2): their covariance over their spreads, by hand
    assert spearman(np.array([0.0, 1, 1, 5]), np.array([9.0, 5, 1, 2])) == pytest.approx(-3 / np.sqrt(22.5))
    assert spearman(np.ones(3), np.arange(3.0)) == 0


def test_no_phantom_is_explained_twice():
    numbers = [get_explanation_number("test", kind, index) for kind in range(7) for index in range(2_000)]
    assert len(set(numbers)) == len(numbers)
    assert max(numbers) < SEEDS["test"][0] + FIRST["counterfactuals"] and min(numbers) >= 3_070_000


@pytest.mark.slow
def test_the_benchmark_of_explanations_runs_from_the_command_line(fitted_detector, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(explanation_truth, "Oracle", functools.partial(Oracle, people=2))
    monkeypatch.setattr(explanation_truth, "CURVES", ("age",))
    for module in (explanation_truth, explanation_table):
        monkeypatch.setattr(module, "EXTREME", ("view", "habitus"))
    command = [
        "benchmark",
        "explanations",
        "--checkpoint",
        str(fitted_detector.checkpoint.folder),
        "--out",
        str(tmp_path),
    ]
    assert main([*command, "--each", "1", "--with-oracle", "1"]) == 0
    result, cases = json.loads((tmp_path / "explanations.json").read_text()), pd.read_csv(tmp_path / "cases.csv")
    assert result["each"] == 1 and result["largest_efficiency_error"] < 1e-3 and "top-1" in capsys.readouterr().out
    for name in METHODS:
        assert set(result[name]["top_1"]) == {"view", "habitus"}
        assert name == "unusual" or -1 <= result[name]["rank_correlation"]["extreme"]["value"] <= 1
    assert result["unusual"]["rank_correlation"] == {}, "each group has a scale of its own"
    for group in ("view", "habitus"):
        assert result["said_to_stand_out"][group] <= result["unusual"]["top_1"][group]["share"]
    assert result["oracle"]["rank_correlation"]["drawn"]["value"] == pytest.approx(1) and result["ignored"] is None
    assert result["oracle_averages"]["rank_correlation_averages"]["drawn"]["value"] == pytest.approx(1)
    assert set(cases["kind"]) == {"view", "habitus", "drawn"} and (cases["method"] == "oracle").sum() == 15
    assert "integrated gradients |" in (tmp_path / "explanations.md").read_text()
    assert (tmp_path / "explanations.svg").stat().st_size > 5000


def test_the_benchmark_of_explanations_says_which_groups_a_checkpoint_lacks(tmp_path, capsys):
    assert main(["benchmark", "explanations", "--checkpoint", "real-films", "--out", str(tmp_path / "out")]) == 1
    assert "habitus, blood pressure" in capsys.readouterr().err and not (tmp_path / "out").exists()


def test_a_feature_that_nothing_depends_on_is_measured(fitted_detector, tmp_path, monkeypatch):
    """That its attribution is small takes a trained network (docs/explanations.md); here, that it is measured."""
    monkeypatch.setattr(explanation_truth, "draw_ignored_value", lambda number: 30.0 + number % 7)  # as an age
    result = explanation_truth.attribute_ignored_feature(
        fitted_detector, "age", 3, "dev", lambda stage, done, total: None
    )
    assert result["people"] == 3 and result["size"] > 0 and set(result["size_of_others"]) == set(GROUPS) - {"age"}
    table = write_cohort(tmp_path / "cohort", 3, 64, 5, ignored_column="lottery")
    assert table["lottery"].tolist() == [draw_ignored_value(number) for number in (5, 6, 7)]
    with pytest.raises(ManifestError, match="name of its own"):
        write_cohort(tmp_path / "other", 3, 64, 5, ignored_column="bmi")
