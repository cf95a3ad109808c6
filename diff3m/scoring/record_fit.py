"""The fit of film and record: how far a film deviates from its estimate along the direction of one group's values."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
import torch
from torch import Tensor

from .filters import crop_borders


@dataclass(frozen=True)
class GroupFit:
    """Calibration of one explanation group on normal films under their own records.

    group: its name. level: noise level of the one-step estimates. mean, std: of the deviation
    ⟨x − x̂_0, d⟩/‖d‖ over `count` normal films; see `measure_deviation`. movements: evenly spaced quantiles
    over normal films, from the smallest to the largest, of how far the group alone moves the estimate before the film
    is seen; empty where that was not measured. Raises ValueError for values out of range.
    """

    group: str
    level: int
    mean: float
    std: float
    count: int
    movements: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if (
            self.level < 1
            or not self.std > 0
            or sorted(self.movements) != list(self.movements)
            or any(size < 0 for size in self.movements)
        ):
            raise ValueError(
                f"fit of {self.group}: the level must be at least 1, std positive, and movements rising from 0"
            )

    def share_below(self, size: float) -> float:
        """Return the share of normal films in which the group alone moves the estimate by less than `size`."""
        count = len(self.movements)
        if size > self.movements[-1]:
            return 1 - self.movements[-1] / size / (count + 1)
        return float(np.interp(size, self.movements, np.linspace(0, count / (count + 1), count)))

    def to_dict(self) -> dict:
        """Return plain values for JSON."""
        return {**asdict(self), "movements": list(self.movements)}

    @classmethod
    def from_dict(cls, values: dict) -> GroupFit:
        """Read what `to_dict` wrote. The `usual` of earlier checkpoints is left out: it measured something else."""
        known = {name: value for name, value in values.items() if name != "usual"}
        return cls(**{**known, "movements": tuple(known.get("movements", ()))})


def measure_deviation(
    film: Tensor, estimate: Tensor, low: Tensor, high: Tensor, margin: float
) -> tuple[Tensor, Tensor]:
    """Measure the deviation of a film along the direction d = x̂_0(high) − x̂_0(low) of one group.

    It is a score test (Rao 1948) along d, that is, a matched filter.

    film: x, (1, 1, S, S). estimate: x̂_0 under n records, (n, 1, S, S). low, high: (1, 1, S, S), estimates under
    records that have values of the group alone. margin: share of every side that is left out. Returns two tensors (n,):
    ⟨x − x̂_0, d⟩/‖d‖, and ⟨x − x̂_0, d⟩/‖d‖², which is 1 for a film that looks as if the group's
    values were higher by as much as `high` is above `low`.
    """
    direction = crop_borders(high - low, margin).flatten()
    residual = crop_borders(film - estimate, margin).flatten(1)
    length = torch.linalg.vector_norm(direction).clamp_min(1e-6)
    along = residual @ direction / length
    return along, along / length
