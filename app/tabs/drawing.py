"""Tab: draw normals. Synthetic films that the model draws from pure noise under a record that the reader makes up."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import gradio as gr

from diff3m.detector import Detector
from diff3m.ehr import EHRError
from diff3m.reconstruct import MAX_SEED
from diff3m.sample import draw_normals, to_pictures

from ..components.ehr_form import build_form
from ..components.events import WAITING
from ..components.widgets import ON_MODEL
from ..render import panels, wording
from ..render.images import Frame, picture_strip
from ..runtime.gpu import on_gpu
from ..runtime.model_thread import MODEL
from ..runtime.streaming import Done, stream
from .open_films import describe_error

COUNT = 4  # films at once
GUIDE = (
    "Films drawn by the model alone, from pure noise, under a record that you make up. None is a patient's: each is "
    "synthetic. What they share is what the model believes of such a patient."
)


def build_drawing(detectors: Sequence[Detector]) -> None:
    """Lay the tab out, a tab in it for each checkpoint; called inside a Blocks."""
    gr.HTML(panels.small_text(GUIDE))
    if len(detectors) == 1:
        _build_model(detectors[0])
        return
    with gr.Tabs():
        for detector in detectors:
            with gr.Tab(wording.model_title(detector.config.name)):
                _build_model(detector)


def _build_model(detector: Detector) -> None:
    suffix = f"_draw_{detector.config.name}"
    with gr.Row(elem_classes="teach-row"):
        with gr.Column(scale=3, min_width=260):
            form = build_form(detector.schema, suffix)
            seed = gr.Number(
                0, label="Seed", info="another seed, other people", precision=0, minimum=0, maximum=MAX_SEED
            )
            button = gr.Button("Draw normals for this record", variant="primary", elem_id=f"draw{suffix}")
        with gr.Column(scale=8, min_width=280):
            films = gr.HTML(elem_id=f"drawn{suffix}", elem_classes="teach-pictures")

    def draw(values: Mapping) -> Iterator[dict]:
        try:
            record = detector.schema.parse(form.to_record([values[field] for field in form.fields]))
        except EHRError as error:
            yield {films: panels.status_line(str(error), alert=True)}
            return

        def work(callback):
            number = int(values[seed] or 0)
            return MODEL.run(lambda: draw_normals(detector, [record] * COUNT, seed=number, callback=callback))

        yield {films: panels.status_line(WAITING)}
        try:
            for event in stream(work):
                done = isinstance(event, Done)
                pictures = event.value if done else to_pictures(event.preview)
                text = "Synthetic: no patient's films." if done else f"Step {event.done} of {event.total}"
                frames = [Frame(picture, f"synthetic film {index}") for index, picture in enumerate(pictures, start=1)]
                yield {films: panels.status_line(text) + picture_strip(frames)}
        except Exception as error:
            yield {films: panels.status_line(describe_error(error), alert=True)}

    button.click(on_gpu(draw), {seed, *form.fields}, [films], trigger_mode="always_last", **ON_MODEL)
