"""Calibrate the fit of the record on normal films: how far they lie from it, how much their records usually move.

Each number of a film depends on this film alone, so the films can be measured in any order and by several processes
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
from .attribution import attribute
from .needs import ExplanationError
from .record_fit import calibrated_fits, explainable_groups, knows, measure_deviations

LEVEL, LEVELS = 350, {"sex": 600}  # noise level of a group, chosen by a rule (studies/23-explanation-choices)
PRIOR_LEVEL = 850  # where noise hides the film, so that an estimate is what the record alone makes expect; same source
USUAL_FILMS = 300  # normal films that show how much a group usually moves
QUANTILES = 101  # of what those films show


@dataclass(frozen=True)
class FitCalibration:
    """The calibrated fit of each explanation group: beside the film, and before it is seen."""

    fit: tuple[GroupFit, ...]
    prior_fit: tuple[GroupFit, ...]


def calibrate_fit(detector: Detector, cases: Iterable[Case], levels: Mapping[str, int] | None = None) -> FitCalibration:
    """Measure normal films under their own record.

    levels: noise level by explanation group beside the film (default: `LEVELS`, else `LEVEL`); before the film is
    seen it is `PRIOR_LEVEL` for all. Raises ExplanationError for fewer than two films of a group.
    """
    fits = uncalibrated_fits(detector, levels)
    return fit_normals(fits, [case_deviations(detector, case, fits) for case in cases])


def calibrate_usual(detector: Detector, cases: Iterable[Case]) -> tuple[GroupFit, ...]:
    """Measure how much each group usually moves normal before the film is seen, on normal cases.

    The first `USUAL_FILMS` of them count. Returns the detector's prior fits with `GroupFit.usual`. Raises
    ExplanationError where the fit is not calibrated.
    """
    fits = calibrated_fits(detector, prior=True)
    return with_usual(fits, [case_movements(detector, case) for case in itertools.islice(cases, USUAL_FILMS)])


def uncalibrated_fits(detector: Detector, levels: Mapping[str, int] | None = None) -> tuple[GroupFit, ...]:
    """Return the fits to be calibrated: of each explainable group beside the film, then of each before it is seen.

    levels: see `calibrate_fit`.
    """
    levels, groups = {**LEVELS, **(levels or {})}, explainable_groups(detector)
    beside = (GroupFit(group, levels.get(group, LEVEL), 0.0, 1.0, 0) for group in groups)
    return (*beside, *(GroupFit(group, PRIOR_LEVEL, 0.0, 1.0, 0) for group in groups))


def case_deviations(detector: Detector, case: Case, fits: Sequence[GroupFit]) -> np.ndarray:
    """Measure a film's deviation from its own record for each fit: (fits,), NaN where the record holds nothing."""
    along, _ = measure_deviations(detector, detector.inputs([case]), [case.record], fits)
    return np.where([knows(detector, case.record, fit.group) for fit in fits], along[0], np.nan)


def case_movements(detector: Detector, case: Case) -> np.ndarray:
    """Measure how far each group of a record moves normal before the film is seen: (prior fits,), NaN where unknown.

    Raises ExplanationError where the fit is not calibrated.
    """
    fits = calibrated_fits(detector, prior=True)
    groups = attribute(detector, case, "prior", parts=False).groups
    return np.array([groups[fit.group] if knows(detector, case.record, fit.group) else np.nan for fit in fits])


def fit_normals(fits: Sequence[GroupFit], deviations: Sequence[np.ndarray]) -> FitCalibration:
    """Return the fits of `uncalibrated_fits` with mean, spread and count of normal films' deviations.

    deviations: of each film, as `case_deviations` returns them. Raises ExplanationError for fewer than two films of a
    group.
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


def with_usual(fits: Sequence[GroupFit], movements: Sequence[np.ndarray]) -> tuple[GroupFit, ...]:
    """Return the prior fits with quantiles of how far normal films' records move normal.

    movements: of each film, as `case_movements` returns them.
    """
    sizes_by_group = np.abs(np.array(movements).reshape(-1, len(fits))).T
    return tuple(replace(fit, usual=_quantiles(sizes)) for fit, sizes in zip(fits, sizes_by_group, strict=True))


def _quantiles(sizes: np.ndarray) -> tuple[float, ...]:
    """Return evenly spaced quantiles of the sizes that are known (not NaN); empty where none is."""
    sizes = sizes[~np.isnan(sizes)]
    if not len(sizes):
        return ()
    return tuple(float(f"{size:.4g}") for size in np.quantile(sizes, np.linspace(0, 1, QUANTILES)))
