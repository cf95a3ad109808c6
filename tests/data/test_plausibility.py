"""Heights, weights and BMIs that cannot be true, or are in another unit."""

import json
import shutil

import numpy as np
import pandas as pd
from helpers import write_film

from diff3m.cli.main import main
from diff3m.data.manifest import read_manifest
from diff3m.data.prepare.plausibility import mask_implausible
from diff3m.data.prepare.report import Report
from diff3m.ehr import paper_schema

SCHEMA = paper_schema()


def test_weights_in_pounds_are_noticed_as_a_column(tmp_path, capsys):
    write_film(tmp_path / "a.png")
    for number in range(24):
        shutil.copy(tmp_path / "a.png", tmp_path / f"{number}.png")
    for unit, sentence in ((1.0, ""), (1 / 0.45359237, "seem to be in lb")):
        rows = "".join(f"{number}.png,{(55 + 2 * number) * unit:.1f},normal\n" for number in range(24))
        (tmp_path / "t.csv").write_text("path,weight_kg,label\n" + rows)
        assert main(["prepare", "folder", "--table", str(tmp_path / "t.csv"), "--out", str(tmp_path / "m.csv")]) == 0
        assert sentence in capsys.readouterr().out
        known = [case.record["weight_kg"] for case in read_manifest(tmp_path / "m.csv", SCHEMA)]
        assert all(value is None for value in known) if sentence else all(value is not None for value in known)


def test_single_weights_in_pounds_are_noticed_by_their_height(tmp_path, capsys):
    write_film(tmp_path / "a.png")
    for number in range(24):
        shutil.copy(tmp_path / "a.png", tmp_path / f"{number}.png")
    command = ["prepare", "folder", "--table", str(tmp_path / "t.csv"), "--out", str(tmp_path / "m.csv")]
    for wrong, sentence in ((3, "a usual one as lb (wrong unit?): 3"), (24, "seem to be in lb, not kg: 24")):
        weights = [(65 + number) * (1 / 0.45359237 if number < wrong else 1) for number in range(24)]
        rows = "".join(f"{number}.png,165,{weight:.1f},normal\n" for number, weight in enumerate(weights))
        (tmp_path / "t.csv").write_text("path,height_cm,weight_kg,label\n" + rows)
        assert main(command) == 0 and sentence in (text := capsys.readouterr().out), text
        assert text.count("in lb") + text.count("as lb") == 1, "a weight is counted once"
        cases = read_manifest(tmp_path / "m.csv", SCHEMA)
        assert [case.record["weight_kg"] is None for case in cases] == [number < wrong for number in range(24)]
        assert all(case.record["height_cm"] == 165 for case in cases)
        row_names = json.loads((tmp_path / "m-report.json").read_text())["names"]
        assert next(names for reason, names in row_names.items() if "lb" in reason)[:3] == ["0.png", "1.png", "2.png"]


def test_a_light_populations_weights_in_pounds_are_noticed_by_their_heights():
    """Median 122: no weight is suspect by itself, but the heights make a median BMI of 45."""
    rows = pd.DataFrame(
        {
            "path": [str(number) for number in range(24)],
            "height_cm": 165.0,
            "weight_kg": [round(2.2046 * (50 + n / 2)) for n in range(24)],
        }
    )
    report = Report()
    result = mask_implausible(rows, SCHEMA, report)
    assert result["weight_kg"].isna().all() and (result["height_cm"] == 165).all()
    assert report.refusals == {"the weights as a whole (median 122) seem to be in lb, not kg": 24}
    assert mask_implausible(rows.iloc[:19], SCHEMA, Report())["weight_kg"].notna().all(), "too few to judge a column by"
    stout = rows.assign(bmi=(rows["weight_kg"] / 1.65**2).round(1))
    assert mask_implausible(stout, SCHEMA, Report())["weight_kg"].notna().all(), "their own BMIs say that they are kg"
    assert mask_implausible(rows, SCHEMA, Report(), doubt_units=False)["weight_kg"].notna().all()


def test_a_bmi_of_the_rows_own_decides_on_its_weight():
    rows = pd.DataFrame(
        {"path": list("abcdef"), "height_cm": [165.0] * 6, "weight_kg": [150.0, 150.0, 150.0, 150.0, 290.0, 135.0]}
    )
    bmi_of_body = 150 / 1.65**2  # 55; 25 if the weight is lb
    rows["bmi"] = [np.nan, round(bmi_of_body, 1), 0.91 * bmi_of_body, 25.0, np.nan, np.nan]
    report = Report()
    result = mask_implausible(rows, SCHEMA, report)
    assert result["weight_kg"].isna().tolist() == [
        True,
        False,
        False,
        True,
        True,
        False,
    ]  # as now where BMI contradicts; 135 kg make 49.6
    assert result["height_cm"].isna().tolist() == [
        False,
        False,
        False,
        True,
        True,
        False,
    ]  # 290 make 107, no usual BMI as lb either
    assert result["bmi"].isna().tolist() == [True, False, True, True, True, True]
    assert report.names["weight_kg that makes a BMI above 50 as kg, a usual one as lb (wrong unit?)"] == ["a"]
    apart = mask_implausible(rows.assign(bmi=0.7 * bmi_of_body), SCHEMA, Report(), max_difference=0.5)
    assert apart["weight_kg"].isna().tolist()[:4] == [True] * 4 and apart["bmi"].notna().tolist()[:4] == [True] * 4, (
        "no contradiction, no proof"
    )
    assert mask_implausible(rows, SCHEMA, Report(), doubt_units=False)["weight_kg"].tolist()[0] == 150, (
        "a source that says each unit is believed"
    )


def test_a_slim_persons_weight_in_pounds_is_kept_and_counted():
    rows = pd.DataFrame(
        {
            "path": list("abcd"),
            "height_cm": 170.0,
            "weight_kg": [132.0, 132.0, 109.0, 150.0],
            "bmi": [np.nan, 45.7, np.nan, np.nan],
        }
    )
    report = Report()
    result = mask_implausible(rows, SCHEMA, report)
    assert result["weight_kg"].isna().tolist() == [False, False, False, True], "45.7 is a BMI that people have"
    assert report.names["weight_kg that may be in lb: it makes a BMI above 38 as kg, a usual one as lb"] == ["a"], (
        "b is borne out, c makes 37.7"
    )
    mask_implausible(rows, SCHEMA, report := Report(), doubt_units=False)
    assert not report.notes, "a source that says each unit is believed"


def test_measurements_of_other_days_may_differ_by_more():
    rows = pd.DataFrame(
        {"path": ["a", "b"], "height_cm": [170.0, 170.0], "weight_kg": [80.0, 80.0], "bmi": [33.0, 61.0]}
    )
    result = mask_implausible(rows, SCHEMA, Report(), max_difference=0.5)
    assert (
        result["weight_kg"].tolist()[0] == 80
        and result["weight_kg"].isna().tolist() == [False, True]
        and result["bmi"].isna().all()
    )
    assert mask_implausible(rows, SCHEMA, Report())["weight_kg"].isna().all()
