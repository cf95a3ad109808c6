"""How many bits the record carries about a film, in all and per pixel.

Kong et al., "Interpretable Diffusion via Information Decomposition", ICLR 2024.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..case import Case
from ..detector import Detector
from ..diffusion import add_noise, predicted_noise
from ..ehr import Record
from ..reconstruct import draw_noises, make_predictor
from .coalitions import group_known_features, make_coalition_record
from .needs import Need, require
from .record_fit import estimate_one_step
from .region import REGION_LEVEL
from .registry import Context, Explanation, Picture, register
from .text import join_values

LEVELS = (60, 120, 200, 300, 400, 500, 600, 700, 800, 900)
NOISES = 2


@dataclass(frozen=True, eq=False)
class Information:
    """The information of the record about a film in bits, estimated from a few noises.

    bits: of the whole record; negative where the record misleads the model, or by noise. map: (S, S) float32, the same
    per pixel, with the sum `bits`. groups: bits that are lost when that group alone is unknown. group_maps: the same
    per pixel. residual: (S, S) float32, film − one-step estimate from `REGION_LEVEL` under the record.
    """

    bits: float
    map: np.ndarray
    groups: dict[str, float]
    group_maps: dict[str, np.ndarray]
    residual: np.ndarray


@torch.no_grad()
def compute_information(detector: Detector, case: Case) -> Information:
    """Estimate how much the record tells of the film, in bits.

    This is ½ ∫ (‖ε − ε̂(x_λ)‖² − ‖ε − ε̂(x_λ, record)‖²) dλ, where λ is the log SNR.
    The trapezoid rule is applied over `LEVELS`. Raises ExplanationError for a checkpoint without tokens for unknown
    values.
    """
    require(detector, Need.UNKNOWN_TOKENS)
    x0, members = detector.inputs([case]), group_known_features(detector, case.record)
    players = list(members.values())
    without_one = [[int(index != place) for index in range(len(players))] for place in range(len(players))]
    coalitions = [[1] * len(players), [0] * len(players), *without_one]
    records = [make_coalition_record(case.record, players, coalition) for coalition in coalitions]
    bits = measure_bits(detector, x0.expand(len(records), -1, -1, -1), records, LEVELS).numpy()
    savings = bits[1:] - bits[:1]
    maps = dict(zip(members, savings[1:].astype(np.float32), strict=True))
    groups = {name: float(part.sum()) for name, part in zip(members, savings[1:], strict=True)}
    residual = (x0 - estimate_one_step(detector, x0, [case.record], REGION_LEVEL))[0, 0].cpu().numpy()
    return Information(float(savings[0].sum()), savings[0].astype(np.float32), groups, maps, residual)


@torch.no_grad()
def measure_bits(detector: Detector, x0: Tensor, records: Sequence[Record], levels: Sequence[int]) -> Tensor:
    """Estimate the bits per pixel that describe each prepared film (B, 1, S, S) under its record.

    This is ½ ∫ ‖ε − ε̂‖² dλ, up to a term that no record changes.
    The trapezoid rule is applied with `NOISES` noises, the same for every film. levels: rising noise levels. Returns
    (B, S, S) float64 on the CPU.
    """
    schedule, errors = detector.config.schedule, []
    predict = make_predictor(detector.network, detector.condition(x0, records, attention=False))
    for level in levels:
        noise = draw_noises(NOISES, x0.shape[-1], level, 0, detector.device).repeat_interleave(len(x0), dim=0)
        t = torch.full((len(noise),), level - 1, device=x0.device)
        with detector.autocast():
            predicted = predicted_noise(predict(add_noise(x0.repeat(NOISES, 1, 1, 1), noise, t, schedule), t))
        errors.append((predicted - noise).square().view(NOISES, len(x0), *x0.shape[-2:]).mean(0))
    alpha_bars = np.array([float(schedule.alpha_bar(level - 1)) for level in levels])
    log_snr = torch.from_numpy(np.log(alpha_bars / (1 - alpha_bars)))
    return -torch.trapezoid(torch.stack(errors).double().cpu(), log_snr, dim=0) / (2 * math.log(2))


def _explain(context: Context) -> Information:
    return compute_information(context.detector, context.case)


def _to_dict(result: Information) -> dict:
    return {"bits": result.bits, "lost_without": result.groups}


def _describe(result: Information) -> list[str]:
    losses = join_values(result.groups, ".1f") or "none is known"
    return [f"information of the record about this film: {result.bits:.1f} bits; lost without one group: {losses}"]


def _pictures(result: Information) -> dict[str, Picture]:
    maps = {"information": result.map, "residual": result.residual}
    maps |= {f"information_{group.replace(' ', '_')}": part for group, part in result.group_maps.items()}
    return {name: Picture(values, signed=True) for name, values in maps.items()}


register(
    Explanation(
        name="information",
        title="Information of the record about this film",
        progress="Measuring the record's information …",
        order=60,
        cost="low",
        explain=_explain,
        to_dict=_to_dict,
        describe=_describe,
        needs=(Need.UNKNOWN_TOKENS,),
        pictures=_pictures,
    )
)
