"""Tables as they come after mishaps: odd cells, ids as floats, rows twice, dates that are none, damaged files."""

from pathlib import Path

import pandas as pd
import pytest
from helpers import with_commas, write_film

from diff3m.cli.main import main
from diff3m.data.manifest import ManifestError, read_manifest
from diff3m.data.overlap import read_patients
from diff3m.data.prepare.chexpert import prepare_chexpert
from diff3m.data.prepare.films import FilmCheck
from diff3m.data.prepare.folder import prepare_folder
from diff3m.data.prepare.nih import prepare_nih
from diff3m.data.prepare.report import Report
from diff3m.data.prepare.tables import CONTRADICTORY
from diff3m.ehr import paper_schema

SCHEMA = paper_schema()
NIH_HEAD = "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position\n"


def nih(folder: Path, rows: list[str], head: str = NIH_HEAD) -> None:
    (folder / "Data_Entry_2017.csv").write_text(head + "\n".join(rows) + "\n")
    for row in rows:
        write_film(folder / "images" / row.partition(",")[0])


def test_one_odd_cell_does_not_make_every_film_of_chexpert_abnormal(tmp_path):
    names = [f"CheXpert-v1.0-small/train/patient{n:05d}/study1/view1_frontal.jpg" for n in range(4)]
    head = "Path,Sex,Age,Frontal/Lateral,AP/PA,No Finding\n"
    rows = [f"{name},Female,50,Frontal,AP,{cell}\n" for name, cell in zip(names, ("1.0", " ", "x", ""), strict=True)]
    (tmp_path / "train.csv").write_text(head + "".join(rows[:3]))
    (tmp_path / "valid.csv").write_text(head + rows[3])
    for name in names:
        write_film(tmp_path / name.partition("/")[2])
    report = prepare_chexpert(tmp_path, tmp_path / "m.csv")
    labels = pd.read_csv(tmp_path / "m.csv").sort_values("patient")["label"].fillna("")
    assert labels.tolist() == ["normal", "abnormal", "", "abnormal"] and report.refusals["No Finding is no number"] == 1


def test_commas_at_the_ends_of_the_rows_of_chexpert_shift_nothing(tmp_path):
    name = "CheXpert-v1.0-small/{}/patient{:05d}/study1/view1_frontal.jpg"
    head = "Path,Sex,Age,Frontal/Lateral,AP/PA,No Finding,Edema\n"
    for part, number in (("train", 1), ("valid", 2)):
        (tmp_path / f"{part}.csv").write_text(
            with_commas(head + f"{name.format(part, number)},Female,50,Frontal,AP,1.0,\n")
        )
        write_film(tmp_path / name.format(part, number).partition("/")[2])
    assert prepare_chexpert(tmp_path, tmp_path / "m.csv").output_rows == 2
    assert pd.read_csv(tmp_path / "m.csv")[["label", "age", "view"]].drop_duplicates().to_numpy().tolist() == [
        ["normal", 50, "AP"]
    ]
    (tmp_path / "valid.csv").write_text(head + f"{name.format('valid', 2)},Female,50,Frontal,AP,1.0,,x\n")
    with pytest.raises(ManifestError, match=r"^Row 1 of valid.csv has more fields than the header\. Put quotes"):
        prepare_chexpert(tmp_path, tmp_path / "m.csv")


def test_commas_at_the_ends_of_the_rows_of_nih_shift_nothing(tmp_path):
    nih(tmp_path, ["1.png,No Finding,0,1,50,F,PA", "2.png,Mass,0,2,60,M,AP"])
    (tmp_path / "Data_Entry_2017.csv").write_text(with_commas((tmp_path / "Data_Entry_2017.csv").read_text()))
    prepare_nih(tmp_path, tmp_path / "m.csv")
    assert pd.read_csv(tmp_path / "m.csv")[["image", "label", "age"]].to_numpy().tolist() == [
        ["1.png", "normal", 50],
        ["2.png", "abnormal", 60],
    ]


def test_labels_of_nih_are_read_in_any_case(tmp_path):
    nih(tmp_path, ["1.png,no finding ,0,1,50,F,PA", "2.png,Mass,0,2,50,F,PA", "3.png, ,0,3,50,F,PA"])
    prepare_nih(tmp_path, tmp_path / "m.csv")
    assert pd.read_csv(tmp_path / "m.csv").set_index("image")["label"].fillna("").to_dict() == {
        "1.png": "normal",
        "2.png": "abnormal",
        "3.png": "",
    }


