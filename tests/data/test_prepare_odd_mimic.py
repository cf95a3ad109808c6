"""MIMIC's tables after mishaps: odd cells, ids as floats, rows twice, dates that are none, damaged files."""

import gzip
import json
from pathlib import Path

import pandas as pd
import pytest
from helpers import with_commas, write_gzip

from diff3m.cli.main import main
from diff3m.data.manifest import ManifestError
from diff3m.data.prepare.chexpert import prepare_chexpert
from diff3m.data.prepare.linkage import link_nearest, parse_days, parse_seconds
from diff3m.data.prepare.mimic import _reconcile_bmi, prepare_mimic
from diff3m.data.prepare.nih import prepare_nih
from diff3m.data.prepare.report import Report
from diff3m.data.prepare.tables import CONTRADICTORY


def changed(path: Path, change) -> None:
    """Rewrite a gzipped table's text."""
    path.write_bytes(gzip.compress(change(gzip.decompress(path.read_bytes()).decode()).encode()))


def linked(folders: tuple[Path, Path], tmp_path: Path, ed: Path | None = None) -> tuple[pd.DataFrame, dict]:
    """The manifest by patient, and the report."""
    prepare_mimic(*folders, tmp_path / "m.csv", ed)
    return pd.read_csv(tmp_path / "m.csv").set_index("patient"), json.loads((tmp_path / "m-report.json").read_text())


def test_one_odd_cell_does_not_make_every_film_of_mimic_abnormal(mimic, tmp_path):
    changed(
        mimic[0] / "mimic-cxr-2.0.0-chexpert.csv.gz",
        lambda text: text.replace("10000003,50000003,,1.0", "10000003,50000003,,x"),
    )
    table, report = linked(mimic, tmp_path)
    assert table.loc[10000001, "label"] == "normal" and pd.isna(table.loc[10000003, "label"]), (
        "nobody knows what x says"
    )
    assert report["refusals"]["No Finding is no number"] == 1 and report["names"]["No Finding is no number"] == [
        "50000003"
    ]


def test_commas_at_the_ends_of_the_rows_of_mimic_shift_nothing(mimic, tmp_path):
    expected, _ = linked(mimic, tmp_path)
    for path in [*mimic[0].glob("*.csv.gz"), *mimic[1].glob("hosp/*.csv.gz")]:
        changed(path, with_commas)
    table, _ = linked(mimic, tmp_path)
    assert table.loc[10000001, "age"] == 54 and table.equals(expected)


def test_a_film_of_mimic_with_two_rows_of_metadata_that_differ_is_dropped(mimic, tmp_path):
    changed(
        mimic[0] / "mimic-cxr-2.0.0-metadata.csv.gz",
        lambda text: text + "c1,10000003,50000003,CHEST,AP,3056,2544,21500101,142030.5\n",
    )
    table, report = linked(mimic, tmp_path)
    assert 10000003 not in table.index and 10000001 in table.index and report["drops"][CONTRADICTORY] == 2


def test_damaged_and_empty_files_get_a_sentence(mimic, tmp_path, capsys):
    command = ["prepare", "mimic", "--cxr", str(mimic[0]), "--iv", str(mimic[1]), "--out", str(tmp_path / "m.csv")]
    path = mimic[0] / "mimic-cxr-2.0.0-metadata.csv.gz"
    whole = path.read_bytes()
    path.write_bytes(whole[:12] + b"\xff" * 40 + whole[52:])
    assert main(command) == 1 and "metadata.csv.gz cannot be read" in capsys.readouterr().err
    path.write_bytes(gzip.compress(gzip.decompress(whole).partition(b"\n")[0] + b"\n"))
    assert main(command) == 1 and "metadata.csv.gz has no rows. Load it again" in capsys.readouterr().err


def test_ids_that_became_floats_are_read_and_rows_without_one_counted(mimic, tmp_path):
    expected, _ = linked(mimic, tmp_path)
    changed(
        mimic[0] / "mimic-cxr-2.0.0-metadata.csv.gz",
        lambda text: text.replace("10000001,50000001", "10000001.0,50000001.0").replace("f1,10000006,", "f1,,"),
    )
    table, report = linked(mimic, tmp_path)
    assert table.loc[10000001, "path"] == expected.loc[10000001, "path"] and 10000006 not in table.index
    assert report["drops"]["no patient or study number"] == 1 and report["names"]["no patient or study number"] == [
        "f1"
    ]


