"""The diffusion process: schedule, forward noising, deterministic DDIM inversion and denoising.

See docs/method.md, "Diffusion" and "Inference". All functions are pure. A predictor is any callable (x, t) → ε̂ or
(ε̂, x̃_t), with x (B, 1, S, S) and integers t (B,). A noise level L has the timesteps 0 to L − 1.
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

    phase: "inversion" or "denoising". done, total: number of steps so far, from 1, and of all. preview: the current
    estimate x̂_0, (B, 1, S, S); None where there is none to display.
    """

    phase: str
    done: int
    total: int
    preview: Tensor | None = None


Callback = Callable[[Progress], None]


@dataclass(frozen=True)
class Schedule:
    """A linear schedule (Ho et al., NeurIPS 2020): β rises from `beta_start` to `beta_end`.

    ᾱ_t = Π_{s ≤ t} (1 − β_s). timesteps: their number T. Raises ValueError for values out of range.
    """

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
        """ᾱ_t for t = −1 … T at the index t + 1, (T + 2,) float64; ᾱ_{−1} is 1 and ᾱ_T is 0."""
        betas = torch.linspace(self.beta_start, self.beta_end, self.timesteps, dtype=torch.float64)
        ends = torch.ones(1, dtype=torch.float64)
        return torch.cat([ends, torch.cumprod(1 - betas, 0), ends * 0])

    def alpha_bar(self, t: Tensor | int) -> Tensor:
        """Return ᾱ_t as float64. t: −1 … T."""
        return self.alpha_bars[torch.as_tensor(t).cpu() + 1]

    def coefficients(self, t: Tensor | int, like: Tensor) -> tuple[Tensor, Tensor]:
        """Return (√ᾱ_t, √(1 − ᾱ_t)) with the device, dtype and number of dimensions of `like`.

        They are computed in float64, because 1 − ᾱ_t loses digits in float32.
        """
        a = self.alpha_bar(t).view(-1, *[1] * (like.dim() - 1))
        return a.sqrt().to(like.device, like.dtype), (1 - a).sqrt().to(like.device, like.dtype)

    def target_coefficients(self, t: Tensor | int, like: Tensor) -> tuple[Tensor, Tensor]:
        """Return the same for a timestep that is stepped to; the released code rounds it (`released.inference`)."""
        return self.coefficients(t, like)


def add_noise(x0: Tensor, noise: Tensor, t: Tensor | int, schedule: Schedule) -> Tensor:
    """Compute x_t = √ᾱ_t x_0 + √(1 − ᾱ_t) ε. x0, noise: (B, 1, S, S). t: (B,) or a number."""
    signal, sigma = schedule.target_coefficients(t, x0)
    return signal * x0 + sigma * noise


def predicted_noise(prediction: Tensor | tuple[Tensor, Tensor]) -> Tensor:
    """Return ε̂ of a predictor's output, which is ε̂ or (ε̂, x̃_t)."""
    return prediction[0] if isinstance(prediction, tuple) else prediction


def estimate_x0(
    x: Tensor, noise: Tensor, t: Tensor | int, schedule: Schedule, clamp: tuple[float, float] | None = None
) -> Tensor:
    """Compute x̂_0 = (x − √(1 − ᾱ_t) ε̂)/√ᾱ_t.

    x: x_t, or x̃_t of masked pixel generation, and noise: ε̂, both (B, 1, S, S). t: (B,) or a number. clamp: range
    of x̂_0; None for none.
    """
    signal, sigma = schedule.coefficients(t, x)
    x0 = (x - sigma * noise) / signal
    return x0 if clamp is None else x0.clamp(*clamp)


def implied_noise(x: Tensor, x0: Tensor, t: Tensor | int, schedule: Schedule) -> Tensor:
    """Compute the noise in x_t if x̂_0 is the film: (x_t − √ᾱ_t x̂_0)/√(1 − ᾱ_t), for t ≥ 0."""
    signal, sigma = schedule.coefficients(t, x)
    return (x - signal * x0) / sigma


def ddim_step(
    x: Tensor, predictor: Predictor, t: int, t_next: int, schedule: Schedule, clamp: tuple[float, float] | None
) -> tuple[Tensor, Tensor]:
    """Take one deterministic DDIM step (η = 0; Song et al., ICLR 2021) from timestep t up or down to t_next.

    x_next = √ᾱ_next x̂_0 + √(1 − ᾱ_next) ε, with ε re-derived from the clamped x̂_0. At t = −1, the
    clean image, the predictor is called with timestep 0. Returns (x_next, x̂_0).
    """
    timestep = torch.full((x.shape[0],), max(t, 0), device=x.device, dtype=torch.long)
    predicted = predictor(x, timestep)
    noise, source = predicted if isinstance(predicted, tuple) else (predicted, x)
    x0 = estimate_x0(source, noise, t, schedule, clamp)
    # at t = −1 the image is clean and is its own x̂_0; ε cannot be re-derived from it, so the network's estimate
    # stands
    direction = noise if t < 0 else implied_noise(x, x0, t, schedule)
    return add_noise(x0, direction, t_next, schedule), x0


def ddim_timesteps(noise_level: int, steps: int) -> list[int]:
    """Return `steps` + 1 ascending timesteps, evenly spaced, from −1 (the clean image) to `noise_level` − 1.

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
    """Take DDIM steps along a path of timesteps: an ascending path is inversion, a descending one denoising.

    x: (B, 1, S, S) at path[0]. clamp: range of x̂_0; None for none. callback: called after each step; it may raise an
    exception to cancel. Returns x at path[−1].
    """
    phase = "inversion" if path[-1] > path[0] else "denoising"
    for done, (t, t_next) in enumerate(itertools.pairwise(path), start=1):
        x, x0 = ddim_step(x, predictor, t, t_next, schedule, clamp)
        if callback:
            callback(Progress(phase, done, len(path) - 1, x0))
    return x


def invert(x0: Tensor, predictor: Predictor, noise_level: int, steps: int, schedule: Schedule, **options) -> Tensor:
    """Walk from films x0 (B, 1, S, S) up to their own noise at `noise_level`. Options as in `walk`."""
    return walk(x0, predictor, ddim_timesteps(noise_level, steps), schedule, **options)


def denoise(x: Tensor, predictor: Predictor, noise_level: int, steps: int, schedule: Schedule, **options) -> Tensor:
    """Walk from noise x (B, 1, S, S) at `noise_level` down to films. Options as in `walk`."""
    return walk(x, predictor, ddim_timesteps(noise_level, steps)[::-1], schedule, **options)
