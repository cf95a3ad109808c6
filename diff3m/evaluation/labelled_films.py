"""Labelled films to judge methods on: prepared, with their records, halves of patients and radiologists' boxes."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..data.manifest import (
    Case,
    ManifestError,
    normal_cases,
    patient_key,
    read_manifest,
    read_table,
    shared_films,
    shared_patients,
)
from ..detector import Detector
from ..ehr import EHRSchema
from ..imaging import Preprocessing, Radiograph, prepare_mask, read_radiograph


@dataclass(frozen=True)
class Cohort:
    """Labelled films.

    x0: prepared films (N, 1, S, S). cases: their rows. parts: the half of each, "" for none. boxes: (S, S) bool for
    each, None without any.
    """

    x0: Tensor
    cases: list[Case]
    parts: np.ndarray
    boxes: list[np.ndarray | None]

    @property
    def labels(self) -> np.ndarray:
        """(N,) of text, one label a film."""
        return np.array([case.label for case in self.cases])

    @property
    def views(self) -> np.ndarray:
        """(N,) of text, "" where the view is unknown."""
        return np.array([str(case.record.get("view") or "") for case in self.cases])


def half(patient: object) -> str:
    """Return "A" (chooses) or "B" (reports): the parity of the first byte of the SHA-256 of the patient's number."""
    return "AB"[hashlib.sha256(patient_key(patient).encode()).digest()[0] % 2]


def check_apart(train: str | Path, manifest: str | Path, schema: EHRSchema) -> bool:
    """Check that no patient and no film is in both manifests.

    Returns whether patients could be checked: both name them (see `patients_of`). Raises ManifestError where a patient
    is in both, or a labelled film of `manifest` is one of the normals of `train`.
    """
    both, checked = shared_patients(train, manifest)
    hint = (
        "so methods would be judged on what they learned from. Take them out of one of the two; "
        "`diff3m prepare` splits by patient."
    )
    if both:
        raise ManifestError(f"Patients in both {train} and {manifest}: {len(both)} ({', '.join(both[:3])} …), {hint}")
    if films := shared_films(
        normal_cases(train, schema), [case for case in read_manifest(manifest, schema) if case.label is not None]
    ):
        raise ManifestError(
            f"Films in both {train} and {manifest}: {len(films)} "
            f"({', '.join(path.name for path in films[:3])} …), {hint}"
        )
    return checked


def load_cohort(detector: Detector, manifest: Path, boxes: str | Path | None, halves: str | None) -> Cohort:
    """Read and prepare the labelled films of a manifest, with their boxes.

    boxes, halves: see `film_comparison.benchmark_films`. Raises ManifestError or RadiographError.
    """
    table = read_table(manifest)
    cases = [case for case in read_manifest(manifest, detector.schema) if case.label is not None]
    if {case.abnormal for case in cases} != {True, False}:
        raise ManifestError(
            f"The manifest {manifest} needs labelled normal films and labelled abnormal ones to compare methods on."
        )
    for column in [halves] * bool(halves) + ["image"] * bool(boxes):
        if column not in table.columns:
            raise ManifestError(f"The manifest {manifest} has no column `{column}`.")
    films = [read_radiograph(case.path) for case in cases]
    x0 = torch.cat([detector.inputs([detector.case(film)]) for film in films])
    parts = np.array([half(table[halves].iloc[case.row - 1]) if halves else "" for case in cases])
    boxes_by_image = read_boxes(Path(boxes)) if boxes else {}
    images = [table["image"].iloc[case.row - 1] if boxes else "" for case in cases]
    masks = [
        box_mask(boxes_by_image.get(name, []), film, detector.config.preprocessing)
        for name, film in zip(images, films, strict=True)
    ]
    return Cohort(x0, cases, parts, masks)


def read_boxes(path: Path) -> dict[str, list[tuple[float, float, float, float]]]:
    """Read boxes (x, y, w, h) in pixels by image name. Raises ManifestError."""
    table = read_table(path)
    boxes: dict[str, list[tuple[float, float, float, float]]] = {}
    for row in table.to_dict("records"):
        try:
            boxes.setdefault(row["image"], []).append(
                (float(row["x"]), float(row["y"]), float(row["w"]), float(row["h"]))
            )
        except (KeyError, ValueError):
            raise ManifestError(f"{path} must be a table with columns image, x, y, w, h in pixels.") from None
    return boxes


def box_mask(
    boxes: Sequence[tuple[float, float, float, float]], film: Radiograph, settings: Preprocessing
) -> np.ndarray | None:
    """Draw boxes (x, y, w, h) in pixels of a film as a mask of the prepared film, (S, S) bool; None without boxes."""
    if not boxes:
        return None
    mask = np.zeros(film.pixels.shape, bool)
    for x, y, w, h in boxes:
        mask[max(0, round(y)) : round(y + h), max(0, round(x)) : round(x + w)] = True
    return prepare_mask(mask, film, settings)
