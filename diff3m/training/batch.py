"""Batches: the films, noise, timesteps and records of a training step, which depend on seed and step alone."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from ..data.painted.painter import KINDS, PaintedFilm, make_healing_example
from ..ehr import EHRSchema
from ..imaging.organs import Organs
from .config import TrainingConfig
from .films import Films

NoiseSampler = Callable[[int, int, torch.Generator], Tensor]


def _one() -> Tensor:
    return torch.ones(())


def _zero() -> Tensor:
    return torch.zeros(())


@dataclass(frozen=True)
class Batch:
    """One process's share of a step.

    x0: (B, 1, S, S) in about [0, 1], the films that noise is added to; for healing, with lesions painted on them.
    noise: (B, 1, S, S).
    t: (B,) timesteps, from 0.
    values: (B, slots) encoded records, NaN = unknown.
    masked: (B,) bool, the films on which masked pixel generation is trained.
    healing: (B,) bool, the films on which healing is trained; None, like the next two, for a run without healing.
    target: (B, 1, S, S), the films without lesions; equal to x0 where nothing is painted.
    lesions: (B, 1, S, S) in [0, 1], where lesions are painted.
    noise_scale, masked_scale, healing_scale: weights of this share's means, so that the mean over processes is that of
    the whole batch.
    """

    x0: Tensor
    noise: Tensor
    t: Tensor
    values: Tensor
    masked: Tensor
    healing: Tensor | None = None
    target: Tensor | None = None
    lesions: Tensor | None = None
    noise_scale: Tensor = field(default_factory=_one)
    masked_scale: Tensor = field(default_factory=_one)
    healing_scale: Tensor = field(default_factory=_zero)

    def map(self, change: Callable[[Tensor], Tensor]) -> Batch:
        """Apply a function to every tensor of the batch, e.g. one that moves it to a device."""
        tensors = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return replace(self, **{name: change(tensor) for name, tensor in tensors.items() if tensor is not None})

    def pin_memory(self) -> Batch:
        """Return the batch in page-locked memory, from which a GPU copies without waiting; for `DataLoader`."""
        return self.map(lambda tensor: tensor.pin_memory())


def draw_gaussian(count: int, size: int, generator: torch.Generator) -> Tensor:
    """Return standard normal noise (count, 1, size, size)."""
    return torch.randn(count, 1, size, size, generator=generator)


def draw_batch(
    films: Films,
    schema: EHRSchema,
    config: TrainingConfig,
    step: int,
    timesteps: int,
    *,
    rank: int = 0,
    world_size: int = 1,
    sampler: NoiseSampler = draw_gaussian,
) -> Batch:
    """Draw the batch of one step, a function of (seed, step), so that a resumed run sees what an unbroken one would.

    The first `masked_fraction` of the batch is for masked pixel generation, the last `healing_fraction` for healing.

    step: from 0. timesteps: of the schedule. rank, world_size: the number of this process, from 0, and of all; each
    takes every `world_size`-th film of the same batch. sampler: draws the noise that is added to films.
    """
    generator = torch.Generator().manual_seed(config.seed * 1_000_003 + step)
    count, size = config.batch_size, films.images.shape[-1]
    indices = _epoch_indices(len(films), count, step, config.seed)
    x0 = torch.from_numpy(films.images[indices]).float()[:, None] / 255
    x0 = augment(x0, config, generator)
    values = drop_features(torch.from_numpy(films.values[indices]), schema, config, generator)
    t = _draw_timesteps(count, config.low_fraction, config.low_level, timesteps, generator)
    noise = sampler(count, size, generator)
    masked = torch.arange(count) < max(1, round(config.masked_fraction * count))
    tensors = {"x0": x0, "noise": noise, "t": t, "values": values, "masked": masked}
    scales = {"masked_scale": masked}
    if config.heals:
        healing = torch.arange(count) >= count - round(config.healing_fraction * count)
        low_t = _draw_timesteps(count, config.healing_low_fraction, config.healing_level, timesteps, generator)
        tensors |= {"t": torch.where(healing, low_t, t), "healing": healing}
        tensors |= {"target": x0.clone(), "lesions": torch.zeros_like(x0)}
        for row in range(rank, count, world_size):
            if healing[row]:
                example = _healing_example(films, indices[row], config, step, row)
                for name, part in (("x0", example.painted), ("target", example.target), ("lesions", example.mask)):
                    tensors[name][row, 0] = torch.from_numpy(part)
        scales |= {"noise_scale": ~healing, "healing_scale": healing}
    own = slice(rank, None, world_size)
    shares = {name: tensor[own] for name, tensor in tensors.items()}
    weights = {name: world_size * rows[own].sum() / rows.sum().clamp_min(1) for name, rows in scales.items()}
    return Batch(**shares, **{name: weight.float() for name, weight in weights.items()})


def _draw_timesteps(
    count: int, low_fraction: float, low_level: int, timesteps: int, generator: torch.Generator
) -> Tensor:
    """Draw timesteps (count,): with the probability `low_fraction` uniform below `low_level`, else over all."""
    low = torch.rand(count, generator=generator) < low_fraction
    top = torch.where(low, torch.tensor(low_level), torch.tensor(timesteps))
    return (torch.rand(count, generator=generator) * top).long()


def _healing_example(films: Films, index: int, config: TrainingConfig, step: int, row: int) -> PaintedFilm:
    """Paint lesions on the film of an index. Random numbers depend on seed, step and row of the batch alone."""
    if films.organs is None:
        raise ValueError("Healing needs films that were loaded with organ masks.")
    rng = np.random.default_rng([config.seed, step, row])
    size = films.images.shape[-1]
    other = films.images[int(rng.integers(len(films)))].astype(np.float32) / 255
    film = films.images[index].astype(np.float32) / 255
    organs = Organs.from_masks(films.organs[index], size)
    kinds = tuple(kind for kind in KINDS if kind not in config.held_out_kinds)
    return make_healing_example(
        film,
        organs,
        other,
        rng,
        painted_fraction=config.painted_fraction,
        device_fraction=config.device_fraction,
        kinds=kinds,
    )


@dataclass(frozen=True)
class _Batches(Dataset):
    """Batches by step, for `DataLoader`. draw: returns the batch of a step."""

    draw: Callable[[int], Batch]

    def __getitem__(self, step: int) -> Batch:
        return self.draw(step)


def prefetch(
    draw: Callable[[int], Batch], first: int, last: int, workers: int, pin_memory: bool = False
) -> Iterator[Batch]:
    """Yield the batches of the steps `first` to `last` − 1 in order, drawn ahead in processes.

    draw: returns the batch of a step; an error in it is raised here. workers: number of processes. pin_memory: whether
    a GPU uses the batches.
    """
    loader = DataLoader(
        _Batches(draw),
        sampler=range(first, last),
        batch_size=None,
        num_workers=workers,
        pin_memory=pin_memory,
        worker_init_fn=_use_one_thread,
    )
    try:
        yield from loader
    except Exception as error:
        # Its message has the worker's traceback. Its own would hold the loader in a cycle, whose end takes 10 s.
        raise error.with_traceback(None) from None


def _use_one_thread(worker: int) -> None:
    """Leave the other processors to the other processes; torch does so itself, and OpenCV hangs after a fork."""
    cv2.setNumThreads(0)


def _epoch_indices(total: int, count: int, step: int, seed: int) -> np.ndarray:
    """Return rows step·count to (step + 1)·count − 1 of an endless stream of shuffled epochs: (count,)."""
    positions = np.arange(step * count, (step + 1) * count)
    epochs = positions // total
    order = {epoch: np.random.default_rng([seed, int(epoch)]).permutation(total) for epoch in np.unique(epochs)}
    return np.array([order[epoch][position % total] for epoch, position in zip(epochs, positions, strict=True)])


def drop_features(values: Tensor, schema: EHRSchema, config: TrainingConfig, generator: torch.Generator) -> Tensor:
    """Make single features, coalitions of groups and whole records unknown at random: (B, slots) → (B, slots)."""
    values = values.clone()
    whole = torch.rand(len(values), generator=generator) < config.record_dropout
    slices = schema.feature_slices()
    for slots in slices.values():
        single = torch.rand(len(values), generator=generator) < config.feature_dropout
        values[single | whole, slots] = math.nan
    if config.coalition_dropout:
        coalition = torch.rand(len(values), generator=generator) < config.coalition_dropout
        for members in schema.explanation_groups.values():
            absent = torch.rand(len(values), generator=generator) < 0.5
            for feature in members:
                values[coalition & absent, slices[feature.name]] = math.nan
    return values


def augment(x0: Tensor, config: TrainingConfig, generator: torch.Generator) -> Tensor:
    """Rotate, shift, zoom and gamma-correct films (B, 1, S, S) in [0, 1] at random; the edges are replicated."""
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
