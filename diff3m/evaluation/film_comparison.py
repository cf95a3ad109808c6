"""Our detector beside other methods of unsupervised anomaly detection, on the same films and by the same protocol."""

from __future__ import annotations

import csv
import hashlib
import json
import time
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch

from ..data.manifest import NORMAL
from ..detector import Detector
from ..ehr import category_of
from ..scoring.filters import Border, crop_borders
from . import BASELINES, RELEASED_STRIDE
from .charts import plot_comparison
from .films_table import format_tables
from .labelled_films import BATCH, Cohort, check_held_out, load_cohort
from .methods import Judge, Judgment, Maps, Method, Report, list_methods
from .metrics import REPEATS, average_precision, detection_metrics, mean_with_interval, paired_difference
from .phantoms import RECORDS
from .shards import SINGLE_PROCESS, Parts, Processes, pack_image, unpack_image

ROW_SCHEMA = pa.schema(
    [
        ("scores", pa.map_(pa.string(), pa.float64())), ("seconds", pa.float64()), ("heat", pa.binary()),
    ]
)  # fmt: skip


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
    accept: bool = False,
    processes: Processes = SINGLE_PROCESS,
) -> dict | None:
    """Train or load every method, judge the labelled films with each, and compare.

    Writes films.json, films.md, scores.csv and films.svg. Prepared films and judgments are stored in `out`/cache (see
    `shards`) and not computed again with the same weights and films in the same precision.

    manifest: labelled films that nothing was trained on. train: manifest of normals that PCA and autoencoder learn
    from. out: folder. boxes: CSV of image, x, y, w, h in pixels of the film, matched to the manifest's column `image`.
    halves: column whose hash cuts the films in two parts that are also reported alone. simplex: a checkpoint trained
    with `noise: simplex`; without it AnoDDPM is measured with Gaussian noise only. report: called with (stage, done,
    total). baselines: which of them to measure. released_stride: timesteps from one step of the released loop to the
    next; 1 walks all of them. accept: judge what the gate stops, too; without it such films, like those that cannot be
    read, enter no metric, and scores.csv gives their reason. processes: that share the films. Returns what films.json
    holds, None in all processes but the first; "patients_checked" says whether both manifests name their patients.
    Raises ManifestError, also where a patient or a film is in both manifests.
    """
    has_patients, out = check_held_out(train, manifest, detector.schema), Path(out)
    stored = out / "cache"
    stored.mkdir(parents=True, exist_ok=True)
    cohort = load_cohort(detector, Path(manifest), boxes, halves, stored, accept, processes)
    films_key, measured_as, judgments, seconds = _hash_cohort(cohort), _hash_settings(detector), {}, {}
    for method in list_methods(detector, cohort, train, out, simplex, released_stride, report):
        if method.name in BASELINES and method.name not in baselines:
            continue
        folder = stored / f"{method.name} {method.key} {measured_as} {films_key}"
        judgments[method.name], seconds[method.name] = _judge(method, cohort, folder, report, processes)
    if not processes.is_first:
        return None
    border = detector.scoring.border
    result: dict = {
        "checkpoint": detector.config.name,
        "weights_sha256": detector.checkpoint.sha256,
        "device": detector.device.type,
        "precision": detector.precision,
        "released_stride": released_stride,
        "patients_checked": has_patients,
        "films": len(cohort.cases),
        "accepted": cohort.accepted,
        "stopped": sum(film.by_gate for film in cohort.refusals),
        "unreadable": sum(not film.by_gate for film in cohort.refusals),
        "seconds_a_film": seconds,
        "parts": {part: compare(judgments, cohort, rows) for part, rows in _select_parts(cohort).items()},
        "localization": {
            name: measure_localization(judgment.heat, cohort, border) for name, judgment in judgments.items()
        },
    }
    (out / "films.json").write_text(json.dumps(result, indent=1) + "\n")
    (out / "films.md").write_text(format_tables(result))
    _write_scores(out / "scores.csv", judgments, cohort)
    part = result["parts"]["B" if "B" in result["parts"] else "all"]
    plot_comparison(part).savefig(out / "films.svg", metadata={"Date": None})
    return result


def _hash_settings(detector: Detector) -> str:
    """Hash what a judgment depends on besides weights and films: window, region, blur, precision and device."""
    scoring = detector.scoring
    how = scoring.border, scoring.chest, scoring.heat_sigma, (detector.precision, detector.device.type)
    return hashlib.sha256(repr(how).encode()).hexdigest()[:8]


