"""Labelled films to judge methods on: prepared, with their records, halves of patients and radiologists' boxes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from ..data.manifest import (
    Case,
    ManifestError,
    normalize_patient,
    read_manifest,
    read_normal_cases,
    read_table,
)
from ..data.overlap import check_disjoint
from ..detector import Detector
from ..ehr import EHRSchema, category_of
from ..imaging import GateError, Preprocessing, Radiograph, RadiographError, prepare_mask
from .run import format_exclusion, prepare_case
from .shards import SINGLE_PROCESS, Parts, Processes, pack_image, unpack_image

BATCH = 16
Box = tuple[float, float, float, float]  # x, y, w, h in pixels
ROW_SCHEMA = pa.schema(
    [
        ("film", pa.binary()), ("box", pa.binary()), ("accepted", pa.bool_()), ("stopped", pa.bool_()),
        ("error", pa.string()),
    ]
)  # fmt: skip


@dataclass(frozen=True)
class RefusedFilm:
    """A labelled row that no method judges. reason: a sentence. by_gate: whether the gate stopped it."""

    case: Case
    reason: str
    by_gate: bool


@dataclass(frozen=True)
class Cohort:
    """Labelled films.

    films: the prepared films, x0 = films[rows] of shape (B, 1, S, S). cases: their rows. parts: the half of each, ""
    for none. boxes: (S, S) bool for each, None without any. refusals: rows that could not be read, or that the gate
    stopped. accepted: films that the gate stops and that were taken knowingly.
    """

    films: StoredFilms
    cases: list[Case]
    parts: np.ndarray
    boxes: list[np.ndarray | None]
    refusals: tuple[RefusedFilm, ...] = ()
    accepted: int = 0

    @property
    def labels(self) -> np.ndarray:
        """(N,) of text, one label a film."""
        return np.array([case.label for case in self.cases])

    @property
    def views(self) -> np.ndarray:
        """(N,) of text, "" where the view is unknown."""
        return np.array([category_of(case.record, "view") or "" for case in self.cases])


def assign_half(patient: object) -> str:
    """Return "A" (chooses) or "B" (reports): the parity of the first byte of the SHA-256 of the patient's number."""
    return "AB"[hashlib.sha256(normalize_patient(patient).encode()).digest()[0] % 2]


def check_held_out(train: str | Path, manifest: str | Path, schema: EHRSchema) -> bool:
    """Check that no labelled film of `manifest`, and no patient of it, is one that `train` is learned from.

    train: manifest of films to learn from, of which the normals count. Returns whether patients could be checked; see
    `check_disjoint`. Raises ManifestError where a patient or a film is in both.
    """
    cases = [case for case in read_manifest(manifest, schema) if case.label is not None]
    consequence = "so methods would be judged on what they learned from"
    return check_disjoint(train, manifest, read_normal_cases(train, schema), cases, consequence)


class StoredFilms:
    """Prepared films in the parts of a computation, of which one part is in memory at a time.

    sizes: films of each part, those that were refused left out. device: of the tensors.
    """

    def __init__(self, parts: Parts, sizes: Sequence[int], side: int, device: torch.device) -> None:
        self.parts, self.side, self.device = parts, side, device
        self.ends = np.cumsum(sizes)
        self._number, self._images = -1, np.zeros((0, side, side), np.float32)

    def __len__(self) -> int:
        return int(self.ends[-1])

    def __getitem__(self, rows: slice) -> Tensor:
        start, stop, _ = rows.indices(len(self))
        images = [self._read_image(index) for index in range(start, stop)]
        return torch.from_numpy(np.stack(images))[:, None].to(self.device)

    def _read_image(self, index: int) -> np.ndarray:
        number = int(np.searchsorted(self.ends, index, side="right"))
        if number != self._number:
            films = [data for data in self.parts.read(number, ["film"])["film"].to_pylist() if data is not None]
            self._images = np.stack([unpack_image(data) for data in films])
            self._number = number
        return self._images[index - (int(self.ends[number - 1]) if number else 0)]


