"""Evaluate a checkpoint on a manifest, in batches, with unreadable films counted and named."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from ..analysis import Analysis
from ..case import Case as PreparedCase
from ..data.manifest import NORMAL, Case, ManifestError, read_manifest
from ..detector import Detector
from ..imaging import GateError, RadiographError, read_film
from .metrics import detection_metrics

Report = Callable[[int, int], None]


@dataclass(frozen=True)
class CaseResult:
    """One row of a manifest after analysis: the analysis, or the sentence that says why there is none.

    stopped: whether that is because the gate stopped the film.
    """

    case: Case
    analysis: Analysis | None
    error: str = ""
    stopped: bool = False


def analyze_cases(
    detector: Detector,
    cases: Sequence[Case],
    batch_size: int = 16,
    report: Report | None = None,
    accept: bool = False,
    **settings,
) -> Iterator[CaseResult]:
    """Analyze a manifest's films batch by batch, in order.

    Films that cannot be read, and those that the gate stops, come back with their error. report: called with (films so
    far, all films) after each batch. accept: analyze what the gate stops, too. settings: of `Detector.analyze`.
    """

    def prepare(row: Case) -> PreparedCase | RadiographError:
        try:
            return detector.case(read_film(row.path, accept), row.record)
        except RadiographError as error:
            return error

    with ThreadPoolExecutor() as pool:
        for start in range(0, len(cases), batch_size):
            rows = cases[start : start + batch_size]
            prepared = list(pool.map(prepare, rows))
            good = [case for case in prepared if not isinstance(case, RadiographError)]
            analyses = iter(detector.analyze_many(good, batch_size=batch_size, **settings))
            for row, case in zip(rows, prepared, strict=True):
                if isinstance(case, RadiographError):
                    yield CaseResult(row, None, f"{case} {row.note}".strip(), isinstance(case, GateError))
                else:
                    yield CaseResult(row, next(analyses))
            if report:
                report(min(start + batch_size, len(cases)), len(cases))


def view_of(case: Case) -> str:
    """Return the view that a case's record states; "" where it is unknown."""
    return str(case.record.get("view") or "")


def evaluate(
    detector: Detector,
    manifest: str | Path,
    out: str | Path,
    limit: int | None = None,
    batch_size: int = 16,
    report: Report | None = None,
    accept: bool = False,
    **settings,
) -> dict:
    """Score a manifest, write scores.csv and metrics.json, and return the metrics.

    A label other than `normal` counts as abnormal. limit: only the first rows. settings: of `Detector.analyze`. Metrics
    are given for the score, and for the plain mean squared error under "mse"; under "labels" for each abnormal label
    against the normals. Films that the gate stops are listed under "stopped" and enter no metric, unless accept is
    True: then they are scored, and counted under "accepted". Raises ManifestError.
    """
    cases = read_manifest(manifest, detector.schema, limit)
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    results = analyze_cases(detector, cases, batch_size, report, accept, **settings)
    rows = list(_write_scores(out / "scores.csv", results))
    scored = [row for row in rows if not row["error"]]
    if not scored:
        raise ManifestError(
            f"None of the {len(rows)} films of {manifest} could be scored; scores.csv says why for each."
        )
    metrics = {
        "checkpoint": detector.config.name,
        "weights_sha256": detector.checkpoint.sha256,
        "settings": asdict(detector.settings(**settings)),
        "rows": len(rows),
        "unreadable": _errors(row for row in rows if row["error"] and not row["stopped"]),
        "stopped": _errors(row for row in rows if row["stopped"]),
        "accepted": sum(1 for row in scored if row["accepted"]),
        "unlabelled": sum(1 for row in scored if not row["label"]),
        **summarize([row for row in scored if row["label"]]),
    }
    (out / "metrics.json").write_text(json.dumps(metrics, indent=1) + "\n")
    return metrics


def _errors(rows: Iterable[dict]) -> list[dict]:
    return [{name: row[name] for name in ("row", "path", "error")} for row in rows]


def summarize(rows: list[dict]) -> dict:
    """Compute metrics of labelled rows (keys score, mse, label, view), of the score, of "mse" and by label."""
    if not rows:
        empty = detection_metrics(np.zeros(0), np.zeros(0, dtype=bool), np.zeros(0, dtype="U2"))
        return {**empty, "mse": empty, "labels": {}}
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


def _write_scores(path: Path, results: Iterable[CaseResult]) -> Iterator[dict]:
    """Write each row as it is scored, and yield it."""
    fields = ["row", "path", "label", "view", "score", "percentile", "compared_with", "mse", "accepted", "notes"]
    fields += ["stopped", "error"]
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, fields)
        writer.writeheader()
        for result in results:
            row: dict = dict.fromkeys(fields, "")
            row.update(
                row=result.case.row,
                path=str(result.case.path),
                label=result.case.label or "",
                view=view_of(result.case),
                stopped="yes" if result.stopped else "",
                error=result.error,
            )
            if result.analysis is not None:
                analysis = result.analysis
                row.update(
                    score=analysis.score,
                    percentile=analysis.percentile,
                    compared_with=analysis.compared_with,
                    mse=float(np.square(analysis.residual).mean()),
                    accepted=" ".join(analysis.accepted),
                    notes=" ".join([*analysis.notes, result.case.note]).strip(),
                )
                if analysis.score is None:
                    raise ManifestError(
                        "This checkpoint has not been calibrated, so it gives no score: run `diff3m calibrate` first."
                    )
            writer.writerow(row)
            yield row
