"""Before analysis: what the gate saw of a film, and the tools to set it right or to go on knowingly."""

from __future__ import annotations

from dataclasses import dataclass, replace

import gradio as gr

from diff3m.imaging import Quality, Radiograph, corrected, inspect

from ..render import panels

MOST = 45  # percent that may be cut from a side
SIDES = ("Top", "Right", "Bottom", "Left")


@dataclass(frozen=True)
class Handling:
    """How a film is to be taken: quarter turns to the left, inverted, shares cut from top, right, bottom, left;
    accepted: analyze it whatever the gate says."""

    turn: int = 0
    negative: bool = False
    cut: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)
    accepted: bool = False

    def applied(self, film: Radiograph) -> Radiograph:
        """The film so taken. Raises RadiographError or ValueError."""
        return film if self.untouched else corrected(film, self.turn, self.negative, self.cut)

    @property
    def untouched(self) -> bool:
        return not (self.turn or self.negative or any(self.cut))

    def moved(self, turn: int = 0, negative: bool = False) -> Handling:
        """The same with a further turn or inversion."""
        return replace(self, turn=(self.turn + turn) % 4, negative=self.negative ^ negative)


@dataclass(frozen=True)
class FilmTools:
    """The components: handling (state), what was seen, the fold, the buttons, the consent, and the four shares to
    cut."""

    handling: gr.State
    seen: gr.HTML
    fold: gr.Accordion
    mend: gr.Button
    left: gr.Button
    right: gr.Button
    invert: gr.Button
    accept: gr.Checkbox
    cuts: tuple[gr.Slider, ...]

    @property
    def outputs(self) -> list[gr.components.Component]:
        return [self.handling, self.seen, self.fold, self.mend, self.accept, *self.cuts]


def build_film_tools(suffix: str) -> FilmTools:
    """Lay the tools out; called inside a Blocks."""
    handling = gr.State(Handling())
    seen = gr.HTML(elem_id=f"film-gate{suffix}")
    accept = gr.Checkbox(
        False, label="Go on knowingly: analyze this picture as it is", visible=False, elem_id=f"accept{suffix}"
    )
    with gr.Accordion("Turn, invert or crop the film", open=False, elem_id=f"film-tools{suffix}") as fold:
        mend = gr.Button("Set it right", variant="primary", visible=False, elem_id=f"mend{suffix}")
        with gr.Row():
            left = gr.Button("Turn left", size="sm", min_width=70, elem_id=f"turn-left{suffix}")
            right = gr.Button("Turn right", size="sm", min_width=70, elem_id=f"turn-right{suffix}")
            invert = gr.Button("Invert", size="sm", min_width=70, elem_id=f"invert{suffix}")
        cuts = []
        for pair in (SIDES[:2], SIDES[2:]):
            with gr.Row():
                cuts += [
                    gr.Slider(
                        0,
                        MOST,
                        0,
                        step=1,
                        label=f"{side}: cut (%)",
                        min_width=120,
                        elem_id=f"cut-{side.lower()}{suffix}",
                    )
                    for side in pair
                ]
    return FilmTools(handling, seen, fold, mend, left, right, invert, accept, tuple(cuts))


def updates(handling: Handling, quality: Quality | None) -> list:
    """What the tools show for a film that was looked at; None: no film."""
    cuts = [gr.update(value=round(100 * share)) for share in handling.cut]
    if quality is None:
        return [
            handling,
            "",
            gr.update(open=False),
            gr.update(visible=False),
            gr.update(visible=False, value=False),
            *cuts,
        ]
    stopped, mendable = bool(quality.reasons), bool(quality.turn or quality.negative)
    return [
        handling,
        panels.gate(quality, handling.accepted),
        gr.update(open=stopped or not handling.untouched),
        gr.update(visible=mendable),
        gr.update(visible=stopped, value=handling.accepted),
        *cuts,
    ]


def looked_at(film: Radiograph, handling: Handling) -> tuple[Radiograph, Quality]:
    """The film as it is to be taken, and what the gate sees of it. Raises RadiographError or ValueError."""
    taken = handling.applied(film)
    return taken, inspect(taken)
