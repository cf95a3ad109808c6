"""The page: theme, tabs, queue and launch settings."""

from __future__ import annotations

import os
from pathlib import Path

import gradio as gr

from diff3m.detector import DEFAULT_CHECKPOINT, Detector, shipped_checkpoints
from diff3m.export import NOTICE

from .about import build_about
from .explore import build_explorers
from .storage import Storage, exit_on_terminate

TITLE = "Diff3M Explorer"
PRIVACY = "A film you drop here goes to the computer that runs this page, and is deleted within the hour."
FONTS = ["system-ui", "Segoe UI", "Roboto", "Helvetica", "Arial", "sans-serif"]
STYLE = Path(__file__).resolve().parent.parent / "assets" / "style.css"


def build_demo(detector: Detector | None = None) -> gr.Blocks:
    """The whole page around a detector (default: the checkpoint named by DIFF3M_CHECKPOINT, or all that are shipped, one tab each)."""
    storage = Storage()
    named = os.environ.get("DIFF3M_CHECKPOINT")
    names = [named] if named else shipped_checkpoints() or [DEFAULT_CHECKPOINT]
    detectors = [detector] if detector else [Detector.from_pretrained(name) for name in names]
    with gr.Blocks(title=TITLE, analytics_enabled=False) as demo:
        gr.Markdown(f"# {TITLE}\nWhat would a **normal** chest film of *this* patient look like, and where does the real one differ?")
        gr.HTML(f'<div class="notice" role="note"><b>{NOTICE}</b> {PRIVACY}</div>')
        with gr.Tabs():
            with gr.Tab("Explore a case"):
                build_explorers(detectors)
            with gr.Tab("About"):
                build_about(detectors)
    storage.protect()
    storage.keep_sweeping()
    return demo.queue(max_size=20)


def launch(demo: gr.Blocks, **options) -> None:
    """Serve on 127.0.0.1 (or GRADIO_SERVER_NAME) at PORT, 7860 by default; nothing is shared or remembered."""
    settings = dict(
        server_name=os.environ.get("GRADIO_SERVER_NAME", "127.0.0.1"),
        server_port=int(os.environ.get("PORT") or os.environ.get("GRADIO_SERVER_PORT") or 7860),
        theme=gr.themes.Default(primary_hue="teal", neutral_hue="slate", font=FONTS, font_mono=["ui-monospace", "monospace"]),
        css_paths=STYLE,
        run_history=False,
        enable_monitoring=False,
        max_file_size="64mb",
        share=False,
    )
    exit_on_terminate()
    demo.launch(**(settings | options))
