"""Tab: one case. Film and record in; reconstruction, heat map, score among normals and attention out."""

from __future__ import annotations

import html
from collections.abc import Generator
from dataclasses import dataclass

import gradio as gr
import numpy as np

from diff3m.detector import Analysis, Detector
from diff3m.ehr import EHRError
from diff3m.export import FULL_COLOR, PICTURE_HEIGHT, analysis_to_dict
from diff3m.radiograph import Radiograph, RadiographError, prepare, read_radiograph
from diff3m.reconstruct import Progress
from diff3m.visualize import enlarge, overlay, to_uint8

from . import figures, words
from .ehr_form import FROM_EXAMPLE, FROM_HEADER, EHRForm, build_form
from .examples import load_examples
from .streaming import Done, stream

PREVIEW_EVERY = 2  # of the denoising steps, how many pass between two pictures
MODES = {"Brighter (red) or darker (blue) than expected": "signed", "Size of the difference only": "absolute"}
START = "Choose an example, or drop a film above; then press **Analyze**."


@dataclass(frozen=True)
class HeatView:
    """What the heat-map controls redraw from, without the model: film and signed heat map (S, S), width over height."""

    film: np.ndarray
    heat: np.ndarray
    aspect: float


def build_explore(detector: Detector) -> None:
    """Lay the tab out and wire it; called inside a Blocks."""
    examples = load_examples(detector.config.name)
    with gr.Row():
        with gr.Column(scale=5, min_width=320):
            gr.Markdown("### 1 · The film")
            file = gr.File(label="Chest film, frontal: DICOM, PNG, JPEG, WebP or TIFF", elem_id="film-file", height=130)
            gallery = gr.Gallery(
                [(str(example.path), example.title) for example in examples],
                label="Or an example (synthetic, no patient)",
                columns=3,
                height="auto",
                allow_preview=False,
                object_fit="contain",
                format="png",
                buttons=[],
                elem_id="examples",
                visible=bool(examples),
            )
            film_facts = gr.HTML(elem_id="film-facts")
            gr.Markdown("### 2 · The patient's record\nWhat is unknown stays empty.")
            form = build_form(detector.schema)
            with gr.Row():
                analyze = gr.Button("Analyze", variant="primary", elem_id="analyze", scale=3)
                cancel = gr.Button("Cancel", elem_id="cancel", scale=1, min_width=80)
            with gr.Accordion("Settings", open=False):
                level = gr.Slider(
                    50,
                    900,
                    detector.scoring.noise_level,
                    step=10,
                    label="Noise level of the shown reconstruction",
                    info="higher: freer to differ from the film",
                )
                steps = gr.Slider(
                    2, 50, detector.scoring.steps, step=1, label="DDIM steps each way", info="the percentile was calibrated with the default"
                )
                seed = gr.Number(0, label="Seed", precision=0)
        with gr.Column(scale=8, min_width=320):
            status = gr.HTML(_status(START), elem_id="status")
            score = gr.HTML(elem_id="score")
            with gr.Row():
                with gr.Column(min_width=300):
                    compare = gr.ImageSlider(
                        label="Film (left) and pseudo-healthy reconstruction (right): drag the line",
                        format="png",
                        elem_id="compare",
                        buttons=["fullscreen"],
                        interactive=False,
                    )
                with gr.Column(min_width=300):
                    heat = gr.Image(
                        label="Heat map over the film", format="png", elem_id="heat", buttons=["download", "fullscreen"], interactive=False
                    )
                    heat_words = gr.HTML(elem_id="heat-words")
            with gr.Row():
                opacity = gr.Slider(0, 1, 0.6, step=0.05, label="Heat map opacity", elem_id="opacity", min_width=140)
                threshold = gr.Slider(
                    0,
                    0.5,
                    round(detector.scoring.heat_normal, 3),
                    step=0.005,
                    label="Threshold (share of the grey range)",
                    elem_id="threshold",
                    min_width=140,
                )
                mode = gr.Dropdown(list(MODES), value=next(iter(MODES)), label="Shows", min_width=200)
            attention = gr.HTML(elem_id="attention")
            with gr.Accordion("All numbers and settings (JSON)", open=False):
                numbers = gr.JSON(show_label=False)
    view, automatic = gr.State(None, time_to_live=3600), gr.State({}, time_to_live=3600)
    results = [status, score, compare, heat, heat_words, attention, numbers, view]
    page = _Page(detector, form)

    opened = dict(fn=page.open, inputs=[file, automatic, *form.fields], outputs=[film_facts, compare, status, automatic, *form.fields])
    file.upload(**opened, api_visibility="private", show_progress="hidden")
    inputs = [file, level, steps, seed, opacity, threshold, mode, *form.fields]
    run = dict(fn=page.analyze, inputs=inputs, outputs=results, concurrency_id="model", concurrency_limit=1, show_progress="hidden")
    clicked = analyze.click(**run, api_name="analyze", scroll_to_output=True)

    def choose(event: gr.SelectData):
        example = examples[event.index]
        updates, filled = form.filled(example.record, FROM_EXAMPLE)
        return [str(example.path), _facts_html([f"{example.title}. Synthetic: {example.teaches}"]), filled, *updates]

    chosen = gallery.select(choose, None, [file, film_facts, automatic, *form.fields], api_visibility="private", show_progress="hidden")
    followed = chosen.then(**run, api_visibility="private", scroll_to_output=True)
    cancel.click(
        lambda: _status("Cancelled. The form is as you left it."), None, status, cancels=[clicked, followed], queue=False, api_visibility="private"
    )
    for control in (opacity, threshold):
        control.change(
            page.redraw, [view, opacity, threshold, mode], [heat, heat_words], queue=False, show_progress="hidden", api_visibility="private"
        )
    mode.change(page.redraw, [view, opacity, threshold, mode], [heat, heat_words], queue=False, show_progress="hidden", api_visibility="private")


