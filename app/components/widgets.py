"""Gradio components and event options of this page: a slider that accepts an empty number box, and shared options."""

from __future__ import annotations

import gradio as gr

SILENT = dict(show_progress="hidden", api_visibility="private")
# Handlers wait for the model inside (`runtime.model_thread`), so that each says that it waits and can be cancelled.
MAX_WAITING = 12  # handlers that wait for the model at once; more wait in Gradio's queue
ON_MODEL = dict(concurrency_id="model", concurrency_limit=MAX_WAITING, **SILENT)


def make_slider(low: float, high: float, start: float, **options) -> gr.Slider:
    """Create a slider whose emptied number box counts as `start`; Gradio's own raises an error on the server.

    Parameters:
        low, high: ends of the scale. start: value at first. options: further arguments of `gr.Slider`.
    """
    component = gr.Slider(low, high, start, **options)
    preprocess = component.preprocess
    component.preprocess = lambda payload: start if payload is None else preprocess(payload)
    return component
