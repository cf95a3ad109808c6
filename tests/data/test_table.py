"""Tables as spreadsheets of the world write them: one reader, the same values; other files are refused by name."""

import gzip

import pandas as pd
import pytest

from diff3m.data.manifest import ManifestError, read_manifest
from diff3m.data.table import read_table, stream_table
from diff3m.ehr import paper_schema

SCHEMA = paper_schema()
TEXT = "path,age,sex,view,label\nBär.png,63,F,PA,normal\nb.png,64,M,AP,opacity\n"
ROWS = [["Bär.png", "63", "F", "PA", "normal"], ["b.png", "64", "M", "AP", "opacity"]]


@pytest.mark.parametrize(
    "data",
    [
        TEXT.encode(), TEXT.encode("utf-8-sig"), TEXT.encode("utf-16"), TEXT.encode("utf-16-le"),
        TEXT.encode("utf-16-be"),
        b"\xfe\xff" + TEXT.encode("utf-16-be"), TEXT.encode("utf-32"), TEXT.encode("cp1252"),
        gzip.compress(TEXT.encode(), mtime=0),
        TEXT.replace(",", ";").encode("utf-8-sig"), TEXT.replace(",", "\t").encode("utf-16"),
        TEXT.replace(",", "|").encode(),
        ("sep=;\n" + TEXT.replace(",", ";")).encode("cp1252"), ('"sep=,"\r\n' + TEXT).encode(),
        ("sep=\t\n" + TEXT.replace(",", "\t")).encode(),
        TEXT.replace("\n", "\r\n").encode(), TEXT.replace("\n", "\r").encode(),
        ("\n\n" + TEXT.replace("\n", "\n\n")).encode(),
        TEXT.replace("\n", ",\n").encode(), TEXT.replace("\n", ",,\n").encode(), (TEXT + ",,,,\n" * 3).encode(),
        TEXT.replace("path,age", '"path", "age"').encode("utf-8-sig"),
        TEXT.replace("63", '="63"').replace("64", "64\u00a0").encode(),
        "".join(f'"{line}"\n' for line in TEXT.splitlines()).encode(),
    ],
)  # fmt: skip
def test_a_table_is_the_same_however_it_is_written(tmp_path, data):
    (tmp_path / "t.csv").write_bytes(data)
    table = read_table(tmp_path / "t.csv")
    assert list(table.columns) == ["path", "age", "sex", "view", "label"] and table.to_numpy().tolist() == ROWS
    cases = read_manifest(tmp_path / "t.csv", SCHEMA)
    assert [case.record["age"] for case in cases] == [63, 64] and [case.row for case in cases] == [1, 2]
    assert [case.abnormal for case in cases] == [False, True]


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("path;bmi\na.png;27,5\nb.png;31\n", [27.5, 31]),
        ("path;bmi\na.png;27,512\nb.png;31,25\n", [27.512, 31.25]),
        ("sep=;\npath;bmi\na.png;27,5\n", [27.5]),
        ('path,bmi\na.png,"27,5"\nb.png,31\n', [27.5, 31]),
        ("path\tbmi\na.png\t27,5\n", [27.5]),
        ("path|bmi\na.png|27,5\n", [27.5]),
        ('path,bmi\na.png,"27,5"\nb.png,31.5\n', [27.5, 31.5]),
    ],
)
def test_decimal_commas_are_read(tmp_path, text, values):
    (tmp_path / "t.csv").write_text(text)
    assert [case.record["bmi"] for case in read_manifest(tmp_path / "t.csv", SCHEMA)] == values


def test_a_thousand_is_not_taken_for_one(tmp_path):
    (tmp_path / "t.csv").write_text('path,weight_kg\na.png,"1,000"\n')
    with pytest.raises(ManifestError, match=r"Row 1: Weight: '1,000' is not a number\. Give it in kg"):
        read_manifest(tmp_path / "t.csv", SCHEMA)


