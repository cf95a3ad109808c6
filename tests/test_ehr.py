import math

import numpy as np
import pytest

from diff3m.ehr import EHRError, EHRSchema, Feature, paper_schema

SCHEMA = paper_schema()


def test_paper_schema_has_the_eight_features_in_token_order():
    assert SCHEMA.names == ("age", "sex", "view", "bmi", "systolic_mmhg", "diastolic_mmhg", "height_cm", "weight_kg")
    assert SCHEMA.slots == (("demographics", 5), ("ehr", 5))
    explained = {name: [f.name for f in members] for name, members in SCHEMA.explanation_groups.items()}
    assert explained == {
        "age": ["age"],
        "sex": ["sex"],
        "view": ["view"],
        "habitus": ["bmi", "height_cm", "weight_kg"],
        "blood pressure": ["systolic_mmhg", "diastolic_mmhg"],
    }


def test_encoding_is_z_scores_and_one_hot():
    schema = SCHEMA.fitted([SCHEMA.parse({"age": a, "sex": "F", "view": "PA"}) for a in (40, 60)])
    vector = schema.encode(schema.parse({"age": 60, "sex": "Male", "view": "ap"}))
    assert vector[:5].tolist() == [1.0, 0.0, 1.0, 0.0, 1.0]  # age, F, M, PA, AP
    assert np.isnan(vector[5:]).all()


@pytest.mark.parametrize("value", [None, "", "unknown", "  ", float("nan"), "NaN", "n/a"])
def test_every_feature_may_be_unknown(value):
    record = SCHEMA.parse({name: value for name in SCHEMA.names})
    assert set(record.values()) == {None}
    assert np.isnan(SCHEMA.encode(record)).all()


@pytest.mark.parametrize(
    ("values", "word"),
    [
        ({"age": 140}, "Age"),
        ({"age": "old"}, "Age"),
        ({"age": "inf"}, "Age"),
        ({"sex": "X"}, "Sex"),
        ({"view": "lateral"}, "View"),
        ({"height_cm": 1.75}, "Height"),
        ({"weight_kg": 700}, "Weight"),
        ({"systolic_mmhg": 12}, "Systolic"),
        ({"systolic_mmhg": 80, "diastolic_mmhg": 120}, "Blood pressure"),
        ({"bmi": 40, "height_cm": 180, "weight_kg": 75}, "BMI"),
    ],
)
def test_what_is_wrong_is_named(values, word):
    with pytest.raises(EHRError, match=word):
        SCHEMA.parse(values)


def test_bmi_follows_height_and_weight_and_tolerates_rounding():
    assert SCHEMA.parse({"height_cm": 180, "weight_kg": 81})["bmi"] == 25.0
    # 5 ft 10 in and 180 lb, each rounded to whole cm and kg, against a BMI that was computed from inches and pounds
    assert SCHEMA.parse({"height_cm": 178, "weight_kg": 82, "bmi": 25.8})["bmi"] == 25.8


def test_a_feature_never_seen_in_training_is_always_unknown():
    schema = SCHEMA.fitted([SCHEMA.parse({"age": 50, "sex": "F", "view": "PA"})])
    record = schema.parse({"bmi": 31, "age": 50})
    assert [f.name for f in schema.ignored(record)] == ["bmi"]
    assert math.isnan(schema.encode(record)[5])


def test_another_schema_needs_no_other_code():
    vitals = EHRSchema(
        (
            Feature("age", "Age", "number", "demographics", "age", "years", (0, 120), 60, 15),
            Feature("heart_rate", "Heart rate", "number", "vitals", "heart", "/min", (20, 250), 80, 15),
            Feature("spo2", "SpO2", "number", "vitals", "oxygen", "%", (40, 100), 96, 3),
            Feature("oxygen", "Oxygen given", "category", "vitals", "oxygen", categories=("no", "mask", "tube")),
        )
    )
    assert vitals.slots == (("demographics", 1), ("vitals", 5))
    vector = vitals.encode(vitals.parse({"heart_rate": 95, "oxygen": "mask"}))
    assert np.isnan(vector[[0, 2]]).all() and vector[1] == 1.0 and vector[3:].tolist() == [0, 1, 0]
    assert EHRSchema.from_list(vitals.to_list()) == vitals
    assert vitals.by_feature("vitals", np.array([0.1, 0.2, 0.3, 0.3, 0.1])) == pytest.approx(
        {"heart_rate": 0.1, "spo2": 0.2, "oxygen": 0.7}
    )


