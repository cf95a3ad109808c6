"""Inference of the authors' released code, its quirks included: the walk, its rounding and its scores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np
import torch
from torch import Tensor

from ..diffusion import Callback, Predictor, Progress, Schedule, add_noise, walk
from ..scoring.score import Component, Scoring

CLAMP = (-1.0, 1.0)  # of x̂_0
RELEASED_LEVEL = 400
# the released code's scores, at its level and with a step at every timestep
RELEASED_SCORING = Scoring(
    (Component("mse", 0, RELEASED_LEVEL), Component("max", 0, RELEASED_LEVEL)),
    noise_level=RELEASED_LEVEL,
    steps=RELEASED_LEVEL,
    margin=0.0,
    estimate="masked_pixels",
    reconstruction="released",
)


@dataclass(frozen=True)
class ReleasedSchedule(Schedule):
    """Take 1 − ᾱ of the level stepped to in float32, as the released code does: it cancels at small t."""

    def target_coefficients(self, t: Tensor | int, like: Tensor) -> tuple[Tensor, Tensor]:
        """Return (√ᾱ_t, √(1 − ᾱ_t)) in float32."""
        a = self.alpha_bar(t).view(-1, *[1] * (like.dim() - 1)).to(like.device, torch.float32)
        return a.sqrt(), (1 - a).sqrt()

    @classmethod
    def of(cls, schedule: Schedule) -> ReleasedSchedule:
        """Return the same schedule with the released rounding."""
        return cls(**asdict(schedule))


def reconstruct_as_released(
    x0: Tensor,
    predict: Predictor,
    level: int,
    noise: Tensor,
    schedule: Schedule,
    callback: Callback | None = None,
    stride: int = 1,
) -> Tensor:
    """Reconstruct films as the released loop does.

    One step of random noise to t = 0, inversion from t = 1 to `level`, denoising from `level` − 2 to the film.

    x0: (B, 1, S, S). level: where inversion ends, from 2. noise: like x0, or one for all films. stride: timesteps from
    one step to the next, 1 as released; more is a cheaper approximation. Returns (B, 1, S, S), not clamped.
    """
    schedule = ReleasedSchedule.of(schedule)
    up, down = _strided(range(1, level + 1), stride), _strided(range(level - 2, -2, -1), stride)
    total, done = len(up) + len(down) - 2, 0

    def report(progress: Progress) -> None:
        nonlocal done
        done += 1
        if callback:
            preview = progress.preview if progress.phase == "denoising" else None
            callback(replace(progress, done=done, total=total, preview=preview))

    x = add_noise(x0, noise.expand_as(x0), torch.zeros(len(x0), dtype=torch.long, device=x0.device), schedule)
    x = walk(x, predict, up, schedule, clamp=CLAMP, callback=report)
    return walk(x, predict, down, schedule, clamp=CLAMP, callback=report)


def _strided(path: Sequence[int], stride: int) -> list[int]:
    """Return every stride-th timestep of a path, and its last."""
    timesteps = list(path[::stride])
    return timesteps if timesteps[-1] == path[-1] else [*timesteps, path[-1]]


def released_scores(film: Tensor, reconstruction: Tensor) -> dict[str, np.ndarray]:
    """Score films as the released code does, over the whole film.

    Mean squared error and largest difference, and both after film and reconstruction are each scaled to its own
    smallest and largest value. film, reconstruction: (B, 1, S, S) in [−1, 1]. Returns each score, (B,).
    """
    pairs = {"whole film": (film, reconstruction), "min–max": (_min_max(film), _min_max(reconstruction))}
    scores = {}
    for name, (a, b) in pairs.items():
        difference = (a - b).float().flatten(1)
        scores[f"mse, {name}"] = difference.square().mean(1).cpu().numpy()
        scores[f"max, {name}"] = difference.abs().amax(1).cpu().numpy()
    return scores


def _min_max(films: Tensor) -> Tensor:
    low, high = films.amin((1, 2, 3), keepdim=True), films.amax((1, 2, 3), keepdim=True)
    return (films - low) / (high - low).clamp_min(1e-6)
