"""Our detector beside other methods of unsupervised anomaly detection: the same real films, preparation and protocol."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..data.manifest import NORMAL, normal_cases
from ..detector import Detector
from ..reconstruct import draw_noises, predictor, reconstruct_as_released
from ..scoring.anomaly_head import anomaly_map
from ..scoring.score import Component, heat_map, inner, measure
from ..training.films import load_films
from ..training.simplex import SimplexPool
from . import BASELINES, RELEASED_STRIDE
from .baselines import anoddpm, autoencoder, pca
from .charts import comparison
from .films_table import tables
from .labelled_films import Cohort, check_apart, load_cohort
from .metrics import average_precision, detection_metrics, mean_with_interval, paired_difference
from .phantoms import RECORDS, asked_records

# what every reconstruction is scored by: as such methods usually are, and after the blur that our own score owes much to
SCORES = {
    "mse": Component("mse", 0, 1),
    "ssim": Component("ssim", 6, 1),
    "blurred": Component("absolute", 2, 1),
    "max": Component("max", 0, 1),
}
RELEASED_LEVEL = 400
BATCH = 16
REPEATS = 1000  # of each bootstrap
Report = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Judged:
    """What a method says of films: scores by name, each (B,), larger = more abnormal; heat (B, S, S), signed: + brighter than expected; the anomaly
    map alike of a detector with a head, else None."""

    scores: dict[str, np.ndarray]
    heat: np.ndarray
    anomaly_map: np.ndarray | None = None


Method = Callable[[Tensor, slice], Judged]  # films (B, 1, S, S) and their rows in the cohort


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
    """Train or load every method, judge the labelled films of `manifest` with each, compare; write films.json, films.md, scores.csv, films.svg
    under `out`.

    train: manifest of normals that PCA and autoencoder learn from. boxes: CSV of image, x, y, w, h in pixels of the film, matched to the
    manifest's column `image`. halves: column whose hash cuts the films in two parts that are also reported alone. simplex: a checkpoint trained
    with `noise: simplex`; without it AnoDDPM is measured with Gaussian noise only. baselines: which of them to measure. released_stride:
    timesteps from one step of the released loop to the next; 1 walks all of them. Every method's answers
    are kept in `out` and not made twice from the same weights and films in the same precision. Raises ManifestError, also where a patient or a film
    is in both manifests; "patients_checked" says whether both name their patients.
    """
    checked, out = check_apart(train, manifest, detector.schema), Path(out)
    (out / "kept").mkdir(parents=True, exist_ok=True)
    cohort = load_cohort(detector, Path(manifest), boxes, halves)
    judged_by, made, seconds = _judged_by(detector), {}, {}
    for name, key, build in _methods(detector, cohort, train, out, simplex, released_stride, report):
        if name in BASELINES and name not in baselines:
            continue
        made[name], seconds[name] = _judge(
            name, build, cohort, out / "kept" / f"{name} {key} {judged_by} {_fingerprint(cohort)}.npz", report
        )
    found = {
        "checkpoint": detector.config.name,
        "weights_sha256": detector.checkpoint.sha256,
        "head_sha256": detector.checkpoint.head_sha256,
        "device": detector.device.type,
        "precision": detector.precision,
        "released_stride": released_stride,
        "patients_checked": checked,
        "seconds_a_film": seconds,
        "parts": {part: compare(made, cohort, rows) for part, rows in _parts(cohort).items()},
        "localization": {
            name: localization(heat, cohort, detector.scoring.measured_inside) for name, heat in _maps(made).items()
        },
    }
    (out / "films.json").write_text(json.dumps(found, indent=1) + "\n")
    (out / "films.md").write_text(tables(found))
    _write_scores(out / "scores.csv", made, cohort)
    comparison(found["parts"]["B" if "B" in found["parts"] else "all"]).savefig(
        out / "films.svg", metadata={"Date": None}
    )
    return found


def _maps(made: dict[str, Judged]) -> dict[str, np.ndarray]:
    """The heat map of every method, and the anomaly map of those that have one."""
    return {name: judged.heat for name, judged in made.items()} | {
        f"{name}, anomaly map": judged.anomaly_map for name, judged in made.items() if judged.anomaly_map is not None
    }


def _methods(
    detector: Detector,
    cohort: Cohort,
    train: str | Path,
    out: Path,
    simplex: Detector | None,
    stride: int,
    report: Report,
):
    """(name, what its answers depend on besides the films, builder) of every method; builders are called when they are needed."""
    prepared = repr(detector.config.preprocessing).encode()
    weights, normals = (
        detector.checkpoint.sha256[:12],
        hashlib.sha256(Path(train).read_bytes() + prepared).hexdigest()[:12],
    )
    images: list[np.ndarray] = []

    def learned() -> np.ndarray:
        if not images:
            cases = normal_cases(train, detector.schema)
            films = load_films(
                cases, detector.schema, detector.config.preprocessing, lambda done: report("films", done, len(cases))
            )
            images.append(films.images)
        return images[0]

    def trained_autoencoder():
        return autoencoder(
            learned(),
            out / f"autoencoder {normals}.safetensors",
            report=lambda done, total: report("autoencoder", done, total),
        )

    yield "PCA", normals, lambda: _by_residual(pca(learned()), detector)
    yield "autoencoder", normals, lambda: _by_residual(trained_autoencoder(), detector)
    yield "AnoDDPM, Gaussian", weights, lambda: _anoddpm(detector, _gaussian(), detector)
    if simplex is not None:
        key = f"{simplex.checkpoint.sha256[:12]} {simplex.precision} {simplex.device.type}"
        yield "AnoDDPM, simplex", key, lambda: _anoddpm(simplex, _simplex(simplex.config.network.image_size), detector)
    yield "Diff3M as released", f"{weights} {stride}", lambda: _released(detector, cohort, stride)
    scored = hashlib.sha256(
        f"{json.dumps(detector.scoring.to_dict(), sort_keys=True)}{detector.checkpoint.head_sha256}".encode()
    ).hexdigest()[:8]
    for kind in RECORDS:
        yield f"ours, {kind} record", f"{weights} {scored}", lambda kind=kind: _ours(detector, kind, cohort)


def _by_residual(reconstruct: Callable[[Tensor], Tensor], detector: Detector) -> Method:
    window = detector.scoring.measured_inside

    def judge(x0: Tensor, rows: slice) -> Judged:
        made = reconstruct(x0)
        inside = inner(x0, window), inner(made, window)  # of pixel by pixel scores, which have no window of their own
        scores = {
            name: measure(component, *(inside if component.kind in ("mse", "max") else (x0, made)), window)
            .cpu()
            .numpy()
            for name, component in SCORES.items()
        }
        return Judged(scores, heat_map(x0, made, detector.scoring.heat_sigma)[:, 0].cpu().numpy())

    return judge


def _gaussian() -> Callable[[int, int], Tensor]:
    generator = torch.Generator().manual_seed(0)
    return lambda count, size: torch.randn(count, 1, size, size, generator=generator)


def _simplex(size: int) -> Callable[[int, int], Tensor]:
    pool, generator = SimplexPool(size), torch.Generator().manual_seed(0)
    return lambda count, size: pool.draw(count, size, generator)


def _anoddpm(network: Detector, draw: Callable[[int, int], Tensor], detector: Detector) -> Method:
    """AnoDDPM knows no record: the network is asked with everything unknown. Scored inside the detector's own window, as every method is."""

    def reconstruct(x0: Tensor) -> Tensor:
        condition = network.condition(x0, [network.schema.parse({})] * len(x0), attention=False)
        with torch.no_grad(), network.autocast():
            return anoddpm(
                x0,
                predictor(network.network, condition),
                network.config.schedule,
                lambda count: draw(count, x0.shape[-1]).to(x0),
            )

    return _by_residual(reconstruct, detector)