class _Page:
    """The tab's event handlers."""

    def __init__(self, detector: Detector, form: EHRForm) -> None:
        self.detector, self.form = detector, form

    def open(self, path: str | None, automatic: dict, *values):
        """A film was uploaded: show it, and put its header's facts into the form."""
        unchanged = [gr.skip()] * len(self.form.fields)
        if not path:
            return ["", gr.skip(), _status(START), automatic, *unchanged]
        try:
            film = read_radiograph(path)
            shown = _large(prepare(film, self.detector.config.preprocessing), film.aspect)
        except RadiographError as error:
            return ["", None, _status(str(error), alert=True), automatic, *unchanged]
        updates, filled = self.form.filled(film.facts, FROM_HEADER, values, automatic)
        return [
            _facts_html(_describe(film)),
            (shown, shown),
            _status("The film is read. Check the record, then press **Analyze**."),
            filled,
            *updates,
        ]

    def analyze(self, path: str | None, level: int, steps: int, seed: int | None, opacity: float, threshold: float, mode: str, *values) -> Generator:
        """Stream the analysis: progress and the forming reconstruction, then everything."""
        skipped = [gr.skip()] * 6
        if not path:
            yield [_status("There is no film yet: drop one, or choose an example.", alert=True), gr.skip(), *skipped]
            return
        try:
            film = read_radiograph(path)
            record = self.form.record(values)
            still = _large(prepare(film, self.detector.config.preprocessing), film.aspect)
            yield [_status("Reading the record and the film …"), "", (still, still), *[gr.skip()] * 5]

            def work(callback):
                return self.detector.analyze(film, record, noise_level=int(level), steps=int(steps), seed=int(seed or 0), callback=callback)

            for event in stream(work):
                if isinstance(event, Done):
                    yield self._finished(event.value, opacity, threshold, mode)
                    continue
                formed = gr.skip()
                if event.preview is not None and event.done % PREVIEW_EVERY == 0:
                    formed = (still, _large(event.preview[0, 0].cpu().numpy(), film.aspect))
                yield [_progress(event), gr.skip(), formed, *[gr.skip()] * 5]
        except (RadiographError, EHRError, ValueError) as error:
            yield [_status(str(error), alert=True), gr.skip(), *skipped]

    def _finished(self, analysis: Analysis, opacity: float, threshold: float, mode: str) -> list:
        view = HeatView(analysis.film, analysis.heat_map, analysis.aspect)
        heat, sentence = self.redraw(view, opacity, threshold, mode)
        seconds = sum(analysis.seconds.values())
        return [
            _status(f"Done in {seconds:.1f} s."),
            self._score_html(analysis),
            (_large(analysis.film, analysis.aspect), _large(analysis.reconstruction, analysis.aspect)),
            heat,
            sentence,
            self._attention_html(analysis),
            analysis_to_dict(analysis, self.detector),
            view,
        ]

    def redraw(self, view: HeatView | None, opacity: float, threshold: float, mode: str):
        """The heat map under other display settings, without the model: (picture, sentence)."""
        if view is None:
            return gr.skip(), gr.skip()
        film, heat = (enlarge(image, PICTURE_HEIGHT, view.aspect) for image in (view.film, view.heat))
        full = max(FULL_COLOR * self.detector.scoring.heat_normal, threshold + 0.02)
        picture = overlay(film, heat, alpha=opacity, threshold=threshold, full=full, mode=MODES[mode])
        sentence = words.heat_summary(view.heat, threshold)
        legend = words.heat_legend(full)
        return gr.Image(picture, alt_text=sentence), f'<p>{html.escape(sentence)}</p><p class="quiet">{html.escape(legend)}</p>'

    def _score_html(self, analysis: Analysis) -> str:
        sentence, meaning = words.score_sentence(analysis), words.score_meaning(analysis)
        if analysis.score is None:
            return f'<div class="card"><p>{html.escape(sentence)}</p></div>'
        normals = self.detector.scoring.for_view(analysis.record.get("view"))[1].scores
        group = analysis.compared_with if analysis.compared_with in words.VIEW_WORDS else ""
        chart = figures.inline_svg(figures.score_histogram(normals, analysis.score, analysis.percentile, group), sentence)
        return (
            f'<div class="card columns"><div><p class="verdict">{html.escape(words.verdict(analysis.percentile))}</p>'
            f'<p class="big">percentile {analysis.percentile:.0f}</p><p>{html.escape(sentence)}</p><p class="quiet">{html.escape(meaning)}</p></div>'
            f"<div>{chart}</div></div>{_notes_html(analysis.notes)}"
        )

    def _attention_html(self, analysis: Analysis) -> str:
        schema = self.detector.schema
        groups = {}
        for group, weights in analysis.attention.items():
            rows = []
            for name, weight in weights.items():
                value = analysis.record.get(name) if schema[name].trained else None
                rows.append((f"{schema[name].label}: {schema[name].describe(value)}", weight, value is not None))
            groups[group.upper() if group == "ehr" else group.capitalize()] = rows
        caption = words.attention_caption(analysis, schema)
        chart = figures.inline_svg(figures.attention_bars(groups), caption)
        return f'<div class="card columns"><div><h3>Attention over the record</h3><p>{html.escape(caption)}</p></div><div>{chart}</div></div>'


