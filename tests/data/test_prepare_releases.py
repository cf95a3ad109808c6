"""CheXpert Plus, PadChest and trees of DICOM files, in their original forms, to manifests."""

import json

import numpy as np
import pandas as pd
import pydicom
import pytest
from helpers import write_film
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from diff3m.cli.main import main
from diff3m.data.manifest import ManifestError, read_manifest
from diff3m.data.phantom import make_person
from diff3m.data.prepare import FilmCheck, dicom_folder, prepare_chexpert_plus, prepare_dicom, prepare_padchest
from diff3m.ehr import paper_schema

SCHEMA = paper_schema()
QUICK = FilmCheck(whole=False)
SALT = "a long secret"


def chexpert_plus(folder, section: str = "report_fixed") -> None:
    """Six rows of the real columns.

    A lateral film, one without labels, an age of 0, BMIs that are none, and a report of many lines.
    """
    head = (
        "path_to_image,path_to_dcm,frontal_lateral,ap_pa,deid_patient_id,patient_report_date_order,report,age,sex,race,"
    )
    head += "ethnicity,interpreter_needed,insurance_type,recent_bmi,deceased,split\n"
    rows = [
        ("train/patient00001/study1/view1_frontal.jpg", "Frontal", "AP", "patient00001", 64, "Male", "White",
        "Medicare", 27.5, "train"),
        ("train/patient00001/study1/view2_lateral.jpg", "Lateral", "", "patient00001", 64, "Male", "White", "Medicare",
        27.5, "train"),
        ("train/patient00002/study1/view1_frontal.jpg", "Frontal", "PA", "patient00002", 0.0, "Female", "Asian",
        "Private", "", "train"),
        ("train/patient00003/study1/view1_frontal.jpg", "Frontal", "PA", "patient00003", 51, "Female", "Unknown", "",
        1834.2, "train"),
        ("train/patient00004/study1/view1_frontal.jpg", "Frontal", "LL", "patient00004", 33, "Unknown", "Black",
        "Medicaid", 31, "train"),
        ("valid/patient64541/study1/view1_frontal.jpg", "Frontal", "AP", "patient64541", 73, "Male", "White",
        "Medicare", 22, "valid"),
    ]  # fmt: skip
    text = head
    for path, side, view, patient, age, sex, race, insurance, bmi, split in rows:
        report = '"Lines,\nof a ""report"""'
        dcm = path.replace(".jpg", ".dcm")
        text += f"{path},{dcm},{side},{view},{patient},1,{report},{age},{sex},{race},Not Hispanic,No,"
        text += f"{insurance},{bmi},No,{split}\n"
        write_film(folder / "PNG" / path.replace(".jpg", ".png"))
    (folder / "df_chexpert_plus_240401.csv").write_text(text)
    findings = {"patient00001": None, "patient00002": 1.0, "patient00003": None, "patient64541": 1.0}
    lines = [
        json.dumps(
            {"path_to_image": row[0], "No Finding": findings[row[3]], "Edema": 1.0 if not findings[row[3]] else None}
        )
        for row in rows
        if row[3] in findings
    ]
    labels = folder / ("CheXpert_Labels" if section == "impression_fixed" else "chexbert_labels")
    labels.mkdir()
    (labels / f"{section}.json").write_text("\n".join(lines) + "\n")


@pytest.mark.parametrize("section", ["report_fixed", "impression_fixed"])
def test_chexpert_plus_with_bmi_and_subgroups(tmp_path, section):
    chexpert_plus(tmp_path, section)
    out = tmp_path / "out" / "plus.csv"
    assert main(["prepare", "chexpert-plus", "--dir", str(tmp_path), "--out", str(out)]) == 0
    table = pd.read_csv(out, dtype=str, keep_default_na=False).set_index("patient")
    assert list(table.columns) == [
        "path",
        "label",
        "split",
        "age",
        "sex",
        "view",
        "bmi",
        "race",
        "ethnicity",
        "insurance",
    ]
    assert table["label"].to_dict() == {
        "patient00001": "abnormal", "patient00002": "normal", "patient00003": "abnormal", "patient00004": "",
        "patient64541": "normal",
    }  # fmt: skip
    assert table["bmi"].to_dict() | {} == {
        "patient00001": "27.5", "patient00002": "", "patient00003": "", "patient00004": "31.0", "patient64541": "22.0",
    }  # fmt: skip
    assert (
        table["race"].tolist() == ["White", "Asian", "Unknown", "Black", "White"]
        and table.loc["patient00001", "insurance"] == "Medicare"
    )
    assert table.loc["patient64541", "split"] == "test" and set(table["split"]) <= {"train", "val", "test"}
    report = json.loads((tmp_path / "out" / "plus-report.json").read_text())
    assert report["drops"] == {"not a frontal film": 1}
    assert report["refusals"]["age that stands for unknown"] == 1
    assert report["refusals"]["bmi outside the plausible range (wrong unit?)"] == 1
    assert report["notes"]["in no line of the labels, so without one"] == 1
    records = {case.path.parts[-3]: case.record for case in read_manifest(out, SCHEMA)}
    assert records["patient00001"]["bmi"] == 27.5 and set(records["patient00001"]) == set(SCHEMA.names), (
        "no race, no insurance"
    )


