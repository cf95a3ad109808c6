"""What several cards share: sizes, thresholds of words, and two pictures of normal side by side."""

from __future__ import annotations

import html

import numpy as np

from diff3m.explain import Counterfactual
from diff3m.export.overlay import compute_full_color_limit, draw_signed

from .. import panels, wording
from ..images import Frame, picture_strip

FRAME_HEIGHT = 128  # pixels, of small pictures in a strip
NO_CHANGE = 0.002  # of the grey range: a smaller mean change of the picture is next to nothing


def two_normals_card(
    title: str, caption: str, result: Counterfactual, index: int, labels: tuple[str, str, str], aspect: float
) -> str:
    """Return a card with the film, normal under its record and under another one, and the difference.

    index: of the other record. labels: of the two normals and of the difference, other − own.
    """
    change = result.differences[index]
    full = max(compute_full_color_limit(change), 0.02)
    frames = [
        Frame(result.film, "the film"),
        Frame(result.reconstruction, labels[0]),
        Frame(result.reconstructions[index], labels[1]),
        Frame(draw_signed(change, full), f"{labels[2]}; full color at {wording.percent(full)}"),
    ]
    how = panels.small_text(
        "Both from the same noise, inverted under the record over all noise levels, so that only the record differs."
    )
    pictures = picture_strip(frames, 2 * FRAME_HEIGHT, aspect)
    return f'<div class="card"><h3>{html.escape(title)}</h3><p>{html.escape(caption)}</p>{pictures}{how}</div>'


def mean_change(change: np.ndarray) -> float:
    """Return the mean absolute change of a picture."""
    return float(np.abs(change).mean())
