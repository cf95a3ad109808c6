"""Patients and films that two manifests share, so that no model is measured on its training films."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from .manifest import Case, ManifestError, read_patients_by_row
from .table import read_table

MAX_EXAMPLES = 3  # patients or films that a message names


def check_disjoint(
    first: str | Path, second: str | Path, first_cases: Iterable[Case], second_cases: Iterable[Case], consequence: str
) -> bool:
    """Check that two manifests share no patient and no film.

    first, second: paths of the manifests. first_cases, second_cases: the rows whose films must differ. consequence:
    what a shared film would mean, as the end of a sentence, e.g. "so validation would be no test". Returns whether both
    manifests name patients, so that these could be compared. Raises ManifestError where a patient or a film is in both.
    """
    advice = "Take them out of one of the two; `diff3m prepare` splits by patient."
    patients, has_patients = find_shared_patients(first, second)
    if patients:
        names = ", ".join(patients[:MAX_EXAMPLES])
        raise ManifestError(
            f"Patients in both {first} and {second}: {len(patients)} ({names} …), {consequence}. {advice}"
        )
    if films := find_shared_films(first_cases, second_cases):
        names = ", ".join(path.name for path in films[:MAX_EXAMPLES])
        raise ManifestError(f"Films in both {first} and {second}: {len(films)} ({names} …), {consequence}. {advice}")
    return has_patients


def find_shared_patients(first: str | Path, second: str | Path) -> tuple[list[str], bool]:
    """Return the patients that two manifests both name, sorted, and whether both name any. Raises ManifestError."""
    one, other = read_patients(first), read_patients(second)
    return sorted(one & other), bool(one and other)


def read_patients(path: str | Path) -> set[str]:
    """Read the patients that a manifest names in `patient` or `subject_id`, as `normalize_patient` writes them.

    The set is empty without such a column. Raises ManifestError.
    """
    keys = read_patients_by_row(read_table(path))
    return set(keys) - {""} if keys is not None else set()


def find_shared_films(first: Iterable[Case], second: Iterable[Case]) -> list[Path]:
    """Return the absolute paths of the films that are in both, sorted, however the manifests write them."""
    return sorted({case.path.resolve() for case in first} & {case.path.resolve() for case in second})
