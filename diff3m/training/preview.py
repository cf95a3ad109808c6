"""Previews of a run: pictures of one-step estimates, and the healing of lesions that training never paints."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from ..data.painted.lesions import KINDS as UNSEEN_KINDS
from ..data.painted.lesions import paint_lesion
from ..diffusion import Schedule, add_noise, estimate_x0
from ..imaging.compose import smooth_difference
from ..imaging.organs import Organs
from ..network import Diff3M
from .batch import Batch
from .films import Films

PREVIEW_FILMS, PREVIEW_TIMESTEP = 8, 400
HEALING_FILMS, HEALING_TIMESTEP = 24, 59  # noise level 60
EXTENTS = {"opacity": (0.06, 0.16), "nodule": (0.02, 0.05), "effusion": (0.12, 0.24)}  # shares of the side
STRENGTHS = (0.25, 0.7)


def estimate_previews(network: Diff3M, batch: Batch, schedule: Schedule) -> tuple[Tensor, Tensor, Tensor]:
    """Return the films of a batch, the same noised to `PREVIEW_TIMESTEP`, and one-step estimates, each (B, 1, S, S)."""
    t = torch.full((len(batch.x0),), PREVIEW_TIMESTEP, device=batch.x0.device)
    x_t = add_noise(batch.x0, batch.noise, t, schedule)
    noise = network.predict_noise(x_t, t, network.condition(batch.x0, batch.values)).float()
    return batch.x0, x_t, estimate_x0(x_t, noise, t, schedule, (0, 1))


def write_grid(rows: list[Tensor], path: Path) -> None:
    """Write a PNG in which each row of films, (B, 1, S, S) in [0, 1], is a row."""
    path.parent.mkdir(exist_ok=True)
    picture = torch.cat([torch.cat(list(row[:, 0].float().cpu()), dim=1) for row in rows]).clamp(0, 1).numpy()
    cv2.imwrite(str(path), np.round(picture * 255).astype(np.uint8))


def paint_unseen_lesions(
    films: Films, max_films: int = HEALING_FILMS
) -> dict[str, tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Paint lesions that training never paints (`data.painted.lesions`) on the first `max_films` films.

    Returns by kind the films (N, S, S) float32, the painted films of the same shape, and the masks (N, S, S) bool. The
    same films get the same lesions. Raises ValueError for films without organ masks.
    """
    if films.organs is None:
        raise ValueError("Unseen lesions need films that were loaded with organ masks.")
    count, size = min(max_films, len(films)), films.images.shape[-1]
    clean = films.images[:count].astype(np.float32) / 255
    lesions = {}
    for number, kind in enumerate(UNSEEN_KINDS):
        painted, masks = np.empty_like(clean), np.empty(clean.shape, bool)
        for row in range(count):
            rng = np.random.default_rng([number, row])
            organs = Organs.from_masks(films.organs[row], size)
            center = organs.point_in_lungs(rng)
            if kind == "effusion":
                left, top, right, bottom = organs.boxes[int(rng.choice([-1, 1]))]
                center = ((left + right) / 2, bottom - rng.uniform(0, 0.3) * (bottom - top))
            extent, strength = rng.uniform(*EXTENTS[kind]), rng.uniform(*STRENGTHS)
            painted[row], masks[row] = paint_lesion(clean[row], kind, center, extent, strength, row)
        lesions[kind] = clean, painted, masks
    return lesions


@torch.no_grad()
def measure_healing_ratios(network: Diff3M, films: Films, schedule: Schedule, device: torch.device) -> dict[str, float]:
    """Measure how well one step heals lesions that training never paints.

    Returns by kind the error inside the lesions after healing over that before it, so 0 = healed and 1 = unchanged,
    measured on the film minus the smooth difference, as pseudo-healthy films are composed; and under "unpainted" the
    mean absolute change of unpainted films, in grey levels of the film's range.
    """
    count, size = min(HEALING_FILMS, len(films)), films.images.shape[-1]
    values = torch.from_numpy(films.values[:count]).to(device)
    noise = torch.randn(1, 1, size, size, generator=torch.Generator().manual_seed(2)).to(device)
    t = torch.full((count,), HEALING_TIMESTEP, device=device)

    def heal(images: np.ndarray) -> np.ndarray:
        x0 = torch.from_numpy(images)[:, None].to(device)
        condition = network.condition(x0, values)
        total = torch.zeros_like(x0)
        for sign in (1, -1):
            x_t = add_noise(x0, sign * noise.expand_as(x0), t, schedule)
            total += estimate_x0(x_t, network.predict_noise(x_t, t, condition).float(), t, schedule) / 2
        differences = images - total[:, 0].cpu().numpy()
        return np.stack([image - smooth_difference(part) for image, part in zip(images, differences, strict=True)])

    ratios = {}
    for kind, (clean, painted, masks) in paint_unseen_lesions(films).items():
        result = heal(painted)
        ratios[kind] = float(np.abs(result - clean)[masks].sum() / np.abs(painted - clean)[masks].sum())
    clean = films.images[:count].astype(np.float32) / 255
    return {**ratios, "unpainted": float(np.abs(heal(clean) - clean).mean())}
