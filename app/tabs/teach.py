"""Tab: what the record contributes. A quiz, lessons to project, a playground, and normals drawn for a record."""

from __future__ import annotations

from collections.abc import Sequence

import gradio as gr

from diff3m.detector import Detector

from ..components.viewer import STATIC_FOLDER
from ..components.widgets import SILENT
from .drawing import build_drawing
from .lesson_tab import build_lessons
from .playground import build_playground
from .teach_films import PHANTOMS


def build_teach(detectors: Sequence[Detector], page: gr.Blocks, rooms: gr.Tabs) -> None:
    """Lay the tab out and wire it; called inside `page`. rooms: the page's tabs, which a link opens at `teach`.

    Lessons and playground need the phantoms' checkpoint.
    """
    gr.set_static_paths([STATIC_FOLDER])
    simulated = next((detector for detector in detectors if detector.config.name == PHANTOMS), None)
    if simulated is None:
        gr.Markdown(f"Lessons and playground need the checkpoint `{PHANTOMS}`, which this page was started without.")
        build_drawing(detectors)
        return
    with gr.Tabs(elem_id="teach") as tabs:
        with gr.Tab("Lessons", id="lessons"):
            lessons = build_lessons(simulated)
        with gr.Tab("Playground", id="playground") as playground:
            build_playground(simulated, playground)
        with gr.Tab("Draw normals", id="drawing"):
            build_drawing(detectors)

    def open_link(request: gr.Request) -> dict:
        """Show the lesson that the address names."""
        name = request.query_params.get("lesson", "")
        if name not in lessons.lessons:
            return {rooms: gr.skip()}
        return lessons.show(name) | {rooms: gr.Tabs(selected="teach"), tabs: gr.Tabs(selected="lessons")}

    page.load(open_link, None, [rooms, tabs, *lessons.outputs], **SILENT)
