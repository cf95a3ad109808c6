"""A manifest from PadChest, as released; of the record it has age (from the year of birth), sex and view.

Bustos et al., "PadChest: a large chest x-ray image dataset with multi-label annotated reports", Medical Image Analysis,
2020.
"""

from __future__ import annotations

import ast
from pathlib import Path

import pandas as pd

from ...ehr import EHRError, paper_schema
from ...ehr.facts import FRONTAL_VIEWS, read_view
from ..manifest import normalize_patient
from .films import FilmCheck, select_usable_films
from .report import NOT_FRONTAL, Report, keep_rows
from .splits import UNCHECKED, assign_splits
from .tables import (
    assign_labels,
    drop_duplicate_films,
    list_table_paths,
    open_table,
    refuse_overwriting,
    write_manifests,
)

TABLES = (
    "PADCHEST_chest_x_ray_images_labels_160K_01.02.19.csv",
    "PADCHEST_chest_x_ray_images_labels_160K.csv",
)
SOURCE_COLUMNS = [
    "ImageID", "ImageDir", "StudyDate_DICOM", "StudyID", "PatientID", "PatientBirth", "PatientSex_DICOM",
    "ViewPosition_DICOM", "Projection", "Labels",
]  # fmt: skip
COLUMNS = ["path", "label", "split", "patient", "study", "age", "sex", "view", "findings"]
PLACEHOLDER_YEAR = 1900
NORMAL_LABELS = frozenset({"normal"})
UNUSABLE_LABELS = frozenset({"exclude", "suboptimal study", "unchanged"})  # do not say what the film shows


def prepare_padchest(folder: Path, out: Path, seed: int = 0, check: FilmCheck | None = None) -> Report:
    """Write a manifest of the frontal films of PadChest; normal films are those whose only label is "normal".

    The age is the year of the study minus that of birth, so it may be a year too high. The view is `Projection`, which
    readers gave, or else the header's `ViewPosition_DICOM`. Films whose labels do not say what they show ("unchanged",
    "exclude", "suboptimal study") have an empty label.

    folder: of the release; images are in it, in images/, or in the subfolder that `ImageDir` names. out: path of the
    manifest. seed: of the split of patients into train, val and test, 80, 10 and 10 %. check: see `FilmCheck`.
    Raises ManifestError.
    """
    refuse_overwriting(out, list_table_paths(folder, *TABLES))
    rows = open_table(folder, *TABLES, columns=SOURCE_COLUMNS)
    report = Report(input_rows=len(rows))
    rows = drop_duplicate_films(rows, "ImageID", report)
    rows = keep_rows(rows, rows["ImageID"] != "", report, "no path", "StudyID")
    views = [_read_view(*cells) for cells in zip(rows["Projection"], rows["ViewPosition_DICOM"], strict=True)]
    rows = keep_rows(rows.assign(view=views), pd.Series(views).isin(FRONTAL_VIEWS), report, NOT_FRONTAL, "ImageID")
    findings = rows["Labels"].map(_parse_labels)
    years = rows[["StudyDate_DICOM", "PatientBirth"]].apply(_parse_years)
    study_year, birth_year = years["StudyDate_DICOM"], years["PatientBirth"].replace(PLACEHOLDER_YEAR, float("nan"))
    rows = rows.assign(
        path=[_find_image(folder, *cells) for cells in zip(rows["ImageID"], rows["ImageDir"], strict=True)],
        label=assign_labels(findings.map(lambda names: names <= NORMAL_LABELS), findings.map(bool)),
        findings=findings.map(lambda names: "|".join(sorted(names))),
        patient=rows["PatientID"].map(normalize_patient),
        study=rows["StudyID"],
        age=(study_year - birth_year).where(study_year > birth_year),
        sex=rows["PatientSex_DICOM"],
    )
    rows = assign_splits(rows, seed=seed)
    report.note(UNCHECKED, rows.loc[rows["patient"] == "", "path"])
    rows = select_usable_films(rows, folder, report, check)
    write_manifests(rows[COLUMNS], folder, out, paper_schema(), report)
    return report


def _parse_years(dates: pd.Series) -> pd.Series:
    """Return the years of dates that begin with four digits, NaN for other text."""
    return pd.to_numeric(dates.str.slice(0, 4), errors="coerce").astype("float64")


def _read_view(projection: str, position: str) -> str | None:
    """Return "PA", "AP", another view, or None. In `Projection`, L is a lateral film and COSTAL one of the ribs."""
    if projection:
        try:
            return read_view({"L": "lateral", "COSTAL": "oblique"}.get(projection.upper(), projection))
        except EHRError:
            return None
    try:
        return read_view(position)
    except EHRError:
        return None


def _parse_labels(text: str) -> frozenset[str]:
    """Return the findings of a film's list of labels; empty where it does not say what the film shows."""
    try:
        names = frozenset(str(name).strip().casefold() for name in ast.literal_eval(text))
    except (ValueError, SyntaxError, TypeError):
        return frozenset()
    return frozenset() if names & {"exclude"} else names - UNUSABLE_LABELS - {""}


def _find_image(folder: Path, image: str, number: str) -> str:
    """Return an image's path relative to the folder: in the subfolder `number`, in images/, or in the folder itself."""
    directory = normalize_patient(number)
    candidates = (f"{directory}/{image}", f"images/{image}", f"images/{directory}/{image}")
    return next((path for path in candidates if directory and (folder / path).is_file()), image)