def test_text_in_an_age_is_counted_and_left_unknown(mimic, tmp_path):
    changed(mimic[1] / "hosp/patients.csv.gz", lambda text: text.replace("F,52,2178", "F,old,2178"))
    table, report = linked(mimic, tmp_path)
    assert (
        pd.isna(table.loc[10000001, "age"]) and table.loc[10000001, "sex"] == "F" and table.loc[10000002, "age"] == 61
    )
    assert report["names"]["anchor_age is no number"] == ["10000001"]


def test_only_whole_dates_are_dates():
    dates = pd.Series(["2180-01-15", "21800115", "2180-01-15 12:30:00", 21800115, 21800115.0, " 2180-01-15 "])
    assert parse_days(dates).nunique() == 1 and parse_days(dates).notna().all()
    assert (
        parse_days(pd.Series(["2180-1-15", "2180-13-01", "218001", "15.01.2180", "2180-0115", "2180-01-155", None]))
        .isna()
        .all()
    )
    assert parse_seconds(pd.Series(["2180-01-15 12:30:00", "2180-01-15T12:30:00"])).nunique() == 1
    assert parse_seconds(pd.Series(["2180-1-15 12:30:00", "soon", None])).isna().all()


def test_records_whose_date_is_none_or_that_are_there_twice_are_counted(mimic, tmp_path):
    more = "10000001,2180-5-11,1,Blood Pressure,200/100\n10000001,later,1,BMI (kg/m2),40\n"
    more += "10000001,2180-05-08,1,Blood Pressure,120/80\n"  # a row that is there
    changed(mimic[1] / "hosp/omr.csv.gz", lambda text: text + more)
    table, report = linked(mimic, tmp_path)
    assert table.loc[10000001, "systolic_mmhg"] == 133.3, "120, 130 and 150, each once"
    assert report["names"]["record whose date is not like 2180-12-31"] == [
        "patient 10000001, 2180-5-11, Blood Pressure",
        "patient 10000001, later, BMI (kg/m2)",
    ]
    assert report["names"]["row of omr that is there twice"] == ["patient 10000001, 2180-05-08, Blood Pressure"]


def test_rows_that_contradict_each_other_are_not_resolved_silently(mimic, tmp_path):
    cxr, iv = mimic
    changed(
        cxr / "mimic-cxr-2.0.0-split.csv.gz",
        lambda text: text + "a1,50000001,10000001,train\nf1,50000007,10000006,train\n",
    )
    changed(
        cxr / "mimic-cxr-2.0.0-chexpert.csv.gz",
        lambda text: text + "10000001,50000001,,1.0\n10000003,50000003,1.0,0.0\n",
    )
    changed(iv / "hosp/patients.csv.gz", lambda text: text + "10000001,F,52,2178,2011 - 2013,\n10000002,F,60,2180,,\n")
    table, report = linked(mimic, tmp_path)
    assert table.loc[10000001, ["split", "label", "sex"]].tolist() == ["train", "normal", "F"], (
        "the same row twice says the same"
    )
    assert 10000006 not in table.index and report["drops"]["film in two splits of the split table"] == 1
    assert (
        pd.isna(table.loc[10000003, "label"])
        and report["omissions"]["study with two labels in the chexpert table"] == 1
    )
    assert (
        pd.isna(table.loc[10000002, "sex"])
        and report["omissions"]["patient with two rows in the patients table that differ"] == 1
    )
    assert "patient is in no patients table" not in report["refusals"]


def test_emergency_stays_that_cannot_be_used_are_counted(mimic, tmp_path):
    ed = tmp_path / "ed"
    rows = ("10000001,1,2180-05-10 12:00:00,2180-05-10 18:00:00", "10000001,3,2180-5-10 13:00:00,2180-05-10 18:00:00")
    rows += ("10000002,4,2181-12-31 12:00:00,2181-12-31 18:00:00",)
    write_gzip(ed / "ed/edstays.csv.gz", "subject_id,stay_id,intime,outtime\n" + "\n".join(rows) + "\n")
    triage = (
        "stay_id,temperature,heartrate,resprate,o2sat\n1,warm,88,18,97\n3,98,99,18,97\n4,98,60,18,97\n4,98,90,18,97\n"
    )
    write_gzip(ed / "ed/triage.csv.gz", triage)
    table, report = linked(mimic, tmp_path, ed)
    assert table.loc[10000001, "heart_rate_bpm"] == 88 and pd.isna(table.loc[10000001, "temperature_c"])
    assert report["names"]["temperature is no number"] == ["1"] and pd.isna(table.loc[10000002, "heart_rate_bpm"])
    assert report["names"]["emergency stay whose times are not like 2180-12-31 14:30:00"] == ["stay_id 3"]
    assert report["names"]["emergency stay with two rows in the triage table that differ"] == ["stay_id 4"]


