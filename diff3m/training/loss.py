"""The training loss: noise prediction, masked pixel generation and healing (docs/method.md, "Training loss")."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from ..diffusion import Schedule, add_noise
from ..imaging.scale import scale_sigma
from ..network import Diff3M
from ..scoring.filters import gaussian_blur
from .batch import Batch

LESION_WEIGHT = 3.0
GRADIENT_WEIGHT = 0.5
SMOOTH_WEIGHT, SMOOTH_SIGMA = 2.0, 2.0  # of the error after a Gaussian; its standard deviation in pixels of 128


@dataclass(frozen=True)
class Losses:
    """Scalars of one step.

    total: ½ (weighted) noise + ½ masked_pixels + healing_weight · healing, what is minimized. noise: unweighted mean
    squared error. masked_pixels: mean squared error; 0 if no film was masked. healing: see `healing_loss`; 0 if no
    film was healed.
    """

    total: Tensor
    noise: Tensor
    masked_pixels: Tensor
    healing: Tensor


class DiffusionLoss(nn.Module):
    """The loss as a module around the network, so that a distributed wrapper sees one forward pass."""

    def __init__(
        self,
        network: Diff3M,
        schedule: Schedule,
        weighting: str = "noise",
        healing_weight: float = 0.0,
        lesion_weight: float = LESION_WEIGHT,
    ) -> None:
        super().__init__()
        self.network, self.schedule = network, schedule
        self.settings = weighting, healing_weight, lesion_weight

    def forward(self, batch: Batch) -> Losses:
        """Compute the losses of a batch; see `diffusion_loss`."""
        return diffusion_loss(self.network, batch, self.schedule, *self.settings)


def diffusion_loss(
    network: Diff3M,
    batch: Batch,
    schedule: Schedule,
    weighting: str = "noise",
    healing_weight: float = 0.0,
    lesion_weight: float = LESION_WEIGHT,
) -> Losses:
    """Compute ½·mean(w (ε − ε̂)²) + ½·mean((x_t − x̃_t)²) + healing_weight · healing.

    The first term is over the films that are not healed, the second over those that `batch.masked` marks, the third
    over those that `batch.healing` marks. One pass of the noise branch serves the first and the third.

    weighting: "noise" (w = 1, the paper), or "velocity" (w = 1/ᾱ_t: the squared error of v, Salimans and Ho, ICLR
    2022). At high noise ε̂ is nearly x_t itself and its error says little about the film; the velocity's error stays
    that of the film.
    """
    x_t = add_noise(batch.x0, batch.noise, batch.t, schedule)
    condition = network.condition(batch.x0, batch.values)
    predicted = network.predict_noise(x_t, batch.t, condition).float()
    squared_error = (predicted - batch.noise).square().mean(dim=(1, 2, 3))
    alpha_bar = schedule.alpha_bar(batch.t).to(squared_error)
    weighted = squared_error if weighting == "noise" else squared_error / alpha_bar
    zero = predicted.sum() * 0
    if batch.healing is None or batch.target is None or batch.lesions is None:
        noise, weighted, healing = squared_error.mean(), weighted.mean(), zero.detach()
    else:
        plain, heals = ~batch.healing, batch.healing
        noise, weighted = (
            batch.noise_scale * (part[plain].mean() if bool(plain.any()) else zero)
            for part in (squared_error, weighted)
        )
        healing = zero
        if bool(heals.any()):
            signal, sigma = (level[heals].view(-1, 1, 1, 1) for level in (alpha_bar.sqrt(), (1 - alpha_bar).sqrt()))
            estimate = (x_t[heals].float() - sigma * predicted[heals]) / signal
            parts = (batch.target[heals], batch.lesions[heals], alpha_bar[heals])
            healing = batch.healing_scale * healing_loss(estimate, *parts, lesion_weight)
    masked = zero.detach()
    if bool(batch.masked.any()):
        part = condition.map(lambda tensor: tensor[batch.masked])
        target = x_t[batch.masked]
        masked = (network.predict_masked_pixels(target, batch.t[batch.masked], part).float() - target).square().mean()
        masked = masked * batch.masked_scale
    return Losses(0.5 * (weighted + masked) + healing_weight * healing, noise, masked, healing)


def healing_loss(
    estimate: Tensor, target: Tensor, lesions: Tensor, alpha_bar: Tensor, lesion_weight: float = LESION_WEIGHT
) -> Tensor:
    """Compute the mean of ᾱ_t · ((|e| + 2 |G e|) · (1 + lesion_weight·mask) + ½ |∇e|) of e = x̂_0 − x_0, a scalar.

    estimate: x̂_0 (B, 1, S, S), the film without lesions as estimated from the noised painted film; target: x_0,
    alike; lesions: (B, 1, S, S) in [0, 1]; alpha_bar: (B,). G is a Gaussian of 2 pixels of 128: the fine grain of an
    error is noise that cannot be known, while what is shown and scored of a difference is smooth. The gradient is the
    difference of neighboring pixels.
    """
    weight = alpha_bar.view(-1, 1, 1, 1)
    error = estimate - target
    gradients = (error[..., 1:, :] - error[..., :-1, :], error[..., 1:] - error[..., :-1])
    gradient = sum((weight * part.abs()).mean() for part in gradients)
    smooth = gaussian_blur(error, scale_sigma(SMOOTH_SIGMA, error.shape[-1]))
    size = error.abs() + SMOOTH_WEIGHT * smooth.abs()
    return (weight * size * (1 + lesion_weight * lesions)).mean() + GRADIENT_WEIGHT * gradient
