"""Handlers of the Explore tab for explanations of the whole film or of one place."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterable

import gradio as gr

from diff3m.case import Case
from diff3m.explain import Context, Request
from diff3m.explain.attribution import TARGETS
from diff3m.findings import finding_regions, name_box, organ_zones, prepared_box

from .. import explain_stream
from ..components.events import WAITING, Updates, Values
from ..components.viewer import Status
from ..render import panels, wording
from ..runtime.runs import Run
from ..runtime.streaming import Done, stream
from .explore_analysis import AnalysisHandlers
from .explore_handlers import NO_FILM, STOPPED_BY_GATE
from .session import OpenFilm, Session

OTHER_RECORD = (
    "The record was changed since the result was computed: this explains the film under the record as it is now."
)
OUTSIDE = "The rectangle lies beside what the model sees of the film. Draw it over the chest."
RECTANGLE = "your rectangle"


class ExploreHandlers(AnalysisHandlers):
    """Handlers that stream explanations, added to those of the analysis."""

    def explain(self, values: Values) -> Generator[Updates, None, None]:
        """Stream what the record changed, on the whole film and at its findings."""
        part, film = self.screen.get_part(values), values[self.screen.session].film
        number, feature = values[part.number], values[part.feature]
        regions = finding_regions(film.findings) if film else ()
        request = Request(
            targets=TARGETS,
            numbers=(number,) if number else (),
            changes=((feature, values[part.value]),) if feature else (),
            box=regions[0][1] if regions else None,
            regions=regions,
        )
        yield from self._explain(values, lambda case: request)

    def explain_region(self, values: Values, event: gr.EventData) -> Generator[Updates, None, None]:
        """Stream what the record explains of one finding, or of a rectangle that was drawn on a film."""
        index, finding = int(event.film), getattr(event, "finding", None)
        box = tuple(float(edge) for edge in event.box)
        session = values[self.screen.session]
        film = session.films[index] if index < len(session.films) else None

        def region_request(case: Case) -> Request:
            if film is not None and finding is not None and int(finding) < len(film.findings):
                place = film.findings[int(finding)]
                return _make_region_request(place.zone, place.prepared_box)
            region = prepared_box(box, case)
            if region[2] <= region[0] or region[3] <= region[1]:
                raise ValueError(OUTSIDE)
            analysis = film and film.analysis
            return _make_region_request(
                name_box(region, organ_zones(analysis.reconstruction)) if analysis else RECTANGLE, region
            )

        yield from self._explain(values, region_request, ("region",), index)

    def _explain(
        self,
        values: Values,
        request_for: Callable[[Case], Request],
        names: Iterable[str] | None = None,
        index: int = 0,
    ) -> Generator[Updates, None, None]:
        session = values[self.screen.session]
        if len(session.films) <= index or session.stopped:
            yield self.show_error(session, STOPPED_BY_GATE if session.stopped else NO_FILM)
            return

        def steps(run: Run) -> Generator[Updates, None, None]:
            detector, case = self.screen.parts[session.model].detector, self.prepare_case(values, index)
            context = Context(detector, case, request_for(case))
            return self._stream(session, run, context, names, describe_explained_record(session.films[index], context))

        yield from self.follow_run(values, steps)

    def _stream(
        self, session: Session, run: Run, context: Context, names: Iterable[str] | None, start: str
    ) -> Generator[Updates, None, None]:
        """Stream the explanations of a context. start: what stands over them."""
        screen, began = self.screen, time.perf_counter()
        form = screen.parts[session.model].form
        yield {**form.mark(), screen.explanation: "", **self.show_progress(session, Status(WAITING))}

        def work(callback: Callable) -> str:
            page = ""
            for progress, page in explain_stream.stream_cards(context, names):
                if progress:
                    callback((progress, page))
            return page

        for event in stream(work, lambda: run.is_wanted):
            if isinstance(event, Done):
                summary = explain_stream.make_summary_sentence(context)
                status = f"Explained in {time.perf_counter() - began:.1f} s."
                yield {
                    **self.show_run_end(session, status),
                    screen.explanation: start + event.value,
                    screen.record_summary: panels.summary_with_link(summary),
                }
                return
            progress, page = event
            yield {screen.explanation: start + page, **self.show_progress(session, Status(progress))}


def _make_region_request(name: str, box: tuple[float, float, float, float]) -> Request:
    """Return a request for one region alone, under its name."""
    return Request(box=box, regions=((name, box),), pictures=False)


def describe_explained_record(film: OpenFilm, context: Context) -> str:
    """Return what stands over the explanations: of which record they are."""
    case, schema = context.case, context.detector.schema
    known = {name: value for name, value in case.record.items() if schema[name].trained}
    is_other_record = film.analysis is not None and film.analysis.record != case.record
    sentence = wording.explained_record(known, schema)
    return (panels.note_list([OTHER_RECORD]) if is_other_record else "") + panels.small_text(sentence)
