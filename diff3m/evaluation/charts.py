"""Figures of measured results: numbers in, matplotlib Figure out."""

from __future__ import annotations

from collections.abc import Mapping

from matplotlib.figure import Figure

OURS, OTHERS = "#0f766e", "#64748b"


def comparison(labels: Mapping[str, dict]) -> Figure:
    """Within-view AUROC of every method's best score with its interval, a panel for each abnormal label of `films.compare`."""
    figure = Figure(figsize=(4.6 * max(1, len(labels)) + 1.6, 3.8), layout="constrained")
    panels = figure.subplots(1, max(1, len(labels)), sharey=True, squeeze=False)[0]
    for axes, (label, found) in zip(panels, labels.items(), strict=False):
        rows = [(name, *_best(scores)) for name, scores in found["methods"].items()]
        for place, (name, score, entry) in enumerate(rows):
            value, (low, high) = entry["auroc_within_view"], entry["auroc_within_view_interval"]
            color = OURS if name.startswith("ours") else OTHERS
            axes.errorbar(value, place, xerr=[[value - low], [high - value]], fmt="o", color=color, capsize=3)
            axes.annotate(
                f"{value:.2f}" + ("" if score == "score" else f" ({score})"), (value, place), (0, 6), textcoords="offset points", fontsize=8
            )
        axes.set_yticks(range(len(rows)), [name for name, _, _ in rows])
        axes.axvline(0.5, color="#cbd5e1", linewidth=1, zorder=0)
        axes.set_xlim(0.3, 1)
        axes.set_title(f"{label.replace('_', ' ')} against normal", fontsize=10)
        axes.set_xlabel("AUROC within view, 95 % interval")
    if len(labels):
        panels[0].invert_yaxis()
    return figure


def _best(scores: Mapping[str, dict]) -> tuple[str, dict]:
    """The score with the highest within-view AUROC of a method."""
    name = max(scores, key=lambda score: scores[score]["auroc_within_view"] or 0)
    return name, scores[name]
