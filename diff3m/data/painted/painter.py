"""Examples for the healing objective: a normal film, and the same film with lesions painted into it.

The idea of learning from synthetic anomalies is that of Foreign Patch Interpolation (Tan et al., 2020) and AnatPaste
(Sato et al., iScience 2023); the lesions and their places are our own. Lesions are painted on the input alone; devices,
writing, pose and processing vary on input and target alike, so that the network learns to remove the first and to keep
the others.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ...imaging.organs import Organs
from . import densities, displacements, transplants
from .devices import add_devices
from .shapes import compute_change_mask
from .variation import stretch_contrast, vary_pose, vary_processing

MORE_LESIONS = 0.3  # probability of a further lesion, up to three in all
HIDDEN = "hidden part"  # no lesion: it trains the network to fill in a part from the rest of the film and the record


@dataclass(frozen=True)
class PaintedFilm:
    """A normal film and the same film with lesions.

    target: the normal film (S, S) float32 in about [0, 1]. painted: the film with lesions, in the same grey scale.
    mask: (S, S) float32 in [0, 1], where the two differ. kinds: names of the lesions, empty for a film without.
    """

    target: np.ndarray
    painted: np.ndarray
    mask: np.ndarray
    kinds: tuple[str, ...]


def _ignore_other(paint: Callable) -> Callable:
    """Return a painter that accepts and ignores the other film, so that all painters have the same signature."""
    return lambda film, organs, other, rng: paint(film, organs, rng)


# by kind: its painter, and its weight in the choice among kinds
KINDS: dict[str, tuple[Callable, float]] = {
    "consolidation": (_ignore_other(densities.paint_consolidation), 0.20),
    "ground glass": (_ignore_other(densities.paint_ground_glass), 0.10),
    "white lung": (_ignore_other(densities.paint_white_lung), 0.04),
    "nodules": (_ignore_other(densities.paint_nodules), 0.11),
    "interstitium": (_ignore_other(densities.paint_interstitium), 0.07),
    "atelectasis": (_ignore_other(densities.paint_atelectasis), 0.08),
    "hila": (_ignore_other(densities.paint_hila), 0.05),
    "effusion": (_ignore_other(densities.paint_effusion), 0.10),
    "pleura": (_ignore_other(densities.paint_pleura), 0.04),
    "large heart": (_ignore_other(displacements.paint_large_heart), 0.08),
    "shift": (_ignore_other(displacements.paint_shift), 0.04),
    "raised diaphragm": (_ignore_other(displacements.paint_raised_diaphragm), 0.02),
    "pneumothorax": (_ignore_other(displacements.paint_pneumothorax), 0.04),
    "lucency": (_ignore_other(displacements.paint_lucency), 0.03),
    "foreign patch": (transplants.paint_foreign_patch, 0.07),
    HIDDEN: (transplants.paint_hidden, 0.10),
}


def paint_lesions(
    film: np.ndarray, organs: Organs, other: np.ndarray, rng: np.random.Generator, kinds: tuple[str, ...] = tuple(KINDS)
) -> PaintedFilm:
    """Paint one to three lesions of random kinds on a film.

    film, other: normal films (S, S) float32 in [0, 1]; patches are taken from the second. organs: of the first. rng:
    source of all random choices. kinds: names of `KINDS` to choose from, all by default.
    """
    shares = np.array([KINDS[kind][1] for kind in kinds])
    painted, mask = film, np.zeros_like(film)
    names: list[str] = []
    while len(names) < 3 and (not names or rng.random() < MORE_LESIONS):
        kind = str(rng.choice(kinds, p=shares / shares.sum()))
        result, region = KINDS[kind][0](painted, organs, other, rng)
        painted = np.clip(result, -0.1, 1.2).astype(np.float32)
        mask = (
            np.maximum(mask, region * compute_change_mask(film, painted))
            if kind != HIDDEN
            else np.maximum(mask, region)
        )
        names.append(kind)
    return PaintedFilm(film, painted, np.clip(mask, 0, 1).astype(np.float32), tuple(names))


def make_healing_example(
    film: np.ndarray,
    organs: Organs,
    other: np.ndarray,
    rng: np.random.Generator,
    *,
    painted_fraction: float = 0.6,
    device_fraction: float = 0.5,
    kinds: tuple[str, ...] = tuple(KINDS),
) -> PaintedFilm:
    """Make a random example of the healing objective.

    Pose, devices and processing vary on target and input alike; lesions are painted on the input alone.

    film, other: normal films (S, S) float32 in [0, 1]; patches are taken from the second. organs: of the first.
    painted_fraction, device_fraction: probability of lesions, and of devices, writing and the like, on an example.
    kinds: names of `KINDS` to choose from.
    """
    target, organs = vary_pose(film, organs, rng)
    if rng.random() < device_fraction:
        target = add_devices(target, rng)
    target = vary_processing(target, rng)
    if rng.random() >= painted_fraction:
        (target,) = stretch_contrast(target)
        return PaintedFilm(target, target, np.zeros_like(target), ())
    example = paint_lesions(target, organs, other, rng, kinds)
    # preprocessing stretches the contrast of what it sees, which is the film with its lesions
    painted, target = stretch_contrast(example.painted, target)
    return PaintedFilm(target, painted, example.mask, example.kinds)
