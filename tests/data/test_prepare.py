"""Data sets in their original formats → one manifest, with awkward rows.

The MIMIC linkage is compared with an independent brute force.
"""

import gzip
import json
from collections import Counter
from datetime import date, timedelta

import cv2
import numpy as np
import pandas as pd
import pytest
import yaml
from helpers import dicom_film, phantom_png, write_film, write_gzip

from diff3m.cli.main import main
from diff3m.data.manifest import read_manifest
from diff3m.data.overlap import read_patients
from diff3m.data.prepare.films import FilmCheck, select_usable_films
from diff3m.data.prepare.linkage import link_nearest
from diff3m.data.prepare.report import Report
from diff3m.ehr import EHRSchema, paper_schema
from diff3m.evaluation.labelled_films import read_boxes
from diff3m.imaging.gate import NOT_A_CHEST
from diff3m.training.config import TrainingConfig

SCHEMA = paper_schema()


def test_the_nearest_values_equal_a_brute_force_answer():
    rng = np.random.default_rng(0)
    films = pd.DataFrame({"patient": rng.integers(0, 12, 300), "day": rng.integers(0, 400, 300)})
    records = pd.DataFrame(
        {"patient": rng.integers(0, 13, 500), "day": rng.integers(-50, 460, 500), "value": rng.normal(25, 4, 500)}
    )
    values, ties = link_nearest(films, records)["value"], 0
    for place, film in films.iterrows():
        near = [
            (abs(entry.day - film.day), entry.day, entry.value)
            for entry in records.itertuples()
            if entry.patient == film.patient and abs(entry.day - film.day) <= 90
        ]
        if not near:
            assert np.isnan(values[place])
            continue
        nearest_values = [(day, value) for distance, day, value in near if distance == min(near)[0]]
        ties += len({day for day, _ in nearest_values}) > 1
        assert values[place] == pytest.approx(np.mean([value for _, value in nearest_values]))
    assert ties > 3 and values.notna().sum() > 100


def test_mimic_is_linked_as_the_paper_does(mimic, tmp_path, capsys):
    cxr, iv = mimic
    out = tmp_path / "out" / "mimic.csv"
    assert main(["prepare", "mimic", "--cxr", str(cxr), "--iv", str(iv), "--out", str(out)]) == 0
    text = capsys.readouterr().out
    for sentence in (
        "9 rows read, 4 kept",
        "duplicate row: 1",
        "not a frontal film: 1",
        "missing image: 1",
        "patient in two splits: 2",
        "is no number",
        "value left unknown, patient is in no patients table: 1",
    ):
        assert sentence in text
    table = pd.read_csv(out).set_index("patient")
    first = table.loc[10000001]
    assert first["systolic_mmhg"] == pytest.approx(np.mean([120, 130, 150]), abs=0.05)
    assert first["diastolic_mmhg"] == pytest.approx(np.mean([80, 84, 70]), abs=0.05)
    assert first["weight_kg"] == pytest.approx(170 * 0.45359237, abs=0.05)
    assert first["height_cm"] == pytest.approx(65 * 2.54, abs=0.05)  # the one in metres is no height in inches
    assert first["age"] == 54 and first["sex"] == "F" and first["label"] == "normal" and first["split"] == "train"
    second, third = table.loc[10000002], table.loc[10000003]
    assert (
        second["label"] == "abnormal"
        and second["age"] == 61
        and np.isnan(second["bmi"])
        and np.isnan(second["systolic_mmhg"])
    )
    assert third["split"] == "val" and np.isnan(third["age"])  # no anchor year
    nowhere = table.loc[10000006]
    assert nowhere["view"] == "PA" and nowhere["split"] == "test"
    assert nowhere[["age", "sex", "label", "bmi", "weight_kg", "systolic_mmhg"]].isna().all()
    cases = read_manifest(out, SCHEMA)
    assert all(case.path.is_file() for case in cases) and cases[0].record["bmi"] == pytest.approx(28.3, abs=0.1)
    assert len(read_manifest(out.with_name("mimic-train.csv"), SCHEMA)) == 1
    report = json.loads(out.with_name("mimic-report.json").read_text())
    assert report["names"]["patient is in no patients table"] == ["files/p10/p10000006/s50000007/f1.jpg"]
    assert report["missing"]["systolic_mmhg"] == 3 and report["missing"]["sex"] == 1
    assert any("d1" in name for name in report["names"]["missing image"])
    assert any("wrong unit" in reason for reason in report["omissions"])
    assert report["names"]["measurement is no number"] == ["patient 10000002, 2181-12-30, bmi"]


