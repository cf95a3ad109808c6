"""Tab: what the record contributes. A quiz, lessons to project, a playground, and normals drawn for a record."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import gradio as gr

from diff3m.detector import Detector

from ..components.viewer import STATIC_FOLDER
from ..components.widgets import SILENT
from .case_set import read_case_set
from .drawing import build_drawing
from .lesson_tab import build_lessons
from .lessons import LESSONS
from .playground import build_playground
from .reading import build_reading
from .teach_films import PHANTOMS


def build_teach(
    detectors: Sequence[Detector], page: gr.Blocks, rooms: gr.Tabs, case_folders: Sequence[Path] = ()
) -> None:
    """Lay the tab out and wire it; called inside `page`. Lessons and playground need the phantoms' checkpoint.

    Parameters:
        rooms: the page's tabs, which a link opens at `teach`.
        case_folders: the teacher's own films, for the first checkpoint that did not learn from phantoms. Raises
            ManifestError for a folder that cannot be read.
    """
    gr.set_static_paths([STATIC_FOLDER])
    simulated = next((detector for detector in detectors if detector.config.name == PHANTOMS), None)
    if simulated is None:
        gr.Markdown(f"Lessons and playground need the checkpoint `{PHANTOMS}`, which this page was started without.")
        build_drawing(detectors)
        return
    own = next((detector for detector in detectors if detector is not simulated), simulated)
    own_sets = [read_case_set(folder, own) for folder in case_folders]
    with gr.Tabs(elem_id="teach") as tabs:
        with gr.Tab("Lessons", id="lessons"):
            lessons = build_lessons(simulated)
        with gr.Tab("Read first, then look", id="reading"):
            reading = build_reading(simulated, own_sets)
        with gr.Tab("Playground", id="playground") as playground:
            build_playground(simulated, playground)
        with gr.Tab("Draw normals", id="drawing"):
            build_drawing(detectors)

    def open_link(request: gr.Request) -> dict:
        """Show the lesson or choose the films that the address names.

        A lesson is always sent: a viewer on a tab that was never opened loses its properties if it is skipped.
        """
        lesson, films = (request.query_params.get(key, "") for key in ("lesson", "read"))
        tab = "lessons" if lesson in lessons.lessons else "reading" if films else ""
        update = lessons.show(lesson if tab == "lessons" else LESSONS[0].name)
        if tab == "reading":
            update |= reading.choose(films)
        return update | ({rooms: gr.Tabs(selected="teach"), tabs: gr.Tabs(selected=tab)} if tab else {})

    outputs = [rooms, tabs, *lessons.outputs, reading.chosen, reading.number]
    page.load(open_link, None, outputs, **SILENT)
