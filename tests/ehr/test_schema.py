import math

import numpy as np
import pytest

from diff3m.ehr import PLAUSIBLE, VITALS, EHRError, EHRSchema, Feature, paper_schema
from diff3m.ehr.facts import age_from_dates, read_age, read_sex, read_view
from diff3m.ehr.header import (
    read_any_view,
    read_header_age,
    read_header_height,
    read_header_sex,
    read_header_view,
    read_header_weight,
)

SCHEMA = paper_schema()


def test_paper_schema_has_the_eight_features_in_token_order():
    assert SCHEMA.names == ("age", "sex", "view", "bmi", "systolic_mmhg", "diastolic_mmhg", "height_cm", "weight_kg")
    assert SCHEMA.slots == (("demographics", 5), ("ehr", 5))
    groups = {name: [f.name for f in members] for name, members in SCHEMA.explanation_groups.items()}
    assert groups == {
        "age": ["age"],
        "sex": ["sex"],
        "view": ["view"],
        "habitus": ["bmi", "height_cm", "weight_kg"],
        "blood pressure": ["systolic_mmhg", "diastolic_mmhg"],
    }


def test_encoding_is_z_scores_and_one_hot():
    schema = SCHEMA.fit([SCHEMA.parse({"age": a, "sex": "F", "view": "PA"}) for a in (40, 60)])
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
    schema = SCHEMA.fit([SCHEMA.parse({"age": 50, "sex": "F", "view": "PA"})])
    record = schema.parse({"bmi": 31, "age": 50})
    assert [f.name for f in schema.ignored_features(record)] == ["bmi"]
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
    assert vitals.sum_by_feature("vitals", np.array([0.1, 0.2, 0.3, 0.3, 0.1])) == pytest.approx(
        {"heart_rate": 0.1, "spo2": 0.2, "oxygen": 0.7}
    )


def test_schema_survives_json():
    import json

    assert EHRSchema.from_list(json.loads(json.dumps(SCHEMA.to_list()))) == SCHEMA


def test_raising_a_number_keeps_the_body_consistent():
    schema = paper_schema()
    record = schema.parse({"height_cm": 170, "weight_kg": 70, "systolic_mmhg": 120})
    higher = schema.with_higher(record, "bmi")
    assert higher["bmi"] == pytest.approx(record["bmi"] + schema["bmi"].std)
    assert higher["weight_kg"] == pytest.approx(higher["bmi"] * 1.7**2, rel=0.01) and higher["height_cm"] == 170
    assert schema.with_higher(record, "systolic_mmhg")["systolic_mmhg"] == 120 + schema["systolic_mmhg"].std
    assert schema.with_higher(record, "age") == record  # unknown
    for name in ("sex", "mood"):
        with pytest.raises(ValueError, match="no number"):
            schema.with_higher(record, name)


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("height_cm", "5'10\"", 177.8), ("height_cm", "5 ft 10 in", 177.8), ("height_cm", "6'", 182.88),
        ("height_cm", "70 in", 177.8),
        ("height_cm", "1.78 m", 178), ("height_cm", "1,78 m", 178), ("height_cm", "178cm", 178),
        ("height_cm", "178", 178),
        ("height_cm", "5’10”", 177.8), ("height_cm", "5′10″", 177.8), ("height_cm", "5´ 10´´", 177.8),
        ("height_cm", "5'10''", 177.8),
        ("height_cm", "5 feet, 10 inches", 177.8), ("height_cm", "5'10.5\"", 179.07), ("height_cm", "70”", 177.8),
        ("height_cm", "1m78", 178), ("height_cm", "178 centimeters", 178), ("height_cm", "178,5", 178.5),
        ("weight_kg", "154 lb", 69.853), ("weight_kg", "154lbs", 69.853), ("weight_kg", "70 kg", 70),
        ("weight_kg", "11 st 4 lb", 71.668), ("weight_kg", "11st", 69.853), ("weight_kg", "11 stone 4", 71.668),
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


