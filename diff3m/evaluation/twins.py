"""Distances of pseudo-healthy films from the truth, a simulated patient's own film without the lesion."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..imaging.organs import Organs, segment_organs
from .metrics import bootstrap_interval

HEART_SIDE = 256  # pixels of the side on which a heart is measured


@dataclass(frozen=True)
class TwinDistance:
    """Mean absolute differences from the healthy twin, in shares of the grey range.

    before_inside, after_inside: of the film and of the pseudo-healthy film, in the lesion. before_outside,
    after_outside: the same in the rest of the film. before_heart, after_heart: how far the heart's width lies from the
    twin's, as a share of the film's width.
    """

    before_inside: float
    after_inside: float
    before_outside: float
    after_outside: float
    before_heart: float
    after_heart: float


def measure_twin_distance(
    film: np.ndarray, pseudo_healthy: np.ndarray, twin: np.ndarray, mask: np.ndarray
) -> TwinDistance:
    """Compare a film and its pseudo-healthy film with the healthy twin.

    film, pseudo_healthy, twin: (H, W) in [0, 1]. mask: (H, W) bool, the lesion; at least one pixel in it and outside.
    """
    before, after = np.abs(film - twin), np.abs(pseudo_healthy - twin)
    errors = [float(error[part].mean()) for part in (mask, ~mask) for error in (before, after)]
    *widths, width = measure_heart_widths(np.stack([film, pseudo_healthy, twin]))
    return TwinDistance(*errors, *(abs(float(other - width)) for other in widths))


def measure_heart_widths(films: np.ndarray) -> np.ndarray:
    """Return the width of the heart on films (N, S, S) in [0, 1] as shares of their width: (N,)."""
    masks = segment_organs(films.astype(np.float32))
    hearts = [Organs.from_masks(film_masks, HEART_SIDE).heart for film_masks in masks]
    return np.array([(heart > 0.5).any(0).sum() / HEART_SIDE for heart in hearts])


def summarize_twins(distances: Sequence[TwinDistance | None], labels: np.ndarray) -> dict:
    """Average distances over the phantoms of each kind of lesion, and over all.

    distances: of each phantom, None without a lesion. labels: (N,) kinds. Returns by kind the means of `TwinDistance`,
    and `healed`: the mean error in the lesion, after over before, with a 95 % bootstrap interval over phantoms.
    """
    groups: dict[str, list[TwinDistance]] = {"all": []}
    for distance, kind in zip(distances, labels, strict=True):
        if distance is not None:
            groups["all"].append(distance)
            groups.setdefault(str(kind), []).append(distance)
    return {kind: _average_distances(members) for kind, members in groups.items() if members}


def _average_distances(distances: Sequence[TwinDistance]) -> dict:
    values = {
        name: np.array([getattr(distance, name) for distance in distances])
        for name in TwinDistance.__dataclass_fields__
    }
    before, after = values["before_inside"], values["after_inside"]

    def ratio(rows: np.ndarray) -> float:
        return float(after[rows].mean() / max(before[rows].mean(), 1e-9))

    everyone = np.arange(len(distances))
    healing = {"ratio": ratio(everyone), "interval": bootstrap_interval(ratio, np.zeros(len(distances)))}
    return {name: float(column.mean()) for name, column in values.items()} | {"healed": healing}
