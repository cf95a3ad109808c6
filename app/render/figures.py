"""Figures: arrays and numbers in, matplotlib Figure out; and a Figure as inline SVG that follows the page's text color."""

from __future__ import annotations

import html
import io
import re
from collections.abc import Sequence

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from diff3m.explain import Influence
from diff3m.scoring.score import ANY_VIEW

TEXT = "#102030"  # replaced by the page's own text color in `inline_svg`
NORMAL, CASE, KNOWN, MISSING = "#7aa6c2", "#c2410c", "#0f766e", "#9ca3af"

STYLE = {
    "font.family": "sans-serif",
    "font.size": 10,
    "svg.fonttype": "none",
    "axes.edgecolor": TEXT,
    "axes.labelcolor": TEXT,
}
STYLE |= {
    "xtick.color": TEXT,
    "ytick.color": TEXT,
    "text.color": TEXT,
    "axes.spines.top": False,
    "axes.spines.right": False,
}
STYLE |= {"svg.hashsalt": "diff3m", "pdf.fonttype": 42}
matplotlib.rcParams.update(
    STYLE
)  # of the whole process: a style for a while would be shared by threads that draw at the same time


def score_histogram(scores: Sequence[float], score: float, percentile: int, view: str) -> Figure:
    """Scores of normal films of one view, with the case marked. A score beyond the axis is marked at its edge."""
    figure = Figure(figsize=(5.4, 2.6), layout="constrained")
    draw_histogram(figure.add_subplot(), scores, score, percentile, view)
    return figure


def draw_histogram(axes: Axes, scores: Sequence[float], score: float, percentile: int, view: str) -> None:
    """The same, on given axes."""
    low, high = float(np.min(scores)), float(np.max(scores))
    right = max(high, min(score, high + 2 * (high - low))) + 0.08 * (high - low)
    left = min(low, max(score, low - (high - low))) - 0.08 * (high - low)
    name = f"{view} " if view and view != ANY_VIEW else ""
    axes.hist(scores, bins=24, color=NORMAL, label=f"{len(scores)} normal {name}films")
    axes.axvline(float(np.clip(score, left, right)), color=CASE, linewidth=2.5, label=f"this film, {score:+.2f}")
    axes.set_xlim(left, right)
    axes.set_xlabel("anomaly score (standard deviations from the average normal film)")
    axes.set_ylabel("films")
    # above the bars, where no line can run through it
    title = f"percentile {percentile}"
    axes.legend(
        frameon=False, fontsize=9, title=title, title_fontsize=9, ncols=2, loc="lower center", bbox_to_anchor=(0.5, 1.0)
    )


def roc(scores: np.ndarray, abnormal: np.ndarray, views: np.ndarray) -> Figure:
    """Receiver operating characteristic of all films and of each view that has both kinds. scores (N,), abnormal (N,) bool, views (N,) text."""
    figure = Figure(figsize=(5.6, 3.6), layout="constrained")
    axes = figure.add_subplot()
    parts = {"all": np.ones(len(scores), bool)} | {view: views == view for view in np.unique(views[views != ""])}
    for (name, rows), color in zip(parts.items(), (TEXT, CASE, KNOWN), strict=False):
        flags = abnormal[rows][np.argsort(-scores[rows], kind="stable")]
        if flags.any() and not flags.all():
            hits, alarms = (np.concatenate([[0], np.cumsum(kind) / kind.sum()]) for kind in (flags, ~flags))
            axes.plot(alarms, hits, color=color, label=f"{name} ({rows.sum()} films)", linewidth=2)
    axes.plot([0, 1], [0, 1], color=MISSING, linewidth=1)
    axes.set_xlabel("share of normal films called abnormal")
    axes.set_ylabel("share of abnormal films found")
    axes.legend(frameon=False, fontsize=9, loc="lower right")
    return figure


