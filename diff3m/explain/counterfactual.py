"""What the record does to the model's opinion: reconstructions under other records."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..detector import Detector
from ..diffusion import denoise, invert
from ..ehr import EHRError, EHRSchema, Feature, Record
from ..imaging import Radiograph
from ..reconstruct import CLAMP, predictor

COUNTERFACTUAL_LEVEL, COUNTERFACTUAL_STEPS = 1000, 40


@dataclass(frozen=True)
class Counterfactual:
    """What normal looks like for one person under other records.

    film, reconstruction: (S, S) in [0, 1], the second under the person's own record. others: one record each.
    reconstructions: (n, S, S) under those, from the same noise. differences: reconstructions − reconstruction, what the change of
    record does to the picture.
    """

    film: np.ndarray
    reconstruction: np.ndarray
    record: Record
    others: tuple[Record, ...]
    reconstructions: np.ndarray

    @property
    def differences(self) -> np.ndarray:
        return self.reconstructions - self.reconstruction


@torch.no_grad()
def counterfactual(
    detector: Detector,
    radiograph: Radiograph | np.ndarray | str | os.PathLike,
    ehr: Mapping[str, object] | None,
    others: Sequence[Mapping[str, object]],
    *,
    noise_level: int | None = None,
    steps: int = COUNTERFACTUAL_STEPS,
    callback: Callable[[int, int], None] | None = None,
) -> Counterfactual:
    """Reconstruct a film under its own record and under others, from one noise.

    Abduction, action, prediction (Pearl, *Causality*, ch. 7): DDIM inversion under the own record leaves in the noise what that record does not
    explain; denoising the same noise under another record keeps it. noise_level: default, `highest_level`. The callback hears (steps done, steps
    in all). Raises RadiographError or EHRError with a sentence, ValueError for settings out of range.
    """
    noise_level = highest_level(detector) if noise_level is None else noise_level
    if not 1 <= steps <= noise_level <= detector.config.schedule.timesteps:
        raise ValueError(
            f"steps must lie between 1 and the noise level, and that below {detector.config.schedule.timesteps + 1}."
        )
    record, parsed = detector.schema.parse(ehr or {}), tuple(detector.schema.parse(other) for other in others)
    x0 = detector.prepared([detector.film(radiograph)])
    made = counterfactual_films(detector, x0, [record], [parsed], noise_level, steps, callback)[0]
    made = made[:, 0].float().cpu().numpy()
    return Counterfactual(x0[0, 0].cpu().numpy(), made[0], record, parsed, made[1:])


def highest_level(detector: Detector) -> int:
    """The noise level from which records are compared: all levels, as far as the checkpoint's schedule has them."""
    return min(COUNTERFACTUAL_LEVEL, detector.config.schedule.timesteps)


@torch.no_grad()
def counterfactual_films(
    detector: Detector,
    x0: Tensor,
    records: Sequence[Record],
    others: Sequence[Sequence[Record]],
    noise_level: int,
    steps: int,
    callback: Callable[[int, int], None] | None = None,
) -> Tensor:
    """For prepared films (B, 1, S, S): reconstructions under the own record and n others each, (B, 1 + n, 1, S, S)."""
    own = detector.condition(x0, records)
    every = [record for record, changed in zip(records, others, strict=True) for record in (record, *changed)]
    count = len(every) // len(records)
    conditions = detector.condition(x0.repeat_interleave(count, dim=0), every)
    schedule, done = detector.config.schedule, 0

    def hear(step) -> None:
        nonlocal done
        done += 1
        if callback:
            callback(done, 2 * steps)

    with detector.autocast():
        noise = invert(x0, predictor(detector.network, own), noise_level, steps, schedule, clamp=CLAMP, callback=hear)
        start = noise.repeat_interleave(count, dim=0)
        made = denoise(
            start, predictor(detector.network, conditions), noise_level, steps, schedule, clamp=CLAMP, callback=hear
        )
    return made.clamp(*CLAMP).view(len(records), count, *x0.shape[1:])


def other_record(schema: EHRSchema, record: Record, name: str, value: str) -> Record:
    """The record with one other value, what hangs on it following. Raises EHRError with a sentence."""
    given = schema[name].parse(value)
    if given is None:
        raise EHRError(
            f"Another record: give the other value of {schema[name].label}, e.g. {example_value(schema[name])}."
        )
    if given == record.get(name):
        raise EHRError(
            f"Another record: {schema[name].label} {schema[name].describe(given)} is what the record says already. Give another value."
        )
    return schema.parse(schema.changed(record, name, given))


def example_value(feature: Feature) -> str:
    """A value that a feature may have, as one types it."""
    return feature.categories[-1] if feature.kind == "category" else f"{feature.mean + 2 * feature.std:.0f}"
