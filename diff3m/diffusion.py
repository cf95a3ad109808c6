"""The diffusion process: schedule, forward noising, deterministic DDIM inversion and denoising.

See docs/method.md, "Inference".

Pure functions over tensors. A predictor is any callable (x, t) → ε̂ or (ε̂, x̃_t), x (B, 1, S, S) and t (B,) integers.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

Predictor = Callable[[Tensor, Tensor], "Tensor | tuple[Tensor, Tensor]"]


@dataclass(frozen=True)
class Progress:
    """What a callback receives after each step of a walk.

    phase: "inversion" or "denoising". done: steps so far, from 1, of total. preview: x̂_0 as it forms, (B, 1, S, S);
    None where nothing that is shown forms.
    """

    phase: str
    done: int
    total: int
    preview: Tensor | None = None


Callback = Callable[[Progress], None]


@dataclass(frozen=True)
class Schedule:
    """Linear β from `beta_start` to `beta_end` over `timesteps`; ᾱ_t = Π(1 − β)."""

    timesteps: int = 1000
    beta_start: float = 1e-4
    beta_end: float = 0.02

    def __post_init__(self) -> None:
        if (
            not isinstance(self.timesteps, int)
            or not 1 <= self.timesteps <= 100_000
            or not 0 < self.beta_start <= self.beta_end < 1
        ):
            raise ValueError("a schedule needs 1 to 100000 timesteps and 0 < beta_start ≤ beta_end < 1")

    @cached_property
    def alpha_bars(self) -> Tensor:
        """ᾱ for t = −1..T as a (T + 2,) float64 tensor: index t + 1; ᾱ_{−1} counts as 1 and ᾱ_T as 0."""
        betas = torch.linspace(self.beta_start, self.beta_end, self.timesteps, dtype=torch.float64)
        ends = torch.ones(1, dtype=torch.float64)
        return torch.cat([ends, torch.cumprod(1 - betas, 0), ends * 0])

    def alpha_bar(self, t: Tensor | int) -> Tensor:
        """Return ᾱ_t as float64, for t in −1..T."""
        return self.alpha_bars[torch.as_tensor(t).cpu() + 1]

    def coefficients(self, t: Tensor | int, like: Tensor) -> tuple[Tensor, Tensor]:
        """Return (√ᾱ_t, √(1 − ᾱ_t)), taken in float64 (1 − ᾱ cancels in float32) and shaped to multiply `like`."""
        a = self.alpha_bar(t).view(-1, *[1] * (like.dim() - 1))
        return a.sqrt().to(like.device, like.dtype), (1 - a).sqrt().to(like.device, like.dtype)

    def target_coefficients(self, t: Tensor | int, like: Tensor) -> tuple[Tensor, Tensor]:
        """Return the same for a level that is stepped to, which the released code rounds (`released.inference`)."""
        return self.coefficients(t, like)


def add_noise(x0: Tensor, noise: Tensor, t: Tensor | int, schedule: Schedule) -> Tensor:
    """Return x_t = √ᾱ_t x_0 + √(1 − ᾱ_t) ε. x0, noise: (B, 1, S, S). t: (B,) or a number."""
    signal, sigma = schedule.target_coefficients(t, x0)
    return signal * x0 + sigma * noise


def predicted_noise(prediction: Tensor | tuple[Tensor, Tensor]) -> Tensor:
    """Return ε̂ of a prediction, with or without x̃_t beside it."""
    return prediction[0] if isinstance(prediction, tuple) else prediction


def estimate_x0(
    x: Tensor, noise: Tensor, t: Tensor | int, schedule: Schedule, clamp: tuple[float, float] | None = None
) -> Tensor:
    """Return x̂_0 = (x − √(1 − ᾱ_t) ε̂)/√ᾱ_t, clamped to `clamp` if given.

    x, noise: (B, 1, S, S); x is x̃_t for masked pixel generation. t: (B,) or a number.
    """
    signal, sigma = schedule.coefficients(t, x)
    x0 = (x - sigma * noise) / signal
    return x0 if clamp is None else x0.clamp(*clamp)


def implied_noise(x: Tensor, x0: Tensor, t: Tensor | int, schedule: Schedule) -> Tensor:
    """Return the noise that x_t holds if x̂_0 is true: (x_t − √ᾱ_t x̂_0)/√(1 − ᾱ_t), for t ≥ 0."""
    signal, sigma = schedule.coefficients(t, x)
    return (x - signal * x0) / sigma


def ddim_step(
    x: Tensor, predictor: Predictor, t: int, t_next: int, schedule: Schedule, clamp: tuple[float, float] | None
) -> tuple[Tensor, Tensor]:
    """Take one deterministic DDIM step (η = 0) from level t to t_next, up (inversion) or down (denoising).

    x_next = √ᾱ_next x̂_0 + √(1 − ᾱ_next) ε, with ε re-derived from the clamped x̂_0. At t = −1 (the clean image) the
    network runs at timestep 0. Returns (x_next, x̂_0).
    """
    timestep = torch.full((x.shape[0],), max(t, 0), device=x.device, dtype=torch.long)
    predicted = predictor(x, timestep)
    noise, source = predicted if isinstance(predicted, tuple) else (predicted, x)
    x0 = estimate_x0(source, noise, t, schedule, clamp)
    # at t = −1 the image is clean and is its own x̂_0; ε cannot be re-derived from it, so the network's estimate stands
    direction = noise if t < 0 else implied_noise(x, x0, t, schedule)
    return add_noise(x0, direction, t_next, schedule), x0


def ddim_timesteps(noise_level: int, steps: int) -> list[int]:
    """Return `steps` + 1 rising timesteps, evenly spaced, from −1 (the clean image) to `noise_level` − 1.

    Raises ValueError unless 1 ≤ steps ≤ noise_level.
    """
    if not 1 <= steps <= noise_level:
        raise ValueError(f"steps must lie between 1 and the noise level {noise_level}, got {steps}")
    return [round(i * noise_level / steps) - 1 for i in range(steps + 1)]


def walk(
    x: Tensor,
    predictor: Predictor,
    path: Sequence[int],
    schedule: Schedule,
    *,
    clamp: tuple[float, float] | None = None,
    callback: Callback | None = None,
) -> Tensor:
    """Walk DDIM along a path of timesteps; rising is inversion, falling is denoising.

    x: (B, 1, S, S) at path[0]. clamp: range of x̂_0; None for none. The callback may raise to cancel. Returns x at
    path[−1].
    """
    phase = "inversion" if path[-1] > path[0] else "denoising"
    for done, (t, t_next) in enumerate(itertools.pairwise(path), start=1):
        x, x0 = ddim_step(x, predictor, t, t_next, schedule, clamp)
        if callback:
            callback(Progress(phase, done, len(path) - 1, x0))
    return x


def invert(x0: Tensor, predictor: Predictor, noise_level: int, steps: int, schedule: Schedule, **options) -> Tensor:
    """Walk from a film to its own noise at `noise_level`. Options as in `walk`."""
    return walk(x0, predictor, ddim_timesteps(noise_level, steps), schedule, **options)


def denoise(x: Tensor, predictor: Predictor, noise_level: int, steps: int, schedule: Schedule, **options) -> Tensor:
    """Walk from noise at `noise_level` back to a film: the mirror of `invert`."""
    return walk(x, predictor, ddim_timesteps(noise_level, steps)[::-1], schedule, **options)
