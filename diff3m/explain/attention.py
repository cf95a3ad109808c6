"""Attention by explanation group, as the model computes it: where it looked in the record, not what mattered."""

from __future__ import annotations

from ..case import Case
from ..detector import Detector
from .registry import Context, Explanation, register
from .text import join_values


def sum_attention_by_group(detector: Detector, case: Case) -> dict[str, float]:
    """Sum the attention weights of IECA by explanation group.

    The weights of each attention group sum to 1, so the result sums to the number of attention groups.
    """
    schema = detector.schema
    by_feature: dict[str, float] = {}
    for name, weights in detector.condition(detector.inputs([case]), [case.record]).attention.items():
        by_feature |= schema.sum_by_feature(name, weights[0].cpu().numpy())
    return {
        group: sum(by_feature[member.name] for member in members)
        for group, members in schema.explanation_groups.items()
    }


def _explain(context: Context) -> dict[str, float]:
    return sum_attention_by_group(context.detector, context.case)


def _describe(weights: dict[str, float]) -> list[str]:
    return [f"attention (where the model looked in the record, not what mattered): {join_values(weights, '.2f')}"]


register(
    Explanation(
        name="attention",
        title="Attention by group of the record",
        progress="Summing the attention …",
        order=10,
        cost="low",
        explain=_explain,
        to_dict=dict,
        describe=_describe,
    )
)
