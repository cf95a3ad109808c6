"""Tab Teach: lessons, a reading quiz, a playground and generated normal films."""

from __future__ import annotations

from collections.abc import Sequence

import gradio as gr

from diff3m.detector import Detector

from ..components.viewer import STATIC_FOLDER
from ..components.widgets import SILENT
from .drawing import build_drawing
from .folder_set import FolderSet
from .lessons import LESSONS
from .lessons.own import make_own_lessons
from .lessons.tab import build_lessons
from .playground import build_playground
from .reading import build_reading
from .teach_films import PHANTOMS


def select_films_detector(detectors: Sequence[Detector]) -> Detector:
    """Return the model for a teacher's own films: the first that did not learn from simulated patients, if any."""
    return next((detector for detector in detectors if detector.config.name != PHANTOMS), detectors[0])


def build_teach(
    detectors: Sequence[Detector], page: gr.Blocks, rooms: gr.Tabs, own_sets: Sequence[FolderSet] = ()
) -> None:
    """Lay the tab out and wire it; called inside `page`. The shipped lessons and the playground need the phantoms.

    rooms: the page's tabs, which a link opens at `teach`. own_sets: the teacher's films.
    """
    gr.set_static_paths([STATIC_FOLDER])
    phantom_detector = next((detector for detector in detectors if detector.config.name == PHANTOMS), None)
    lessons = [*make_own_lessons(own_sets), *(LESSONS if phantom_detector else ())]
    if phantom_detector is None:
        gr.Markdown(f"More lessons and the playground need the checkpoint `{PHANTOMS}`, which this page is without.")
    with gr.Tabs(elem_id="teach") as tabs:
        lesson_tab = reading_tab = None
        if lessons:
            with gr.Tab("Lessons", id="lessons"):
                lesson_tab = build_lessons(lessons, phantom_detector)
        if phantom_detector or own_sets:
            with gr.Tab("Read first, then look", id="reading"):
                reading_tab = build_reading(phantom_detector, own_sets)
        if phantom_detector:
            with gr.Tab("Playground", id="playground") as playground:
                build_playground(phantom_detector, playground)
        with gr.Tab("Draw normals", id="drawing"):
            build_drawing(detectors)

    def open_link(request: gr.Request) -> dict:
        """Show the lesson or choose the films that the address names.

        A lesson is always sent: a viewer on a tab that was never opened loses its properties if it is skipped.
        """
        lesson, films = (request.query_params.get(key, "") for key in ("lesson", "read"))
        updates: dict = {tabs: gr.skip()}
        opens_at = ""
        if lesson_tab:
            is_known = lesson in lesson_tab.lessons
            updates |= lesson_tab.show(lesson if is_known else lesson_tab.first)
            opens_at = "lessons" if is_known else ""
        if lesson and not opens_at:
            gr.Warning(f"There is no lesson {lesson[:60]!r} here. Choose one from the list.")
            opens_at = "lessons" if lesson_tab else ""
        if reading_tab and films and not opens_at:
            updates |= reading_tab.choose(films)
            opens_at = "reading"
        return updates | ({rooms: gr.Tabs(selected="teach"), tabs: gr.Tabs(selected=opens_at)} if opens_at else {})

    outputs = [rooms, tabs]
    outputs += lesson_tab.outputs if lesson_tab else []
    outputs += [reading_tab.page.set_name, reading_tab.page.number] if reading_tab else []
    page.load(open_link, None, outputs, **SILENT)
