"""Integrated gradients of the misfit over the record's tokens: a second opinion beside Shapley values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass

import numpy as np
import torch
from captum.attr import IntegratedGradients
from torch import Tensor

from ..case import Case
from ..detector import Detector
from ..ehr import Record
from ..network import Condition
from ..reconstruct import draw_noises, estimate_in_one_step, make_predictor
from ..scoring.record_fit import measure_deviation
from .attribution import Attribution, attribute
from .needs import Need
from .record_fit import NOISES, calibrated_fits, estimate_one_step, explainable_groups
from .registry import Context, Explanation, register
from .text import join_values

PATH_STEPS = 8  # points of the Gauss-Legendre rule on the path
SMALL = 1.0  # of the misfit: groups that change it by less are not ranked or given a sign


@dataclass(frozen=True)
class Gradients:
    """Integrated gradients of the misfit.

    groups: by explanation group; they sum to known − unknown up to `gap`, the error of the rule.
    """

    groups: dict[str, float]
    gap: float


def integrated_gradients(detector: Detector, case: Case, steps: int = PATH_STEPS) -> Gradients:
    """Integrate the misfit's gradient from the tokens of "unknown" to those of the record, along the straight line.

    Sundararajan et al., ICML 2017. A point between two tokens is no record that anybody can have, unlike the coalitions
    of `attribute`. In float32. steps: points on the line. Raises ExplanationError.
    """
    fits, exact, x0 = calibrated_fits(detector), detector.in_float32, detector.inputs([case])
    names, known, unknown = _tokens(exact, case.record)
    ends = {
        fit.group: estimate_one_step(detector, x0, list(detector.schema.contrast_records(fit.group)), fit.level)
        for fit in fits
    }

    def misfit_of(*tokens: Tensor) -> Tensor:
        films = x0.expand(len(tokens[0]), -1, -1, -1)
        condition = exact.network.condition_of(films, dict(zip(names, tokens, strict=True)))
        total = torch.zeros(len(films), device=x0.device)
        for level in sorted({fit.level for fit in fits}):
            estimate = _estimate(exact, films, condition, level)
            for fit in fits:
                if fit.level == level:
                    low, high = ends[fit.group][:1], ends[fit.group][1:]
                    along = measure_deviation(x0, estimate, low, high, detector.scoring.margin)[0]
                    total = total + ((along - fit.mean) / fit.std).square()
        return total

    values, gap = IntegratedGradients(misfit_of).attribute(
        known, baselines=unknown, n_steps=steps, internal_batch_size=steps, return_convergence_delta=True
    )
    by_feature: dict[str, float] = {}
    for name, tensor in zip(names, values, strict=True):
        by_feature |= detector.schema.sum_by_feature(name, tensor[0].detach().sum(-1).double().cpu().numpy())
    members = detector.schema.explanation_groups
    groups = {
        group: sum(by_feature[feature.name] for feature in members[group]) for group in explainable_groups(detector)
    }
    return Gradients(groups, float(gap.sum()))


@torch.no_grad()
def _tokens(detector: Detector, record: Record) -> tuple[list[str], tuple[Tensor, ...], tuple[Tensor, ...]]:
    """Return names of the attention groups, and the tokens (1, slots, d) of a record and of the unknown one."""
    schema, fusion = detector.schema, detector.network.fusion
    known, unknown = (
        fusion.tokens(torch.from_numpy(schema.encode(part))[None].to(detector.device))
        for part in (record, dict.fromkeys(schema.names))
    )
    return list(known), tuple(known.values()), tuple(unknown[name] for name in known)


def _estimate(detector: Detector, films: Tensor, condition: Condition, level: int) -> Tensor:
    """Return what `record_fit.estimate_one_step` does, of n conditions, with gradients: (n, 1, S, S)."""
    noises = draw_noises(NOISES, films.shape[-1], level, 0, detector.device)
    return estimate_in_one_step(
        films, make_predictor(detector.network, condition), level, noises, detector.config.schedule
    )


@dataclass(frozen=True)
class Agreement:
    """Whether another method says what Shapley values say, of the groups to which either gives at least `SMALL`.

    signs: share of them with the same sign. order: whether their order from lowest to highest is the same. largest:
    whether both name the same group as the largest by size. comparisons: how many groups that are; of none, all agree.
    """

    signs: float
    order: bool
    largest: bool
    comparisons: int

    @property
    def whole(self) -> bool:
        """Whether they agree in everything."""
        return self.signs == 1 and self.order and self.largest


def compare_attributions(shapley: Mapping[str, float], other: Mapping[str, float]) -> Agreement:
    """Compare two attributions by group."""
    relevant = [group for group in shapley if max(abs(shapley[group]), abs(other[group])) >= SMALL]
    if not relevant:
        return Agreement(1.0, True, True, 0)
    first, second = (np.array([values[group] for group in relevant]) for values in (shapley, other))
    signs = float(np.mean(np.sign(first) == np.sign(second)))
    order = bool((np.argsort(first, kind="stable") == np.argsort(second, kind="stable")).all())
    largest = bool(np.abs(first).argmax() == np.abs(second).argmax())
    return Agreement(signs, order, largest, len(relevant))


def compare_methods(attribution: Attribution, gradients: Gradients | None = None) -> dict[str, Agreement]:
    """Compare leaving one group out and, where they are given, integrated gradients with Shapley values."""
    others = {"leaving one group out": attribution.ablation}
    if gradients is not None:
        others["integrated gradients"] = gradients.groups
    return {name: compare_attributions(attribution.groups, other) for name, other in others.items()}


@dataclass(frozen=True)
class SecondOpinion:
    """Other methods beside the Shapley values of the misfit by group.

    attribution: of the misfit, with single values. gradients: integrated gradients. agreements: of each other method.
    """

    attribution: Attribution
    gradients: Gradients
    agreements: dict[str, Agreement]


def _explain(context: Context) -> SecondOpinion:
    detector, case = context.detector, context.case
    attribution = attribute(detector, case, before=context.result("misfit"))
    gradients = integrated_gradients(detector, case)
    return SecondOpinion(attribution, gradients, compare_methods(attribution, gradients))


def _to_dict(opinion: SecondOpinion) -> dict:
    return {
        "single_values": opinion.attribution.parts,
        "integrated_gradients": opinion.gradients.groups,
        "gap": opinion.gradients.gap,
        "agreement_with_shapley": {name: asdict(one) for name, one in opinion.agreements.items()},
    }


def _describe(opinion: SecondOpinion) -> list[str]:
    gradients = opinion.gradients
    lines = [
        f"misfit by single values: {join_values(opinion.attribution.parts, '+.2f') or 'none is known'}",
        f"integrated gradients of the misfit: {join_values(gradients.groups, '+.2f')} "
        f"(off the whole change by {gradients.gap:+.2f})",
    ]
    for name, one in opinion.agreements.items():
        if not one.comparisons:
            lines.append(f"  {name}: nothing to compare, no part changes the misfit by 1")
        else:
            verdict = "agrees" if one.whole else "does not wholly agree"
            lines.append(f"  {name} {verdict} with the Shapley values in sign and order")
    return lines


register(
    Explanation(
        name="second_opinion",
        title="Other methods of attribution",
        progress="Computing integrated gradients for a second opinion …",
        order=120,
        cost="high",
        explain=_explain,
        to_dict=_to_dict,
        describe=_describe,
        needs=(Need.UNKNOWN_TOKENS, Need.FIT),
        is_requested=lambda request: "misfit" in request.targets,
    )
)
