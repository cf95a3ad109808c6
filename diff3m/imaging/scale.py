"""Lengths that fit films of any resolution: they are given in pixels of a film of 128×128 pixels."""

from __future__ import annotations

REFERENCE_SIDE = 128  # pixels


def scale_sigma(sigma: float, side: int) -> float:
    """Return the standard deviation of a Gaussian in pixels of a film of `side` pixels.

    sigma: in pixels of a film of `REFERENCE_SIDE` pixels.
    """
    return sigma * side / REFERENCE_SIDE
