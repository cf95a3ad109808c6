"""The registry of explanations: what each needs and costs, and how it is computed, described and exported.

Each module of this package registers its own. Page, API, command line, export and cost benchmark iterate over
`EXPLANATIONS`, so a new explanation is one new module here and its card on the page (`app/render/cards`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from ..case import Case
from ..detector import Detector
from .needs import ExplanationError, Need, require

Box = tuple[float, float, float, float]  # top, left, bottom, right as shares of the prepared film's side
Cost = Literal["low", "medium", "high"]  # up to 2, up to 5, more times the seconds of one analysis


@dataclass(frozen=True)
class Request:
    """What a user asks about a case.

    targets: what is attributed to the record, from `attribution.TARGETS`. numbers: features whose influence is
    measured. changes: (feature, value as typed) of each changed record. box: the region to explain; default, the one
    that differs most. regions: further regions by name. pictures: whether to compute pictures that take long too.
    """

    targets: tuple[str, ...] = ("misfit", "expectation", "prior")
    numbers: tuple[str, ...] = ()
    changes: tuple[tuple[str, str], ...] = ()
    box: Box | None = None
    regions: tuple[tuple[str, Box], ...] = ()
    pictures: bool = True


@dataclass(frozen=True, eq=False)
class Picture:
    """A picture for export.

    pixels: (H, W), grey levels in [0, 1], or, where `signed`, differences, drawn red for + and blue for −.
    """

    pixels: np.ndarray
    signed: bool = False


@dataclass(frozen=True)
class Explanation:
    """One method of explanation.

    name: key in the registry and in JSON. title: one line. progress: what the page says while it runs.
    order: place among the others; quick ones come first. cost: see `Cost`. needs: what the checkpoint must have.
    explain: computes the result from a context. to_dict: returns the result as JSON values, without pictures.
    describe: returns the result as lines of text. pictures: returns its pictures by file name. is_requested: whether a
    request asks for it. validate: raises ExplanationError or EHRError for a wrong request, before anything is computed.
    """

    name: str
    title: str
    progress: str
    order: int
    cost: Cost
    explain: Callable[[Context], Any]
    to_dict: Callable[[Any], dict | list]
    describe: Callable[[Any], list[str]]
    needs: tuple[Need, ...] = ()
    pictures: Callable[[Any], dict[str, Picture]] = lambda result: {}
    is_requested: Callable[[Request], bool] = lambda request: True
    validate: Callable[[Context], None] = lambda context: None


EXPLANATIONS: dict[str, Explanation] = {}


def register(explanation: Explanation) -> Explanation:
    """Add an explanation to the registry, which is sorted by order. Raises ValueError for a name that is in use."""
    if explanation.name in EXPLANATIONS:
        raise ValueError(f"there are two explanations called {explanation.name!r}")
    entries = sorted([*EXPLANATIONS.values(), explanation], key=lambda entry: (entry.order, entry.name))
    EXPLANATIONS.clear()
    EXPLANATIONS.update({entry.name: entry for entry in entries})
    return explanation


class Context:
    """One case under one request, with the results so far, so that explanations share what they both need."""

    def __init__(self, detector: Detector, case: Case, request: Request | None = None) -> None:
        """Validate the request; by default it has no changes and no numbers. Raises ExplanationError or EHRError."""
        self.detector, self.case, self.request = detector, case, request or Request()
        self.results: dict[str, Any] = {}
        self.failures: list[str] = []
        self._cache: dict[str, Any] = {}
        for explanation in EXPLANATIONS.values():
            explanation.validate(self)

    def list_requested(self) -> list[Explanation]:
        """Return the explanations that the request asks for, in order."""
        return [explanation for explanation in EXPLANATIONS.values() if explanation.is_requested(self.request)]

    def compute(self, name: str) -> Any:
        """Return an explanation's result, computed once. Raises ExplanationError where it cannot be given."""
        if name not in self.results:
            explanation = EXPLANATIONS[name]
            require(self.detector, *explanation.needs)
            self.results[name] = explanation.explain(self)
        return self.results[name]

    def attempt(self, name: str) -> Any | None:
        """Return an explanation's result, or None where it cannot be given; the reason is then added to `failures`."""
        try:
            return self.compute(name)
        except ExplanationError as error:
            if str(error) not in self.failures:
                self.failures.append(str(error))
            return None

    def compute_once(self, key: str, compute: Callable[[], Any]) -> Any:
        """Return what several explanations need, computed by the first of them."""
        if key not in self._cache:
            self._cache[key] = compute()
        return self._cache[key]

    def collect_results(self) -> dict[str, Any]:
        """Return the results of the explanations that were requested and could be given, by name."""
        return {entry.name: self.results[entry.name] for entry in self.list_requested() if entry.name in self.results}
