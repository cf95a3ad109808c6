"""Evaluate a checkpoint on a manifest, in parts and batches, with unreadable films counted and named."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from ..analysis import Analysis
from ..case import Case as PreparedCase
from ..checkpoint.folder import file_sha256
from ..data.manifest import NORMAL, REPORT_COLUMNS, Case, Manifest, ManifestError
from ..detector import Detector
from ..ehr import category_of
from ..imaging import GateError, RadiographError, read_film
from .metrics import choose_repeats, detection_metrics
from .shards import SINGLE_PROCESS, Parts, Processes, Report
from .subgroups import assign_groups, compute_subgroup_metrics, write_subgroups

GROUPS = ("sex", "age", "view", "bmi", *REPORT_COLUMNS)
ROW_SCHEMA = pa.schema(
    [
        ("row", pa.int64()), ("path", pa.string()), ("label", pa.string()), ("view", pa.string()),
        ("sex", pa.string()), ("age", pa.string()), ("bmi", pa.string()),
        *((name, pa.string()) for name in REPORT_COLUMNS),
        ("score", pa.float64()), ("percentile", pa.float64()), ("compared_with", pa.string()), ("mse", pa.float64()),
        ("accepted", pa.string()), ("notes", pa.string()), ("stopped", pa.string()), ("error", pa.string()),
    ]
)  # fmt: skip
NOT_CALIBRATED = "This checkpoint has not been calibrated, so it gives no score: run `diff3m calibrate` first."


@dataclass(frozen=True)
class CaseResult:
    """One row of a manifest after analysis: the analysis, or the sentence that says why there is none.

    by_gate: whether that is because the gate stopped the film.
    """

    case: Case
    analysis: Analysis | None
    error: str = ""
    by_gate: bool = False


def analyze_cases(
    detector: Detector,
    cases: Sequence[Case],
    batch_size: int = 16,
    report: Report | None = None,
    accept: bool = False,
    **settings,
) -> Iterator[CaseResult]:
    """Analyze a manifest's films batch by batch, in order; the next batch is read meanwhile.

    Films that cannot be read, and those that the gate stops, come back with their error. report: called with (films so
    far, all films) after each batch. accept: analyze what the gate stops, too. settings: of `Detector.analyze`.
    """
    remaining, done = iter(cases), 0

    def prepare(row: Case) -> PreparedCase | RadiographError:
        return prepare_case(detector, row, accept)

    with ThreadPoolExecutor() as pool:
        rows = list(islice(remaining, batch_size))
        waiting = [pool.submit(prepare, row) for row in rows]
        while rows:
            batch, prepared = rows, [future.result() for future in waiting]
            rows = list(islice(remaining, batch_size))
            waiting = [pool.submit(prepare, row) for row in rows]
            good = [case for case in prepared if not isinstance(case, RadiographError)]
            analyses = iter(detector.analyze_many(good, batch_size=batch_size, **settings))
            for row, case in zip(batch, prepared, strict=True):
                if isinstance(case, RadiographError):
                    yield CaseResult(row, None, format_exclusion(row, case), isinstance(case, GateError))
                else:
                    yield CaseResult(row, next(analyses))
            done += len(batch)
            if report:
                report(done, len(cases))


def prepare_case(detector: Detector, row: Case, accept: bool) -> PreparedCase | RadiographError:
    """Read and prepare the film of a manifest's row; return the error where that fails.

    accept: accept films that the gate stops.
    """
    try:
        return detector.case(read_film(row.path, accept), row.record)
    except RadiographError as error:
        return error


def format_exclusion(row: Case, error: RadiographError) -> str:
    """Return the sentences that say why a row's film was left out."""
    return f"{error} {row.note}".strip()


def describe_run(detector: Detector, manifest: str | Path, **more: object) -> dict:
    """Return what a detector's results on a manifest depend on, as JSON values; see `shards.Parts`.

    more: further values by name.
    """
    checkpoint = detector.checkpoint
    return {
        "manifest": file_sha256(Path(manifest)),
        "checkpoint": checkpoint.sha256,
        "score": detector.scoring.to_dict(),
        "precision": detector.precision,
        "device": detector.device.type,
        **more,
    }


