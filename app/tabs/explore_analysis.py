"""What happens on the Explore tab from Analyze on: the analysis streams, is explained, cancelled and saved."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass

import gradio as gr
import numpy as np

from diff3m.case import Case
from diff3m.detector import Detector
from diff3m.diffusion import Progress
from diff3m.explain import Box, Context, Request
from diff3m.explain.attribution import TARGETS
from diff3m.findings import find_findings
from diff3m.imaging import with_quality

from .. import explain_stream
from ..components import film_pictures
from ..components.viewer import Status, read_measurements
from ..render import panels, report, wording
from ..runtime.model_lock import MODEL
from ..runtime.storage import keep_file
from ..runtime.streaming import Done, stream
from .explore_handlers import NO_FILM, STOPPED_BY_GATE, Opening, Updates, Values, read_file, with_result
from .session import OpenFilm, Session

WAITING = "Waiting for its turn …"
OTHER_RECORD = (
    "The record was changed since the result was computed: this explains the film under the record as it is now."
)
NO_RESULT = "There is no result yet: press **Analyze** first."
OUTSIDE = "The rectangle lies beside what the model sees of the film. Draw it over the chest."
RECTANGLE = "Your rectangle"
PREVIEW_EVERY = 2  # denoising steps from one picture to the next


@dataclass(frozen=True)
class Estimate:
    """An early estimate of the normal film, (S, S) in [0, 1]."""

    normal: np.ndarray


class Analyzing(Opening):
    """Handlers that need the model. Generators yield {component: value} as they go on."""

    def analyze(self, values: Values) -> Generator[Updates, None, None]:
        """Stream the analysis of all open films: an early estimate, the forming normal film, then the result."""
        screen, session = self.screen, values[self.screen.session]
        if session.film is None or session.stopped:
            yield self.fail(session, NO_FILM if session.film is None else STOPPED_BY_GATE)
            return
        try:
            cases = [self.case(values, index) for index in range(len(session.films))]
            form = screen.parts[session.model].form
            complete = form.complete(values, cases[0].record)
            yield {**form.mark(), **complete, **self.working(session, Status(WAITING))}
            settings = dict(
                noise_level=int(values[screen.level]),
                steps=int(values[screen.steps]),
                seed=int(values[screen.seed] or 0),
            )
            started = time.perf_counter()
            for index, case in enumerate(cases):
                session = yield from self._analyze_one(session, index, case, settings)
            yield self.show(session, f"Done in {time.perf_counter() - started:.1f} s.")
        except Exception as error:
            yield self.fail(values[screen.session], error)

    def _analyze_one(
        self, session: Session, index: int, case: Case, settings: dict
    ) -> Generator[Updates, None, Session]:
        """Analyze one of the open films; returns the session with its result."""
        film, part = session.films[index], self.screen.parts[session.model]
        shown: list = [None, None]
        started = time.perf_counter()
        for event in stream(lambda callback: estimate_and_analyze(part.detector, case, callback, settings)):
            if isinstance(event, Done):
                return session.with_film(index, with_result(film, event.value, case, part))
            status = Status("First estimate of what is normal", 0.0)
            if isinstance(event, Estimate):
                shown[index] = film_pictures.forming_normal(event.normal, case, film.shown, part.detector.scoring)
            else:
                status = progress_status(event, time.perf_counter() - started)
                if event.preview is not None and event.done % PREVIEW_EVERY == 0:
                    estimate = event.preview[0, 0].float().cpu().numpy()
                    scoring = part.detector.scoring
                    shown[index] = film_pictures.forming_normal(estimate, case, film.shown, scoring)
            yield self.working(session, status, tuple(shown))
        raise RuntimeError("an analysis ended without a result")

    def working(self, session: Session, status: Status, pictures: tuple = ()) -> Updates:
        """While the model works: Analyze has become progress and Cancel; the result that is there stays."""
        screen = self.screen
        return {
            screen.viewer: session.viewer_value(status, pictures),
            screen.status: panels.progress_line(status.text, status.share),
            screen.analyze: gr.update(visible=False),
            screen.cancel: gr.update(visible=True),
        }

    def case(self, values: Values, index: int = 0) -> Case:
        """A film that is open with the form's record. Raises RadiographError or EHRError.

        The second film has the first one's record, but for what its own header says.
        """
        session = values[self.screen.session]
        film, part = session.films[index], self.screen.parts[session.model]
        radiograph = with_quality(film.handling.apply(read_file(film.path)), film.quality)
        record = part.form.read(values)
        if index:
            own = {name: value for name, value in radiograph.facts.items() if name in record}
            record |= own
        if film.picture.film.exists():
            os.utime(film.picture.film)
        else:  # swept meanwhile
            film_pictures.film_picture(radiograph, film.name, part.detector.config.preprocessing.size)
        return part.detector.case(radiograph, record)

    def accept_and_analyze(self, values: Values) -> Generator[Updates, None, None]:
        """Go on with a film that the gate stops, and analyze it."""
        accepted = self.accept(values)
        yield accepted
        if self.screen.session in accepted:
            yield from self.analyze({**values, self.screen.session: accepted[self.screen.session]})

    def follow(self, values: Values) -> Generator[Updates, None, None]:
        """After an example was opened by a link: analyze it, unless its result is there already."""
        film = values[self.screen.session].film
        if film is None or film.analysis is not None:
            yield self.no_change
            return
        yield from self.analyze(values)

    def on_notice(self, values: Values, event: gr.EventData) -> Generator[Updates, None, None]:
        """A button of the message over the film was pressed."""
        if event.id == "correct":
            yield self.correct(values)
            return
        yield from self.accept_and_analyze(values)

    def cancel(self, values: Values) -> Updates:
        """Stop what runs; films, record, result and what was explained stay."""
        session = values[self.screen.session]
        shown = self.show(session, "Stopped.")
        for component in (self.screen.explanation, self.screen.record_summary, self.screen.saved):
            shown.pop(component)
        return shown

    # --- explanations ---

    def explain(self, values: Values) -> Generator[Updates, None, None]:
        """Stream what the record changed."""
        part = self.screen.part(values)
        number, feature = values[part.number], values[part.feature]
        request = Request(
            targets=TARGETS,
            numbers=(number,) if number else (),
            changes=((feature, values[part.value]),) if feature else (),
        )
        yield from self._explain(values, lambda case: request, None)

    def explain_region(self, values: Values, event: gr.EventData) -> Generator[Updates, None, None]:
        """Stream what the record explains of a rectangle that was drawn on a film."""
        index, box = int(event.film), tuple(float(edge) for edge in event.box)

        def ask(case: Case) -> Request:
            return Request(regions=((RECTANGLE, region_box(box, case)),), pictures=False)

        yield from self._explain(values, ask, ("region",), index)

    def _explain(
        self,
        values: Values,
        ask: Callable[[Case], Request],
        names: Iterable[str] | None,
        index: int = 0,
    ) -> Generator[Updates, None, None]:
        screen, session = self.screen, values[self.screen.session]
        if len(session.films) <= index or session.stopped:
            yield self.fail(session, STOPPED_BY_GATE if session.stopped else NO_FILM)
            return
        try:
            detector = screen.parts[session.model].detector
            case = self.case(values, index)
            context = Context(detector, case, ask(case))
            yield {screen.explanation: "", **self.working(session, Status(WAITING))}
            started = time.perf_counter()
            start = explanation_start(session.films[index], case, detector)
            for doing, page in explain_stream.explanation_cards(context, names):
                if doing:
                    progress = self.working(session, Status(doing))
                    yield {screen.explanation: start + page, **progress}
                    continue
                done = self.cancel(values)
                done[screen.status] = panels.status(f"Explained in {time.perf_counter() - started:.1f} s.")
                summary = explain_stream.summary(context)
                yield {**done, screen.explanation: start + page, screen.record_summary: panels.summary(summary)}
        except Exception as error:
            yield self.fail(session, error)

    # --- files ---

    def save(self, values: Values) -> Updates:
        """Write the files of the first film's result, with what was measured on it."""
        screen, session = self.screen, values[self.screen.session]
        film = session.film
        if film is None or film.analysis is None:
            return {screen.status: panels.status(NO_RESULT, alert=True)}
        try:
            measured = [entry for entry in read_measurements(values[screen.measured]) if entry.film == 0]
        except ValueError as error:
            return {screen.status: panels.status(str(error), alert=True)}
        detector = screen.parts[session.model].detector
        analysis, case = film.analysis, film.analysis.case
        findings = find_findings(analysis, case, detector.scoring)
        sentences = [entry.text for entry in measured]
        files = report.result_files(report.Report(analysis, case, findings, detector, sentences))
        alone = {f"diff3m-{name}": data for name, data in files.items() if name.endswith((".pdf", ".dcm"))}
        paths = [
            str(keep_file(name, data)) for name, data in {"diff3m-result.zip": report.zip_files(files), **alone}.items()
        ]
        return {
            screen.saved: gr.update(value=paths, visible=True),
            screen.status: panels.status("The files are ready beside the film."),
        }


