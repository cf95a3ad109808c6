"""Validation: losses at fixed timesteps and noise, previews, and healing of unseen lesions."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from ..diffusion import Schedule
from ..network import Diff3M
from .batch import Batch, NoiseSampler
from .films import Films
from .log import MeanLosses
from .loss import diffusion_loss
from .preview import PREVIEW_FILMS, estimate_previews, measure_healing_ratios


@dataclass(frozen=True)
class Validation:
    """Films to validate on, with timesteps and noise that are the same at every step of a run.

    sampler: draws the noise. share: number of films in one pass of the network. device: of the network.
    """

    films: Films
    schedule: Schedule
    sampler: NoiseSampler
    share: int
    device: torch.device

    @cached_property
    def batch(self) -> Batch:
        """All films, with timesteps spread evenly over the schedule, on the CPU."""
        count, size = len(self.films), self.films.images.shape[-1]
        x0 = torch.from_numpy(self.films.images).float()[:, None] / 255
        noise = self.sampler(count, size, torch.Generator().manual_seed(1))
        t = torch.arange(count) * self.schedule.timesteps // count
        masked = torch.ones(count, dtype=torch.bool)
        return Batch(x0=x0, noise=noise, t=t, values=torch.from_numpy(self.films.values), masked=masked)

    def preview(self, network: Diff3M) -> list[Tensor]:
        """Return the first films, the same noised, and their one-step estimates, each (B, 1, S, S)."""
        parts = [estimate_previews(network, part, self.schedule) for part in self._parts(PREVIEW_FILMS)]
        return [torch.cat(row) for row in zip(*parts, strict=True)]

    def measure_losses(self, network: Diff3M) -> MeanLosses:
        """Return the mean losses of noise and masked pixels over all films."""
        noise = masked_pixels = 0.0
        for part in self._parts(len(self.films)):
            losses = diffusion_loss(network, part, self.schedule)
            noise += losses.noise.item() * len(part.x0)
            masked_pixels += losses.masked_pixels.item() * len(part.x0)
        return MeanLosses(noise / len(self.films), masked_pixels / len(self.films))

    def measure_healing(self, network: Diff3M) -> dict[str, float]:
        """Return how well lesions heal that training never paints, by kind; see `measure_healing_ratios`."""
        return measure_healing_ratios(network, self.films, self.schedule, self.device)

    def _parts(self, count: int) -> Iterator[Batch]:
        """Yield the first films of the batch, `share` at a time, on the device."""
        batch = self.batch
        for start in range(0, min(count, len(batch.x0)), self.share):
            rows = slice(start, min(start + self.share, count))
            names = ("x0", "noise", "t", "values", "masked")
            part = Batch(**{name: getattr(batch, name)[rows] for name in names})
            yield part.map(lambda tensor: tensor.to(self.device))
