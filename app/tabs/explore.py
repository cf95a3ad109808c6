"""Tab: one case. Film and record in; reconstruction, heat map, score among normals and attention out. Layout and
wiring."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import gradio as gr
from gradio.events import Dependency

from diff3m.detector import Detector
from diff3m.explain import example_value
from diff3m.export.files import OPACITY
from diff3m.export.overlay import PALETTES
from diff3m.reconstruct import MAX_SEED

from .. import explain_stream
from ..components import heat_view
from ..components.ehr_form import EHRForm, build_form, follow_height_and_weight
from ..components.film_edit import FilmTools, build_film_tools
from ..examples import Example, load_examples
from ..render import panels, wording
from ..runtime.gpu import on_gpu
from .explore_handlers import DISPLAY, START, Case
from .results import Results

GALLERY_HEIGHT = 310
THRESHOLD = "as a share: 0.02 is 2 %"
SILENT = dict(show_progress="hidden", api_visibility="private")
# handlers wait for their turn of the model inside (`turns.MODEL`), so that each says that it waits and can be
# cancelled; more wait in the queue
AT_ONCE = 12
ON_MODEL = dict(concurrency_id="model", concurrency_limit=AT_ONCE, **SILENT)


@dataclass(frozen=True)
class Explorer:
    """One checkpoint's page: its name, the film's component, the record's form, its handlers, what opening a film
    changes, and the events that must not outlive a film."""

    name: str
    file: gr.File
    form: EHRForm
    case: Case
    opening: list[gr.components.Component]
    running: list[Dependency]


def build_explorers(detectors: Sequence[Detector], page: gr.Blocks) -> tuple[list[Explorer], gr.Tabs | None]:
    """One Explore page for each checkpoint, chosen by name; with one checkpoint, no choice is shown. Called inside
    `page`."""
    if len(detectors) == 1:
        return [build_explore(detectors[0], page)], None
    made = []
    with gr.Tabs() as tabs:
        for index, detector in enumerate(detectors):
            name = detector.config.name
            with gr.Tab(wording.model_title(name), id=name, elem_id=f"model-{name}"):
                gr.HTML(panels.quiet(wording.model_sentence(name, detector.schema)))
                made.append(build_explore(detector, page, suffix=f"_{name}" if index else ""))
    chosen = {example: explorer.name for explorer in made for example in explorer.case.examples}

    def open_tab(request: gr.Request):
        """The tab of the example that the address asks for."""
        name = chosen.get(request.query_params.get("example", ""))
        return gr.Tabs(selected=name) if name else gr.skip()

    page.load(open_tab, None, tabs, queue=False, **SILENT)
    return made, tabs


def build_explore(detector: Detector, page: gr.Blocks, suffix: str = "") -> Explorer:
    """Lay the tab out and wire it; called inside `page`. suffix: of element ids, where there are several."""
    examples = load_examples(detector.config.name)
    with gr.Row():
        with gr.Column(scale=5, min_width=280):
            file, gallery, facts = _film_inputs(examples, suffix)
            tools = build_film_tools(suffix)
            gr.Markdown("## 2 · The patient's record\nWhat is not known stays empty.")
            form = build_form(detector.schema, suffix)
            with gr.Row():
                analyze = gr.Button("Analyze", variant="primary", elem_id=f"analyze{suffix}", scale=3)
                cancel = gr.Button("Cancel", elem_id=f"cancel{suffix}", scale=1, min_width=80, visible=False)
            settings = _settings(detector)
        with gr.Column(scale=8, min_width=280):
            status = gr.HTML(panels.status(START), elem_id=f"status{suffix}")
            with gr.Column(visible=False) as panel:
                outputs = _outputs(detector, suffix)
            results = outputs.results
            results.cancel, results.status, results.panel = cancel, status, panel
    case = Case(detector, form, examples)
    # was a film open before; the BMI that was filled in; the example's id, if it is one
    opened, computed_bmi, example = gr.State(False), gr.State(""), gr.State("")
    follow_height_and_weight(form, computed_bmi)
    shown = results.row()
    opening = [facts, opened, computed_bmi, example, *tools.outputs, *form.fields, *shown]
    inputs = [file, example, tools.handling, *settings, outputs.middle, *outputs.display, *form.fields]

    clicked = analyze.click(on_gpu(case.analyze), inputs, shown, scroll_to_output=True, **ON_MODEL)
    looking = [outputs.middle, *outputs.display]
    chosen = gallery.select(case.choose, looking, [file, *opening], cancels=[clicked], **SILENT)
    followed = chosen.then(on_gpu(case.follow), [results.view, *inputs], shown, **ON_MODEL)
    asked = outputs.explain.click(
        on_gpu(case.explain),
        [file, tools.handling, results.view, outputs.middle, *outputs.display, *outputs.asked, *form.fields],
        [results.cancel, results.status, results.explanation],
        **ON_MODEL,
    )
    linked = page.load(_opener(case, settings, len(opening)), looking, [file, *settings, *opening], **SILENT)
    reopened = linked.then(on_gpu(case.follow), [results.view, *inputs], shown, **ON_MODEL)
    # whatever is still being analyzed belongs to another film
    events = [clicked, followed, asked, reopened]
    running = dict(cancels=events, **SILENT)
    gallery.select(None, None, None, cancels=events[1:], api_visibility="private")
    file.upload(case.open, [file, opened, *form.fields], opening, **running)
    file.clear(case.close, None, opening, **running)
    _wire_tools(case, tools, file, [*tools.outputs, *shown], running)
    analyze.click(None, None, None, cancels=events[1:], api_visibility="private")
    cancel.click(case.stop, results.view, shown, queue=False, **running)
    _wire_viewer(case, outputs)
    outputs.save.click(case.save, results.view, [results.saved, results.status], **SILENT)
    return Explorer(detector.config.name, file, form, case, opening, events)


def _opener(case: Case, settings: Sequence[gr.components.Component], count: int):
    """A handler of the page's load: show the example that the address names, with the settings in it."""

    def open_link(request: gr.Request, *looking) -> list:
        return case.open_link(request.query_params, *looking) or [gr.skip()] * (1 + len(settings) + count)

    return open_link


