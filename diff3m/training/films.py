"""Training films: prepared once, kept as bytes in memory, drawn by seed and step, augmented on the fly."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..case import prepare_film
from ..data.manifest import Case, ManifestError, shared_films, shared_patients
from ..ehr import EHRSchema
from ..imaging.radiograph import Preprocessing, RadiographError, read_radiograph
from .config import TrainingConfig
from .distributed import TrainingError

Noises = Callable[[int, int, torch.Generator], Tensor]


@dataclass(frozen=True)
class Films:
    """Prepared films and encoded records. images: (N, S, S) uint8; values: (N, slots) float32, NaN = unknown."""

    images: np.ndarray
    values: np.ndarray

    def __len__(self) -> int:
        return len(self.images)


@dataclass(frozen=True)
class Batch:
    """One step's share of films: x0 (B, 1, S, S) in [0, 1], noise alike, t (B,), values (B, slots), masked (B,) bool.

    masked_scale: weight of this share's masked error, so that the mean over processes is that of the whole batch.
    """

    x0: Tensor
    noise: Tensor
    t: Tensor
    values: Tensor
    masked: Tensor
    masked_scale: Tensor = field(default_factory=lambda: torch.ones(()))


def load_films(
    cases: Sequence[Case], schema: EHRSchema, settings: Preprocessing, progress: Callable[[int], None] | None = None
) -> Films:
    """Read and prepare every film. Raises ManifestError naming the row of the first that cannot be used."""

    def one(case: Case) -> np.ndarray:
        try:
            return np.round(prepare_film(read_radiograph(case.path), settings).pixels * 255).astype(np.uint8)
        except RadiographError as error:
            raise ManifestError(f"Row {case.row} ({case.path}): {error}") from None

    images = np.empty((len(cases), settings.size, settings.size), dtype=np.uint8)
    with ThreadPoolExecutor() as pool:
        for index, image in enumerate(pool.map(one, cases)):
            images[index] = image
            if progress:
                progress(index + 1)
    return Films(images, np.stack([schema.encode(case.record) for case in cases]))


def check_apart(train: str | Path, validation: str | Path, cases: Sequence[Case], held: Sequence[Case]) -> bool:
    """Whether it could be checked that no patient is in both manifests, whose normals are `cases` and `held`; one manifest given twice is meant so.

    Raises TrainingError where a film or a patient is in both.
    """
    if Path(train).resolve() == Path(validation).resolve():
        return True
    both, checked = shared_patients(train, validation)
    if both:
        raise TrainingError(
            f"{len(both)} patients are in both manifests ({', '.join(both[:3])} …), so validation would be no test. Split by patient: `diff3m "
            "prepare` does."
        )
    if films := shared_films(cases, held):
        raise TrainingError(
            f"{len(films)} films are in both manifests ({', '.join(path.name for path in films[:3])} …), so validation would be no test. Take "
            "them out of one of the two."
        )
    return checked


def gaussian(count: int, size: int, generator: torch.Generator) -> Tensor:
    """Standard normal noise (count, 1, size, size)."""
    return torch.randn(count, 1, size, size, generator=generator)


def draw(
    films: Films,
    schema: EHRSchema,
    config: TrainingConfig,
    step: int,
    timesteps: int,
    rank: int = 0,
    world: int = 1,
    noises: Noises = gaussian,
) -> Batch:
    """The batch of one step: a function of (seed, step) alone, so that a resumed run sees what an unbroken one would.

    noises: what to add to films, as `gaussian` draws it. Each of `world` processes takes every world-th film of the same global batch.
    """
    generator = torch.Generator().manual_seed(config.seed * 1_000_003 + step)
    count, size = config.batch_size, films.images.shape[-1]
    chosen = _epoch_indices(len(films), count, step, config.seed)
    x0 = torch.from_numpy(films.images[chosen]).float()[:, None] / 255
    x0 = augment(x0, config, generator)
    values = drop_features(torch.from_numpy(films.values[chosen]), schema, config, generator)
    low = torch.rand(count, generator=generator) < config.low_fraction
    top = torch.where(low, torch.tensor(config.low_level), torch.tensor(timesteps))
    t = (torch.rand(count, generator=generator) * top).long()
    noise = noises(count, size, generator)
    masked = torch.arange(count) < max(1, round(config.masked_fraction * count))
    mine = slice(rank, None, world)
    scale = world * masked[mine].sum() / masked.sum()
    return Batch(x0[mine], noise[mine], t[mine], values[mine], masked[mine], scale.float())


def _epoch_indices(total: int, count: int, step: int, seed: int) -> np.ndarray:
    """Rows step·count … of an endless stream of shuffled epochs."""
    positions = np.arange(step * count, (step + 1) * count)
    epochs = positions // total
    order = {epoch: np.random.default_rng([seed, int(epoch)]).permutation(total) for epoch in np.unique(epochs)}
    return np.array([order[epoch][position % total] for epoch, position in zip(epochs, positions, strict=True)])


def drop_features(values: Tensor, schema: EHRSchema, config: TrainingConfig, generator: torch.Generator) -> Tensor:
    """Make single features, or whole records, unknown at random: (B, slots) → (B, slots)."""
    values = values.clone()
    whole = torch.rand(len(values), generator=generator) < config.record_dropout
    places = schema.feature_slots()
    for place in places.values():
        single = torch.rand(len(values), generator=generator) < config.feature_dropout
        values[single | whole, place] = math.nan
    if config.coalition_dropout:
        coalition = torch.rand(len(values), generator=generator) < config.coalition_dropout
        for members in schema.explanation_groups.values():
            absent = torch.rand(len(values), generator=generator) < 0.5
            for feature in members:
                values[coalition & absent, places[feature.name]] = math.nan
    return values


def augment(x0: Tensor, config: TrainingConfig, generator: torch.Generator) -> Tensor:
    """Small random rotation, shift, zoom and gamma; edges repeat. (B, 1, S, S) in [0, 1] → the same."""
    b = len(x0)

    def uniform(limit: float) -> Tensor:
        return (torch.rand(b, generator=generator) * 2 - 1) * limit

    angle, zoom = uniform(math.radians(config.rotate_degrees)), torch.exp(uniform(config.zoom))
    dx, dy, gamma = uniform(2 * config.shift), uniform(2 * config.shift), torch.exp(uniform(config.gamma))
    if config.rotate_degrees or config.shift or config.zoom:
        cos, sin = torch.cos(angle) * zoom, torch.sin(angle) * zoom
        affine = torch.stack([torch.stack([cos, -sin, dx], 1), torch.stack([sin, cos, dy], 1)], 1)
        grid = F.affine_grid(affine, list(x0.shape), align_corners=False)
        x0 = F.grid_sample(x0, grid, mode="bilinear", padding_mode="border", align_corners=False)
    return x0.clamp(0, 1) ** gamma.view(-1, 1, 1, 1) if config.gamma else x0