def _released(detector: Detector, cohort: Cohort, stride: int) -> Method:
    """The released loop with the masked-pixel estimate and the true record, every `stride`-th timestep. Scored as it was released, too."""
    noise = draw_noises(1, detector.config.network.image_size, RELEASED_LEVEL, 0, detector.device)

    def judge(x0: Tensor, rows: slice) -> Judged:
        records = [case.record for case in cohort.cases[rows]]
        predict = predictor(detector.network, detector.condition(x0, records, attention=False), "masked_pixels")
        with torch.no_grad(), detector.autocast():
            made = reconstruct_as_released(x0, predict, RELEASED_LEVEL, noise, detector.config.schedule, stride=stride)
        judged = _by_residual(lambda _: made, detector)(x0, rows)
        return Judged(judged.scores | released_scores(x0, made), judged.heat)

    return judge


def released_scores(x0: Tensor, made: Tensor) -> dict[str, np.ndarray]:
    """What the released code writes, over the whole film: mean squared error and largest difference, and both after film and reconstruction are
    each scaled to its own smallest and largest value (inference of the released code). Both (B, 1, S, S) in [−1, 1]; each score (B,)."""
    found = {}
    for name, (film, drawn) in {"whole film": (x0, made), "min–max": (_stretched(x0), _stretched(made))}.items():
        difference = (film - drawn).float().flatten(1)
        found |= {
            f"mse, {name}": difference.square().mean(1).cpu().numpy(),
            f"max, {name}": difference.abs().amax(1).cpu().numpy(),
        }
    return found