@pytest.mark.parametrize("encoding", ["mac_roman", "cp437", "cp850", "cp1251", "cp1253"])
@pytest.mark.parametrize("word", ["Bär", "König", "José", "España", "patient’s", "TÓRAX", "Торакс", "Θώραξ"])
def test_other_encodings_are_never_read_as_other_letters(tmp_path, encoding, word):
    try:
        data = f"path,label\n{word}.png,normal\n".encode(encoding)
    except UnicodeEncodeError:
        pytest.skip("no such letters")
    (tmp_path / "t.csv").write_bytes(data)
    try:
        assert read_table(tmp_path / "t.csv")["path"][0] == f"{word}.png"
    except ManifestError as error:
        assert "Save it as “CSV UTF-8”" in str(error)


@pytest.mark.parametrize(
    "word", ["Bär", "Müller", "José", "España", "patient’s", "TÓRAX", "Élan", "37 °C", "cœur décédé", "a – b"]
)
def test_western_words_in_windows_1252_are_read(tmp_path, word):
    (tmp_path / "t.csv").write_bytes(f"path,label\n{word},é\n".encode("cp1252"))
    assert read_table(tmp_path / "t.csv")["path"][0] == word


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"PK\x03\x04" + bytes(40), "is a workbook or archive, no CSV.*Save it as"),
        (b"\xd0\xcf\x11\xe0" + bytes(40), "is a workbook"),
        (bytes(range(256)), "is no text"),
        (b" \n\n", "is empty"),
        (b"path,age\na.png,70,5\n",
        r"Row 1 of t\.csv has more fields than the header\. Put quotes around values that hold a comma"),
        (b"path;age\na.png;70\nb.png;7;5;5;5;5\n",
        r"has more fields than the header\. Put quotes around values that hold a semicolon"),
        (b"path,age\n" + b"a.png,7\n" * 80 + b"b.png,1,2,3,4,5\n", r"Line 82 of the table t\.csv has more fields"),
        (gzip.compress(TEXT.encode(), mtime=0)[:40], "cannot be read"),
    ],
)  # fmt: skip
def test_what_is_no_table_gets_a_sentence(tmp_path, data, sentence):
    (tmp_path / "t.csv").write_bytes(data)
    with pytest.raises(ManifestError, match=sentence):
        read_table(tmp_path / "t.csv")


def test_columns_are_chosen_and_missing_ones_named(tmp_path):
    (tmp_path / "t.csv").write_text(TEXT)
    assert read_table(tmp_path / "t.csv", ["view", "path"]).to_numpy().tolist() == [["PA", "Bär.png"], ["AP", "b.png"]]
    with pytest.raises(ManifestError, match=r"has no column bmi\. Its columns are: path, age"):
        read_table(tmp_path / "t.csv", ["bmi"])


def test_header_names_may_hold_line_breaks_and_may_not_repeat(tmp_path):
    (tmp_path / "t.csv").write_text('path,"age\n(years)"\na.png,63\n')
    assert read_table(tmp_path / "t.csv").to_numpy().tolist() == [["a.png", "63"]]
    (tmp_path / "t.csv").write_text("path,age,age\na.png,63,64\n")
    with pytest.raises(ManifestError, match="two columns of the same name"):
        read_manifest(tmp_path / "t.csv", SCHEMA)


@pytest.mark.parametrize("rows", [1, 2, 3, 100])
@pytest.mark.parametrize(
    "text",
    [
        "path;bmi;age;w\na.png;27,5;063;1.234,5\n\nb.png;31;;7\nc.png;1,0;4;x\n",
        'path,age\n"a,b.png",="063"\n,\nc.png,4\n',
        'path,n\na,"1,000"\nb,"2,5"\n',
        'path,n\na,"1,000"\nb,"2,500"\n',
        "path,age\n",
    ],
)
def test_a_table_that_is_read_in_parts_is_the_same_as_a_whole(tmp_path, text, rows):
    for encoding in ("utf-8", "utf-16"):
        (tmp_path / "t.csv").write_text(text, encoding=encoding)
        chunks = list(stream_table(tmp_path / "t.csv", rows))
        assert all(len(chunk) <= rows for chunk in chunks)
        pd.testing.assert_frame_equal(pd.concat(chunks), read_table(tmp_path / "t.csv"), check_index_type=False)
    whole = read_table(tmp_path / "t.csv")
    whole.to_parquet(tmp_path / "t.parquet")
    chunks = pd.concat(list(stream_table(tmp_path / "t.parquet", rows)))
    pd.testing.assert_frame_equal(chunks.reset_index(drop=True), whole.reset_index(drop=True))
