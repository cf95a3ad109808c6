"""Who may use the model: one at a time, in the order in which they came."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Turns:
    """A fair lock. A long job that takes a turn for each part lets everybody who came meanwhile go first."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._next, self._serving = 0, 0

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Wait for one's turn, hold it, and pass it on."""
        with self._condition:
            ticket = self._next
            self._next += 1
            self._condition.wait_for(lambda: self._serving == ticket)
        try:
            yield
        finally:
            with self._condition:
                self._serving += 1
                self._condition.notify_all()


MODEL = Turns()
