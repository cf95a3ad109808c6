"""Tables and ZIPs as spreadsheets, data frames and packers write them: read, or refused with a sentence that fits."""

import io
import struct
import unicodedata
import zipfile
import zlib

import pandas as pd
import pyarrow as pa
import pytest
from helpers import write_film
from pyarrow import parquet

from diff3m.data.archive import Archive, ArchiveError
from diff3m.data.manifest import ManifestError, normalize_label, read_manifest, read_patients_by_row, read_table
from diff3m.data.prepare.folder import prepare_folder
from diff3m.data.prepare.mimic_omr import _omit_related
from diff3m.data.prepare.report import Report
from diff3m.data.table import stream_table
from diff3m.ehr import paper_schema

SCHEMA = paper_schema()


@pytest.mark.parametrize("header, feature, value", [
    ("Height (cm)", "height_cm", 178), ("height [cm]", "height_cm", 178), ("Weight kg", "weight_kg", 78),
    ("Age (years)", "age", 78), ("Systolic (mmHg)", "systolic_mmhg", 128), ("BMI (kg/m²)", "bmi", 28),
    ("BMI_kg_m2", "bmi", 28), ("DIASTOLIC_MMHG", "diastolic_mmhg", 78),
])  # fmt: skip
def test_columns_are_known_with_their_unit(tmp_path, header, feature, value):
    (tmp_path / "m.csv").write_text(f"path,{header}\na.png,{value}\n")
    assert read_manifest(tmp_path / "m.csv", SCHEMA)[0].record[feature] == value
    write_film(tmp_path / "a.png")
    (tmp_path / "in.csv").write_text(f"path,{header}\na.png,{value}\n")
    prepare_folder(tmp_path / "in.csv", tmp_path / "out.csv", {}, {})
    assert read_manifest(tmp_path / "out.csv", SCHEMA)[0].record[feature] == value


@pytest.mark.parametrize("header, name", [
    ("height (m)", "`height_cm`, in cm"), ("weight (lb)", "`weight_kg`, in kg"), ("weight", "`weight_kg`, in kg"),
    ("Height_in", "`height_cm`, in cm"), ("Gender", "`sex`"), ("Patient's Sex", "`sex`"),
    ("Age (months)", "`age`, in years"), ("ViewPosition", "`view`"), ("View Position", "`view`"),
    ("SBP", "`systolic_mmhg`, in mmHg"),
])  # fmt: skip
def test_columns_of_another_unit_or_name_are_no_feature_and_are_noted(tmp_path, header, name):
    (tmp_path / "m.csv").write_text(f"path,{header}\na.png,170\n")
    (case,) = read_manifest(tmp_path / "m.csv", SCHEMA)
    assert not any(case.record.values())
    assert case.notes == (f"The column `{header.lower()}` was not read. To use it, name it {name}.",)
    write_film(tmp_path / "a.png")
    report = prepare_folder(tmp_path / "m.csv", tmp_path / "out.csv", {}, {})
    assert report.notes[case.column_note.rstrip(".")] == 1


@pytest.mark.parametrize("header", ["age,age_group", "width,height", "heights_of_ribs", "label,weighted", "image view"])
def test_other_columns_are_not_noted(tmp_path, header):
    (tmp_path / "m.csv").write_text(f"path,{header}\na.png,63\n")
    assert read_manifest(tmp_path / "m.csv", SCHEMA)[0].notes == ()


@pytest.mark.parametrize("rows", [
    [b"B\xc3\xa4r.png", b"M\xfcller.png"], [b"M\xfcller.png", b"patient\xe2\x80\x99s.png"],
])  # fmt: skip
def test_a_table_of_two_encodings_is_not_read_as_one(tmp_path, rows):
    (tmp_path / "m.csv").write_bytes(b"path\n" + b"\n".join(rows))
    with pytest.raises(ManifestError, match="Mac, DOS or several"):
        read_manifest(tmp_path / "m.csv", SCHEMA)


def test_long_ids_of_a_parquet_column_with_empty_cells_keep_all_digits(tmp_path):
    ids = [2**53 + 1, None, 2**53]
    table = pa.table({"path": ["a.png", "b.png", "c.png"], "patient": pa.array(ids, pa.int64())})
    parquet.write_table(table, tmp_path / "m.parquet")
    for result in (read_table(tmp_path / "m.parquet"), pd.concat(stream_table(tmp_path / "m.parquet", 2))):
        assert list(read_patients_by_row(result)) == ["9007199254740993", "", "9007199254740992"]


def test_one_feature_under_two_names_is_refused(tmp_path):
    (tmp_path / "m.csv").write_text("path,height_cm,Height (cm)\na.png,170,171\n")
    with pytest.raises(ManifestError, match="two columns"):
        read_manifest(tmp_path / "m.csv", SCHEMA)