def estimate_and_analyze(detector: Detector, case: Case, callback: Callable, settings: dict) -> object:
    """Report an estimate of the normal film in one step, then analyze, all in one turn of the model."""
    with MODEL.turn():
        callback(Estimate(first_estimate(detector, case, settings["noise_level"], settings["seed"])))
        return detector.analyze(case, callback=callback, **settings)


def first_estimate(detector: Detector, case: Case, level: int, seed: int) -> np.ndarray:
    """Estimate the normal film in one step: (S, S) float32 in [0, 1]."""
    x0 = detector.inputs([case])
    condition = detector.condition(x0, [case.record], attention=False)
    with detector.autocast():
        estimate = detector.one_step_estimate(x0, condition, level, detector.settings(noise_level=level, seed=seed))
    return estimate[0, 0].float().cpu().numpy()


def progress_status(event: Progress, seconds: float) -> Status:
    """How far an analysis is. seconds: since it began."""
    left = seconds / max(event.done, 1) * (event.total - event.done)
    return Status(f"Drawing what is normal, about {left:.0f} s left", event.done / event.total)


def region_box(box: tuple[float, ...], case: Case) -> Box:
    """A rectangle of the film as one of what the model sees. Raises ValueError where they do not meet."""
    top, left, bottom, right = film_pictures.box_in_prepared(box, case.prepared, case.film.pixels.shape)
    if bottom <= top or right <= left:
        raise ValueError(OUTSIDE)
    return top, left, bottom, right


def explanation_start(film: OpenFilm, case: Case, detector: Detector) -> str:
    """What stands over the explanations: of which record they are."""
    known = {name: value for name, value in case.record.items() if detector.schema[name].trained}
    changed = film.analysis is not None and film.analysis.record != case.record
    sentence = wording.explained_record(known, detector.schema)
    return (panels.notes([OTHER_RECORD]) if changed else "") + panels.quiet(sentence)