def test_ages_of_nih_that_are_clear_are_read_and_others_counted(tmp_path):
    ages = {
        "1.png": "013M",
        "2.png": "-3",
        "3.png": "58.0",
        "4.png": " 60 ",
        "5.png": "058Y",
        "6.png": "old",
        "7.png": "",
        "8.png": "000Y",
    }
    nih(tmp_path, [f"{name},Mass,0,{name[0]},{age},F,PA" for name, age in ages.items()])
    report = prepare_nih(tmp_path, tmp_path / "m.csv")
    years = pd.read_csv(tmp_path / "m.csv").set_index("image")["age"].dropna().to_dict()
    assert years == {"1.png": 1.08, "3.png": 58, "4.png": 60, "5.png": 58}
    assert report.names["age outside the plausible range (wrong unit?)"] == ["images/2.png"]
    assert report.names["age no number"] == ["images/6.png"]
    assert report.names["age that stands for unknown"] == ["images/8.png"]
    assert list(report.notes.values()) == [1] and "under 18" in next(iter(report.notes))


def test_a_film_of_nih_without_a_patient_is_kept(tmp_path):
    nih(
        tmp_path, ["1.png,Mass,0,1,50,F,PA", "2.png,Mass,0,,50,F,PA", "3.png,Mass,0,,50,F,PA", "4.png,Mass,0,1,50,F,PA"]
    )
    (tmp_path / "train_val_list.txt").write_text("1.png\n2.png\n")
    (tmp_path / "test_list.txt").write_text("3.png\n4.png\n")
    report = prepare_nih(tmp_path, tmp_path / "m.csv")
    assert set(pd.read_csv(tmp_path / "m.csv")["image"]) == {"2.png", "3.png"}
    assert report.drops["patient in two splits"] == 2, "1.0 in a column with gaps is patient 1"
    assert list(report.notes.values()) == [2]


def test_rows_of_one_film_of_nih_that_contradict_each_other_are_dropped(tmp_path):
    twice = [
        "1.png,Mass,0,1,50,F,PA",
        "1.png,No Finding,0,1,50,F,PA",
        "2.png,Mass,0,2,50,F,PA",
        "2.png,Mass,3,2,50,F,PA",
        "3.png,Mass,0,,50,F,PA",
    ]
    nih(tmp_path, [*twice, twice[-1]])
    report = prepare_nih(tmp_path, tmp_path / "m.csv")
    assert set(pd.read_csv(tmp_path / "m.csv")["image"]) == {"2.png", "3.png"}, (
        "the number of the visit is nothing that a manifest holds"
    )
    assert report.drops == {CONTRADICTORY: 2, "duplicate row": 2} and report.names[CONTRADICTORY] == [
        "1.png",
        "1.png",
    ]


def test_rows_of_one_film_of_chexpert_that_contradict_each_other_are_dropped(tmp_path):
    names = [f"CheXpert-v1.0-small/train/patient{n:05d}/study1/view1_frontal.jpg" for n in range(2)]
    rows = [
        f"{names[0]},Female,50,Frontal,AP,1.0\n",
        f"{names[0]},Female,50,Frontal,AP,\n",
        f"{names[1]},Female,50,Frontal,AP,1.0\n",
    ]
    (tmp_path / "train.csv").write_text("Path,Sex,Age,Frontal/Lateral,AP/PA,No Finding\n" + "".join(rows))
    (tmp_path / "valid.csv").write_text((tmp_path / "train.csv").read_text().replace("train/patient", "valid/patient1"))
    for name in (*names, *(name.replace("train/patient", "valid/patient1") for name in names)):
        write_film(tmp_path / name.partition("/")[2])
    report = prepare_chexpert(tmp_path, tmp_path / "m.csv")
    assert report.output_rows == 2 and report.drops == {CONTRADICTORY: 4}


def folder_report(tmp_path: Path, text: str, where: dict[str, set[str]] | None = None) -> tuple[Report, list[str]]:
    """The report on a folder's table, and the names of the films that are left."""
    (tmp_path / "t.csv").write_text(text)
    for name in "abcdef":
        write_film(tmp_path / f"{name}.png")
    report = prepare_folder(tmp_path / "t.csv", tmp_path / "m.csv", {}, where or {})
    return report, [case.path.stem for case in read_manifest(tmp_path / "m.csv", SCHEMA)]


