"""Principal components of normal films: what they cannot express is the residual."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

COMPONENTS, SIDE = 30, 64


def fit_pca(images: np.ndarray, components: int = COMPONENTS, side: int = SIDE) -> Callable[[Tensor], Tensor]:
    """Fit principal components to normal films.

    images: (N, S, S) uint8. components: how many. side: pixels at which they are fitted and applied. Returns films
    (B, 1, S, S) in [0, 1] → reconstructions of the same shape. Raises ValueError with fewer films than components.
    """
    if len(images) <= components:
        raise ValueError(
            f"{components} principal components need more than {components} normal films, got {len(images)}."
        )
    flat = _flatten(torch.from_numpy(images).float()[:, None] / 255, side)
    mean = flat.mean(0)
    torch.manual_seed(0)  # of the randomized decomposition
    _, _, basis = torch.pca_lowrank(flat - mean, q=components, center=False, niter=4)

    def reconstruct(x0: Tensor) -> Tensor:
        deviation = _flatten(x0, side) - mean.to(x0)
        small = (deviation @ basis.to(x0)) @ basis.to(x0).T + mean.to(x0)
        return F.interpolate(
            small.view(-1, 1, side, side), size=x0.shape[-2:], mode="bilinear", align_corners=False
        ).clamp(0, 1)

    return reconstruct


def _flatten(x0: Tensor, side: int) -> Tensor:
    return F.interpolate(x0, size=(side, side), mode="area").flatten(1)
