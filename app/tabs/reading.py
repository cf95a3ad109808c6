"""Tab: read first, then look. A film without a map; the reader marks what he sees; then normal film, map and truth.

Nothing is written to the server's disk: the answers live in the state of the reader's session, in memory, the CSV is
written by the browser, and the tables of a class are deleted as soon as they are counted.
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

from ..components.events import WORKING, Updates, Values
from ..components.viewer import ViewerState, read_measurements
from ..components.widgets import ON_MODEL, SILENT
from ..render import panels, wording
from ..runtime.gpu import on_gpu
from .case_set import MAX_SET, CaseSet, SimulatedSet
from .open_films import describe_error
from .reading_layout import SIMULATED, ReadingPage, build_reading_page
from .reading_report import format_csv, read_csv, report_html
from .reading_session import MAX_MARKS, ReadingSession, carry_confidences, describe_film, list_model_marks
from .teach_films import make_analyzed_film, make_plain_film, make_scroll_script
from .truth import make_truth_findings

NO_SESSION = "Press **Start** first."
MARK = "Mark what you see; then press **Done**. A normal film needs no mark."
TOO_MANY = f"Only the first {MAX_MARKS} marks count: remove one to make another."
NO_FILM_READ = "No film is read yet: press **Start**, mark what you see, and press **Done**."
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


@dataclass(frozen=True)
class ReadingTab:
    """The quiz: its components and what its events do.

    detector: of the simulated sets, None on a page without them. own_sets: the teacher's, by name.
    """

    page: ReadingPage
    detector: Detector | None
    own_sets: Mapping[str, CaseSet]

    # --- sets ---

    def get_case_set(self, name: str) -> CaseSet:
        """Return the set of a name, such as "simulated-3" or a folder's. Raises ManifestError."""
        if name in self.own_sets:
            return self.own_sets[name]
        number = name.removeprefix(f"{SIMULATED}-")
        is_number = name == f"{SIMULATED}-{number}" and number.isdecimal() and len(number) < 5
        if self.detector is not None and is_number and 1 <= int(number) <= MAX_SET:
            return SimulatedSet(int(number), self.detector)
        names = [*self.own_sets, *([f"{SIMULATED}-1 to {SIMULATED}-{MAX_SET}"] if self.detector else [])]
        raise ManifestError(f"There is no set {name[:40]!r} here. The sets are: {', '.join(names)}.")

    def choose(self, name: str) -> Updates:
        """Choose the set that a link names; an unknown one gets a warning."""
        try:
            cases = self.get_case_set(name)
        except ManifestError as error:
            gr.Warning(str(error))
            return {}
        if isinstance(cases, SimulatedSet):
            return {self.page.set_name: SIMULATED, self.page.number: gr.update(value=cases.number, visible=True)}
        return {self.page.set_name: name, self.page.number: gr.update(visible=False)}

    # --- films ---

    def start(self, values: Values) -> Updates:
        """Begin a set at its first film."""
        page, name = self.page, values[self.page.set_name]
        name = f"{SIMULATED}-{int(values[page.number] or 1)}" if name == SIMULATED else name
        return self.show_film(ReadingSession(name))

    def show_film(self, session: ReadingSession) -> Updates:
        """Show the film that the session is at, without a map and without its truth."""
        page, number = self.page, session.index + 1
        try:
            cases = self.get_case_set(session.set_name)
        except ManifestError as error:
            return self.show_error(str(error))
        try:
            case = cases.read_case(session.index)
        except ValueError as error:  # the file went since the start: the next film may be there
            buttons = {page.submit: gr.update(visible=False), page.proceed: gr.update(visible=True, value="Next film")}
            return self.show_error(str(error)) | {page.session: replace(session, is_revealed=True)} | buttons
        film = make_plain_film(case.pixels, f"Film {number}", tags=case.tags)
        return {
            page.session: replace(session, start=time.monotonic()),
            page.task: f"### Film {number} of {len(cases)}\n{case.question or 'What do you see?'}",
            page.link: _link(session.set_name),
            page.viewer: ViewerState(film, description="A film to be read").to_value(),
            page.result: panels.status_line(MARK),
            page.submit: gr.update(visible=True),
            page.proceed: gr.update(visible=False),
            page.finish: gr.update(visible=False),
            page.save: gr.update(visible=False),
            **self.show_confidences(()),
        }

    def mark(self, values: Values, event: gr.EventData) -> Updates:
        """Follow the marks that the viewer reports: a question for each."""
        session = values[self.page.session]
        if session is None or session.is_revealed:
            return {self.page.session: gr.skip()}
        try:
            measurements = read_measurements({"version": event.version, "measurements": event.measurements})
        except ValueError as error:
            return self.show_error(str(error))
        session = self.with_confidences(session, values)
        boxes = [entry.box for entry in measurements if entry.kind == "rectangle"]
        marks = carry_confidences(session.marks, boxes)
        too_many = len(boxes) > MAX_MARKS
        return {
            self.page.session: replace(session, marks=marks),
            self.page.result: panels.status_line(TOO_MANY if too_many else MARK, alert=too_many),
            **self.show_confidences(marks),
        }

    def submit(self, values: Values) -> Iterator[Updates]:
        """End the reading of a film: show its truth, its normal film and the map."""
        page, session = self.page, values[self.page.session]
        if session is None or session.is_revealed:
            yield self.show_error(NO_SESSION)
            return
        end = time.monotonic()
        yield {page.submit: gr.update(visible=False), page.result: panels.status_line(WORKING)}
        session = self.with_confidences(session, values)
        try:
            cases = self.get_case_set(session.set_name)
            case = cases.read_case(session.index)
            analysis = cases.analyze(session.index, case)
        except Exception as error:
            yield self.show_error(describe_error(error)) | {page.proceed: gr.update(visible=True)}
            return
        session = session.reveal(case, list_model_marks(analysis, cases.detector), end)
        name = f"Film {session.index + 1}"
        film = make_analyzed_film(
            case.pixels, analysis, cases.detector, make_truth_findings(case), name=name, tags=case.tags
        )
        sentences = [case.title, *describe_film(session.films[-1], case), case.answer]
        text = panels.note_list([sentence for sentence in sentences if sentence])
        is_last = session.index + 1 == len(cases)
        yield {
            page.session: session,
            page.viewer: ViewerState(film, description="The film with its truth outlined").to_value(),
            page.result: f'<div class="card"><h3>The truth</h3>{text}</div>',
            page.proceed: gr.update(visible=True, value="See the result" if is_last else "Next film"),
            page.finish: gr.update(visible=not is_last),
        }

    def proceed(self, session: ReadingSession | None) -> Updates:
        """Go on to the next film, or to the result after the last."""
        if session is None:
            return self.show_error(NO_SESSION)
        if session.index + 1 < len(self.get_case_set(session.set_name)):
            return self.show_film(session.next_film(time.monotonic()))
        return self.finish(session)

    def finish(self, session: ReadingSession | None) -> Updates:
        """Show what came of the films that were read."""
        page = self.page
        if session is None or not session.films:
            return self.show_error(NO_FILM_READ)
        return {
            page.task: f"### {wording.count_words(len(session.films), 'film').capitalize()} read",
            page.result: report_html({"you": session.films}),
            page.submit: gr.update(visible=False),
            page.proceed: gr.update(visible=False),
            page.finish: gr.update(visible=False),
            page.save: gr.update(visible=True),
            **self.show_confidences(()),
        }

    def pool(self, paths: Sequence[str] | None, session: ReadingSession | None) -> Updates:
        """Count the tables of a class, beside the reader's own films, and delete them from the server."""
        page, films = self.page, []
        try:
            for path in paths or ():
                films += read_csv(Path(path).read_bytes())
        except ValueError as error:
            return {page.class_result: panels.status_line(str(error), alert=True), page.class_files: None}
        finally:
            for path in paths or ():
                Path(path).unlink(missing_ok=True)
        own = {"you": session.films} if session and session.films else {}
        title = f"The class: {wording.count_words(len(paths or ()), 'reader')}"
        return {page.class_result: report_html({"the class": films, **own}, title), page.class_files: None}

    # --- parts ---

    def show_error(self, text: str) -> Updates:
        """Return a sentence beside the film."""
        return {self.page.result: panels.status_line(text, alert=True)}

    def show_confidences(self, marks: Sequence) -> Updates:
        """Return a question for each mark."""
        return {
            radio: gr.update(visible=index < len(marks), value=marks[index].confidence if index < len(marks) else None)
            for index, radio in enumerate(self.page.confidences)
        }

    def with_confidences(self, session: ReadingSession, values: Values) -> ReadingSession:
        """Return the session with the confidences that the reader chose."""
        confidences = [values[radio] for radio in self.page.confidences]
        marks = [
            replace(mark, confidence=float(confidence or mark.confidence))
            for mark, confidence in zip(session.marks, confidences, strict=False)
        ]
        return replace(session, marks=tuple(marks))