@pytest.mark.parametrize(
    ("text", "years"),
    [
        ("063Y", 63), ("63", 63), (63, 63), (63.0, 63), ("63.0", 63), (" 063y ", 63), ("63 years", 63),
        ("63 yrs.", 63), ("63 ans", 63), ("62,5", 62.5),
        ("018M", 1.5), ("013M", 1.08), ("010W", 0.19), ("120D", 0.33), ("90+", 90), (">89", 90), ("≥90", 90),
        ("119Y", 119),
        ("000Y", None), ("0", None), ("0.0", None), (" 0", None), (0, None), ("999Y", None), ("999", None),
        ("", None), ("#N/A", None),
        (float("nan"), None), ("NULL", None),
    ],
)  # fmt: skip
def test_an_age_is_read_alike_everywhere(text, years):
    assert read_age(text) == years == SCHEMA.parse({"age": text})["age"]


@pytest.mark.parametrize("text", ["old", "63 kg", "Y63", "-3", "140", "1e3", "1900"])
def test_what_is_no_age_gets_a_sentence(text):
    with pytest.raises(EHRError, match="Age: "):
        SCHEMA.parse({"age": text})


@pytest.mark.parametrize(
    ("birth", "study", "years"),
    [
        ("19600615", "20200614", 59), ("1960-06-15", "20200615", 60), ("1960.06.15", "2020/6/15", 60),
        ("19600615.0", "20200615.0", 60),
        ("19000101", "20190416", None), ("19000101", "19850416", None), ("20190416", "20190416", None),
        ("20300101", "20190416", None),
        ("18991230", "20000101", None), ("19011231", "20190416", None), ("19500230", "20190416", None),
        ("", "20190416", None),
    ],
)  # fmt: skip
def test_an_age_follows_from_dates_unless_they_are_placeholders(birth, study, years):
    assert age_from_dates(birth, study) == years


@pytest.mark.parametrize(
    ("age", "birth", "study", "years", "note"),
    [
        ("063Y", "19000101", "20190416", 63, ""),
        ("000Y", "19500101", "20150601", 65, ""),
        ("999Y", "19500101", "20150601", 65, ""),
        ("000Y", "19000101", "20150601", None, "placeholder"),
        ("", "19000101", "20190416", None, "placeholder"),
        ("abc", "", "", None, "placeholder"),
        ("", "", "", None, ""),
        ("", "", "20190416", None, ""),
        ("018M", "", "", 1.5, "under 18"),
    ],
)
def test_the_age_of_a_header(age, birth, study, years, note):
    fact = read_header_age(age, birth, study)
    assert fact.value == years and (note in fact.note if note else not fact.note)


@pytest.mark.parametrize(
    ("text", "sex"),
    [
        ("F", "F"), ("female", "F"), ("Woman", "F"), ("weiblich", "F"), ("M", "M"), ("MALE", "M"), ("männlich", "M"),
        ("varón", "M"),
        ("O", None), ("U", None), ("Other", None), ("Unknown", None), ("", None),
    ],
)  # fmt: skip
def test_a_sex_is_read_alike_everywhere(text, sex):
    assert SCHEMA.parse({"sex": text})["sex"] == sex == read_sex(text) == read_header_sex(text).value


def test_numbers_are_a_sex_only_where_a_schema_says_so():
    for text in ("1", "0", 1.0):
        with pytest.raises(EHRError, match="Sex: "):
            SCHEMA.parse({"sex": text})
    schema = EHRSchema(
        (Feature("sex", "Sex", "category", "demographics", "sex", categories=("0", "1"), labels=("Male", "Female")),)
    )
    assert [schema.parse({"sex": text})["sex"] for text in ("1", "F", "woman", "m", 0)] == ["1", "1", "1", "0", "0"]
    assert read_header_sex("1") == (None, "The header's sex is neither F nor M, and was not used.")