def test_rows_of_one_film_of_a_folder_that_contradict_each_other_are_dropped(tmp_path):
    text = "path,label,x\na.png,normal,1\n./a.png,opacity,1\nb.png,normal,1\n./b.png,Normal ,2\nc.png,opacity,1\n"
    report, films = folder_report(tmp_path, text)
    assert films == ["b", "c"] and report.drops == {CONTRADICTORY: 2, "duplicate row": 1}, (
        "x is nothing that a manifest reads"
    )
    report, films = folder_report(tmp_path, text, {"label": {"normal"}})
    assert films == ["b"] and report.drops == {CONTRADICTORY: 1}, "the row that is left out contradicts, too"


def test_a_film_in_two_splits_is_dropped_without_a_patient_column(tmp_path):
    text = "path,person,split\na.png,1,train\na.png,1,test\nb.png,2,train\nc.png,2,test\n"
    report, films = folder_report(tmp_path, text, {"split": {"train"}})
    assert films == ["b"] and report.drops == {CONTRADICTORY: 1}
    (reason,) = report.notes
    assert (
        reason.startswith("without a patient number")
        and "--column patient=COLUMN" in reason
        and report.notes[reason] == 1
    )
    assert not folder_report(tmp_path, "path,person\na.png,1\n")[0].notes, "no split, nothing to check"


def test_a_patient_is_named_by_either_column_and_a_split_in_any_case(tmp_path):
    text = "path,patient,subject_id,split\na.png,,7,train\nb.png,7,,test\nc.png,8,,train\n"
    text += "d.png,8,, Train\ne.png,8,,\nf.png,,,test\n"
    report, films = folder_report(tmp_path, text)
    assert (
        films == ["c", "d", "e", "f"]
        and report.drops == {"patient in two splits": 2}
        and list(report.notes.values()) == [1]
    )
    assert read_patients(tmp_path / "m.csv") == {"8"}


def test_a_film_in_both_lists_of_nih_is_dropped(tmp_path):
    nih(tmp_path, ["1.png,Mass,0,1,50,F,PA", "2.png,Mass,0,2,50,F,PA", "3.png,Mass,0,3,50,F,PA"])
    (tmp_path / "train_val_list.txt").write_text("1.png\n2.png\n")
    (tmp_path / "test_list.txt").write_text("2.png\n3.png\n")
    report = prepare_nih(tmp_path, tmp_path / "m.csv")
    assert (
        set(pd.read_csv(tmp_path / "m.csv")["image"]) == {"1.png", "3.png"} and report.drops["film in both lists"] == 1
    )


@pytest.mark.parametrize(
    "boxes", ["Image Index,Finding Label,x\n1.png,Mass,3\n", "Image,Finding,x,y,w,h\n1.png,Mass,3,4,five,6\n"]
)
def test_what_is_wrong_with_the_tables_of_nih_is_said_before_anything_is_written(tmp_path, boxes):
    nih(tmp_path, ["1.png,Mass,0,1,50,PA"], NIH_HEAD.replace("Patient Gender,", ""))
    with pytest.raises(ManifestError, match=r"lacks Patient Gender\."):
        prepare_nih(tmp_path, tmp_path / "m.csv")
    nih(tmp_path, ["1.png,Mass,0,1,50,F,PA"])
    (tmp_path / "BBox_List_2017.csv").write_text(boxes)
    with pytest.raises(ManifestError, match=r"BBox_List_2017.csv cannot be read .* load it again"):
        prepare_nih(tmp_path, tmp_path / "m.csv")
    assert not (tmp_path / "m.csv").exists()


def test_one_film_under_two_spellings_of_its_path_is_there_once(tmp_path, capsys):
    write_film(tmp_path / "0.png")
    (tmp_path / "t.csv").write_text(f"path,label\n0.png,normal\n./0.png,normal\n{tmp_path}/0.png,normal\n")
    assert main(["prepare", "folder", "--table", str(tmp_path / "t.csv"), "--out", str(tmp_path / "m.csv")]) == 0
    assert "duplicate row: 2" in capsys.readouterr().out and len(read_manifest(tmp_path / "m.csv", SCHEMA)) == 1


