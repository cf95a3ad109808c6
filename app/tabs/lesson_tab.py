"""Tab: lessons. The question, the film and the answer side by side, wide enough for a projector."""

from __future__ import annotations

import html
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import gradio as gr

from diff3m.detector import Detector

from ..components.viewer import film_viewer
from ..components.widgets import ON_MODEL, SILENT
from ..render import panels
from ..runtime.gpu import on_gpu
from .lessons import LESSONS, Lesson

VIEWER_HEIGHT = "clamp(360px, calc(100vh - 300px), 900px)"
WAITING = "Guess first; then press **Show the answer**."

Updates = dict[gr.components.Component, object]


@dataclass(frozen=True)
class LessonTab:
    """The tab's components, the lessons by name, and what a lesson changes on the page."""

    lessons: Mapping[str, Lesson]
    lesson: gr.Dropdown
    question: gr.Markdown
    guess: gr.Radio
    ask: gr.Button
    notes: gr.Markdown
    link: gr.HTML
    viewer: gr.HTML
    answer: gr.HTML

    @property
    def outputs(self) -> list:
        return [self.lesson, self.question, self.guess, self.notes, self.link, self.viewer, self.answer]

    def show(self, name: str) -> Updates:
        """Show a lesson's question, and no answer."""
        lesson = self.lessons[name]
        return {
            self.lesson: name,
            self.question: _question(lesson),
            self.guess: gr.Radio(choices=list(lesson.choices), value=None),
            self.notes: lesson.notes,
            self.link: _link(lesson),
            self.viewer: lesson.show().to_value(),
            self.answer: panels.status(WAITING),
        }


def build_lessons(detector: Detector) -> LessonTab:
    """Lay the lessons out and wire them; called inside a Blocks. detector: of the simulated patients."""
    lessons = {lesson.name: lesson for lesson in LESSONS}
    first = LESSONS[0]
    with gr.Row(elem_classes="teach-row"):
        with gr.Column(scale=3, min_width=270):
            lesson = gr.Dropdown(
                [(entry.title, entry.name) for entry in LESSONS], value=first.name, label="Lesson", elem_id="lesson"
            )
            question = gr.Markdown(_question(first), elem_id="lesson-question")
            guess = gr.Radio(list(first.choices), label="What does the class think?", elem_id="lesson-guess")
            ask = gr.Button("Show the answer", variant="primary", elem_id="lesson-ask")
            with gr.Accordion("Notes for the teacher", open=False, elem_id="lesson-notes"):
                notes = gr.Markdown(first.notes)
            link = gr.HTML(_link(first), elem_id="lesson-link")
        with gr.Column(scale=5, min_width=320):
            viewer = film_viewer(first.show(), elem_id="lesson-viewer", height=VIEWER_HEIGHT)
        with gr.Column(scale=5, min_width=320):
            answer = gr.HTML(panels.status(WAITING), elem_id="lesson-answer", elem_classes="teach-answer")
    tab = LessonTab(lessons, lesson, question, guess, ask, notes, link, viewer, answer)

    def tell(values: Mapping) -> Iterator[Updates]:
        guessed = values[guess]
        start = panels.quiet(f"The class thinks: {guessed}." if guessed else "No guess was made.")
        working, text = panels.status("The model is working …"), ""
        yield {answer: start + working}
        for step in lessons[values[lesson]].answer(detector):
            text = step.html
            shown = {} if step.state is None else {viewer: step.state.to_value()}
            yield {answer: start + text + working} | shown
        yield {answer: start + text}

    running = ask.click(on_gpu(tell), {lesson, guess}, [answer, viewer], **ON_MODEL)
    lesson.input(tab.show, lesson, tab.outputs, cancels=[running], **SILENT)
    return tab


def _question(lesson: Lesson) -> str:
    return f"## {lesson.title}\n{lesson.question}"


def _link(lesson: Lesson) -> str:
    return (
        f'<p class="quiet"><a href="?lesson={html.escape(lesson.name)}">Link to this lesson</a> (copy its address)</p>'
    )