@pytest.mark.parametrize(
    ("text", "view"),
    [
        ("PA", "PA"), ("pa", "PA"), ("POSTERO_ANTERIOR", "PA"), ("Postero-anterior", "PA"), ("posteroanterior", "PA"),
        ("P.A.", "PA"),
        ("PA ERECT", "PA"), ("CHEST PA", "PA"), ("PA (standing)", "PA"), ("AP", "AP"), ("AP SUPINE", "AP"),
        ("AP_PORTABLE", "AP"),
        ("AP_horizontal", "AP"), ("Antero-Posterior", "AP"), ("ANTERO_POSTERIOR", "AP"), ("AP AXIAL", "AP"),
        ("", None), ("frontal", None), ("PORTABLE", None),
    ],
)  # fmt: skip
def test_a_frontal_view_is_read_alike_everywhere(text, view):
    assert SCHEMA.parse({"view": text})["view"] == view == read_view(text) == read_header_view(text).value
    assert bool(read_header_view(text).note) == (view is None and text != "")  # what says nothing of PA or AP is noted


@pytest.mark.parametrize(
    ("text", "view"),
    [
        ("LL", "LATERAL"), ("RL", "LATERAL"), ("LAT", "LATERAL"), ("LATERAL", "LATERAL"), ("Left lateral", "LATERAL"),
        ("L-LAT", "LATERAL"),
        ("XTABLE LATERAL", "LATERAL"), ("LLD", "DECUBITUS"), ("AP RLD", "DECUBITUS"),
        ("Lateral decubitus", "DECUBITUS"),
        ("RLO", "OBLIQUE"), ("LLO", "OBLIQUE"), ("LAO", "OBLIQUE"), ("AP OBLIQUE", "OBLIQUE"),
    ],
)  # fmt: skip
def test_another_view_is_noted_and_refused_by_name(text, view):
    assert read_view(text) == view
    assert read_header_view(text).value is None and "lateral" in read_header_view(text).note
    with pytest.raises(EHRError, match=r"View: .* view; the model knows frontal films only"):
        SCHEMA.parse({"view": text})


@pytest.mark.parametrize("text", ["PA AND LATERAL", "PA/AP", "upside down", "3"])
def test_a_view_that_cannot_be_told_gets_a_sentence(text):
    with pytest.raises(EHRError, match="View: "):
        SCHEMA.parse({"view": text})
    assert read_header_view(text) == (None, "The header's view is neither PA nor AP, and was not used.")


@pytest.mark.parametrize(
    ("position", "codes", "view"),
    [
        ("", [("R-10236", "left lateral")], "LATERAL"),
        ("", [("R-10214", "")], "PA"),
        ("", [("399348003", "")], "AP"),
        ("", [("X-1", "postero-anterior")], "PA"),
        ("", [("X-1", "projection"), ("272479007", "")], "PA"),
        ("AP", [("R-10214", "postero-anterior")], "AP"),
        ("CHEST", [("R-10206", "")], "AP"),
        ("", [], None),
    ],
)
def test_a_view_may_be_a_code(position, codes, view):
    assert read_any_view(position, codes) == view
    assert read_header_view(position, codes).value == (view if view in ("PA", "AP") else None)


@pytest.mark.parametrize(
    ("fact", "value", "note"),
    [
        (read_header_height("1.70"), 170, ""),
        (read_header_height("170"), 170, ""),
        (read_header_height("170.18"), 170.2, ""),
        (read_header_height("5’10”"), 177.8, ""),
        (read_header_height("0"), None, ""),
        (read_header_height(""), None, ""),
        (read_header_height("17"), None, "height is not plausible"),
        (read_header_height("tall"), None, "height is no number"),
        (read_header_weight("81"), 81, ""),
        (read_header_weight("154 lb"), 69.9, ""),
        (read_header_weight("0.0"), None, ""),
        (read_header_weight("8100"), None, "weight is not plausible"),
    ],
)
def test_height_and_weight_of_a_header(fact, value, note):
    assert fact.value == value and (note in fact.note if note else not fact.note)


def test_the_plausible_ranges_are_told_once():
    assert {
        feature.name: feature.plausible for feature in (*SCHEMA.features, *VITALS) if feature.plausible
    } == PLAUSIBLE
