"""Calibrate a checkpoint on normal films and evaluate it on a manifest, in batches, with bad films counted and named."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch

from ..analysis import Analysis
from ..case import Case as PreparedCase
from ..checkpoint.folder import write_config
from ..data.manifest import NORMAL, Case, ManifestError, normal_cases, read_manifest
from ..detector import Detector
from ..imaging.radiograph import RadiographError
from ..scoring.score import Scoring, calibrate
from .metrics import detection_metrics

Report = Callable[[int, int], None]


@dataclass(frozen=True)
class Scored:
    """One row of a manifest after analysis: the analysis, or the sentence that says why there is none."""

    case: Case
    analysis: Analysis | None
    error: str = ""


def analyze_cases(
    detector: Detector, cases: Sequence[Case], batch_size: int = 16, report: Report | None = None, **settings
) -> Iterator[Scored]:
    """Analyze a manifest's films batch by batch, in order; unreadable films come back with their error."""

    def prepare(row: Case) -> PreparedCase | RadiographError:
        try:
            return detector.case(row.path, row.record)
        except RadiographError as error:
            return error

    with ThreadPoolExecutor() as pool:
        for start in range(0, len(cases), batch_size):
            rows = cases[start : start + batch_size]
            prepared = list(pool.map(prepare, rows))
            good = [case for case in prepared if not isinstance(case, RadiographError)]
            analyses = iter(detector.analyze_many(good, batch_size=batch_size, **settings))
            for row, case in zip(rows, prepared, strict=True):
                failed = isinstance(case, RadiographError)
                yield Scored(row, None, str(case)) if failed else Scored(row, next(analyses))
            if report:
                report(min(start + batch_size, len(cases)), len(cases))


def calibrate_checkpoint(
    detector: Detector, manifest: str | Path, scoring: Scoring | None = None, report: Report | None = None
) -> Scoring:
    """Measure the normal films of a manifest and write the calibration into the checkpoint's config.json.

    scoring replaces the checkpoint's components and settings. Raises ManifestError without at least two normals.
    """
    plain = detector.with_scoring(replace(scoring or detector.scoring, calibration=()))
    values, views, heat_maps, anomaly_maps = [], [], [], []
    for scored in analyze_cases(plain, normal_cases(manifest, detector.schema), report=report):
        if scored.analysis is not None:
            values.append([value for _, value, _ in scored.analysis.components])
            views.append(_view(scored.case) or None)
            heat_maps.append(scored.analysis.heat_map)
            anomaly_maps.append(scored.analysis.anomaly_map)
    if len(values) < 2:
        raise ManifestError(
            f"The manifest {manifest} holds fewer than two readable normal films; a calibration needs more."
        )
    anomalies = None if anomaly_maps[0] is None else torch.from_numpy(np.stack(anomaly_maps))
    calibrated = calibrate(plain.scoring, torch.tensor(values), views, torch.from_numpy(np.stack(heat_maps)), anomalies)
    if detector.checkpoint.folder is not None:
        write_config(detector.checkpoint.folder, plain.with_scoring(calibrated).config)
    return calibrated


def _view(case: Case) -> str:
    return str(case.record.get("view") or "")


def evaluate(
    detector: Detector,
    manifest: str | Path,
    out: str | Path,
    limit: int | None = None,
    batch_size: int = 16,
    report: Report | None = None,
    **settings,
) -> dict:
    """Score a manifest; write scores.csv and metrics.json under `out`; return the metrics.

    A label other than `normal` counts as abnormal. Metrics are given for the score, and for the plain mean squared error
    under "mse"; under "labels" for each abnormal label against the normals. Raises ManifestError.
    """
    cases = read_manifest(manifest, detector.schema, limit)
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    rows = list(_write_scores(out / "scores.csv", analyze_cases(detector, cases, batch_size, report, **settings)))
    good = [row for row in rows if not row["error"]]
    if not good:
        raise ManifestError(
            f"None of the {len(rows)} films of {manifest} could be scored; scores.csv says why for each."
        )
    metrics = {
        "checkpoint": detector.config.name,
        "weights_sha256": detector.checkpoint.sha256,
        "settings": asdict(detector.settings(**settings)),
        "rows": len(rows),
        "unreadable": [{"row": row["row"], "path": row["path"], "error": row["error"]} for row in rows if row["error"]],
        "unlabelled": sum(1 for row in good if not row["label"]),
        **summarize([row for row in good if row["label"]]),
    }
    (out / "metrics.json").write_text(json.dumps(metrics, indent=1) + "\n")
    return metrics


def summarize(rows: list[dict]) -> dict:
    """Metrics of labelled rows (keys score, mse, label, view): of the score, of "mse", and of each abnormal label."""
    if not rows:
        nothing = detection_metrics(np.zeros(0), np.zeros(0, dtype=bool), np.zeros(0, dtype="U2"))
        return {**nothing, "mse": nothing, "labels": {}}
    score, mse = (np.array([row[name] for row in rows], dtype=np.float64) for name in ("score", "mse"))
    label, view = (np.array([row[name] for row in rows], dtype=object).astype(str) for name in ("label", "view"))
    abnormal = label != NORMAL
    result = detection_metrics(score, abnormal, view)
    result["mse"] = detection_metrics(mse, abnormal, view)
    result["labels"] = {}
    for name in np.unique(label[abnormal]):
        part = (label == name) | ~abnormal
        result["labels"][str(name)] = {
            **detection_metrics(score[part], abnormal[part], view[part]),
            "mse": detection_metrics(mse[part], abnormal[part], view[part]),
        }
    return result


def _write_scores(path: Path, scored: Iterable[Scored]) -> Iterator[dict]:
    """Write each row as it is scored; yields the rows."""
    fields = ["row", "path", "label", "view", "score", "percentile", "compared_with", "mse", "error"]
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, fields)
        writer.writeheader()
        for entry in scored:
            row = dict.fromkeys(fields, "")
            row.update(
                row=entry.case.row,
                path=str(entry.case.path),
                label=entry.case.label or "",
                view=_view(entry.case),
                error=entry.error,
            )
            if entry.analysis is not None:
                analysis = entry.analysis
                row.update(
                    score=analysis.score,
                    percentile=analysis.percentile,
                    compared_with=analysis.compared_with,
                    mse=float(np.square(analysis.residual).mean()),
                )
                if analysis.score is None:
                    raise ManifestError(
                        "This checkpoint has not been calibrated, so it gives no score: run `diff3m calibrate` first."
                    )
            writer.writerow(row)
            yield row
