"""Pseudo-healthy reconstructions, by inversion and denoising or by noise and denoising.

Inversion paths of lower levels are the beginning of higher ones wherever their steps coincide, so they are walked once;
denoising walks all levels in one batch, each joining when the walk passes it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor

from .diffusion import Callback, Predictor, Progress, Schedule, add_noise, ddim_timesteps, walk
from .network import Condition, Diff3M

MAX_SEED = 999_999_999
CLAMP = (0.0, 1.0)  # films are prepared to [0, 1]


def make_predictor(network: Diff3M, condition: Condition, estimate: str = "x_t") -> Predictor:
    """Return the network's ε̂ (and x̃_t, for estimate "masked_pixels") as a function of x and t.

    condition: of B films. The predictor takes k·B pictures, k ≥ 1.
    """

    def predict(x: Tensor, t: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        batch_condition = condition.repeat(x.shape[0] // condition.embedding.shape[0])
        if estimate == "x_t":
            return network.predict_noise(x, t, batch_condition).float()
        prediction = network.predict(x, t, batch_condition)
        return prediction.noise.float(), prediction.masked_pixels.float()

    return predict


def scale_steps(level: int, steps: int, reference_level: int) -> int:
    """Return DDIM steps each way to `level`, in proportion to `steps` at the reference level; at least 1."""
    return min(level, max(1, round(steps * level / reference_level)))


def reconstruct(
    x0: Tensor,
    predict: Predictor,
    plan: Mapping[int, int],
    schedule: Schedule,
    preview_level: int | None = None,
    callback: Callback | None = None,
) -> dict[int, Tensor]:
    """Invert films to each noise level and denoise back.

    x0: (B, 1, S, S). plan: steps each way by noise level. preview_level: the level whose x̂_0 the callback receives.
    Returns reconstructions by level, (B, 1, S, S) clamped to [0, 1].
    """
    branches = _shared_paths({level: ddim_timesteps(level, steps) for level, steps in plan.items()})
    total = 2 * sum(len(branch.path) - 1 for branch in branches)
    done = 0
    reconstructions: dict[int, Tensor] = {}
    for branch in branches:
        callbacks = _Steps(callback, done, total, branch.levels, preview_level)
        reconstructions |= _walk_branch(x0, predict, branch, schedule, callbacks)
        done += 2 * (len(branch.path) - 1)
    return reconstructions


@dataclass(frozen=True)
class _Branch:
    """A rising path of timesteps, and the levels that end on it with the place of each, highest first."""

    path: list[int]
    ends: dict[int, int]

    @property
    def levels(self) -> list[int]:
        return list(self.ends)


@dataclass
class _Steps:
    """Counts the steps of all walks of one reconstruction for the callback."""

    callback: Callback | None
    done: int
    total: int
    levels: list[int]
    preview_level: int | None

    def __call__(self, progress: Progress, active: int = 0) -> None:
        """Report one more step. active: how many of the levels, highest first, are being denoised together."""
        self.done += 1
        if self.callback is None:
            return
        preview, level = None, self.preview_level
        if progress.phase == "denoising" and level in self.levels[:active] and progress.preview is not None:
            preview = progress.preview.chunk(active)[self.levels.index(level)]
        self.callback(replace(progress, done=self.done, total=self.total, preview=preview))


def _walk_branch(
    x0: Tensor, predict: Predictor, branch: _Branch, schedule: Schedule, report: _Steps
) -> dict[int, Tensor]:
    """Walk up once, and down with all levels of a branch; see `reconstruct`."""
    inverted, x, start = {}, x0, 0
    for level, end in reversed(branch.ends.items()):
        x = walk(x, predict, branch.path[start : end + 1], schedule, clamp=CLAMP, callback=report)
        inverted[level], start = x, end
    x = x0[:0]
    stops = [*branch.ends.values(), 0]
    for active, level in enumerate(branch.ends, start=1):
        x = torch.cat([x, inverted.pop(level)])
        path = branch.path[stops[active] : stops[active - 1] + 1][::-1]
        x = walk(x, predict, path, schedule, clamp=CLAMP, callback=partial(report, active=active))
    return dict(zip(branch.ends, x.clamp(*CLAMP).chunk(len(branch.ends)), strict=True))


def _shared_paths(paths: Mapping[int, list[int]]) -> list[_Branch]:
    """Join levels whose path is the beginning of a higher one."""
    branches: list[_Branch] = []
    for level in sorted(paths, reverse=True):
        path = paths[level]
        for branch in branches:
            if branch.path[: len(path)] == path:
                branch.ends[level] = len(path) - 1
                break
        else:
            branches.append(_Branch(path, {level: len(path) - 1}))
    return branches


def reconstruct_from_noise(
    x0: Tensor,
    predict: Predictor,
    level: int,
    steps: int,
    noises: Tensor,
    schedule: Schedule,
    callback: Callback | None = None,
    rounds: int = 1,
) -> Tensor:
    """Add noise to films and denoise them, averaged over draws of the noise.

    What a network that was trained to heal (docs/method.md, "Healing") makes of a film: inversion would carry the
    lesion through the noise. x0: (B, 1, S, S). level: noise level, from 1. steps: DDIM steps down, 1 = x̂_0 at once.
    noises: (K, 1, S, S), the same for every film. rounds: how often it is done, each time to the last estimate: what is
    left of a lesion heals further. The callback receives the mean of the forming x̂_0. Returns (B, 1, S, S) in [0, 1].
    """
    k, b = len(noises), len(x0)
    t = torch.full((k * b,), level - 1, device=x0.device)
    path, repeated_noises = ddim_timesteps(level, steps)[::-1], noises.repeat_interleave(b, dim=0)
    total = rounds * (len(path) - 1)
    done = 0

    def mean(images: Tensor) -> Tensor:
        return images.view(k, b, *x0.shape[1:]).mean(0)

    def report(progress: Progress) -> None:
        nonlocal done
        done += 1
        if callback and progress.preview is not None:
            callback(replace(progress, done=done, total=total, preview=mean(progress.preview)))

    estimate = x0
    for _ in range(rounds):
        x_t = add_noise(estimate.repeat(k, 1, 1, 1), repeated_noises, t, schedule)
        estimate = mean(walk(x_t, predict, path, schedule, clamp=CLAMP, callback=report))
    return estimate


def estimate_in_one_step(x0: Tensor, predict: Predictor, level: int, noises: Tensor, schedule: Schedule) -> Tensor:
    """Estimate x̂_0 from films noised to `level`, averaged over draws: `reconstruct_from_noise` in one step."""
    return reconstruct_from_noise(x0, predict, level, 1, noises, schedule)


def validate_seed(seed: int) -> int:
    """Return a seed that every generator takes. Raises ValueError outside 0 to `MAX_SEED`."""
    if not 0 <= seed <= MAX_SEED:
        raise ValueError(f"The seed must lie between 0 and {MAX_SEED}, got {seed}.")
    return int(seed)


def draw_noises(count: int, size: int, level: int, seed: int, device: torch.device | str = "cpu") -> Tensor:
    """Draw the fixed noises of a level, the same for every film: (count, 1, size, size)."""
    generator = torch.Generator().manual_seed(seed * 1009 + level)
    return torch.randn(count, 1, size, size, generator=generator).to(device)


def needed_levels(keys: Sequence[tuple[str, int]], source: str) -> list[int]:
    """Return the noise levels at which keys, pairs of (source, level), need a source, highest first."""
    return sorted({level for kind, level in keys if kind == source}, reverse=True)
