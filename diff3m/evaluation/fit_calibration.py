"""Calibrate the fit of the record on the normal films of a manifest, in parts over many processes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa

from ..case import Case as PreparedCase
from ..data.manifest import NORMAL, Case, Manifest
from ..detector import Detector
from ..explain.calibration import (
    USUAL_FILMS,
    FitCalibration,
    add_usual_movements,
    fit_normals,
    make_uncalibrated_fits,
    measure_case_deviations,
    measure_case_movements,
)
from ..explain.needs import ExplanationError, Need, require
from ..imaging import RadiographError
from .run import describe_run, prepare_case
from .shards import SINGLE_PROCESS, Parts, Processes

ROW_SCHEMA = pa.schema([("values", pa.list_(pa.float64()))])  # of a film, one for each fit; null if it is left out


def calibrate_fit_on_normals(
    detector: Detector,
    manifest: str | Path,
    folder: str | Path,
    report: Callable[[str, int, int], None] | None = None,
    accept: bool = False,
    processes: Processes = SINGLE_PROCESS,
) -> FitCalibration:
    """Measure normal films under their own record, and how much the records of the first `USUAL_FILMS` usually move.

    folder: where measurements are stored until all are done, so that a run that was ended goes on. report: called with
    (stage, films of this process that are done, all of them). accept: use films that the gate stops; without it they
    are left out, as are films that cannot be read. processes: that share the films and see the folder. Raises
    ManifestError without a normal film, ExplanationError for fewer than two films of a group, ShardError where another
    process has ended.
    """
    require(detector, Need.UNKNOWN_TOKENS)
    rows, folder, fits = (
        Manifest(manifest, detector.schema, label=NORMAL),
        Path(folder),
        make_uncalibrated_fits(detector),
    )
    identity = describe_run(detector, manifest, accept=accept, fits=[asdict(fit) for fit in fits])

    def compute(
        stage: str, positions: list[int] | range, measure: Callable[[PreparedCase], np.ndarray]
    ) -> tuple[Parts, list[np.ndarray | None]]:
        """Measure the films at some positions of the manifest; None for one that cannot be measured."""
        places = {position: place for place, position in enumerate(positions)}

        def read_items(selects: Callable[[int], bool]) -> Iterator[Case]:
            return rows.cases(lambda position: position in places and selects(places[position]))

        def measure_part(part: list[Case]) -> Iterator[dict]:
            for case in (prepare_case(detector, row, accept) for row in part):
                yield {"values": None if isinstance(case, RadiographError) else measure(case).tolist()}

        parts = Parts(folder / f"{stage}-parts", len(places), 1, ROW_SCHEMA, identity)
        parts.compute(read_items, measure_part, processes, partial(report, stage) if report else None)
        values = (row["values"] for row in parts.read_rows())
        return parts, [None if entry is None else np.array(entry) for entry in values]

    deviation_parts, deviations = compute(
        "fit", range(len(rows)), partial(measure_case_deviations, detector, fits=fits)
    )
    try:
        calibration = fit_normals(fits, [values for values in deviations if values is not None])
    except ExplanationError:
        deviation_parts.remove(processes)  # so that another manifest can be tried
        raise
    config = replace(detector.config, fit=calibration.fit, prior_fit=calibration.prior_fit)
    usable = [position for position, values in enumerate(deviations) if values is not None]
    movement_parts, movements = compute(
        "movement", usable[:USUAL_FILMS], partial(measure_case_movements, detector.with_config(config))
    )
    calibration = replace(
        calibration,
        prior_fit=add_usual_movements(calibration.prior_fit, [values for values in movements if values is not None]),
    )
    movement_parts.remove(processes)
    deviation_parts.remove(processes)
    return calibration
