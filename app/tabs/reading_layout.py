"""The components of "Read first, then look"."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import gradio as gr
from gradio.components import Component

from ..components.viewer import ViewerState, film_viewer
from .case_set import MAX_SET, CaseSet
from .reading_session import CONFIDENCES, DEFAULT_CONFIDENCE, MAX_MARKS
from .teach_films import FILM_HEIGHT

SIMULATED = "simulated"
VIEWER = "reading-viewer"
EMPTY = "Press Start: the first film appears here."
GUIDE = (
    "Mark what you see before the model speaks: **click** a place, or **drag** a rectangle, and say how sure you are. "
    "Some films are normal: mark nothing there. Every reader of a set sees the same films."
)


@dataclass(frozen=True)
class ReadingPage:
    """The components. `confidences` has one for each mark; `table` holds the CSV on its way to the browser."""

    set_name: gr.Dropdown
    number: gr.Number
    start: gr.Button
    link: gr.HTML
    task: gr.Markdown
    confidences: tuple[gr.Radio, ...]
    submit: gr.Button
    proceed: gr.Button
    finish: gr.Button
    save: gr.Button
    class_files: gr.File
    class_result: gr.HTML
    viewer: gr.HTML
    result: gr.HTML
    table: gr.Textbox
    session: gr.State

    @property
    def outputs(self) -> list[Component]:
        """Everything that the reading of a film changes."""
        constant = ("confidences", "start", "class_files", "class_result", "table")
        own = [getattr(self, field.name) for field in fields(self) if field.name not in constant]
        return [*own, *self.confidences]


def build_reading_page(own_sets: Mapping[str, CaseSet], is_simulated: bool) -> ReadingPage:
    """Lay the quiz out; called inside a Blocks.

    own_sets: the teacher's, by name. is_simulated: whether there are simulated sets too.
    """
    with gr.Row(elem_classes="teach-row"):
        with gr.Column(min_width=0, elem_classes="teach-question"):
            question = _build_question_column(own_sets, is_simulated)
        with gr.Column(min_width=0, elem_classes="teach-film"):
            viewer = film_viewer(ViewerState(description=EMPTY), elem_id=VIEWER, height=FILM_HEIGHT)
        with gr.Column(min_width=0, elem_classes="teach-result"):
            result = gr.HTML(elem_id="reading-result", elem_classes="teach-answer")
    return ReadingPage(
        **question,
        viewer=viewer,
        result=result,
        table=gr.Textbox(visible=False),
        session=gr.State(None, time_to_live=3600),
    )


def _build_question_column(own_sets: Mapping[str, CaseSet], is_simulated: bool) -> dict[str, Any]:
    choices = [(cases.title, name) for name, cases in own_sets.items()]
    if is_simulated:
        choices.append(("Simulated films", SIMULATED))
    with gr.Row():
        set_name = gr.Dropdown(
            choices, value=choices[0][1], label="Films", min_width=130, elem_id="reading-set", scale=2
        )
        number = gr.Number(
            1,
            label="Set",
            precision=0,
            minimum=1,
            maximum=MAX_SET,
            min_width=70,
            visible=choices[0][1] == SIMULATED,
            elem_id="reading-number",
        )
    start = gr.Button("Start", variant="primary", elem_id="reading-start")
    task = gr.Markdown(GUIDE, elem_id="reading-task")
    confidences = tuple(_build_confidence(number) for number in range(1, MAX_MARKS + 1))
    submit = gr.Button("Done", variant="primary", visible=False, elem_id="reading-submit")
    proceed = gr.Button("Next film", variant="primary", visible=False, elem_id="reading-next")
    finish = gr.Button("Stop here: see the result", size="sm", visible=False, elem_id="reading-finish")
    save = gr.Button("Save my reading (CSV)", visible=False, elem_id="reading-save")
    link = gr.HTML(elem_id="reading-link")
    with gr.Accordion("The class together", open=False, elem_id="reading-class-fold"):
        files = gr.File(
            label="Tables that readers saved: CSV",
            file_count="multiple",
            file_types=[".csv"],
            height=110,
            elem_id="reading-class",
        )
        class_result = gr.HTML(elem_id="reading-class-result")
    return dict(
        set_name=set_name,
        number=number,
        start=start,
        link=link,
        task=task,
        confidences=confidences,
        submit=submit,
        proceed=proceed,
        finish=finish,
        save=save,
        class_files=files,
        class_result=class_result,
    )


def _build_confidence(number: int) -> gr.Radio:
    return gr.Radio(
        list(CONFIDENCES.items()),
        value=DEFAULT_CONFIDENCE,
        label=f"Mark {number}: how sure are you?",
        visible=False,
        elem_id=f"reading-mark-{number}",
    )