def _stretched(films: Tensor) -> Tensor:
    low, high = films.amin((1, 2, 3), keepdim=True), films.amax((1, 2, 3), keepdim=True)
    return (films - low) / (high - low).clamp_min(1e-6)


def _ours(detector: Detector, kind: str, cohort: Cohort) -> Method:
    """The shipped score under a kind of record. Placed among normals of the true view, so that kinds differ by what the model saw alone."""
    asked = asked_records([case.record for case in cohort.cases], detector.schema.parse({}), kind)
    settings, keys = detector.settings(), detector.scoring.keys

    def judge(x0: Tensor, rows: slice) -> Judged:
        estimates = detector.estimates(x0, detector.condition(x0, asked[rows], attention=False), keys, settings)
        values = detector.measurements(x0, asked[rows], estimates, settings)
        scores = [
            detector.scoring.score(row, view or None) for row, view in zip(values, cohort.views[rows], strict=True)
        ]
        heat = heat_map(x0, estimates.inversion[settings.noise_level], detector.scoring.heat_sigma)
        found = estimates.anomaly_logits
        return Judged(
            {"score": np.array(scores)},
            heat[:, 0].cpu().numpy(),
            None if found is None else anomaly_map(found)[:, 0].cpu().numpy(),
        )

    return judge


def _judged_by(detector: Detector) -> str:
    """What a method's answers depend on besides its weights and the films: where it is measured, and how the detector computes."""
    how = detector.scoring.measured_inside, detector.scoring.heat_sigma, (detector.precision, detector.device.type)
    return hashlib.sha256(repr(how).encode()).hexdigest()[:8]


def _fingerprint(cohort: Cohort) -> str:
    """Of the prepared films and their records."""
    records = json.dumps([case.record for case in cohort.cases], sort_keys=True).encode()
    return hashlib.sha256(cohort.x0.cpu().numpy().tobytes() + records).hexdigest()[:12]


def _judge(name: str, build: Callable[[], Method], cohort: Cohort, kept: Path, report: Report) -> tuple[Judged, float]:
    """A method's answers for all films, and its seconds a film in batches; read from `kept` if they are there."""
    if kept.is_file():
        with np.load(kept) as arrays:
            scores = {key[6:]: arrays[key] for key in arrays.files if key.startswith("score ")}
            return Judged(scores, arrays["heat"], arrays.get("anomaly_map")), float(arrays["seconds"])
    method, parts, seconds = build(), [], 0.0
    for start in range(0, len(cohort.cases), BATCH):
        rows = slice(start, min(start + BATCH, len(cohort.cases)))
        started = time.perf_counter()
        parts.append(method(cohort.x0[rows], rows))
        seconds += time.perf_counter() - started
        report(name, rows.stop, len(cohort.cases))
    scores = {key: np.concatenate([part.scores[key] for part in parts]) for key in parts[0].scores}
    anomaly = None if parts[0].anomaly_map is None else np.concatenate([part.anomaly_map for part in parts])
    judged, seconds = (
        Judged(scores, np.concatenate([part.heat for part in parts]), anomaly),
        seconds / len(cohort.cases),
    )
    more = {} if anomaly is None else {"anomaly_map": anomaly}
    partial = kept.with_name(f"{kept.stem}.partial.npz")
    np.savez(
        partial, heat=judged.heat, seconds=seconds, **more, **{f"score {key}": value for key, value in scores.items()}
    )
    os.replace(partial, kept)
    return judged, seconds


