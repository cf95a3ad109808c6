"""Which of a reader's runs may still change the page: only the one that began last."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

DELIVERY_SECONDS = 0.5  # how long an update on its way to the page is waited for


@dataclass
class Runs:
    """The runs of one reader, by number. It lives in a `gr.State`, which every handler of that reader shares.

    number: of the newest run. last_stop: number of the run that was stopped last.
    """

    number: int = 0
    last_stop: int = 0

    def __post_init__(self) -> None:
        self._delivery = threading.Lock()  # no field: Gradio reads the fields of a state

    def __deepcopy__(self, memo: dict) -> Runs:
        """Return the runs of another reader; a lock cannot be copied."""
        return Runs(self.number, self.last_stop)

    def start(self) -> Run:
        """Begin a run, which ends the one before."""
        self.end()
        return Run(self, self.number)

    def end(self) -> None:
        """End the current run without a word, because the page now shows something else.

        An update that it has already sent reaches the page first: what the caller returns then stands.
        """
        with self.deliver():
            self.number += 1

    @contextmanager
    def deliver(self) -> Iterator[None]:
        """Hold back `end` while an update is sent, which takes as long as a generator is suspended at its `yield`.

        Waits at most `DELIVERY_SECONDS` for another update, because a page that was closed never takes it.
        """
        is_first = self._delivery.acquire(timeout=DELIVERY_SECONDS)
        try:
            yield
        finally:
            if is_first:
                self._delivery.release()

    def stop(self) -> None:
        """Stop the current run, which says so itself: what it sent before cannot arrive after that."""
        self.last_stop = self.number


@dataclass(frozen=True)
class Run:
    """One analysis or explanation."""

    runs: Runs
    number: int

    @property
    def is_current(self) -> bool:
        """Whether nothing newer has taken the page."""
        return self.runs.number == self.number

    @property
    def is_stopped(self) -> bool:
        """Whether the reader stopped it."""
        return self.runs.last_stop == self.number

    @property
    def is_wanted(self) -> bool:
        """Whether it should go on."""
        return self.is_current and not self.is_stopped
