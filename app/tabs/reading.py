"""Tab: read first, then look. A film without a map; the reader marks what he sees; then normal film, map and truth.

Nothing is kept: the answers live in the state of the reader's page, and the CSV is written by the browser.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlencode

import gradio as gr

from diff3m.data.manifest import ManifestError
from diff3m.detector import Detector
from diff3m.imaging import RadiographError

from ..components.viewer import Finding, ViewerState, film_viewer, read_measurements
from ..components.widgets import ON_MODEL, SILENT
from ..render import panels
from ..runtime.gpu import on_gpu
from .case_set import MAX_SET, CaseSet, ReadingCase, SimulatedSet
from .lesson_tab import VIEWER_HEIGHT
from .reading_session import (
    CONFIDENCES,
    DEFAULT_CONFIDENCE,
    MAX_MARKS,
    FilmReading,
    Session,
    carry_confidences,
    film_sentences,
    model_marks,
    read_csv,
    report,
    table_csv,
)
from .teach_films import analyzed_film, plain_film, run_analysis

SIMULATED = "simulated"
VIEWER = "reading-viewer"
GUIDE = (
    "Mark what you see before the model speaks: **click** a place, or **drag** a rectangle, and say how sure you are. "
    "Some films are normal: mark nothing there. Every reader of a set sees the same films."
)
NO_SESSION = "Press **Start** first."
SCRIPT = Path(__file__).resolve().parents[2] / "assets" / "mark_tool.js"
MARK_TOOL = SCRIPT.read_text(encoding="utf-8")
DOWNLOAD = """(text) => {
  if (!text) return;
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type: "text/csv" }));
  link.download = "diff3m-reading.csv";
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}"""

Updates = dict[gr.components.Component, object]


@dataclass(frozen=True)
class ReadingTab:
    """The tab's components, and the sets of the teacher by name."""

    detector: Detector
    own_sets: Mapping[str, CaseSet]
    chosen: gr.Dropdown
    number: gr.Number
    link: gr.HTML
    start: gr.Button
    task: gr.Markdown
    confidences: tuple[gr.Radio, ...]
    submit: gr.Button
    proceed: gr.Button
    viewer: gr.HTML
    result: gr.HTML
    save: gr.Button
    table: gr.Textbox
    session: gr.State

    @property
    def outputs(self) -> list:
        return [
            self.chosen,
            self.number,
            self.link,
            self.task,
            *self.confidences,
            self.submit,
            self.proceed,
            self.viewer,
            self.result,
            self.save,
            self.session,
        ]

    def case_set(self, name: str) -> CaseSet:
        """The set of a name, such as "simulated-3" or a folder's. Raises ManifestError."""
        if name in self.own_sets:
            return self.own_sets[name]
        number = name.removeprefix(f"{SIMULATED}-")
        if name == f"{SIMULATED}-{number}" and number.isdigit() and 1 <= int(number) <= MAX_SET:
            return SimulatedSet(int(number), self.detector)
        raise ManifestError(f"There is no set {name[:40]!r} here. Choose a simulated set from 1 to {MAX_SET}.")

    def choose(self, name: str) -> Updates:
        """Choose the set that a link names; an unknown one gets a warning."""
        try:
            cases = self.case_set(name)
        except ManifestError as error:
            gr.Warning(str(error))
            return {}
        if isinstance(cases, SimulatedSet):
            return {self.chosen: SIMULATED, self.number: gr.update(value=cases.number, visible=True)}
        return {self.chosen: name}

    def error(self, text: str) -> Updates:
        return {self.result: panels.status(text, alert=True)}

    def show_film(self, session: Session) -> Updates:
        """Show the film that the session is at, without a map and without its truth."""
        cases = self.case_set(session.set_name)
        case = cases.case(session.index)
        title = f"### Film {session.index + 1} of {len(cases)}\n{case.question or 'What do you see?'}"
        state = ViewerState(
            plain_film(case.shown, f"Film {session.index + 1}", tags=case.tags), description="A film to be read"
        )
        return {
            self.session: replace(session, started=time.monotonic()),
            self.task: title,
            self.link: _link(session.set_name),
            self.viewer: state.to_value(),
            self.result: panels.status("Mark what you see; then press **Done**."),
            self.submit: gr.update(visible=True),
            self.proceed: gr.update(visible=False),
            self.save: gr.update(visible=False),
            **self.show_confidences(()),
        }

    def show_confidences(self, marks: Sequence) -> Updates:
        """A question for each mark."""
        return {
            radio: gr.update(visible=index < len(marks), value=marks[index].confidence if index < len(marks) else None)
            for index, radio in enumerate(self.confidences)
        }