def test_chexpert_plus_without_labels_or_with_damaged_ones_gets_a_sentence(tmp_path):
    chexpert_plus(tmp_path)
    labels = tmp_path / "chexbert_labels" / "report_fixed.json"
    labels.write_text(labels.read_text() + "[1]\n")
    with pytest.raises(ManifestError, match=r"Line 6 of .*report_fixed\.json is no label of a film"):
        prepare_chexpert_plus(tmp_path, tmp_path / "m.csv", check=QUICK)
    labels.unlink()
    with pytest.raises(ManifestError, match=r"no chexbert_labels/report_fixed\.json in .* Load the labels"):
        prepare_chexpert_plus(tmp_path, tmp_path / "m.csv", check=QUICK)


def test_padchest_with_its_projections_and_labels(tmp_path):
    head = ",ImageID,ImageDir,StudyDate_DICOM,StudyID,PatientID,PatientBirth,PatientSex_DICOM,ViewPosition_DICOM,"
    head += "Projection,MethodLabel,Pediatric,Labels\n"
    rows = [
        ("a.png", "0", 20140915, "p1", "1930.0", "F", "POSTEROANTERIOR", "PA", "\"['normal']\""),
        ("b.png", "0", 20140915, "p1", "1930.0", "F", "LATERAL", "L", "\"['normal']\""),
        ("c.png", "1", 20120101, "p2", "1961", "M", "ANTEROPOSTERIOR", "AP_horizontal", "\"['pneumonia', 'normal']\""),
        ("d.png", "1", 20120101, "p3", "", "M", "", "AP", "\"['unchanged']\""),
        ("e.png", "54.0", 20120101, "p4", "1900", "", "POSTEROANTERIOR", "", "\"['Normal ', 'suboptimal study']\""),
        ("f.png", "0", 20120101, "p5", "1950", "F", "", "COSTAL", "\"['rib fracture']\""),
        ("g.png", "0", 20120101, "p6", "1950", "F", "", "UNK", "\"['exclude']\""),
        ("h.png", "0", 20120101, "p7", "1950", "O", "", "PA", "\"['exclude', 'normal']\""),
    ]  # fmt: skip
    text = head + "".join(
        f"{number},{image},{place},{day},s{number},{patient},{birth},{sex},{position},{projection},Physician,No,{labels}\n"
        for number, (image, place, day, patient, birth, sex, position, projection, labels) in enumerate(rows)
    )
    (tmp_path / "PADCHEST_chest_x_ray_images_labels_160K_01.02.19.csv").write_text(text)
    for image, place, *_ in rows:
        write_film(tmp_path / place.removesuffix(".0") / image)
    report = prepare_padchest(tmp_path, tmp_path / "m.csv", check=QUICK)
    table = pd.read_csv(tmp_path / "m.csv", dtype=str, keep_default_na=False)
    table = table.set_index(table["path"].str.extract(r"([a-z])\.png")[0])
    assert table["label"].to_dict() == {"a": "normal", "c": "abnormal", "d": "", "e": "normal", "h": ""}
    assert table["view"].to_dict() == {"a": "PA", "c": "AP", "d": "AP", "e": "PA", "h": "PA"}
    assert table["age"].to_dict() == {"a": "84.0", "c": "51.0", "d": "", "e": "", "h": "62.0"}, "1900 is a placeholder"
    assert table["sex"].to_dict() == {"a": "F", "c": "M", "d": "M", "e": "", "h": ""}
    assert table.loc["c", "findings"] == "normal|pneumonia" and table.loc["e", "path"] == "54/e.png"
    assert report.drops == {"not a frontal film": 3} and report.refusals == {"sex that stands for unknown": 1}


def dicom(path, pixels=None, **tags) -> None:
    """A DICOM film of a simulated patient with these header values."""
    pixels = (make_person(0).render(96) if pixels is None else pixels) * 4095
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID, dataset.file_meta.MediaStorageSOPInstanceUID = (
        "1.2.840.10008.5.1.4.1.1.1.1",
        "1.2.3",
    )
    dataset.Modality, dataset.PhotometricInterpretation, dataset.SamplesPerPixel = "DX", "MONOCHROME2", 1
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 12, 11, 0
    dataset.Rows, dataset.Columns = pixels.shape
    dataset.PixelData = np.ascontiguousarray(pixels, np.uint16).tobytes()
    for name, value in tags.items():
        setattr(dataset, name, value)
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset.save_as(path, enforce_file_format=True)


