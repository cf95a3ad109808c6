"""How much an opinion depends on what was free to choose: the noise level and the seed."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch

from ..detector import Detector
from ..ehr import Record
from ..imaging import Radiograph
from ..scoring.measure import heat_map
from ..scoring.score import by_noise_level
from .record_fit import ExplanationError

SEEDS = (0, 1, 2)
LEVELS = (200, 400, 720)  # whose heat maps are compared


@dataclass(frozen=True)
class Uncertainty:
    """by_level: mean (of a score that is a maximum: largest) z-score of the residuals of each noise level (`scoring.by_noise_level`). by_seed: the
    score under other seeds; equal where the score uses no fresh noise. heat_spread (S, S): standard deviation of the heat map over the noise
    levels heat_levels; seeds do not change it, because inversion uses no fresh noise."""

    by_level: dict[int, float]
    by_seed: dict[int, float]
    heat_spread: np.ndarray
    heat_levels: tuple[int, ...] = LEVELS


def uncertainty(
    detector: Detector,
    radiograph: Radiograph | np.ndarray | str | os.PathLike,
    ehr: Mapping[str, object] | None,
    seeds: tuple[int, ...] = SEEDS,
) -> Uncertainty:
    """Analyze one film under several seeds. Raises RadiographError, EHRError or ExplanationError with a sentence."""
    scoring = detector.scoring
    film, fresh = (
        detector.film(radiograph),
        scoring.released_path or any(component.source != "inversion" for component in scoring.components),
    )
    first = detector.analyze(film, ehr, seed=seeds[0])
    if first.score is None:
        raise ExplanationError("This checkpoint gives no score, so there is no spread of it: run `diff3m calibrate`.")
    others = {seed: detector.analyze(film, ehr, seed=seed).score if fresh else first.score for seed in seeds[1:]}
    found = by_noise_level([(component, z) for component, _, z in first.components], scoring.combine)
    by_level = {level: value for level, (value, _) in found.items()}
    return Uncertainty(by_level, {seeds[0]: first.score, **others}, _heat_spread(detector, film, first.record))


@torch.no_grad()
def _heat_spread(detector: Detector, film: Radiograph, record: Record) -> np.ndarray:
    """Standard deviation of the heat map over the reconstructions from LEVELS: (S, S)."""
    x0 = detector.prepared([film])
    made = detector.reconstructions(
        x0,
        detector.condition(x0, [record], attention=False),
        [("inversion", level) for level in LEVELS],
        detector.settings(),
    )
    maps = [heat_map(x0, made["inversion", level], detector.scoring.heat_sigma)[0, 0].cpu().numpy() for level in LEVELS]
    return np.std(maps, axis=0)
