"""Filters of pictures: Gaussian blur, structural similarity, and cutting borders off."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

SSIM_C1, SSIM_C2 = 0.01**2, 0.03**2  # for values in [0, 1]; Wang et al. 2004
Border = float | tuple[float, float, float, float]  # shares of the side: of all borders, or top, right, bottom, left


def gaussian_blur(x: Tensor, sigma: float) -> Tensor:
    """Blur pictures with a Gaussian that is truncated at 3σ; edges are reflected.

    x: (B, 1, H, W). sigma: standard deviation in pixels; 0 returns x. Returns the same shape.
    """
    if sigma <= 0:
        return x
    radius = min(max(1, int(3 * sigma + 0.5)), min(x.shape[-2:]) - 1)
    offsets = torch.arange(-radius, radius + 1, device=x.device, dtype=x.dtype)
    kernel = torch.exp(-0.5 * (offsets / sigma) ** 2)
    kernel = kernel / kernel.sum()
    x = F.conv2d(F.pad(x, (radius, radius, 0, 0), mode="reflect"), kernel.view(1, 1, 1, -1))
    return F.conv2d(F.pad(x, (0, 0, radius, radius), mode="reflect"), kernel.view(1, 1, -1, 1))


def structural_similarity(a: Tensor, b: Tensor, sigma: float) -> Tensor:
    """Compute the SSIM map of two pictures with a Gaussian window (Wang et al., IEEE Trans. Image Processing 2004).

    a, b: (B, 1, H, W) in [0, 1]. sigma: of the window, in pixels. Returns (B, 1, H, W), 1 where they are alike.
    """
    mu_a, mu_b = gaussian_blur(a, sigma), gaussian_blur(b, sigma)
    var_a = gaussian_blur(a * a, sigma) - mu_a**2
    var_b = gaussian_blur(b * b, sigma) - mu_b**2
    covariance = gaussian_blur(a * b, sigma) - mu_a * mu_b
    return (
        (2 * mu_a * mu_b + SSIM_C1)
        * (2 * covariance + SSIM_C2)
        / ((mu_a**2 + mu_b**2 + SSIM_C1) * (var_a + var_b + SSIM_C2))
    )


def crop_borders(x: Tensor, border: Border) -> Tensor:
    """Cut the borders off square pictures, where markers and collimation cause residuals that are no disease.

    x: (…, S, S). border: shares of the side, 0 to under 0.5. Returns a view of x, smaller.
    """
    shares = (border,) * 4 if isinstance(border, int | float) else border
    top, right, bottom, left = (round(share * x.shape[-1]) for share in shares)
    return x[..., top : x.shape[-2] - bottom, left : x.shape[-1] - right]
