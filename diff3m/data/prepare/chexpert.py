"""A manifest from CheXpert or CheXpert-small, as released; of the record they have age, sex and view.

Irvin et al., "CheXpert: A Large Chest Radiograph Dataset with Uncertainty Labels and Expert Comparison", AAAI 2019.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from ...ehr import paper_schema
from .films import FilmCheck, select_usable_films
from .plausibility import parse_numbers
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

COLUMNS = ["path", "label", "split", "patient", "age", "sex", "view"]
SOURCE_COLUMNS = ["Path", "Sex", "Age", "Frontal/Lateral", "AP/PA", "No Finding"]
TABLES = {"train.csv": "train", "valid.csv": "test"}
NO_PATIENT = "no patient in the path"


def prepare_chexpert(folder: Path, out: Path, seed: int = 0, check: FilmCheck | None = None) -> Report:
    """Write a manifest of the frontal films of CheXpert; normal films are those with "No Finding".

    valid.csv becomes "test", and a tenth of the patients of train.csv becomes "val". An age of 0 means unknown, and is
    counted.

    folder: of the release. out: path of the manifest. seed: of the choice of that tenth. check: see `FilmCheck`.
    Raises ManifestError.
    """
    refuse_overwriting(out, list_table_paths(folder, *TABLES))
    parts = [open_table(folder, name, columns=SOURCE_COLUMNS).assign(split=split) for name, split in TABLES.items()]
    rows = pd.concat(parts, ignore_index=True)
    report = Report(input_rows=len(rows))
    rows = drop_duplicate_films(rows.rename(columns={"Path": "path"}), "path", report)
    rows = keep_rows(rows, rows["Frontal/Lateral"].str.casefold() == "frontal", report, NOT_FRONTAL)
    rows = rows.assign(patient=rows["path"].str.extract(r"(patient\d+)")[0])
    rows = keep_rows(rows, rows["patient"].notna(), report, NO_PATIENT)
    finding, is_malformed = parse_numbers(rows, "No Finding", report)
    rows = rows.assign(
        path=remove_release_folder(rows["path"]),
        label=assign_labels(finding == 1, ~is_malformed),
        age=rows["Age"],
        sex=rows["Sex"],
        view=rows["AP/PA"],
    )
    rows = hold_out_validation(drop_shared_patients(rows, report), seed)
    rows = select_usable_films(rows, folder, report, check)
    write_manifests(rows[COLUMNS], folder, out, paper_schema(), report)
    return report


def remove_release_folder(paths: pd.Series) -> pd.Series:
    """Remove the folder of the release from paths such as CheXpert-v1.0-small/train/patient00001/study1/view1.jpg."""
    return paths.str.replace("\\", "/", regex=False).str.replace(r"^CheXpert[^/]*/", "", regex=True)
