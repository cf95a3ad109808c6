"""Attributions and the fit of the record: their arithmetic on a tiny network."""

import itertools
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from captum.attr import FeatureAblation, ShapleyValues
from helpers import RECORD

from diff3m.data.phantom import make_person
from diff3m.detector import Detector
from diff3m.evaluation.calibration import calibrate_on_normals
from diff3m.evaluation.oracle import GROUPS
from diff3m.explain import Context, ExplanationError, Request, attribute, attribution, coalitions, measure_record_fit
from diff3m.explain.calibration import PRIOR_LEVEL
from diff3m.explain.coalitions import compute_ablation_values, compute_shapley_values
from diff3m.explain.record_fit import (
    compute_misfit,
    compute_movement,
    compute_z_scores,
    get_calibrated_fits,
    measure_deviations,
)
from diff3m.scoring.record_fit import GroupFit, measure_deviation

ALL_TARGETS = Request(targets=attribution.TARGETS)


def phantom_case(detector, number=4, record=RECORD):
    return detector.case(make_person(number).render(64), record)


def test_a_deviation_is_one_where_the_film_stands_at_the_high_end():
    low, high = torch.zeros(1, 1, 20, 20), torch.zeros(1, 1, 20, 20)
    high[..., 8:12, 8:12] = 0.5
    across = torch.zeros(1, 1, 20, 20)
    across[..., 3:6, 3:6] = 1
    along, relative = measure_deviation(high, torch.cat([low, high, low + across]), low, high, 0.05)
    # a change across the direction does not count
    assert torch.allclose(relative, torch.tensor([1.0, 0.0, 1.0]), atol=1e-6)
    assert torch.allclose(along, relative * (high - low).norm(), atol=1e-6)


@pytest.mark.parametrize("target", attribution.TARGETS)
def test_attributions_sum_to_the_whole_change(fitted_detector, target, film_folder):
    detector = fitted_detector
    if target == "score":
        scoring = calibrate_on_normals(
            Detector(replace(fitted_detector.checkpoint, folder=None), "cpu", "float32"), film_folder / "manifest.csv"
        )
        detector = fitted_detector.with_scoring(scoring)
    result = attribute(detector, phantom_case(detector, 3), target=target)
    total = result.known - result.unknown
    assert abs(total) > 1e-3
    assert sum(result.groups.values()) == pytest.approx(total, rel=0.01)
    assert sum(result.parts.values()) == pytest.approx(total, rel=0.01)
    assert set(result.groups) == set(GROUPS)
    assert set(result.parts) == {"age", "sex", "view", "habitus", "systolic_mmhg", "diastolic_mmhg"}


def captum_values(method, table, names):
    """The same attribution by Captum, which walks through the orders of the players."""
    distinct = list(dict.fromkeys(names))
    mask = torch.tensor([[distinct.index(name) for name in names]])

    def forward(present):
        return torch.tensor([table[tuple(int(flag) for flag in row)] for row in present.tolist()], dtype=torch.float64)

    ones = torch.ones(1, len(names), dtype=torch.float64)
    values = method(forward).attribute(ones, baselines=torch.zeros_like(ones), feature_mask=mask)[0].tolist()
    return {name: values[names.index(name)] for name in distinct}


@pytest.mark.parametrize("names", [["a", "b", "c", "d", "e"], ["a", "b", "b", "c", "a"], ["a"], ["a", "a"]])
def test_exact_shapley_values_are_captums(names):
    rng = np.random.default_rng(len(names))
    table = {members: float(rng.normal()) for members in itertools.product((0, 1), repeat=len(names))}
    assert compute_shapley_values(table, names) == pytest.approx(captum_values(ShapleyValues, table, names), abs=1e-6)
    assert compute_ablation_values(table, names) == pytest.approx(
        captum_values(FeatureAblation, table, names), abs=1e-6
    )
    assert compute_shapley_values({(): 3.0}, []) == {} == compute_ablation_values({(): 3.0}, [])


def test_shapley_values_of_a_glove_game():
    """One left glove and two right ones: the left one is worth 2/3, each right one 1/6 (Shapley 1953)."""
    table = {
        members: float(members[0] and (members[1] or members[2])) for members in itertools.product((0, 1), repeat=3)
    }
    assert compute_shapley_values(table, ["left", "right", "spare"]) == pytest.approx(
        {"left": 2 / 3, "right": 1 / 6, "spare": 1 / 6}
    )


def test_an_attribution_is_that_of_its_coalitions(fitted_detector):
    case = phantom_case(fitted_detector)
    result, x0 = attribute(fitted_detector, case, parts=False), fitted_detector.inputs([case])
    members, values = fitted_detector.schema.explanation_groups, {}
    for coalition in itertools.product((0, 1), repeat=5):
        known = {
            feature.name
            for group, present in zip(GROUPS, coalition, strict=True)
            if present
            for feature in members[group]
        }
        record = {name: value if name in known else None for name, value in case.record.items()}
        along, _ = measure_deviations(fitted_detector, x0, [record], fitted_detector.config.fit)
        values[coalition] = float(compute_misfit(compute_z_scores(along, fitted_detector.config.fit))[0])
    assert result.groups == pytest.approx(captum_values(ShapleyValues, values, GROUPS), rel=1e-3, abs=1e-4)
    assert result.ablation["habitus"] == pytest.approx(values[1, 1, 1, 1, 1] - values[1, 1, 1, 0, 1], rel=1e-3)