@pytest.mark.parametrize("text", ["NaN", "nan", "N/A", "unknown", "None", "#N/A", " - "])
def test_what_says_unknown_is_no_label(tmp_path, text):
    assert normalize_label(text) == ""
    (tmp_path / "m.csv").write_text(f"path,label\na.png,{text}\nb.png,Normal\n")
    first, second = read_manifest(tmp_path / "m.csv", SCHEMA)
    assert first.label is None and first.abnormal is None and second.abnormal is False


def test_a_dos_end_of_file_is_no_row(tmp_path):
    (tmp_path / "m.csv").write_bytes(b"path,age\r\na.png,63\r\n\x1a")
    assert len(read_manifest(tmp_path / "m.csv", SCHEMA)) == 1


def test_paths_that_were_a_data_frames_index(tmp_path):
    table = pd.DataFrame({"path": ["a.png", "b.png"], "age": [63, 64]}).set_index("path")
    table.to_parquet(tmp_path / "m.parquet")
    assert [case.path.name for case in read_manifest(tmp_path / "m.parquet", SCHEMA)] == ["a.png", "b.png"]


def test_lines_above_the_header_and_rows_without_a_path_are_named(tmp_path):
    (tmp_path / "m.csv").write_text("# my films\npath,age,sex\na.png,63,F\n")
    with pytest.raises(ManifestError, match="remove lines above the header"):
        read_manifest(tmp_path / "m.csv", SCHEMA)
    (tmp_path / "m.csv").write_text("path,age\na.png,63\n,63\n")
    with pytest.raises(ManifestError, match=r"Row 2: the path is empty\. Name the film"):
        read_manifest(tmp_path / "m.csv", SCHEMA)


def test_measurements_of_omr_without_a_known_unit_are_counted_in_any_case():
    names = ["Height", "WEIGHT", " bmi", "Weight (kg)", "blood pressure sitting", "eGFR"]
    records = pd.DataFrame({"patient": 1, "chartdate": "2180-01-01", "result_name": pd.Categorical(names)})
    report = Report()
    _omit_related(records, report)
    assert sum(report.omissions.values()) == 5 and not any("eGFR" in reason for reason in report.omissions)


@pytest.mark.parametrize("first, second", [
    ("./a.png", "a.png"), ("films\\a.png", "films/./a.png"), ("ä.png", unicodedata.normalize("NFD", "ä.png")),
])  # fmt: skip
def test_two_spellings_of_one_name_are_two_files_of_that_name(tmp_path, first, second):
    with zipfile.ZipFile(tmp_path / "films.zip", "w") as file:
        for name in (first, second):
            entry = zipfile.ZipInfo()
            entry.filename = name
            file.writestr(entry, name.encode())
    with pytest.raises(ArchiveError, match="same name"):
        Archive(tmp_path / "films.zip")


@pytest.mark.parametrize("method", [9, 99])
def test_rare_ways_of_packing_are_named(tmp_path, method):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr("a.png", b"film")
    data = bytearray(buffer.getvalue())
    directory = data.index(b"PK\x01\x02")
    data[8] = data[directory + 10] = method
    (tmp_path / "films.zip").write_bytes(data)
    with pytest.raises(ArchiveError, match="packed in a way that is not read"):
        Archive(tmp_path / "films.zip")


@pytest.mark.parametrize("checksum_of, name", [(b"____.png", "Грудь.png"), (b"other.png", "____.png")])
def test_a_name_in_the_unicode_path_field_counts_if_it_is_of_that_file(tmp_path, checksum_of, name):
    path = "Грудь.png".encode()
    entry = zipfile.ZipInfo("____.png")
    entry.extra = struct.pack("<HHBI", 0x7075, 5 + len(path), 1, zlib.crc32(checksum_of)) + path
    with zipfile.ZipFile(tmp_path / "films.zip", "w") as file:
        file.writestr("other.png", b"other film")
        file.writestr(entry, b"film")
    archive = Archive(tmp_path / "films.zip")
    assert sorted(archive.names) == sorted([name, "other.png"])
    assert archive.read(archive.find(name)) == b"film"


@pytest.mark.parametrize("attributes", [0o40755 << 16, 0x10])  # of Unix, of DOS
def test_a_folder_without_a_slash_is_no_film(tmp_path, attributes):
    folder = zipfile.ZipInfo("films")
    folder.external_attr = attributes
    with zipfile.ZipFile(tmp_path / "films.zip", "w") as file:
        file.writestr(folder, b"")
        file.writestr("films/a.png", b"film")
    assert Archive(tmp_path / "films.zip").names == ["films/a.png"]
