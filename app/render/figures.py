"""Figures: arrays and numbers in, matplotlib Figure out; and a Figure as inline SVG in the page's text color."""

from __future__ import annotations

import html
import io
import re
from collections.abc import Sequence

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from diff3m.analysis import format_percentile
from diff3m.explain import Influence
from diff3m.scoring.score import ANY_VIEW

from . import wording

TEXT = "#102030"  # replaced by the page's own text color in `inline_svg`
NORMAL, CASE, KNOWN, MISSING = "#7aa6c2", "#c2410c", "#0f766e", "#9ca3af"
SMALL_WIDTH, SMALL_HEIGHT = 280, 60  # CSS pixels of the histogram beside a percentile

STYLE = {
    "font.family": "sans-serif",
    "font.size": 10,
    "svg.fonttype": "none",
    "svg.hashsalt": "diff3m",
    "pdf.fonttype": 42,
    "axes.edgecolor": TEXT,
    "axes.labelcolor": TEXT,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": TEXT,
    "ytick.color": TEXT,
    "text.color": TEXT,
}
# of the whole process: a style for a while would be shared by threads that draw at the same time
matplotlib.rcParams.update(STYLE)


def score_histogram(scores: Sequence[float], score: float, percentile: float, view: str) -> Figure:
    """Draw scores of normal films of one view, with this film marked; a score beyond the axis is marked at its edge."""
    figure = Figure(figsize=(5.4, 2.6), layout="constrained")
    draw_histogram(figure.add_subplot(), scores, score, percentile, view)
    return figure


def draw_histogram(axes: Axes, scores: Sequence[float], score: float, percentile: float, view: str) -> None:
    """Draw `score_histogram` on given axes."""
    name = f"{view} " if view and view != ANY_VIEW else ""
    _draw_bars(axes, scores, score, f"{len(scores)} normal {name}films", f"this film, {score:+.2f}")
    axes.set_xlabel("score (0: an average normal film)")
    axes.set_ylabel("films")
    # above the bars, where no line can run through it
    title = f"percentile {format_percentile(percentile, len(scores))}"
    axes.legend(
        frameon=False, fontsize=9, title=title, title_fontsize=9, ncols=2, loc="lower center", bbox_to_anchor=(0.5, 1.0)
    )


def small_histogram(scores: Sequence[float], score: float) -> Figure:
    """Draw the same without axes, `SMALL_WIDTH` × `SMALL_HEIGHT` pixels, for the place beside a percentile.

    Show it by `inline_svg` with max_width=SMALL_WIDTH.
    """
    figure = Figure(figsize=(SMALL_WIDTH / 96, SMALL_HEIGHT / 96))  # a CSS pixel is 1/96 inch
    draw_small_histogram(figure.add_axes((0, 0.02, 1, 0.96)), scores, score)
    return figure


def draw_small_histogram(axes: Axes, scores: Sequence[float], score: float) -> None:
    """Draw `small_histogram` on given axes."""
    _draw_bars(axes, scores, score)
    axes.set_axis_off()
    axes.axhline(0, color=TEXT, linewidth=1)


def _draw_bars(axes: Axes, scores: Sequence[float], score: float, normal_label: str = "", own_label: str = "") -> None:
    """Draw the histogram and the line of this film, inside an axis that holds both or ends near the bars."""
    low, high = float(np.min(scores)), float(np.max(scores))
    right = max(high, min(score, high + 2 * (high - low))) + 0.08 * (high - low)
    left = min(low, max(score, low - (high - low))) - 0.08 * (high - low)
    axes.hist(scores, bins=24, color=NORMAL, label=normal_label)
    axes.axvline(float(np.clip(score, left, right)), color=CASE, linewidth=2.5, label=own_label)
    axes.set_xlim(left, right)


def roc_curve(scores: np.ndarray, abnormal: np.ndarray, views: np.ndarray) -> Figure:
    """Draw the receiver operating characteristic of all films and of each view that has both classes.

    scores: (N,). abnormal: (N,) bool. views: (N,) text.
    """
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
    """Draw attention by group, each of which sums to 1.

    groups: (label, weight, known) of each value, by group; unknown values are pale.
    """
    heights = [len(rows) + 0.9 for rows in groups.values()]
    figure = Figure(figsize=(5.4, 0.30 * sum(heights) + 0.5), layout="constrained")
    panels = figure.subplots(len(groups), 1, height_ratios=heights, sharex=True, squeeze=False)[:, 0]
    for axes, (group, rows) in zip(panels, groups.items(), strict=True):
        _draw_weights(axes, rows)
        axes.set_xlim(0, 1.08)
        axes.set_title(group, loc="left", fontsize=10, fontweight="bold")
    panels[-1].set_xlabel("attention weight (each group sums to 1)")
    return figure


def group_attention_bars(rows: list[tuple[str, float, bool]]) -> Figure:
    """Draw attention summed to explanation groups. rows: (label, weight, known); unknown groups are pale."""
    figure = Figure(figsize=(5.4, 0.34 * len(rows) + 0.8), layout="constrained")
    axes = figure.add_subplot()
    _draw_weights(axes, rows)
    axes.set_xlim(0, 1.12 * max(weight for _, weight, _ in rows))
    axes.set_xlabel("attention weight (pale: nothing known)")
    return figure


def _draw_weights(axes: Axes, rows: list[tuple[str, float, bool]]) -> None:
    """Draw (label, weight, known) as bars with their numbers, the first on top; unknown ones are pale."""
    names, weights, known = zip(*rows, strict=True)
    bars = axes.barh(range(len(rows)), weights, color=[KNOWN if flag else MISSING for flag in known], height=0.65)
    axes.bar_label(bars, [f"{weight:.2f}" for weight in weights], padding=3, fontsize=9)
    axes.set_yticks(range(len(rows)), names)
    axes.invert_yaxis()


def attribution_bars(
    values: dict[str, float],
    label: str = "explained by it  ◂   change of the misfit   ▸  contradicted by it",
    digits: int = 1,
) -> Figure:
    """Draw signed bars by group of the record.

    label: what the signs mean; below zero, explained by the record, above, contradicted by it. digits: after the point.
    """
    figure = Figure(figsize=(5.4, 0.34 * len(values) + 0.8), layout="constrained")
    axes = figure.add_subplot()
    names, amounts = list(values), np.array(list(values.values()))
    bars = axes.barh(
        range(len(names)), amounts, color=[KNOWN if amount <= 0 else CASE for amount in amounts], height=0.65
    )
    axes.bar_label(bars, [wording.signed(amount, digits) for amount in amounts], padding=3, fontsize=9)
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
    """Draw misfit, regional residual and, where there is one, score over the values of one number.

    The record's own value is marked, and values beyond training are shaded. label: of the number, with its unit.
    """
    rows = {"misfit of film\nand record": curve.misfit, "residual of\nthe region, %": 100 * curve.region}
    if curve.score is not None:
        rows["score"] = curve.score
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


def inline_svg(figure: Figure, alternative: str, max_width: int = 640) -> str:
    """Write a Figure as an <svg role="img"> in the page's text color, as wide as its place up to `max_width` pixels."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :].replace(TEXT, "currentColor")
    svg = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r'(<svg[^>]*?) width="[^"]*"', r'\1 width="100%"', svg, count=1)
    label = html.escape(alternative, quote=True)
    return svg.replace("<svg", f'<svg role="img" aria-label="{label}" style="max-width: {max_width}px"', 1)
