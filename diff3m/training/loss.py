"""The training loss: noise prediction, masked pixel generation and healing (docs/method.md, "Training loss")."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from ..diffusion import Schedule, add_noise
from ..imaging.scale import scale_sigma
from ..network import Condition, Diff3M
from ..scoring.filters import gaussian_blur
from .batch import Batch

GRADIENT_WEIGHT = 0.5
SMOOTH_WEIGHT, SMOOTH_SIGMA = 2.0, 2.0  # of the error after a Gaussian; its standard deviation in pixels of 128


@dataclass(frozen=True)
class LossSettings:
    """How the terms of the loss are weighted.

    weighting: of the noise error, "noise" (w = 1, the paper) or "velocity" (w = 1/ᾱ_t: the squared error of v,
    Salimans and Ho, ICLR 2022). At high noise ε̂ is nearly x_t itself and its error says little about the film; the
    velocity's error stays that of the film.
    healing_weight: weight of the healing term, at least 0.
    lesion_weight: how much more an error inside a painted lesion counts in the healing term, at least 0.
    """

    weighting: str = "noise"
    healing_weight: float = 0.0
    lesion_weight: float = 3.0


@dataclass(frozen=True)
class Losses:
    """The losses of one step, scalars.

    total: ½ · weighted noise + ½ · masked_pixels + healing_weight · healing, which is minimized. noise: unweighted
    mean squared error. masked_pixels: mean squared error, 0 without masked films. healing: see `healing_loss`, 0
    without films to heal.
    """

    total: Tensor
    noise: Tensor
    masked_pixels: Tensor
    healing: Tensor


class DiffusionLoss(nn.Module):
    """`diffusion_loss` as a module around the network, so that a distributed wrapper sees one forward pass."""

    def __init__(self, network: Diff3M, schedule: Schedule, settings: LossSettings) -> None:
        super().__init__()
        self.network, self.schedule, self.settings = network, schedule, settings

    def forward(self, batch: Batch) -> Losses:
        """Compute the losses of a batch."""
        return diffusion_loss(self.network, batch, self.schedule, self.settings)


def diffusion_loss(
    network: Diff3M, batch: Batch, schedule: Schedule, settings: LossSettings = LossSettings()
) -> Losses:
    """Compute ½·mean(w (ε − ε̂)²) + ½·mean((x_t − x̃_t)²) + healing_weight · healing.

    The first term is over the films that are not healed, the second over those that `batch.masked` marks, the third
    over those that `batch.healing` marks. One pass of the noise branch serves the first and the third.
    """
    x_t = add_noise(batch.x0, batch.noise, batch.t, schedule)
    condition = network.condition(batch.x0, batch.values)
    predicted = network.predict_noise(x_t, batch.t, condition).float()
    squared_error = (predicted - batch.noise).square().mean(dim=(1, 2, 3))
    alpha_bar = schedule.alpha_bar(batch.t).to(squared_error)
    weighted_error = squared_error if settings.weighting == "noise" else squared_error / alpha_bar
    if batch.healing is None:
        noise, weighted_noise, healing = squared_error.mean(), weighted_error.mean(), predicted.new_zeros(())
    else:
        rest = ~batch.healing
        noise, weighted_noise = (
            batch.noise_scale * _mean_or_zero(error[rest]) for error in (squared_error, weighted_error)
        )
        healing = _healing_term(batch, x_t, predicted, alpha_bar, settings.lesion_weight)
    masked_pixels = _masked_pixel_term(network, batch, x_t, condition)
    total = 0.5 * (weighted_noise + masked_pixels) + settings.healing_weight * healing
    return Losses(total, noise, masked_pixels, healing)


def _mean_or_zero(values: Tensor) -> Tensor:
    """Return the mean of values (n,), or 0 for none; gradients flow in both cases, as distributed training requires."""
    return values.mean() if len(values) else values.sum()


def _healing_term(batch: Batch, x_t: Tensor, predicted: Tensor, alpha_bar: Tensor, lesion_weight: float) -> Tensor:
    """Compute the healing loss of the films that `batch.healing` marks, from the predicted noise (B, 1, S, S)."""
    rows = batch.healing
    assert rows is not None and batch.target is not None and batch.lesions is not None
    if not bool(rows.any()):
        return _mean_or_zero(predicted[rows])
    signal, sigma = (level[rows].view(-1, 1, 1, 1) for level in (alpha_bar.sqrt(), (1 - alpha_bar).sqrt()))
    estimate = (x_t[rows].float() - sigma * predicted[rows]) / signal
    loss = healing_loss(estimate, batch.target[rows], batch.lesions[rows], alpha_bar[rows], lesion_weight)
    return batch.healing_scale * loss


def _masked_pixel_term(network: Diff3M, batch: Batch, x_t: Tensor, condition: Condition) -> Tensor:
    """Compute the error of masked pixel generation on the films that `batch.masked` marks; 0 without any."""
    rows = batch.masked
    if not bool(rows.any()):
        return x_t.new_zeros(())
    target, t = x_t[rows], batch.t[rows]
    prediction = network.predict_masked_pixels(target, t, condition.map(lambda tensor: tensor[rows])).float()
    return batch.masked_scale * (prediction - target).square().mean()


def healing_loss(estimate: Tensor, target: Tensor, lesions: Tensor, alpha_bar: Tensor, lesion_weight: float) -> Tensor:
    """Compute the mean of ᾱ_t · ((|e| + 2 |Ge|) · (1 + lesion_weight·mask) + ½ |∇e|), e = x̂_0 − x_0.

    G is a Gaussian of 2 pixels of 128: the fine grain of an error is noise that cannot be predicted, while the
    difference that is displayed and scored is smooth. ∇ is the difference of neighboring pixels.

    estimate: x̂_0 (B, 1, S, S), the film without lesions as estimated from the noised painted film. target: x_0, the
    same shape. lesions: (B, 1, S, S) in [0, 1], the mask. alpha_bar: (B,). lesion_weight: see `LossSettings`.
    """
    weight = alpha_bar.view(-1, 1, 1, 1)
    error = estimate - target
    gradients = (error[..., 1:, :] - error[..., :-1, :], error[..., 1:] - error[..., :-1])
    gradient = sum((weight * part.abs()).mean() for part in gradients)
    smooth = gaussian_blur(error, scale_sigma(SMOOTH_SIGMA, error.shape[-1]))
    size = error.abs() + SMOOTH_WEIGHT * smooth.abs()
    return (weight * size * (1 + lesion_weight * lesions)).mean() + GRADIENT_WEIGHT * gradient