def attention_bars(groups: dict[str, list[tuple[str, float, bool]]]) -> Figure:
    """Attention by group: {group: [(label, weight, known), …]}; unknown values are pale. Each group sums to 1."""
    heights = [len(rows) + 0.9 for rows in groups.values()]
    figure = Figure(figsize=(5.4, 0.30 * sum(heights) + 0.5), layout="constrained")
    panels = figure.subplots(len(groups), 1, height_ratios=heights, sharex=True, squeeze=False)[:, 0]
    for axes, (group, rows) in zip(panels, groups.items(), strict=True):
        names, weights, known = zip(*rows, strict=True)
        bars = axes.barh(range(len(rows)), weights, color=[KNOWN if flag else MISSING for flag in known], height=0.65)
        axes.bar_label(bars, [f"{weight:.2f}" for weight in weights], padding=3, fontsize=9)
        axes.set_yticks(range(len(rows)), names)
        axes.invert_yaxis()
        axes.set_xlim(0, 1.08)
        axes.set_title(group, loc="left", fontsize=10, fontweight="bold")
    panels[-1].set_xlabel("attention weight (each group sums to 1)")
    return figure


def attribution_bars(
    values: dict[str, float],
    label: str = "explained by it  ◂   change of the misfit   ▸  contradicted by it",
    digits: int = 1,
) -> Figure:
    """Signed bars by group, with what the signs mean as the label: below zero, explained by the record; above, contradicted by it."""
    figure = Figure(figsize=(5.4, 0.34 * len(values) + 0.8), layout="constrained")
    axes = figure.add_subplot()
    names, amounts = list(values), np.array(list(values.values()))
    bars = axes.barh(
        range(len(names)), amounts, color=[KNOWN if amount <= 0 else CASE for amount in amounts], height=0.65
    )
    axes.bar_label(bars, [f"{amount:+.{digits}f}" for amount in amounts], padding=3, fontsize=9)
    axes.axvline(0, color=TEXT, linewidth=0.8)
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    low, high = (
        min(-0.5, float(amounts.min(initial=0))),
        max(0.5, float(amounts.max(initial=0))),
    )  # so that next to nothing looks like it
    spare = 0.2 * (high - low)
    axes.set_xlim(low - spare, high + spare)
    axes.set_xlabel(label)
    return figure


def influence_curve(curve: Influence, label: str) -> Figure:
    """Misfit, regional residual and, where there is one, score over the values of one number; the record's value marked, values beyond training
    shaded."""
    rows = {"misfit of film\nand record": curve.misfit, "residual of\nthe region, %": 100 * curve.region}
    if curve.score is not None:
        rows["anomaly\nscore"] = curve.score
    figure = Figure(figsize=(5.4, 0.5 + 1.25 * len(rows)), layout="constrained")
    panels = figure.subplots(len(rows), 1, sharex=True)
    left, right = float(curve.values[0]), float(curve.values[-1])
    for axes, (name, values) in zip(panels, rows.items(), strict=True):
        axes.plot(curve.values, values, marker="o", color=KNOWN, linewidth=2)
        for start, end in ((left, curve.trained[0]), (curve.trained[1], right)):
            if end > start:
                axes.axvspan(start, end, color=MISSING, alpha=0.3, linewidth=0)
        if curve.own is not None:
            axes.axvline(curve.own, color=CASE, linewidth=2, label=f"the record: {curve.own:.4g}")
        low, high = float(np.min(values)), float(np.max(values))
        spare = max(0.15 * (high - low), 0.5)  # so that a curve that hardly moves looks flat
        axes.set_ylim(low - spare, high + spare)
        axes.set_ylabel(name)
    if curve.own is not None:
        panels[0].legend(frameon=False, fontsize=9)
    panels[0].set_xlim(left, right)
    panels[-1].set_xlabel(label)
    return figure


def inline_svg(figure: Figure, alternative: str) -> str:
    """A Figure as an <svg role="img"> with alternative text, as wide as its place, in the page's text color."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :].replace(TEXT, "currentColor")
    svg = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r'(<svg[^>]*?) width="[^"]*"', r'\1 width="100%"', svg, count=1)
    label = html.escape(alternative, quote=True)
    return svg.replace("<svg", f'<svg role="img" aria-label="{label}" style="max-width: 640px"', 1)
