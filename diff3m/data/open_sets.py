"""CheXpert and NIH ChestX-ray14, as released, to one manifest. Neither holds more of the record than age, sex and view."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from ..ehr import paper_schema
from .manifest import ManifestError
from .preparing import Report, assign_splits, disjoint, keep, label_of, open_table, with_readable_images, without_duplicates, write_manifests

COLUMNS = ["path", "label", "split", "patient", "age", "sex", "view"]
NIH_TABLES = ("Data_Entry_2017.csv", "Data_Entry_2017_v2020.csv")
NIH_BOXES = "BBox_List_2017.csv"


def prepare_chexpert(folder: Path, out: Path, seed: int = 0, decode: bool = False) -> Report:
    """train.csv and valid.csv of CheXpert (or CheXpert-small) → a manifest. Frontal films only; normal = "No Finding".

    valid.csv becomes "test"; a tenth of the patients of train.csv becomes "val". Raises ManifestError.
    """
    report, parts = Report(), []
    for name, split in (("train.csv", "train"), ("valid.csv", "test")):
        rows = open_table(folder, name, usecols=["Path", "Sex", "Age", "Frontal/Lateral", "AP/PA", "No Finding"], dtype={"Age": "string"})
        parts.append(rows.assign(split=split))
    rows = pd.concat(parts, ignore_index=True)
    report.read = len(rows)
    rows = without_duplicates(rows.rename(columns={"Path": "path"}), "path", report)
    rows = keep(rows, rows["Frontal/Lateral"] == "Frontal", report, "not a frontal film")
    rows = rows.assign(patient=rows["path"].str.extract(r"(patient\d+)")[0])
    rows = keep(rows, rows["patient"].notna(), report, "no patient in the path")
    # "CheXpert-v1.0-small/train/patient00001/…": the table's first folder is the data set's own
    rows = rows.assign(
        path=rows["path"].str.replace(r"^CheXpert[^/]*/", "", regex=True),
        label=label_of(rows["No Finding"] == 1, pd.Series(True, index=rows.index)),
        age=rows["Age"].where(rows["Age"] != "0"),  # 0 stands for unknown
        sex=rows["Sex"].map({"Female": "F", "Male": "M"}),
        view=rows["AP/PA"].where(rows["AP/PA"].isin(("AP", "PA"))),
    )
    rows = disjoint(rows, report)
    held = assign_splits(rows[rows["split"] == "train"], (0.9, 0.1), seed)["split"]
    rows.loc[held.index, "split"] = held
    return _finish(rows, folder, out, report, decode)


def prepare_nih(folder: Path, out: Path, seed: int = 0, decode: bool = False) -> Report:
    """Data_Entry_2017*.csv of ChestX-ray14 → a manifest; boxes of BBox_List_2017.csv, if there, → OUT-boxes.csv in pixels of the film.

    Splits: train_val_list.txt and test_list.txt where they are (a tenth of the first list's patients becomes "val"), else 80, 10 and 10 % of the
    patients. Images may lie in images/, images_001/images/ … or in the folder itself. Raises ManifestError.
    """
    report = Report()
    rows = open_table(folder, *NIH_TABLES, dtype={"Patient Age": "string"})
    wanted = {"Image Index", "Finding Labels", "Patient ID", "Patient Age", "View Position"}
    if not wanted <= set(rows.columns):
        raise ManifestError(f"The table in {folder} lacks {', '.join(sorted(wanted - set(rows.columns)))}.")
    report.read = len(rows)
    sex = "Patient Gender" if "Patient Gender" in rows.columns else "Patient Sex"
    rows = without_duplicates(rows, "Image Index", report)
    places = _nih_places(folder)
    rows = keep(rows, rows["Image Index"].isin(places.keys()), report, "missing image", "Image Index")
    age = pd.to_numeric(rows["Patient Age"].str.extract(r"^0*(\d+)Y?$")[0], errors="coerce")  # "058Y" in the first release
    report.refuse("age above 120 years", rows.loc[age > 120, "Image Index"])
    rows = rows.assign(
        path=rows["Image Index"].map(places),
        image=rows["Image Index"],
        label=label_of(rows["Finding Labels"] == "No Finding", rows["Finding Labels"].notna()),
        findings=rows["Finding Labels"],
        patient=rows["Patient ID"],
        age=age.mask(age > 120),
        sex=rows[sex],
        view=rows["View Position"],
    )
    rows = disjoint(_nih_splits(rows, folder, seed, report), report)
    _finish(rows, folder, out, report, decode, extra=["image", "findings"])
    if (folder / NIH_BOXES).is_file():
        _nih_boxes(folder, out)
    return report


def _finish(rows: pd.DataFrame, folder: Path, out: Path, report: Report, decode: bool, extra: list[str] | None = None) -> Report:
    rows = with_readable_images(rows, folder, report, decode)
    write_manifests(rows[[*COLUMNS, *(extra or [])]], folder, out, paper_schema(), report)
    return report


def _nih_places(folder: Path) -> dict[str, str]:
    """Every PNG's path under the folder, by name."""
    found = {}
    for place in [folder, folder / "images", *sorted(folder.glob("images_*")), *sorted(folder.glob("images_*/images"))]:
        if place.is_dir():
            found.update({path.name: str(path.relative_to(folder)) for path in place.glob("*.png")})
    return found


def _nih_splits(rows: pd.DataFrame, folder: Path, seed: int, report: Report) -> pd.DataFrame:
    lists = {name: folder / f"{name}_list.txt" for name in ("train_val", "test")}
    if not all(path.is_file() for path in lists.values()):
        return assign_splits(rows, seed=seed)
    named = {name: set(path.read_text().split()) for name, path in lists.items()}
    train, test = (rows["image"].isin(named[name]) for name in ("train_val", "test"))
    rows = keep(rows.assign(split=np.where(train, "train", "test")), train | test, report, "in no split")
    rows = disjoint(rows, report)
    held = assign_splits(rows[rows["split"] == "train"], (0.9, 0.1), seed)["split"]
    rows.loc[held.index, "split"] = held
    return rows


def _nih_boxes(folder: Path, out: Path) -> None:
    """Boxes as `diff3m benchmark films --boxes` reads them: image, finding, x, y, w, h in pixels of the film, x and y of the upper left corner."""
    table = pd.read_csv(folder / NIH_BOXES, header=0, usecols=range(6), names=["image", "finding", "x", "y", "w", "h"])
    table.round(2).to_csv(out.with_name(f"{out.stem}-boxes.csv"), index=False)
