"""Handlers of the Explore tab for the analysis: it streams, can be stopped, and its result can be saved."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass, replace

import gradio as gr
import numpy as np

from diff3m.analysis import Analysis
from diff3m.case import Case
from diff3m.detector import Detector
from diff3m.diffusion import Progress
from diff3m.explain import Need, WithoutRecord, analyze_without_record, meets
from diff3m.imaging import with_quality

from ..components import film_pictures
from ..components.events import WAITING, Updates, Values
from ..components.viewer import Status, ViewerFilm, read_measurements
from ..render import panels, report, wording
from ..runtime.model_thread import MODEL
from ..runtime.runs import Run
from ..runtime.storage import store_file
from ..runtime.streaming import Cancelled, Done, stream
from .explore_handlers import NO_FILM, STOPPED_BY_GATE, FilmHandlers
from .open_films import add_result, read_file
from .session import Session

STOPPED = "Stopped."
NO_RESULT = "There is no result yet: press **Analyze** first."
PREVIEW_EVERY = 2  # denoising steps from one picture to the next


@dataclass(frozen=True)
class Estimate:
    """An early estimate of the normal film, (S, S) in [0, 1]."""

    normal: np.ndarray


class AnalysisHandlers(FilmHandlers):
    """Handlers that need the model. Generators yield {component: value} as they go on."""

    def follow_run(
        self, values: Values, steps: Callable[[Run], Generator[Updates, None, None]]
    ) -> Generator[Updates, None, None]:
        """Begin a run and yield its updates for as long as it is the newest.

        The last update of a stopped run says that it was stopped; a run that was replaced sends no further update.
        """
        session, run = values[self.screen.session], values[self.screen.runs].start()
        try:
            for updates in steps(run):
                if not run.is_wanted:
                    raise Cancelled
                yield updates
        except Cancelled:
            if run.is_current:
                yield self.show_run_end(session, STOPPED)
        except Exception as error:
            if run.is_current:
                yield self.show_error(session, error)

    def analyze(self, values: Values) -> Generator[Updates, None, None]:
        """Stream the analysis of all open films: an early estimate, the forming normal film, then the result."""
        session = values[self.screen.session]
        if session.film is None or session.stopped:
            yield self.show_error(session, NO_FILM if session.film is None else STOPPED_BY_GATE)
            return
        yield from self.follow_run(values, lambda run: self._analyze(values, run))

    def _analyze(self, values: Values, run: Run) -> Generator[Updates, None, None]:
        screen, session = self.screen, values[self.screen.session]
        cases = [self.prepare_case(values, index) for index in range(len(session.films))]
        form = screen.parts[session.model].form
        complete = form.complete(values, cases[0].record)
        yield {**form.mark(), **complete, **self.show_progress(session, Status(WAITING))}
        settings = dict(
            noise_level=int(values[screen.level]),
            steps=int(values[screen.steps]),
            seed=int(values[screen.seed] or 0),
        )
        start = time.perf_counter()
        for index, case in enumerate(cases):
            session = yield from self._analyze_one(session, index, case, settings, run)
        yield self.show_result(session, f"Done in {time.perf_counter() - start:.1f} s.")
        yield from self._add_record_effect(session, run)

    def add_record_effect(self, values: Values) -> Generator[Updates, None, None]:
        """Add to the verdict of a stored result what its record changed."""
        session = values[self.screen.session]
        if session.film is None or session.film.analysis is None or session.film.record_effect:
            yield self.no_change
            return
        yield from self.follow_run(values, lambda run: self._add_record_effect(session, run))

    def _add_record_effect(self, session: Session, run: Run) -> Generator[Updates, None, None]:
        """Analyze the first film without its record too, where the model uses any of it."""
        film, detector = session.film, self.screen.parts[session.model].detector
        if film is None or film.analysis is None or not can_compare(detector, film.analysis):
            return
        analysis = film.analysis

        def work(callback: Callable) -> WithoutRecord:
            return MODEL.run(lambda: analyze_without_record(detector, analysis))

        for event in stream(work, lambda: run.is_wanted):
            if isinstance(event, Done):
                sentence = wording.without_record_sentence(analysis, event.value)
                session = session.with_film(0, replace(film, record_effect=sentence))
                yield {self.screen.session: session, self.screen.verdict: self.verdict_html(session)}

    def _analyze_one(
        self, session: Session, index: int, case: Case, settings: dict, run: Run
    ) -> Generator[Updates, None, Session]:
        """Analyze one of the open films; returns the session with its result."""
        film, part = session.films[index], self.screen.parts[session.model]
        pictures: list[ViewerFilm | None] = [None, None]
        scoring = part.detector.scoring
        start = time.perf_counter()

        def work(callback: Callable) -> Analysis:
            return estimate_and_analyze(part.detector, case, callback, settings)

        for event in stream(work, lambda: run.is_wanted):
            if isinstance(event, Done):
                result = add_result(film, event.value, case, part.detector, part.examples)
                return session.with_film(index, result)
            status = Status("First estimate of what is normal", 0.0)
            if isinstance(event, Estimate):
                pictures[index] = film_pictures.add_forming_normal(event.normal, case, film.viewer_film, scoring)
            else:
                status = make_progress_status(event, time.perf_counter() - start)
                if event.preview is not None and event.done % PREVIEW_EVERY == 0:
                    estimate = event.preview[0, 0].float().cpu().numpy()
                    pictures[index] = film_pictures.add_forming_normal(estimate, case, film.viewer_film, scoring)
            yield self.show_progress(session, status, tuple(pictures))
        raise RuntimeError("an analysis ended without a result")

    def show_progress(self, session: Session, status: Status, pictures: tuple = ()) -> Updates:
        """Return the page while the model works: Analyze has become progress and Cancel; the result there stays."""
        screen = self.screen
        return {
            screen.viewer: session.viewer_value(status, pictures),
            screen.status: panels.progress_line(status.text, status.share),
            screen.analyze: gr.update(visible="hidden"),
            screen.cancel: gr.update(visible=True),
        }

    def show_run_end(self, session: Session, status: str) -> Updates:
        """Return the page after a run; films, record, result and explanations stay."""
        screen, updates = self.screen, self.show_result(session, status)
        for component in (screen.explanation, screen.record_summary, screen.files):
            updates.pop(component)
        return updates

    def prepare_case(self, values: Values, index: int = 0) -> Case:
        """Return a film that is open with the form's record. Raises RadiographError or EHRError.

        The second film has the first one's record, but for what its own header says.
        """
        session = values[self.screen.session]
        film, part = session.films[index], self.screen.parts[session.model]
        radiograph = with_quality(film.corrections.apply(read_file(film.path)), film.quality)
        record = part.form.read(values)
        if index:
            record |= {name: value for name, value in radiograph.facts.items() if name in record}
        if film.picture.film.exists():
            os.utime(film.picture.film)
        else:  # deleted meanwhile
            film_pictures.make_film_picture(radiograph, film.name, part.detector.config.preprocessing.size)
        return part.detector.case(radiograph, record)

    def accept_and_analyze(self, values: Values) -> Generator[Updates, None, None]:
        """Go on with a film that the gate stops, and analyze it."""
        film = values[self.screen.session].stopped
        if film is None:
            yield self.no_change
            return
        updates = self.reread(values, replace(film.corrections, accepted=True))
        yield updates
        yield from self.analyze({**values, self.screen.session: updates[self.screen.session]})

    def follow_link(self, values: Values) -> Generator[Updates, None, None]:
        """After an example was opened by a link: analyze it, unless its result is there already."""
        film = values[self.screen.session].film
        if film is None or film.analysis is not None:
            yield self.no_change
            return
        yield from self.analyze(values)

    def answer_notice(self, values: Values, event: gr.EventData) -> Generator[Updates, None, None]:
        """Handle a click on a button of the message over the film."""
        if event.id == "correct":
            yield self.apply_correction(values)
            return
        yield from self.accept_and_analyze(values)

    def cancel(self, values: Values) -> None:
        """Stop the current run. The run itself then changes the page, so that no update can arrive after its last."""
        values[self.screen.runs].stop()

    def save(self, values: Values) -> Updates:
        """Write the files of the first film's result, with what was measured on either film."""
        screen, session, runs = self.screen, values[self.screen.session], values[self.screen.runs]
        film, changes = session.film, runs.changes
        if film is None or film.analysis is None:
            return {screen.status: panels.status_line(NO_RESULT, alert=True)}
        try:
            measurements = read_measurements(values[screen.measurements])
        except ValueError as error:
            return {screen.status: panels.status_line(str(error), alert=True)}
        detector = screen.parts[session.model].detector
        sentences = [entry.text if entry.film == 0 else f"Second film: {entry.text}" for entry in measurements]
        content = report.Report(film.analysis, film.analysis.case, film.findings, detector, sentences)
        files = report.result_files(content)
        if runs.changes != changes:  # another film took the page meanwhile
            return self.no_change
        alone = {f"diff3m-{name}": data for name, data in files.items() if name.endswith((".pdf", ".dcm"))}
        paths = [
            str(store_file(name, data))
            for name, data in {"diff3m-result.zip": report.zip_files(files), **alone}.items()
        ]
        return {
            screen.files: gr.update(value=paths, visible=True),
            screen.status: panels.status_line("The files are ready beside the film."),
        }


