"""What happens on the Explore tab: a film is opened, looked at, set right, analyzed, explained, drawn anew, saved."""

from __future__ import annotations

import logging
import time
from collections.abc import Generator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import gradio as gr
import numpy as np

from diff3m.analysis import Analysis
from diff3m.case import Case as PatientCase
from diff3m.case import FilmSource
from diff3m.detector import Detector
from diff3m.explain import Context, Request
from diff3m.explain.attribution import TARGETS
from diff3m.export.files import analysis_to_dict
from diff3m.findings import find_findings
from diff3m.imaging import (
    Quality,
    Radiograph,
    RadiographError,
    prepare_mask,
    read_radiograph,
    with_quality,
)

from .. import explain_stream
from ..components import film_edit, heat_view
from ..components.ehr_form import FROM_EXAMPLE, FROM_HEADER, FROM_TABLE, EHRForm
from ..components.film_edit import Handling
from ..components.heat_view import Look, View
from ..examples import Example, read_mask
from ..render import panels, report, wording
from ..runtime.model_lock import MODEL
from ..runtime.storage import keep_file
from ..runtime.streaming import Done, stream
from .results import Results, cleared

log = logging.getLogger(__name__)

PREVIEW_EVERY = 2  # denoising steps from one picture to the next
START = "Drop a film on the left, or choose an example; then press **Analyze**."
READ = "The film is read. Check the record, then press **Analyze**."
EMPTIED = (
    "The film is read. The record of the film before it was emptied: fill in this patient's, then press **Analyze**."
)
OPENED_ROW = "The film is read, under the record of its row. Check it, then press **Analyze**."
NO_FILM = "There is no film yet: drop one, or choose an example."
STORED = "Computed beforehand, with the settings below. Press **Analyze** to see it computed, or change the record and ask again."
OTHER_RECORD = (
    "The record was changed since the result above was computed. This explains the film under the record as the form has it now; "
    "press Analyze to see its score."
)
FAILED = (
    "Something failed on the server ({kind}). Try again; if it fails again, restart the page or use a smaller film."
)
GONE = "Your film is no longer on the server: films are deleted within the hour. Drop it again."
STOPPED_BY_GATE = "The film was not analyzed: see what was found beside it. Set it right, or tick “Go on knowingly”."


@dataclass(frozen=True)
class Opened:
    """A film that was opened: as a case without a record, its picture on the page, and what the gate saw."""

    case: PatientCase
    still: str
    quality: Quality


