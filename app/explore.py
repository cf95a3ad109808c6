"""Tab: one case. Film and record in; reconstruction, heat map, score among normals and attention out."""

from __future__ import annotations

import time
from collections.abc import Generator, Sequence
from dataclasses import dataclass, fields

import gradio as gr
import numpy as np

from diff3m.detector import Analysis, Detector
from diff3m.ehr import EHRError
from diff3m.export import FULL_COLOR, PICTURE_HEIGHT, analysis_to_dict
from diff3m.radiograph import Radiograph, RadiographError, film_aspect, prepare, prepare_mask, read_radiograph
from diff3m.visualize import enlarge, outlined, overlay

from . import explanations, panels, words
from .ehr_form import FROM_EXAMPLE, FROM_HEADER, EHRForm, build_form, follow_height_and_weight
from .examples import Example, load_examples, read_mask
from .streaming import Done, stream

GALLERY_HEIGHT = 310
PREVIEW_EVERY = 2  # denoising steps from one picture to the next
MODES = {"Brighter (red), darker (blue)": "signed", "Size of the difference": "absolute"}
EMPTIED = "The film is read. The record of the film before it was emptied: fill in this patient's, then press **Analyze**."
START = "Drop a film on the left, or choose an example; then press **Analyze**."
READ = "The film is read. Check the record, then press **Analyze**."
SILENT = dict(show_progress="hidden", api_visibility="private")


@dataclass(frozen=True)
class HeatView:
    """What the heat-map controls redraw from, without the model: film and signed heat map (S, S), width over height, and the true mask
    (S, S) bool of a case whose truth is known."""

    film: np.ndarray
    heat: np.ndarray
    aspect: float
    truth: np.ndarray | None = None


@dataclass
class Results:
    """What an analysis changes on the page, one component a field; as a value, one update a field."""

    cancel: object = None
    status: object = None
    panel: object = None
    score: object = None
    compare: object = None
    heat: object = None
    heat_words: object = None
    attention: object = None
    numbers: object = None
    view: object = None
    explanation: object = None

    def __post_init__(self) -> None:
        for field in fields(self):
            if getattr(self, field.name) is None:
                setattr(self, field.name, gr.skip())

    def row(self) -> list:
        return [getattr(self, field.name) for field in fields(self)]


def cleared(show: bool = False, **given) -> list:
    """Nothing shown but what is given, so that no result outlives its film or its record. show: keep the results' side open."""
    empty = dict(cancel=gr.update(visible=False), panel=gr.update(visible=show), score="", heat_words="", attention="", explanation="")
    empty |= {name: gr.update(value=None) for name in ("compare", "heat", "numbers", "view")}
    return Results(**{**empty, **given}).row()


def build_explorers(detectors: Sequence[Detector]) -> None:
    """One Explore page for each checkpoint, chosen by name; with one checkpoint, no choice is shown. Called inside a Blocks."""
    if len(detectors) == 1:
        build_explore(detectors[0])
        return
    with gr.Tabs():
        for index, detector in enumerate(detectors):
            name = detector.config.name
            with gr.Tab(words.model_title(name), id=name, elem_id=f"model-{name}"):
                gr.HTML(panels.quiet(words.model_sentence(name, detector.schema)))
                build_explore(detector, suffix=f"_{name}" if index else "")


def build_explore(detector: Detector, suffix: str = "") -> None:
    """Lay the tab out and wire it; called inside a Blocks. suffix: of element ids and of the API's name, where there are several."""
    examples = load_examples(detector.config.name)
    with gr.Row():
        with gr.Column(scale=5, min_width=280):
            file, gallery, facts = _film_inputs(examples, suffix)
            gr.Markdown("### 2 · The patient's record\nWhat is not known stays empty.")
            form = build_form(detector.schema, suffix)
            with gr.Row():
                analyze = gr.Button("Analyze", variant="primary", elem_id=f"analyze{suffix}", scale=3)
                cancel = gr.Button("Cancel", elem_id=f"cancel{suffix}", scale=1, min_width=80, visible=False)
            settings = _settings(detector)
        with gr.Column(scale=8, min_width=280):
            status = gr.HTML(panels.status(START), elem_id=f"status{suffix}")
            with gr.Column(visible=False) as panel:
                results, display, explain, number = _outputs(detector, suffix)
            results.cancel, results.status, results.panel = cancel, status, panel
    page = _Page(detector, form, examples)
    # was a film open before; the BMI that was filled in; the true mask's file, where there is one
    opened, computed_bmi, truth = gr.State(False), gr.State(""), gr.State("")
    follow_height_and_weight(form, computed_bmi)
    shown = results.row()
    opening = [facts, opened, computed_bmi, truth, *form.fields, *shown]
    run = dict(fn=page.analyze, inputs=[file, truth, *settings, *display, *form.fields], outputs=shown)
    run |= dict(concurrency_id="model", concurrency_limit=1, show_progress="hidden", scroll_to_output=True)

    clicked = analyze.click(**run, api_name=f"analyze{suffix}")
    chosen = gallery.select(page.choose, None, [file, *opening], cancels=[clicked], **SILENT)
    followed = chosen.then(**run, api_visibility="private")
    asked = explain.click(
        page.explain, [file, number, *form.fields], [results.status, results.explanation],
        concurrency_id="model", concurrency_limit=1, show_progress="hidden", api_name=f"explain{suffix}",
    )  # fmt: skip
    # whatever is still being analyzed belongs to another film
    running = dict(cancels=[clicked, followed, asked], **SILENT)
    gallery.select(None, None, None, cancels=[followed], api_visibility="private")
    file.upload(page.open, [file, opened, *form.fields], opening, **running)
    file.clear(page.close, None, opening, **running)
    stopped = panels.status("Stopped. Film and record are as you left them.")
    cancel.click(lambda: cleared(status=stopped), None, shown, queue=False, **running)
    for control in display:
        control.change(page.redraw, [results.view, *display], [results.heat, results.heat_words], queue=False, **SILENT)