def test_of_a_bmi_and_height_and_weight_what_was_measured_nearer_counts():
    films = pd.DataFrame({"path": list("abcd"), "bmi": [33.0, 33.0, 33.0, 61.0], "height_cm": 170.0, "weight_kg": 80.0})
    days = {"bmi": pd.Series([0, 5, 9, 0]), "height_cm": pd.Series([0, 5, 0, 9]), "weight_kg": pd.Series([9, 0, 0, 9])}
    report = Report()
    result = _reconcile_bmi(films, days, report)
    assert result["bmi"].isna().tolist() == [False, True, True, False]
    assert result["height_cm"].isna().tolist() == result["weight_kg"].isna().tolist() == [True, False, False, False], (
        "61 is left to `plausible`"
    )
    assert report.names["height and weight that contradict a bmi measured nearer to the film"] == ["a"]
    assert report.names["bmi replaced by that of height and weight, measured as near to the film or nearer"] == [
        "b",
        "c",
    ]


def test_mimic_keeps_the_bmi_of_the_day_against_a_weight_of_last_month(mimic, tmp_path):
    changed(mimic[1] / "hosp/omr.csv.gz", lambda text: text.replace("BMI (kg/m2),28.3", "BMI (kg/m2),33"))
    table, report = linked(mimic, tmp_path)
    first = table.loc[10000001]
    assert first["bmi"] == 33 and pd.isna(first["height_cm"]) and pd.isna(first["weight_kg"])
    assert report["refusals"]["height and weight that contradict a bmi measured nearer to the film"] == 1


def test_the_days_to_a_linked_value():
    films = pd.DataFrame({"patient": [1, 2], "day": [100, 100]}, index=[5, 3])
    records = pd.DataFrame({"patient": [1, 1, 1], "day": [97, 103, 60], "value": [20.0, 22.0, 30.0]})
    result = link_nearest(films, records)
    assert result.loc[5].tolist() == [21, 3] and result.loc[3].isna().all()


def test_tables_of_data_sets_are_not_overwritten(mimic, tmp_path):
    (tmp_path / "set").mkdir()
    for name in (
        "train.csv",
        "valid.csv.gz",
        "Data_Entry_2017.csv",
        "BBox_List_2017.csv",
        "test_list.txt",
        "ed/triage.csv.gz",
    ):
        (tmp_path / "set" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "set" / name).touch()
    for out in ("train.csv", "valid.csv.gz"):
        with pytest.raises(ManifestError, match=f"{out} is a table to be read"):
            prepare_chexpert(tmp_path / "set", tmp_path / "set" / out)
    for out in ("Data_Entry_2017.csv", "BBox_List_2017.csv", "test_list.txt"):
        with pytest.raises(ManifestError, match=f"{out} is a table to be read"):
            prepare_nih(tmp_path / "set", tmp_path / "set" / out)
    tables = [*mimic[0].glob("*.csv.gz"), *mimic[1].glob("hosp/*.csv.gz"), tmp_path / "set/ed/triage.csv.gz"]
    for out in tables:
        with pytest.raises(ManifestError, match=f"{out.name} is a table to be read"):
            prepare_mimic(*mimic, out, tmp_path / "set")
    assert len(tables) == 6


def test_measurements_of_mimic_without_a_unit_are_used_or_counted(mimic, tmp_path):
    more = "10000003,2150-01-02,1,BMI,24.5\n10000003,2150-01-02,1,Height,70\n10000003,2150-01-02,1,Weight,154\n"
    changed(mimic[1] / "hosp/omr.csv.gz", lambda text: text + more)
    table, report = linked(mimic, tmp_path)
    assert table.loc[10000003, "bmi"] == 24.5 and pd.isna(table.loc[10000003, ["height_cm", "weight_kg"]]).all()
    for name in ("Height", "Weight"):
        assert report["names"][f"{name} of omr, a name without a known unit"] == ["patient 10000003, 2150-01-02"]
    assert report["omissions"]["Blood Pressure Lying of omr, another posture than the usual"] == 1
