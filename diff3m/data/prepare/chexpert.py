"""CheXpert and CheXpert-small, as released, to one manifest. Of the record they hold age, sex and view."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from ...ehr import paper_schema
from .films import FilmCheck, usable_films
from .plausibility import numbers
from .report import NOT_FRONTAL, Report, keep
from .splits import disjoint, hold_out_validation
from .tables import label_of, open_table, places, refuse_overwriting, without_duplicates, write_manifests

COLUMNS = ["path", "label", "split", "patient", "age", "sex", "view"]
SOURCE_COLUMNS = ["Path", "Sex", "Age", "Frontal/Lateral", "AP/PA", "No Finding"]
TABLES = {"train.csv": "train", "valid.csv": "test"}
NO_PATIENT = "no patient in the path"


def prepare_chexpert(folder: Path, out: Path, seed: int = 0, check: FilmCheck | None = None) -> Report:
    """Write a manifest from train.csv and valid.csv of CheXpert (or CheXpert-small).

    Frontal films only; normal = "No Finding". valid.csv becomes "test"; a tenth of the patients of train.csv becomes
    "val". An age of 0 stands for unknown and is counted.

    seed: of that tenth. check: see `usable_films`. Raises ManifestError.
    """
    refuse_overwriting(out, places(folder, *TABLES))
    parts = [open_table(folder, name, columns=SOURCE_COLUMNS).assign(split=split) for name, split in TABLES.items()]
    rows = pd.concat(parts, ignore_index=True)
    report = Report(input_rows=len(rows))
    rows = without_duplicates(rows.rename(columns={"Path": "path"}), "path", report)
    rows = keep(rows, rows["Frontal/Lateral"].str.casefold() == "frontal", report, NOT_FRONTAL)
    rows = rows.assign(patient=rows["path"].str.extract(r"(patient\d+)")[0])
    rows = keep(rows, rows["patient"].notna(), report, NO_PATIENT)
    finding, is_malformed = numbers(rows, "No Finding", report)
    rows = rows.assign(
        path=without_release_folder(rows["path"]),
        label=label_of(finding == 1, ~is_malformed),
        age=rows["Age"],
        sex=rows["Sex"],
        view=rows["AP/PA"],
    )
    rows = hold_out_validation(disjoint(rows, report), seed)
    rows = usable_films(rows, folder, report, check)
    write_manifests(rows[COLUMNS], folder, out, paper_schema(), report)
    return report


def without_release_folder(paths: pd.Series) -> pd.Series:
    """Return paths like CheXpert-v1.0-small/train/patient00001/… without the first folder, the release's own."""
    return paths.str.replace("\\", "/", regex=False).str.replace(r"^CheXpert[^/]*/", "", regex=True)
