"""Handlers of the Explore tab before an analysis: a film is opened, inspected, corrected or closed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
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
from .explore_layout import LEVELS, START, STEPS, ModelPart, Screen
from .open_films import add_result, describe_error, open_film
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

    def show_page(self, session: Session, status: str = "") -> Updates:
        """Return everything that follows from the session: films, viewer, result. status: the line over Analyze."""
        screen, is_open = self.screen, session.film is not None
        return {
            screen.film_file: gr.update(value=None, height=44 if is_open else 88),
            screen.prior_file: gr.update(value=None, visible=True if is_open else "hidden"),
            screen.close: gr.update(visible=True if is_open else "hidden"),
            screen.film_card: panels.film_cards(session.films),
            screen.tools.fold: gr.update(visible=is_open),
            **screen.tools.show(*self._select_gate_view(session)),
            **{part.strip: self._show_strip(name, session) for name, part in screen.parts.items()},
            **self.show_result(session, status),
        }

    def _offer_analyze(self) -> Updates:
        """Return the update that shows Analyze in the place of Cancel."""
        return {self.screen.analyze: gr.update(visible=True), self.screen.cancel: gr.update(visible="hidden")}

    def show_result(self, session: Session, status: str = "") -> Updates:
        """Return what an analysis can change: viewer and result. The fields that take files stay as they are."""
        screen = self.screen
        return {
            screen.session: session,
            screen.viewer: session.viewer_value(),
            **self._offer_analyze(),
            screen.status: panels.status_line(status),
            **self._show_rail(session),
        }

    @staticmethod
    def _select_gate_view(session: Session) -> tuple[Corrections, Any]:
        """Return corrections and gate's answer of the film that is stopped, or else of the first one."""
        film = session.stopped or session.film
        return (Corrections(), None) if film is None else (film.corrections, film.quality)

    def _show_strip(self, name: str, session: Session) -> Any:
        part = self.screen.parts[name]
        return gr.update(visible=session.film is None and name == session.model and bool(part.examples))

    def _show_rail(self, session: Session) -> Updates:
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
        film_texts = (*film.notes, *film.quality.reasons)  # beside the film already
        notes = [note for note in analysis.notes if not note.endswith(film_texts)]
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

    def show_error(self, session: Session, error: Exception | str) -> Updates:
        """Return a sentence over Analyze, the fields at fault marked, and everything else as it was."""
        screen = self.screen
        marks = screen.parts[session.model].form.mark(error if isinstance(error, EHRError) else None)
        return {
            **marks,
            screen.viewer: session.viewer_value(),
            screen.status: panels.status_line(error if isinstance(error, str) else describe_error(error), alert=True),
            **self._offer_analyze(),
            screen.film_file: gr.update(value=None),
            screen.prior_file: gr.update(value=None),
        }

    # --- films ---

    def end_runs(self, values: Values) -> None:
        """End what still runs, because another film, record or model takes the page."""
        values[self.screen.runs].end()

    @contextmanager
    def page_change(self, values: Values) -> Iterator[None]:
        """End what runs before and after the page changes: what began meanwhile belongs to the page before."""
        self.end_runs(values)
        try:
            yield
        finally:
            self.end_runs(values)

    def open_first(self, values: Values) -> Updates:
        """Open an uploaded film in place of what is open, with its header's facts in the form.

        What was typed before the first film stays. With a later film it is emptied: it may be another patient's. A
        session that was forgotten, an hour after its last use, leaves its film's card on the page.
        """
        session, path = values[self.screen.session], values[self.screen.film_file]
        if not path:
            return self.no_change
        if session.film is None:
            session = replace(session, model=values[self.screen.model])
        detector = self.screen.parts[session.model].detector
        try:
            with self.page_change(values):
                film, case = open_film(path, Corrections(), Path(path).name, detector)
        except ValueError as error:
            return self.show_error(session, error)
        first = session.film is None and not values[self.screen.film_card]
        form = self.screen.parts[session.model].form.fill(case.film.facts, FROM_HEADER, keep=first)
        status = STOPPED_BY_GATE if film.is_stopped else READ if first else EMPTIED
        return {**self.show_page(Session(session.model, film), status), **form}

    def open_prior(self, values: Values) -> Updates:
        """Open a second film beside the first."""
        session, path = values[self.screen.session], values[self.screen.prior_file]
        if not path or session.film is None:
            return self.no_change
        detector = self.screen.parts[session.model].detector
        try:
            with self.page_change(values):
                prior, _ = open_film(path, Corrections(), Path(path).name, detector)
        except ValueError as error:
            return self.show_error(session, error)
        status = STOPPED_BY_GATE if prior.is_stopped else "The second film is beside the first. **Analyze** takes both."
        return self.show_page(replace(session, prior=prior), status)

    def close_films(self, values: Values) -> Updates:
        """Close the films, and remove the record and the results."""
        self.end_runs(values)
        session = Session(values[self.screen.model])
        return {**self.show_page(session, START), **self.screen.parts[session.model].form.fill({}, "")}

    def open_case(self, model: str, path: str, record: Mapping[str, object]) -> Updates:
        """Open a film with its record under a model, from elsewhere on the page."""
        known = {name: value for name, value in record.items() if value is not None}
        film, _ = open_film(path, Corrections(), "Film of the table", self.screen.parts[model].detector)
        status = STOPPED_BY_GATE if film.is_stopped else FILLED
        form = self.screen.parts[model].form.fill(known, FROM_TABLE)
        return {
            **self.show_page(Session(model, film), status),
            **form,
            **self.show_model(model),
            **self._read_settings(self.screen.parts[model].detector, {}),
            self.screen.model: model,
        }

    # --- corrections ---

    def apply_correction(self, values: Values) -> Updates:
        """Apply the correction that the gate proposes."""
        film = values[self.screen.session].stopped
        return (
            self.no_change
            if film is None
            else self.reread(values, film.corrections.with_change(film.quality.turn, film.quality.negative))
        )

    def turn_or_invert(self, values: Values, turn: int = 0, negative: bool = False) -> Updates:
        """Turn or invert the first film."""
        film = values[self.screen.session].film
        return (
            self.no_change if film is None else self.reread(values, film.corrections.with_change(turn, negative), film)
        )

    def crop(self, values: Values) -> Updates:
        """Crop the first film by the sliders' shares."""
        film = values[self.screen.session].film
        shares = tuple((values[slider] or 0) / 100 for slider in self.screen.tools.cuts)
        if film is None or shares == film.corrections.cut:
            return self.no_change
        return self.reread(values, replace(film.corrections, cut=shares), film)

    def reread(self, values: Values, corrections: Corrections, film: OpenFilm | None = None) -> Updates:
        """Read a film (default: the one that is stopped) anew under other corrections, without its result."""
        session = values[self.screen.session]
        film = film or session.stopped
        index, detector = session.films.index(film), self.screen.parts[session.model].detector
        try:
            with self.page_change(values):
                film, _ = open_film(film.path, corrections, film.name, detector, film.example)
        except ValueError as error:
            return self.show_error(session, error)
        session = session.without_results().with_film(index, film)
        return self.show_page(session, STOPPED_BY_GATE if session.stopped else READ)

    # --- examples, links and models ---

    def open_example(self, values: Values, event: gr.SelectData) -> Updates:
        """Open the example that was clicked."""
        part = self.screen.get_part(values)
        with self.page_change(values):
            return self.show_example(part, part.examples[event.index])

    def show_example(self, part: ModelPart, example: Example, use_stored: bool = True) -> Updates:
        """Return film, record and, where there is one and `use_stored` is true, the stored result of an example."""
        detector = part.detector
        film, case = open_film(str(example.path), Corrections(accepted=True), example.title, detector, example.id)
        analysis = example.load_result(detector) if use_stored else None
        if analysis is not None:
            film = add_result(film, analysis, replace(case, record=analysis.record), detector, part.examples)
        session = Session(detector.config.name, film)
        return {
            **self.show_page(session, READ if analysis is None else STORED),
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
            settings = self._read_settings(part.detector, query)
            own = self._read_settings(part.detector, {})
            choice = {self.screen.model: model, **self.show_model(model), **settings}
            return {**self.show_example(part, example, use_stored=settings == own), **choice}
        return self.no_change

    def _read_settings(self, detector: Detector, query: Mapping[str, str]) -> Updates:
        """Return noise level, steps and seed of an address, or the detector's own where it has none in range."""
        screen, scoring = self.screen, detector.scoring
        ranges = {
            "level": (screen.level, *LEVELS, scoring.noise_level),
            "steps": (screen.steps, *STEPS, scoring.steps),
            "seed": (screen.seed, 0, 10**9, 0),
        }
        result = {}
        for name, (component, low, high, own) in ranges.items():
            text = str(query.get(name, ""))
            result[component] = int(text) if text.isdigit() and low <= int(text) <= high else own
        return result

    def show_model(self, model: str) -> Updates:
        """Return the form and the questions of a model instead of the others'."""
        updates: Updates = {}
        for name, part in self.screen.parts.items():
            updates[part.record] = updates[part.questions] = gr.update(visible=name == model)
        return updates

    def change_model(self, values: Values) -> Updates:
        """Handle the choice of another model: films and record stay, results are removed."""
        session, model = values[self.screen.session], values[self.screen.model]
        if model == session.model and session.film is not None:
            return self.no_change
        self.end_runs(values)
        entries = self.screen.parts[session.model].form.read_entries(values)
        part = self.screen.parts[model]
        session_of_model = replace(session.without_results(), model=model)
        return {
            **self.show_page(session_of_model, START if session.film is None else READ),
            **self.show_model(model),
            **self._read_settings(part.detector, {}),
            **part.form.fill({name: value for name, value in entries.items() if name in part.detector.schema}, ""),
        }
