"""The thread of the models: one job at a time, in the order of arrival."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from diff3m.analysis import Analysis
from diff3m.case import Case, FilmSource
from diff3m.detector import Detector

Result = TypeVar("Result")


class ModelThread:
    """Runs jobs in one thread. A long job is submitted in parts, so that jobs that arrive meanwhile go in between.

    Each thread that computes has OpenMP threads of its own, and where these are more than the processors they wait for
    each other asleep: on two processors an analysis takes 0.16 instead of 0.13 s in a second such thread.
    """

    def __init__(self) -> None:
        self._start()
        os.register_at_fork(after_in_child=self._start)  # a forked process has no threads but its own

    def _start(self) -> None:
        self._executor = ThreadPoolExecutor(1, "model")

    def run(self, job: Callable[[], Result]) -> Result:
        """Run a job when the model is free, and return its result, or raise what it raises."""
        return self._executor.submit(job).result()


MODEL = ModelThread()


def analyze_in_turn(
    detector: Detector, film: Case | FilmSource, record: Mapping | None = None, **settings: object
) -> Analysis:
    """Analyze a case, or a film and a record, when the model is free. settings, errors: of `Detector.analyze`."""
    return MODEL.run(lambda: detector.analyze(film, record, **settings))
