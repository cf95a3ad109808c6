"""Figures of measured results: numbers in, matplotlib Figure out."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd
from matplotlib.figure import Figure

OURS, OTHERS = "#0f766e", "#64748b"
METHOD_COLORS = {
    "unusual": "#a16207",
    "shapley": OURS,
    "expectation": "#5eada5",
    "prior": "#a3d5cf",
    "integrated_gradients": "#7aa6c2",
    "ablation": "#bcd3e3",
    "attention": "#c2410c",
    "random_weights_shapley": OTHERS,
    "oracle": "#1e3a5f",
}
GROUP_COLORS = ("#c2410c", "#1e3a5f", "#0f766e", "#7aa6c2", "#a16207")


def plot_comparison(labels: Mapping[str, dict]) -> Figure:
    """Draw the within-view AUROC of every method's best score with its interval.

    labels: of `film_comparison.compare`, a panel for each.
    """
    figure = Figure(figsize=(4.6 * max(1, len(labels)) + 1.6, 3.8), layout="constrained")
    panels, rows = figure.subplots(1, max(1, len(labels)), sharey=True, squeeze=False)[0], []
    for axes, (label, entry) in zip(panels, labels.items(), strict=False):
        rows = [(name, *_select_best(scores)) for name, scores in entry["methods"].items()]
        # without: no view is known, or each has one kind of film
        rows = [row for row in rows if row[2]["auroc_within_view"] is not None]
        for place, (name, score, metrics) in enumerate(rows):
            value = metrics["auroc_within_view"]
            low, high = metrics["auroc_within_view_interval"] or (value, value)
            color = OURS if name.startswith("ours") else OTHERS
            axes.errorbar(value, place, xerr=[[value - low], [high - value]], fmt="o", color=color, capsize=3)
            axes.annotate(
                f"{value:.2f}" + ("" if score == "score" else f" ({score})"),
                (value, place),
                (0, 6),
                textcoords="offset points",
                fontsize=8,
            )
        axes.set_yticks(range(len(rows)), [name for name, _, _ in rows])
        axes.axvline(0.5, color="#cbd5e1", linewidth=1, zorder=0)
        axes.set_xlim(0.3, 1)
        axes.set_title(f"{label.replace('_', ' ')} against normal", fontsize=10)
        has_intervals = any(metrics["auroc_within_view_interval"] for _, _, metrics in rows)
        axes.set_xlabel("AUROC within view" + (", 95 % interval" if has_intervals else ""))
    if len(labels):
        panels[0].set_ylim(max(len(rows), 1) - 0.5, -0.8)  # the first on top, with room for its number
    return figure


def _select_best(scores: Mapping[str, dict]) -> tuple[str, dict]:
    """Return the score with the highest within-view AUROC of a method."""
    name = max(scores, key=lambda score: scores[score]["auroc_within_view"] or 0)
    return name, scores[name]


def plot_attribution_truth(result: Mapping, cases: pd.DataFrame) -> Figure:
    """Draw attributions against known causes.

    Left: how often each method names the group that was made extreme. Right: attributions of what is expected before
    the film is seen beside the oracle's, by group; both axes are linear within ±1 and logarithmic beyond. result,
    cases: of `explanation_truth.benchmark_explanations`.
    """
    figure = Figure(figsize=(11, 4.4), layout="constrained")
    bars, points = figure.subplots(1, 2, width_ratios=(1.2, 1))
    methods = {name: result[name]["top_1"] for name in METHOD_COLORS if result[name]["top_1"]}
    groups, width = list(next(iter(methods.values()))), 0.8 / len(methods)
    for place, (name, top) in enumerate(methods.items()):
        shares = [top[group]["share"] for group in groups]
        errors = [[abs(top[group]["share"] - top[group]["interval"][end]) for group in groups] for end in (0, 1)]
        at = [index + (place - (len(methods) - 1) / 2) * width for index in range(len(groups))]
        bars.bar(
            at,
            shares,
            width,
            yerr=errors,
            color=METHOD_COLORS[name],
            label=name.replace("_", " "),
            error_kw={"linewidth": 0.8},
        )
    bars.set_xticks(range(len(groups)), groups)
    bars.set_ylim(0, 1.05)
    bars.set_ylabel("share of films: extreme group named first")
    bars.legend(frameon=False, fontsize=8, ncols=3, loc="upper center", bbox_to_anchor=(0.5, 1.17))
    wide = (
        cases.pivot_table(index=["kind", "number", "group"], columns="method", values="value")
        .dropna(subset=["oracle"])
        .reset_index()
    )
    for color, (group, rows) in zip(GROUP_COLORS, wide.groupby("group"), strict=False):
        points.scatter(rows["oracle"], rows["prior"], s=10, alpha=0.7, color=color, label=group)
    for axes_scale in (points.set_xscale, points.set_yscale):
        axes_scale("symlog", linthresh=1)
    points.axhline(0, color="#cbd5e1", linewidth=1, zorder=0)
    points.axvline(0, color="#cbd5e1", linewidth=1, zorder=0)
    points.set_xlabel("the oracle's attribution")
    points.set_ylabel("the model's attribution (prior)")
    points.legend(frameon=False, fontsize=8)
    return figure