def _film_inputs(examples: list[Example], suffix: str) -> tuple[gr.File, gr.Gallery, gr.HTML]:
    gr.Markdown("### 1 · The film")
    file = gr.File(label="Frontal chest film: DICOM, PNG, JPEG, WebP, TIFF", elem_id=f"film-file{suffix}", height=130)
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
            _slider(50, 900, scoring.noise_level, step=10, label="Noise level of the reconstruction", info="higher: freer to leave the film"),
            _slider(2, 50, scoring.steps, step=1, label="DDIM steps each way", info=f"the percentile was calibrated with {scoring.steps}"),
            gr.Number(0, label="Seed", precision=0),
        ]


def _outputs(detector: Detector, suffix: str) -> tuple[Results, list[gr.components.Component], gr.Button, gr.Dropdown]:
    start = round(detector.scoring.heat_normal, 3)
    results = Results(score=gr.HTML(elem_id=f"score{suffix}"))
    with gr.Row():
        with gr.Column(min_width=280):
            gr.Markdown("### Film | what normal would look like")
            results.compare = gr.ImageSlider(
                label="Film on the left, pseudo-healthy reconstruction on the right of the line", show_label=False, format="png",
                elem_id=f"compare{suffix}", buttons=["fullscreen"], interactive=False,
            )  # fmt: skip
            gr.HTML(panels.quiet("Drag the line: the film as the model sees it on the left, the pseudo-healthy reconstruction on the right."))
        with gr.Column(min_width=280):
            gr.Markdown("### Where the film differs")
            results.heat = gr.Image(
                label="Heat map", show_label=False, format="png", elem_id=f"heat{suffix}", buttons=["download", "fullscreen"], interactive=False
            )
            results.heat_words = gr.HTML(elem_id=f"heat-words{suffix}")
    with gr.Row():
        opacity = _slider(0, 1, 0.6, step=0.05, label="Opacity", elem_id=f"opacity{suffix}", min_width=150)
        threshold = _slider(0, 0.5, start, step=0.005, label="Threshold", elem_id=f"threshold{suffix}", min_width=150)
        mode = gr.Radio(list(MODES), value=next(iter(MODES)), label="Heat map shows", min_width=240)
    results.attention = gr.HTML(elem_id=f"attention{suffix}")
    choices = explanations.influence_choices(detector.schema)
    with gr.Row(equal_height=True):
        explain = gr.Button("What did the record change?", elem_id=f"explain{suffix}", scale=2, min_width=200)
        number = gr.Dropdown(
            choices, value=explanations.first_choice(choices), label="Influence of", elem_id=f"influence{suffix}", scale=1, min_width=150
        )
    results.explanation = gr.HTML(elem_id=f"explanation{suffix}")
    with gr.Accordion("All numbers and settings (JSON)", open=False):
        results.numbers = gr.JSON(show_label=False)
    results.view = gr.State(None)
    return results, [opacity, threshold, mode], explain, number


