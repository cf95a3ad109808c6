"""Analyses and explanations of one reader that overlap: only the newest may change the page."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import gradio as gr
import pytest
from helpers import phantom_png

from app.components.film_edit import Corrections
from app.render import report
from app.runtime.model_thread import MODEL
from app.runtime.runs import Runs
from app.tabs.explore_analysis import STOPPED
from app.tabs.explore_explain import ExploreHandlers
from app.tabs.explore_layout import build_model_select, build_screen
from app.tabs.open_films import open_film
from app.tabs.session import Session
from diff3m.checkpoint.folder import load_checkpoint
from diff3m.detector import Detector


@pytest.fixture
def detector(calibrated_checkpoint) -> Detector:
    return Detector(load_checkpoint(calibrated_checkpoint), device="cpu", precision="float32")


@pytest.fixture
def page(detector, tmp_path, monkeypatch) -> SimpleNamespace:
    """The tab's handlers, and what its components hold after a film was opened."""
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    (tmp_path / "film.png").write_bytes(phantom_png())
    with gr.Blocks():
        screen = build_screen([detector], {detector.config.name: ()}, build_model_select([detector]))
    film, _ = open_film(str(tmp_path / "film.png"), Corrections(accepted=True), "film", detector)
    values = {component: component.value for component in screen.inputs | screen.questions}
    values |= {screen.session: Session(detector.config.name, film), screen.runs: Runs(), screen.steps: 2}
    return SimpleNamespace(screen=screen, handlers=ExploreHandlers(screen), values=values)


def status_of(page, updates: dict) -> str:
    return updates.get(page.screen.status, "")


@contextmanager
def busy_model() -> Iterator[None]:
    """Let the model work on another job until the end of the context."""
    is_busy, is_over = threading.Event(), threading.Event()

    def job() -> None:
        is_busy.set()
        is_over.wait()

    with ThreadPoolExecutor(1) as pool:
        pool.submit(MODEL.run, job)
        is_busy.wait()
        try:
            yield
        finally:
            is_over.set()


def test_a_run_ends_with_its_result(page):
    *progress, last = page.handlers.analyze(page.values)
    assert all(updates[page.screen.cancel]["visible"] is True for updates in progress) and len(progress) > 1
    assert "Done in" in status_of(page, last) and last[page.screen.session].film.analysis is not None
    assert last[page.screen.session].film.findings is not None and last[page.screen.cancel]["visible"] == "hidden"


def test_a_stopped_run_says_so_as_its_last_word_even_while_it_waits(page):
    with busy_model():  # with another reader's film
        running = page.handlers.analyze(page.values)
        assert "Waiting" in status_of(page, next(running))
        page.handlers.cancel(page.values)
        (last,) = running
    assert STOPPED in status_of(page, last)
    assert last[page.screen.analyze]["visible"] is True and last[page.screen.cancel]["visible"] == "hidden"
    assert page.screen.explanation not in last, "what was explained stays"


@pytest.mark.parametrize("newer", ["close_films", "explain", "analyze"])
def test_a_run_that_was_replaced_says_nothing_more(page, newer):
    with busy_model():
        running = page.handlers.analyze(page.values)
        next(running)
        other = getattr(page.handlers, newer)(page.values)
        if newer != "close_films":
            next(other)
        assert list(running) == []


def test_an_explanation_is_of_the_findings_or_of_one_region_alone(page):
    *_, last = page.handlers.analyze(page.values)
    film = last[page.screen.session].film
    finding = SimpleNamespace(prepared_box=(0.25, 0.25, 0.5, 0.5), zone="right mid zone")
    requests = []
    page.values[page.screen.session] = Session(last[page.screen.session].model, film)
    object.__setattr__(film, "findings", (finding,))

    def keep(values, request_for, names=None, index=0):
        requests.append(request_for(film.analysis.case))
        yield {}

    page.handlers._explain = keep
    list(page.handlers.explain(page.values))
    list(page.handlers.explain_region(page.values, SimpleNamespace(film=0, box=[0, 0, 1, 1], finding=0)))
    list(page.handlers.explain_region(page.values, SimpleNamespace(film=0, box=[0.2, 0.2, 0.4, 0.4])))
    whole, of_finding, of_rectangle = requests
    assert whole.box == finding.prepared_box and whole.regions == (("right mid zone", finding.prepared_box),)
    assert of_finding.box == finding.prepared_box and of_finding.regions == (("right mid zone", finding.prepared_box),)
    ((_, box),) = of_rectangle.regions
    assert of_rectangle.box == box == pytest.approx((0.2, 0.2, 0.4, 0.4), abs=0.02)
    with pytest.raises(ValueError, match="beside what the model sees"):
        list(page.handlers.explain_region(page.values, SimpleNamespace(film=0, box=[1.2, 1.2, 1.4, 1.4])))


@pytest.mark.parametrize(("card", "is_kept"), [("", True), ("<p>the film before</p>", False)])
def test_a_record_is_kept_for_the_first_film_but_not_after_a_film_whose_session_was_forgotten(page, card, is_kept):
    path = page.values[page.screen.session].film.path
    (name, part), *_ = page.screen.parts.items()
    page.values |= {page.screen.session: Session(name), page.screen.film_file: path, page.screen.film_card: card}
    page.values[part.form.get_field("age")] = "63"
    updates = page.handlers.open_first(page.values)
    assert updates[page.screen.session].film is not None and (part.form.get_field("age") not in updates) is is_kept


def test_measurements_of_both_films_are_saved(page, monkeypatch):
    *_, last = page.handlers.analyze(page.values)
    session = last[page.screen.session]
    page.values[page.screen.session] = replace(session, prior=session.film)
    rulers = [{"kind": "ruler", "film": film, "unit": "mm", "length": 10.0 + film} for film in (0, 1)]
    page.values[page.screen.measurements] = json.dumps({"version": 1, "measurements": rulers})
    monkeypatch.setattr(
        report, "result_files", lambda content: {"measured.pdf": "\n".join(content.measurements).encode()}
    )
    updates = page.handlers.save(page.values)
    (path,) = [path for path in updates[page.screen.files]["value"] if path.endswith(".pdf")]
    assert Path(path).read_text() == "Length 10.0 mm\nSecond film: Length 11.0 mm"

    def write_while_a_film_is_opened(content):
        page.handlers.end_runs(page.values)
        return {"measured.pdf": b""}

    monkeypatch.setattr(report, "result_files", write_while_a_film_is_opened)
    assert page.screen.files not in page.handlers.save(page.values), "files of a film that is no longer open"
