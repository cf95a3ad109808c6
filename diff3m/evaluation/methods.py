"""The methods that `film_comparison` compares. Each gives scores and heat maps of films, in the same window."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..data.manifest import read_normal_cases
from ..detector import Detector
from ..reconstruct import draw_noises, make_predictor
from ..released.inference import RELEASED_LEVEL, reconstruct_as_released, released_scores
from ..scoring.filters import crop_borders
from ..scoring.measure import compute_heat_map, measure_component, select_region
from ..scoring.score import Component
from ..training.films import load_films
from ..training.simplex import SimplexPool
from .baselines import fit_pca, load_or_train_autoencoder, reconstruct_by_anoddpm
from .labelled_films import Cohort
from .phantoms import RECORDS, select_records

# how every reconstruction is scored: as usual for such methods, and after the blur that our own score owes much to
SCORES = {
    "mse": Component("mse", 0, 1),
    "ssim": Component("ssim", 6, 1),
    "blurred": Component("absolute", 2, 1),
    "max": Component("max", 0, 1),
}
Report = Callable[[str, int, int], None]  # stage, done, total
Maps = np.ndarray | Sequence[np.ndarray | None]


@dataclass(frozen=True)
class Judgment:
    """A method's results on B films.

    scores: by name, each (B,), larger = more abnormal. heat: B maps (S, S), signed: positive where brighter than
    expected; None for a film whose map is not needed.
    """

    scores: dict[str, np.ndarray]
    heat: Maps


Judge = Callable[[Tensor, slice], Judgment]  # films (B, 1, S, S) and their rows in the cohort


@dataclass(frozen=True)
class Method:
    """A method before it is trained or loaded.

    key: what its answers depend on besides the films. build: trains or loads it.
    """

    name: str
    key: str
    build: Callable[[], Judge]


def list_methods(
    detector: Detector,
    cohort: Cohort,
    train: str | Path,
    out: Path,
    simplex: Detector | None,
    stride: int,
    report: Report,
) -> Iterator[Method]:
    """Yield every method. Parameters as in `film_comparison.benchmark_films`."""
    preprocessing = repr(detector.config.preprocessing).encode()
    weights, side = detector.checkpoint.sha256[:12], detector.config.network.image_size
    normals = hashlib.sha256(Path(train).read_bytes() + preprocessing).hexdigest()[:12]
    cache: list[np.ndarray] = []

    def load_training_films() -> np.ndarray:
        if not cache:
            cases = read_normal_cases(train, detector.schema)
            films = load_films(
                cases, detector.schema, detector.config.preprocessing, lambda done: report("films", done, len(cases))
            )
            cache.append(films.images)
        return cache[0]

    def load_autoencoder() -> Callable[[Tensor], Tensor]:
        return load_or_train_autoencoder(
            load_training_films(),
            out / f"autoencoder {normals}.safetensors",
            report=lambda done, total: report("autoencoder", done, total),
        )

    yield Method("PCA", normals, lambda: judge_by_residual(fit_pca(load_training_films()), detector))
    yield Method("autoencoder", normals, lambda: judge_by_residual(load_autoencoder(), detector))
    yield Method("AnoDDPM, Gaussian", weights, lambda: _judge_by_anoddpm(detector, _make_gaussian(side), detector))
    if simplex is not None:
        key = f"{simplex.checkpoint.sha256[:12]} {simplex.precision} {simplex.device.type}"
        size = simplex.config.network.image_size
        yield Method("AnoDDPM, simplex", key, lambda: _judge_by_anoddpm(simplex, _make_simplex(size), detector))
    yield Method("Diff3M as released", f"{weights} {stride}", lambda: _judge_as_released(detector, cohort, stride))
    scoring = json.dumps(detector.scoring.to_dict(), sort_keys=True)
    scored_by = hashlib.sha256(scoring.encode()).hexdigest()[:8]
    for kind in RECORDS:
        yield Method(f"ours, {kind} record", f"{weights} {scored_by}", partial(_judge_by_score, detector, kind, cohort))


def judge_by_residual(reconstruct: Callable[[Tensor], Tensor], detector: Detector) -> Judge:
    """Judge films by what a reconstruction cannot express, inside the detector's own window and region."""
    window = detector.scoring.border

    def judge(x0: Tensor, rows: slice) -> Judgment:
        reconstruction = select_region(x0, reconstruct(x0), detector.scoring)
        whole, inside = (x0, reconstruction), (crop_borders(x0, window), crop_borders(reconstruction, window))
        scores = {
            # scores of single pixels have no window of their own
            name: measure_component(component, *(inside if component.kind in ("mse", "max") else whole), window)
            for name, component in SCORES.items()
        }
        heat = compute_heat_map(x0, reconstruction, detector.scoring.heat_sigma)[:, 0]
        return Judgment({name: values.cpu().numpy() for name, values in scores.items()}, heat.cpu().numpy())

    return judge