def _wire_tools(case: Case, tools: FilmTools, file: gr.File, outputs: list, running: dict) -> None:
    """Every tool takes the film otherwise, and drops what was shown of it as it was."""
    given = [tools.handling, file]
    tools.mend.click(case.mend, given, outputs, **running)
    for button, change in (
        (tools.left, dict(turn=1)),
        (tools.right, dict(turn=-1)),
        (tools.invert, dict(negative=True)),
    ):
        button.click(
            lambda handling, path, change=change: case.take(handling.moved(**change), path), given, outputs, **running
        )
    tools.accept.input(
        lambda accepted, handling, path: case.take(replace(handling, accepted=accepted), path),
        [tools.accept, *given],
        outputs,
        **running,
    )
    for slider in tools.cuts:
        slider.release(case.cut, [*given, *tools.cuts], outputs, **running)


def _wire_viewer(case: Case, outputs: _Outputs) -> None:
    """Display settings draw anew from what is there; nothing is computed again."""
    results, middle = outputs.results, outputs.middle
    given = [results.view, middle, *outputs.display]
    drawn, heat = [results.compare, results.heat, results.heat_words], [results.heat, results.heat_words]
    for name, control in zip(DISPLAY, outputs.display, strict=True):
        whole = name in ("level", "width", "zoom")
        control.change(case.redraw if whole else case.recolor, given, drawn if whole else heat, queue=False, **SILENT)
    zoom = outputs.display[DISPLAY.index("zoom")]
    clicked = results.heat.select(case.center, [results.view, middle, zoom], middle, queue=False, **SILENT)
    clicked.then(case.redraw, given, drawn, queue=False, **SILENT)
    outputs.reset.click(
        lambda: (0.5, 1.0, 1.0, heat_view.MIDDLE), None, [*(outputs.display[DISPLAY.index(name)] for name in ("level", "width", "zoom")), middle],
        queue=False, **SILENT,
    )  # fmt: skip


