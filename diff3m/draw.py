"""Draw normal films for a record from pure noise: what the model thinks such a patient's film looks like."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

import numpy as np
import torch

from .detector import Detector
from .diffusion import ddim_step, levels
from .reconstruct import CLAMP, predictor


@torch.no_grad()
def draw_normals(detector: Detector, records: Sequence[Mapping[str, object]], *, seed: int = 0, steps: int = 50) -> np.ndarray:
    """One film for each record by DDIM (η = 0) from noise at the highest level. Returns (N, S, S) float32 in [0, 1].

    The network's image query needs a clean film, which does not exist yet: it is asked with the newest estimate x̂_0, at
    first with a plain grey one. Same records, seed and steps give the same films. Raises EHRError.
    """
    parsed = [detector.schema.parse(record) for record in records]
    config = detector.config
    size, schedule = config.network.image_size, config.schedule
    x = torch.randn(len(parsed), 1, size, size, generator=torch.Generator().manual_seed(seed)).to(detector.device)
    estimate = torch.full_like(x, 0.5)
    path = levels(schedule.timesteps, steps)[::-1]
    for t, t_next in itertools.pairwise(path):
        condition = detector.condition(estimate, parsed)
        with detector.autocast():
            x, estimate = ddim_step(x, predictor(detector.network, condition), t, t_next, schedule, CLAMP)
    return x.clamp(*CLAMP)[:, 0].float().cpu().numpy()
