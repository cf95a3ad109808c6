"""Draw normal films for a record from pure noise: what the model thinks such a patient's film looks like."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from .detector import Detector
from .diffusion import ddim_step, levels
from .reconstruct import CLAMP, checked_seed, predictor


@dataclass(frozen=True)
class Drawing:
    """What a callback hears: steps done of total, and the films as they form, (N, S, S) float32 in [0, 1]."""

    done: int
    total: int
    films: np.ndarray


@torch.no_grad()
def draw_normals(
    detector: Detector,
    records: Sequence[Mapping[str, object]],
    *,
    seed: int = 0,
    steps: int = 50,
    callback: Callable[[Drawing], None] | None = None,
) -> np.ndarray:
    """One film for each record by DDIM (η = 0) from noise at the highest level. Returns (N, S, S) float32 in [0, 1].

    A network whose image query is the film needs a clean one, which does not exist yet: it is asked with the newest estimate x̂_0, at first with a
    plain grey one. Same records, seed and steps give the same films. The callback hears each step and
    may raise to cancel. Raises EHRError, or ValueError for a seed out of range.
    """
    parsed = [detector.schema.parse(record) for record in records]
    config = detector.config
    size, schedule = config.network.image_size, config.schedule
    x = torch.randn(len(parsed), 1, size, size, generator=torch.Generator().manual_seed(checked_seed(seed))).to(
        detector.device
    )
    estimate = torch.full_like(x, 0.5)
    path = levels(schedule.timesteps, steps)[::-1]
    for done, (t, t_next) in enumerate(itertools.pairwise(path), start=1):
        condition = detector.condition(estimate, parsed, attention=False)
        with detector.autocast():
            x, estimate = ddim_step(x, predictor(detector.network, condition), t, t_next, schedule, CLAMP)
        if callback:
            callback(Drawing(done, len(path) - 1, _films(estimate)))
    return _films(x)


def _films(x: Tensor) -> np.ndarray:
    return x.clamp(*CLAMP)[:, 0].float().cpu().numpy()