def _film_inputs(examples: list[Example], suffix: str) -> tuple[gr.File, gr.Gallery, gr.HTML]:
    gr.Markdown("## 1 · The film")
    file = gr.File(
        label="Frontal chest film: DICOM, PNG, JPEG, WebP, TIFF (drop, choose or paste)",
        elem_id=f"film-file{suffix}",
        height=130,
    )
    gr.Markdown("Or an example: synthetic, no patient's film.", visible=bool(examples))
    captioned = [(str(example.path), example.title.split(",")[0]) for example in examples]
    gallery = gr.Gallery(
        captioned, label="Examples", show_label=False, columns=3, height=GALLERY_HEIGHT,
        allow_preview=False, object_fit="cover", format="png", buttons=[], elem_id=f"examples{suffix}", visible=bool(examples),
    )  # fmt: skip
    return file, gallery, gr.HTML(elem_id=f"film-facts{suffix}")


def _settings(detector: Detector) -> list[gr.components.Component]:
    scoring = detector.scoring
    with gr.Accordion("Settings", open=False):
        return [
            slider(
                50,
                900,
                scoring.noise_level,
                step=10,
                label="Noise level of the reconstruction",
                info="higher: freer to leave the film",
            ),
            slider(
                2,
                50,
                scoring.steps,
                step=1,
                label="DDIM steps each way",
                info=f"the percentile was calibrated with {scoring.steps}",
            ),
            gr.Number(
                0,
                label="Seed",
                precision=0,
                minimum=0,
                maximum=MAX_SEED,
                info="of the noise that some measurements draw",
            ),
        ]


@dataclass(frozen=True)
class _Outputs:
    """The right side's components: results, display settings in the order of DISPLAY, the magnified place, what is
    asked of an explanation (number, feature of another record, its value), and the buttons."""

    results: Results
    display: list[gr.components.Component]
    middle: gr.State
    reset: gr.Button
    explain: gr.Button
    asked: list[gr.components.Component]
    save: gr.Button


def _outputs(detector: Detector, suffix: str) -> _Outputs:
    results = Results(score=gr.HTML(elem_id=f"score{suffix}"))
    with gr.Row():
        with gr.Column(min_width=280):
            gr.Markdown("### Film | what normal would look like")
            results.compare = gr.ImageSlider(
                label="Film on the left, pseudo-healthy reconstruction on the right of the line", show_label=False, format="png",
                elem_id=f"compare{suffix}", buttons=["fullscreen"], interactive=False,
            )  # fmt: skip
            gr.HTML(
                panels.quiet(
                    "Drag the line: the film as the model sees it on the left, the pseudo-healthy reconstruction on the right."
                )
            )
        with gr.Column(min_width=280):
            gr.Markdown("### Where the film differs")
            results.heat = gr.Image(
                label="Heat map",
                show_label=False,
                format="png",
                elem_id=f"heat{suffix}",
                buttons=["download", "fullscreen"],
                interactive=False,
            )
            results.heat_words = gr.HTML(elem_id=f"heat-words{suffix}")
    display, middle, reset = _display(detector, suffix)
    results.attention = gr.HTML(elem_id=f"attention{suffix}")
    explain, asked = _questions(detector, suffix)
    results.explanation = gr.HTML(elem_id=f"explanation{suffix}")
    save = gr.Button("Save: PDF report, pictures, JSON, DICOM", elem_id=f"save{suffix}")
    results.saved = gr.File(
        label="Files of this result", visible=False, interactive=False, file_count="multiple", elem_id=f"saved{suffix}"
    )
    results.link = gr.HTML(elem_id=f"link{suffix}")
    with gr.Accordion("All numbers and settings (JSON)", open=False):
        results.numbers = gr.JSON(show_label=False)
    results.view = gr.State(None, time_to_live=3600)
    return _Outputs(results, display, middle, reset, explain, asked, save)


