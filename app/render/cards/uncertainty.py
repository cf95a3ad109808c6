"""How much the score and the heat map depend on the noise level and on the seed."""

from __future__ import annotations

import html

from diff3m.explain import Context, Uncertainty

from .. import panels, wording
from ..images import Frame, inline_image
from .layout import FRAME_HEIGHT
from .registry import card


@card("uncertainty", "How far score and map vary")
def uncertainty_card(result: Uncertainty, context: Context) -> str:
    """Return the card of the spread over noise levels and seeds."""
    levels = ", ".join(f"{level}: {value:+.2f}" for level, value in result.by_level.items())
    scores = list(result.by_seed.values())
    by_seed = (
        f"Over {len(scores)} seeds the score lies between {min(scores):+.2f} and {max(scores):+.2f}."
        if max(scores) > min(scores)
        else "The score does not depend on the seed."
    )
    scoring = context.detector.scoring
    which = "Largest" if scoring.combine == "max" else "Mean"
    text = f"{which} z-score of the residuals by noise level (0: an average normal film): {levels}. {by_seed}"
    mean = wording.percent(float(result.heat_spread.mean()))
    full = max(float(result.heat_spread.max()), 1e-6)
    how = panels.small_text(
        "The heat map's standard deviation over reconstructions from noise levels "
        f"{', '.join(map(str, result.heat_levels))} is {mean} of the grey range on average, {wording.percent(full)} "
        "where it is largest (white)."
        + (" Inversion draws no random noise: every seed gives the same map." if scoring.uses_inversion else "")
    )
    frame = Frame(result.heat_spread / full, "Where the heat map depends on the noise level")
    picture = inline_image(frame, 2 * FRAME_HEIGHT, context.case.aspect)
    text = f"<h3>How sure is the score?</h3><p>{html.escape(text)}</p>{how}"
    return f'<div class="card columns"><div>{text}</div><div>{picture}</div></div>'
