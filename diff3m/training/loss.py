"""The training loss: noise prediction and masked pixel generation (docs/method.md, "Training loss")."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from ..diffusion import Schedule, add_noise
from ..network import Diff3M
from .films import Batch


@dataclass(frozen=True)
class Losses:
    """total = ½ (weighted) noise + ½ masked_pixels, what is minimized; noise unweighted; each a scalar mean squared error.

    masked_pixels is 0 if no film was masked.
    """

    total: Tensor
    noise: Tensor
    masked_pixels: Tensor


class DiffusionLoss(nn.Module):
    """The loss as a module around the network, so that a distributed wrapper sees one forward pass."""

    def __init__(self, network: Diff3M, schedule: Schedule, weighting: str = "noise") -> None:
        super().__init__()
        self.network, self.schedule, self.weighting = network, schedule, weighting

    def forward(self, batch: Batch) -> Losses:
        return diffusion_loss(self.network, batch, self.schedule, self.weighting)


def diffusion_loss(network: Diff3M, batch: Batch, schedule: Schedule, weighting: str = "noise") -> Losses:
    """½·mean(w (ε − ε̂)²) + ½·mean((x_t − x̃_t)²), the second over the films that `batch.masked` marks.

    weighting: "noise" (w = 1, the paper), or "velocity" (w = 1/ᾱ_t: the squared error of v, Salimans and Ho, ICLR 2022). At high noise
    ε̂ is nearly x_t itself and its error says little about the film; the velocity's error stays that of the film.
    """
    x_t = add_noise(batch.x0, batch.noise, batch.t, schedule)
    condition = network.condition(batch.x0, batch.values)
    squared = (network.predict_noise(x_t, batch.t, condition).float() - batch.noise).square().mean(dim=(1, 2, 3))
    noise = squared.mean()
    weighted = noise if weighting == "noise" else (squared / schedule.alpha_bar(batch.t).to(squared)).mean()
    if not bool(batch.masked.any()):
        return Losses(0.5 * weighted, noise, noise.detach() * 0)
    part = condition.map(lambda tensor: tensor[batch.masked])
    target = x_t[batch.masked]
    masked = (
        network.predict_masked_pixels(target, batch.t[batch.masked], part).float() - target
    ).square().mean() * batch.masked_scale
    return Losses(0.5 * (weighted + masked), noise, masked)
