"""Teach a checkpoint's anomaly head: normal films, half of them with anomalies painted in, through the frozen
denoiser."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..data.manifest import normal_cases
from ..data.painted.anomalies import paint_anomaly, vary_pose, vary_processing
from ..detector import Detector
from ..scoring.anomaly_head import TAUGHT_INSIDE, AnomalyHead, HeadConfig, head_features
from ..scoring.filters import inner
from .films import Films, load_films

PAINTED_FROM = 0.2  # of the mask: a film counts as painted if any place of the feature map reaches it
FILM_WEIGHT = 0.3  # of the whole film's error beside the map's
WARMUP, LAST_RATE = 50, 0.02  # steps; share of the learning rate that is left at the end


class HeadTrainingError(ValueError):
    """The head cannot be taught; the message says why."""


@dataclass(frozen=True)
class HeadTraining:
    """painted, unknown: shares of films that are painted, and whose record is withheld."""

    steps: int = 1500
    batch_size: int = 16
    learning_rate: float = 1e-3
    weight_decay: float = 0.02
    painted: float = 0.5
    unknown: float = 0.5
    seed: int = 0

    def __post_init__(self) -> None:
        if self.steps < 1 or self.batch_size < 1 or not self.learning_rate > 0:
            raise HeadTrainingError("Steps, batch size and learning rate must be positive.")


@dataclass(frozen=True)
class HeadStep:
    """Errors of one step (cross entropy in nats, mean over members): of the map, and of the whole film; and the share
    of films judged right."""

    step: int
    map_error: float
    film_error: float
    right: float


def train_head(
    detector: Detector,
    manifest: str,
    training: HeadTraining,
    config: HeadConfig | None = None,
    report: Callable[[HeadStep], None] | None = None,
) -> AnomalyHead:
    """Teach a head on a manifest's normal films, all of its members on the same; the denoiser stays as it is. report
    hears each step.

    The same manifest, weights and seed give the same head on the same machine. Raises ManifestError or
    HeadTrainingError.
    """
    films = load_films(normal_cases(manifest, detector.schema), detector.schema, detector.config.preprocessing)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(training.seed)
        head = AnomalyHead(detector.config.network, config).to(detector.device).train()
    optimizer = torch.optim.AdamW(head.parameters(), lr=training.learning_rate, weight_decay=training.weight_decay)
    rates = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min(1, (step + 1) / WARMUP) * max(LAST_RATE, 1 - step / training.steps)
    )  # fmt: skip
    for step, (x0, mask, values, noise) in enumerate(_batches(films, training)):
        x0, mask, values, noise = (part.to(detector.device) for part in (x0, mask, values, noise))
        with torch.no_grad(), detector.autocast():
            condition = detector.network.condition(x0, values)
            features = head_features(
                detector.network, detector.config.schedule, x0, noise, head.config.level, condition
            )
        with detector.autocast():
            taught = [tuple(part.float() for part in member(features)) for member in head.members]
        target = F.adaptive_avg_pool2d(mask, taught[0][0].shape[-1])
        painted = (target.amax((1, 2, 3)) > PAINTED_FROM).float()
        map_errors = [
            F.binary_cross_entropy_with_logits(inner(logits, TAUGHT_INSIDE), inner(target, TAUGHT_INSIDE))
            for logits, _ in taught
        ]
        film_errors = [F.binary_cross_entropy_with_logits(film_logit, painted) for _, film_logit in taught]
        map_error, film_error = sum(map_errors), sum(film_errors)
        loss = map_error + FILM_WEIGHT * film_error  # of no member in another's: each learns alone
        if not math.isfinite(loss.item()):
            raise HeadTrainingError(f"The error is not a finite number at step {step + 1}. Lower the learning rate.")
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        rates.step()
        if report:
            judged, count = sum(film_logit for _, film_logit in taught) > 0, len(taught)
            report(
                HeadStep(
                    step + 1,
                    map_error.item() / count,
                    film_error.item() / count,
                    float((judged == (painted > 0)).float().mean()),
                )
            )
    return head.eval()


def _batches(films: Films, training: HeadTraining) -> Iterator[tuple[Tensor, Tensor, Tensor, Tensor]]:
    """Films (B, 1, S, S), masks alike, encoded records (B, slots) and noise of every step; one step is painted
    ahead."""
    with ThreadPoolExecutor(1) as pool:
        coming = pool.submit(_batch, films, training, 0)
        for step in range(training.steps):
            batch, coming = coming.result(), pool.submit(_batch, films, training, step + 1)
            yield batch


def _batch(films: Films, training: HeadTraining, step: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """One step's share: a function of (seed, step) alone."""
    rng, count = np.random.default_rng([training.seed, 1, step]), training.batch_size
    chosen, others = rng.integers(len(films), size=(2, count))
    pairs = [
        _example(films.images[one], films.images[other], training.painted, rng)
        for one, other in zip(chosen, others, strict=True)
    ]
    values = films.values[chosen].copy()
    values[rng.random(count) < training.unknown] = np.nan
    x0, mask = (torch.from_numpy(np.stack(part))[:, None] for part in zip(*pairs, strict=True))
    return x0, mask, torch.from_numpy(values), torch.from_numpy(rng.normal(size=x0.shape).astype(np.float32))


def _example(
    image: np.ndarray, other: np.ndarray, painted: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """A film (S, S) as the head may see it, and where it was painted."""
    film, other = (picture.astype(np.float32) / 255 for picture in (image, other))
    film = vary_pose(film, rng)
    mask = np.zeros_like(film)
    if rng.random() < painted:
        film, mask = paint_anomaly(film, other, rng)
    return vary_processing(np.clip(film, 0, 1), rng), mask
