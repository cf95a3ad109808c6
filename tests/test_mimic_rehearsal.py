"""docs/train.md's walk on MIMIC, line by line as documented, on made-up files in PhysioNet's layout."""

from __future__ import annotations

import json
import re
import shlex
import shutil

import cv2
import numpy as np
import pandas as pd
import pytest
import yaml
from gradio_client import Client, handle_file
from helpers import ROOT, TRAINING_NETWORK, serving, write_gzip

from diff3m.cli.main import main
from diff3m.data.phantom import make_person
from diff3m.detector import Detector

FIRST_PHANTOM = 2_090_000
FINDINGS = (
    "Atelectasis", "Cardiomegaly", "Consolidation", "Edema", "Enlarged Cardiomediastinum", "Fracture", "Lung Lesion",
    "Lung Opacity", "No Finding", "Pleural Effusion", "Pleural Other", "Pneumonia", "Pneumothorax", "Support Devices",
)  # fmt: skip
SPLITS = ("train",) * 24 + ("validate",) * 10 + ("test",) * 16
LAUNCH = "accelerate launch -m diff3m.cli"


def documented() -> list[str]:
    """The commands of the walk, as docs/train.md gives them."""
    text = (ROOT / "docs" / "train.md").read_text().partition("## All steps on MIMIC")[2]
    return re.search(r"```\n(.*?)```", text, re.S)[1].splitlines()


