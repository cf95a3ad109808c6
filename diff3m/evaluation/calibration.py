"""Measure normal films, for the scale of scores and percentiles."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from ..data.manifest import NORMAL, Case, Manifest, ManifestError
from ..detector import Detector
from ..ehr import category_of
from ..findings import largest_in_organs
from ..scoring.calibrate import calibrate_scoring
from ..scoring.chest import chest_regions
from ..scoring.score import Scoring
from .run import CaseResult, analyze_cases, describe_run
from .shards import SINGLE_PROCESS, Parts, Processes, Report, pack_image, unpack_image

BATCH = 16
MAX_MAPS = 2000  # films, evenly spaced, whose maps say where their display starts: more would not fit into memory
ROW_SCHEMA = pa.schema(
    [("view", pa.string()), ("values", pa.list_(pa.float64())), ("heat", pa.binary()), ("reconstruction", pa.binary())]
)

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
        return [category_of(case.record, "view") for case in self.cases]


def calibrate_on_normals(
    detector: Detector,
    manifest: str | Path,
    scoring: Scoring | None = None,
    report: Report | None = None,
    accept: bool = False,
    folder: str | Path | None = None,
    processes: Processes = SINGLE_PROCESS,
) -> Scoring:
    """Measure the normal films of a manifest and return the scoring with its calibration.

    scoring: components and settings in place of the checkpoint's own. report, accept: as in `analyze_cases`; films that
    the gate stops are left out unless they are accepted. folder: where measurements are stored until all are done, so
    that a run that was ended goes on; default, a temporary one. processes: that share the films and see the folder.
    Nothing else is written. Raises ManifestError for fewer than two readable normals, ShardError where another process
    has ended.
    """
    if folder is None:
        with TemporaryDirectory() as temporary:
            return calibrate_on_normals(detector, manifest, scoring, report, accept, Path(temporary) / "parts")
    check_scoring(detector, scoring or detector.scoring)
    plain = detector.with_scoring(replace(scoring or detector.scoring, calibration=()))
    rows = Manifest(manifest, detector.schema, label=NORMAL)
    stride = -(-len(rows) // MAX_MAPS)
    parts = Parts(Path(folder), len(rows), BATCH, ROW_SCHEMA, describe_run(plain, manifest, accept=accept))

    def read_items(selects: Callable[[int], bool]) -> Iterator[tuple[int, Case]]:
        return zip(filter(selects, range(len(rows))), rows.cases(selects), strict=True)

    def measure(part: list[tuple[int, Case]]) -> Iterator[dict]:
        positions = (position for position, _ in part)
        results = analyze_cases(plain, [case for _, case in part], BATCH, accept=accept)
        for position, result in zip(positions, results, strict=True):
            yield _make_row(result, with_maps=position % stride == 0)

    parts.compute(read_items, measure, processes, report)
    values, views, maps, reconstructions = [], [], [], []
    for row in parts.read_rows():
        if row["values"] is not None:
            values.append(row["values"])
            views.append(row["view"])
        if row["heat"] is not None:
            maps.append(unpack_image(row["heat"]))
            reconstructions.append(unpack_image(row["reconstruction"]))
    parts.remove(processes)
    check_count(len(values), manifest)
    regions = torch.from_numpy(chest_regions(np.stack(reconstructions)) > 0.5) if plain.scoring.chest else None
    scoring = calibrate_scoring(plain.scoring, torch.tensor(values), views, torch.from_numpy(np.stack(maps)), regions)
    places = [largest_in_organs(*pair, scoring) for pair in zip(maps, reconstructions, strict=True)]
    return replace(scoring, place_normal=round(float(np.percentile(places, PLACE_SHARE)), 5))


def _make_row(result: CaseResult, with_maps: bool) -> dict:
    """Return what a calibration needs of a film: component values, view and, of some films, the maps as float32."""
    analysis, view = result.analysis, category_of(result.case.record, "view")
    if analysis is None:
        return {"view": view}
    row: dict = {"view": view, "values": [value for _, value, _ in analysis.components]}
    if with_maps:
        row |= {"heat": pack_image(analysis.heat_map), "reconstruction": pack_image(analysis.reconstruction)}
    return row


def measure_cases(
    detector: Detector, cases: list[Case], report: Report | None = None, accept: bool = False
) -> Measurements:
    """Measure the components of the detector's score on films of a manifest."""
    readable, values, unreadable = [], [], []
    for result in analyze_cases(detector, cases, report=report, accept=accept):
        if result.analysis is None:
            unreadable.append(f"row {result.case.row}: {result.error}")
            continue
        readable.append(result.case)
        values.append([value for _, value, _ in result.analysis.components])
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


def check_count(normals: int, manifest: str | Path) -> None:
    """Raise ManifestError where there are too few normal films for a calibration."""
    if normals < 2:
        raise ManifestError(
            f"The manifest {manifest} holds fewer than two readable normal films that pass the gate; a calibration "
            "needs more."
        )