def build_reading(detector: Detector, own_sets: Sequence[CaseSet] = ()) -> ReadingTab:
    """Lay the quiz out and wire it; called inside a Blocks.

    detector: of the simulated patients. own_sets: the teacher's, of whatever model.
    """
    tab = _build(detector, {cases.name: cases for cases in own_sets})
    mark_tool = dict(fn=None, js=MARK_TOOL, **SILENT)

    def start(values: Mapping) -> Updates:
        name = values[tab.chosen]
        name = f"{SIMULATED}-{int(values[tab.number] or 1)}" if name == SIMULATED else name
        try:
            return tab.show_film(Session(name))
        except (ManifestError, RadiographError) as error:
            return tab.error(str(error))

    def mark(values: Mapping, event: gr.EventData) -> Updates:
        session = values[tab.session]
        if session is None or session.revealed:
            return {tab.session: gr.skip()}
        try:
            measured = read_measurements({"version": event.version, "measurements": event.measurements})
        except ValueError as error:
            return tab.error(str(error))
        session = _with_radios(tab, session, values)
        marks = carry_confidences(session.marks, [entry.box for entry in measured if entry.kind == "rectangle"])
        return {tab.session: replace(session, marks=marks), **tab.show_confidences(marks)}

    def submit(values: Mapping) -> Iterator[Updates]:
        session = values[tab.session]
        if session is None or session.revealed:
            yield tab.error(NO_SESSION)
            return
        yield {tab.submit: gr.update(visible=False), tab.result: panels.status("The model is working …")}
        yield from _reveal(tab, _with_radios(tab, session, values))

    def proceed(session: Session | None) -> Updates:
        if session is None:
            return tab.error(NO_SESSION)
        if session.index + 1 < len(tab.case_set(session.set_name)):
            return tab.show_film(session.next_film(time.monotonic()))
        return {
            tab.task: "### The set is read",
            tab.result: report(session.films),
            tab.proceed: gr.update(visible=False),
            tab.save: gr.update(visible=True),
        }

    controls = {tab.session, *tab.confidences}
    tab.start.click(start, {tab.chosen, tab.number}, tab.outputs, **SILENT).then(**mark_tool)
    tab.viewer.measure(  # a mark that is moved is reported faster than it is answered: the last counts
        mark,
        controls,
        [tab.session, tab.result, *tab.confidences],
        queue=False,
        trigger_mode="always_last",
        **SILENT,
    )
    tab.submit.click(on_gpu(submit), controls, tab.outputs, **ON_MODEL)
    tab.proceed.click(proceed, tab.session, tab.outputs, **SILENT).then(**mark_tool)
    written = tab.save.click(_csv, tab.session, tab.table, **SILENT)
    written.then(None, tab.table, None, js=DOWNLOAD, **SILENT)
    tab.chosen.change(lambda name: gr.update(visible=name == SIMULATED), tab.chosen, tab.number, queue=False, **SILENT)
    return tab


