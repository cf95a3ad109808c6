"""Before the analysis: what the gate says of a film, and the tools to correct it or to go on knowingly."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import gradio as gr

from diff3m.imaging import Quality, Radiograph, edit_film, inspect

from ..render import panels

MAX_CUT = 45  # percent of a side
SIDES = ("Top", "Right", "Bottom", "Left")


@dataclass(frozen=True)
class Corrections:
    """Corrections of a film by hand.

    turn: quarter turns to the left. negative: whether it is inverted. cut: shares cut from top, right, bottom, left.
    accepted: whether it is analyzed whatever the gate says.
    """

    turn: int = 0
    negative: bool = False
    cut: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)
    accepted: bool = False

    def apply(self, film: Radiograph) -> Radiograph:
        """Return the corrected film. Raises RadiographError or ValueError."""
        return film if self.is_identity else edit_film(film, self.turn, self.negative, self.cut)

    @property
    def is_identity(self) -> bool:
        """Whether the film stays as its file has it."""
        return not (self.turn or self.negative or any(self.cut))

    def with_change(self, turn: int = 0, negative: bool = False) -> Corrections:
        """Return the same with a further turn or inversion."""
        return replace(self, turn=(self.turn + turn) % 4, negative=self.negative ^ negative)


@dataclass(frozen=True)
class FilmTools:
    """The components: what the gate says, its two buttons, the fold, its buttons, and the four shares to cut."""

    alert: gr.HTML
    actions: gr.Row
    correct: gr.Button
    accept: gr.Button
    fold: gr.Accordion
    left: gr.Button
    right: gr.Button
    invert: gr.Button
    cuts: tuple[gr.Slider, ...]

    @property
    def components(self) -> tuple[Any, ...]:
        """Everything that `show` changes."""
        return (self.alert, self.actions, self.correct, self.fold, *self.cuts)

    def show(self, corrections: Corrections, quality: Quality | None) -> dict[Any, Any]:
        """Update the tools for a film. quality: of the gate; None without a film, or for one that needs no gate."""
        stops = quality is not None and bool(quality.reasons)
        can_correct = quality is not None and bool(quality.turn or quality.negative)
        cuts = {slider: round(100 * share) for slider, share in zip(self.cuts, corrections.cut, strict=True)}
        return {
            self.alert: "" if quality is None else panels.gate_alert(quality, corrections.accepted),
            self.actions: gr.update(visible=stops and not corrections.accepted),
            self.correct: gr.update(visible=can_correct),
            **cuts,
        }


def build_film_tools() -> FilmTools:
    """Lay the tools out; called inside a Blocks."""
    alert = gr.HTML(elem_id="film-gate")
    with gr.Row(visible=False, elem_id="gate-actions") as actions:
        correct = gr.Button("Correct it", variant="primary", size="sm", min_width=60, elem_id="correct", visible=False)
        accept = gr.Button("Analyze as it is", size="sm", min_width=60, elem_id="accept")
    with gr.Accordion("Turn, invert or crop", open=False, visible=False, elem_id="film-tools") as fold:
        with gr.Row(elem_id="film-turns"):
            left = gr.Button("↺", size="sm", min_width=30, elem_id="turn-left")
            right = gr.Button("↻", size="sm", min_width=30, elem_id="turn-right")
            invert = gr.Button("Invert", size="sm", min_width=60, elem_id="invert")
        cuts = tuple(
            gr.Slider(0, MAX_CUT, 0, step=1, label=f"{side}: cut (%)", elem_id=f"cut-{side.lower()}") for side in SIDES
        )
    return FilmTools(alert, actions, correct, accept, fold, left, right, invert, cuts)


def correct_and_inspect(film: Radiograph, corrections: Corrections) -> tuple[Radiograph, Quality]:
    """Return the corrected film and its quality by the gate. Raises RadiographError or ValueError."""
    result = corrections.apply(film)
    return result, inspect(result)