@pytest.fixture
def physionet(tmp_path):
    """Folders mimic-cxr-jpg and mimiciv with the tables and films of fifty patients.

    Every third is abnormal, but for those of training and validation that are needed as normals; all have a pressure,
    height and weight near the day of the film, half a BMI of its own, and a lateral film beside the frontal one.
    """
    cxr, hosp = tmp_path / "mimic-cxr-jpg", tmp_path / "mimiciv" / "hosp"
    metadata, splits, labels, people, omr, admissions = [], [], [], [], [], []
    for number, split in enumerate(SPLITS):
        subject, study, day = 10_000_032 + 7 * number, 50_000_000 + 31 * number, f"2180-05-{1 + number % 28:02d}"
        subject_folder = cxr / "files" / f"p{str(subject)[:2]}" / f"p{subject}" / f"s{study}"
        subject_folder.mkdir(parents=True)
        view = ("PA", "AP")[number % 2]
        for name, position in (
            (f"{number:08x}-1d5c2d4a-f0a3b1c2", view),
            (f"{number:08x}-2aa10bc5-9e0f7d11", "LATERAL"),
        ):
            film = (make_person(FIRST_PHANTOM + number).render(96) * 255).astype(np.uint8)
            cv2.imwrite(str(subject_folder / f"{name}.jpg"), film, [cv2.IMWRITE_JPEG_QUALITY, 95])
            metadata.append(
                (name, subject, study, f"CHEST ({position})", position, 96, 96, day.replace("-", ""), "142030.5",
                 "CHEST (PA AND LAT)", "postero-anterior" if position == "PA" else "antero-posterior", "Erect")
            )  # fmt: skip
            splits.append((name, study, subject, split))
        normal = number % 3 != 2
        values = dict.fromkeys(FINDINGS, "") | {"No Finding" if normal else "Lung Opacity": "1.0"}
        labels.append((subject, study, *values.values()))
        people.append((subject, "FM"[number // 2 % 2], 30 + number, 2180, "2011 - 2013", ""))
        patient = make_person(FIRST_PHANTOM + number).patient.to_record()
        omr.append((subject, day, 1, "Blood Pressure", f"{110 + number}/{70 + number // 3}"))
        omr.append((subject, day, 1, "Height (Inches)", round(patient["height_cm"] / 2.54, 1)))
        omr.append((subject, day, 1, "Weight (Lbs)", round(patient["weight_kg"] / 0.45359237, 1)))
        if number % 2:
            omr.append(
                (subject, day, 1, "BMI (kg/m2)", round(patient["weight_kg"] / (patient["height_cm"] / 100) ** 2, 1))
            )
        admissions.append((subject, 20_000_000 + number, f"{day} 08:00:00", f"{day} 20:00:00", "", "EW EMER.", "", ""))
    tables = {
        cxr / "mimic-cxr-2.0.0-metadata.csv.gz": (
            "dicom_id,subject_id,study_id,PerformedProcedureStepDescription,ViewPosition,Rows,Columns,StudyDate,StudyTime,"
            "ProcedureCodeSequence_CodeMeaning,ViewCodeSequence_CodeMeaning,PatientOrientationCodeSequence_CodeMeaning",
            metadata,
        ),
        cxr / "mimic-cxr-2.0.0-split.csv.gz": ("dicom_id,study_id,subject_id,split", splits),
        cxr / "mimic-cxr-2.0.0-chexpert.csv.gz": (f"subject_id,study_id,{','.join(FINDINGS)}", labels),
        hosp / "patients.csv.gz": ("subject_id,gender,anchor_age,anchor_year,anchor_year_group,dod", people),
        hosp / "omr.csv.gz": ("subject_id,chartdate,seq_num,result_name,result_value", omr),
        hosp / "admissions.csv.gz": (
            "subject_id,hadm_id,admittime,dischtime,deathtime,admission_type,admit_provider_id,admission_location",
            admissions,
        ),
    }  # fmt: skip
    for path, (head, rows) in tables.items():
        write_gzip(path, "\n".join([head, *(",".join(map(str, row)) for row in rows)]) + "\n")
    return tmp_path


def with_a_tiny_network(folder) -> None:
    """Write the documented configuration with a tiny network in place of the published one, and four steps."""
    config = yaml.safe_load((ROOT / "configs" / "mimic-paper.yaml").read_text())
    del config["preset"]
    config |= {"network": TRAINING_NETWORK, "steps": 4, "batch_size": 4, "warmup_steps": 2, "precision": "no"}
    (folder / "configs").mkdir()
    (folder / "configs" / "mimic-paper.yaml").write_text(yaml.safe_dump(config))


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_documented_walk_on_mimic_ends_at_a_page_that_scores_a_film(physionet, monkeypatch, capsys):
    *commands, page = documented()
    assert len(commands) == 5 and page.startswith("DIFF3M_CHECKPOINT=")
    with_a_tiny_network(physionet)
    monkeypatch.chdir(physionet)
    for command in commands:
        line = command.replace(LAUNCH, "diff3m")  # one process here; several are tested with small manifests
        program, *arguments = shlex.split(line)
        assert program == "diff3m"
        status = main(arguments)
        output = capsys.readouterr()
        assert status == 0, f"{command}: {output.err}"
    table = pd.read_csv("data/mimic.csv")
    assert len(table) == 50 and table["split"].value_counts().to_dict() == {"train": 24, "test": 16, "val": 10}
    assert table[["age", "sex", "view", "systolic_mmhg", "height_cm", "weight_kg"]].notna().all().all()
    assert table["bmi"].notna().sum() == 25, "the others follow from height and weight"
    checkpoint = physionet / "runs" / "mimic-paper" / "checkpoint"
    detector = Detector.from_pretrained(checkpoint, device="cpu")
    assert all(feature.trained for feature in detector.schema.features), "the record of MIMIC is whole"
    assert dict(detector.scoring.calibration)["any"].count == 7 and detector.config.fit and detector.config.prior_fit
    metrics = json.loads((physionet / "runs" / "mimic-paper" / "test" / "metrics.json").read_text())
    assert (metrics["films"], metrics["stopped"], metrics["unreadable"]) == (16, 0, 0)
    assert sum(group["films"] for group in metrics["subgroups"]["bmi"].values()) == 16
    assert "unknown" not in metrics["subgroups"]["bmi"]
    assert "## Groups of patients" in (checkpoint / "README.md").read_text()

    name, _, folder = page.split()[0].partition("=")
    film = next((physionet / "mimic-cxr-jpg" / "files").rglob("*.jpg"))
    with serving(physionet / "log", **{name: str(physionet / folder)}) as address:
        client = Client(address, verbose=False)
        models = client.predict(api_name="/describe_models")
        assert list(models) == ["mimic-paper"]
        record = {"age": 50, "sex": "F", "view": "PA", "bmi": 31}
        numbers, _ = client.predict(handle_file(str(film)), record, api_name="/analyze_film")
        assert numbers["record"]["bmi"] == 31 and numbers["score"] is not None
    shutil.rmtree(physionet / "runs")


def test_the_documented_walk_names_files_that_the_commands_before_write():
    commands = documented()
    config = yaml.safe_load((ROOT / "configs" / "mimic-paper.yaml").read_text())
    assert "--out data/mimic.csv" in commands[0] and "configs/mimic-paper.yaml" in commands[1]
    assert (config["manifest"], config["validation"]) == ("data/mimic-train.csv", "data/mimic-val.csv")
    assert all(f"{config['out']}/checkpoint" in command for command in commands[2:])
