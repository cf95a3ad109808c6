"""The runs of a reader, of which only the newest may change the page."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Runs:
    """The runs of one reader, by number. It lives in a `gr.State`, which every handler of that reader shares.

    number: of the newest run. last_stop: number of the run that was stopped last. changes: how often films or results
    on the page were replaced.
    """

    number: int = 0
    last_stop: int = 0
    changes: int = 0

    def start(self) -> Run:
        """Begin a run; the one before no longer changes the page."""
        self.number += 1
        return Run(self, self.number)

    def end(self) -> None:
        """End the current run without a message, because the page now shows something else."""
        self.number += 1
        self.changes += 1

    def stop(self) -> None:
        """Stop the current run. Its last update says so, and no earlier one can arrive after that."""
        self.last_stop = self.number


@dataclass(frozen=True)
class Run:
    """One analysis or explanation."""

    runs: Runs
    number: int

    @property
    def is_current(self) -> bool:
        """Whether no newer run has started."""
        return self.runs.number == self.number

    @property
    def is_stopped(self) -> bool:
        """Whether the reader stopped it."""
        return self.runs.last_stop == self.number

    @property
    def is_wanted(self) -> bool:
        """Whether it is current and was not stopped."""
        return self.is_current and not self.is_stopped