def estimate_and_analyze(detector: Detector, case: Case, callback: Callable, settings: dict) -> Analysis:
    """Report an estimate of the normal film in one step, then analyze, all in one job of the model's thread."""

    def job() -> Analysis:
        callback(Estimate(estimate_normal(detector, case, settings["noise_level"], settings["seed"])))
        return detector.analyze(case, callback=callback, **settings)

    return MODEL.run(job)


def can_compare(detector: Detector, analysis: Analysis) -> bool:
    """Tell whether an analysis has a record that the model uses, and the model can do without it."""
    uses = any(
        feature.trained and analysis.record.get(feature.name) is not None for feature in detector.schema.features
    )
    return uses and meets(detector, Need.UNKNOWN_TOKENS)


def estimate_normal(detector: Detector, case: Case, level: int, seed: int) -> np.ndarray:
    """Estimate the normal film in one step: (S, S) float32 in [0, 1]."""
    x0 = detector.inputs([case])
    condition = detector.condition(x0, [case.record], attention=False)
    with detector.autocast():
        estimate = detector.one_step_estimate(x0, condition, level, detector.settings(noise_level=level, seed=seed))
    return estimate[0, 0].float().cpu().numpy()


def make_progress_status(event: Progress, seconds: float) -> Status:
    """Return how far an analysis is. seconds: since it began."""
    remaining = seconds / max(event.done, 1) * (event.total - event.done)
    return Status(f"Drawing what is normal, about {remaining:.0f} s left", event.done / event.total)