Draw = Callable[[int], Tensor]  # number of films → noises (B, 1, S, S)


def _make_gaussian(size: int) -> Callable[[int], Draw]:
    """Return a function of a seed, which gives Gaussian noises of that seed."""

    def make_draw(seed: int) -> Draw:
        generator = torch.Generator().manual_seed(seed)
        return lambda count: torch.randn(count, 1, size, size, generator=generator)

    return make_draw


def _make_simplex(size: int) -> Callable[[int], Draw]:
    """Return a function of a seed, which gives simplex noises of that seed."""
    pool = SimplexPool(size)

    def make_draw(seed: int) -> Draw:
        generator = torch.Generator().manual_seed(seed)
        return lambda count: pool.draw(count, size, generator)

    return make_draw


def _judge_by_anoddpm(network: Detector, noises: Callable[[int], Draw], detector: Detector) -> Judge:
    """Return a judge by AnoDDPM, which knows no record: the network runs with everything unknown.

    noises: of a seed. That is the number of a batch's first film, so that nothing depends on what was judged before.
    """

    def reconstruct(x0: Tensor, draw: Draw) -> Tensor:
        condition = network.condition(x0, [network.schema.parse({})] * len(x0), attention=False)
        predict = make_predictor(network.network, condition)
        with torch.no_grad(), network.autocast():
            return reconstruct_by_anoddpm(x0, predict, network.config.schedule, lambda count: draw(count).to(x0))

    def judge(x0: Tensor, rows: slice) -> Judgment:
        draw = noises(rows.start)
        return judge_by_residual(lambda films: reconstruct(films, draw), detector)(x0, rows)

    return judge


def _judge_as_released(detector: Detector, cohort: Cohort, stride: int) -> Judge:
    """Return a judge by the released loop with the masked-pixel estimate and the true record.

    It scores as the released code does, too.
    """
    noise = draw_noises(1, detector.config.network.image_size, RELEASED_LEVEL, 0, detector.device)

    def judge(x0: Tensor, rows: slice) -> Judgment:
        records = [case.record for case in cohort.cases[rows]]
        predict = make_predictor(detector.network, detector.condition(x0, records, attention=False), "masked_pixels")
        schedule = detector.config.schedule
        with torch.no_grad(), detector.autocast():
            reconstruction = reconstruct_as_released(x0, predict, RELEASED_LEVEL, noise, schedule, stride=stride)
        judgment = judge_by_residual(lambda _: reconstruction, detector)(x0, rows)
        return Judgment(judgment.scores | released_scores(x0, reconstruction), judgment.heat)

    return judge


def _judge_by_score(detector: Detector, kind: str, cohort: Cohort) -> Judge:
    """Return a judge by the checkpoint's score under a kind of record.

    Placed among normals of the true view, so that kinds differ by what the model saw alone.
    """
    records = select_records([case.record for case in cohort.cases], detector.schema.parse({}), kind)
    settings, keys = detector.settings(), detector.scoring.keys

    def judge(x0: Tensor, rows: slice) -> Judgment:
        condition = detector.condition(x0, records[rows], attention=False)
        estimates = detector.estimates(x0, condition, keys, settings)
        values = detector.measurements(x0, records[rows], estimates, settings)
        views = cohort.views[rows]
        scores = [detector.scoring.score(row, view or None) for row, view in zip(values, views, strict=True)]
        heat = compute_heat_map(x0, estimates.in_region[detector.main_key(settings)], detector.scoring.heat_sigma)
        return Judgment({"score": np.array(scores)}, heat[:, 0].cpu().numpy())

    return judge