def test_names_of_a_later_version_and_plain_files_are_taken(mimic, tmp_path):
    cxr, iv = mimic
    for part in ("metadata", "chexpert", "split"):
        old = cxr / f"mimic-cxr-2.0.0-{part}.csv.gz"
        (cxr / f"mimic-cxr-2.1.0-{part}.csv").write_bytes(gzip.decompress(old.read_bytes()))
        old.unlink()
    assert main(["prepare", "mimic", "--cxr", str(cxr), "--iv", str(iv), "--out", str(tmp_path / "m.parquet")]) == 0
    assert len(read_manifest(tmp_path / "m.parquet", SCHEMA)) == 4


def test_triage_vitals_become_further_features(mimic, tmp_path):
    cxr, iv = mimic
    ed = tmp_path / "ed"
    stays = "subject_id,hadm_id,stay_id,intime,outtime\n10000001,,1,2180-05-10 12:00:00,2180-05-10 18:00:00\n"
    stays += "10000001,,2,2180-04-10 12:00:00,2180-04-10 18:00:00\n"
    write_gzip(ed / "ed/edstays.csv.gz", stays)
    write_gzip(
        ed / "ed/triage.csv.gz",
        "stay_id,temperature,heartrate,resprate,o2sat,sbp\n1,98.6,88,18,97,120\n2,101,120,30,90,100\n",
    )
    out = tmp_path / "m.csv"
    assert main(["prepare", "mimic", "--cxr", str(cxr), "--iv", str(iv), "--ed", str(ed), "--out", str(out)]) == 0
    config = TrainingConfig(name="x", manifest=str(out), out="x", schema=str(tmp_path / "m-schema.yaml"))
    schema = config.ehr_schema()
    record = next(case.record for case in read_manifest(out, schema) if "s50000001" in str(case.path))
    assert (
        record["heart_rate_bpm"] == 88
        and record["spo2_percent"] == 97
        and record["temperature_c"] == pytest.approx(37.0)
    )
    assert record["respiratory_rate"] == 18 and set(schema.names) > set(SCHEMA.names)
    assert EHRSchema.from_list(yaml.safe_load((tmp_path / "m-schema.yaml").read_text())) == schema


def test_chexpert_frontal_films_with_demographics(tmp_path, capsys):
    head = "Path,Sex,Age,Frontal/Lateral,AP/PA,No Finding,Edema\n"
    train = [f"CheXpert-v1.0-small/train/patient{n:05d}/study1/view1_frontal.jpg" for n in range(1, 31)]
    rows = "".join(
        f"{name},{'Female' if n % 2 else 'Male'},{40 + n},Frontal,{'AP' if n % 3 else 'PA'},{'1.0' if n % 2 else ''},\n"
        for n, name in enumerate(train)
    )
    rows += f"{train[0].replace('view1_frontal', 'view2_lateral')},Female,40,Lateral,,1.0,\n"
    (tmp_path / "train.csv").write_text(head + rows)
    valid = "CheXpert-v1.0-small/valid/patient64541/study1/view1_frontal.jpg"
    (tmp_path / "valid.csv").write_text(head + f"{valid},Unknown,0,Frontal,LL,0.0,1.0\n")
    for name in (*train, valid):
        write_film(tmp_path / name.partition("/")[2])
    (tmp_path / "train/patient00003/study1/view1_frontal.jpg").write_text("not an image")
    out = tmp_path / "out.csv"
    assert main(["prepare", "chexpert", "--dir", str(tmp_path), "--out", str(out)]) == 0
    text = capsys.readouterr().out
    assert "not a frontal film: 1" in text and "unreadable image: 1" in text
    table = pd.read_csv(out)
    counts = table["split"].value_counts()
    assert counts["test"] == 1 and counts["train"] > 20 and counts.sum() == 30
    last = table[table["split"] == "test"].iloc[0]
    assert np.isnan(last["age"]) and pd.isna(last["sex"]) and pd.isna(last["view"]) and last["label"] == "abnormal"
    assert not set(table.loc[table["split"] == "train", "patient"]) & set(table.loc[table["split"] == "val", "patient"])
    assert len(read_manifest(out, SCHEMA)) == 30


