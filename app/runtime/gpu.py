"""Borrowing a GPU: on a ZeroGPU Space a handler gets one while it runs; everywhere else handlers stay as they are."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable
from typing import TypeVar

Handler = TypeVar("Handler", bound=Callable)
SECONDS = 60  # the longest that a handler may hold the GPU


def on_gpu(handler: Handler) -> Handler:
    """Return the handler as ZeroGPU wants it, where this is a ZeroGPU Space; generators stay generators."""
    if not os.environ.get("SPACES_ZERO_GPU"):
        return handler
    try:
        spaces = importlib.import_module("spaces")
    except ImportError:
        return handler
    return spaces.GPU(duration=SECONDS)(handler)
