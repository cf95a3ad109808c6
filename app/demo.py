"""The page: theme, tabs, queue and launch settings."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import gradio as gr

from diff3m.checkpoint.source import DEFAULT_CHECKPOINT, shipped_checkpoints
from diff3m.detector import Detector
from diff3m.export.files import NOTICE

from .api import build_api
from .components.viewer import STATIC_FOLDER
from .runtime.model_thread import MODEL
from .runtime.storage import Storage, exit_on_terminate
from .tabs.about import build_about
from .tabs.cohort import build_cohort
from .tabs.explore import build_explore
from .tabs.explore_layout import build_model_select
from .tabs.folder_set import read_case_sets
from .tabs.set_examples import list_set_examples
from .tabs.teach import build_teach, select_films_detector

TITLE = "Diff3M Explorer"
PRIVACY = "A film you drop here goes to the computer that runs this page, and is deleted within the hour."
FONTS = ["system-ui", "Segoe UI", "Roboto", "Helvetica", "Arial", "sans-serif"]
ASSETS = Path(__file__).resolve().parent.parent / "assets"
SWITCH_THEME = "() => document.body.classList.toggle('dark')"
STYLE, PASTE = ASSETS / "style.css", ASSETS / "paste.js"
TEACH_STYLE = ASSETS / "teach.css"


def build_demo(detector: Detector | None = None, data: Path | None = None, cases: Sequence[Path] = ()) -> gr.Blocks:
    """Build the whole page.

    detector: of the page; default, the checkpoint that DIFF3M_CHECKPOINT names, or all that are shipped.
    data: a folder of this computer whose manifests Many cases may read. cases: folders of films that become examples of
    Explore, and sets to read and lessons of Teach. Raises ManifestError for a folder of cases that cannot be read.
    """
    storage = Storage()
    choice = os.environ.get("DIFF3M_CHECKPOINT")
    names = [choice] if choice else shipped_checkpoints() or [DEFAULT_CHECKPOINT]
    detectors = [detector] if detector else MODEL.run(lambda: [Detector.from_pretrained(name) for name in names])
    own_sets = read_case_sets(cases, select_films_detector(detectors))
    gr.set_static_paths([STATIC_FOLDER])
    with gr.Blocks(title=TITLE, analytics_enabled=False, fill_width=True) as demo:
        model = _build_top_bar(detectors)
        with gr.Tabs(elem_id="rooms") as tabs:
            with gr.Tab("Explore", id="explore"):
                explore = build_explore(detectors, model, demo, list_set_examples(own_sets))
            with gr.Tab("Teach", id="teach"):
                build_teach(detectors, demo, tabs, own_sets)
            with gr.Tab("Many cases", id="cohort"):
                build_cohort(detectors, explore, tabs, data)
            with gr.Tab("About", id="about"):
                build_about(detectors)
        build_api(detectors)
    storage.keep_current_files()
    storage.start_sweeping()
    return demo.queue(max_size=40)


def _build_top_bar(detectors: Sequence[Detector]) -> gr.Dropdown:
    """Build the bar above the tabs: title, choice of the model, light or dark theme, and the notice."""
    with gr.Row(elem_id="top-bar"):
        gr.HTML(f"<h1>{TITLE}</h1>", elem_id="title")
        model = build_model_select(detectors)
        theme = gr.Button("Dark / light", size="sm", min_width=0, elem_id="theme")
    theme.click(None, None, None, js=SWITCH_THEME, api_visibility="private")
    gr.HTML(f'<p role="note"><b>{NOTICE}</b> {PRIVACY}</p>', elem_id="notice")
    return model


def _make_theme() -> gr.themes.Base:
    """Return the theme: teal on slate, with buttons, tabs and links of a contrast of 4.5 in both schemes."""
    theme = gr.themes.Default(
        primary_hue="teal", neutral_hue="slate", font=FONTS, font_mono=["ui-monospace", "monospace"]
    )
    dark, light = "#0f766e", "#5eead4"
    return theme.set(
        button_primary_background_fill=dark,
        button_primary_background_fill_dark=dark,
        button_primary_background_fill_hover="#115e59",
        button_primary_background_fill_hover_dark="#115e59",
        button_primary_text_color="white",
        button_primary_text_color_dark="white",
        link_text_color=dark,
        link_text_color_dark=light,
        link_text_color_visited=dark,
        link_text_color_visited_dark=light,
        link_text_color_hover=dark,
        link_text_color_hover_dark=light,
        color_accent=dark,
        block_info_text_color="#334155",
        block_info_text_color_dark="#e2e8f0",
        input_placeholder_color="#475569",
        input_placeholder_color_dark="#cbd5e1",
    )


def launch(demo: gr.Blocks, **options) -> None:
    """Serve on 127.0.0.1 (or GRADIO_SERVER_NAME) at PORT, 7860 by default, without share link and run history.

    options: further arguments of `gr.Blocks.launch`.
    """
    settings = dict(
        server_name=os.environ.get("GRADIO_SERVER_NAME", "127.0.0.1"),
        server_port=int(os.environ.get("PORT") or os.environ.get("GRADIO_SERVER_PORT") or 7860),
        theme=_make_theme(),
        css_paths=[STYLE, TEACH_STYLE],
        head=f"<script>{PASTE.read_text(encoding='utf-8')}</script>",
        run_history=False,
        enable_monitoring=False,
        max_file_size="64mb",
        share=False,
    )
    exit_on_terminate()
    demo.launch(**(settings | options))