@pytest.mark.parametrize("name", ["t.csv", "t.parquet", "link.csv"])
def test_a_folders_table_is_not_overwritten(tmp_path, name):
    write_film(tmp_path / "a.png")
    table = pd.DataFrame({"path": ["a.png"], "label": ["normal"]})
    table.to_csv(tmp_path / "t.csv", index=False)
    table.to_parquet(tmp_path / "t.parquet", index=False)
    (tmp_path / "link.csv").symlink_to("t.csv")
    before = (tmp_path / name).read_bytes()
    with pytest.raises(
        ManifestError, match=f"{name} is a table to be read, and would be overwritten. Choose another --out"
    ):
        prepare_folder(tmp_path / name.replace("link", "t"), tmp_path / name, {}, {})
    assert (tmp_path / name).read_bytes() == before and not list(tmp_path.glob("*report.json"))
    prepare_folder(tmp_path / "t.csv", tmp_path / "m.csv", {}, {})
    prepare_folder(tmp_path / "t.csv", tmp_path / "m.csv", {}, {})  # a manifest may be


def test_a_table_is_not_overwritten_by_what_is_written_beside_the_manifest(tmp_path):
    (tmp_path / "train.csv").touch()
    for end in ("train.csv", "val.csv", "test.csv", "boxes.csv"):
        (tmp_path / f"m-{end}").symlink_to("train.csv")
        with pytest.raises(ManifestError, match=f"m-{end} is a table to be read"):
            prepare_chexpert(tmp_path, tmp_path / "m.csv")
        (tmp_path / f"m-{end}").unlink()


def test_odd_ages_views_and_paths_of_a_folder_are_read_or_counted(tmp_path):
    for name in "abcdef":
        write_film(tmp_path / "films" / f"{name}.png")
    rows = [
        r"films\a.png;063Y;F;POSTERO_ANTERIOR;normal;;",
        r"films\b.png;000Y;woman;AP_PORTABLE;normal;19500101;20150601",
        r"films\C.PNG;;M;PA;normal;19000101;20150601",
        r"films\d.png;999Y;O;LLD;normal;;",
        r"C:\films\e.png;50;M;PA;normal;;",
        r"films\f.png;017Y;M;PA;normal;;",
        ";;;;;;",
    ]
    head = "path;age;sex;view;label;birth_date;study_date\n"
    (tmp_path / "t.csv").write_bytes(("sep=;\n" + head + "\n".join(rows) + "\n").encode("utf-16"))
    report = prepare_folder(tmp_path / "t.csv", tmp_path / "m.csv", {}, {}, FilmCheck(whole=False))
    cases = read_manifest(tmp_path / "m.csv", SCHEMA)
    assert [(case.path.name, case.record["age"], case.record["sex"], case.record["view"]) for case in cases] == [
        ("a.png", 63, "F", "PA"),
        ("b.png", 65, "F", "AP"),
        ("c.png", None, "M", "PA"),
        ("f.png", 17, "M", "PA"),
    ]
    assert report.input_rows == 6 and report.drops == {
        "not a frontal film": 1,
        "path of another machine, write it relative to the table": 1,
    }
    assert report.notes["found under a name that differs in upper and lower case alone"] == 1
    assert report.names["under 18, and the shipped models know adults only"] == ["films/f.png"]


def test_ages_of_chexpert_that_stand_for_unknown_are_counted(tmp_path):
    names = [f"CheXpert-v1.0-small/train/patient{n:05d}/study1/view1_frontal.jpg" for n in range(4)]
    head = "Path,Sex,Age,Frontal/Lateral,AP/PA,No Finding\n"
    ages = zip(names, ("0.0", " 0", "0", "61.0"), strict=True)
    rows = [f"{name},Female,{age},Frontal,AP,1.0\n" for name, age in ages]
    (tmp_path / "train.csv").write_text(head + "".join(rows[:3]))
    (tmp_path / "valid.csv").write_text(head + rows[3])
    for name in names:
        write_film(tmp_path / name.partition("/")[2])
    report = prepare_chexpert(tmp_path, tmp_path / "m.csv", check=FilmCheck(whole=False))
    assert report.refusals["age that stands for unknown"] == 3
    assert pd.read_csv(tmp_path / "m.csv")["age"].dropna().tolist() == [61]
