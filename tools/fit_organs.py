"""Fit the network that outlines lungs and heart: python tools/fit_organs.py assets/organs.safetensors

It learns from simulated films alone, whose masks are exact, under strong changes of contrast, exposure, texture and
pose. About six minutes on one core.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor

from diff3m.data.phantom import make_person
from diff3m.data.phantom.lesion import displace
from diff3m.data.phantom.organs import compute_heart_borders
from diff3m.data.phantom.render import compute_layers
from diff3m.imaging.organs import SIDE, OrganNetwork

FIRST = 900_000  # of the simulated persons; a third of them has a lesion, so that lungs are outlined beneath it too
FILM_SIZE = 128  # pixels a side that a film is rendered with
LEARNING_RATE = 2e-3  # at its peak


def film_and_masks(number: int) -> tuple[np.ndarray, np.ndarray]:
    """One simulated film (64, 64), and left lung, right lung and heart (3, 64, 64), float32 in [0, 1]."""
    cv2.setNumThreads(1)
    subject = make_person(number, "any" if number % 3 == 0 else None)
    film, anatomy = subject.render(FILM_SIZE), subject.draw_anatomy()
    if subject.lesion:
        anatomy = displace(anatomy, subject.lesion)
    maps = compute_layers(anatomy, FILM_SIZE)
    left, right = compute_heart_borders(anatomy, maps.grid.y)
    x = maps.grid.x - anatomy.mediastinal_shift
    heart = (np.nan_to_num(x + left, nan=-1) > 0) & (np.nan_to_num(right - x, nan=-1) > 0)
    masks = [maps.lung_left, maps.lung_right, heart.astype(np.float32)]
    small = [
        cv2.resize(image.astype(np.float32), (SIDE, SIDE), interpolation=cv2.INTER_AREA) for image in (film, *masks)
    ]
    return small[0], np.stack(small[1:])


def augment(films: Tensor, masks: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Another pose and another appearance of films (B, 1, 64, 64) and masks (B, 3, 64, 64)."""
    count = len(films)

    def uniform(limit: float, *shape: int) -> Tensor:
        return (torch.rand(count, *shape, generator=generator) * 2 - 1) * limit

    def texture(cells: int, size: float) -> Tensor:
        coarse = torch.randn(count, 1, cells, cells, generator=generator)
        return F.interpolate(coarse, size=SIDE, mode="bicubic") * uniform(size, 1, 1, 1).abs()

    angle, zoom, stretch = uniform(0.2), uniform(0.2).exp(), uniform(0.12).exp()
    first = torch.stack([angle.cos() * zoom * stretch, -angle.sin() * zoom, uniform(0.2)], 1)
    second = torch.stack([angle.sin() * zoom, angle.cos() * zoom / stretch, uniform(0.2)], 1)
    grid = F.affine_grid(torch.stack([first, second], 1), list(films.shape), align_corners=False)
    films = F.grid_sample(films, grid, padding_mode="border", align_corners=False)
    masks = F.grid_sample(masks, grid, padding_mode="zeros", align_corners=False)
    films = films.clamp(0, 1) ** uniform(0.6, 1, 1, 1).exp()
    films = films * (1 - uniform(0.3, 1, 1, 1).abs()) + texture(5, 0.12) + texture(24, 0.06)
    films = films + torch.randn(films.shape, generator=generator) * uniform(0.03, 1, 1, 1).abs()
    low, high = (films.flatten(1).quantile(share, 1).view(-1, 1, 1, 1) for share in (0.01, 0.99))
    return ((films - low) / (high - low)).clamp(0, 1), masks


def overlap(logits: Tensor, masks: Tensor) -> Tensor:
    """Dice coefficient by organ, smoothed: (3,)."""
    probabilities = logits.sigmoid()
    both, total = (probabilities * masks).sum((0, 2, 3)), (probabilities + masks).sum((0, 2, 3))
    return (2 * both + 1) / (total + 1)


def simulate(count: int, processes: int) -> tuple[Tensor, Tensor]:
    """Films (count, 1, 64, 64) and masks (count, 3, 64, 64) of simulated persons, rendered in several processes."""
    numbers = range(FIRST, FIRST + count)
    if processes == 1:
        pairs = [film_and_masks(number) for number in numbers]
    else:
        with ProcessPoolExecutor(processes, multiprocessing.get_context("spawn")) as pool:
            pairs = list(pool.map(film_and_masks, numbers, chunksize=16))
    films, masks = (torch.from_numpy(np.stack(arrays)) for arrays in zip(*pairs, strict=True))
    return films[:, None], masks


def fit(films: Tensor, masks: Tensor, steps: int, batch_size: int) -> OrganNetwork:
    """Fit a network; a fifteenth of the films measures it and is not learned from."""
    test_films = len(films) // 15
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(0)
    network = OrganNetwork()
    optimizer = torch.optim.AdamW(network.parameters(), lr=LEARNING_RATE)
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = LEARNING_RATE * min(1, (step + 1) / 50) * (1 - 0.95 * step / steps)
        rows = torch.randint(test_films, len(films), (batch_size,), generator=generator)
        batch, target = augment(films[rows], masks[rows], generator)
        logits = network(batch)
        loss = F.binary_cross_entropy_with_logits(logits, target) + 1 - overlap(logits, target).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if (step + 1) % 100 == 0 or step + 1 == steps:
            with torch.no_grad():
                dice = overlap(network(films[:test_films]), masks[:test_films]).tolist()
            values = [round(value, 3) for value in dice]
            print(f"step {step + 1}: loss {loss.item():.4f}, Dice of left lung, right lung, heart {values}", flush=True)
    return network


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--films", type=int, default=1500, help="at least 15")
    parser.add_argument("--steps", type=int, default=700)
    parser.add_argument("--batch-size", type=int, default=24)
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1, help="that render the films")
    options = parser.parse_args()
    if options.films < 15:
        parser.error("--films must be at least 15: a fifteenth of them measures the network")
    films, masks = simulate(options.films, options.processes)
    network = fit(films, masks, options.steps, options.batch_size)
    save_file({name: tensor.half().contiguous() for name, tensor in network.state_dict().items()}, options.out)


if __name__ == "__main__":
    main()
