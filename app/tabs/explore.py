"""Tab: the reading room. A film and a record in; what is normal for it, where it differs and how unusual it is out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import gradio as gr
from gradio.components import Component
from gradio.events import Dependency

from diff3m.detector import Detector

from ..components.viewer import with_measurements
from ..components.widgets import ON_MODEL, SILENT, slider
from ..examples import Example, load_examples
from ..runtime.gpu import on_gpu
from .explore_analysis import Analyzing
from .explore_layout import Screen, build_screen

__all__ = ["ON_MODEL", "SILENT", "Explore", "build_explore", "slider"]


@dataclass(frozen=True)
class Explore:
    """The tab for the rest of the page.

    outputs: what `open_case` may change. open_case: opens a film's file with its record under a model, by name, and
    returns {component: value}. running: the events that must not outlive a film.
    """

    outputs: list[Component]
    open_case: Callable[[str, str, Mapping[str, object]], dict[Component, object]]
    running: list[Dependency]


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
    handlers = Analyzing(screen)
    running = _wire_model(screen, handlers)
    _wire_films(screen, handlers, running, page)
    screen.save.click(
        handlers.save,
        {screen.session, screen.measured},
        [screen.saved, screen.status],
        js=with_measurements("viewer"),
        **SILENT,
    )
    return Explore(screen.outputs, handlers.open_case, running)


def _wire_model(screen: Screen, handlers: Analyzing) -> list[Dependency]:
    """Wire what the model works for; a new analysis ends what is explained of the one before."""
    inputs, outputs = screen.inputs, screen.outputs
    asked = inputs | screen.questions
    explained = screen.explain.click(on_gpu(handlers.explain), asked, outputs, **ON_MODEL)
    region = screen.viewer.explain(on_gpu(handlers.explain_region), inputs, outputs, **ON_MODEL)
    noticed = screen.viewer.action(on_gpu(handlers.on_notice), inputs, outputs, **ON_MODEL)
    accepted = screen.tools.accept.click(on_gpu(handlers.accept_and_analyze), inputs, outputs, **ON_MODEL)
    fields = [field for part in screen.parts.values() for field in part.form.fields if isinstance(field, gr.Textbox)]
    analyzed = gr.on(
        [screen.analyze.click, *(field.submit for field in fields)],
        on_gpu(handlers.analyze),
        inputs,
        outputs,
        cancels=[explained, region],
        **ON_MODEL,
    )
    running = [explained, region, noticed, accepted, analyzed]
    screen.cancel.click(handlers.cancel, inputs, outputs, cancels=running, queue=False, **SILENT)
    return running


def _wire_films(screen: Screen, handlers: Analyzing, running: list[Dependency], page: gr.Blocks) -> None:
    """Wire what opens, corrects or takes away a film; whatever still runs belongs to another one."""
    inputs, outputs, tools = screen.inputs, screen.outputs, screen.tools
    ending = dict(cancels=running, **SILENT)
    screen.film_file.upload(handlers.open, inputs | {screen.film_file}, outputs, **ending)
    screen.prior_file.upload(handlers.open_prior, inputs | {screen.prior_file}, outputs, **ending)
    screen.close.click(handlers.close, inputs, outputs, **ending)
    screen.model.input(handlers.change_model, inputs, outputs, **ending)  # a link or a table's row sets it too
    for part in screen.parts.values():
        part.strip.select(handlers.choose, inputs, outputs, **ending)
    tools.correct.click(handlers.correct, inputs, outputs, **ending)
    for button, change in (
        (tools.left, dict(turn=1)),
        (tools.right, dict(turn=-1)),
        (tools.invert, dict(negative=True)),
    ):
        button.click(lambda values, change=change: handlers.move(values, **change), inputs, outputs, **ending)
    for cut in tools.cuts:
        cut.release(handlers.cut, inputs | set(tools.cuts), outputs, **ending)
    linked = page.load(handlers.open_link, None, outputs, **SILENT)
    running.append(linked.then(on_gpu(handlers.follow), inputs, outputs, **ON_MODEL))
