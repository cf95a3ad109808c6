"""A manifest from NIH ChestX-ray14, as released; of the record it has age, sex and view.

Wang et al., "ChestX-ray8: Hospital-scale Chest X-ray Database and Benchmarks", CVPR 2017.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from ...ehr import paper_schema
from ..manifest import ManifestError, normalize_patient, read_table
from .films import MISSING, FilmCheck, select_usable_films
from .report import Report, keep_rows
from .splits import UNCHECKED, assign_splits, drop_shared_patients, hold_out_validation
from .tables import (
    assign_labels,
    drop_duplicate_films,
    list_table_paths,
    make_path_beside,
    open_table,
    refuse_overwriting,
    write_manifests,
)

COLUMNS = ["path", "label", "split", "patient", "age", "sex", "view", "image", "findings"]
TABLES = ("Data_Entry_2017.csv", "Data_Entry_2017_v2020.csv")
BOXES = "BBox_List_2017.csv"


def prepare_nih(folder: Path, out: Path, seed: int = 0, check: FilmCheck | None = None) -> Report:
    """Write a manifest from Data_Entry_2017*.csv of ChestX-ray14.

    Where the folder has BBox_List_2017.csv, its boxes are written to OUT-boxes.csv, in pixels. The splits are those of
    train_val_list.txt and test_list.txt, with a tenth of the patients of the first list as "val"; without these files,
    80, 10 and 10 % of the patients are train, val and test. Films without a patient number stay.

    folder: of the release; images are in it, in images/ or in images_001/images/ … out: path of the manifest. seed:
    of the split of patients. check: see `FilmCheck`. Raises ManifestError.
    """
    refuse_overwriting(out, [*list_table_paths(folder, *TABLES, BOXES), *_locate_split_lists(folder).values()])
    rows = open_table(folder, *TABLES)
    report = Report(input_rows=len(rows))
    sex = "Patient Sex" if "Patient Sex" in rows.columns else "Patient Gender"
    columns = ["Image Index", "Finding Labels", "Patient ID", "Patient Age", "View Position", sex]
    if missing := sorted(set(columns) - set(rows.columns)):
        raise ManifestError(f"The table in {folder} lacks {', '.join(missing)}.")
    boxes = _read_boxes(folder / BOXES) if (folder / BOXES).is_file() else None
    rows = drop_duplicate_films(rows, "Image Index", report, columns)
    images = _find_images(folder)
    rows = keep_rows(rows, rows["Image Index"].isin(images.keys()), report, MISSING, "Image Index")
    findings = rows["Finding Labels"]
    rows = rows.assign(
        path=rows["Image Index"].map(images),
        image=rows["Image Index"],
        label=assign_labels(findings.str.casefold() == "no finding", findings != ""),
        findings=findings,
        patient=rows["Patient ID"].map(normalize_patient),
        age=rows["Patient Age"],
        sex=rows[sex],
        view=rows["View Position"],
    )
    rows = drop_shared_patients(_add_split(rows, folder, seed, report), report)
    report.note(UNCHECKED, rows.loc[rows["patient"] == "", "path"])
    rows = select_usable_films(rows, folder, report, check)
    write_manifests(rows[COLUMNS], folder, out, paper_schema(), report)
    if boxes is not None:
        boxes.to_csv(make_path_beside(out, "boxes.csv"), index=False)
    return report


def _find_images(folder: Path) -> dict[str, str]:
    """Return the path of every PNG, relative to the folder, by file name."""
    folders = [folder, folder / "images", *sorted(folder.glob("images_*")), *sorted(folder.glob("images_*/images"))]
    return {
        path.name: str(path.relative_to(folder))
        for parent in folders
        if parent.is_dir()
        for path in parent.glob("*.png")
    }


def _add_split(rows: pd.DataFrame, folder: Path, seed: int, report: Report) -> pd.DataFrame:
    """Add the column `split`; see `prepare_nih`."""
    files = _locate_split_lists(folder)
    if not all(path.is_file() for path in files.values()):
        return assign_splits(rows, seed=seed)
    lists = {name: set(path.read_text().split()) for name, path in files.items()}
    train, test = (rows["image"].isin(lists[name]) for name in ("train_val", "test"))
    rows = keep_rows(rows.assign(split=np.where(train, "train", "test")), train | test, report, "in no split")
    rows = keep_rows(rows, ~rows["image"].isin(lists["train_val"] & lists["test"]), report, "film in both lists")
    return hold_out_validation(drop_shared_patients(rows, report), seed)


def _locate_split_lists(folder: Path) -> dict[str, Path]:
    return {name: folder / f"{name}_list.txt" for name in ("train_val", "test")}


def _read_boxes(path: Path) -> pd.DataFrame:
    """Read boxes for `diff3m benchmark films --boxes`.

    Returns columns image, finding, x, y, w and h, in pixels; x and y are those of the upper left corner. Raises
    ManifestError.
    """
    advice = "It must hold image, finding, x, y, w and h: load it again, or take it out of the folder."
    try:
        table = read_table(path).iloc[:, :6].set_axis(["image", "finding", *"xywh"], axis="columns")
        return table.astype(dict.fromkeys("xywh", "float64")).round(2)
    except (ValueError, OSError) as error:
        raise ManifestError(f"{path} cannot be read ({str(error)[:200]}). {advice}") from None
