"""Measure normal films, for the scale of scores and percentiles."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..analysis import Analysis
from ..data.manifest import Case, ManifestError, normal_cases
from ..detector import Detector
from ..findings import largest_in_organs
from ..scoring.calibrate import calibrate_scoring
from ..scoring.score import Scoring
from .run import Report, analyze_cases, view_of

PLACE_SHARE = 95  # percentile of normal films at whose largest difference a place stands out


@dataclass(frozen=True)
class Measurements:
    """Component values of films.

    cases: of the N films that could be measured. values: (N, components). unreadable: the sentence for each other film.
    """

    cases: list[Case]
    values: Tensor
    unreadable: list[str]

    @property
    def views(self) -> list[str | None]:
        """View of each film; None where unknown."""
        return [view_of(case) or None for case in self.cases]


def calibrate_on_normals(
    detector: Detector,
    manifest: str | Path,
    scoring: Scoring | None = None,
    report: Report | None = None,
    accept: bool = False,
) -> Scoring:
    """Measure the normal films of a manifest and return the scoring with its calibration. Nothing is written.

    scoring: components and settings in place of the checkpoint's own. report, accept: as in `analyze_cases`; films that
    the gate stops are left out unless they are accepted. Raises ManifestError for fewer than two readable normals.
    """
    check_scoring(detector, scoring or detector.scoring)
    plain = detector.with_scoring(replace(scoring or detector.scoring, calibration=()))
    heat_maps, reconstructions = [], []

    def collect(analysis: Analysis) -> None:
        heat_maps.append(analysis.heat_map)
        reconstructions.append(analysis.reconstruction)

    normals = measure_cases(
        plain,
        normal_cases(manifest, detector.schema),
        report,
        collect,
        accept,
    )
    check_normals(normals, manifest)
    calibrated = calibrate_scoring(plain.scoring, normals.values, normals.views, torch.from_numpy(np.stack(heat_maps)))
    places = [largest_in_organs(*maps, calibrated) for maps in zip(heat_maps, reconstructions, strict=True)]
    return replace(calibrated, place_normal=round(float(np.percentile(places, PLACE_SHARE)), 5))


def measure_cases(
    detector: Detector, cases: list[Case], report: Report | None = None, each=None, accept: bool = False
) -> Measurements:
    """Measure the components of the detector's score on films of a manifest.

    each: called with the Analysis of every readable film, in order.
    """
    readable, values, unreadable = [], [], []
    for result in analyze_cases(detector, cases, report=report, accept=accept):
        if result.analysis is None:
            unreadable.append(f"row {result.case.row}: {result.error}")
            continue
        readable.append(result.case)
        values.append([value for _, value, _ in result.analysis.components])
        if each:
            each(result.analysis)
    return Measurements(readable, torch.tensor(values), unreadable)


def check_scoring(detector: Detector, scoring: Scoring) -> None:
    """Raise ValueError where a checkpoint cannot measure a score."""
    last, schema = detector.config.schedule.timesteps, detector.schema
    for level in (scoring.noise_level, *(component.level for component in scoring.components)):
        if level > last:
            raise ValueError(f"The noise level {level} is beyond the checkpoint's last, {last}.")
    for component in scoring.components:
        if component.feature and component.feature not in schema:
            raise ValueError(f"This checkpoint has no feature {component.feature}; it knows {', '.join(schema.names)}.")


def check_normals(normals: Measurements, manifest: str | Path) -> None:
    """Raise ManifestError where there are too few normal films for a calibration."""
    if len(normals.cases) < 2:
        raise ManifestError(
            f"The manifest {manifest} holds fewer than two readable normal films that pass the gate; a calibration "
            "needs more."
        )
