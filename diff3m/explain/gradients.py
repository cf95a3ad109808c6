"""Integrated gradients of the misfit over the record's tokens: a second opinion beside Shapley values, and how far the two agree."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from captum.attr import IntegratedGradients
from torch import Tensor

from ..detector import Detector
from ..ehr import Record
from ..imaging import Radiograph
from ..network import Condition
from ..reconstruct import draw_noises, estimate_in_one_step, predictor
from ..scoring.record_fit import deviation
from .attribution import Attribution
from .record_fit import NOISES, calibrated, explainable_groups, one_step

PATH_STEPS = 8  # points of the Gauss-Legendre rule on the path
SMALL = 1.0  # of the misfit: groups that change it by less are not ranked or given a sign


@dataclass(frozen=True)
class Gradients:
    """Integrated gradients of the misfit. groups: by explanation group; they sum to known − unknown up to `gap`, the error of the rule."""

    groups: dict[str, float]
    gap: float


def integrated_gradients(
    detector: Detector,
    radiograph: Radiograph | np.ndarray | str | os.PathLike,
    ehr: Mapping[str, object] | None,
    steps: int = PATH_STEPS,
) -> Gradients:
    """Integrate the misfit's gradient along the straight line from the tokens of "unknown" to those of the record (Sundararajan et al., ICML 2017).

    A point between two tokens is no record that anybody can have, unlike the coalitions of `attribute`. In float32. Raises RadiographError,
    EHRError or ExplanationError with a sentence.
    """
    fits, record = calibrated(detector), detector.schema.parse(ehr or {})
    x0, twin = detector.prepared([detector.film(radiograph)]), detector.in_float32
    names, known, unknown = _tokens(twin, record)
    directions = [(detector.schema.ends(entry.group), entry) for entry in fits]
    ends = {entry.group: one_step(detector, x0, list(pair), entry.level) for pair, entry in directions}

    def target(*tokens: Tensor) -> Tensor:
        films = x0.expand(len(tokens[0]), -1, -1, -1)
        condition, total = (
            twin.network.condition_of(films, dict(zip(names, tokens, strict=True))),
            torch.zeros(len(films), device=x0.device),
        )
        for level in sorted({entry.level for entry in fits}):
            estimate = _estimate(twin, films, condition, level)
            for entry in fits:
                if entry.level == level:
                    along = deviation(
                        x0, estimate, ends[entry.group][:1], ends[entry.group][1:], detector.scoring.margin
                    )[0]
                    total = total + ((along - entry.mean) / entry.std).square()
        return total

    method = IntegratedGradients(target)
    given, gap = method.attribute(
        known, baselines=unknown, n_steps=steps, internal_batch_size=steps, return_convergence_delta=True
    )
    by_feature: dict[str, float] = {}
    for name, tensor in zip(names, given, strict=True):
        by_feature |= detector.schema.by_feature(name, tensor[0].detach().sum(-1).double().cpu().numpy())
    members = detector.schema.explanation_groups
    groups = {
        group: sum(by_feature[feature.name] for feature in members[group]) for group in explainable_groups(detector)
    }
    return Gradients(groups, float(gap.sum()))


@torch.no_grad()
def _tokens(detector: Detector, record: Record) -> tuple[list[str], tuple[Tensor, ...], tuple[Tensor, ...]]:
    """Names of the attention groups, and the tokens (1, slots, d) of a record and of the unknown one."""
    schema, fusion = detector.schema, detector.network.fusion
    given = [
        fusion.tokens(torch.from_numpy(schema.encode(part))[None].to(detector.device))
        for part in (record, schema.parse({}))
    ]
    names = list(given[0])
    known, unknown = (tuple(part[name] for name in names) for part in given)
    return names, known, unknown


def _estimate(detector: Detector, films: Tensor, condition: Condition, level: int) -> Tensor:
    """As `record_fit.one_step`, of n conditions, with gradients: (n, 1, S, S)."""
    noises = draw_noises(NOISES, films.shape[-1], level, 0, detector.device)
    return estimate_in_one_step(films, predictor(detector.network, condition), level, noises, detector.config.schedule)


@dataclass(frozen=True)
class Agreement:
    """Whether another method says what Shapley values say, of the groups to which either gives at least `SMALL`.

    signs: share of them with the same sign. order: whether their order from lowest to highest is the same. largest: whether both name the same
    group as the largest by size. compared: how many groups that are; of none, all agree.
    """

    signs: float
    order: bool
    largest: bool
    compared: int

    @property
    def whole(self) -> bool:
        return self.signs == 1 and self.order and self.largest


def agreement(shapley: Mapping[str, float], other: Mapping[str, float]) -> Agreement:
    """Compare two attributions by group."""
    counted = [group for group in shapley if max(abs(shapley[group]), abs(other[group])) >= SMALL]
    if not counted:
        return Agreement(1.0, True, True, 0)
    first, second = (np.array([values[group] for group in counted]) for values in (shapley, other))
    signs = float(np.mean(np.sign(first) == np.sign(second)))
    order = bool((np.argsort(first, kind="stable") == np.argsort(second, kind="stable")).all())
    return Agreement(
        signs, order, counted[int(np.abs(first).argmax())] == counted[int(np.abs(second).argmax())], len(counted)
    )


def agreements(found: Attribution, gradients: Gradients | None = None) -> dict[str, Agreement]:
    """How leaving one group out and, where they were asked for, integrated gradients agree with Shapley values."""
    others = {"leaving one group out": found.ablation} | (
        {} if gradients is None else {"integrated gradients": gradients.groups}
    )
    return {name: agreement(found.groups, other) for name, other in others.items()}
