"""Gradients, regions, information, counterfactuals, influence curves and uncertainty."""

import numpy as np
import pytest
import torch
from helpers import RECORD

from app.render.cards.influence import influence_sentence
from app.render.cards.second_opinion import agreement_sentence
from app.render.cards.uncertainty import uncertainty_card
from diff3m.data.phantom import make_person
from diff3m.ehr import EHRError, paper_schema
from diff3m.evaluation.oracle import GROUPS
from diff3m.explain import (
    Context,
    ExplanationError,
    Request,
    attribute,
    attribute_region,
    attribute_regions,
    change_record,
    compute_counterfactual,
    compute_influence,
    compute_information,
    compute_integrated_gradients,
    measure_uncertainty,
)
from diff3m.explain.gradients import compare_attributions
from diff3m.explain.record_fit import estimate_one_step
from diff3m.explain.region import locate_region


def phantom_case(detector, number, record=RECORD, size=64):
    return detector.case(make_person(number).render(size), record)


def test_integrated_gradients_sum_to_the_whole_change_and_follow_the_definition(fitted_detector):
    case = phantom_case(fitted_detector, 4)
    gradients, shapley = (
        compute_integrated_gradients(fitted_detector, case, steps=24),
        attribute(fitted_detector, case, parts=False),
    )
    whole = shapley.known - shapley.unknown
    error = 0.02 * abs(whole) + 0.01
    assert sum(gradients.groups.values()) == pytest.approx(whole, abs=error) and abs(gradients.gap) < error
    only = compute_integrated_gradients(fitted_detector, phantom_case(fitted_detector, 4, {"age": 60}), steps=4)
    assert all(only.groups[group] == 0 for group in GROUPS[1:]) and only.groups["age"] != 0
    coarse = compute_integrated_gradients(fitted_detector, case, steps=2)
    assert abs(coarse.gap) >= abs(gradients.gap)  # more points, a smaller error


def test_agreement_is_judged_on_groups_that_matter():
    values = {"age": -5.0, "sex": 0.2, "view": 2.0}
    assert compare_attributions(values, {"age": -3.0, "sex": -0.3, "view": 1.0}).is_full  # sex is too small to count
    other = compare_attributions(values, {"age": -1.0, "sex": 0.0, "view": 4.0})
    assert other.signs == 1 and other.order and not other.largest
    opposite = compare_attributions(values, {"age": 5.0, "sex": 0.2, "view": 2.0})
    assert opposite.signs == 0.5 and not opposite.order and not opposite.is_full
    nothing = compare_attributions({"age": 0.1}, {"age": -0.1})
    assert nothing.is_full and "nothing to compare" in agreement_sentence("integrated gradients", nothing)
    assert "50% of the signs" in agreement_sentence("integrated gradients", opposite)
    sentence = agreement_sentence("leaving one group out", compare_attributions(values, values))
    assert sentence.startswith("Leaving one group out agrees")


def test_a_region_is_attributed_whole_and_found_where_the_film_differs(fitted_detector):
    film = make_person(8).render(64)
    film[40:46, 20:26] = 1.0
    case = fitted_detector.case(film, RECORD)
    result = attribute_region(fitted_detector, case)
    assert sum(result.groups.values()) == pytest.approx(result.known - result.unknown, abs=1e-6)
    everything = attribute_region(fitted_detector, case, box=(0.0, 0.0, 1.0, 1.0))
    x0 = fitted_detector.inputs([case])
    whole = estimate_one_step(fitted_detector, x0, [case.record], 350)
    assert everything.known == pytest.approx(float((x0 - whole).mean()), abs=1e-5)
    with pytest.raises(ExplanationError, match="region is empty"):
        attribute_region(fitted_detector, case, box=(0.5, 0.5, 0.5, 0.9))
    residual = torch.zeros(100, 100)
    residual[70:75, 30:35] = -1.0  # an odd side, so that its middle is one pixel
    rows, columns, box = locate_region(residual, fitted_detector.scoring, None)
    assert (rows, columns) == (slice(64, 80), slice(24, 40)), "a square of 16 % around the largest residual"
    assert box == (0.64, 0.24, 0.80, 0.40)


