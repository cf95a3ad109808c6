"""Simplex noise of several octaves, in place of Gaussian noise (AnoDDPM, Wyatt et al., CVPR workshops 2022).

It has structure at every scale, so a network that is trained with it learns to repair large shapes too. Frequencies are
those of the publication.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

OCTAVES, PERSISTENCE, WAVELENGTH = 6, 0.8, 64 / 256  # the longest wave, as a share of the side
FIELDS = 256


def compute_simplex_noises(count: int, size: int, seed: int = 0) -> np.ndarray:
    """Compute fields of simplex noise of several octaves, each with mean 0 and standard deviation 1.

    count: number of fields. size: their side in pixels. Returns (count, size, size) float32. Raises ValueError unless
    the package `opensimplex` is installed.
    """
    try:
        import opensimplex
    except ImportError:
        raise ValueError("Simplex noise needs the package opensimplex: pip install opensimplex numba.") from None
    threads, rng = torch.get_num_threads(), np.random.default_rng(seed)
    fields = np.empty((count, size, size), np.float32)
    for index in range(count):
        generator = opensimplex.OpenSimplex(int(rng.integers(2**31)))
        origin = rng.uniform(-1e4, 1e4, 2)
        field = np.zeros((size, size))
        for octave in range(OCTAVES):
            positions = np.arange(size) * 2**octave / (WAVELENGTH * size)
            field += PERSISTENCE**octave * generator.noise2array(positions + origin[0], positions + origin[1])
        fields[index] = (field - field.mean()) / field.std()
    torch.set_num_threads(threads)  # numba has set them to all cores
    return fields


class SimplexPool:
    """A pool of noise fields that are computed once and reused, rotated, mirrored and negated.

    Computing new ones for each step would slow training down. size: side of the fields in pixels. fields: their number.
    """

    def __init__(self, size: int, fields: int = FIELDS) -> None:
        self.fields = torch.from_numpy(compute_simplex_noises(fields, size))

    def draw(self, count: int, size: int, generator: torch.Generator) -> Tensor:
        """Return noise (count, 1, size, size), a function of the generator's state.

        Raises ValueError for another size than the pool's.
        """
        if size != self.fields.shape[-1]:
            raise ValueError(f"the pool holds fields of {self.fields.shape[-1]} pixels, {size} were asked for")
        indices = torch.randint(len(self.fields), (count,), generator=generator)
        turns = torch.randint(8, (count,), generator=generator).tolist()
        signs = torch.randint(2, (count,), generator=generator) * 2 - 1
        noises = []
        for field, turn in zip(self.fields[indices], turns, strict=True):
            field = field.rot90(turn % 4)
            noises.append(field.flip(0) if turn >= 4 else field)
        return torch.stack(noises)[:, None] * signs.view(-1, 1, 1, 1)
