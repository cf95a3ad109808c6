"""How many bits the record carries about the film, and where."""

from __future__ import annotations

import html

import cv2

from diff3m.explain import Context, Information
from diff3m.export.overlay import compute_full_color_limit, draw_signed

from .. import panels, wording
from ..images import Frame, picture_strip
from .layout import FRAME_HEIGHT
from .registry import card

FEW_BITS = 2.0  # within the estimate's own noise
MAP_SIGMA = 3.0  # pixels of the Gaussian that the information map is shown after


@card("information", "How much the record tells of this film")
def information_card(result: Information, context: Context) -> str:
    """Return the card of the record's bits, beside where the film differs."""
    caption = information_sentence(result)
    smooth, residual = (cv2.GaussianBlur(image, (0, 0), MAP_SIGMA) for image in (result.map, result.residual))
    scale, full = (compute_full_color_limit(image) or 1.0 for image in (smooth, residual))
    frames = [
        Frame(draw_signed(smooth, scale), "where the record informs", "Map of where the record informs the picture"),
        Frame(
            draw_signed(residual, full),
            f"where the film differs; full color at {wording.percent(full)}",
            "Residual of the film under its record",
        ),
    ]
    how = panels.small_text(
        "Left, red: where the record helps to predict the picture; blue: where it misleads. Estimated from the "
        "denoising errors with and without the record over ten noise levels; differences of a bit or two are noise. "
        "Right, red: brighter than expected under the record, in one step; blue: darker. Where both are colored, "
        "the record speaks of the place that is out of the ordinary."
    )
    pictures = picture_strip(frames, 2 * FRAME_HEIGHT, context.case.aspect)
    return f'<div class="card"><h3>Where the record informs</h3><p>{html.escape(caption)}</p>{pictures}{how}</div>'


def information_sentence(result: Information) -> str:
    """Say in words how many bits the record saves."""
    groups = ", ".join(f"{name} {bits:.1f}" for name, bits in result.groups.items()) or "none is known"
    effect = "saves" if result.bits >= 0 else "costs"
    meaning = ""
    if result.bits < -FEW_BITS:
        meaning = " The record misleads the model here: the film is not what it predicts."
    elif result.bits <= FEW_BITS:
        meaning = " That is next to nothing."
    return (
        f"Knowing the record {effect} the model {abs(result.bits):.1f} bits in describing this film.{meaning} "
        f"Lost when one group alone is unknown: {groups}."
    )