def test_regions_share_their_estimates(fitted_detector):
    case, boxes = phantom_case(fitted_detector, 8), [None, (0.0, 0.0, 1.0, 1.0), (0.2, 0.2, 0.4, 0.4)]
    together = attribute_regions(fitted_detector, case, boxes)
    assert [one.groups for one in together] == [attribute_region(fitted_detector, case, box).groups for box in boxes]
    attributions = Context(fitted_detector, case, Request(box=boxes[1], regions=(("corner", boxes[2]),))).compute(
        "region"
    )
    assert attributions == {"": together[1], "corner": together[2]}


def test_information_sums_over_pixels_and_is_nothing_without_a_record(fitted_detector):
    result = compute_information(fitted_detector, phantom_case(fitted_detector, 8))
    assert result.map.shape == (32, 32) and result.map.sum() == pytest.approx(result.bits, rel=1e-3, abs=1e-3)
    assert set(result.groups) == set(GROUPS) and result.bits != 0
    nothing = compute_information(fitted_detector, phantom_case(fitted_detector, 8, {}))
    assert nothing.bits == 0 and nothing.groups == {}


def test_a_counterfactual_is_the_same_person_and_its_own_record_changes_nothing(tiny_detector):
    record = make_person(3).patient.to_record()
    case, others = phantom_case(tiny_detector, 3, record), [record, {**record, "systolic_mmhg": 190}]
    result = compute_counterfactual(tiny_detector, case, others, noise_level=500, steps=4)
    assert np.abs(result.differences[0]).max() < 1e-5 < np.abs(result.differences[1]).max()
    assert result.reconstructions.shape == (2, 32, 32) and np.array_equal(result.film, case.x0)
    with pytest.raises(ValueError, match="steps must lie"):
        compute_counterfactual(tiny_detector, case, [record], noise_level=3, steps=4)


def test_another_record_changes_what_depends_on_it():
    schema = paper_schema()
    record = schema.parse({"height_cm": 170, "weight_kg": 80, "systolic_mmhg": 120, "diastolic_mmhg": 80})
    assert change_record(schema, record, "bmi", "35")["weight_kg"] == pytest.approx(35 * 1.7**2)
    assert change_record(schema, record, "sex", "Male")["sex"] == "M"
    with pytest.raises(EHRError, match="says already"):
        change_record(schema, record, "systolic_mmhg", "120")
    with pytest.raises(EHRError, match="diastolic"):
        change_record(schema, record, "systolic_mmhg", "70")
    with pytest.raises(EHRError, match="give the other value of BMI"):
        change_record(schema, record, "bmi", " ")


def test_habitus_stays_consistent_when_one_of_three_changes():
    schema = paper_schema()
    record = schema.parse({"height_cm": 170, "weight_kg": 80})
    for name, value in (("bmi", 40.0), ("height_cm", 190.0), ("weight_kg", 60.0)):
        new_record = schema.with_value(record, name, value)
        assert new_record[name] == value
        assert new_record["bmi"] == pytest.approx(new_record["weight_kg"] / (new_record["height_cm"] / 100) ** 2)
    without_height = schema.parse({"bmi": 30, "weight_kg": 90})
    assert schema.with_value(without_height, "weight_kg", 45.0)["bmi"] == pytest.approx(15)
    assert schema.with_value({"weight_kg": 90.0}, "weight_kg", 45.0)
    alone = schema.with_value(schema.parse({"bmi": 30}), "weight_kg", 45.0)
    assert alone["bmi"] == 30, "nothing says what BMI would follow from"
    low, high = schema.contrast_records("habitus")
    assert low["bmi"] < high["bmi"] and low["height_cm"] is None and low["age"] is None
    unknown = dict.fromkeys(schema.names)
    assert schema.contrast_records("sex") == ({**unknown, "sex": "F"}, {**unknown, "sex": "M"})


