"""What the network computes of a batch of films before anything is measured."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor


@dataclass(frozen=True)
class Estimates:
    """Estimates of B prepared films by one network pass or walk.

    inversion: pseudo-healthy reconstructions by DDIM inversion and denoising, {noise level: (B, 1, S, S)}.
    noising: the same by noise and denoising, averaged over noises.
    one_step: estimates x̂_0 in one step from freshly noised films, {noise level: (B, 1, S, S)}.
    in_region: what is measured, by source and noise level: the pictures where a score counts differences, the films
        themselves elsewhere (`scoring.measure.select_region`).
    """

    inversion: Mapping[int, Tensor] = field(default_factory=dict)
    noising: Mapping[int, Tensor] = field(default_factory=dict)
    one_step: Mapping[int, Tensor] = field(default_factory=dict)
    in_region: Mapping[tuple[str, int], Tensor] = field(default_factory=dict)

    def picture(self, key: tuple[str, int]) -> Tensor:
        """Return the pictures of a source and noise level. Raises KeyError where they were not computed."""
        pictures = self.get(key)
        if pictures is None:
            raise KeyError(key)
        return pictures

    def get(self, key: tuple[str, int]) -> Tensor | None:
        """Return the pictures of a source ("inversion", "noising", "one_step") and noise level, or None."""
        source, level = key
        return self.by_level(source).get(level)

    def by_level(self, source: str) -> Mapping[int, Tensor]:
        """Return the pictures of a source by noise level, (B, 1, S, S) each."""
        return {"inversion": self.inversion, "noising": self.noising, "one_step": self.one_step}[source]
