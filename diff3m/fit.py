"""Does the film fit the record? How far a film lies from where its record puts it, along what one group of the record does to a film."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .scoring import inner


@dataclass(frozen=True)
class GroupFit:
    """How one explanation group is measured, and what normals under their own record give.

    level: noise level of the one-step estimates. mean, std: of the deviation ⟨x − x̂_0, d⟩/‖d‖ over `count` normal films. usual: root mean square,
    over normal films, of the group's Shapley value of what the record moves before the film is seen; 0 where it was not measured.
    """

    group: str
    level: int
    mean: float
    std: float
    count: int
    usual: float = 0.0

    def __post_init__(self) -> None:
        if self.level < 1 or not self.std > 0 or self.usual < 0:
            raise ValueError(f"fit of {self.group}: the level must be at least 1, std positive and usual not negative")


def deviation(film: Tensor, estimate: Tensor, low: Tensor, high: Tensor, margin: float) -> tuple[Tensor, Tensor]:
    """A film's place along the direction d = x̂_0(high) − x̂_0(low) of one group, from its estimate under a record.

    film (1, 1, S, S); estimates (n, 1, S, S) under n records; low, high (1, 1, S, S): estimates that know the group alone. A score test
    (Rao 1948) along d, or a matched filter. Returns (n,) each: ⟨x − x̂_0, d⟩/‖d‖, and ⟨x − x̂_0, d⟩/‖d‖², which is 1 where the film
    looks as if the group stood as much higher as `high` is above `low`.
    """
    direction = inner(high - low, margin).flatten()
    residual = inner(film - estimate, margin).flatten(1)
    length = torch.linalg.vector_norm(direction).clamp_min(1e-6)
    along = residual @ direction / length
    return along, along / length
