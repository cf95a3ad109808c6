"""The pseudo-healthy picture and the score under the known, no and another record."""

from __future__ import annotations

import html

from diff3m.explain import Context
from diff3m.explain.three_records import ThreeRecords
from diff3m.export.overlay import compute_full_color_limit, draw_signed

from .. import panels, wording
from ..images import Frame, picture_strip
from .layout import FRAME_HEIGHT, NO_CHANGE, mean_change
from .registry import card

MIN_FULL_COLOR = 0.02  # of the grey range, so that a negligible change looks negligible
OF_INVERSION = (
    "Inversion keeps in the noise what a record does not explain, so the pictures differ little even where the scores "
    "move. "
)


@card("three_records")
def three_records_card(result: ThreeRecords, context: Context) -> str:
    """Return the card with the three pictures, their scores, and what the other records change."""
    caption = three_records_sentence(result)
    full = max(MIN_FULL_COLOR, *(compute_full_color_limit(change) for change in result.differences))
    names = ("record known", "record unknown", "another patient's record")
    frames = [
        Frame(image, _label(*row)) for image, *row in zip(result.reconstructions, names, result.scores, strict=True)
    ]
    frames += [
        Frame(draw_signed(change, full), f"{name}: change; full color at {wording.percent(full)}")
        for name, change in zip(names[1:], result.differences, strict=True)
    ]
    of_inversion = OF_INVERSION if context.detector.scoring.uses_inversion else ""
    how = panels.small_text(
        f"Normal films as in the analysis. {of_inversion}The other patient is mirrored: each "
        "known number as far from the average of training on the other side, each category the next one. All scores "
        "are against normals of the film's own view."
    )
    pictures = picture_strip(frames, 2 * FRAME_HEIGHT, context.case.aspect)
    return f'<div class="card"><p>{html.escape(caption)}</p>{pictures}{how}</div>'


def _label(name: str, score: float | None) -> str:
    return name if score is None else f"{name}: score {score:+.2f}"


def three_records_sentence(result: ThreeRecords) -> str:
    """Say in words what the other records change."""
    parts = []
    for name, change, score in zip(
        ("Without the record", "Under another patient's"), result.differences, result.scores[1:], strict=True
    ):
        size = mean_change(change)
        part = f"{name}, the normal film differs by {wording.percent(size)} of the grey range on average"
        part += " (next to nothing)" if size < NO_CHANGE else ""
        parts.append(
            part if score is None else f"{part} and the score by {wording.signed(score - result.scores[0], 2)}"
        )
    return ". ".join(parts) + "."