def who(number: int, **more) -> dict:
    """Header values that must never leave the tree, and the study's."""
    secrets = dict(PatientName=f"SECRET^{number}", PatientID=f"MRN{number}", InstitutionName="SECRET")
    ids = dict(AccessionNumber=f"ACC{number}", StudyInstanceUID=f"1.2.{number}")
    return dict(StudyDate="20190416", PatientBirthDate="19560415", **secrets, **ids, **more)


@pytest.fixture
def tree(tmp_path):
    """Eight files as an archive exports them: without suffixes, in folders of studies, with junk beside them."""
    folder = tmp_path / "tree"
    dicom(
        folder / "A/1",
        **who(1, PatientAge="063Y", PatientSex="F", ViewPosition="PA", PatientSize="1.70", PatientWeight="72.25"),
    )
    dicom(folder / "A/2", **who(1, PatientSex="F", ViewPosition="LL"))
    dicom(
        folder / "B/3",
        **who(
            2, PatientAge="000Y", PatientSex="M", ViewPosition="ANTERO_POSTERIOR", PatientSize="0", PatientWeight="0"
        ),
    )
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = "R-10214", "SNM3", "postero-anterior"
    dicom(folder / "C/4", **who(3, PatientSex="O", PatientSize="17", PatientWeight="8000", ViewCodeSequence=[code]))
    dicom(folder / "D/5", pixels=np.rot90(make_person(0).render(96)), **who(4, PatientSex="F", ViewPosition="PA"))
    dicom(folder / "E/6", **who(5, PatientSex="F", ViewPosition="PA"))
    dicom(folder / "E/7", **who(5, PatientSex="M", ViewPosition="PA"))
    (folder / "E/notes.txt").write_text("no film")
    (folder / "E/.DS_Store").write_text("junk")
    (folder / "DICOMDIR").write_text("index")
    return folder


def test_a_tree_of_dicom_files(tree, tmp_path, capsys):
    (tmp_path / "labels.csv").write_text("Accession,label\nACC1,normal\nACC2,Opacity\nACC4,normal\n")
    out = tmp_path / "out" / "m.csv"
    command = [
        "prepare",
        "dicom",
        str(tree),
        "--out",
        str(out),
        "--salt",
        SALT,
        "--labels",
        str(tmp_path / "labels.csv"),
    ]
    assert main(command) == 0
    text = capsys.readouterr().out
    assert "8 rows read, 5 kept" in text
    table = pd.read_csv(out, dtype=str, keep_default_na=False).set_index(pd.Index(list("13467")[:5]))
    assert [path[-1] for path in table["path"]] == list("13467")
    assert table["age"].tolist() == ["63.0", "63.0", "63.0", "63.0", "63.0"], "a usable birth date beside 000Y"
    assert table["sex"].tolist() == ["F", "M", "", "", ""], "O is unknown, and so is a patient of two sexes"
    assert table["view"].tolist() == ["PA", "AP", "PA", "PA", "PA"]
    assert table["label"].tolist() == ["normal", "Opacity", "", "", ""]
    record = read_manifest(out, SCHEMA)[0].record
    assert record["height_cm"] == 170 and record["weight_kg"] == 72.2 and record["bmi"] == 25.0
    assert (
        table.loc["3", ["height_cm", "weight_kg"]].tolist()
        == table.loc["4", ["height_cm", "weight_kg"]].tolist()
        == ["", ""]
    )
    report = json.loads((tmp_path / "out" / "m-report.json").read_text())
    assert report["drops"] == {
        "no DICOM file": 1,
        "not a frontal film": 1,
        "The film seems to be turned: a quarter turn to the right would set it upright": 1,
    }
    assert report["refusals"]["patient whose films say two sexes"] == 2
    assert report["notes"]["The header's height is not plausible, and was not used"] == 1
    assert report["notes"]["in no row of the table of labels, so without one"] == 3
    assert table.loc["6", "patient"] == table.loc["7", "patient"] and len(set(table["patient"])) == 4
    everything = out.read_text() + (tmp_path / "out" / "m-report.json").read_text()
    for secret in ("SECRET", "MRN", "ACC", "19560415", "20190416", "1.2.1", SALT):
        assert secret not in everything
    assert not (tmp_path / "out" / "m-headers.jsonl").exists()


