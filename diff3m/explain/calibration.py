"""Calibrate the fit of the record on normal films.

Measured are how far normal films lie from their own record, and how far each group of a record alone usually moves the
film that is expected. Each film is measured independently, so several processes can share them
(`evaluation.fit_calibration`).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..case import Case
from ..detector import Detector
from ..scoring.record_fit import GroupFit
from .attribution import measure_lone_movements
from .needs import ExplanationError
from .record_fit import get_calibrated_fits, knows_group, list_explainable_groups, measure_deviations

LEVEL, LEVELS = 350, {"sex": 600}  # noise level of a group, chosen by a rule (studies/23-explanation-choices)
PRIOR_LEVEL = 850  # where noise hides the film, so that an estimate depends on the record alone; same source
USUAL_FILMS = 300  # normal films on which the usual movements are measured
QUANTILES = 101  # of the usual movements


@dataclass(frozen=True)
class FitCalibration:
    """The calibrated fit of each explanation group: given the film (`fit`), and without it (`prior_fit`)."""

    fit: tuple[GroupFit, ...]
    prior_fit: tuple[GroupFit, ...]


def calibrate_fit(detector: Detector, cases: Iterable[Case], levels: Mapping[str, int] | None = None) -> FitCalibration:
    """Measure normal films under their own record.

    levels: noise level of `fit` by explanation group (default: `LEVELS`, else `LEVEL`); that of `prior_fit` is
    `PRIOR_LEVEL` for all groups. Raises ExplanationError for fewer than two films of a group.
    """
    fits = make_uncalibrated_fits(detector, levels)
    return fit_normals(fits, [measure_case_deviations(detector, case, fits) for case in cases])


def calibrate_usual(detector: Detector, cases: Iterable[Case]) -> tuple[GroupFit, ...]:
    """Measure how far each group alone usually moves the expected film, on the first `USUAL_FILMS` normal cases.

    Returns the detector's prior fits with `GroupFit.movements`. Raises ExplanationError where it has none.
    """
    fits = get_calibrated_fits(detector, prior=True)
    return add_usual_movements(
        fits, [measure_case_movements(detector, case) for case in itertools.islice(cases, USUAL_FILMS)]
    )


def make_uncalibrated_fits(detector: Detector, levels: Mapping[str, int] | None = None) -> tuple[GroupFit, ...]:
    """Return the fits to be calibrated: those of each explainable group given the film, then those without it.

    levels: see `calibrate_fit`.
    """
    levels, groups = {**LEVELS, **(levels or {})}, list_explainable_groups(detector)
    beside = (GroupFit(group, levels.get(group, LEVEL), 0.0, 1.0, 0) for group in groups)
    return (*beside, *(GroupFit(group, PRIOR_LEVEL, 0.0, 1.0, 0) for group in groups))


def measure_case_deviations(detector: Detector, case: Case, fits: Sequence[GroupFit]) -> np.ndarray:
    """Measure a film's deviation from its own record for each fit: (fits,), NaN where the group is unknown."""
    along, _ = measure_deviations(detector, detector.inputs([case]), [case.record], fits)
    return np.where([knows_group(detector, case.record, fit.group) for fit in fits], along[0], np.nan)


def measure_case_movements(detector: Detector, case: Case) -> np.ndarray:
    """Measure how far each group of a record alone moves the expected film: (prior fits,), NaN for unknown groups.

    Raises ExplanationError where the fit is not calibrated.
    """
    fits = get_calibrated_fits(detector, prior=True)
    movements = measure_lone_movements(detector, case)
    return np.array([movements.get(fit.group, np.nan) for fit in fits])


def fit_normals(fits: Sequence[GroupFit], deviations: Sequence[np.ndarray]) -> FitCalibration:
    """Return the fits of `make_uncalibrated_fits` with mean, spread and count of normal films' deviations.

    deviations: of each film, as `measure_case_deviations` returns them. Raises ExplanationError for fewer than two
    films of a group.
    """
    if len(deviations) < 2:
        raise ExplanationError("A calibration of the record's fit needs at least two normal films.")
    table = np.stack(deviations)
    counts = (~np.isnan(table)).sum(0)
    if missing := dict.fromkeys(fit.group for fit, count in zip(fits, counts, strict=True) if count < 2):
        raise ExplanationError(
            f"Fewer than two films of the manifest know {', '.join(missing)}; a calibration needs more."
        )
    means, spreads = np.nanmean(table, 0), np.nanstd(table, 0, ddof=1)
    result = tuple(
        replace(fit, mean=float(mean), std=float(max(spread, 1e-6)), count=int(count))
        for fit, mean, spread, count in zip(fits, means, spreads, counts, strict=True)
    )
    return FitCalibration(result[: len(fits) // 2], result[len(fits) // 2 :])


def add_usual_movements(fits: Sequence[GroupFit], movements: Sequence[np.ndarray]) -> tuple[GroupFit, ...]:
    """Return the prior fits with the quantiles of how far single groups of normal people move the expected film.

    movements: of each film, as `measure_case_movements` returns them.
    """
    sizes_by_group = np.array(movements).reshape(-1, len(fits)).T
    return tuple(
        replace(fit, movements=_compute_quantiles(sizes)) for fit, sizes in zip(fits, sizes_by_group, strict=True)
    )


def _compute_quantiles(sizes: np.ndarray) -> tuple[float, ...]:
    """Return `QUANTILES` evenly spaced quantiles of sizes, ignoring NaN; empty where all are NaN."""
    sizes = sizes[~np.isnan(sizes)]
    if not len(sizes):
        return ()
    return tuple(float(f"{size:.4g}") for size in np.quantile(sizes, np.linspace(0, 1, QUANTILES)))
