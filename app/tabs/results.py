"""What an analysis changes on the Explore tab: its components, and the updates of them that handlers give."""

from __future__ import annotations

from dataclasses import dataclass, fields

import gradio as gr


@dataclass
class Results:
    """What an analysis changes on the page, one component a field; as a value, one update a field."""

    cancel: object = None
    status: object = None
    panel: object = None
    score: object = None
    compare: object = None
    heat: object = None
    heat_words: object = None
    attention: object = None
    numbers: object = None
    view: object = None
    explanation: object = None
    saved: object = None
    link: object = None

    def __post_init__(self) -> None:
        for field in fields(self):
            if getattr(self, field.name) is None:
                setattr(self, field.name, gr.skip())

    def row(self) -> list:
        return [getattr(self, field.name) for field in fields(self)]


def cleared(show: bool = False, **given) -> list:
    """Nothing shown but what is given, so that no result outlives its film or its record. show: keep the results'
    side open."""
    empty = dict(
        cancel=gr.update(visible=False),
        panel=gr.update(visible=show),
        score="",
        heat_words="",
        attention="",
        explanation="",
        link="",
    )
    empty |= {name: gr.update(value=None) for name in ("compare", "heat", "numbers", "view")}
    empty["saved"] = gr.update(value=None, visible=False)
    return Results(**{**empty, **given}).row()
