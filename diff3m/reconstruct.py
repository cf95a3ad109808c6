"""Pseudo-healthy reconstructions at several noise levels at once, by inversion and denoising, or in one step.

Inversion paths of lower levels are the beginning of higher ones wherever their steps coincide, so they are walked once;
denoising walks all levels in one batch, each joining when the walk passes it.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .diffusion import Predictor, Schedule, add_noise, ddim_step, estimate_x0, levels
from .network import Condition, Diff3M

MOST_SEED = 999_999_999
CLAMP = (0.0, 1.0)  # films are prepared to [0, 1]


@dataclass(frozen=True)
class Progress:
    """What a callback hears: phase ("inversion", "denoising"), steps done of total, and the forming x̂_0 (B, 1, S, S) of
    the shown level, if it is being formed."""

    phase: str
    done: int
    total: int
    preview: Tensor | None = None


def predictor(network: Diff3M, condition: Condition, estimate: str = "x_t") -> Predictor:
    """ε̂ (and x̃_t, for estimate "masked_pixels") for k·B images under the condition of B films, k ≥ 1."""

    def predict(x: Tensor, t: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        repeated = condition.repeat(x.shape[0] // condition.embedding.shape[0])
        if estimate == "x_t":
            return network.predict_noise(x, t, repeated).float()
        prediction = network.predict(x, t, repeated)
        return prediction.noise.float(), prediction.masked_pixels.float()

    return predict


def steps_to(level: int, steps: int, reference_level: int) -> int:
    """DDIM steps each way to `level`, in proportion to `steps` at the reference level; at least 1."""
    return min(level, max(1, round(steps * level / reference_level)))


def reconstruct(
    x0: Tensor,
    predict: Predictor,
    plan: dict[int, int],
    schedule: Schedule,
    shown_level: int | None = None,
    callback: Callable[[Progress], None] | None = None,
) -> dict[int, Tensor]:
    """Invert films to each noise level and denoise back.

    x0: (B, 1, S, S); plan: noise level → steps each way. Returns level → (B, 1, S, S), clamped to [0, 1].
    """
    paths = {level: levels(level, steps) for level, steps in plan.items()}
    walks = _shared_walks(paths)
    total = sum(len(path) - 1 for path, _ in walks) * 2
    done, starts, results = 0, {}, {}
    for path, members in walks:
        x = x0
        ends = {paths[level][-1]: level for level in members}
        for t, t_next in itertools.pairwise(path):
            x, _ = ddim_step(x, predict, t, t_next, schedule, CLAMP)
            done += 1
            if t_next in ends:
                starts[ends[t_next]] = x
            if callback:
                callback(Progress("inversion", done, total))
        active: list[int] = []
        for t, t_next in zip(path[:0:-1], path[-2::-1], strict=True):
            x = x if active else x0[:0]
            for level in members:
                if paths[level][-1] == t:
                    active.append(level)
                    x = torch.cat([x, starts.pop(level)])
            x, estimate = ddim_step(x, predict, t, t_next, schedule, CLAMP)
            done += 1
            if callback:
                preview = estimate.chunk(len(active))[active.index(shown_level)] if shown_level in active else None
                callback(Progress("denoising", done, total, preview))
        results.update(zip(active, x.clamp(*CLAMP).chunk(len(active)), strict=True))
    return results


def reconstruct_as_released(
    x0: Tensor,
    predict: Predictor,
    level: int,
    noise: Tensor,
    schedule: Schedule,
    callback: Callable[[Progress], None] | None = None,
    stride: int = 1,
) -> Tensor:
    """The released loop, quirks included: one step of random noise (t = 0), inversion at t = 1 … level − 1, denoising from level − 2.

    noise: like x0, or one for all films. stride: timesteps from one step to the next, 1 as released; more is a cheaper approximation. Clamps
    x̂_0 to [−1, 1]. Returns (B, 1, S, S), not clamped further.
    """
    up, down = _every(range(1, level + 1), stride), _every(range(level - 2, -2, -1), stride)
    total, done = len(up) + len(down) - 2, 0
    x = add_noise(x0, noise.expand_as(x0), torch.zeros(len(x0), dtype=torch.long, device=x0.device), schedule)
    for phase, path in (("inversion", up), ("denoising", down)):
        for t, t_next in itertools.pairwise(path):
            x, estimate = ddim_step(x, predict, t, t_next, schedule, (-1.0, 1.0))
            done += 1
            if callback:
                callback(Progress(phase, done, total, estimate if phase == "denoising" else None))
    return x


def _every(path: range, stride: int) -> list[int]:
    """Every stride-th timestep of a path, and its last."""
    kept = list(path[::stride])
    return kept if kept[-1] == path[-1] else [*kept, path[-1]]


def _shared_walks(paths: dict[int, list[int]]) -> list[tuple[list[int], list[int]]]:
    """Group levels whose path is the beginning of a higher one: [(longest path, its levels, highest first), …]."""
    walks: list[tuple[list[int], list[int]]] = []
    for level in sorted(paths, reverse=True):
        for path, members in walks:
            if path[: len(paths[level])] == paths[level]:
                members.append(level)
                break
        else:
            walks.append((paths[level], [level]))
    return walks


def estimate_in_one_step(x0: Tensor, predict: Predictor, level: int, noises: Tensor, schedule: Schedule) -> Tensor:
    """x̂_0 from films noised to `level`, averaged over draws. x0: (B, 1, S, S); noises: (K, 1, S, S) → (B, 1, S, S) in [0, 1]."""
    k, b = len(noises), len(x0)
    t = torch.full((k * b,), level - 1, device=x0.device)
    x_t = add_noise(x0.repeat(k, 1, 1, 1), noises.repeat_interleave(b, dim=0), t, schedule)
    predicted = predict(x_t, t)
    noise, source = predicted if isinstance(predicted, tuple) else (predicted, x_t)
    return estimate_x0(source, noise, t, schedule, CLAMP).view(k, b, *x0.shape[1:]).mean(0)


def checked_seed(seed: int) -> int:
    """A seed that every generator takes. Raises ValueError with a sentence."""
    if not 0 <= seed <= MOST_SEED:
        raise ValueError(f"The seed must lie between 0 and {MOST_SEED}, got {seed}.")
    return int(seed)


def draw_noises(count: int, size: int, level: int, seed: int, device: torch.device | str = "cpu") -> Tensor:
    """The fixed noises of a level: the same for every film, (count, 1, size, size)."""
    generator = torch.Generator().manual_seed(seed * 1009 + level)
    return torch.randn(count, 1, size, size, generator=generator).to(device)


def needed_levels(keys: Sequence[tuple[str, int]], source: str) -> list[int]:
    """Noise levels that a source must give, highest first."""
    return sorted({level for kind, level in keys if kind == source}, reverse=True)