def test_an_influence_curve_passes_through_the_record_and_marks_what_was_trained(fitted_detector):
    curve = compute_influence(
        fitted_detector, phantom_case(fitted_detector, 7, {**RECORD, "diastolic_mmhg": 60}), "systolic_mmhg", points=5
    )
    assert curve.values[0] < curve.trained[0] < curve.trained[1] < curve.values[-1] and curve.own == 150
    assert curve.reconstructions.shape == (5, 32, 32) and np.abs(np.diff(curve.reconstructions, axis=0)).max() > 0
    case = phantom_case(fitted_detector, 7, {**RECORD, "systolic_mmhg": 220})
    extreme = compute_influence(fitted_detector, case, "systolic_mmhg", points=3, strip=False)
    assert extreme.values[-1] == 220 and extreme.reconstructions is None
    assert extreme.misfit[-1] == pytest.approx(attribute(fitted_detector, case).known, rel=1e-3)
    for wrong, sentence in ((("sex", 9), "needs a number"), (("bmi", 1), "at least two points")):
        with pytest.raises(ExplanationError, match=sentence):
            compute_influence(fitted_detector, case, *wrong)


def test_pressures_keep_their_order_along_a_curve(fitted_detector):
    case = phantom_case(fitted_detector, 3, {"systolic_mmhg": 130, "diastolic_mmhg": 95})
    systolic, diastolic = (
        compute_influence(fitted_detector, case, name, 3, strip=False).values
        for name in ("systolic_mmhg", "diastolic_mmhg")
    )
    assert systolic.min() == 105 and diastolic.max() <= 120
    alone = compute_influence(
        fitted_detector, phantom_case(fitted_detector, 3, {"diastolic_mmhg": 178}), "systolic_mmhg", 3, strip=False
    )
    assert alone.values[0] >= 188, "above the diastolic value, although no patient of training was there"
    assert (np.diff(alone.values) > 0).all()
    assert "far from those of training" in influence_sentence(alone, fitted_detector.schema["systolic_mmhg"])


def test_an_influence_curve_follows_the_region_and_the_score(phantoms):
    case, box = phantom_case(phantoms, 14, make_person(14).patient.to_record(), 128), (0.3, 0.3, 0.6, 0.6)
    curve = compute_influence(phantoms, case, "bmi", points=3, strip=False, score=True, box=box)
    other_case = case.with_record(phantoms.schema.with_value(case.record, "bmi", float(curve.values[1])))
    own = attribute_region(phantoms, other_case, box=box)
    assert curve.region[1] == pytest.approx(own.known, abs=1e-4) and curve.box == pytest.approx(box, abs=0.01)
    assert np.ptp(curve.region) > 0.001 and curve.score.shape == (3,) and np.isfinite(curve.score).all()


def test_uncertainty_is_over_levels_and_seeds(shipped_detector, phantoms, tiny_detector):
    case = phantom_case(phantoms, 13, make_person(13).patient.to_record(), 128)
    result = measure_uncertainty(phantoms, case)
    assert set(result.by_level) == {60} and set(result.by_seed) == {0, 1, 2} and result.heat_spread.max() > 0
    card = uncertainty_card(result, Context(phantoms, case))
    assert "Largest z-score" in card and "every seed gives the same map" not in card, "noising draws noises"
    real_case = phantom_case(shipped_detector, 13, {"view": "PA"}, 128)
    real = measure_uncertainty(shipped_detector, real_case)
    assert len(set(real.by_seed.values())) == 3, "one-step estimates draw noise"
    level = shipped_detector.scoring.noise_level
    assert set(real.by_level) == {level} and real.heat_spread.max() > 0
    assert min(real.heat_levels) < level < max(real.heat_levels), "levels around its own"
    card = uncertainty_card(real, Context(shipped_detector, real_case))
    assert "Mean z-score" in card and "every seed" not in card, "noising draws noises, so the map depends on the seed"
    with pytest.raises(ExplanationError, match="no score"):
        measure_uncertainty(tiny_detector, phantom_case(tiny_detector, 13, {}))
