"""The Explore tab's components: left rail, viewer, right rail, and the explanations below the fold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import gradio as gr
from gradio.components import Component

from diff3m.detector import Detector
from diff3m.explain import get_example_value
from diff3m.reconstruct import MAX_SEED

from .. import explain_stream
from ..components.ehr_form import EHRForm, build_form
from ..components.film_edit import FilmTools, build_film_tools
from ..components.viewer import ViewerState, film_viewer
from ..components.widgets import SILENT, make_slider
from ..examples import MAX_STRIP, Example, get_strip_title
from ..render import panels, verdict, wording
from ..runtime.runs import Runs
from .session import EMPTY, Session

START = "Drop a film, or choose an example."
LEVELS, STEPS = (10, 900), (1, 50)  # ends of the settings
TOGGLE_RECORD = """() => {
  const room = document.querySelector("#reading");
  const open = document.querySelector("#record-part").checkVisibility();
  room.classList.toggle("record-open", !open);
  room.classList.toggle("record-closed", open);
}"""
CENTER_ON_CLICK = """
element.addEventListener("click", (event) => {
  const button = event.target.closest("[data-finding]");
  const viewer = document.querySelector("#viewer .film-viewer")?.viewer;
  if (!button || !viewer) return;
  const place = [Number(button.dataset.finding), Number(button.dataset.film)];
  viewer.centerOn(...place);
  if (button.matches(".chip-explain")) viewer.explainFinding(...place);
});
"""


@dataclass(frozen=True)
class ModelPart:
    """What a checkpoint has of its own: the strip of examples, the record's form, and what an explanation may be asked.

    record: the column with the form. questions: the column with number (whose influence is followed), feature and value
    (of another record).
    """

    detector: Detector
    examples: tuple[Example, ...]
    strip: gr.Gallery
    record: gr.Column
    form: EHRForm
    questions: gr.Column
    number: gr.Dropdown
    feature: gr.Dropdown
    value: gr.Textbox


@dataclass(frozen=True)
class Screen:
    """All components of the tab that handlers read or write; `parts` by checkpoint."""

    model: gr.Dropdown
    session: gr.State
    runs: gr.State
    film_file: gr.File
    prior_file: gr.File
    film_card: gr.HTML
    close: gr.Button
    tools: FilmTools
    level: gr.Slider
    steps: gr.Slider
    seed: gr.Number
    status: gr.HTML
    analyze: gr.Button
    cancel: gr.Button
    viewer: gr.HTML
    verdict: gr.HTML
    chips: gr.HTML
    notes: gr.HTML
    record_summary: gr.HTML
    explain: gr.Button
    numbers: gr.HTML
    json: gr.JSON
    save: gr.Button
    files: gr.File
    link: gr.HTML
    explanation: gr.HTML
    measurements: gr.Textbox
    parts: Mapping[str, ModelPart]

    @property
    def outputs(self) -> list[Component]:
        """Everything that an event may change."""
        others = ("runs", "tools", "parts", "measurements")
        own = [getattr(self, field.name) for field in fields(self) if field.name not in others]
        of_models = [
            component
            for part in self.parts.values()
            for component in (part.strip, part.record, part.questions, *part.form.components)
        ]
        return [*own, *self.tools.components, *of_models]

    @property
    def inputs(self) -> set[Component]:
        """What most events read: the session, its runs, the model, the settings and every form."""
        forms = {component for part in self.parts.values() for component in part.form.components}
        return {self.session, self.runs, self.model, self.level, self.steps, self.seed, *forms}

    @property
    def questions(self) -> set[Component]:
        """What an explanation is asked."""
        return {field for part in self.parts.values() for field in (part.number, part.feature, part.value)}

    def get_part(self, values: Mapping[Component, Any]) -> ModelPart:
        """Return the part of the model that is chosen."""
        return self.parts[values[self.model]]


def build_model_select(detectors: Sequence[Detector]) -> gr.Dropdown:
    """Return the choice of the model, in the top bar; hidden where there is one alone."""
    names = [detector.config.name for detector in detectors]
    return gr.Dropdown(
        [(wording.model_title(name), name) for name in names],
        value=names[0],
        label="Model",
        visible=len(names) > 1 or "hidden",
        min_width=0,
        elem_id="model",
    )


def build_screen(
    detectors: Sequence[Detector], examples: Mapping[str, Sequence[Example]], model: gr.Dropdown
) -> Screen:
    """Lay the tab out; called inside a Blocks. examples: of each checkpoint by name."""
    names = [detector.config.name for detector in detectors]
    session = gr.State(Session(names[0]), time_to_live=3600)
    runs = gr.State(Runs())  # never an output: handlers that run at the same time share it
    suffixes = {name: f"_{name}" if index else "" for index, name in enumerate(names)}
    with gr.Row(elem_id="reading"):
        with gr.Column(elem_id="left-rail", min_width=0):
            with gr.Column(elem_id="film-part", min_width=0):
                film = _build_film_part(names, examples, suffixes)
            with gr.Column(elem_id="record-part", min_width=0):
                records = {
                    detector.config.name: _build_record(detector, suffixes[detector.config.name], index == 0)
                    for index, detector in enumerate(detectors)
                }
                settings = _build_settings(detectors[0])
            with gr.Column(elem_id="foot", min_width=0):
                foot = _build_foot()
        with gr.Column(elem_id="center", min_width=0):
            viewer = film_viewer(ViewerState(description=EMPTY), elem_id="viewer")
        with gr.Column(elem_id="right-rail", min_width=0):
            right, questions = _build_right_rail(detectors, suffixes)
    explanation = gr.HTML(elem_id="explanation")
    measurements = gr.Textbox(
        "", visible="hidden", elem_id="measured", label="Measurements"
    )  # created last: see `with_measurements`
    parts = {
        detector.config.name: ModelPart(
            detector,
            tuple(examples[detector.config.name]),
            film["strips"][detector.config.name],
            *records[detector.config.name],
            *questions[detector.config.name],
        )
        for detector in detectors
    }
    del film["strips"]
    return Screen(
        model=model,
        session=session,
        runs=runs,
        viewer=viewer,
        explanation=explanation,
        measurements=measurements,
        parts=parts,
        **film,
        **settings,
        **foot,
        **right,
    )


def _build_film_part(
    names: Sequence[str], examples: Mapping[str, Sequence[Example]], suffixes: Mapping[str, str]
) -> dict:
    film_card = gr.HTML(elem_id="film-card")
    tools = build_film_tools()
    with gr.Row(elem_id="film-files"):
        film_file = gr.File(label="Film: DICOM, PNG, JPEG, TIFF", elem_id="film-file", height=88, min_width=0)
        prior_file = gr.File(label="Second film", elem_id="prior-file", height=44, min_width=0, visible="hidden")
        close = gr.Button("Close", size="sm", elem_id="close-film", visible="hidden", min_width=0)
    gr.HTML(panels.small_text(get_strip_title(examples[names[0]])), elem_id="examples-title")
    strips = {
        name: gr.Gallery(
            [(example.picture, example.title.split(",")[0]) for example in examples[name][:MAX_STRIP]],
            label="Examples",
            show_label=False,
            columns=3,
            height="auto",
            allow_preview=False,
            object_fit="cover",
            format="png",
            buttons=[],
            elem_id=f"examples{suffixes[name]}",
            elem_classes="examples",
            visible=bool(examples[name]) and name == names[0],
        )
        for name in names
    }
    return {
        "film_card": film_card,
        "film_file": film_file,
        "prior_file": prior_file,
        "close": close,
        "tools": tools,
        "strips": strips,
    }


def _build_record(detector: Detector, suffix: str, visible: bool) -> tuple[gr.Column, EHRForm]:
    name = detector.config.name
    with gr.Column(visible=visible, min_width=0, elem_id=f"record{suffix}") as column:
        gr.HTML(panels.rail_title("Record", wording.model_sentence(name, detector.schema)))
        form = build_form(detector.schema, suffix)
    return column, form


def _build_settings(detector: Detector) -> dict:
    scoring = detector.scoring
    with gr.Accordion("Settings", open=False, elem_id="settings"):
        level = make_slider(
            *LEVELS, scoring.noise_level, step=10, label="Noise level", info="higher: freer to leave the film"
        )
        steps = make_slider(
            *STEPS, scoring.steps, step=1, label="Steps", info=f"the percentile was calibrated with {scoring.steps}"
        )
        seed = gr.Number(0, label="Seed", precision=0, minimum=0, maximum=MAX_SEED)
    return {"level": level, "steps": steps, "seed": seed}


def _build_foot() -> dict:
    status = gr.HTML(panels.status_line(START), elem_id="status")
    with gr.Row(elem_id="actions"):
        analyze = gr.Button("Analyze", variant="primary", elem_id="analyze", min_width=0)
        # hidden, not taken out of the page, as Analyze is while the model works: putting a button back takes time
        cancel = gr.Button("Cancel", elem_id="cancel", min_width=0, visible="hidden")
        sheet = gr.Button("Record", elem_id="open-record", min_width=0)  # seen on narrow windows alone
    sheet.click(None, None, None, js=TOGGLE_RECORD, api_visibility="private")
    return {"status": status, "analyze": analyze, "cancel": cancel}


def _build_right_rail(detectors: Sequence[Detector], suffixes: Mapping[str, str]) -> tuple[dict, dict]:
    result = gr.HTML(panels.small_text("No film is analyzed yet."), elem_id="verdict")
    with gr.Tabs(elem_id="result-tabs"):
        with gr.Tab("Findings", id="findings"):
            chips = gr.HTML(verdict.finding_chips(()), elem_id="findings", js_on_load=CENTER_ON_CLICK)
            notes = gr.HTML(elem_id="notes")
        with gr.Tab("Record", id="record"):
            summary = gr.HTML(elem_id="record-summary")
            explain = gr.Button(
                "What did the record change?", elem_id="explain", size="sm", min_width=0, interactive=False
            )
            with gr.Accordion("Ask more", open=False, elem_id="questions"):
                questions = {
                    detector.config.name: _build_questions(detector, suffixes[detector.config.name], index == 0)
                    for index, detector in enumerate(detectors)
                }
        with gr.Tab("Numbers", id="numbers"):
            numbers = gr.HTML(elem_id="numbers")
            with gr.Accordion("Everything (JSON)", open=False):
                values = gr.JSON(show_label=False, elem_id="json")
    with gr.Column(elem_id="keep", min_width=0):
        save = gr.Button(
            "Save report, pictures, numbers, DICOM", size="sm", elem_id="save", min_width=0, interactive=False
        )
        files = gr.File(
            label="Files of this result", visible=False, interactive=False, file_count="multiple", elem_id="saved"
        )
        link = gr.HTML(elem_id="link")
    components = {
        "verdict": result,
        "chips": chips,
        "notes": notes,
        "record_summary": summary,
        "explain": explain,
        "numbers": numbers,
        "json": values,
        "save": save,
        "files": files,
        "link": link,
    }
    return components, questions


def _build_questions(
    detector: Detector, suffix: str, visible: bool
) -> tuple[gr.Column, gr.Dropdown, gr.Dropdown, gr.Textbox]:
    """Return a number whose influence is followed, and another record."""
    numbers = explain_stream.list_influence_choices(detector.schema)
    features = explain_stream.list_change_choices(detector.schema)
    with gr.Column(visible=visible, min_width=0) as column:
        number = gr.Dropdown(
            numbers,
            value=explain_stream.select_first_choice(numbers),
            label="Influence of",
            min_width=0,
            elem_id=f"influence{suffix}",
        )
        feature = gr.Dropdown(
            [("none", ""), *features],
            value="",
            label="Another record: change",
            min_width=0,
            elem_id=f"change{suffix}",
        )
        value = gr.Textbox("", label="to", min_width=0, max_length=40, elem_id=f"change-to{suffix}")
    hints = {name: get_example_value(detector.schema[name]) for _, name in features}
    feature.change(
        lambda name: gr.Textbox(placeholder=f"e.g. {hints[name]}" if name in hints else ""),
        feature,
        value,
        queue=False,
        **SILENT,
    )
    return column, number, feature, value