def test_what_the_record_moves_is_a_distance_from_the_whole_record(fitted_detector):
    """The film's own deviation counts for the misfit alone."""
    case = phantom_case(fitted_detector)
    context = Context(fitted_detector, case)
    contradiction, expectation, prior = (context.compute(name) for name in ("misfit", "expectation", "prior"))
    assert expectation.known == prior.known == 0 < contradiction.known
    assert expectation.unknown > 0 and prior.unknown > 0
    assert compute_movement(np.array([[1.0, 2.0], [4.0, 6.0]]), np.array([4.0, 6.0])).tolist() == [25.0, 0.0]
    fits, nothing = fitted_detector.config.prior_fit, fitted_detector.schema.parse({})
    z = compute_z_scores(
        measure_deviations(fitted_detector, fitted_detector.inputs([case]), [nothing, case.record], fits)[0], fits
    )
    assert prior.unknown == pytest.approx(float(np.square(z[0] - z[1]).sum()), rel=1e-3)
    assert {fit.level for fit in fits} == {PRIOR_LEVEL}
    assert expectation.table.keys() == contradiction.table.keys()
    assert prior.fits == () and expectation.fits == contradiction.fits
    with pytest.raises(ExplanationError, match="measured other things"):
        attribute(fitted_detector, case, "prior", previous=contradiction)
    with pytest.raises(ExplanationError, match="diff3m calibrate"):
        get_calibrated_fits(fitted_detector.with_config(replace(fitted_detector.config, prior_fit=())), prior=True)


def test_the_share_below_rises_beyond_what_was_measured():
    fit = GroupFit("age", 850, 0.0, 1.0, 9, (0.0, 1.0, 3.0))
    shares = [fit.share_below(size) for size in (0.0, 0.5, 1.0, 2.0, 3.0, 3.001, 6.0, 300.0)]
    assert shares == sorted(set(shares)) and shares[0] == 0
    assert shares[2] == pytest.approx(0.375) and shares[4] == 0.75 and shares[-1] < 1
    assert GroupFit.from_dict(fit.to_dict()) == fit
    before = {**GroupFit("age", 850, 0.0, 1.0, 9).to_dict(), "usual": [0.0, 1.0]}  # what earlier checkpoints have
    assert GroupFit.from_dict(before).movements == ()
    with pytest.raises(ValueError, match="rising"):
        replace(fit, movements=(2.0, 1.0))


def test_groups_of_many_values_move_as_one(fitted_detector):
    """Four vitals beside the eight features would make 1,024 coalitions."""
    vital = fitted_detector.schema["systolic_mmhg"]
    more = tuple(replace(vital, name=f"vital_{number}", explanation_group="vitals") for number in range(4))
    wide = replace(fitted_detector.schema, features=(*fitted_detector.schema.features, *more))
    record = {**fitted_detector.schema.parse(RECORD), **{feature.name: 1.0 for feature in more}}
    players = coalitions.list_players(SimpleNamespace(schema=wide), record, single=True)
    assert tuple(feature.name for feature in more) in players and ("systolic_mmhg",) in players and len(players) == 7
    single = tuple(replace(vital, name=f"lone_{number}", explanation_group=f"lone {number}") for number in range(3))
    many = SimpleNamespace(schema=replace(wide, features=(*wide.features, *single)), config=fitted_detector.config)
    lone = {feature.name: 1.0 for feature in single}
    with pytest.raises(ExplanationError, match="8 parts"):
        coalitions.list_coalitions(
            many, {**record, **lone, "systolic_mmhg": None, "diastolic_mmhg": None}, single=False
        )


def test_what_is_not_known_or_not_trained_explains_nothing(fitted_detector, shipped_detector):
    result = attribute(fitted_detector, phantom_case(fitted_detector, 5, {"age": 60}))
    assert result.groups["age"] == pytest.approx(result.known - result.unknown)
    assert all(result.groups[name] == 0 for name in GROUPS[1:])
    empty = attribute(fitted_detector, phantom_case(fitted_detector, 5, {}))
    assert set(empty.groups.values()) == {0.0} and empty.known == empty.unknown and empty.parts == {}
    real = attribute(shipped_detector, shipped_detector.case(make_person(5).render(128), RECORD), parts=False)
    assert set(real.groups) == {"age", "sex", "view"}  # BMI and pressure were never trained


def test_explanations_repeat_and_end_in_sentences_where_they_cannot_be_given(fitted_detector, tiny_detector):
    case = phantom_case(fitted_detector, 6)
    once, again = (attribute(fitted_detector, case, parts=False) for _ in range(2))
    assert once == again and all(np.array_equal(once.table[known], again.table[known]) for known in once.table)
    fits = attribute(fitted_detector, case).fits
    assert [fit.z for fit in measure_record_fit(fitted_detector, case)] == pytest.approx(
        [fit.z for fit in fits], rel=1e-3
    )
    with pytest.raises(ExplanationError, match="diff3m calibrate"):
        attribute(tiny_detector, case)
    with pytest.raises(ExplanationError, match="no score to explain"):
        attribute(tiny_detector, case, target="score")
    with pytest.raises(ExplanationError, match="target must be"):
        attribute(fitted_detector, case, target="luck")
    with pytest.raises(ValueError, match="std positive"):
        GroupFit("age", 350, 0.0, 0.0, 3)


def test_coalitions_that_were_computed_are_not_computed_again(fitted_detector, monkeypatch):
    case, counts = phantom_case(fitted_detector), []
    first = attribute(fitted_detector, case, parts=False)

    def counted(detector, x0, records, fits):
        counts.append(len(records))
        return measure_deviations(detector, x0, records, fits)

    monkeypatch.setattr(attribution, "measure_deviations", counted)
    second, whole = attribute(fitted_detector, case, previous=first), attribute(fitted_detector, case)
    assert counts == [32, 64] and second.fits == first.fits
    assert list(second.parts.values()) == pytest.approx(list(whole.parts.values()), rel=1e-3, abs=1e-4)
