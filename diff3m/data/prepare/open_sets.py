"""CheXpert and NIH ChestX-ray14, as released, to one manifest. Neither holds more of the record than age, sex and view."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from ...ehr import paper_schema
from ..manifest import ManifestError, patient_key
from .plausibility import numbers
from .report import NOT_FRONTAL, Report, keep
from .tables import (
    UNCHECKED,
    assign_splits,
    beside,
    disjoint,
    label_of,
    open_table,
    places,
    refuse_overwriting,
    with_readable_images,
    without_duplicates,
    write_manifests,
)

COLUMNS = ["path", "label", "split", "patient", "age", "sex", "view"]
CHEXPERT_TABLES = {"train.csv": "train", "valid.csv": "test"}
NIH_TABLES = ("Data_Entry_2017.csv", "Data_Entry_2017_v2020.csv")
NIH_BOXES = "BBox_List_2017.csv"
NIH_AGE = r"^\s*(\d+)(?:\.0*)?\s*([YMWD]?)\s*$"  # "058Y" in the first release; "013M" is of a child
YEARS = {"": 1.0, "Y": 1.0, "M": 1 / 12, "W": 7 / 365.25, "D": 1 / 365.25}


def prepare_chexpert(folder: Path, out: Path, seed: int = 0, decode: bool = False) -> Report:
    """train.csv and valid.csv of CheXpert (or CheXpert-small) → a manifest. Frontal films only; normal = "No Finding".

    valid.csv becomes "test"; a tenth of the patients of train.csv becomes "val". Raises ManifestError.
    """
    refuse_overwriting(out, places(folder, *CHEXPERT_TABLES))
    report, parts = Report(), []
    for name, split in CHEXPERT_TABLES.items():
        rows = open_table(
            folder,
            name,
            usecols=["Path", "Sex", "Age", "Frontal/Lateral", "AP/PA", "No Finding"],
            dtype={"Age": "string"},
        )
        parts.append(rows.assign(split=split))
    rows = pd.concat(parts, ignore_index=True)
    report.read = len(rows)
    rows = without_duplicates(rows.rename(columns={"Path": "path"}), "path", report)
    rows = keep(rows, rows["Frontal/Lateral"] == "Frontal", report, NOT_FRONTAL)
    rows = rows.assign(patient=rows["path"].str.extract(r"(patient\d+)")[0])
    rows = keep(rows, rows["patient"].notna(), report, "no patient in the path")
    finding, unread = numbers(rows, "No Finding", report)
    # "CheXpert-v1.0-small/train/patient00001/…": the table's first folder is the data set's own
    rows = rows.assign(
        path=rows["path"].str.replace(r"^CheXpert[^/]*/", "", regex=True),
        label=label_of(finding == 1, ~unread),
        age=rows["Age"].where(rows["Age"] != "0"),  # 0 stands for unknown
        sex=rows["Sex"],
        view=rows["AP/PA"],
    )
    rows = disjoint(rows, report)
    held = assign_splits(rows[rows["split"] == "train"], (0.9, 0.1), seed)["split"]
    rows.loc[held.index, "split"] = held
    return _finish(rows, folder, out, report, decode)


def prepare_nih(folder: Path, out: Path, seed: int = 0, decode: bool = False) -> Report:
    """Data_Entry_2017*.csv of ChestX-ray14 → a manifest; boxes of BBox_List_2017.csv, if there, → OUT-boxes.csv in pixels of the film.

    Splits: train_val_list.txt and test_list.txt where they are (a tenth of the first list's patients becomes "val"), else 80, 10 and 10 % of the
    patients. Images may lie in images/, images_001/images/ … or in the folder itself. Films without a
    patient number are kept. Raises ManifestError.
    """
    refuse_overwriting(out, [*places(folder, *NIH_TABLES, NIH_BOXES), *_nih_lists(folder).values()])
    report = Report()
    rows = open_table(folder, *NIH_TABLES, dtype={"Patient Age": "string"})
    sex = "Patient Sex" if "Patient Sex" in rows.columns else "Patient Gender"
    wanted = ["Image Index", "Finding Labels", "Patient ID", "Patient Age", "View Position", sex]
    if missing := sorted(set(wanted) - set(rows.columns)):
        raise ManifestError(f"The table in {folder} lacks {', '.join(missing)}.")
    report.read = len(rows)
    boxes = _nih_boxes(folder / NIH_BOXES) if (folder / NIH_BOXES).is_file() else None
    rows = without_duplicates(rows, "Image Index", report, wanted)
    images = _nih_images(folder)
    rows = keep(rows, rows["Image Index"].isin(images.keys()), report, "missing image", "Image Index")
    findings = rows["Finding Labels"].astype("string").str.strip().fillna("")
    rows = rows.assign(
        path=rows["Image Index"].map(images),
        image=rows["Image Index"],
        label=label_of(findings.str.casefold() == "no finding", findings != ""),
        findings=findings,
        patient=rows["Patient ID"].map(patient_key),
        age=_nih_age(rows, report),
        sex=rows[sex],
        view=rows["View Position"],
    )
    rows = disjoint(_nih_splits(rows, folder, seed, report), report)
    report.note(UNCHECKED, rows.loc[rows["patient"] == "", "path"])
    _finish(rows, folder, out, report, decode, extra=["image", "findings"])
    if boxes is not None:
        boxes.to_csv(beside(out, "boxes.csv"), index=False)
    return report


def _nih_age(rows: pd.DataFrame, report: Report) -> pd.Series:
    """Years, from a number that may name its unit; what is no age, or one above 120 years, is NaN and counted."""
    parts = rows["Patient Age"].str.extract(NIH_AGE)
    age = (parts[0].astype("float64") * parts[1].map(YEARS)).round(1)
    report.refuse(
        "age that is no number of years",
        rows.loc[age.isna() & (rows["Patient Age"].str.strip().fillna("") != ""), "Image Index"],
    )
    report.refuse("age above 120 years", rows.loc[age > 120, "Image Index"])
    return age.mask(age > 120)


def _finish(
    rows: pd.DataFrame, folder: Path, out: Path, report: Report, decode: bool, extra: list[str] | None = None
) -> Report:
    rows = with_readable_images(rows, folder, report, decode)
    write_manifests(rows[[*COLUMNS, *(extra or [])]], folder, out, paper_schema(), report)
    return report


def _nih_images(folder: Path) -> dict[str, str]:
    """Every PNG's path under the folder, by name."""
    found = {}
    for place in [folder, folder / "images", *sorted(folder.glob("images_*")), *sorted(folder.glob("images_*/images"))]:
        if place.is_dir():
            found.update({path.name: str(path.relative_to(folder)) for path in place.glob("*.png")})
    return found


def _nih_splits(rows: pd.DataFrame, folder: Path, seed: int, report: Report) -> pd.DataFrame:
    lists = _nih_lists(folder)
    if not all(path.is_file() for path in lists.values()):
        return assign_splits(rows, seed=seed)
    named = {name: set(path.read_text().split()) for name, path in lists.items()}
    train, test = (rows["image"].isin(named[name]) for name in ("train_val", "test"))
    rows = keep(rows.assign(split=np.where(train, "train", "test")), train | test, report, "in no split")
    rows = keep(rows, ~rows["image"].isin(named["train_val"] & named["test"]), report, "film in both lists")
    rows = disjoint(rows, report)
    held = assign_splits(rows[rows["split"] == "train"], (0.9, 0.1), seed)["split"]
    rows.loc[held.index, "split"] = held
    return rows


def _nih_lists(folder: Path) -> dict[str, Path]:
    return {name: folder / f"{name}_list.txt" for name in ("train_val", "test")}


def _nih_boxes(path: Path) -> pd.DataFrame:
    """Boxes as `diff3m benchmark films --boxes` reads them: image, finding, x, y, w, h in pixels of the film, x and y of the upper left corner.
    Raises ManifestError."""
    mend = "It must hold image, finding, x, y, w and h: load it again, or take it out of the folder."
    try:
        table = pd.read_csv(path, header=0, usecols=range(6), names=["image", "finding", "x", "y", "w", "h"])
        return table.astype(dict.fromkeys("xywh", "float64")).round(2)
    except (ValueError, OSError) as error:
        raise ManifestError(f"{path} cannot be read ({str(error)[:200]}). {mend}") from None
