"""Types and texts that the handlers of all tabs share."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import wraps
from typing import Any

import gradio as gr
from gradio.components import Component

Values = Mapping[Component, Any]  # what a handler reads
Updates = dict[Component, Any]  # what it changes
Handler = Callable[..., Iterator[Updates]]  # takes the values, and an event where it declares one; streams updates
WAITING = "Waiting for its turn …"
WORKING = "The model is working …"


def without_repetition(handler: Handler) -> Handler:
    """Return a streaming handler that ends with an update that changes nothing.

    Gradio sends the last update of a generator once more when it ends. A handler that goes on while others change the
    page would thereby bring back what they replaced.
    """

    @wraps(handler)
    def stream_updates(*arguments: Any) -> Iterator[Updates]:
        updates: Updates = {}
        for updates in handler(*arguments):
            yield updates
        if updates:
            yield {next(iter(updates)): gr.skip()}

    return stream_updates
