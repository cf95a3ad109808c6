"""Our detector beside other methods of unsupervised anomaly detection, on the same films and by the same protocol."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import time
from collections.abc import Collection, Mapping
from pathlib import Path

import numpy as np
import torch

from ..data.manifest import NORMAL
from ..detector import Detector
from ..scoring.filters import Border, inner
from . import BASELINES, RELEASED_STRIDE
from .charts import comparison
from .films_table import tables
from .labelled_films import Cohort, check_apart, load_cohort
from .methods import Judgment, Method, Report, all_methods
from .metrics import average_precision, detection_metrics, mean_with_interval, paired_difference
from .phantoms import RECORDS

BATCH = 16
REPEATS = 1000  # of each bootstrap


def benchmark_films(
    detector: Detector,
    manifest: str | Path,
    train: str | Path,
    out: str | Path,
    boxes: str | Path | None = None,
    halves: str | None = None,
    simplex: Detector | None = None,
    report: Report = lambda stage, done, total: None,
    baselines: Collection[str] = BASELINES,
    released_stride: int = RELEASED_STRIDE,
) -> dict:
    """Train or load every method, judge the labelled films with each, and compare.

    Writes films.json, films.md, scores.csv and films.svg. Judgments are stored in `out` and not repeated with the same
    weights and films in the same precision.

    manifest: labelled films that nothing was trained on. train: manifest of normals that PCA and autoencoder learn
    from. out: folder. boxes: CSV of image, x, y, w, h in pixels of the film, matched to the manifest's column `image`.
    halves: column whose hash cuts the films in two parts that are also reported alone. simplex: a checkpoint trained
    with `noise: simplex`; without it AnoDDPM is measured with Gaussian noise only. report: called with (stage, done,
    total). baselines: which of them to measure. released_stride: timesteps from one step of the released loop to the
    next; 1 walks all of them. Returns what films.json holds; "patients_checked" says whether both manifests name their
    patients. Raises ManifestError, also where a patient or a film is in both manifests.
    """
    patients_checked, out = check_apart(train, manifest, detector.schema), Path(out)
    stored = out / "kept"
    stored.mkdir(parents=True, exist_ok=True)
    cohort = load_cohort(detector, Path(manifest), boxes, halves)
    films_key, measured_as, judgments, seconds = _fingerprint(cohort), _measured_as(detector), {}, {}
    for method in all_methods(detector, cohort, train, out, simplex, released_stride, report):
        if method.name in BASELINES and method.name not in baselines:
            continue
        path = stored / f"{method.name} {method.key} {measured_as} {films_key}.npz"
        judgments[method.name], seconds[method.name] = _judge(method, cohort, path, report)
    border = detector.scoring.border
    result: dict = {
        "checkpoint": detector.config.name,
        "weights_sha256": detector.checkpoint.sha256,
        "device": detector.device.type,
        "precision": detector.precision,
        "released_stride": released_stride,
        "patients_checked": patients_checked,
        "seconds_a_film": seconds,
        "parts": {part: compare(judgments, cohort, rows) for part, rows in _parts(cohort).items()},
        "localization": {name: localization(judgment.heat, cohort, border) for name, judgment in judgments.items()},
    }
    (out / "films.json").write_text(json.dumps(result, indent=1) + "\n")
    (out / "films.md").write_text(tables(result))
    _write_scores(out / "scores.csv", judgments, cohort)
    part = result["parts"]["B" if "B" in result["parts"] else "all"]
    comparison(part).savefig(out / "films.svg", metadata={"Date": None})
    return result


def _measured_as(detector: Detector) -> str:
    """Hash what a judgment depends on besides weights and films: the window, and how the detector computes."""
    scoring = detector.scoring
    how = scoring.border, scoring.heat_sigma, (detector.precision, detector.device.type)
    return hashlib.sha256(repr(how).encode()).hexdigest()[:8]


def _fingerprint(cohort: Cohort) -> str:
    """Hash the prepared films and their records."""
    records = json.dumps([case.record for case in cohort.cases], sort_keys=True).encode()
    return hashlib.sha256(cohort.x0.cpu().numpy().tobytes() + records).hexdigest()[:12]


def _judge(method: Method, cohort: Cohort, path: Path, report: Report) -> tuple[Judgment, float]:
    """Judge all films, or read the judgment from `path` if it is there. Returns it and the seconds a film."""
    if path.is_file():
        with np.load(path) as arrays:
            scores = {key.removeprefix("score "): arrays[key] for key in arrays.files if key.startswith("score ")}
            return Judgment(scores, arrays["heat"]), float(arrays["seconds"])
    judge, parts, seconds, count = method.build(), [], 0.0, len(cohort.cases)
    for start in range(0, count, BATCH):
        rows = slice(start, min(start + BATCH, count))
        started = time.perf_counter()
        parts.append(judge(cohort.x0[rows], rows))
        seconds += time.perf_counter() - started
        report(method.name, rows.stop, count)
    judgment, seconds = _joined(parts), seconds / count
    arrays = {"heat": judgment.heat, "seconds": seconds} | {f"score {key}": s for key, s in judgment.scores.items()}
    partial = path.with_name(f"{path.stem}.partial.npz")
    np.savez(partial, **arrays)
    os.replace(partial, path)
    return judgment, seconds


def _joined(parts: list[Judgment]) -> Judgment:
    scores = {key: np.concatenate([part.scores[key] for part in parts]) for key in parts[0].scores}
    return Judgment(scores, np.concatenate([part.heat for part in parts]))


def _parts(cohort: Cohort) -> dict[str, np.ndarray]:
    """Rows of all films, and of each part alone."""
    names = [name for name in np.unique(cohort.parts) if name]
    return {"all": np.ones(len(cohort.cases), bool)} | {str(name): cohort.parts == name for name in names}


def compare(judgments: Mapping[str, Judgment], cohort: Cohort, part: np.ndarray) -> dict:
    """Compare methods on a part of the films, by abnormal label.

    part: (N,) bool. Returns metrics of every score of every method, and the paired differences of our score from the
    best score of any baseline, and between records. The best baseline is picked on the very films that are reported,
    which favors it.
    """
    comparisons = {}
    for label in np.unique(cohort.labels[part & (cohort.labels != NORMAL)]):
        rows = part & np.isin(cohort.labels, (NORMAL, label))
        abnormal, views = cohort.labels[rows] == label, cohort.views[rows]
        if abnormal.all():
            continue
        methods = {
            name: {score: _metrics(values[rows], abnormal, views) for score, values in judgment.scores.items()}
            for name, judgment in judgments.items()
        }
        others = [(name, score) for name in methods if not name.startswith("ours") for score in methods[name]]
        best = max(others, key=lambda pair: methods[pair[0]][pair[1]]["auroc_within_view"] or 0, default=None)
        ours = judgments["ours, true record"].scores["score"][rows]
        against = {f"over {best[0]} ({best[1]})": judgments[best[0]].scores[best[1]]} if best else {}
        against |= {f"over {kind} record": judgments[f"ours, {kind} record"].scores["score"] for kind in RECORDS[1:]}
        comparisons[str(label)] = {
            "methods": methods,
            "best_baseline": best and list(best),
            "difference": {
                name: paired_difference(ours, other[rows], abnormal, views, REPEATS) for name, other in against.items()
            },
        }
    return comparisons


def _metrics(scores: np.ndarray, abnormal: np.ndarray, views: np.ndarray) -> dict:
    """`detection_metrics` with those of each view cut down to what a table shows."""
    metrics = detection_metrics(scores, abnormal, views, REPEATS)
    keys = ("films", "auroc", "auroc_interval", "average_precision", "average_precision_interval")
    return {**metrics, "views": {view: {key: entry[key] for key in keys} for view, entry in metrics["views"].items()}}


def localization(heat: np.ndarray, cohort: Cohort, border: Border) -> dict | None:
    """Measure where maps point, over films with boxes, by label.

    Pointing game (the hottest pixel inside the window lies in a box) and pixel average precision, both for the size of
    the heat and for its brighter side alone, where an opacity is.

    heat: (N, S, S), signed. border: what the window leaves out. Returns also "chance", the boxes' share of the window;
    None without boxes.
    """
    by_label: dict[str, dict] = {}
    for label in np.unique(cohort.labels):
        inside = [
            (_inner(heat[index], border), _inner(mask, border))
            for index, mask in enumerate(cohort.boxes)
            if mask is not None and mask.any() and cohort.labels[index] == label
        ]
        inside = [(values, mask) for values, mask in inside if mask.any()]
        if not inside:
            continue
        by_label[str(label)] = {"films": len(inside), "chance": float(np.mean([mask.mean() for _, mask in inside]))}
        for side, values_of in (("size", np.abs), ("brighter", np.asarray)):
            pairs = [(values_of(values).ravel(), mask.ravel()) for values, mask in inside]
            metrics = {
                "pointing_game": np.array([mask[values.argmax()] for values, mask in pairs], float),
                "average_precision": np.array([average_precision(values, mask) for values, mask in pairs]),
            }
            by_label[str(label)][side] = {key: mean_with_interval(values, REPEATS) for key, values in metrics.items()}
    return by_label or None


def _inner(image: np.ndarray, border: Border) -> np.ndarray:
    return inner(torch.from_numpy(image), border).numpy()


def _write_scores(path: Path, judgments: Mapping[str, Judgment], cohort: Cohort) -> None:
    """Write one row a film, one column a score."""
    columns = {
        f"{name}: {score}": values for name, judgment in judgments.items() for score, values in judgment.scores.items()
    }
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["row", "path", "label", "view", "part", *columns])
        for index, case in enumerate(cohort.cases):
            values = [f"{values[index]:.6g}" for values in columns.values()]
            writer.writerow([case.row, case.path, case.label, cohort.views[index], cohort.parts[index], *values])
