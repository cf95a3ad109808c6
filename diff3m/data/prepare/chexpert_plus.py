"""CheXpert Plus, as released, to one manifest: age, sex, view and the recent BMI of real films.

Race, ethnicity and insurance stay in the manifest, for reports on subgroups alone: no schema has them, so that no model
sees them. Chambon et al., "CheXpert Plus", arXiv:2405.19538, 2024.
"""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd

from ...ehr import paper_schema
from ..manifest import ManifestError, patient_key
from .chexpert import NO_PATIENT, without_release_folder
from .films import FilmCheck, usable_films
from .report import NOT_FRONTAL, Report, keep
from .splits import disjoint, hold_out_validation
from .tables import label_of, open_table, places, refuse_overwriting, without_duplicates, write_manifests

TABLE = "df_chexpert_plus_240401.csv"
SOURCE_COLUMNS = ("path_to_image", "frontal_lateral", "ap_pa", "deid_patient_id", "age", "sex", "recent_bmi", "split")
SUBGROUPS = {"race": "race", "ethnicity": "ethnicity", "insurance": "insurance_type"}  # by column of the manifest
COLUMNS = ["path", "label", "split", "patient", "age", "sex", "view", "bmi", *SUBGROUPS]
# labels of whole reports: in those of single sections, a section that a report lacks counts as "No Finding"
LABELS = ("report_fixed.json", "impression_fixed.json")
LABEL_FOLDERS = ("chexbert_labels", "CheXpert_Labels", "")  # of the archive, and of the release at Redivis
IMAGE_FOLDERS = ("", "PNG", "PNG/PNG")
SPLITS = {"train": "train", "valid": "test"}


def prepare_chexpert_plus(folder: Path, out: Path, seed: int = 0, check: FilmCheck | None = None) -> Report:
    """Write a manifest from CheXpert Plus: df_chexpert_plus_240401.csv, PNG/ and chexbert_labels/report_fixed.json.

    Frontal films only; normal = "No Finding" of the whole report (of its impression where only impression_fixed.json is
    there); a film that the labels do not name has none. The release's valid becomes "test"; a tenth of the training
    patients becomes "val". seed: of that tenth. check: see `usable_films`. Raises ManifestError.
    """
    labels_path = _labels_path(folder)
    refuse_overwriting(out, [*places(folder, TABLE), labels_path])
    columns = open_table(folder, TABLE).columns
    subgroups = {name: source for name, source in SUBGROUPS.items() if source in columns}
    columns = [*SOURCE_COLUMNS, *subgroups.values()]
    rows = open_table(folder, TABLE, columns=columns)
    report = Report(input_rows=len(rows))
    rows = without_duplicates(rows, "path_to_image", report, columns).rename(columns={"path_to_image": "path"})
    rows = keep(rows, rows["frontal_lateral"].str.casefold() == "frontal", report, NOT_FRONTAL)
    rows = rows.assign(path=without_release_folder(rows["path"]))
    patient = rows["deid_patient_id"].map(patient_key)
    rows = rows.assign(patient=patient.where(patient != "", rows["path"].str.extract(r"(patient\d+)")[0].fillna("")))
    rows = keep(rows, rows["patient"] != "", report, NO_PATIENT)
    split = rows["split"].str.casefold().map(SPLITS)
    rows = keep(rows.assign(split=split), split.notna(), report, "in no split")
    labels = _read_labels(labels_path)
    key = rows["path"].map(_film_key)
    report.note("in no line of the labels, so without one", rows.loc[~key.isin(labels.index), "path"])
    rows = rows.assign(
        label=label_of(key.map(labels).eq(True), key.isin(labels.index)),
        view=rows["ap_pa"],
        bmi=rows["recent_bmi"],
        **{name: rows[subgroups[name]] if name in subgroups else "" for name in SUBGROUPS},
    )
    rows = rows.assign(path=_image_paths(rows["path"], folder))
    rows = hold_out_validation(disjoint(rows, report), seed)
    rows = usable_films(rows, folder, report, check)
    write_manifests(rows[COLUMNS], folder, out, paper_schema(), report)
    return report


def _labels_path(folder: Path) -> Path:
    candidates = [folder / place / name for name in LABELS for place in LABEL_FOLDERS]
    path = next((path for path in candidates if path.is_file()), None)
    if path is None:
        raise ManifestError(
            f"There is no {LABEL_FOLDERS[0]}/{LABELS[0]} in {folder}. Load the labels of CheXpert Plus and unpack them "
            "there."
        )
    return path


def _read_labels(path: Path) -> pd.Series:
    """Return whether a film's report has "No Finding", by film; JSON lines. Raises ManifestError."""
    labels: dict[str, bool] = {}
    number = 0
    try:
        with path.open(encoding="utf-8") as lines:
            for line in lines:
                number += 1
                if line.strip():
                    entry = json.loads(line)
                    labels[_film_key(entry["path_to_image"])] = entry.get("No Finding") == 1
    except (ValueError, KeyError, TypeError, AttributeError):
        raise ManifestError(
            f"Line {number} of {path} is no label of a film. Load it again from where it came."
        ) from None
    return pd.Series(labels, dtype=object)


def _film_key(path: str) -> str:
    """Return a film's path without its suffix: the table says .jpg, and the files are .png."""
    return path.replace("\\", "/").rpartition(".")[0].lstrip("./")


def _image_paths(paths: pd.Series, folder: Path) -> pd.Series:
    """Return the paths as the files have them.

    They are below PNG/ and end in .png, whichever the folder shows for the first film that is there.
    """
    for name in paths:
        for place in IMAGE_FOLDERS:
            for suffix in (".png", ".jpg"):
                if (folder / place / f"{_film_key(name)}{suffix}").is_file():
                    prefix = f"{place}/" if place else ""
                    return paths.map(lambda path, prefix=prefix, suffix=suffix: f"{prefix}{_film_key(path)}{suffix}")
    return paths