class _Page:
    """The tab's event handlers."""

    def __init__(self, detector: Detector, form: EHRForm, examples: list[Example]) -> None:
        self.detector, self.form, self.examples = detector, form, examples

    def open(self, path: str | None, opened: bool, *values) -> list:
        """A film was uploaded: show it, and put its header's facts into the form.

        What was typed before the first film stays. With a later film it is emptied: it may be another patient's.
        """
        if not path:
            return self.close()
        try:
            film, _, still = self._still(path)
        except RadiographError as error:
            untouched = [opened, gr.skip(), "", *[gr.skip()] * len(self.form.fields)]
            return ["", *untouched, *cleared(status=panels.status(str(error), alert=True))]
        updates, bmi = self.form.filled(film.facts, FROM_HEADER, () if opened else values)
        labels = [self.detector.schema[name].label for name in film.facts if name in self.detector.schema]
        text = EMPTIED if opened else READ
        return [panels.film_facts(film, labels), True, bmi, "", *updates, *cleared(True, status=panels.status(text), compare=(still, still))]

    def close(self) -> list:
        """The film was taken away: its record and its results go with it."""
        updates, _ = self.form.filled({}, "")
        return ["", False, "", "", *updates, *cleared(status=panels.status(START))]

    def choose(self, event: gr.SelectData) -> list:
        """An example was clicked: take its film and record."""
        example = self.examples[event.index]
        updates, bmi = self.form.filled(example.record, FROM_EXAMPLE)
        caption = panels.quiet(f"{example.title}. {example.origin} {example.teaches}")
        shown = cleared(True, status=panels.status("The example is read."))
        return [str(example.path), caption, True, bmi, str(example.mask or ""), *updates, *shown]

    def _still(self, path: str) -> tuple[Radiograph, float, str]:
        """A film, its proportions, and its picture as the model sees it. Raises RadiographError."""
        film, settings = read_radiograph(path), self.detector.config.preprocessing
        aspect = film_aspect(film, settings)
        return film, aspect, panels.picture(prepare(film, settings), aspect)

    def analyze(
        self, path: str | None, truth: str, level: float, steps: float, seed: float | None, opacity: float, threshold: float, mode: str, *values
    ) -> Generator[list, None, None]:
        """Stream the analysis: progress and the forming reconstruction, then everything."""
        if not path:
            yield cleared(status=panels.status("There is no film yet: drop one, or choose an example.", alert=True))
            return
        shown = {}
        try:
            film, aspect, still = self._still(path)
            shown = dict(show=True, compare=(still, still))
            record = self.detector.schema.parse(self.form.record(values))
            mask = read_mask(truth)
            mask = None if mask is None else prepare_mask(mask, film, self.detector.config.preprocessing)
            yield cleared(**shown, status=panels.status("Starting …"), cancel=gr.update(visible=True))

            def work(callback):
                return self.detector.analyze(film, record, noise_level=int(level), steps=int(steps), seed=int(seed or 0), callback=callback)

            for event in stream(work):
                if isinstance(event, Done):
                    yield self._finished(event.value, mask, opacity, threshold, mode)
                    return
                forming = None
                if event.preview is not None and event.done % PREVIEW_EVERY == 0:
                    forming = (still, panels.picture(event.preview[0, 0].cpu().numpy(), aspect))
                yield Results(status=panels.progress(event), compare=forming).row()
        except (RadiographError, EHRError, ValueError) as error:
            yield cleared(**shown, status=panels.status(str(error), alert=True))

    def explain(self, path: str | None, feature: str, *values) -> Generator[tuple, None, None]:
        """Stream what the record changed: (status, HTML)."""
        if not path:
            yield panels.status("There is no film yet: drop one, or choose an example.", alert=True), ""
            return
        try:
            film, aspect, _ = self._still(path)
            record = self.form.record(values)
            started = time.perf_counter()
            for doing, shown in explanations.explained(self.detector, film, record, feature, aspect):
                yield panels.status(doing or f"Explained in {time.perf_counter() - started:.1f} s."), shown
        except (RadiographError, EHRError, ValueError) as error:
            yield panels.status(str(error), alert=True), ""

    def _finished(self, analysis: Analysis, truth: np.ndarray | None, opacity: float, threshold: float, mode: str) -> list:
        view = HeatView(analysis.film, analysis.heat_map, analysis.aspect, truth)
        heat, sentence = self.redraw(view, opacity, threshold, mode)
        return Results(
            cancel=gr.update(visible=False),
            status=panels.status(f"Done in {sum(analysis.seconds.values()):.1f} s."),
            score=panels.score(analysis, self.detector),
            compare=tuple(panels.picture(image, analysis.aspect) for image in (analysis.film, analysis.reconstruction)),
            heat=heat,
            heat_words=sentence,
            attention=panels.attention(analysis, self.detector),
            numbers=analysis_to_dict(analysis, self.detector),
            view=view,
        ).row()

    def redraw(self, view: HeatView | None, opacity: float, threshold: float, mode: str) -> tuple:
        """The heat map under other display settings, without the model: (picture, words)."""
        if view is None:
            return gr.skip(), gr.skip()
        film, heat = (enlarge(image, PICTURE_HEIGHT, view.aspect) for image in (view.film, view.heat))
        scoring = self.detector.scoring
        full = max(FULL_COLOR * scoring.heat_normal, threshold + 0.02)
        colored = overlay(film, heat, alpha=opacity, threshold=threshold, full=full, mode=MODES[mode])
        summary = words.heat_summary(view.heat, threshold, scoring.margin)
        if view.truth is not None:
            colored = outlined(colored, view.truth)
        return gr.Image(colored, alt_text=summary), panels.heat_words(summary, full, outline=view.truth is not None)


def _slider(low: float, high: float, start: float, **options) -> gr.Slider:
    """A slider whose emptied number box counts as its first value (Gradio's own raises an error on the server)."""
    slider = gr.Slider(low, high, start, **options)
    strict = slider.preprocess
    slider.preprocess = lambda payload: start if payload is None else strict(payload)
    return slider
