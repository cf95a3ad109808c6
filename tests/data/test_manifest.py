import pandas as pd
import pytest

from diff3m.data import paths
from diff3m.data.manifest import (
    Manifest,
    ManifestError,
    normalize_patient,
    read_manifest,
    read_normal_cases,
)
from diff3m.data.prepare import FilmCheck, prepare_folder
from diff3m.ehr import EHRSchema, Feature, paper_schema

SCHEMA = paper_schema()
QUICK = FilmCheck(whole=False)  # the drawn films of these tests are none to the gate


def test_a_manifest_is_read(film_folder):
    cases = read_manifest(film_folder / "manifest.csv", SCHEMA)
    assert len(cases) == 12 and cases[0].path == film_folder / "film0.png" and cases[0].row == 1
    assert cases[1].record["age"] == 41 and cases[1].record["view"] == "AP" and cases[1].record["bmi"] is None
    assert [c.abnormal for c in cases[:3]] == [False, False, True]
    assert len(read_manifest(film_folder / "manifest.csv", SCHEMA, limit=5)) == 5


def test_parquet_beside_csv(film_folder):
    pd.read_csv(film_folder / "manifest.csv").to_parquet(film_folder / "manifest.parquet")
    assert read_manifest(film_folder / "manifest.parquet", SCHEMA) == read_manifest(
        film_folder / "manifest.csv", SCHEMA
    )


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("", "empty"),
        ("path,age\n", "no rows"),
        ("file,age\na.png,3\n", "no column `path`"),
        ("path,age\n,3\n", "Row 1: the path"),
        ("path,age\na.png,3\nb.png,old\n", "Row 2: Age"),
        ("path,height_cm\na.png,1.8\n", "Row 1: Height"),
        ("path,age,Path\na.png,3,b.png\n", "same name"),
        (
            "path,weight_kg,age\na.png,70,5,40\nb.png,71,40\n",
            "Row 1 of m.csv has more fields than the header. Put quotes",
        ),
        (
            "path,weight_kg,age\na.png,70,40\nb.png,71,5,40\n",
            "Row 2 of m.csv has more fields than the header. Put quotes",
        ),
    ],
)
def test_a_bad_manifest_gets_a_sentence(tmp_path, text, word):
    (tmp_path / "m.csv").write_text(text)
    with pytest.raises(ManifestError, match=word):
        read_manifest(tmp_path / "m.csv", SCHEMA)


def test_labels_and_columns_are_read_in_any_case(film_folder):
    (film_folder / "m.csv").write_text("Path,AGE,Label\nfilm0.png,50,Normal\nfilm1.png,60,Opacity\nfilm2.png,,\n")
    cases = read_manifest(film_folder / "m.csv", SCHEMA)
    assert [c.abnormal for c in cases] == [False, True, None] and cases[0].record["age"] == 50
    assert [c.row for c in read_normal_cases(film_folder / "m.csv", SCHEMA)] == [1]


def test_features_are_read_in_any_case(tmp_path):
    schema = EHRSchema(
        (*SCHEMA.features, Feature("SpO2", "Oxygen saturation", "number", "ehr", "vitals", "%", (40, 100), 98, 3))
    )
    for column in ("SpO2", "spo2", " SPO2"):
        (tmp_path / "m.csv").write_text(f"path,{column},Age\na.png,97,50\n")
        record = read_manifest(tmp_path / "m.csv", schema)[0].record
        assert record["SpO2"] == 97 and record["age"] == 50


def test_an_absent_or_binary_manifest_gets_a_sentence(tmp_path):
    with pytest.raises(ManifestError, match="no manifest"):
        read_manifest(tmp_path / "absent.csv", SCHEMA)
    (tmp_path / "m.csv").write_bytes(bytes(range(256)) * 9)
    with pytest.raises(ManifestError):
        read_manifest(tmp_path / "m.csv", SCHEMA)


def test_any_table_becomes_a_manifest(film_folder, tmp_path):
    table = film_folder / "table.csv"
    table.write_text("file,years,set,label\nfilm0.png,50,a,normal\nfilm1.png,60,b,normal\nfilm2.png,70,a,opacity\n")
    out = tmp_path / "deep" / "m.csv"
    report = prepare_folder(table, out, {"path": "file", "age": "years"}, {"set": {"a"}}, QUICK)
    cases = read_manifest(out, SCHEMA)
    assert report.output_rows == len(cases) == 2
    assert cases[1].record["age"] == 70 and cases[1].path.resolve() == (film_folder / "film2.png").resolve()
    with pytest.raises(ManifestError, match="no column age_in_years"):
        prepare_folder(table, out, {"path": "file", "age": "age_in_years"}, {}, QUICK)
    with pytest.raises(ManifestError, match="No row"):
        prepare_folder(table, out, {"path": "file"}, {"set": {"z"}}, QUICK)


@pytest.mark.parametrize("columns", [{"path": "Path"}, {"age": "Age"}, {"Path": "Path", "AGE": "Age"}, {}])
def test_a_column_may_be_named_that_differs_in_case_alone(film_folder, tmp_path, columns):
    table = film_folder / "table.csv"
    table.write_text("Path,Age,label\nfilm0.png,50,normal\n")
    assert prepare_folder(table, tmp_path / "m.csv", columns, {}, QUICK).output_rows == 1
    case = read_manifest(tmp_path / "m.csv", SCHEMA)[0]
    assert case.record["age"] == 50 and case.path.resolve() == (film_folder / "film0.png").resolve()