def _build(detector: Detector, own_sets: Mapping[str, CaseSet]) -> ReadingTab:
    choices = [("Simulated films", SIMULATED), *((cases.title, name) for name, cases in own_sets.items())]
    with gr.Row(elem_classes="teach-row"):
        with gr.Column(scale=3, min_width=270):
            with gr.Row():
                chosen = gr.Dropdown(
                    choices, value=choices[-1][1], label="Films", min_width=130, elem_id="reading-set", scale=2
                )
                number = gr.Number(
                    1,
                    label="Set",
                    precision=0,
                    minimum=1,
                    maximum=MAX_SET,
                    min_width=70,
                    visible=not own_sets,
                    elem_id="reading-number",
                )
            start = gr.Button("Start", elem_id="reading-start")
            link = gr.HTML(elem_id="reading-link")
            task = gr.Markdown(GUIDE, elem_id="reading-task")
            confidences = tuple(
                gr.Radio(
                    list(CONFIDENCES.items()),
                    value=DEFAULT_CONFIDENCE,
                    label=f"Mark {index}: how sure are you?",
                    visible=False,
                    elem_id=f"reading-mark-{index}",
                )
                for index in range(1, MAX_MARKS + 1)
            )
            submit = gr.Button("Done", variant="primary", visible=False, elem_id="reading-submit")
            proceed = gr.Button("Next", variant="primary", visible=False, elem_id="reading-next")
            save = gr.Button("Save my reading (CSV)", visible=False, elem_id="reading-save")
            _build_class()
        with gr.Column(scale=6, min_width=320):
            viewer = film_viewer(ViewerState(), elem_id=VIEWER, height=VIEWER_HEIGHT)
        with gr.Column(scale=4, min_width=300):
            result = gr.HTML(elem_id="reading-result", elem_classes="teach-answer")
    table = gr.Textbox(visible=False)
    session = gr.State(None, time_to_live=3600)
    return ReadingTab(
        detector,
        own_sets,
        chosen,
        number,
        link,
        start,
        task,
        confidences,
        submit,
        proceed,
        viewer,
        result,
        save,
        table,
        session,
    )


def _build_class() -> None:
    """The curve of a whole class, from the tables that its readers saved."""
    with gr.Accordion("The class together", open=False):
        files = gr.File(
            label="Tables that readers saved: CSV",
            file_count="multiple",
            file_types=[".csv"],
            type="binary",
            height=110,
            elem_id="reading-class",
        )
        result = gr.HTML(elem_id="reading-class-result")

    def pool(tables: list[bytes] | None) -> str:
        try:
            films = [film for data in tables or [] for film in read_csv(data)]
        except ValueError as error:
            return panels.status(str(error), alert=True)
        return report(films, f"The class: {len(tables)} readers", "the class") if films else ""

    files.change(pool, files, result, **SILENT)


def _with_radios(tab: ReadingTab, session: Session, values: Mapping) -> Session:
    """The session with the confidences that the radios hold."""
    given = [values[radio] for radio in tab.confidences]
    marks = [
        replace(mark, confidence=float(confidence or mark.confidence))
        for mark, confidence in zip(session.marks, given, strict=False)
    ]
    return replace(session, marks=tuple(marks))


def _reveal(tab: ReadingTab, session: Session) -> Iterator[Updates]:
    """End the reading of a film: show its truth, its normal film and the map."""
    ended = time.monotonic()
    cases = tab.case_set(session.set_name)
    try:
        case = cases.case(session.index)
        analysis = run_analysis(cases.detector, case.film, case.record)
    except ValueError as error:
        yield tab.error(str(error)) | {tab.proceed: gr.update(visible=True)}
        return
    session = session.reveal(case, model_marks(analysis, cases.detector), ended)
    findings = tuple(Finding(f"{truth.label}, the truth", "", truth.box) for truth in case.truths)
    film = analyzed_film(
        case.shown, analysis, cases.detector, findings, name=f"Film {session.index + 1}", tags=case.tags
    )
    last = session.index + 1 == len(cases)
    yield {
        tab.session: session,
        tab.viewer: ViewerState(film, description="The film with its truth outlined").to_value(),
        tab.result: _feedback(session.films[-1], case),
        tab.proceed: gr.update(visible=True, value="See the result" if last else "Next film"),
    }


def _feedback(film: FilmReading, case: ReadingCase) -> str:
    sentences = [case.title, *film_sentences(film, case), case.answer]
    text = panels.notes([sentence for sentence in sentences if sentence])
    return f'<div class="card"><h3>The truth</h3>{text}</div>'


def _link(set_name: str) -> str:
    return f'<p class="quiet"><a href="?{urlencode({"read": set_name})}">Link to these films</a> (for your class)</p>'


def _csv(session: Session | None) -> str:
    return table_csv(session.set_name, session.films) if session and session.films else ""