def test_ids_depend_on_the_salt_alone(tree, tmp_path):
    def patients(name: str, salt: str) -> list[str]:
        prepare_dicom(tree, tmp_path / name, salt, check=QUICK)
        return pd.read_csv(tmp_path / name, dtype=str)["patient"].tolist()

    assert patients("a.csv", SALT) == patients("b.csv", SALT) != patients("c.csv", "another secret")
    with pytest.raises(ManifestError, match="at least 8 characters"):
        prepare_dicom(tree, tmp_path / "m.csv", "short")


def test_labels_may_name_files_and_may_not_contradict_each_other(tree, tmp_path):
    (tmp_path / "labels.csv").write_text("path;label\nA\\1;normal\nB/3;normal\nB/3;Mass\ntree/C/4;Mass\n")
    report = prepare_dicom(tree, tmp_path / "m.csv", SALT, tmp_path / "labels.csv", check=QUICK)
    labels = pd.read_csv(tmp_path / "m.csv", keep_default_na=False)["label"]
    assert (
        labels.tolist() == ["normal", "Mass", "", "", ""]
        and report.drops["rows of one film that contradict each other"] == 1
    )
    (tmp_path / "labels.csv").write_text("id,label\n1,normal\n")
    with pytest.raises(
        ManifestError, match=r"needs the columns `label` and `accession` or `path`\. Its columns are: id, label"
    ):
        prepare_dicom(tree, tmp_path / "m.csv", SALT, tmp_path / "labels.csv", check=QUICK)


def test_copies_count_once_and_labels_without_a_film_are_said(tree, tmp_path):
    for name, instance in {"A/1": "1.2.3.1", "F/1 copy": "1.2.3.1", "F/8": "1.2.3.8"}.items():
        dicom(tree / name, **who(1, ViewPosition="PA", SOPInstanceUID=instance))
    labels = "Accession Number , Label\n ACC1 ,normal\nACC77,normal\n,Mass\n"
    (tmp_path / "labels.csv").write_text(labels)
    report = prepare_dicom(tree, tmp_path / "m.csv", SALT, tmp_path / "labels.csv", check=QUICK)
    table = pd.read_csv(tmp_path / "m.csv", dtype=str, keep_default_na=False).set_index("path")
    assert report.drops["copy of another file (same SOP instance)"] == 1
    assert (
        "tree/F/1 copy" not in table.index and table.loc[["tree/A/1", "tree/F/8"], "label"].tolist() == ["normal"] * 2
    )
    (unused,) = report.omissions
    assert unused.startswith("row of the table of labels whose film") and report.omissions[unused] == 2
    assert "ACC" not in (tmp_path / "m-report.json").read_text()


def test_a_salt_that_cannot_be_read_gets_a_sentence(tree, tmp_path, capsys):
    command = ["prepare", "dicom", str(tree), "--out", str(tmp_path / "m.csv"), "--salt", f"@{tmp_path / 'absent.txt'}"]
    assert main(command) == 1
    assert "The salt cannot be read from" in capsys.readouterr().err
    (tmp_path / "empty.txt").write_text("")
    assert main([*command[:-1], f"@{tmp_path / 'empty.txt'}"]) == 1
    assert "at least 8 characters" in capsys.readouterr().err


def test_a_run_that_was_stopped_goes_on(tree, tmp_path, monkeypatch):
    prepare_dicom(tree, tmp_path / "whole.csv", SALT, check=QUICK)
    monkeypatch.setattr(dicom_folder, "BATCH", 3)

    def stop(done: int, total: int) -> None:
        if done >= 6:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare_dicom(tree, tmp_path / "m.csv", SALT, check=FilmCheck(whole=False, progress=stop))
    journal = tmp_path / "m-headers.jsonl"
    journal.write_text(journal.read_text() + '{"path": "cut o')
    assert "MRN" not in journal.read_text() and SALT not in journal.read_text()
    read_header = dicom_folder.read_header
    names = []
    monkeypatch.setattr(
        dicom_folder,
        "read_header",
        lambda folder, name, **more: names.append(name) or read_header(folder, name, **more),
    )
    prepare_dicom(tree, tmp_path / "m.csv", SALT, check=QUICK)
    assert len(names) == 2 and (tmp_path / "m.csv").read_text() == (tmp_path / "whole.csv").read_text()


def test_a_header_of_a_damaged_file_is_counted(tree, tmp_path):
    data = (tree / "A/1").read_bytes()
    (tree / "A/1").write_bytes(data[:140] + b"\xff" * 60)
    report = prepare_dicom(tree, tmp_path / "m.csv", SALT)
    assert report.output_rows == 4 and any("header" in reason or "no film" in reason for reason in report.drops)
    assert pydicom.dcmread(tree / "B/3").PatientID == "MRN2", "the tree itself is not touched"