class Case:
    """The tab's event handlers, for one checkpoint."""

    def __init__(self, detector: Detector, form: EHRForm, examples: list[Example]) -> None:
        self.detector, self.form, self.examples = detector, form, {example.id: example for example in examples}
        self._charts: dict[str, dict[str, str]] = {}  # by example, of its stored result

    def warm(self) -> None:
        """Draw the charts of every example's stored result, so that the first visitor does not wait for them."""
        for example in self.examples.values():
            found = example.result(self.detector)
            if found is not None:
                self.charts_of(example.id, found)

    def charts_of(self, example: str, stored: Analysis) -> dict[str, str]:
        """Score and attention of an example's stored result, drawn once."""
        if example not in self._charts:
            self._charts[example] = self._drawn(stored)
        return self._charts[example]

    def _drawn(self, analysis: Analysis) -> dict[str, str]:
        return {"score": panels.score(analysis, self.detector), "attention": panels.attention(analysis, self.detector)}

    def look(self, path: str, handling: Handling) -> Opened:
        """Read a film and look at it as it is to be taken. Raises RadiographError or ValueError."""
        if not Path(path).is_file():
            raise RadiographError(GONE)
        film, quality = film_edit.looked_at(read_radiograph(path), handling)
        case = self.detector.case(film)
        return Opened(case, panels.picture(case.x0, case.aspect), quality)

    def open(self, path: str | None, opened: bool, *values) -> list:
        """A film was uploaded: show it, look at it, and put its header's facts into the form.

        What was typed before the first film stays. With a later film it is emptied: it may be another patient's.
        """
        return self._opened(path, opened, values, {}) if path else self.close()

    def open_with(self, path: str, record: Mapping) -> list:
        """A film with its record, from elsewhere on the page: the file, and then what `open` gives."""
        return [
            path,
            *self._opened(
                path, True, (), {name: value for name, value in record.items() if value is not None}, OPENED_ROW
            ),
        ]

    def _opened(self, path: str, opened: bool, values: tuple, record: Mapping, text: str = "") -> list:
        """What a film changes on the page; record: instead of its header's facts, if there is one. text: of the
        status."""
        try:
            seen = self.look(path, Handling())
        except RadiographError as error:
            untouched = [
                opened,
                gr.skip(),
                "",
                *film_edit.updates(Handling(), None),
                *[gr.skip()] * len(self.form.fields),
            ]
            return ["", *untouched, *cleared(status=panels.status(str(error), alert=True))]
        facts = seen.case.film.facts
        updates, bmi = self.form.filled(
            record or facts, FROM_TABLE if record else FROM_HEADER, () if opened else values
        )
        labels = [self.detector.schema[name].label for name in facts if name in self.detector.schema]
        text = text or (EMPTIED if opened else READ)
        shown = cleared(True, status=panels.status(text), compare=(seen.still, seen.still))
        return [
            panels.film_facts(seen.case.film, labels),
            True,
            bmi,
            "",
            *film_edit.updates(Handling(), seen.quality),
            *updates,
            *shown,
        ]

    def close(self) -> list:
        """The film was taken away: its record and its results go with it."""
        updates, _ = self.form.filled({}, "")
        return [
            "",
            False,
            "",
            "",
            *film_edit.updates(Handling(), None),
            *updates,
            *cleared(status=panels.status(START)),
        ]

    def take(self, handling: Handling, path: str | None) -> list:
        """The film is to be taken otherwise: turned, inverted, cut, or as it is in spite of the gate."""
        if not path:
            return [*film_edit.updates(Handling(), None), *cleared(status=panels.status(NO_FILM, alert=True))]
        try:
            seen = self.look(path, handling)
        except ValueError as error:
            return self._not_taken(handling, error)
        shown = cleared(True, status=panels.status(READ), compare=(seen.still, seen.still))
        return [*film_edit.updates(handling, seen.quality), *shown]

    def mend(self, handling: Handling, path: str | None) -> list:
        """Do what the gate proposes."""
        if not path:
            return self.take(handling, path)
        try:
            quality = self.look(path, handling).quality
        except ValueError as error:
            return self._not_taken(handling, error)
        return self.take(handling.moved(quality.turn, quality.negative), path)

    @staticmethod
    def _not_taken(handling: Handling, error: ValueError) -> list:
        """The film cannot be taken so: the tools stay as they are, and a sentence says why."""
        return [
            handling,
            *[gr.skip()] * (len(film_edit.updates(handling, None)) - 1),
            *cleared(status=panels.status(str(error), alert=True)),
        ]

    def cut(self, handling: Handling, path: str | None, *percent: float | None) -> list:
        """The sliders' shares were changed."""
        return self.take(replace(handling, cut=tuple((value or 0) / 100 for value in percent)), path)

    def choose(self, event: gr.SelectData, *looking) -> list:
        """An example was clicked: take its film and record, and its result where that was computed beforehand.
        looking: see `look_of`."""
        return self.show_example(list(self.examples.values())[event.index], look_of(*looking))

    def show_example(self, example: Example, look: Look, stored: bool = True) -> list:
        """Film, record and, where there is one and it is asked for, the stored result of an example."""
        updates, bmi = self.form.filled(example.record, FROM_EXAMPLE)
        caption = panels.quiet(f"{example.title}. {example.origin} {example.teaches}")
        found = example.result(self.detector) if stored else None
        if found is None:
            shown = cleared(True, status=panels.status("The example is read."))
        else:
            finished = self.finished(
                found, self._truth(example, Handling(), None), look, example.id, self.charts_of(example.id, found)
            )
            shown = cleared(True, **{**finished, "status": panels.status(STORED)})
        return [
            str(example.path),
            caption,
            True,
            bmi,
            example.id,
            *film_edit.updates(Handling(), None),
            *updates,
            *shown,
        ]

    def _truth(self, example: Example | None, handling: Handling, film: Radiograph | None) -> np.ndarray | None:
        """The true mask of an example in the prepared film's frame, if its truth is known and the film is as it was
        made."""
        mask = read_mask(example.mask) if example and handling.untouched else None
        film = film or (read_radiograph(example.path) if mask is not None else None)
        return None if mask is None else prepare_mask(mask, film, self.detector.config.preprocessing)

    def open_link(self, asked: Mapping[str, str], *looking) -> list | None:
        """What a link asks for: the example's film, the settings, and what `show_example` gives; None if it names no
        example of this model.

        Noise level, steps and seed count as far as they are numbers in range; with others than the checkpoint's own
        the result is computed.
        """
        example = self.examples.get(asked.get("example", ""))
        if example is None:
            return None
        scoring = self.detector.scoring
        allowed = {"level": (50, 900, scoring.noise_level), "steps": (2, 50, scoring.steps), "seed": (0, 10**9, 0)}
        settings = []
        for name, (low, high, own) in allowed.items():
            text = str(asked.get(name, ""))
            settings.append(int(text) if text.isdigit() and low <= int(text) <= high else own)
        film, *rest = self.show_example(
            example, look_of(*looking), stored=settings == [own for _, _, own in allowed.values()]
        )
        return [film, *settings, *rest]

    def follow(self, view: View | None, path: str | None, *inputs) -> Generator[list, None, None]:
        """After an example was chosen: analyze it, unless its result is already shown."""
        if view is not None or not path:
            yield Results().row()
            return
        yield from self.analyze(path, *inputs)

    def analyze(
        self,
        path: str | None,
        example: str,
        handling: Handling,
        level: float,
        steps: float,
        seed: float | None,
        *inputs,
    ) -> Generator[list, None, None]:
        """Stream the analysis: progress and the forming reconstruction, then everything. inputs: the magnified place,
        the display settings, then the form's values."""
        look, values = look_of(*inputs[:LOOKING]), inputs[LOOKING:]
        if not path:
            yield cleared(status=panels.status(NO_FILM, alert=True))
            return
        shown = {}
        try:
            seen = self.look(path, handling)
            shown = dict(show=True, compare=(seen.still, seen.still))
            if seen.quality.reasons and not handling.accepted:
                yield cleared(**shown, status=panels.status(STOPPED_BY_GATE, alert=True))
                return
            record = self.detector.schema.parse(self.form.record(values))
            case = replace(seen.case, film=with_quality(seen.case.film, seen.quality), record=record)
            truth = self._truth(self.examples.get(example), handling, case.film)
            yield cleared(**shown, status=panels.status("Waiting for its turn …"), cancel=gr.update(visible=True))
            settings = dict(noise_level=int(level), steps=int(steps), seed=int(seed or 0))
            started = time.perf_counter()
            for event in stream(lambda callback: analyzed(self.detector, case, callback=callback, **settings)):
                if isinstance(event, Done):
                    example_id = example if handling.untouched else ""
                    yield Results(**self.finished(event.value, truth, look, example_id)).row()
                    return
                forming = None
                if event.preview is not None and event.done % PREVIEW_EVERY == 0:
                    forming = (seen.still, panels.picture(event.preview[0, 0].cpu().numpy(), case.aspect))
                yield Results(status=panels.progress(event, time.perf_counter() - started), compare=forming).row()
        except Exception as error:
            yield cleared(**shown, status=panels.status(sentence(error), alert=True))

    def finished(
        self,
        analysis: Analysis,
        truth: np.ndarray | None,
        look: Look,
        example: str,
        charts: dict[str, str] | None = None,
    ) -> dict:
        """Everything an analysis shows, by field of Results. charts: score and attention, where they are drawn
        already."""
        view = View(analysis, truth)
        picture, alternative, said = heat_view.heat(view, look, self.detector.scoring)
        return dict(
            cancel=gr.update(visible=False),
            status=panels.status(f"Done in {sum(analysis.seconds.values()):.1f} s."),
            **(charts or self._drawn(analysis)),
            compare=heat_view.films(view, look),
            heat=gr.Image(picture, alt_text=alternative),
            heat_words=said,
            numbers=analysis_to_dict(analysis, self.detector),
            view=view,
            explanation="",  # one of another record may have written a last word after the page was cleared
            link=panels.link(example, analysis.settings) if example else "",
        )

    def explain(self, path: str | None, handling: Handling, view: View | None, *inputs) -> Generator[tuple, None, None]:
        """Stream what the record changed: (cancel, status, HTML). inputs: the magnified place, the display settings;
        a number's name, another record's feature and value; the form's values."""
        look, (number, feature, value, *values) = look_of(*inputs[:LOOKING]), inputs[LOOKING:]
        idle, sofar = gr.update(visible=False), ""
        if not path:
            yield idle, panels.status(NO_FILM, alert=True), ""
            return
        try:
            seen = self.look(path, handling)
            if seen.quality.reasons and not handling.accepted:
                yield idle, panels.status(STOPPED_BY_GATE, alert=True), ""
                return
            record = self.detector.schema.parse(self.form.record(values))
            other = view is not None and view.analysis.record != record
            start = (panels.notes([OTHER_RECORD]) if other else "") + panels.quiet(
                wording.explained_record(record, self.detector.schema)
            )
            boxes = () if view is None else heat_view.boxes(view, look, self.detector.scoring)
            request = Request(
                targets=TARGETS,
                numbers=(number,) if number else (),
                changes=((feature, value),) if feature else (),
                regions=boxes,
            )
            context = Context(self.detector, seen.case.with_record(record), request)
            yield gr.update(visible=True), panels.status("Waiting for its turn …"), start
            started = time.perf_counter()
            for doing, shown in explain_stream.explanation_cards(context):
                said, sofar = (
                    panels.status(doing or f"Explained in {time.perf_counter() - started:.1f} s."),
                    start + shown,
                )
                yield gr.update(visible=bool(doing)), said, sofar
        except Exception as error:
            yield idle, panels.status(sentence(error), alert=True), sofar

    @staticmethod
    def stop(view: View | None) -> list:
        """What the page shows after Cancel: a finished result stays, with what was explained of it so far."""
        if view is None:
            return cleared(status=panels.status("Stopped. Film and record are as you left them."))
        return Results(
            cancel=gr.update(visible=False),
            status=panels.status("Stopped. The result stays, and what was explained so far."),
        ).row()

    def redraw(self, view: View | None, middle: tuple[float, float], *display) -> tuple:
        """Film, reconstruction and heat map under other display settings, without the model: (compare, picture,
        words)."""
        films = gr.skip() if view is None else heat_view.films(view, look_of(middle, *display))
        return films, *self.recolor(view, middle, *display)

    def recolor(self, view: View | None, middle: tuple[float, float], *display) -> tuple:
        """The heat map alone: (picture, words)."""
        if view is None:
            return gr.skip(), gr.skip()
        picture, alternative, said = heat_view.heat(view, look_of(middle, *display), self.detector.scoring)
        return gr.Image(picture, alt_text=alternative), said

    def center(
        self, view: View | None, middle: tuple[float, float], zoom: float, event: gr.SelectData
    ) -> tuple[float, float]:
        """A place of the heat map was clicked: it becomes the middle of what is magnified."""
        if view is None:
            return heat_view.MIDDLE
        height = heat_view.PICTURE_HEIGHT
        x, y = event.index
        return Look(0, 0, zoom=zoom or 1, middle=middle).place(y / height, x / (height * view.analysis.aspect))

    def save(self, view: View | None) -> tuple:
        """Files of the result: (files, status)."""
        if view is None:
            return gr.update(visible=False), panels.status(
                "There is no result yet: press **Analyze** first.", alert=True
            )
        case = self.detector.case(Radiograph(view.analysis.film), view.analysis.record)
        findings = find_findings(view.analysis, case, self.detector.scoring)
        made = report.result_files(report.Report(view.analysis, case, findings, self.detector))
        alone = {f"diff3m-{name}": data for name, data in made.items() if name.endswith((".pdf", ".dcm"))}
        paths = [
            str(keep_file(name, data)) for name, data in {"diff3m-result.zip": report.zip_files(made), **alone}.items()
        ]
        return gr.update(value=paths, visible=True), panels.status("The files are ready below the numbers.")


DISPLAY = (
    "opacity",
    "threshold",
    "mode",
    "colors",
    "contours",
    "level",
    "width",
    "zoom",
)  # of Look, in the order of the controls


LOOKING = 1 + len(DISPLAY)  # the magnified place, then the controls


def look_of(middle: tuple[float, float], *display) -> Look:
    """Display settings from the magnified place and the controls' values."""
    return Look(**dict(zip(DISPLAY, display, strict=True)), middle=middle)


def sentence(error: Exception) -> str:
    """What to tell the user of an error: its own sentence where it is one of ours (RadiographError, EHRError,
    settings out of range), else that something failed here; its kind is logged, never its text, which may hold what a
    file says."""
    if isinstance(error, ValueError):
        return str(error)
    log.error("an analysis ended in %s", type(error).__name__)
    return FAILED.format(kind=type(error).__name__)


def analyzed(
    detector: Detector, film: PatientCase | FilmSource, record: Mapping | None = None, callback=None, **settings
) -> Analysis:
    """An analysis of a case, or of a film and a record, when the model is free. One that was cancelled while it
    waited ends at its first step."""
    with MODEL.turn():
        return detector.analyze(film, record, callback=callback, **settings)
