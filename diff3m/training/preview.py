"""Pictures that a training draws of itself: films, noised films, and what the network makes of them in one step."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from ..diffusion import Schedule, add_noise, estimate_x0
from ..network import Diff3M
from .films import Batch

SAMPLE_FILMS, SAMPLE_LEVEL = 8, 400


def estimated(network: Diff3M, batch: Batch, schedule: Schedule) -> tuple[Tensor, Tensor, Tensor]:
    """Films, noised to SAMPLE_LEVEL, and their one-step estimates, each (B, 1, S, S)."""
    level = torch.full((len(batch.x0),), SAMPLE_LEVEL, device=batch.x0.device)
    x_t = add_noise(batch.x0, batch.noise, level, schedule)
    noise = network.predict_noise(x_t, level, network.condition(batch.x0, batch.values)).float()
    return batch.x0, x_t, estimate_x0(x_t, noise, level, schedule, (0, 1))


def write_grid(rows: list[Tensor], path: Path) -> None:
    """One picture of rows of films, each (B, 1, S, S) in [0, 1]."""
    path.parent.mkdir(exist_ok=True)
    picture = torch.cat([torch.cat(list(row[:, 0].float().cpu()), dim=1) for row in rows]).clamp(0, 1).numpy()
    cv2.imwrite(str(path), np.round(picture * 255).astype(np.uint8))