def _hash_cohort(cohort: Cohort) -> str:
    """Hash the prepared films and their records."""
    digest = hashlib.sha256(json.dumps([case.record for case in cohort.cases], sort_keys=True).encode())
    for start in range(0, len(cohort.cases), BATCH):
        digest.update(cohort.films[start : start + BATCH].cpu().numpy().tobytes())
    return digest.hexdigest()[:12]


def _judge(
    method: Method, cohort: Cohort, folder: Path, report: Report, processes: Processes
) -> tuple[Judgment, float]:
    """Judge the films whose judgments are not in `folder`; return those of all films, and the seconds per film."""
    parts = Parts(folder, len(cohort.cases), BATCH, ROW_SCHEMA, {"method": folder.name})
    if parts.list_pending():
        with processes.first_process_first():  # it trains what the others then load
            judge = method.build()
        parts.compute(
            lambda selects: filter(selects, range(len(cohort.cases))),
            lambda part: _judge_rows(judge, cohort, part),
            processes,
            lambda done, total: report(method.name, done, total),
        )
    rows = list(parts.read_rows())
    scores: dict[str, list[float]] = {}
    for row in rows:
        for name, value in row["scores"]:
            scores.setdefault(name, []).append(value)
    heat = [unpack_image(row["heat"]) for row in rows]
    judgment = Judgment({name: np.array(values) for name, values in scores.items()}, heat)
    return judgment, sum(row["seconds"] for row in rows) / len(rows)


def _judge_rows(judge: Judge, cohort: Cohort, indices: list[int]) -> Iterator[dict]:
    """Yield a row for each film with a method's scores and, for films with boxes, its map as float32."""
    for start in range(indices[0], indices[-1] + 1, BATCH):
        rows = slice(start, min(start + BATCH, indices[-1] + 1))
        x0 = cohort.films[rows]
        begin = time.perf_counter()
        judgment = judge(x0, rows)
        seconds = (time.perf_counter() - begin) / len(x0)
        for place, mask in enumerate(cohort.boxes[rows]):
            yield {
                "scores": [(name, float(values[place])) for name, values in judgment.scores.items()],
                "seconds": seconds,
                "heat": None if mask is None else pack_image(np.asarray(judgment.heat[place])),
            }


def _select_parts(cohort: Cohort) -> dict[str, np.ndarray]:
    """Return masks of all films and of each part: (N,) bool by name."""
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
            name: {
                score: _measure_detection(values[rows], abnormal, views) for score, values in judgment.scores.items()
            }
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


def _measure_detection(scores: np.ndarray, abnormal: np.ndarray, views: np.ndarray) -> dict:
    """Return `detection_metrics`, for each view only those that the tables show."""
    metrics = detection_metrics(scores, abnormal, views, REPEATS)
    keys = ("films", "auroc", "auroc_interval", "average_precision", "average_precision_interval")
    return {**metrics, "views": {view: {key: entry[key] for key in keys} for view, entry in metrics["views"].items()}}


def measure_localization(heat: Maps, cohort: Cohort, border: Border) -> dict | None:
    """Measure by label how well maps locate the boxes, over the films that have boxes.

    Measured are the pointing game (the largest pixel inside the window lies in a box) and the pixels' average
    precision, each for the absolute heat ("size") and for positive heat alone ("brighter"), where an opacity is.

    heat: a signed map (S, S) of each film with boxes. border: what the window leaves out. Also returns "chance", the
    boxes' share of the window. Returns None without boxes.
    """
    by_label: dict[str, dict] = {}
    for label in np.unique(cohort.labels):
        inside = [
            (_crop(image, border), _crop(mask, border))
            for image, mask, own in zip(heat, cohort.boxes, cohort.labels, strict=True)
            if image is not None and mask is not None and mask.any() and own == label
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


def _crop(image: np.ndarray, border: Border) -> np.ndarray:
    return crop_borders(torch.from_numpy(image), border).numpy()


def _write_scores(path: Path, judgments: Mapping[str, Judgment], cohort: Cohort) -> None:
    """Write one row for each film and one column for each score; excluded films come last, with the reason."""
    columns = {
        f"{name}: {score}": values for name, judgment in judgments.items() for score, values in judgment.scores.items()
    }
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["row", "path", "label", "view", "part", *columns, "stopped", "error"])
        for index, case in enumerate(cohort.cases):
            values = [f"{values[index]:.6g}" for values in columns.values()]
            row = [case.row, case.path, case.label, cohort.views[index], cohort.parts[index], *values, "", ""]
            writer.writerow(row)
        for film in cohort.refusals:
            facts = [film.case.row, film.case.path, film.case.label, category_of(film.case.record, "view") or "", ""]
            writer.writerow([*facts, *[""] * len(columns), "yes" if film.by_gate else "", film.reason])
