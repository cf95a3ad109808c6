"""Tab: playground. A simulated person whose record is moved, the true normal, and what the model makes of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import gradio as gr
import numpy as np

from diff3m.data.phantom import KINDS, make_person
from diff3m.detector import Detector
from diff3m.ehr import VIEW_LABELS
from diff3m.evaluation.phantom_numbers import get_first_number
from diff3m.export.files import draw_heat_over_film
from diff3m.export.overlay import draw_outline, to_uint8
from diff3m.imaging import Radiograph, prepare

from ..components.events import WORKING, Updates
from ..components.widgets import ON_MODEL, SILENT, make_slider
from ..render import panels, wording
from ..render.images import Frame, picture_strip
from ..runtime.gpu import on_gpu
from ..runtime.model_thread import analyze_in_turn
from .lessons import answers
from .open_films import describe_error
from .teach_films import MODEL_SIDE

NO_LESION = "none: a normal phantom"
PICTURE = 420  # pixels; the page makes them smaller where they do not fit
MAX_PERSON = 9_999


@dataclass(frozen=True, eq=False)
class Play:
    """What the controls ask for.

    prepared, normal: the phantom and its true normal as the model sees them, (S, S). mask: of the lesion, (H, W) bool,
    or None. record: what the model knows.
    """

    film: Radiograph
    prepared: np.ndarray
    normal: np.ndarray
    mask: np.ndarray | None
    record: dict


@dataclass(frozen=True)
class Playground:
    """The tab's components."""

    person: gr.Number
    lesion: gr.Dropdown
    age: gr.Slider
    sex: gr.Radio
    view: gr.Radio
    bmi: gr.Slider
    systolic: gr.Slider
    is_informed: gr.Checkbox
    phantom: gr.HTML
    result: gr.HTML
    text: gr.HTML

    @property
    def controls(self) -> list:
        """What is moved."""
        return [
            self.person,
            self.lesion,
            self.age,
            self.sex,
            self.view,
            self.bmi,
            self.systolic,
            self.is_informed,
        ]


def build_playground(detector: Detector, tab: gr.Tab) -> Playground:
    """Lay the playground out and wire it; called inside `tab`. The model runs when the tab is first opened."""
    gr.HTML(
        panels.small_text(
            "Move the record of a simulated person. Beside the phantom: its true normal, which only a simulator can "
            "know, and the model's."
        )
    )
    with gr.Row(elem_classes="teach-row"):
        with gr.Column(min_width=0, elem_classes="teach-question"):
            with gr.Row():
                number = gr.Number(
                    1, label="Person", precision=0, minimum=0, maximum=MAX_PERSON, min_width=90, elem_id="play-person"
                )
                lesion = gr.Dropdown(
                    [NO_LESION, *KINDS], value="opacity", label="Lesion", min_width=140, elem_id="play-lesion"
                )
            age = make_slider(18, 95, 55, step=1, label="Age (years)", elem_id="play-age")
            bmi = make_slider(16, 48, 26, step=0.5, label="BMI (kg/m²)", elem_id="play-bmi")
            systolic = make_slider(90, 210, 125, step=1, label="Systolic pressure (mmHg)", elem_id="play-systolic")
            with gr.Row():
                sex = gr.Radio([("Female", "F"), ("Male", "M")], value="F", label="Sex", elem_id="play-sex")
                view = gr.Radio(
                    [(label, name) for name, label in VIEW_LABELS.items()],
                    value="PA",
                    label="View",
                    elem_id="play-view",
                )
            is_informed = gr.Checkbox(True, label="The model knows this record", elem_id="play-informed")
        with gr.Column(min_width=0, elem_classes="teach-film-row"):
            phantom = gr.HTML(elem_id="play-phantom", elem_classes="teach-pictures")
            result = gr.HTML(elem_id="play-result", elem_classes="teach-pictures")
        with gr.Column(min_width=0, elem_classes="teach-result"):
            text = gr.HTML(panels.status_line(WORKING), elem_id="play-text", elem_classes="teach-answer")
    page = Playground(number, lesion, age, sex, view, bmi, systolic, is_informed, phantom, result, text)
    phantom.value = _phantom_pictures(_make_play(detector, page, {control: control.value for control in page.controls}))

    def show_phantom(values: Mapping) -> Updates:
        return {phantom: _phantom_pictures(_make_play(detector, page, values))}

    def show_result(values: Mapping) -> Iterator[Updates]:
        yield {text: panels.status_line(WORKING)}
        try:
            pictures, sentences = _analyze_play(detector, _make_play(detector, page, values))
        except Exception as error:
            yield {text: panels.status_line(describe_error(error), alert=True)}
            return
        yield {result: pictures, text: sentences}

    inputs = set(page.controls)
    changes = [control.change for control in page.controls]
    # `change` also hears arrow keys and typed numbers; the phantom follows at once, the model when it is free
    gr.on(changes, show_phantom, inputs, [phantom], trigger_mode="always_last", **SILENT)
    gr.on([*changes, tab.select], on_gpu(show_result), inputs, [result, text], trigger_mode="always_last", **ON_MODEL)
    return page


def _make_play(detector: Detector, page: Playground, values: Mapping) -> Play:
    """Return the phantom that the controls' values describe."""
    lesion = None if values[page.lesion] == NO_LESION else values[page.lesion]
    number = min(max(int(values[page.person] or 0), 0), MAX_PERSON)
    person = make_person(get_first_number("test", "teaching") + number, lesion)
    systolic = float(values[page.systolic])
    patient = person.patient.with_values(
        age=float(values[page.age]),
        sex=values[page.sex],
        view=values[page.view],
        bmi=float(values[page.bmi]),
        systolic_mmhg=systolic,
        diastolic_mmhg=round(40 + 0.3 * systolic, 1),
    )
    settings, mask = detector.config.preprocessing, None
    normal = Radiograph(person.healthy.render(MODEL_SIDE, patient))
    film = normal
    if lesion is not None:
        drawing = person.render_with_lesion(MODEL_SIDE, patient)
        film, mask = Radiograph(drawing.film), drawing.mask
    record = patient.to_record() if values[page.is_informed] else {}
    return Play(film, prepare(film, settings), prepare(normal, settings), mask, record)


def _phantom_pictures(play: Play) -> str:
    picture, caption = play.prepared, "the phantom"
    if play.mask is not None:
        picture = draw_outline(np.repeat(to_uint8(picture)[..., None], 3, axis=2), play.mask)
        caption = "the phantom, its lesion outlined"
    return picture_strip([Frame(picture, caption), Frame(play.normal, "its true normal")], PICTURE)


def _analyze_play(detector: Detector, play: Play) -> tuple[str, str]:
    """Return the model's pictures, and what it says, as HTML."""
    analysis = analyze_in_turn(detector, play.film, play.record)
    heat = draw_heat_over_film(analysis.film, analysis.heat_map, detector.scoring.heat_normal)
    frames = [
        Frame(analysis.reconstruction, "the model's normal"),
        Frame(heat, "where film and model's normal differ"),
    ]
    sentences = [wording.score_sentence(analysis), *wording.contradiction_sentences(analysis, detector.schema)]
    error = float(np.abs(analysis.reconstruction - play.normal).mean())
    distance = f"The model's normal lies {wording.percent(error)} of the grey range from the true one on average."
    return picture_strip(frames, PICTURE), answers.card("What the model says", [*sentences, distance])
