"""Pixel-level checkerboard masking, PCM (docs/method.md, "Network", 2)."""

from __future__ import annotations

import torch
from torch import Tensor


def checkerboard(size: int) -> Tensor:
    """Return the pattern c_ij = (i + j) mod 2 as a (1, 1, size, size) float32 tensor of 0 and 1."""
    row = torch.arange(size)
    return ((row[:, None] + row[None, :]) % 2).float()[None, None]


def masks(t: Tensor, pattern: Tensor) -> tuple[Tensor, Tensor]:
    """Return the complementary soft masks m1 = c(1 − τ) + τ and m2 = (1 − c)(1 − τ) + τ with τ = t/1000.

    t: (B,) integers; pattern: (1, 1, S, S). Returns two (B, 1, S, S) tensors in [τ, 1].
    """
    tau = (t.to(pattern.dtype) / 1000).view(-1, 1, 1, 1)
    return pattern * (1 - tau) + tau, (1 - pattern) * (1 - tau) + tau