def _large(image: np.ndarray, aspect: float) -> np.ndarray:
    return to_uint8(enlarge(image, PICTURE_HEIGHT, aspect))


def _describe(film: Radiograph) -> list[str]:
    height, width = film.pixels.shape
    lines = [f"{film.source}, {width}×{height} pixels"]
    if film.facts:
        lines.append(f"from the header: {', '.join(film.facts)}")
    return lines + list(film.notes)


def _facts_html(lines: list[str]) -> str:
    return f'<p class="quiet">{html.escape(" · ".join(lines))}</p>'


def _notes_html(notes: tuple[str, ...]) -> str:
    return f'<ul class="notes">{"".join(f"<li>{html.escape(note)}</li>" for note in notes)}</ul>' if notes else ""


def _status(text: str, alert: bool = False) -> str:
    """A line of status; **bold** as in Markdown."""
    safe = html.escape(text)
    while safe.count("**") >= 2:
        safe = safe.replace("**", "<b>", 1).replace("**", "</b>", 1)
    return f'<div class="status{" alert" if alert else ""}" role="{"alert" if alert else "status"}">{safe}</div>'


def _progress(event: Progress) -> str:
    what = {"inversion": "Inverting the film to noise", "denoising": "Drawing the normal film of this patient"}[event.phase]
    text = html.escape(f"{what}: step {event.done} of {event.total}")
    return f'<div class="status" role="status">{text}<progress value="{event.done}" max="{event.total}" aria-label="analysis"></progress></div>'
