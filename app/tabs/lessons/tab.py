"""Tab: lessons. The question, the film and the answer side by side, wide enough for a projector."""

from __future__ import annotations

import html
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlencode

import gradio as gr
from gradio.components import Component

from diff3m.detector import Detector

from ...components.events import WORKING, Updates, Values
from ...components.viewer import film_viewer
from ...components.widgets import ON_MODEL, SILENT, make_slider
from ...render import panels
from ...runtime.gpu import on_gpu
from ..open_films import describe_error
from ..teach_films import FILM_HEIGHT, make_scroll_script
from .lesson import Lesson, Setting

GUESS_FIRST, LOOK_FIRST = "Guess first; then press **Show the answer**.", "Look first; then press **Show the answer**."
NO_SETTING = Setting("Setting", 0.0, 1.0, 0.01, 0.0)


@dataclass(frozen=True)
class LessonTab:
    """The tab's components, the lessons by name, and what a lesson changes on the page.

    detector: of the simulated patients, None on a page without it. has_answer: whether the answer is on the page.
    """

    lessons: Mapping[str, Lesson]
    detector: Detector | None
    lesson: gr.Dropdown
    question: gr.Markdown
    setting: gr.Slider
    guess: gr.Radio
    ask: gr.Button
    notes_fold: gr.Accordion
    notes: gr.Markdown
    link: gr.HTML
    viewer: gr.HTML
    answer: gr.HTML
    has_answer: gr.State

    @property
    def outputs(self) -> list[Component]:
        """Everything that a lesson changes."""
        question = [self.lesson, self.question, self.setting, self.guess, self.notes_fold, self.notes, self.link]
        return [*question, self.viewer, self.answer, self.has_answer]

    @property
    def first(self) -> str:
        """Name of the lesson that the tab opens with."""
        return next(iter(self.lessons))

    def show(self, name: str) -> Updates:
        """Show a lesson's question, and no answer."""
        lesson = self.lessons[name]
        setting = lesson.setting or NO_SETTING
        scale = dict(minimum=setting.low, maximum=setting.high, step=setting.step, value=setting.value)
        return {
            self.lesson: name,
            self.question: _question(lesson),
            self.setting: gr.update(label=setting.label, visible=lesson.setting is not None, **scale),
            self.guess: gr.update(choices=list(lesson.choices), value=None, visible=bool(lesson.choices)),
            self.notes_fold: gr.update(visible=bool(lesson.notes)),
            self.notes: lesson.notes,
            self.link: _link(lesson),
            self.viewer: lesson.show(*_list_arguments(lesson, setting.value)).to_value(),
            self.answer: _waiting(lesson),
            self.has_answer: False,
        }

    def show_answer(self, values: Values) -> Iterator[Updates]:
        """Compute the answer, piece by piece."""
        lesson, guess = self.lessons[values[self.lesson]], values[self.guess]
        start = (
            panels.small_text(f"The class thinks: {guess}." if guess else "No guess was made.")
            if lesson.choices
            else ""
        )
        working, text = panels.status_line(WORKING), ""
        yield {self.answer: start + working}
        try:
            for step in lesson.answer(self.detector, *_list_arguments(lesson, values[self.setting])):
                text = step.html
                picture = {} if step.state is None else {self.viewer: step.state.to_value()}
                yield {self.answer: start + text + working} | picture
        except Exception as error:
            text += panels.status_line(describe_error(error), alert=True)
        yield {self.answer: start + text}

    def change_setting(self, values: Values) -> Iterator[Updates]:
        """Show the film at another setting, and the answer anew if there was one."""
        lesson = self.lessons[values[self.lesson]]
        if lesson.setting is None:
            yield {self.has_answer: gr.skip()}
            return
        yield {self.viewer: lesson.show(values[self.setting]).to_value()}
        if values[self.has_answer]:
            yield from self.show_answer(values)


def build_lessons(lessons: Sequence[Lesson], detector: Detector | None) -> LessonTab:
    """Lay the lessons out and wire them; called inside a Blocks. detector: of the simulated patients."""
    first = lessons[0]
    setting = first.setting or NO_SETTING
    with gr.Row(elem_classes="teach-row"):
        with gr.Column(min_width=0, elem_classes="teach-question"):
            lesson = gr.Dropdown(
                [(entry.title, entry.name) for entry in lessons], value=first.name, label="Lesson", elem_id="lesson"
            )
            question = gr.Markdown(_question(first), elem_id="lesson-question")
            strength = make_slider(
                setting.low,
                setting.high,
                setting.value,
                step=setting.step,
                label=setting.label,
                visible=first.setting is not None,
                elem_id="lesson-setting",
            )
            guess = gr.Radio(
                list(first.choices),
                label="What does the class think?",
                visible=bool(first.choices),
                elem_id="lesson-guess",
            )
            ask = gr.Button("Show the answer", variant="primary", elem_id="lesson-ask")
            fold = gr.Accordion("Notes for the teacher", open=False, visible=bool(first.notes), elem_id="lesson-notes")
            with fold:
                notes = gr.Markdown(first.notes)
            link = gr.HTML(_link(first), elem_id="lesson-link")
        with gr.Column(min_width=0, elem_classes="teach-film"):
            viewer = film_viewer(
                first.show(*_list_arguments(first, setting.value)), elem_id="lesson-viewer", height=FILM_HEIGHT
            )
        with gr.Column(min_width=0, elem_classes="teach-result"):
            answer = gr.HTML(_waiting(first), elem_id="lesson-answer", elem_classes="teach-answer")
    has_answer = gr.State(False)
    by_name = {entry.name: entry for entry in lessons}
    tab = LessonTab(
        by_name, detector, lesson, question, strength, guess, ask, fold, notes, link, viewer, answer, has_answer
    )
    _wire(tab)
    return tab


def _wire(tab: LessonTab) -> None:
    outputs = [tab.answer, tab.viewer, tab.has_answer]
    tab.ask.click(lambda: True, None, tab.has_answer, queue=False, **SILENT)
    question = {tab.lesson, tab.guess, tab.setting, tab.has_answer}
    tab.ask.click(None, js=make_scroll_script("lesson-answer"), **SILENT)
    answer = tab.ask.click(on_gpu(tab.show_answer), question, outputs, **ON_MODEL)
    # `change` also reports arrow keys and typed numbers; of many changes the last counts
    options = dict(trigger_mode="always_last", cancels=[answer], **ON_MODEL)
    update = tab.setting.change(on_gpu(tab.change_setting), question, outputs, **options)
    tab.lesson.input(tab.show, tab.lesson, tab.outputs, cancels=[answer, update], trigger_mode="multiple", **SILENT)


def _list_arguments(lesson: Lesson, setting: float) -> tuple[float, ...]:
    """Return the last argument of a lesson that has a setting."""
    return () if lesson.setting is None else (setting,)


def _waiting(lesson: Lesson) -> str:
    return panels.status_line(GUESS_FIRST if lesson.choices else LOOK_FIRST)


def _question(lesson: Lesson) -> str:
    return f"## {lesson.title}\n{lesson.question}"


def _link(lesson: Lesson) -> str:
    query = html.escape(urlencode({"lesson": lesson.name}))
    return f'<p class="quiet"><a href="?{query}">Link to this lesson</a> (copy its address)</p>'