def _questions(detector: Detector, suffix: str) -> tuple[gr.Button, list[gr.components.Component]]:
    """The button that explains, and what it is asked: a number's influence, and another record."""
    numbers, features = (
        explain_stream.influence_choices(detector.schema),
        explain_stream.change_choices(detector.schema),
    )
    with gr.Row(equal_height=True):
        explain = gr.Button("What did the record change?", elem_id=f"explain{suffix}", scale=2, min_width=200)
        number = gr.Dropdown(
            numbers,
            value=explain_stream.first_choice(numbers),
            label="Influence of",
            elem_id=f"influence{suffix}",
            scale=1,
            min_width=130,
        )
        feature = gr.Dropdown(
            [("none", ""), *features],
            value="",
            label="Another record: change",
            elem_id=f"change{suffix}",
            scale=1,
            min_width=130,
        )
        value = gr.Textbox("", label="to", elem_id=f"change-to{suffix}", scale=1, min_width=90, max_length=40)
    hints = {name: example_value(detector.schema[name]) for _, name in features}
    feature.change(
        lambda name: gr.Textbox(placeholder=f"e.g. {hints[name]}" if name in hints else ""),
        feature,
        value,
        queue=False,
        **SILENT,
    )
    return explain, [number, feature, value]


def _display(detector: Detector, suffix: str) -> tuple[list[gr.components.Component], gr.State, gr.Button]:
    """Controls of the viewer, in the order of DISPLAY; the magnified place; the button that shows the whole film
    again."""
    start = round(detector.scoring.heat_normal, 3)
    with gr.Row():
        opacity = slider(
            0, 1, OPACITY, step=0.05, label="Opacity of the colors", elem_id=f"opacity{suffix}", min_width=150
        )
        threshold = slider(
            0,
            heat_view.MOST_THRESHOLD,
            start,
            step=0.005,
            label="Threshold",
            elem_id=f"threshold{suffix}",
            min_width=150,
            info=THRESHOLD,
        )
        mode = gr.Radio(
            heat_view.modes(detector.scoring),
            value=next(iter(heat_view.MODES)),
            label="Heat map shows",
            min_width=240,
            elem_id=f"mode{suffix}",
        )
    with gr.Accordion("Colors, grey window, magnifying", open=False, elem_id=f"display{suffix}"):
        with gr.Row():
            colors = gr.Dropdown(
                list(PALETTES), value=next(iter(PALETTES)), label="Colors", min_width=150, elem_id=f"colors{suffix}"
            )
            contours = gr.Checkbox(
                True, label="Outline and number the regions", min_width=150, elem_id=f"contours{suffix}"
            )
        with gr.Row():
            level = slider(0, 1, 0.5, step=0.02, label="Level (mid-grey)", min_width=120, elem_id=f"level{suffix}")
            width = slider(0.1, 2, 1, step=0.05, label="Window width", min_width=120, elem_id=f"width{suffix}")
            zoom = slider(
                1,
                4,
                1,
                step=0.25,
                label="Magnify",
                info="click the heat map to choose the place",
                min_width=120,
                elem_id=f"zoom{suffix}",
            )
        reset = gr.Button("Whole film, full window", size="sm")
    return [opacity, threshold, mode, colors, contours, level, width, zoom], gr.State(heat_view.MIDDLE), reset


def slider(low: float, high: float, start: float, **options) -> gr.Slider:
    """A slider whose emptied number box counts as its first value (Gradio's own raises an error on the server)."""
    made = gr.Slider(low, high, start, **options)
    strict = made.preprocess
    made.preprocess = lambda payload: start if payload is None else strict(payload)
    return made