def build_reading(detector: Detector | None, own_sets: Sequence[CaseSet] = ()) -> ReadingTab:
    """Lay the quiz out and wire it; called inside a Blocks.

    detector: of the simulated patients. own_sets: the teacher's, of whatever model.
    """
    by_name = {cases.name: cases for cases in own_sets}
    page = build_reading_page(by_name, detector is not None)
    tab = ReadingTab(page, detector, by_name)
    mark_tool = dict(fn=None, js=MARK_TOOL, **SILENT)
    controls = {page.session, *page.confidences}
    # marks are reported faster than they are answered, and "always_last" would send the first report again
    marks = [page.session, page.result, *page.confidences]
    page.viewer.measure(tab.mark, controls, marks, trigger_mode="multiple", **SILENT)
    page.submit.click(None, js=make_scroll_script("reading-result"), **SILENT)
    submit = page.submit.click(on_gpu(tab.submit), controls, page.outputs, **ON_MODEL)
    start = page.start.click(tab.start, {page.set_name, page.number}, page.outputs, cancels=[submit], **SILENT)
    start.then(**mark_tool)
    page.proceed.click(tab.proceed, page.session, page.outputs, **SILENT).then(**mark_tool)
    page.finish.click(tab.finish, page.session, page.outputs, **SILENT)
    page.save.click(_format_csv, page.session, page.table, **SILENT).then(None, page.table, None, js=DOWNLOAD, **SILENT)
    page.class_files.upload(tab.pool, [page.class_files, page.session], [page.class_result, page.class_files], **SILENT)
    page.set_name.change(
        lambda name: gr.update(visible=name == SIMULATED), page.set_name, page.number, queue=False, **SILENT
    )
    return tab


def _link(set_name: str) -> str:
    return f'<p class="quiet"><a href="?{urlencode({"read": set_name})}">Link to these films</a> (for your class)</p>'


def _format_csv(session: ReadingSession | None) -> str:
    return format_csv(session.set_name, session.films) if session and session.films else ""
