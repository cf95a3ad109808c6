"""Sets of films to read: simulated ones by number, and folders of a teacher's own."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np

from diff3m.data.manifest import ManifestError, read_manifest
from diff3m.data.phantom import KINDS
from diff3m.data.table import read_table
from diff3m.detector import Detector
from diff3m.ehr import EHRSchema
from diff3m.evaluation.free_response import Box
from diff3m.evaluation.phantom_numbers import first_number
from diff3m.imaging import Radiograph, RadiographError, read_radiograph

from .teach_films import PHANTOM_TAG, mask_box, phantom_film

SET_SIZE = 10  # films of a simulated set
DISEASED = 6  # of them with a lesion
MAX_SET = 900  # numbers of simulated sets
TABLES = ("manifest.csv", "manifest.parquet")
BOX = re.compile(r"(?P<label>.*?)\s*(?P<numbers>(?:-?\d+(?:\.\d+)?[\s,]+){3}-?\d+(?:\.\d+)?)")
BOX_FORM = "Write a box as `label x y width height` in pixels of the film, several with a semicolon between them."


@dataclass(frozen=True)
class Truth:
    """A place that is known. label: what is there."""

    label: str
    box: Box


@dataclass(frozen=True, eq=False)
class ReadingCase:
    """A film to read.

    name: in the CSV. shown: (H, W) float32 in [0, 1], for the viewer. film: what the model takes. record: as far as
    known. truths: the known places; `labelled` is False where it is not known whether there are any. question, answer:
    the teacher's, or "".
    """

    name: str
    shown: np.ndarray
    film: Radiograph
    record: Mapping
    truths: tuple[Truth, ...]
    labelled: bool = True
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

    def case(self, index: int) -> ReadingCase: ...


@dataclass(frozen=True)
class SimulatedSet:
    """A set of phantoms by number, from 1 to `MAX_SET`: the same number is the same films in the same order."""

    number: int
    detector: Detector

    @property
    def name(self) -> str:
        return f"simulated-{self.number}"

    @property
    def title(self) -> str:
        return f"Simulated set {self.number}"

    def __len__(self) -> int:
        return SET_SIZE

    def phantom(self, index: int) -> tuple[int, str | None]:
        """The phantom's number and the kind of its lesion, which follow from the set's number."""
        rng = np.random.default_rng(self.number)
        lesions = [*map(str, rng.permutation(KINDS)[:DISEASED]), *[None] * (SET_SIZE - DISEASED)]
        return first_number("test", "teaching") + SET_SIZE * self.number + index, lesions[
            rng.permutation(SET_SIZE)[index]
        ]

    def case(self, index: int) -> ReadingCase:
        """Draw a film of the set."""
        number, lesion = self.phantom(index)
        phantom = phantom_film(number, lesion)
        truths = () if lesion is None else (Truth(lesion, mask_box(phantom.mask)),)
        return ReadingCase(
            f"phantom {number}", phantom.shown, phantom.film, phantom.patient.record(), truths, tags=(PHANTOM_TAG,)
        )


@dataclass(frozen=True, eq=False)
class FolderSet:
    """A folder's films with what its manifest says of them; see docs/teach.md."""

    folder: Path
    detector: Detector
    entries: tuple[FolderEntry, ...] = field(repr=False)

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def title(self) -> str:
        return self.folder.name.replace("_", " ").replace("-", " ").capitalize()

    def __len__(self) -> int:
        return len(self.entries)

    def case(self, index: int) -> ReadingCase:
        """Read a film of the set. Raises RadiographError or ManifestError, naming the row."""
        entry = self.entries[index]
        try:
            film = read_radiograph(entry.path)
        except RadiographError as error:
            raise RadiographError(f"{entry.path.name} (row {entry.row}): {error}") from None
        height, width = film.pixels.shape
        truths = parse_boxes(entry.boxes, height, width, entry.row)
        facts = {name: value for name, value in film.facts.items() if name in self.detector.schema}
        record = {**facts, **{name: value for name, value in entry.record.items() if value is not None}}
        texts = dict(title=entry.title, question=entry.question, answer=entry.answer)
        return ReadingCase(entry.path.name, film.pixels, film, record, truths, entry.labelled, **texts)


@dataclass(frozen=True)
class FolderEntry:
    """A row of a teacher's manifest. labelled: whether it says which places are abnormal, or that none is."""

    row: int
    path: Path
    record: Mapping
    boxes: str
    labelled: bool
    title: str
    question: str
    answer: str


def read_case_set(folder: Path, detector: Detector) -> FolderSet:
    """Read the manifest of a teacher's folder. Raises ManifestError with a sentence that says what to do."""
    path = next((folder / name for name in TABLES if (folder / name).is_file()), None)
    if path is None:
        raise ManifestError(f"There is no {TABLES[0]} in {folder}. Write one with a column `path`; see docs/teach.md.")
    return FolderSet(folder.resolve(), detector, tuple(_entries(path, detector.schema)))


def _entries(path: Path, schema: EHRSchema) -> list[FolderEntry]:
    rows, table = read_manifest(path, schema), read_table(path)
    columns = {str(column).strip().lower(): column for column in table.columns}
    entries = []
    for row, values in zip(rows, table.to_dict("records"), strict=True):
        texts = {name: _text(values.get(columns.get(name))) for name in ("boxes", "title", "question", "answer")}
        labelled = bool(texts["boxes"]) or row.abnormal is False
        entries.append(FolderEntry(row.row, row.path, row.record, labelled=labelled, **texts))
        parse_boxes(texts["boxes"], 1, 1, row.row)
    return entries


def _text(value: object) -> str:
    text = "" if value is None else str(value).strip()
    return "" if text.lower() == "nan" else text


def parse_boxes(text: str, height: int, width: int, row: int) -> tuple[Truth, ...]:
    """Parse boxes such as "nodule 310 220 60 55; 80 400 120 90", in pixels of a film of that size.

    Raises ManifestError naming the row.
    """
    truths = []
    for part in filter(None, (piece.strip() for piece in text.split(";"))):
        match = BOX.fullmatch(part)
        x, y, across, down = (float(number) for number in re.split(r"[\s,]+", match["numbers"])) if match else [0] * 4
        if across <= 0 or down <= 0:
            raise ManifestError(f"Row {row}: the box {part[:60]!r} cannot be read. {BOX_FORM}")
        truths.append(
            Truth(match["label"] or "finding", (y / height, x / width, (y + down) / height, (x + across) / width))
        )
    return tuple(truths)
