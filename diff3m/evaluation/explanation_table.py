"""What the benchmark of explanations reports: top-1 shares, rank correlations and agreements, and their tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

import numpy as np
from scipy.stats import spearmanr

from ..explain import compare_methods
from .format import format_interval
from .metrics import bootstrap_interval, mean_with_interval
from .oracle import GROUPS

if TYPE_CHECKING:
    from .explanation_truth import ExplainedPhantom

EXTREME = tuple(group for group in GROUPS if group != "sex")
RANDOM = "random_weights_"
DRAWN = "drawn"  # from the population, instead of a group that was made extreme
SHAPLEY_METHODS = ("shapley", "expectation", "prior")  # of the misfit, and of what the record moves
METHODS = (
    *SHAPLEY_METHODS,
    "unusual",
    "integrated_gradients",
    "ablation",
    "attention",
    *(f"{RANDOM}{name}" for name in SHAPLEY_METHODS),
    "oracle",
    "oracle_averages",
)


def summarize_method(phantoms: Sequence[ExplainedPhantom], method: str) -> dict:
    """Return top-1 by group with a 95 % interval, and Spearman's correlation with the oracle over all groups.

    The correlation is given for extreme and for drawn phantoms.
    """
    result: dict = {"top_1": {}, "rank_correlation": {}, "rank_correlation_averages": {}}
    phantoms = [one for one in phantoms if method in one.values]
    for group in EXTREME:
        hits = [_find_largest(one.values[method]) == group for one in phantoms if one.kind == group]
        if hits:
            entry = mean_with_interval(np.array(hits, dtype=float))
            result["top_1"][group] = {"share": entry["mean"], "interval": entry["interval"], "films": len(hits)}
    if method == "unusual":  # each group has a scale of its own
        return result
    with_oracle = [one for one in phantoms if "oracle" in one.values]
    kinds = {
        "extreme": [one for one in with_oracle if one.kind != DRAWN],
        DRAWN: [one for one in with_oracle if one.kind == DRAWN],
    }
    for kind, rows in kinds.items():
        if rows:
            own, oracle, plain = (
                np.array([[one.values[source][group] for group in GROUPS] for one in rows])
                for source in (method, "oracle", "oracle_averages")
            )
            result["rank_correlation"][kind] = _correlate(own, oracle)
            result["rank_correlation_averages"][kind] = _correlate(own, plain)
    return result


def _correlate(first: np.ndarray, second: np.ndarray) -> dict:
    """Return Spearman's correlation of values (films, groups), over all of them, of their sizes, and group by group."""

    def correlate_rows(rows: np.ndarray) -> float:
        return spearman(first[rows].ravel(), second[rows].ravel())

    return {
        "value": correlate_rows(np.arange(len(first))),
        "interval": bootstrap_interval(correlate_rows, np.zeros(len(first))),
        "of_sizes": spearman(np.abs(first).ravel(), np.abs(second).ravel()),
        "by_group": {group: spearman(first[:, place], second[:, place]) for place, group in enumerate(GROUPS)},
        "films": len(first),
    }


def spearman(a: np.ndarray, b: np.ndarray) -> float:
    """Return Spearman's rank correlation of two vectors; 0 where one of them does not vary."""
    return float(spearmanr(a, b).statistic) if np.ptp(a) and np.ptp(b) else 0.0


def _find_largest(values: Mapping[str, float]) -> str:
    return max(GROUPS, key=lambda group: abs(values.get(group, 0.0)))


def measure_agreement(phantoms: Sequence[ExplainedPhantom]) -> dict:
    """Return by method the share of films in which it agrees with Shapley values (see `explain.Agreement`)."""
    by_method: dict[str, list] = {}
    for one in phantoms:
        for name, entry in compare_methods(one.model, one.gradients).items():
            by_method.setdefault(name, []).append(asdict(entry))
    return {
        name: {
            "films": len(rows),
            **{part: float(np.mean([row[part] for row in rows])) for part in ("signs", "order", "largest")},
        }
        for name, rows in by_method.items()
    }


def average_values(phantoms: Sequence[ExplainedPhantom]) -> dict:
    """Return the mean attributions by group: the model's, and the oracle's where there are any."""
    with_oracle = [one.values["oracle"] for one in phantoms if "oracle" in one.values]
    return {
        "model": {group: float(np.mean([one.model.groups[group] for one in phantoms])) for group in GROUPS},
        "oracle": {group: float(np.mean([values[group] for values in with_oracle])) for group in GROUPS}
        if with_oracle
        else None,
    }


def format_tables(result: Mapping) -> str:
    """Return the result in Markdown: what each method names first, its rank correlation, and the other checks."""
    heads = [*(f"top-1 {group}" for group in EXTREME), "rank correlation, extreme", "drawn"]
    heads += ["with averages, extreme", "drawn"]
    lines = [f"| | {' | '.join(heads)} |", "|---|" + "---|" * len(heads)]
    lines += [_format_row(name, result[name]) for name in METHODS]
    shares = ", ".join(f"{group} {share:.0%}" for group, share in result["said_to_stand_out"].items())
    lines += ["", f"Said to stand out: {shares}.", ""]
    lines += [
        "| agreement with Shapley values | films | same signs | same order | same largest |",
        "|---|---|---|---|---|",
    ]
    for name, entry in result["agreement_with_shapley"].items():
        parts = " | ".join(f"{entry[part]:.0%}" for part in ("signs", "order", "largest"))
        lines.append(f"| {name} | {entry['films']} | {parts} |")
    lines += ["", "| influence curve | sign agreement with the oracle | people |", "|---|---|---|"]
    for feature, entry in result["influence"].items():
        lines.append(f"| {feature} | {format_interval(entry, 'agreement', '.2f')} | {entry['people']} |")
    if entry := result["ignored"]:
        others = ", ".join(f"{group} {value:.2f}" for group, value in entry["size_of_others"].items())
        lines += [
            "",
            f"The ignored {entry['feature']}: mean attribution {format_interval(entry, 'mean', '.2f')}, mean size "
            f"{entry['size']:.2f}; of the others: {others}.",
        ]
    return "\n".join(lines) + "\n"


def _format_row(name: str, entry: Mapping) -> str:
    top = [
        format_interval(entry["top_1"][group], "share", ".2f") if group in entry["top_1"] else "" for group in EXTREME
    ]
    correlations = (
        entry[key].get(kind) for key in ("rank_correlation", "rank_correlation_averages") for kind in ("extreme", DRAWN)
    )
    ranks = ["" if one is None else format_interval(one, "value", ".2f") for one in correlations]
    return f"| {name.replace('_', ' ')} | {' | '.join([*top, *ranks])} |"
