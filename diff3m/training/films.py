"""Training films: read and prepared once, then held in memory as bytes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..data.manifest import Case, ManifestError, shared_films, shared_patients
from ..ehr import EHRSchema
from ..imaging import Preprocessing, RadiographError, prepare, read_radiograph
from ..imaging.organs import segment_organs
from .distributed import TrainingError


@dataclass(frozen=True)
class Films:
    """Prepared films and encoded records.

    images: (N, S, S) uint8. values: (N, slots) float32, NaN = unknown. organs: (N, 3, 64, 64) uint8 masks of left
    lung, right lung and heart, which healing needs; None without it.
    """

    images: np.ndarray
    values: np.ndarray
    organs: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.images)

    def first(self, count: int) -> Films:
        """Return the first films alone."""
        return Films(self.images[:count], self.values[:count], None if self.organs is None else self.organs[:count])


def load_films(
    cases: Sequence[Case],
    schema: EHRSchema,
    settings: Preprocessing,
    progress: Callable[[int], None] | None = None,
    with_organs: bool = False,
) -> Films:
    """Read and prepare every film, and with `with_organs` outline lungs and heart.

    Raises ManifestError naming the row of the first film that cannot be used.
    """

    def one(case: Case) -> np.ndarray:
        try:
            return np.round(prepare(read_radiograph(case.path), settings) * 255).astype(np.uint8)
        except RadiographError as error:
            raise ManifestError(f"Row {case.row} ({case.path}): {error} {case.note}".strip()) from None

    images = np.empty((len(cases), settings.size, settings.size), dtype=np.uint8)
    with ThreadPoolExecutor() as pool:
        for index, image in enumerate(pool.map(one, cases)):
            images[index] = image
            if progress:
                progress(index + 1)
    values = np.stack([schema.encode(case.record) for case in cases])
    return Films(images, values, segment_organs(images) if with_organs else None)


def check_apart(
    train: str | Path, validation: str | Path, cases: Sequence[Case], validation_cases: Sequence[Case]
) -> bool:
    """Check that no film and no patient is in both manifests; the same manifest twice passes.

    train, validation: paths of the manifests. cases, validation_cases: their normals. Returns whether the manifests
    name patients, so that this could be checked. Raises TrainingError where a film or a patient is in both.
    """
    if Path(train).resolve() == Path(validation).resolve():
        return True
    both, has_patients = shared_patients(train, validation)
    if both:
        raise TrainingError(
            f"{len(both)} patients are in both manifests ({', '.join(both[:3])} …), so validation would be no test. "
            "Split by patient: `diff3m prepare` does."
        )
    if films := shared_films(cases, validation_cases):
        raise TrainingError(
            f"{len(films)} films are in both manifests ({', '.join(path.name for path in films[:3])} …), so validation "
            "would be no test. Take them out of one of the two."
        )
    return has_patients