def evaluate(
    detector: Detector,
    manifest: str | Path,
    out: str | Path,
    limit: int | None = None,
    batch_size: int = 16,
    report: Report | None = None,
    accept: bool = False,
    processes: Processes = SINGLE_PROCESS,
    **settings,
) -> dict | None:
    """Score a manifest; write scores.csv, metrics.json, subgroups.json and subgroups.md; return the metrics.

    A label other than `normal` counts as abnormal. limit: only the first rows. processes: that share the rows (see
    `shards`); all but the first return None. settings: of `Detector.analyze`. Metrics are given for the score, and for
    the plain mean squared error under "mse"; under "labels" for each abnormal label against the normals; under
    "subgroups" by groups of patients. Films that cannot be read, and those that the gate stops, enter no metric:
    scores.csv says why for each, "unreadable" and "stopped" count them. A film that several rows name counts for each;
    "duplicates" is how many rows name one that an earlier row names. With accept, films that the gate stops are
    scored, and counted under "accepted". What is done of a run that was ended is not done again. Raises ManifestError,
    or ShardError where another process has ended.
    """
    if not detector.scoring.calibration:
        raise ManifestError(NOT_CALIBRATED)
    options = asdict(detector.settings(**settings))
    rows, out = Manifest(manifest, detector.schema, limit), Path(out)
    identity = describe_run(detector, manifest, settings=options, accept=accept, limit=limit)
    parts = Parts(out / "parts", len(rows), batch_size, ROW_SCHEMA, identity)

    def score(part: list[Case]) -> Iterator[dict]:
        return map(make_score_row, analyze_cases(detector, part, batch_size, accept=accept, **settings))

    parts.compute(rows.cases, score, processes, report)
    if not processes.is_first:
        return None
    parts.write_csv(out / "scores.csv")
    table = parts.read_frame(["label", *GROUPS, "score", "percentile", "mse", "accepted", "stopped", "error"])
    has_error, by_gate = table["error"] != "", table["stopped"] != ""
    if has_error.all():
        parts.remove()  # so that the same command reads films that are repaired
        raise ManifestError(
            f"None of the {len(table)} films of {manifest} could be scored; scores.csv says why for each."
        )
    with_score = table[~has_error] if has_error.any() else table
    has_label = with_score["label"] != ""
    with_label = with_score if has_label.all() else with_score[has_label]
    metrics = {
        "checkpoint": detector.config.name,
        "weights_sha256": detector.checkpoint.sha256,
        "settings": options,
        "rows": len(table),
        "duplicates": rows.duplicates,
        "unreadable": int((has_error & ~by_gate).sum()),
        "stopped": int(by_gate.sum()),
        "accepted": int((with_score["accepted"] != "").sum()),
        "unlabelled": len(with_score) - len(with_label),
        **summarize(with_label),
        "subgroups": measure_subgroups(with_label),
    }
    (out / "metrics.json").write_text(json.dumps(metrics, indent=1) + "\n")
    write_subgroups(out, metrics["subgroups"])
    parts.remove()
    return metrics


def make_score_row(result: CaseResult) -> dict:
    """Return one row of scores.csv."""
    case, analysis = result.case, result.analysis
    row = {
        "row": case.row,
        "path": str(case.path),
        "label": case.label or "",
        "view": category_of(case.record, "view") or "",
        **assign_groups(case.record, case.report_columns),
        "compared_with": "",
        "accepted": "",
        "notes": "",
        "stopped": "yes" if result.by_gate else "",
        "error": result.error,
    }
    if analysis is None:
        return row
    return row | {
        "score": analysis.score,
        "percentile": analysis.percentile,
        "compared_with": analysis.compared_with,
        "mse": float(np.square(analysis.residual).mean()),
        "accepted": " ".join(analysis.accepted),
        "notes": " ".join([*analysis.notes, *case.notes]),
    }


def summarize(rows: pd.DataFrame) -> dict:
    """Compute metrics of labelled rows (columns score, mse, label, view), of the score, of "mse" and by label."""
    label, view = rows["label"], np.asarray(rows["view"], dtype="U")
    abnormal = np.asarray(label != NORMAL)
    repeats = choose_repeats(len(rows))

    def metrics(name: str, part: np.ndarray) -> dict:
        return detection_metrics(rows[name].to_numpy()[part], abnormal[part], view[part], repeats)

    everything = np.ones(len(rows), bool)
    result: dict = {**metrics("score", everything), "mse": metrics("mse", everything), "labels": {}}
    for name in sorted(set(label.unique()) - {NORMAL}):
        part = np.asarray(label == name) | ~abnormal
        result["labels"][str(name)] = {**metrics("score", part), "mse": metrics("mse", part)}
    return result


def measure_subgroups(rows: pd.DataFrame) -> dict:
    """Measure groups of patients on labelled rows; see `subgroups.compute_subgroup_metrics`."""
    abnormal, view = np.asarray(rows["label"] != NORMAL), np.asarray(rows["view"], dtype="U")
    scores, percentiles = rows["score"].to_numpy(), rows["percentile"].to_numpy()
    groups = {name: rows[name] for name in GROUPS}
    return compute_subgroup_metrics(scores, percentiles, abnormal, view, groups, choose_repeats(len(rows)))