@pytest.mark.parametrize("lists", [True, False])
def test_nih_with_its_table_lists_and_boxes(tmp_path, lists):
    head = "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,"
    head += "OriginalImage[Width,Height]\n"
    names = [f"{n:08d}_000.png" for n in range(1, 41)]
    rows = "".join(
        f"{name},{'No Finding' if n % 2 else 'Mass|Nodule'},0,{n},{'058Y' if n == 3 else 30 + n},F,PA,2500\n"
        for n, name in enumerate(names, 1)
    )
    (tmp_path / "Data_Entry_2017.csv").write_text(head + rows + "99999999_000.png,Mass,0,99,411,M,AP,2500\n")
    for index, name in enumerate(names):
        write_film(tmp_path / ("images_001/images" if index % 2 else "images") / name)
    (tmp_path / "BBox_List_2017.csv").write_text(
        f"Image Index,Finding Label,Bbox [x,y,w,h],,,\n{names[1]},Mass,256.0,512.0,102.4,51.2\n"
    )
    if lists:
        (tmp_path / "train_val_list.txt").write_text("\n".join(names[:30]))
        (tmp_path / "test_list.txt").write_text("\n".join(names[30:]))
    out = tmp_path / "o" / "nih.csv"
    assert main(["prepare", "nih", "--dir", str(tmp_path), "--out", str(out)]) == 0
    table = pd.read_csv(out)
    assert len(table) == 40 and table.set_index("image").loc[names[2], "age"] == 58
    counts = table["split"].value_counts()
    assert counts.sum() == 40 and counts["train"] > 20 and (counts["test"] == 10 or not lists)
    box = pd.read_csv(tmp_path / "o" / "nih-boxes.csv").iloc[0]
    assert box[["x", "y", "w", "h"]].tolist() == [256, 512, 102.4, 51.2]
    assert read_boxes(tmp_path / "o" / "nih-boxes.csv") == {names[1]: [(256.0, 512.0, 102.4, 51.2)]}, (
        "as `benchmark films --boxes` reads them"
    )
    assert sum(case.abnormal for case in read_manifest(out, SCHEMA)) == 20


def test_a_folders_bad_rows_are_counted_and_named(tmp_path, capsys):
    for name in "abcdefg":
        write_film(tmp_path / f"{name}.png")
    (tmp_path / "bad.png").write_text("text")
    (tmp_path / "cut.png").write_bytes((tmp_path / "a.png").read_bytes()[:-30])
    rows = [
        "a.png,50,170,70,1,train",
        "a.png,50,170,70,1,train",
        "b.png,60,1.7,70,2,train",
        "c.png,61,65,160,3,train",
        "d.png,old,,,4,train",
    ]
    rows += [
        "e.png,70,,,4,test",
        "bad.png,3,,,5,train",
        "gone.png,3,,,6,train",
        "cut.png,3,,,9,train",
        "f.png,40,101.6,110,7,train",
        'g.png,"62,5",n/a,70,8,train',
    ]
    table = "file,Age,height_cm,weight_kg,patient,split,label\n" + "".join(f"{row},normal\n" for row in rows)
    (tmp_path / "t.csv").write_text(table)
    command = [
        "prepare",
        "folder",
        "--table",
        str(tmp_path / "t.csv"),
        "--column",
        "path=file",
        "--out",
        str(tmp_path / "m.csv"),
    ]
    assert main(command) == 0
    text = capsys.readouterr().out
    folder_wide = [*command, "--where", "split=train"]  # the split that is left out counts too
    assert main(folder_wide) == 0 and "patient in two splits: 1" in capsys.readouterr().out
    assert main(command) == 0
    for sentence in (
        "duplicate row: 1",
        "unreadable image: 2",
        "missing image: 1",
        "patient in two splits: 2",
        "height_cm outside the plausible range (wrong unit?): 2",
        "imply an impossible BMI (wrong unit?): 1",
    ):
        assert sentence in text, text
    cases = read_manifest(tmp_path / "m.csv", SCHEMA)
    assert [case.path.name for case in cases] == ["a.png", "b.png", "c.png", "f.png", "g.png"] and cases[1].record[
        "height_cm"
    ] is None
    assert cases[3].record["weight_kg"] is None and cases[4].record["age"] == 62.5
    row_names = json.loads((tmp_path / "m-report.json").read_text())["names"]
    assert (
        row_names["missing image"] == ["gone.png"]
        and "b.png" in row_names["height_cm outside the plausible range (wrong unit?)"]
    )


