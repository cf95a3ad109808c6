"""Sets of films to read: what a case is, and simulated sets by number. `folder_set` has a teacher's own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import cv2
import numpy as np

from diff3m.analysis import Analysis
from diff3m.data.phantom import KINDS
from diff3m.detector import Detector
from diff3m.evaluation.free_response import Box
from diff3m.evaluation.phantom_numbers import get_first_number
from diff3m.findings import mask_box
from diff3m.imaging import Radiograph

from ..runtime.model_thread import analyze_in_turn
from .teach_films import PHANTOM_TAG, make_phantom_film

SET_SIZE = 10  # films of a simulated set
DISEASED = 6  # of them with a lesion
MAX_SET = 900  # numbers of simulated sets
MIN_PART = 4  # pixels of a mask: smaller parts are its ragged edge


@dataclass(frozen=True)
class Truth:
    """A place that is known.

    label: what is there. box: (top, left, bottom, right), shares of the film's sides. outline: points (row, column) in
    the same shares, None for the box itself.
    """

    label: str
    box: Box
    outline: tuple[tuple[float, float], ...] | None = None


@dataclass(frozen=True, eq=False)
class ReadingCase:
    """A film to read.

    name: in the CSV. pixels: (H, W) float32 in [0, 1], for the viewer. film: what the model takes. record: as far as
    known. truths: the known places; `is_counted` is False where it is not known whether these are all. label: of the
    whole film. title, question, answer: the teacher's. All texts are "" where there is none. tags: in the viewer's
    corner.
    """

    name: str
    pixels: np.ndarray
    film: Radiograph
    record: Mapping
    truths: tuple[Truth, ...]
    is_counted: bool = True
    label: str = ""
    title: str = ""
    question: str = ""
    answer: str = ""
    tags: tuple[str, ...] = ()


class CaseSet(Protocol):
    """Films to read, one at a time. name: in links and the CSV. detector: that analyzes them."""

    name: str
    title: str
    detector: Detector

    def __len__(self) -> int: ...

    def read_case(self, index: int) -> ReadingCase:
        """Read or draw a film. Raises RadiographError."""
        ...

    def analyze(self, index: int, case: ReadingCase) -> Analysis:
        """Return the result of a film that `read_case` returned."""
        ...


@dataclass(frozen=True)
class SimulatedSet:
    """A set of phantoms by number, from 1 to `MAX_SET`: the same number is the same films in the same order."""

    number: int
    detector: Detector

    @property
    def name(self) -> str:
        """The set's name in links."""
        return f"simulated-{self.number}"

    @property
    def title(self) -> str:
        """The set's name for a reader."""
        return f"Simulated set {self.number}"

    def __len__(self) -> int:
        return SET_SIZE

    def select_phantom(self, index: int) -> tuple[int, str | None]:
        """Return the phantom's number and the kind of its lesion, which follow from the set's number."""
        rng = np.random.default_rng(self.number)
        lesions = [*map(str, rng.permutation(KINDS)[:DISEASED]), *[None] * (SET_SIZE - DISEASED)]
        number = get_first_number("test", "teaching") + SET_SIZE * self.number + index
        return number, lesions[rng.permutation(SET_SIZE)[index]]

    def read_case(self, index: int) -> ReadingCase:
        """Draw a film of the set."""
        number, lesion = self.select_phantom(index)
        phantom = make_phantom_film(number, lesion)
        truths = () if lesion is None else find_truths(phantom.mask, lesion)
        record = phantom.patient.to_record()
        return ReadingCase(f"phantom {number}", phantom.pixels, phantom.film, record, truths, tags=(PHANTOM_TAG,))

    def analyze(self, index: int, case: ReadingCase) -> Analysis:
        """Analyze a film when the model is free."""
        return analyze_in_turn(self.detector, case.film, case.record)


def find_truths(mask: np.ndarray, label: str) -> tuple[Truth, ...]:
    """Return the connected parts of a mask (H, W) bool, each with its outline."""
    height, width = mask.shape
    count, parts = cv2.connectedComponents(mask.astype(np.uint8))
    truths = []
    for part in (parts == index for index in range(1, count)):
        if part.sum() < MIN_PART:
            continue
        contours, _ = cv2.findContours(part.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        contour = cv2.approxPolyDP(max(contours, key=cv2.contourArea), 1.0, True)[:, 0]
        outline = tuple((float((y + 0.5) / height), float((x + 0.5) / width)) for x, y in contour)
        truths.append(Truth(label, mask_box(part), outline if len(outline) > 2 else None))
    return tuple(truths)
