"""The influence of one number: its curves, and what normal looks like along it."""

from __future__ import annotations

import html
from collections.abc import Sequence

import numpy as np

from diff3m.ehr import HABITUS, Feature
from diff3m.explain import Context, Influence

from .. import figures, panels, wording
from ..images import Frame, picture_strip
from .layout import FRAME_HEIGHT
from .region import drop_repeated_region
from .registry import card

FLAT = 1.0  # of the misfit: a curve that moves less says nothing


@card("influence", "Influence of one number")
def influence_card(curves: Sequence[Influence], context: Context) -> str:
    """Return a card of curves for each number."""
    return "".join(_curve_card(curve, context) for curve in curves)


def _curve_card(curve: Influence, context: Context) -> str:
    feature = context.detector.schema[curve.feature]
    regions = drop_repeated_region(context.results.get("region", {}))
    place = next((name for name, region in regions.items() if region.box == curve.box), "")
    caption = influence_sentence(curve, feature, place)
    chart = figures.inline_svg(figures.influence_curve(curve, f"{feature.label} ({feature.unit})"), caption)
    how = panels.small_text(
        "Misfit: how badly film and record contradict each other. Residual: film minus what is expected. Shaded: "
        "more than two standard deviations from the average of the training films, where few or none were."
    )
    title = f"Influence of {html.escape(feature.label)}"
    return f'<div class="card"><h3>{title}</h3><p>{html.escape(caption)}</p>{chart}{how}</div>'


def influence_sentence(curve: Influence, feature: Feature, place: str = "") -> str:
    """Say where the film fits best, and how far region and score move. place: the region's zone, where it is known."""
    trained = (curve.values >= curve.trained[0]) & (curve.values <= curve.trained[1])
    beyond = "" if trained.any() else " All of these values are far from those of training."
    if not trained.any():
        trained[:] = True
    best = float(curve.values[trained][int(curve.misfit[trained].argmin())])
    fit = f"The film fits the record best near {best:.0f} {feature.unit}."
    if float(np.ptp(curve.misfit[trained])) < FLAT:
        fit = "The curve is nearly flat: this film says little about it."
    own = "" if curve.own is None else f" The record says {feature.describe(curve.own)}."
    change = wording.percent(float(np.ptp(curve.region[trained])))
    region = f" The difference at {place or 'the place that differs most'} moves by {change} of the grey range."
    score = "" if curve.score is None else f" The score moves by {float(np.ptp(curve.score[trained])):.2f}."
    others = " Everything else is held fixed"
    others += ", but weight and BMI follow each other." if feature.name in HABITUS else "."
    return f"{feature.label}: {fit}{own}{region}{score}{beyond}{others}"


@card("influence_strip")
def influence_strip_card(curves: Sequence[Influence], context: Context) -> str:
    """Return a card of pictures for each number."""
    return "".join(
        _strip_card(curve, context.detector.schema[curve.feature].label, context.case.aspect) for curve in curves
    )


def _strip_card(curve: Influence, label: str, aspect: float) -> str:
    frames = [
        Frame(image, f"{value:.0f}", f"What normal would look like at {label} {value:.0f}")
        for value, image in zip(curve.values, curve.reconstructions, strict=True)
    ]
    pictures = picture_strip(frames, FRAME_HEIGHT, aspect, tall=False)
    how = panels.small_text("What normal would look like for this person at each value, from the same noise.")
    return f'<div class="card"><h3>Normal along {html.escape(label)}</h3>{pictures}{how}</div>'