def test_films_are_judged_as_anywhere_else(tmp_path, capsys):
    """S5: the gate's reason is in the report; --accept takes such a film knowingly, --quick looks at none."""
    (tmp_path / "good.png").write_bytes(phantom_png())
    (tmp_path / "turned.png").write_bytes(phantom_png(turns=1))
    (tmp_path / "negative.png").write_bytes(phantom_png(negative=True))
    noise = np.random.default_rng(0).integers(0, 255, (96, 96), dtype=np.uint8)
    cv2.imwrite(str(tmp_path / "noise.png"), noise)
    cv2.imwrite(str(tmp_path / "blank.png"), np.full((96, 96), 9, np.uint8))
    names = ("good", "turned", "negative", "noise", "blank")
    (tmp_path / "t.csv").write_text("path,label\n" + "".join(f"{name}.png,normal\n" for name in names))
    command = ["prepare", "folder", "--table", str(tmp_path / "t.csv"), "--out", str(tmp_path / "m.csv")]
    reasons = {
        "turned.png": "The film seems to be turned: a quarter turn to the right would set it upright",
        "negative.png": "The film seems to be a negative: bones are dark and air is bright",
        "noise.png": NOT_A_CHEST.rstrip("."),
    }
    blank = (
        "image that no film can be made of: The image is blank: every pixel has the same value. Export the film again"
    )

    assert main(command) == 0 and "5 rows read, 1 kept" in capsys.readouterr().out
    report = json.loads((tmp_path / "m-report.json").read_text())
    assert {name: reason for reason, (name,) in report["names"].items() if reason in report["drops"]} == {
        **{name: reason for name, reason in reasons.items()},
        "blank.png": blank,
    }
    assert main([*command, "--accept"]) == 0 and "5 rows read, 4 kept" in capsys.readouterr().out
    report = json.loads((tmp_path / "m-report.json").read_text())
    assert report["notes"] == {f"the gate would stop it: {reason}": 1 for reason in reasons.values()}
    assert report["drops"] == {blank: 1}
    assert main([*command, "--quick"]) == 0 and "5 rows read, 5 kept" in (text := capsys.readouterr().out)
    assert "kept, film not read whole" in text and ": 5" in text


@pytest.mark.parametrize("column", ["patient", "subject_id"])
def test_films_without_a_patient_number_are_in_no_two_splits(tmp_path, capsys, column):
    for name in "abcdef":
        write_film(tmp_path / f"{name}.png")
    rows = "a.png,,train\nb.png,,test\nc.png,NA,test\nd.png,7,train\ne.png,8,train\nf.png,8.0 ,test\ngone.png,,test\n"
    (tmp_path / "t.csv").write_text(f"path,{column},split\n" + rows)
    assert main(["prepare", "folder", "--table", str(tmp_path / "t.csv"), "--out", str(tmp_path / "m.csv")]) == 0
    text = capsys.readouterr().out
    assert (
        "patient in two splits: 2" in text
        and "without a patient number, so that its split could not be checked: 3" in text
    )
    assert [case.path.stem for case in read_manifest(tmp_path / "m.csv", SCHEMA)] == list("abcd")
    assert read_patients(tmp_path / "m.csv") == {"7"}
    report = json.loads((tmp_path / "m-report.json").read_text())
    assert list(report["notes"].values()) == [3] and ["a.png", "b.png", "c.png"] in report["names"].values()


def test_a_report_names_every_row_but_films_that_are_not_frontal():
    report = Report()
    for reason in ("duplicate row", "not a frontal film"):
        report.drop(reason, range(15))
        report.drop(reason, range(15, 30))
    assert (
        report.names["duplicate row"] == [str(number) for number in range(30)]
        and len(report.names["not a frontal film"]) == 20
    )
    assert report.drops == {"duplicate row": 30, "not a frontal film": 30}


