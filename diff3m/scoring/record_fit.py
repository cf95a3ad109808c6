"""Does the film fit the record? How far a film lies from where its record puts it, along one group's direction."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
import torch
from torch import Tensor

from .filters import crop_borders


@dataclass(frozen=True)
class GroupFit:
    """How one explanation group is measured, and what normals under their own record give.

    level: noise level of the one-step estimates. mean, std: of the deviation ⟨x − x̂_0, d⟩/‖d‖ over `count` normal
    films. usual: evenly spaced quantiles, smallest and largest included, over normal films, of the size of the group's
    Shapley value of what the record moves before the film is seen; empty where it was not measured.
    """

    group: str
    level: int
    mean: float
    std: float
    count: int
    usual: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if (
            self.level < 1
            or not self.std > 0
            or sorted(self.usual) != list(self.usual)
            or any(size < 0 for size in self.usual)
        ):
            raise ValueError(
                f"fit of {self.group}: the level must be at least 1, std positive, and `usual` rising from 0 or more"
            )

    def share_below(self, size: float) -> float:
        """Return the share of people in whom the group moves normal less than `size`, in [0, 1), rising throughout."""
        count = len(self.usual)
        if size > self.usual[-1]:
            return 1 - self.usual[-1] / size / (count + 1)
        return float(np.interp(size, self.usual, np.linspace(0, count / (count + 1), count)))

    def to_dict(self) -> dict:
        """Return plain values for JSON."""
        return {**asdict(self), "usual": list(self.usual)}

    @classmethod
    def from_dict(cls, values: dict) -> GroupFit:
        """Read what `to_dict` wrote; what is usual as one number, an earlier form, counts as not measured."""
        usual = values.get("usual", ())
        return cls(**{**values, "usual": tuple(usual) if isinstance(usual, list | tuple) else ()})


def measure_deviation(
    film: Tensor, estimate: Tensor, low: Tensor, high: Tensor, margin: float
) -> tuple[Tensor, Tensor]:
    """Measure a film's place along the direction d = x̂_0(high) − x̂_0(low) of one group.

    A score test (Rao 1948) along d, or a matched filter. film: (1, 1, S, S). estimate: (n, 1, S, S) under n records.
    low, high: (1, 1, S, S), estimates that know the group alone. margin: share of every side that is left out. Returns
    (n,) each: ⟨x − x̂_0, d⟩/‖d‖, and ⟨x − x̂_0, d⟩/‖d‖², which is 1 where the film looks as if the group stood as much
    higher as `high` is above `low`.
    """
    direction = crop_borders(high - low, margin).flatten()
    residual = crop_borders(film - estimate, margin).flatten(1)
    length = torch.linalg.vector_norm(direction).clamp_min(1e-6)
    along = residual @ direction / length
    return along, along / length
