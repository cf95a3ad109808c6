"""Calibrate the fit of the record on normal films: how far they lie from it, how much their records usually move."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping
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


def calibrate_fit(
    detector: Detector,
    cases: Iterable[Case],
    levels: Mapping[str, int] | None = None,
    report: Callable[[int], None] | None = None,
) -> FitCalibration:
    """Measure normal films under their own record.

    levels: noise level by explanation group beside the film (default: `LEVELS`, else `LEVEL`); before the film is
    seen it is `PRIOR_LEVEL` for all. report: called with the number of films done. Raises ExplanationError for fewer
    than two films of a group.
    """
    levels, groups = {**LEVELS, **(levels or {})}, explainable_groups(detector)
    unit_fits = [GroupFit(group, levels.get(group, LEVEL), 0.0, 1.0, 0) for group in groups]
    unit_fits += [GroupFit(group, PRIOR_LEVEL, 0.0, 1.0, 0) for group in groups]
    rows = []
    for done, case in enumerate(cases, start=1):
        along, _ = measure_deviations(detector, detector.inputs([case]), [case.record], unit_fits)
        known = [knows(detector, case.record, fit.group) for fit in unit_fits]
        rows.append(np.where(known, along[0], np.nan))
        if report:
            report(done)
    if len(rows) < 2:
        raise ExplanationError("A calibration of the record's fit needs at least two normal films.")
    table = np.stack(rows)
    count = (~np.isnan(table)).sum(0)
    if (count < 2).any():
        missing = ", ".join(group for group, films in zip(groups, count, strict=False) if films < 2)
        raise ExplanationError(f"Fewer than two films of the manifest know {missing}; a calibration needs more.")
    mean, std = np.nanmean(table, 0), np.nanstd(table, 0, ddof=1)
    fits = tuple(
        replace(fit, mean=float(middle), std=float(max(spread, 1e-6)), count=int(films))
        for fit, middle, spread, films in zip(unit_fits, mean, std, count, strict=True)
    )
    return FitCalibration(fits[: len(groups)], fits[len(groups) :])


def calibrate_usual(
    detector: Detector, cases: Iterable[Case], report: Callable[[int], None] | None = None
) -> tuple[GroupFit, ...]:
    """Measure how much each group usually moves normal before the film is seen, on normal cases.

    The first `USUAL_FILMS` of them count. Returns the detector's prior fits with `GroupFit.usual`. Raises
    ExplanationError where the fit is not calibrated.
    """
    fits, rows = calibrated_fits(detector, prior=True), []
    for done, case in enumerate(itertools.islice(cases, USUAL_FILMS), start=1):
        groups = attribute(detector, case, "prior", parts=False).groups
        rows.append([groups[fit.group] if knows(detector, case.record, fit.group) else np.nan for fit in fits])
        if report:
            report(done)
    sizes_by_group = np.abs(np.array(rows).reshape(-1, len(fits))).T
    return tuple(replace(fit, usual=_quantiles(sizes)) for fit, sizes in zip(fits, sizes_by_group, strict=True))


def _quantiles(sizes: np.ndarray) -> tuple[float, ...]:
    """Return evenly spaced quantiles of the sizes that are known (not NaN); empty where none is."""
    sizes = sizes[~np.isnan(sizes)]
    if not len(sizes):
        return ()
    return tuple(float(f"{size:.4g}") for size in np.quantile(sizes, np.linspace(0, 1, QUANTILES)))
