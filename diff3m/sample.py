"""Draw normal films for a record from pure noise: what the model thinks such a patient's film looks like."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from .detector import Detector
from .diffusion import Callback, Progress, ddim_timesteps, walk
from .reconstruct import CLAMP, make_predictor, validate_seed


@torch.no_grad()
def draw_normals(
    detector: Detector,
    records: Sequence[Mapping[str, object]],
    *,
    seed: int = 0,
    steps: int = 50,
    callback: Callback | None = None,
) -> np.ndarray:
    """Draw one film for each record by DDIM (η = 0) from noise at the highest level.

    A network whose image query is the film needs a clean one, which does not exist yet: its query is the newest
    estimate x̂_0, at first a plain grey picture.

    records: values by feature name, missing = unknown. seed: of the noise; same records, seed and steps give the same
    films. steps: of DDIM. callback: receives the films as they form and may raise to cancel. Returns (N, S, S) float32
    in [0, 1]. Raises EHRError, or ValueError for a seed out of range.
    """
    parsed_records = [detector.schema.parse(record) for record in records]
    size, schedule = detector.config.network.image_size, detector.config.schedule
    generator = torch.Generator().manual_seed(validate_seed(seed))
    x = torch.randn(len(parsed_records), 1, size, size, generator=generator).to(detector.device)
    estimate = torch.full_like(x, 0.5)

    def predict(x: Tensor, t: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        condition = detector.condition(estimate, parsed_records, attention=False)
        with detector.autocast():
            return make_predictor(detector.network, condition)(x, t)

    def after_step(progress: Progress) -> None:
        nonlocal estimate
        estimate = estimate if progress.preview is None else progress.preview
        if callback:
            callback(progress)

    path = ddim_timesteps(schedule.timesteps, steps)[::-1]
    return to_pictures(walk(x, predict, path, schedule, clamp=CLAMP, callback=after_step))


def to_pictures(x: Tensor) -> np.ndarray:
    """Return films (N, 1, S, S) as arrays (N, S, S) float32 in [0, 1]."""
    return x.clamp(*CLAMP)[:, 0].float().cpu().numpy()
