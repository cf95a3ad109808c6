"""Types and texts that the handlers of all tabs share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gradio.components import Component

Values = Mapping[Component, Any]  # what a handler reads
Updates = dict[Component, Any]  # what it changes
WAITING = "Waiting for its turn …"
WORKING = "The model is working …"
