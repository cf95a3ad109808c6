"""A manifest from CheXpert Plus, as released; of the record it has age, sex, view and the recent BMI.

Race, ethnicity and insurance are columns of the manifest for reports on subgroups alone: no schema has them, so no
model sees them. Chambon et al., "CheXpert Plus", arXiv:2405.19538, 2024.
"""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd

from ...ehr import paper_schema
from ..manifest import ManifestError, normalize_patient
from .chexpert import NO_PATIENT, remove_release_folder
from .films import FilmCheck, select_usable_films
from .report import NOT_FRONTAL, Report, keep_rows
from .splits import drop_shared_patients, hold_out_validation
from .tables import (
    assign_labels,
    drop_duplicate_films,
    list_table_paths,
    open_table,
    refuse_overwriting,
    write_manifests,
)

TABLE = "df_chexpert_plus_240401.csv"
SOURCE_COLUMNS = ("path_to_image", "frontal_lateral", "ap_pa", "deid_patient_id", "age", "sex", "recent_bmi", "split")
SUBGROUPS = {"race": "race", "ethnicity": "ethnicity", "insurance": "insurance_type"}  # by column of the manifest
COLUMNS = ["path", "label", "split", "patient", "age", "sex", "view", "bmi", *SUBGROUPS]
# labels of whole reports; in the files of single sections, a report without that section has "No Finding"
LABELS = ("report_fixed.json", "impression_fixed.json")
LABEL_FOLDERS = ("chexbert_labels", "CheXpert_Labels", "")  # of the archive, and of the release at Redivis
IMAGE_FOLDERS = ("", "PNG", "PNG/PNG")
SPLITS = {"train": "train", "valid": "test"}


def prepare_chexpert_plus(folder: Path, out: Path, seed: int = 0, check: FilmCheck | None = None) -> Report:
    """Write a manifest of the frontal films of CheXpert Plus.

    Normal films are those whose report has "No Finding" in chexbert_labels/report_fixed.json (whose impression has it,
    where only impression_fixed.json is there). A film that the labels do not name has an empty label. The release's
    "valid" becomes "test", and a tenth of the training patients becomes "val".

    folder: of the release, with df_chexpert_plus_240401.csv, PNG/ and chexbert_labels/. out: path of the manifest.
    seed: of the choice of that tenth. check: see `FilmCheck`. Raises ManifestError.
    """
    labels_path = _find_labels(folder)
    refuse_overwriting(out, [*list_table_paths(folder, TABLE), labels_path])
    columns = open_table(folder, TABLE).columns
    subgroups = {name: source for name, source in SUBGROUPS.items() if source in columns}
    columns = [*SOURCE_COLUMNS, *subgroups.values()]
    rows = open_table(folder, TABLE, columns=columns)
    report = Report(input_rows=len(rows))
    rows = drop_duplicate_films(rows, "path_to_image", report, columns).rename(columns={"path_to_image": "path"})
    rows = keep_rows(rows, rows["frontal_lateral"].str.casefold() == "frontal", report, NOT_FRONTAL)
    rows = rows.assign(path=remove_release_folder(rows["path"]))
    patient = rows["deid_patient_id"].map(normalize_patient)
    rows = rows.assign(patient=patient.where(patient != "", rows["path"].str.extract(r"(patient\d+)")[0].fillna("")))
    rows = keep_rows(rows, rows["patient"] != "", report, NO_PATIENT)
    split = rows["split"].str.casefold().map(SPLITS)
    rows = keep_rows(rows.assign(split=split), split.notna(), report, "in no split")
    labels = _read_labels(labels_path)
    key = rows["path"].map(_remove_suffix)
    report.note("in no line of the labels, so without one", rows.loc[~key.isin(labels.index), "path"])
    rows = rows.assign(
        label=assign_labels(key.map(labels).eq(True), key.isin(labels.index)),
        view=rows["ap_pa"],
        bmi=rows["recent_bmi"],
        **{name: rows[subgroups[name]] if name in subgroups else "" for name in SUBGROUPS},
    )
    rows = rows.assign(path=_find_images(rows["path"], folder))
    rows = hold_out_validation(drop_shared_patients(rows, report), seed)
    rows = select_usable_films(rows, folder, report, check)
    write_manifests(rows[COLUMNS], folder, out, paper_schema(), report)
    return report


def _find_labels(folder: Path) -> Path:
    """Return the first file of labels that the folder has. Raises ManifestError where it has none."""
    candidates = [folder / subfolder / name for name in LABELS for subfolder in LABEL_FOLDERS]
    path = next((path for path in candidates if path.is_file()), None)
    if path is None:
        raise ManifestError(
            f"There is no {LABEL_FOLDERS[0]}/{LABELS[0]} in {folder}. Load the labels of CheXpert Plus and unpack them "
            "there."
        )
    return path


def _read_labels(path: Path) -> pd.Series:
    """Read whether each film's report has "No Finding", indexed by `_remove_suffix`, from JSON lines.

    Raises ManifestError.
    """
    labels: dict[str, bool] = {}
    number = 0
    try:
        with path.open(encoding="utf-8") as lines:
            for line in lines:
                number += 1
                if line.strip():
                    entry = json.loads(line)
                    labels[_remove_suffix(entry["path_to_image"])] = entry.get("No Finding") == 1
    except (ValueError, KeyError, TypeError, AttributeError):
        raise ManifestError(
            f"Line {number} of {path} is no label of a film. Load it again from where it came."
        ) from None
    return pd.Series(labels, dtype=object)


def _remove_suffix(path: str) -> str:
    """Return a film's path without its suffix, which is .jpg in the table and .png in the folder."""
    return path.replace("\\", "/").rpartition(".")[0].lstrip("./")


def _find_images(paths: pd.Series, folder: Path) -> pd.Series:
    """Return the paths of films relative to the folder, with the subfolder and suffix of the first file that exists."""
    for name in paths:
        for subfolder in IMAGE_FOLDERS:
            for suffix in (".png", ".jpg"):
                if (folder / subfolder / f"{_remove_suffix(name)}{suffix}").is_file():
                    prefix = f"{subfolder}/" if subfolder else ""
                    return paths.map(
                        lambda path, prefix=prefix, suffix=suffix: f"{prefix}{_remove_suffix(path)}{suffix}"
                    )
    return paths
