"""Tab Explore: a film and a record are analyzed; shown are normal film, differences and percentile."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType

import gradio as gr
from gradio.components import Component

from diff3m.detector import Detector

from ..components.events import Handler, without_repetition
from ..components.viewer import with_measurements
from ..components.widgets import ON_MODEL, SILENT
from ..examples import Example, load_examples
from ..runtime.gpu import on_gpu
from .explore_explain import ExploreHandlers
from .explore_layout import Screen, build_screen

__all__ = ["Explore", "build_explore"]


@dataclass(frozen=True)
class Explore:
    """The tab for the rest of the page.

    outputs: what `open_case` may change. open_case: opens a film's file with its record under a model, by name, and
    returns {component: value}. runs: the state with the reader's runs, which must not outlive a film.
    """

    outputs: list[Component]
    open_case: Callable[[str, str, Mapping[str, object]], dict[Component, object]]
    runs: gr.State


def build_explore(
    detectors: Sequence[Detector],
    model: gr.Dropdown,
    page: gr.Blocks,
    own_examples: Mapping[str, Sequence[Example]] = MappingProxyType({}),
) -> Explore:
    """Lay the tab out and wire it; called inside `page`.

    model: the choice of the checkpoint, in the top bar. own_examples: instead of the shipped ones, by checkpoint.
    """
    names = [detector.config.name for detector in detectors]
    examples = {name: own_examples.get(name) or load_examples(name) for name in names}
    screen = build_screen(detectors, examples, model)
    handlers = ExploreHandlers(screen)
    _wire_model(screen, handlers)
    _wire_films(screen, handlers, page)
    screen.save.click(
        handlers.save,
        {screen.session, screen.runs, screen.measurements},
        [screen.files, screen.status, screen.session],
        js=with_measurements("viewer"),
        **SILENT,
    )
    return Explore(screen.outputs, handlers.open_case, screen.runs)


def _on_model(handler: Handler) -> Handler:
    """Return a streaming handler for an event that lasts while others can change the page."""
    return on_gpu(without_repetition(handler))


def _wire_model(screen: Screen, handlers: ExploreHandlers) -> None:
    """Wire what the model works for. Whatever begins last has the page, see `runtime.runs`."""
    inputs, outputs = screen.inputs, screen.outputs
    options = dict(trigger_mode="multiple", **ON_MODEL)  # "once" would lose a click while the one before still runs
    screen.explain.click(_on_model(handlers.explain), inputs | screen.questions, outputs, **options)
    screen.viewer.explain(_on_model(handlers.explain_region), inputs, outputs, **options)
    screen.viewer.action(_on_model(handlers.answer_notice), inputs, outputs, **options)
    screen.tools.accept.click(_on_model(handlers.accept_and_analyze), inputs, outputs, **options)
    fields = [field for part in screen.parts.values() for field in part.form.fields if isinstance(field, gr.Textbox)]
    analyses = [screen.analyze.click, *(field.submit for field in fields)]
    gr.on(analyses, _on_model(handlers.analyze), inputs, outputs, **options)
    screen.cancel.click(handlers.cancel, {screen.runs}, None, queue=False, **SILENT)


def _wire_films(screen: Screen, handlers: ExploreHandlers, page: gr.Blocks) -> None:
    """Wire what opens, corrects or takes away a film; whatever still runs belongs to another one."""
    inputs, outputs, tools = screen.inputs, screen.outputs, screen.tools
    # every click counts, one after the other, each on what the one before left
    options = dict(trigger_mode="multiple", concurrency_id="films", concurrency_limit=1, **SILENT)
    screen.film_file.upload(handlers.open_first, inputs | {screen.film_file, screen.film_card}, outputs, **options)
    screen.prior_file.upload(handlers.open_prior, inputs | {screen.prior_file}, outputs, **options)
    screen.close.click(handlers.close_films, inputs, outputs, **options)
    screen.model.input(handlers.change_model, inputs, outputs, **options)  # a link or a table's row sets it too
    for part in screen.parts.values():
        choice = part.strip.select(handlers.open_example, inputs, outputs, **options)
        choice.then(_on_model(handlers.add_record_effect), inputs, outputs, **ON_MODEL)
    tools.correct.click(handlers.apply_correction, inputs, outputs, **options)
    for button, change in ((tools.left, {"turn": 1}), (tools.right, {"turn": -1}), (tools.invert, {"negative": True})):
        button.click(partial(handlers.turn_or_invert, **change), inputs, outputs, **options)
    for cut in tools.cuts:
        cut.release(handlers.crop, inputs | set(tools.cuts), outputs, **options)
    link = page.load(handlers.open_link, None, outputs, **SILENT)
    link.then(_on_model(handlers.follow_link), inputs, outputs, **ON_MODEL)
