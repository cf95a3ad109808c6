"""Training films, read and prepared once and then kept in memory as bytes."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..data.manifest import Case, ManifestError, read_normal_cases
from ..data.overlap import check_disjoint
from ..ehr import EHRSchema
from ..imaging import Preprocessing, RadiographError, prepare, read_radiograph
from ..imaging.organs import segment_organs
from .config import TrainingConfig


@dataclass(frozen=True)
class Films:
    """Prepared films and encoded records.

    images: (N, S, S) uint8. values: (N, slots) float32, NaN = unknown. organs: (N, 3, 64, 64) uint8, masks as
    `segment_organs` returns them, which healing needs; None for a run without healing.
    """

    images: np.ndarray
    values: np.ndarray
    organs: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.images)

    def first(self, count: int) -> Films:
        """Return the first `count` films."""
        return Films(self.images[:count], self.values[:count], None if self.organs is None else self.organs[:count])


def read_normals(config: TrainingConfig, schema: EHRSchema, warns: bool) -> tuple[list[Case], list[Case]]:
    """Read the rows of the normal films to train on, and of those to validate on, none without validation.

    warns: whether to warn where patients of the two manifests cannot be compared. Raises ManifestError, also where a
    patient or a film is in both; the same manifest for both is allowed.
    """
    cases = read_normal_cases(config.manifest, schema)
    if not config.validation:
        return cases, []
    validation_cases = read_normal_cases(config.validation, schema)
    if Path(config.validation).resolve() == Path(config.manifest).resolve():
        return cases, validation_cases
    consequence = "so validation would be no test"
    has_patients = check_disjoint(config.manifest, config.validation, cases, validation_cases, consequence)
    if not has_patients and warns:
        warnings.warn(
            f"Whether a patient is in both {config.manifest} and {config.validation} could not be checked: "
            "give both a column `patient`, or split by patient.",
            stacklevel=3,
        )
    return cases, validation_cases


def load_films(
    cases: Sequence[Case],
    schema: EHRSchema,
    settings: Preprocessing,
    progress: Callable[[int], None] | None = None,
    with_organs: bool = False,
) -> Films:
    """Read and prepare films, and encode their records.

    cases: rows of a manifest. settings: of the preprocessing. progress: called with the number of films read so far.
    with_organs: whether lungs and heart are segmented. Raises ManifestError naming the row of the first film that
    cannot be used.
    """

    def read_image(case: Case) -> np.ndarray:
        try:
            return np.round(prepare(read_radiograph(case.path), settings) * 255).astype(np.uint8)
        except RadiographError as error:
            raise ManifestError(f"Row {case.row} ({case.path}): {error} {case.note}".strip()) from None

    images = np.empty((len(cases), settings.size, settings.size), dtype=np.uint8)
    with ThreadPoolExecutor() as pool:
        for index, image in enumerate(pool.map(read_image, cases)):
            images[index] = image
            if progress:
                progress(index + 1)
    values = np.stack([schema.encode(case.record) for case in cases])
    return Films(images, values, segment_organs(images) if with_organs else None)
