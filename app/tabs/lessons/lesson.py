"""Types of a lesson: its steps, its setting and the lesson itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from ...components.viewer import ViewerState


@dataclass(frozen=True)
class Step:
    """A part of an answer as it grows.

    html: all of the answer so far. state: what the viewer shows now, None for no change.
    """

    html: str
    state: ViewerState | None = None


@dataclass(frozen=True)
class Setting:
    """A number that the class sets before and after the answer: label and scale of its slider, and value at first."""

    label: str
    low: float
    high: float
    step: float
    value: float


@dataclass(frozen=True)
class Lesson:
    """One lesson.

    name: in the link. question: Markdown. choices: to guess from; none for a question without a guess. notes: for the
    teacher, Markdown. show: returns what the viewer shows beside the question. answer: yields the answer as it grows,
    from a detector of simulated patients. setting: of a number that `show` and `answer` take as their last argument.
    """

    name: str
    title: str
    question: str
    choices: tuple[str, ...]
    notes: str
    show: Callable[..., ViewerState]
    answer: Callable[..., Iterator[Step]]
    setting: Setting | None = None
