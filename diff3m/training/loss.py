"""The training loss: noise prediction and masked pixel generation (METHOD, "Training loss", λ = ½)."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from ..diffusion import Schedule, add_noise
from ..network import Condition, Diff3M
from .films import Batch


@dataclass(frozen=True)
class Losses:
    """total = ½ noise + ½ masked_pixels; each a scalar mean squared error (masked_pixels is 0 if no film was masked)."""

    total: Tensor
    noise: Tensor
    masked_pixels: Tensor


class DiffusionLoss(nn.Module):
    """The loss as a module around the network, so that a distributed wrapper sees one forward pass."""

    def __init__(self, network: Diff3M, schedule: Schedule) -> None:
        super().__init__()
        self.network, self.schedule = network, schedule

    def forward(self, batch: Batch) -> Losses:
        return diffusion_loss(self.network, batch, self.schedule)


def diffusion_loss(network: Diff3M, batch: Batch, schedule: Schedule) -> Losses:
    """½·mean((ε − ε̂)²) + ½·mean((x_t − x̃_t)²), the second over the films that `batch.masked` marks."""
    x_t = add_noise(batch.x0, batch.noise, batch.t, schedule)
    condition = network.condition(batch.x0, batch.values)
    noise = (network.predict_noise(x_t, batch.t, condition).float() - batch.noise).square().mean()
    if not bool(batch.masked.any()):
        return Losses(0.5 * noise, noise, noise.detach() * 0)
    part = Condition(condition.embedding[batch.masked], {})
    target = x_t[batch.masked]
    masked = (network.predict_masked_pixels(target, batch.t[batch.masked], part).float() - target).square().mean()
    return Losses(0.5 * (noise + masked), noise, masked)
