"""AnoDDPM (Wyatt et al., CVPR workshops 2022): noise a film part of the way at once, denoise it with fresh noise.

With Gaussian noise any diffusion network will do; simplex noise needs one that was trained with it (`noise: simplex` in
a training configuration).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable

import torch
from torch import Tensor

from ...diffusion import Predictor, Schedule, add_noise, ddim_timesteps, estimate_x0, implied_noise, predicted_noise

LEVEL = 250


def reconstruct_by_anoddpm(
    x0: Tensor,
    predict: Predictor,
    schedule: Schedule,
    draw: Callable[[int], Tensor],
    level: int = LEVEL,
    steps: int = 25,
) -> Tensor:
    """Reconstruct films: √ᾱ x_0 + √(1 − ᾱ) ε at `level`, then `steps` ancestral steps down (DDIM, η = 1).

    x0: (B, 1, S, S). draw: count → noises (count, 1, S, S) of the network's kind. Returns (B, 1, S, S).
    """
    path = ddim_timesteps(level, steps)[::-1]
    x = add_noise(x0, draw(len(x0)), path[0], schedule)
    for t, t_next in itertools.pairwise(path):
        noise = predicted_noise(predict(x, torch.full((len(x),), t, device=x.device)))
        estimate = estimate_x0(x, noise, t, schedule, (0.0, 1.0))
        if t_next < 0:
            return estimate
        a, a_next = float(schedule.alpha_bar(t)), float(schedule.alpha_bar(t_next))
        fresh = ((1 - a_next) / (1 - a) * (1 - a / a_next)) ** 0.5  # Song et al., ICLR 2021, equation 16 with η = 1
        direction = (1 - a_next - fresh**2) ** 0.5
        x = a_next**0.5 * estimate + direction * implied_noise(x, estimate, t, schedule) + fresh * draw(len(x))
    return x