def test_of_two_columns_of_one_name_the_named_one_counts(film_folder, tmp_path):
    table, out = film_folder / "table.csv", tmp_path / "m.csv"
    table.write_text("path,Age,age,label\nfilm0.png,50,60,normal\n")
    with pytest.raises(
        ManifestError, match=r"same name once case is ignored: age\. Rename one, or say which counts, age=COLUMN"
    ):
        prepare_folder(table, out, {}, {}, QUICK)
    with pytest.raises(ManifestError, match="Two columns are named for age"):
        prepare_folder(table, out, {"age": "age", "Age": "Age"}, {}, QUICK)
    for source, age in (("Age", 50), ("age", 60)):
        prepare_folder(table, out, {"age": source}, {}, QUICK)
        assert read_manifest(out, SCHEMA)[0].record["age"] == age


def test_commas_at_the_ends_of_lines_are_no_fields(film_folder):
    (film_folder / "m.csv").write_text("path,age\nfilm0.png,50,\nfilm1.png,60,\n")
    assert [(case.path.name, case.record["age"]) for case in read_manifest(film_folder / "m.csv", SCHEMA)] == [
        ("film0.png", 50),
        ("film1.png", 60),
    ]


@pytest.mark.parametrize(
    ("spelling", "key"),
    [
        (" 10000032 ", "10000032"),
        ("10000032.0", "10000032"),
        (10000032.0, "10000032"),
        (7, "7"),
        ("7.5", "7.5"),
        ("007", "007"),
    ],
)
def test_a_patient_has_one_key_however_the_id_is_written(spelling, key):
    assert normalize_patient(spelling) == key


@pytest.mark.parametrize(
    ("name", "spelling"),
    [
        ("films/a.png", "films\\a.png"), ("films/a.png", ".\\films\\a.png"), ("films/a.png", " 'films/a.png' "),
        ("films/a b.png", "films/a%20b.png"),
        ("Ba\u0308r.png", "B\u00e4r.png"), ("B\u00e4r.png", "Ba\u0308r.png"), ("100%25.png", "100%25.png"),
        ("films/a.png", "./films/./a.png"),
    ],
)  # fmt: skip
def test_a_film_is_found_however_its_path_is_written(tmp_path, name, spelling):
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_bytes(b"film")
    (tmp_path / "m.csv").write_text(f"path,age\n{spelling},063Y\n")
    (case,) = read_manifest(tmp_path / "m.csv", SCHEMA)
    assert case.path.read_bytes() == b"film" and case.record["age"] == 63 and not case.note


def test_case_is_ignored_as_a_last_resort_and_said(tmp_path):
    (tmp_path / "Films").mkdir()
    (tmp_path / "Films" / "A.PNG").write_bytes(b"film")
    (tmp_path / "m.csv").write_text("path\nfilms/a.png\n")
    (case,) = read_manifest(tmp_path / "m.csv", SCHEMA)
    assert case.path == tmp_path / "Films" / "A.PNG"
    assert case.note == "The file A.PNG is taken for a.png: they differ in upper and lower case alone."
    (tmp_path / "Films" / "a.PNG").write_bytes(b"other")
    paths._list_folder.cache_clear()
    (case,) = read_manifest(tmp_path / "m.csv", SCHEMA)
    assert not case.path.exists(), "which of the two nobody can say"


@pytest.mark.parametrize(
    "spelling", ["C:\\data\\a.png", "\\\\server\\share\\a.png", "/nowhere/else/a.png", "file:///C:/data/a.png"]
)
def test_a_path_of_another_machine_is_named(tmp_path, spelling):
    (tmp_path / "m.csv").write_text(f"path\n{spelling}\n")
    (case,) = read_manifest(tmp_path / "m.csv", SCHEMA)
    assert case.note.startswith("The path ") and "another machine. Write it relative to the folder" in case.note


def test_a_manifest_in_parts_has_the_rows_of_the_whole(film_folder):
    path = film_folder / "manifest.csv"
    path.write_text(path.read_text().replace("label", "label,Race", 1).replace(",normal", ",normal,Asian", 1))
    whole, manifest = read_manifest(path, SCHEMA), Manifest(path, SCHEMA)
    assert list(manifest) == whole and len(manifest) == 12
    assert list(manifest.cases(lambda position: position in (3, 7))) == [whole[3], whole[7]]
    assert list(Manifest(path, SCHEMA, limit=5)) == whole[:5]
    assert list(Manifest(path, SCHEMA, label="normal")) == read_normal_cases(path, SCHEMA)
    assert [case.report_columns for case in whole[:2]] == [{"race": "Asian"}, {}]
    with pytest.raises(ManifestError, match="holds no odd film"):
        Manifest(path, SCHEMA, label="odd")
    path.write_text(path.read_text() + "film0.png,old,F,PA,,normal,\n")
    with pytest.raises(ManifestError, match="Row 13: Age"):
        Manifest(path, SCHEMA)
