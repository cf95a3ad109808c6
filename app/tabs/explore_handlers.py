"""What happens on the Explore tab before an analysis: a film is opened, inspected, corrected, or taken away."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import gradio as gr

from diff3m.detector import Detector
from diff3m.ehr import EHRError

from ..components.ehr_form import FROM_EXAMPLE, FROM_HEADER, FROM_TABLE
from ..components.events import Updates, Values
from ..components.film_edit import Corrections
from ..examples import Example
from ..render import panels, report, verdict
from .explore_layout import START, ModelPart, Screen
from .open_films import error_sentence, open_film, with_result
from .session import OpenFilm, Session

READ = "Check the record, then press **Analyze**."
EMPTIED = "The record of the film before was emptied: fill in this patient's."
FILLED = "The record is that of the table's row."
NO_FILM = "There is no film yet: drop one, or choose an example."
STORED = "Computed beforehand. **Analyze** computes it now."
STOPPED_BY_GATE = "The film was stopped: see the message on it."


class FilmHandlers:
    """Handlers that change which films are open. Each returns {component: value} of what changes."""

    def __init__(self, screen: Screen) -> None:
        self.screen = screen

    @property
    def no_change(self) -> Updates:
        """An update that changes nothing: Gradio takes no empty mapping."""
        return {self.screen.session: gr.skip()}

    # --- the page ---

    def page_updates(self, session: Session, status: str = "") -> Updates:
        """Return everything that follows from the session: films, viewer, result. status: the line over Analyze."""
        screen, is_open = self.screen, session.film is not None
        return {
            screen.film_file: gr.update(value=None, height=44 if is_open else 88),
            screen.prior_file: gr.update(value=None, visible=True if is_open else "hidden"),
            screen.close: gr.update(visible=True if is_open else "hidden"),
            screen.film_card: panels.film_cards(session.films),
            screen.tools.fold: gr.update(visible=is_open),
            **screen.tools.show(*self._gate_view(session)),
            **{part.strip: self._strip(name, session) for name, part in screen.parts.items()},
            **self.result_updates(session, status),
        }

    def result_updates(self, session: Session, status: str = "") -> Updates:
        """Return what an analysis can change: viewer and result. The fields that take files stay as they are."""
        screen = self.screen
        return {
            screen.session: session,
            screen.viewer: session.viewer_value(),
            screen.analyze: gr.update(visible=True),
            screen.cancel: gr.update(visible=False),
            screen.status: panels.status_line(status),
            **self._result(session),
        }

    @staticmethod
    def _gate_view(session: Session) -> tuple[Corrections, Any]:
        """Return corrections and gate's answer of the film that is stopped, or else of the first one."""
        film = session.stopped or session.film
        return (Corrections(), None) if film is None else (film.corrections, film.quality)

    def _strip(self, name: str, session: Session) -> Any:
        part = self.screen.parts[name]
        return gr.update(visible=session.film is None and name == session.model and bool(part.examples))

    def _result(self, session: Session) -> Updates:
        """Return the right rail and what lies below the fold."""
        screen, film = self.screen, session.film
        has_result = film is not None and film.analysis is not None
        empty = {
            screen.explanation: "",
            screen.record_summary: "",
            screen.files: gr.update(value=None, visible=False),
            screen.save: gr.update(interactive=has_result),
            screen.explain: gr.update(interactive=has_result),
        }
        if not has_result:
            text = "No film is analyzed yet." if film is None else "This film is not analyzed yet."
            blank = {
                screen.verdict: panels.small_text(text),
                screen.chips: verdict.finding_chips(()),
                screen.json: None,
            }
            return empty | blank | {screen.notes: "", screen.numbers: "", screen.link: ""}
        detector, analysis = screen.parts[session.model].detector, film.analysis
        shown = (*film.notes, *film.quality.reasons)  # beside the film already
        notes = [note for note in analysis.notes if not note.endswith(shown)]
        places = [
            (entry.name, entry.viewer_film.findings if entry.analysis else None, len(entry.findings))
            for entry in session.films
        ]
        return empty | {
            screen.verdict: self.verdict_html(session),
            screen.chips: verdict.finding_chips(places),
            screen.notes: panels.small_text(verdict.findings_meaning(detector.scoring)) + panels.note_list(notes),
            screen.record_summary: panels.record_summary(analysis, detector),
            screen.numbers: verdict.numbers_table(analysis, film.findings, detector),
            screen.json: report.result_to_dict(analysis, film.findings, detector),
            screen.link: panels.example_link(film.example, analysis.settings) if film.example else "",
        }

    def verdict_html(self, session: Session) -> str:
        """Return the verdict on the first film, which is analyzed, and how the second one's score differs."""
        detector, film = self.screen.parts[session.model].detector, session.film
        second = session.prior and session.prior.analysis
        beside = [verdict.comparison_sentence(film.analysis, second)] if second else []
        card = verdict.verdict_card(film.analysis, film.verdict, detector, film.record_effect)
        return card + panels.note_list(beside)

    def error_updates(self, session: Session, error: Exception | str) -> Updates:
        """Return a sentence over Analyze, the fields at fault marked, and everything else as it was."""
        screen = self.screen
        marks = screen.parts[session.model].form.mark(error if isinstance(error, EHRError) else None)
        return {
            **marks,
            screen.viewer: session.viewer_value(),
            screen.status: panels.status_line(error if isinstance(error, str) else error_sentence(error), alert=True),
            screen.analyze: gr.update(visible=True),
            screen.cancel: gr.update(visible=False),
            screen.film_file: gr.update(value=None),
            screen.prior_file: gr.update(value=None),
        }

    # --- films ---

    def end_runs(self, values: Values) -> None:
        """End what still runs, because another film, record or model takes the page."""
        values[self.screen.runs].end()

    def open_first(self, values: Values) -> Updates:
        """Open an uploaded film in place of what is open, with its header's facts in the form.

        What was typed before the first film stays. With a later film it is emptied: it may be another patient's.
        """
        session, path = values[self.screen.session], values[self.screen.film_file]
        if not path:
            return self.no_change
        self.end_runs(values)
        detector = self.screen.parts[session.model].detector
        try:
            film, case = open_film(path, Corrections(), Path(path).name, detector)
        except ValueError as error:
            return self.error_updates(session, error)
        first = session.film is None
        form = self.screen.parts[session.model].form.fill(case.film.facts, FROM_HEADER, keep=first)
        status = STOPPED_BY_GATE if film.is_stopped else READ if first else EMPTIED
        return {**self.page_updates(Session(session.model, film), status), **form}

    def open_prior(self, values: Values) -> Updates:
        """Open a second film beside the first."""
        session, path = values[self.screen.session], values[self.screen.prior_file]
        if not path or session.film is None:
            return self.no_change
        self.end_runs(values)
        try:
            prior, _ = open_film(path, Corrections(), Path(path).name, self.screen.parts[session.model].detector)
        except ValueError as error:
            return self.error_updates(session, error)
        status = STOPPED_BY_GATE if prior.is_stopped else "The second film is beside the first. **Analyze** takes both."
        return self.page_updates(replace(session, prior=prior), status)

    def close_films(self, values: Values) -> Updates:
        """Take the films away, and with them the record and the results."""
        self.end_runs(values)
        session = Session(values[self.screen.model])
        return {**self.page_updates(session, START), **self.screen.parts[session.model].form.fill({}, "")}

    def open_case(self, model: str, path: str, record: Mapping[str, object]) -> Updates:
        """Open a film with its record under a model, from elsewhere on the page."""
        known = {name: value for name, value in record.items() if value is not None}
        film, _ = open_film(path, Corrections(), "Film of the table", self.screen.parts[model].detector)
        status = STOPPED_BY_GATE if film.is_stopped else FILLED
        form = self.screen.parts[model].form.fill(known, FROM_TABLE)
        return {
            **self.page_updates(Session(model, film), status),
            **form,
            **self.model_updates(model),
            self.screen.model: model,
        }

    # --- corrections ---

    def apply_correction(self, values: Values) -> Updates:
        """Do what the gate proposes."""
        film = values[self.screen.session].stopped
        return (
            self.no_change
            if film is None
            else self._handle(values, film.corrections.with_change(film.quality.turn, film.quality.negative))
        )

    def accept_film(self, values: Values) -> Updates:
        """Go on with a film that the gate stops."""
        film = values[self.screen.session].stopped
        return self.no_change if film is None else self._handle(values, replace(film.corrections, accepted=True))

    def turn_or_invert(self, values: Values, turn: int = 0, negative: bool = False) -> Updates:
        """Turn or invert the first film."""
        film = values[self.screen.session].film
        return (
            self.no_change if film is None else self._handle(values, film.corrections.with_change(turn, negative), film)
        )

    def crop(self, values: Values) -> Updates:
        """Crop the first film by the sliders' shares."""
        film = values[self.screen.session].film
        shares = tuple((values[slider] or 0) / 100 for slider in self.screen.tools.cuts)
        if film is None or shares == film.corrections.cut:
            return self.no_change
        return self._handle(values, replace(film.corrections, cut=shares), film)

    def _handle(self, values: Values, corrections: Corrections, film: OpenFilm | None = None) -> Updates:
        """Read a film (default: the one that is stopped) anew under other corrections, without its result."""
        self.end_runs(values)
        session = values[self.screen.session]
        film = film or session.stopped
        index, detector = session.films.index(film), self.screen.parts[session.model].detector
        try:
            film, _ = open_film(film.path, corrections, film.name, detector, film.example)
        except ValueError as error:
            return self.error_updates(session, error)
        session = session.without_results().with_film(index, film)
        return self.page_updates(session, STOPPED_BY_GATE if session.stopped else READ)

    # --- examples, links and models ---

    def open_example(self, values: Values, event: gr.SelectData) -> Updates:
        """Open the example that was clicked."""
        self.end_runs(values)
        part = self.screen.part(values)
        return self.example_updates(part, part.examples[event.index])

    def example_updates(self, part: ModelPart, example: Example, use_stored: bool = True) -> Updates:
        """Return film, record and, where there is one and `use_stored` is true, the stored result of an example."""
        detector = part.detector
        film, case = open_film(str(example.path), Corrections(accepted=True), example.title, detector, example.id)
        analysis = example.result(detector) if use_stored else None
        if analysis is not None:
            film = with_result(film, analysis, replace(case, record=analysis.record), detector, part.examples)
        session = Session(detector.config.name, film)
        return {
            **self.page_updates(session, READ if analysis is None else STORED),
            **part.form.fill(example.record, FROM_EXAMPLE),
        }

    def open_link(self, request: gr.Request) -> Updates:
        """Open the example that the page's address names, with its settings; nothing if it names none.

        Noise level, steps and seed count as far as they are numbers in range.
        """
        query = request.query_params
        for model, part in self.screen.parts.items():
            example = next((entry for entry in part.examples if entry.id == query.get("example", "")), None)
            if example is None:
                continue
            settings = self._settings_of(part.detector, query)
            own = self._settings_of(part.detector, {})
            choice = {self.screen.model: model, **self.model_updates(model), **settings}
            return {**self.example_updates(part, example, use_stored=settings == own), **choice}
        return self.no_change

    def _settings_of(self, detector: Detector, query: Mapping[str, str]) -> Updates:
        """Return noise level, steps and seed of an address, or the detector's own where it has none in range."""
        screen, scoring = self.screen, detector.scoring
        ranges = {
            "level": (screen.level, 50, 900, scoring.noise_level),
            "steps": (screen.steps, 1, 50, scoring.steps),
            "seed": (screen.seed, 0, 10**9, 0),
        }
        result = {}
        for name, (component, low, high, own) in ranges.items():
            text = str(query.get(name, ""))
            result[component] = int(text) if text.isdigit() and low <= int(text) <= high else own
        return result

    def model_updates(self, model: str) -> Updates:
        """Return the form and the questions of a model instead of the others'."""
        updates: Updates = {}
        for name, part in self.screen.parts.items():
            updates[part.record] = updates[part.questions] = gr.update(visible=name == model)
        return updates

    def change_model(self, values: Values) -> Updates:
        """Another model was chosen: films and record stay, results go."""
        session, model = values[self.screen.session], values[self.screen.model]
        if model == session.model:
            return self.no_change
        self.end_runs(values)
        entries = self.screen.parts[session.model].form.entries(values)
        part = self.screen.parts[model]
        session_of_model = replace(session.without_results(), model=model)
        return {
            **self.page_updates(session_of_model, START if session.film is None else READ),
            **self.model_updates(model),
            **self._settings_of(part.detector, {}),
            **part.form.fill({name: value for name, value in entries.items() if name in part.detector.schema}, ""),
        }
