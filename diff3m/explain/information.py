"""How many bits the record carries about a film, in all and per pixel (Kong et al., "Interpretable Diffusion via Information
Decomposition", ICLR 2024)."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..detector import Detector
from ..diffusion import add_noise
from ..ehr import Record
from ..imaging import Radiograph
from ..reconstruct import draw_noises, predictor
from .coalitions import coalition_record, group_members
from .record_fit import may_be_unknown, one_step
from .region import REGION_LEVEL

LEVELS = (60, 120, 200, 300, 400, 500, 600, 700, 800, 900)
NOISES = 2


@dataclass(frozen=True)
class Information:
    """bits: that the whole record carries; map (S, S) float32: the same per pixel, summing to it. groups: bits that are lost when that group
    alone is unknown; group_maps: the same per pixel. Estimates from a few noises: a negative number means that the record misled the model, or
    noise. residual (S, S) float32: film − what is expected under the record in one step from `REGION_LEVEL`, to be seen beside the map."""

    bits: float
    map: np.ndarray
    groups: dict[str, float]
    group_maps: dict[str, np.ndarray]
    residual: np.ndarray


@torch.no_grad()
def information(
    detector: Detector, radiograph: Radiograph | np.ndarray | str | os.PathLike, ehr: Mapping[str, object] | None
) -> Information:
    """½ ∫ (‖ε − ε̂(x_λ)‖² − ‖ε − ε̂(x_λ, record)‖²) dλ over the log signal-to-noise ratio λ, by the trapezoid rule over `LEVELS`, in bits.

    Raises RadiographError, EHRError or ExplanationError with a sentence.
    """
    may_be_unknown(detector)
    record = detector.schema.parse(ehr or {})
    x0 = detector.prepared([detector.film(radiograph)])
    members = group_members(detector, record)
    players = list(members.values())
    without = [[int(index != place) for index in range(len(players))] for place in range(len(players))]
    coalitions = [[1] * len(players), [0] * len(players), *without]
    records = [coalition_record(record, players, tuple(coalition)) for coalition in coalitions]
    spent = bits_spent(detector, x0.expand(len(records), -1, -1, -1), records, LEVELS).numpy()
    gained = spent[1:] - spent[:1]
    maps = dict(zip(members, gained[1:].astype(np.float32), strict=True))
    groups = {name: float(part.sum()) for name, part in zip(members, gained[1:], strict=True)}
    residual = (x0 - one_step(detector, x0, [record], REGION_LEVEL))[0, 0].cpu().numpy()
    return Information(float(gained[0].sum()), gained[0].astype(np.float32), groups, maps, residual)


@torch.no_grad()
def bits_spent(detector: Detector, x0: Tensor, records: Sequence[Record], levels: Sequence[int]) -> Tensor:
    """Bits that describing each prepared film (B, 1, S, S) under its record takes, per pixel, up to what no record changes: (B, S, S) float64 on the
    CPU. ½ ∫ ‖ε − ε̂‖² dλ by the trapezoid rule over noise levels, rising, with `NOISES` noises that are the same for every film."""
    schedule, errors = detector.config.schedule, []
    predict = predictor(detector.network, detector.condition(x0, records, attention=False))
    for level in levels:
        repeated = draw_noises(NOISES, x0.shape[-1], level, 0, detector.device).repeat_interleave(len(x0), dim=0)
        t = torch.full((len(repeated),), level - 1, device=x0.device)
        with detector.autocast():
            predicted = predict(add_noise(x0.repeat(NOISES, 1, 1, 1), repeated, t, schedule), t)
        errors.append((predicted - repeated).square().view(NOISES, len(x0), *x0.shape[-2:]).mean(0))
    alpha_bars = np.array([float(schedule.alpha_bar(level - 1)) for level in levels])
    log_snr = torch.from_numpy(np.log(alpha_bars / (1 - alpha_bars)))
    return -torch.trapezoid(torch.stack(errors).double().cpu(), log_snr, dim=0) / (2 * math.log(2))
