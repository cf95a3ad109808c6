"""Groups of patients: who belongs where, the numbers by hand, no interval for few films, and the model card."""

import json

import numpy as np
import pytest
from helpers import run_command
from sklearn.metrics import roc_auc_score

from diff3m.evaluation.subgroups import (
    END,
    START,
    assign_groups,
    compute_subgroup_metrics,
    format_subgroup_table,
    measure_share,
    write_card_section,
)


@pytest.mark.parametrize(
    ("record", "age", "bmi"),
    [
        ({"age": 17, "bmi": 18.4}, "under 18", "under 18.5"),
        ({"age": 18, "bmi": 18.5}, "18 to 40", "18.5 to 25"),
        ({"age": 40, "bmi": 24.99}, "40 to 60", "18.5 to 25"),
        ({"age": 79.5, "bmi": 25.0}, "60 to 80", "25 to 30"),
        ({"age": 80, "bmi": 30}, "80 and over", "30 and over"),
        ({"age": None}, "", ""),
    ],
)
def test_ages_and_bmi_fall_into_their_bands(record, age, bmi):
    groups = assign_groups({**record, "sex": "F", "view": None}, {"race": "Asian"})
    assert (groups["age"], groups["bmi"], groups["sex"], groups["view"]) == (age, bmi, "F", "")
    assert groups["race"] == "Asian" and groups["insurance"] == ""


def cohort(films: int = 200):
    rng = np.random.default_rng(0)
    sex = np.where(np.arange(films) % 4 == 0, "M", "F")
    abnormal = rng.random(films) < 0.5
    scores = rng.normal(size=films) + abnormal * np.where(sex == "F", 2.0, 0.0)
    percentiles = np.where(scores > 1.0, 96.0, 50.0)
    views = np.where(rng.random(films) < 0.5, "AP", "PA")
    return scores, percentiles, abnormal, views, sex


def test_a_score_that_works_in_one_group_alone_is_seen():
    scores, percentiles, abnormal, views, sex = cohort()
    bmi = np.array([""] * 200)
    race = np.where(np.arange(200) < 100, "Asian", "")
    kinds = {"sex": sex, "bmi": bmi, "race": race, "insurance": bmi}
    result = compute_subgroup_metrics(scores, percentiles, abnormal, views, kinds, repeats=200)
    assert set(result) == {"sex", "bmi", "race"} and set(result["bmi"]) == {"unknown"}, "no film names an insurance"
    for name, entry in result["sex"].items():
        rows = sex == name
        assert entry["films"] == rows.sum() == entry["normal"] + entry["abnormal"]
        assert entry["auroc"] == pytest.approx(roc_auc_score(abnormal[rows], scores[rows]))
        assert entry["normal_score"]["value"] == pytest.approx(scores[rows & ~abnormal].mean())
        assert entry["false_alarms"]["value"] == pytest.approx((percentiles[rows & ~abnormal] >= 95).mean())
        low, high = entry["auroc_interval"]
        assert low < entry["auroc"] < high
        low, high = entry["false_alarms"]["interval"]
        assert low < entry["false_alarms"]["value"] < high
    assert result["sex"]["F"]["auroc"] > 0.85 > 0.65 > result["sex"]["M"]["auroc"]
    assert list(result["race"]) == ["Asian", "unknown"]
    table = format_subgroup_table(result)
    assert "| sex: F |" in table and "| BMI: unknown |" in table and "fewer than 10 films there is none" in table


def test_a_group_with_fewer_than_ten_films_of_a_class_has_no_interval():
    scores, percentiles, abnormal = np.arange(29.0), np.full(29, 50.0), np.arange(29) >= 20
    views, sex = np.array(["PA"] * 29), np.array(["F"] * 29)
    entry = compute_subgroup_metrics(scores, percentiles, abnormal, views, {"sex": sex}, 50)["sex"]["F"]
    assert entry["abnormal"] == 9 and entry["auroc"] == 1 and entry["auroc_interval"] is None
    assert entry["abnormal_score"] == {"value": 24.0, "interval": None}
    assert entry["normal_score"]["interval"] and entry["false_alarms"]["interval"][1] > 0.1, "0 of 20 is no certainty"
    assert measure_share(np.zeros(9, bool)) == {"value": 0.0, "interval": None}
    assert measure_share(np.zeros(0, bool)) == {"value": None, "interval": None}


def test_the_card_holds_the_newest_table_alone(tmp_path):
    (tmp_path / "README.md").write_text("---\nlicense: x\n---\n# card\n\ntext\n")
    write_card_section(tmp_path, "| old |\n", "1 film.")
    path = write_card_section(tmp_path, "| new |\n", "2 films.")
    text = path.read_text()
    assert text.startswith("---\nlicense: x\n---\n# card\n\ntext\n") and "old" not in text and "2 films." in text
    assert text.count(START) == text.count(END) == 1 and text.index("| new |") < text.index(END)
    (tmp_path / "new").mkdir()
    assert write_card_section(tmp_path / "new", "| new |\n", "1 film.").read_text().startswith("# new\n")


def test_evaluate_reports_subgroups_and_writes_the_card(calibrated_checkpoint, film_folder, tmp_path, capsys):
    command = ["evaluate", "--manifest", film_folder / "manifest.csv", "--checkpoint", calibrated_checkpoint]
    status, out, error = run_command(capsys, *command, "--out", tmp_path / "e", "--card")
    assert status == 0, error
    subgroups = json.loads((tmp_path / "e" / "metrics.json").read_text())["subgroups"]
    assert subgroups == json.loads((tmp_path / "e" / "subgroups.json").read_text())
    assert set(subgroups) == {"sex", "age", "view", "bmi"} and subgroups["sex"]["F"]["films"] == 6
    assert set(subgroups["bmi"]) == {"18.5 to 25", "unknown"} and subgroups["view"]["PA"]["auroc"] is not None
    assert all(group["auroc_interval"] is None for kind in subgroups.values() for group in kind.values())
    table = (tmp_path / "e" / "subgroups.md").read_text()
    assert table in out and table in (calibrated_checkpoint / "README.md").read_text()
