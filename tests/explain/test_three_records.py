"""Known, unknown and another record."""

from dataclasses import replace

import numpy as np
import pytest
from helpers import RECORD

from app.render.cards.three_records import three_records_card
from app.render.wording import without_record_sentence
from diff3m.data.phantom import make_person
from diff3m.ehr import paper_schema
from diff3m.explain import EXPLANATIONS, Context
from diff3m.explain.three_records import analyze_without_record, compare_three_records, mirror_record
from diff3m.scoring.score import ViewCalibration


def test_the_other_patient_is_mirrored_at_the_average():
    schema = paper_schema()
    record = schema.parse(RECORD)
    other = mirror_record(schema, record)
    assert (other["age"], other["sex"], other["view"]) == (40, "M", "PA")  # mean age 50
    assert other["bmi"] == 24 and other["height_cm"] == 173  # means 27.5 and 169
    assert other["weight_kg"] is None, "what is unknown stays unknown"
    assert other["systolic_mmhg"] == 100 and other["diastolic_mmhg"] == 70  # means 125 and 75
    assert mirror_record(schema, schema.parse({})) == schema.parse({})
    heavy = mirror_record(schema, schema.parse({"height_cm": 165, "weight_kg": 110}))
    assert heavy["weight_kg"] == pytest.approx(heavy["bmi"] * (heavy["height_cm"] / 100) ** 2)
    for systolic, diastolic in ((180, 60), (95, 85), (279, 30)):
        odd = mirror_record(schema, schema.parse({"systolic_mmhg": systolic, "diastolic_mmhg": diastolic}))
        schema.parse(odd)  # a record that contradicts itself would raise EHRError


@pytest.fixture
def calibrated_detector(tiny_detector):
    """The tiny checkpoint with a different calibration for each view."""
    views = {"any": 0.0, "PA": 1.0, "AP": 2.0}
    calibration = tuple(
        (view, ViewCalibration(30, (mean,) * 3, (1.0,) * 3, (0.0, 1.0))) for view, mean in views.items()
    )
    return tiny_detector.with_scoring(replace(tiny_detector.scoring, calibration=calibration))


def test_pictures_and_scores_are_those_of_the_analyses(calibrated_detector):
    case = calibrated_detector.case(make_person(21).render(64), RECORD)
    result = compare_three_records(calibrated_detector, case)
    analyses = [calibrated_detector.analyze(case.with_record(record)) for record in result.records]
    assert [analysis.compared_with for analysis in analyses] == ["AP", "any", "PA"]
    for analysis, reconstruction in zip(analyses, result.reconstructions, strict=True):
        assert np.abs(analysis.reconstruction - reconstruction).max() < 1e-4
    assert result.scores[0] == pytest.approx(analyses[0].score, abs=1e-4)
    # the same values against normals of the film's view: two lower than against those of any, one lower than of PA
    assert result.scores[1] == pytest.approx(analyses[1].score - 2, abs=1e-4)
    assert result.scores[2] == pytest.approx(analyses[2].score - 1, abs=1e-4)
    explanation = EXPLANATIONS["three_records"]
    values = explanation.to_dict(result)
    assert list(values) == ["known", "unknown", "another"] and values["known"]["mean_absolute_change"] == 0
    assert len(explanation.describe(result)) == 3 and len(explanation.pictures(result)) == 5
    page = three_records_card(result, Context(calibrated_detector, case))
    assert page.count("<img") == 5 and f"score {result.scores[2]:+.2f}" in page


def test_an_analysis_without_its_record_is_compared_among_normals_of_the_films_view(calibrated_detector):
    analysis = calibrated_detector.analyze(make_person(21).render(64), RECORD, steps=3)
    other = analyze_without_record(calibrated_detector, analysis)
    unknown = calibrated_detector.analyze(make_person(21).render(64), {}, steps=3)
    assert other.change == pytest.approx(np.abs(unknown.reconstruction - analysis.reconstruction).mean(), abs=1e-5)
    assert other.score == pytest.approx(unknown.score - 2, abs=1e-4) and 0 <= other.percentile <= 100
    text = without_record_sentence(replace(analysis, percentile=92.61), replace(other, change=0.0123, percentile=40.25))
    assert text == (
        "Without the record the normal film changes by 1.2 % of the grey range, and the percentile becomes 40.2."
    )
    same = without_record_sentence(replace(analysis, percentile=40.2), replace(other, percentile=40.2))
    assert same.endswith("the percentile stays 40.2.")
    with pytest.raises(ValueError, match="without its film"):
        analyze_without_record(calibrated_detector, replace(analysis, case=None))


def test_without_a_calibration_there_are_pictures_and_no_score(tiny_detector):
    case = tiny_detector.case(make_person(3).render(64), RECORD)
    context = Context(tiny_detector, case)
    result = context.compute("three_records")
    card = three_records_card(result, context)
    assert result.scores == (None, None, None) and "score" not in card.split("Normal films as in")[0]
    same = compare_three_records(tiny_detector, case.with_record(tiny_detector.schema.parse({})))
    assert np.abs(same.differences).max() < 1e-5, "three times no record"