def test_schema_survives_json():
    import json

    assert EHRSchema.from_list(json.loads(json.dumps(SCHEMA.to_list()))) == SCHEMA


def test_raising_a_number_keeps_the_body_consistent():
    schema = paper_schema()
    record = schema.parse({"height_cm": 170, "weight_kg": 70, "systolic_mmhg": 120})
    higher = schema.raised(record, "bmi")
    assert higher["bmi"] == pytest.approx(record["bmi"] + schema["bmi"].std)
    assert higher["weight_kg"] == pytest.approx(higher["bmi"] * 1.7**2, rel=0.01) and higher["height_cm"] == 170
    assert schema.raised(record, "systolic_mmhg")["systolic_mmhg"] == 120 + schema["systolic_mmhg"].std
    assert schema.raised(record, "age") == record  # unknown
    for name in ("sex", "mood"):
        with pytest.raises(ValueError, match="no number"):
            schema.raised(record, name)


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("height_cm", "5'10\"", 177.8), ("height_cm", "5 ft 10 in", 177.8), ("height_cm", "6'", 182.88), ("height_cm", "70 in", 177.8),
        ("height_cm", "1.78 m", 178), ("height_cm", "1,78 m", 178), ("height_cm", "178cm", 178), ("height_cm", "178", 178),
        ("weight_kg", "154 lb", 69.853), ("weight_kg", "154lbs", 69.853), ("weight_kg", "70 kg", 70),
    ],
)  # fmt: skip
def test_heights_and_weights_may_name_their_unit(name, text, value):
    assert paper_schema().parse({name: text})[name] == pytest.approx(value, abs=0.01)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("height_cm", "70 lb"),
        ("weight_kg", "5'10\""),
        ("age", "5'10\""),
        ("height_cm", "5'10\" tall"),
        ("weight_kg", "2 lb"),
    ],
)
def test_a_unit_of_something_else_is_named(name, text):
    with pytest.raises(EHRError, match=paper_schema()[name].label):
        paper_schema().parse({name: text})


def test_bmi_follows_from_imperial_values():
    assert paper_schema().parse({"height_cm": "5'10\"", "weight_kg": "154 lb"})["bmi"] == pytest.approx(22.1)


def test_two_features_that_differ_only_in_case_are_refused():
    with pytest.raises(ValueError, match=r"share a name: SpO2 and spo2\. Rename one"):
        EHRSchema(tuple(Feature(name, name, "number", "vitals", "oxygen") for name in ("SpO2", "spo2")))


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"categories": [0, 1]}, r"mask: categories must be a list of texts, got \[0, 1\]\. Give text, in quotes"),
        ({"categories": [False, True]}, r"categories must be a list of texts, got \[False, True\]"),
        ({"categories": "no"}, "categories must be a list of texts, got 'no'"),
        ({"categories": None}, "categories must be a list"),
        ({"labels": ["None"]}, "labels must be as many as categories"),
        ({"labels": [1, 2]}, "labels must be a list of texts"),
        ({"plausible": 120}, r"plausible must be the lowest and the highest number, such as \[0, 120\], got 120"),
        ({"plausible": ["low", "high"]}, "plausible must be"),
        ({"plausible": [0]}, "plausible must be"),
        ({"plausible": [5, 1]}, "plausible must be"),
        ({"plausible": [False, True]}, "plausible must be"),
        ({"group": None}, "group must be text, got None"),
        ({"explanation_group": 3}, "explanation_group must be text, got 3"),
        ({"label": ""}, "label must be text"),
        ({"name": True}, "name must be text, got True"),
        ({"unit": None}, "unit must be text"),
        ({"mean": "50"}, "mean and std must be numbers"),
        ({"std": None}, "mean and std must be numbers"),
        ({"trained": "maybe"}, "trained must be true or false"),
    ],
)
def test_a_malformed_feature_gets_a_sentence(changes, sentence):
    entry = {
        "name": "mask",
        "label": "Mask",
        "kind": "category",
        "group": "vitals",
        "explanation_group": "mask",
        "categories": ["no", "yes"],
    }
    EHRSchema.from_list([entry])
    with pytest.raises(ValueError, match=sentence):
        EHRSchema.from_list([{**entry, **changes}])
