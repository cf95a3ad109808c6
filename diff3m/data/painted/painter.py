"""Examples for the healing objective: a normal film, and the same film with lesions painted in.

After the idea of learning from synthetic anomalies (Foreign Patch Interpolation, Tan et al., 2020; AnatPaste, Sato et
al., iScience 2023); what is painted, and where, is our own. Lesions are painted on the input alone; devices, writing,
pose and processing vary on input and target alike, so that the network learns to take away the first and to leave the
others.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ...imaging.organs import Organs
from . import densities, displacements, transplants
from .devices import add_devices
from .shapes import change_mask
from .variation import stretch_contrast, vary_pose, vary_processing

MORE_LESIONS = 0.3  # chance of another lesion on a film that has one, up to three
HIDDEN = "hidden part"  # teaches to fill in from the rest and the record; no lesion


@dataclass(frozen=True)
class PaintedFilm:
    """A normal film and the same film with lesions.

    target: the normal film (S, S) float32 in about [0, 1]. painted: the film with lesions, in the same grey scale.
    mask: (S, S) in [0, 1], where it was changed. kinds: names of the lesions, empty for a film without.
    """

    target: np.ndarray
    painted: np.ndarray
    mask: np.ndarray
    kinds: tuple[str, ...]


def _alone(paint: Callable) -> Callable:
    return lambda film, organs, other, rng: paint(film, organs, rng)


# kind: painter and its share among lesions
KINDS: dict[str, tuple[Callable, float]] = {
    "consolidation": (_alone(densities.paint_consolidation), 0.22),
    "ground glass": (_alone(densities.paint_ground_glass), 0.10),
    "white lung": (_alone(densities.paint_white_lung), 0.05),
    "nodules": (_alone(densities.paint_nodules), 0.12),
    "interstitium": (_alone(densities.paint_interstitium), 0.07),
    "hila": (_alone(densities.paint_hila), 0.05),
    "effusion": (_alone(densities.paint_effusion), 0.11),
    "pleura": (_alone(densities.paint_pleura), 0.04),
    "large heart": (_alone(displacements.paint_large_heart), 0.08),
    "shift": (_alone(displacements.paint_shift), 0.04),
    "raised diaphragm": (_alone(displacements.paint_raised_diaphragm), 0.02),
    "pneumothorax": (_alone(displacements.paint_pneumothorax), 0.04),
    "lucency": (_alone(displacements.paint_lucency), 0.02),
    "foreign patch": (transplants.paint_foreign_patch, 0.07),
    HIDDEN: (transplants.paint_hidden, 0.10),
}


def paint_lesions(
    film: np.ndarray, organs: Organs, other: np.ndarray, rng: np.random.Generator, kinds: tuple[str, ...] = tuple(KINDS)
) -> PaintedFilm:
    """Paint one to three lesions of random kinds on a film.

    film, other: normal films (S, S) float32 in [0, 1]; patches are taken from the second. kinds: names of `KINDS` to
    choose from.
    """
    shares = np.array([KINDS[kind][1] for kind in kinds])
    painted, mask = film, np.zeros_like(film)
    names: list[str] = []
    while len(names) < 3 and (not names or rng.random() < MORE_LESIONS):
        kind = str(rng.choice(kinds, p=shares / shares.sum()))
        result, region = KINDS[kind][0](painted, organs, other, rng)
        painted = np.clip(result, -0.1, 1.2).astype(np.float32)
        mask = np.maximum(mask, region * change_mask(film, painted)) if kind != HIDDEN else np.maximum(mask, region)
        names.append(kind)
    return PaintedFilm(film, painted, np.clip(mask, 0, 1).astype(np.float32), tuple(names))


def healing_example(
    film: np.ndarray,
    organs: Organs,
    other: np.ndarray,
    rng: np.random.Generator,
    painted_share: float = 0.6,
    device_share: float = 0.5,
    kinds: tuple[str, ...] = tuple(KINDS),
) -> PaintedFilm:
    """Draw a random example of the healing objective.

    Pose, devices and processing vary on target and input alike; lesions are painted on a share of the inputs.
    painted_share, device_share: chance in [0, 1] of lesions, and of devices, writing and the like, on an example.
    """
    target, organs = vary_pose(film, organs, rng)
    if rng.random() < device_share:
        target = add_devices(target, rng)
    target = vary_processing(target, rng)
    if rng.random() >= painted_share:
        (target,) = stretch_contrast(target)
        return PaintedFilm(target, target, np.zeros_like(target), ())
    example = paint_lesions(target, organs, other, rng, kinds)
    # preprocessing stretches the contrast of what it sees, which is the film with its lesions
    painted, target = stretch_contrast(example.painted, target)
    return PaintedFilm(target, painted, example.mask, example.kinds)
