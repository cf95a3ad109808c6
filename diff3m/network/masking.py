"""Pixel-level checkerboard masking, PCM (docs/method.md, "Network", 2)."""

from __future__ import annotations

import torch
from torch import Tensor


def checkerboard(size: int, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32) -> Tensor:
    """Return the pattern c_ij = (i + j) mod 2 as a (1, 1, size, size) tensor of 0 and 1."""
    row = torch.arange(size, device=device)
    return ((row[:, None] + row[None, :]) % 2).to(dtype)[None, None]


def masks(t: Tensor, pattern: Tensor, timesteps: int = 1000) -> tuple[Tensor, Tensor]:
    """Return the complementary soft masks m1 = c(1 − τ) + τ and m2 = (1 − c)(1 − τ) + τ with τ = t/timesteps.

    t: (B,) integers; pattern: (1, 1, S, S). Returns two (B, 1, S, S) tensors in [τ, 1].
    """
    tau = (t.to(pattern.dtype) / timesteps).view(-1, 1, 1, 1)
    return pattern * (1 - tau) + tau, (1 - pattern) * (1 - tau) + tau
