"""How much score and heat map depend on the noise level and on the seed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from ..case import Case
from ..detector import Detector
from ..scoring.measure import compute_heat_map
from ..scoring.score import by_noise_level
from .needs import Need, require
from .registry import Context, Explanation, Picture, register

SEEDS = (0, 1, 2)
MULTIPLES = (0.5, 1, 1.8)  # of the noise level of the normal film: levels whose heat maps are compared


@dataclass(frozen=True, eq=False)
class Uncertainty:
    """The spread of score and heat map.

    by_level: z-score of the residuals by noise level: the mean, or the largest for a score that is a maximum. by_seed:
    the score by seed; all are equal where the score uses no random noise. heat_spread: (S, S), standard deviation of
    the heat map over the noise levels `heat_levels`, in shares of the grey range.
    """

    by_level: dict[int, float | None]
    by_seed: dict[int, float | None]
    heat_spread: np.ndarray
    heat_levels: tuple[int, ...]


def measure_uncertainty(detector: Detector, case: Case, seeds: tuple[int, ...] = SEEDS) -> Uncertainty:
    """Analyze one case under several seeds and noise levels.

    Raises ExplanationError for a checkpoint without a calibrated score.
    """
    require(detector, Need.SCORE)
    scoring = detector.scoring
    draws_noise = not scoring.uses_inversion or any(component.source != "inversion" for component in scoring.components)
    first = detector.analyze(case, seed=seeds[0])
    by_seed = {seed: detector.analyze(case, seed=seed).score if draws_noise else first.score for seed in seeds[1:]}
    levels = by_noise_level([(component, z) for component, _, z in first.components], scoring.combine)
    by_level: dict[int, float | None] = {level: value for level, (value, _) in levels.items()}
    top = detector.config.schedule.timesteps
    heat_levels = tuple(min(max(1, round(multiple * scoring.noise_level)), top) for multiple in MULTIPLES)
    spread = _measure_heat_spread(detector, case, heat_levels)
    return Uncertainty(by_level, {seeds[0]: first.score, **by_seed}, spread, heat_levels)


@torch.no_grad()
def _measure_heat_spread(detector: Detector, case: Case, levels: Sequence[int]) -> np.ndarray:
    """Measure the standard deviation of the heat map over the reconstructions from noise levels: (S, S)."""
    source, _ = detector.scoring.main_key
    x0, keys = detector.inputs([case]), [(source, level) for level in levels]
    condition = detector.condition(x0, [case.record], attention=False)
    estimates = detector.estimates(x0, condition, keys, detector.settings())
    pictures, sigma = (estimates.in_region[source, level] for level in levels), detector.scoring.heat_sigma
    maps = [compute_heat_map(x0, picture, sigma)[0, 0].cpu().numpy() for picture in pictures]
    return np.std(maps, axis=0)


def _explain(context: Context) -> Uncertainty:
    return measure_uncertainty(context.detector, context.case)


def _to_dict(result: Uncertainty) -> dict:
    return {
        "z_score_by_noise_level": {str(level): value for level, value in result.by_level.items()},
        "score_by_seed": {str(seed): score for seed, score in result.by_seed.items()},
        "heat_map_spread": float(result.heat_spread.mean()),
    }


def _describe(result: Uncertainty) -> list[str]:
    return [
        "mean z-score by noise level: " + ", ".join(f"{level}: {z:+.2f}" for level, z in result.by_level.items()),
        "score by seed: " + ", ".join(f"{seed}: {score:+.2f}" for seed, score in result.by_seed.items()),
        f"heat map: standard deviation over noise levels {result.heat_spread.mean():.1%} of the grey range on average",
    ]


def _pictures(result: Uncertainty) -> dict[str, Picture]:
    return {"heat_spread": Picture(result.heat_spread / max(float(result.heat_spread.max()), 1e-6))}


register(
    Explanation(
        name="uncertainty",
        title="Spread of the score and of the heat map",
        progress="Measuring how much depends on the noise level …",
        order=110,
        cost="medium",
        explain=_explain,
        to_dict=_to_dict,
        describe=_describe,
        needs=(Need.SCORE,),
        pictures=_pictures,
    )
)
