"""Integrated gradients of the misfit over the record's tokens, as a second opinion on the Shapley values."""

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
from .record_fit import NOISES, estimate_one_step, get_calibrated_fits, list_explainable_groups
from .registry import Context, Explanation, register
from .text import join_values

PATH_STEPS = 8  # points of the Gauss-Legendre rule on the path
SMALL = 1.0  # of the misfit: groups that change it by less are not compared


@dataclass(frozen=True)
class Gradients:
    """Integrated gradients of the misfit.

    groups: by explanation group; they sum to known − unknown up to `gap`, the error of the quadrature.
    """

    groups: dict[str, float]
    gap: float


def compute_integrated_gradients(detector: Detector, case: Case, steps: int = PATH_STEPS) -> Gradients:
    """Integrate the misfit's gradient from the tokens of "unknown" to those of the record, along the straight line.

    Sundararajan et al., ICML 2017. Unlike the coalitions of `attribute`, a point between two tokens is no possible
    record. Computed in float32. steps: points on the line. Raises ExplanationError for a checkpoint without a fit.
    """
    fits, exact, x0 = get_calibrated_fits(detector), detector.in_float32, detector.inputs([case])
    names, known, unknown = _encode_tokens(exact, case.record)
    ends = {
        fit.group: estimate_one_step(detector, x0, list(detector.schema.contrast_records(fit.group)), fit.level)
        for fit in fits
    }

    def compute_misfit(*tokens: Tensor) -> Tensor:
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

    values, gap = IntegratedGradients(compute_misfit).attribute(
        known, baselines=unknown, n_steps=steps, internal_batch_size=steps, return_convergence_delta=True
    )
    by_feature: dict[str, float] = {}
    for name, tensor in zip(names, values, strict=True):
        by_feature |= detector.schema.sum_by_feature(name, tensor[0].detach().sum(-1).double().cpu().numpy())
    members = detector.schema.explanation_groups
    groups = {
        group: sum(by_feature[feature.name] for feature in members[group])
        for group in list_explainable_groups(detector)
    }
    return Gradients(groups, float(gap.sum()))


@torch.no_grad()
def _encode_tokens(detector: Detector, record: Record) -> tuple[list[str], tuple[Tensor, ...], tuple[Tensor, ...]]:
    """Return names of the attention groups, and the tokens (1, slots, d) of a record and of an unknown record."""
    schema, fusion = detector.schema, detector.network.fusion
    known, unknown = (
        fusion.tokens(torch.from_numpy(schema.encode(part))[None].to(detector.device))
        for part in (record, dict.fromkeys(schema.names))
    )
    return list(known), tuple(known.values()), tuple(unknown[name] for name in known)


def _estimate(detector: Detector, films: Tensor, condition: Condition, level: int) -> Tensor:
    """Estimate x̂_0 as `record_fit.estimate_one_step` does, under n conditions and with gradients: (n, 1, S, S)."""
    noises = draw_noises(NOISES, films.shape[-1], level, 0, detector.device)
    return estimate_in_one_step(
        films, make_predictor(detector.network, condition), level, noises, detector.config.schedule
    )


@dataclass(frozen=True)
class Agreement:
    """How far another method agrees with Shapley values, over the groups to which either gives at least `SMALL`.

    signs: share of these groups with the same sign. order: whether their order from lowest to highest is the same.
    largest: whether the same group is the largest by size. comparisons: number of these groups; with none, all agree.
    """

    signs: float
    order: bool
    largest: bool
    comparisons: int

    @property
    def is_full(self) -> bool:
        """Whether signs, order and largest group all agree."""
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
    """Compare ablation and, where they are given, integrated gradients with Shapley values, by method."""
    others = {"leaving one group out": attribution.ablation}
    if gradients is not None:
        others["integrated gradients"] = gradients.groups
    return {name: compare_attributions(attribution.groups, other) for name, other in others.items()}


@dataclass(frozen=True)
class SecondOpinion:
    """Other attributions of the misfit, and whether they agree with its Shapley values.

    attribution: of the misfit, with single values. gradients: integrated gradients. agreements: by method.
    """

    attribution: Attribution
    gradients: Gradients
    agreements: dict[str, Agreement]


def _explain(context: Context) -> SecondOpinion:
    detector, case = context.detector, context.case
    attribution = attribute(detector, case, previous=context.compute("misfit"))
    gradients = compute_integrated_gradients(detector, case)
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
            verdict = "agrees" if one.is_full else "does not wholly agree"
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