def test_labels_are_counted_and_a_table_without_normals_is_warned_of(tmp_path, capsys):
    for number in range(4):
        write_film(tmp_path / f"{number}.png")
    command = ["prepare", "folder", "--table", str(tmp_path / "t.csv"), "--out", str(tmp_path / "m.csv")]
    for normal, line, has_warning in (
        ("Normal ", "label: normal 1, Mass 2, without one 1\n", False),
        ("Sick", "normal 0, Mass 2, Sick 1, without", True),
    ):
        (tmp_path / "t.csv").write_text(f"path,label\n0.png,Mass\n1.png,{normal}\n2.png,\n3.png,Mass\n")
        assert main(command) == 0 and line in (text := capsys.readouterr().out)
        assert ("no film is labelled `normal`" in text) == has_warning and (
            "Write `normal` in the column `label`" in text
        ) == has_warning
    assert json.loads((tmp_path / "m-report.json").read_text())["labels"] == {"Mass": 2, "Sick": 1, "": 1}
    (tmp_path / "t.csv").write_text("path\n0.png\n1.png\n")
    assert (
        main(command) == 0 and "label: normal 0, without one 2\nwarning: no film is labelled" in capsys.readouterr().out
    )
    many = Report(output_rows=78, labels=Counter({f"finding {number}": number for number in range(1, 13)}))
    assert many.format_lines()[-2].endswith("finding 4 4, finding 3 3, 2 others 3")


def test_dicom_without_a_preamble_is_a_readable_image(tmp_path):
    (tmp_path / "whole.dcm").write_bytes(dicom_film())
    (tmp_path / "bare.dcm").write_bytes(dicom_film()[132:])
    (tmp_path / "text.dcm").write_text("no film" * 99)
    rows, report = pd.DataFrame({"path": ["whole.dcm", "bare.dcm", "text.dcm"]}), Report()
    assert select_usable_films(rows, tmp_path, report, FilmCheck(whole=False))["path"].tolist() == [
        "whole.dcm",
        "bare.dcm",
    ]
    assert report.names["unreadable image"] == ["text.dcm"]


def test_every_kind_of_file_that_is_read_passes_the_quick_check(tmp_path):
    """Among them a TIFF of 64-bit offsets (BigTIFF), of which the quick check sees the first bytes alone."""
    (tmp_path / "big.tif").write_bytes(b"II+\0\x08\0\0\0" + bytes(600))
    for name in ("a.png", "a.jpg", "a.tif", "a.webp"):
        write_film(tmp_path / name)
    names, report = sorted(path.name for path in tmp_path.iterdir()), Report()
    rows = select_usable_films(pd.DataFrame({"path": names}), tmp_path, report, FilmCheck(whole=False))
    assert rows["path"].tolist() == names and len(names) == 5 and not report.drops


def test_a_manifest_behind_a_link_finds_its_films(tmp_path):
    (tmp_path / "far" / "away").mkdir(parents=True)
    (tmp_path / "films").mkdir()
    write_film(tmp_path / "films" / "a.png")
    (tmp_path / "films" / "t.csv").write_text("path,label\na.png,normal\n")
    (tmp_path / "data").symlink_to(tmp_path / "far" / "away")
    assert (
        main(
            [
                "prepare",
                "folder",
                "--table",
                str(tmp_path / "films" / "t.csv"),
                "--out",
                str(tmp_path / "data" / "m.csv"),
            ]
        )
        == 0
    )
    assert all(case.path.is_file() for case in read_manifest(tmp_path / "data" / "m.csv", SCHEMA))


@pytest.mark.parametrize(
    ("command", "sentence"),
    [
        (["mimic", "--cxr", "nowhere", "--iv", "nowhere"], "metadata.csv"),
        (["chexpert", "--dir", "nowhere"], "train.csv"),
        (["nih", "--dir", "nowhere"], "Data_Entry_2017"),
    ],
)
def test_an_absent_data_set_gets_a_sentence(command, sentence, tmp_path, capsys):
    assert main(["prepare", *command, "--out", str(tmp_path / "m.csv")]) == 1
    error = capsys.readouterr().err
    assert sentence in error and "Check the folder" in error and "Traceback" not in error


def test_days_far_from_any_film_are_never_linked():
    film = date(2180, 5, 10)
    films = pd.DataFrame({"patient": [1], "day": [film.toordinal()]})
    for offset, is_linked in ((-91, False), (-90, True), (0, True), (90, True), (91, False)):
        record = pd.DataFrame({"patient": [1], "day": [(film + timedelta(days=offset)).toordinal()], "value": [20.0]})
        assert link_nearest(films, record)["value"].notna().all() == is_linked