def load_cohort(
    detector: Detector,
    manifest: Path,
    boxes: str | Path | None,
    halves: str | None,
    folder: Path,
    accept: bool = False,
    processes: Processes = SINGLE_PROCESS,
) -> Cohort:
    """Read, judge by the gate and prepare the labelled films of a manifest, with their boxes.

    boxes, halves, accept: see `film_comparison.benchmark_films`. folder: where prepared films are stored. processes:
    that share the films. Raises ManifestError, also where no film of a class is left.
    """
    table = read_table(manifest)
    cases = [case for case in read_manifest(manifest, detector.schema) if case.label is not None]
    _check_classes(cases, manifest, "needs labelled normal films and labelled abnormal ones to compare methods on.")
    for column in [halves] * bool(halves) + ["image"] * bool(boxes):
        if column not in table.columns:
            raise ManifestError(f"The manifest {manifest} has no column `{column}`.")
    boxes_by_image = read_boxes(Path(boxes)) if boxes else {}
    images = [table["image"].iloc[case.row - 1] if boxes else "" for case in cases]
    rows = list(zip(cases, (boxes_by_image.get(image, []) for image in images), strict=True))
    key = _hash_films(detector, rows, accept)
    parts = Parts(folder / f"films {key}", len(rows), BATCH, ROW_SCHEMA, {"films": key})

    def prepare(part: list[tuple[Case, list[Box]]]) -> Iterator[dict]:
        with ThreadPoolExecutor() as pool:
            return iter(list(pool.map(lambda row: _make_row(detector, row[0], row[1], accept), part)))

    parts.compute(lambda selects: (row for index, row in enumerate(rows) if selects(index)), prepare, processes)
    cohort = _read_cohort(detector, parts, cases)
    reasons = " ".join(sorted({film.reason for film in cohort.refusals})[:3])
    _check_classes(cohort.cases, manifest, f"has no film of one class left: {reasons}")
    if not halves:
        return cohort
    return replace(cohort, parts=np.array([assign_half(table[halves].iloc[case.row - 1]) for case in cohort.cases]))


def _read_cohort(detector: Detector, parts: Parts, cases: Sequence[Case]) -> Cohort:
    """Return the cohort of films that are stored in parts, in no halves."""
    good, masks, refusals, accepted, sizes = [], [], [], 0, []
    side = detector.config.preprocessing.size
    for number in range(parts.count):
        results = parts.read(number, ["box", "accepted", "stopped", "error"]).to_pylist()
        sizes.append(sum(not row["error"] for row in results))
        for row, case in zip(results, cases[number * parts.part_rows :], strict=False):
            if row["error"]:
                refusals.append(RefusedFilm(case, row["error"], row["stopped"]))
                continue
            mask = row["box"]
            masks.append(None if mask is None else np.frombuffer(mask, bool).reshape(side, side))
            good.append(case)
            accepted += row["accepted"]
    films = StoredFilms(parts, sizes, side, detector.device)
    return Cohort(films, good, np.array([""] * len(good)), masks, tuple(refusals), accepted)


def _check_classes(cases: Sequence[Case], manifest: Path, hint: str) -> None:
    if {case.abnormal for case in cases} != {True, False}:
        raise ManifestError(f"The manifest {manifest} {hint}")


def _hash_films(detector: Detector, rows: Sequence[tuple[Case, list[Box]]], accept: bool) -> str:
    """Hash what prepared films depend on: paths, sizes and times of the files, their boxes, and the preparation."""
    digest = hashlib.sha256(repr((detector.config.preprocessing, accept)).encode())
    for case, boxes in rows:
        state = case.path.stat() if case.path.is_file() else None
        times = (state.st_size, state.st_mtime_ns) if state else None
        digest.update(repr((str(case.path.resolve()), times, boxes)).encode())
    return digest.hexdigest()[:12]


def _make_row(detector: Detector, case: Case, boxes: Sequence[Box], accept: bool) -> dict:
    """Return the prepared film of a row, with its mask of boxes; or why there is none."""
    prepared = prepare_case(detector, case, accept)
    if isinstance(prepared, RadiographError):
        by_gate = isinstance(prepared, GateError)
        return {"error": format_exclusion(case, prepared), "stopped": by_gate, "accepted": False}
    mask = draw_boxes(boxes, prepared.film, detector.config.preprocessing)
    return {
        "film": pack_image(prepared.x0),
        "box": None if mask is None else mask.astype(bool).tobytes(),
        "accepted": bool(prepared.film.accepted),
        "stopped": False,
        "error": "",
    }


def read_boxes(path: Path) -> dict[str, list[Box]]:
    """Read boxes (x, y, w, h) in pixels by image name. Raises ManifestError."""
    table = read_table(path)
    boxes: dict[str, list[Box]] = {}
    for row in table.to_dict("records"):
        try:
            boxes.setdefault(row["image"], []).append(
                (float(row["x"]), float(row["y"]), float(row["w"]), float(row["h"]))
            )
        except (KeyError, ValueError):
            raise ManifestError(f"{path} must be a table with columns image, x, y, w, h in pixels.") from None
    return boxes


def draw_boxes(boxes: Sequence[Box], film: Radiograph, settings: Preprocessing) -> np.ndarray | None:
    """Draw boxes (x, y, w, h) in pixels of a film as a mask of the prepared film, (S, S) bool; None without boxes."""
    if not boxes:
        return None
    mask = np.zeros(film.pixels.shape, bool)
    for x, y, w, h in boxes:
        mask[max(0, round(y)) : round(y + h), max(0, round(x)) : round(x + w)] = True
    return prepare_mask(mask, film, settings)