def _parts(cohort: Cohort) -> dict[str, np.ndarray]:
    """Rows of all films, and of each part alone."""
    names = [name for name in np.unique(cohort.parts) if name]
    return {"all": np.ones(len(cohort.cases), bool)} | {str(name): cohort.parts == name for name in names}


def compare(made: dict[str, Judged], cohort: Cohort, part: np.ndarray) -> dict:
    """By abnormal label: metrics of every score of every method on the films of a part, and the paired differences of our score from the best
    score of any baseline, and between records.

    The best baseline is picked on the very films that are reported, which favors it.
    """
    found = {}
    for label in np.unique(cohort.labels[part & (cohort.labels != NORMAL)]):
        rows = part & np.isin(cohort.labels, (NORMAL, label))
        abnormal, views = cohort.labels[rows] == label, cohort.views[rows]
        if abnormal.all():
            continue
        methods = {
            name: {score: _metrics(values[rows], abnormal, views) for score, values in judged.scores.items()}
            for name, judged in made.items()
        }
        others = [(name, score) for name in methods if not name.startswith("ours") for score in methods[name]]
        best = max(others, key=lambda pair: methods[pair[0]][pair[1]]["auroc_within_view"] or 0, default=None)
        ours = made["ours, true record"].scores["score"][rows]
        gains = {f"over {best[0]} ({best[1]})": made[best[0]].scores[best[1]]} if best else {}
        gains |= {f"over {kind} record": made[f"ours, {kind} record"].scores["score"] for kind in RECORDS[1:]}
        found[str(label)] = {
            "methods": methods,
            "best_baseline": best and list(best),
            "difference": {
                name: paired_difference(ours, other[rows], abnormal, views, REPEATS) for name, other in gains.items()
            },
        }
    return found


def _metrics(scores: np.ndarray, abnormal: np.ndarray, views: np.ndarray) -> dict:
    """`detection_metrics` with each view's share of them cut down to what a table shows."""
    found = detection_metrics(scores, abnormal, views, REPEATS)
    shown = ("films", "auroc", "auroc_interval", "average_precision", "average_precision_interval")
    return {**found, "views": {view: {key: entry[key] for key in shown} for view, entry in found["views"].items()}}


def localization(heat: np.ndarray, cohort: Cohort, margin: float | tuple[float, float, float, float]) -> dict | None:
    """Pointing game (the hottest pixel inside the measured window lies in a box) and pixel average precision, over films with boxes, by label.

    heat: (N, S, S), signed. Both for its size and for its brighter side alone, where an opacity is. chance: the boxes' share of the window.
    None without boxes.
    """
    found = {}
    for label in np.unique(cohort.labels):
        rows = [
            index
            for index, mask in enumerate(cohort.boxes)
            if mask is not None and mask.any() and cohort.labels[index] == label
        ]
        inside = [(_inner(heat[index], margin), _inner(cohort.boxes[index], margin)) for index in rows]
        inside = [(values, mask) for values, mask in inside if mask.any()]
        if not inside:
            continue
        found[str(label)] = {"films": len(inside), "chance": float(np.mean([mask.mean() for _, mask in inside]))}
        for side, take in (("size", np.abs), ("brighter", np.asarray)):
            hits = np.array([mask.ravel()[take(values).argmax()] for values, mask in inside], float)
            precision = np.array([average_precision(take(values).ravel(), mask.ravel()) for values, mask in inside])
            measured = {"pointing_game": hits, "average_precision": precision}
            found[str(label)][side] = {key: mean_with_interval(values, REPEATS) for key, values in measured.items()}
    return found or None


def _inner(image: np.ndarray, margin: float | tuple[float, float, float, float]) -> np.ndarray:
    return inner(torch.from_numpy(image), margin).numpy()


def _write_scores(path: Path, made: dict[str, Judged], cohort: Cohort) -> None:
    """One row a film, one column a score."""
    columns = {f"{name}: {score}": values for name, judged in made.items() for score, values in judged.scores.items()}
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["row", "path", "label", "view", "part", *columns])
        for index, case in enumerate(cohort.cases):
            values = [f"{values[index]:.6g}" for values in columns.values()]
            writer.writerow([case.row, case.path, case.label, cohort.views[index], cohort.parts[index], *values])
