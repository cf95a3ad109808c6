"""The lock of the model: one job at a time, in the order of arrival."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from diff3m.analysis import Analysis
from diff3m.case import Case, FilmSource
from diff3m.detector import Detector


class Turns:
    """A fair lock. A long job takes a turn for each of its parts, so that jobs that arrive meanwhile go in between."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._next, self._serving = 0, 0

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Wait for a turn and hold it for the duration of the context."""
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


def analyze_in_turn(
    detector: Detector, film: Case | FilmSource, record: Mapping | None = None, **settings: object
) -> Analysis:
    """Analyze a case, or a film and a record, when the model is free. settings, errors: of `Detector.analyze`."""
    with MODEL.turn():
        return detector.analyze(film, record, **settings)
