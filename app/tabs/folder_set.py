"""A teacher's own films: a folder with a manifest becomes a set to read, examples for Explore, and lessons."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlencode

import cv2
from tqdm import tqdm

from diff3m.analysis import Analysis
from diff3m.data.manifest import NORMAL, ManifestError, describe_unread_columns, normalize_label, rename_columns
from diff3m.data.paths import locate
from diff3m.data.table import read_table
from diff3m.detector import Detector
from diff3m.ehr import EHRSchema, Record
from diff3m.imaging import Radiograph, RadiographError, read_film

from ..runtime.model_thread import analyze_in_turn
from .case_set import ReadingCase, Truth, find_truths
from .set_results import SetResults, StoredCase

TABLES = ("manifest.csv", "manifest.parquet")
COLUMNS = ("path", "label", "title", "question", "answer", "boxes", "mask")  # besides the record's
BOX = re.compile(r"(?P<label>.*?)\s*(?P<numbers>(?:-?\d+(?:\.\d+)?[\s,]+){3}-?\d+(?:\.\d+)?)")
BOX_FORM = "Write a box as `label x y width height` in pixels of the film, several with a semicolon between them."
RESERVED = "simulated"  # names of the simulated sets begin so


@dataclass(frozen=True)
class FolderEntry:
    """A row of a teacher's manifest.

    row: its number; the first row of data is 1. name: in links, unique in the set. path, mask: files. record: of the
    row, parsed. The others are the row's texts, "" where it has none.
    """

    row: int
    name: str
    path: Path
    record: Record
    label: str = ""
    boxes: str = ""
    mask: Path | None = None
    title: str = ""
    question: str = ""
    answer: str = ""

    @property
    def is_counted(self) -> bool:
        """Whether all its places are known: they are marked, or it is normal."""
        return bool(self.boxes or self.mask) or self.label == NORMAL


@dataclass(frozen=True, eq=False)
class FolderSet:
    """A folder's films with what its manifest says of them; see docs/teach.md.

    name: in links. entries: the rows that can be used. stored: their results, in the same order. problems: a sentence
    for each row that cannot be used.
    """

    name: str
    folder: Path
    detector: Detector
    entries: tuple[FolderEntry, ...] = field(repr=False)
    stored: tuple[StoredCase, ...] = field(repr=False)
    problems: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        """The folder's name for a reader."""
        text = self.name.replace("_", " ").replace("-", " ").strip()
        return text[:1].upper() + text[1:]

    def __len__(self) -> int:
        return len(self.entries)

    def read_case(self, index: int) -> ReadingCase:
        """Read a film of the set. Raises RadiographError, naming the row."""
        entry = self.entries[index]
        try:
            return _read_case(entry, self.detector)
        except ValueError as error:
            raise RadiographError(f"Row {entry.row} ({entry.path.name}): {error}") from None

    def analyze(self, index: int, case: ReadingCase) -> Analysis:
        """Return the stored result; without one, analyze when the model is free."""
        prepared = self.detector.case(case.film, case.record)
        return self.stored[index].load(self.detector, prepared) or analyze_in_turn(self.detector, prepared)


def read_case_sets(folders: Sequence[Path], detector: Detector) -> tuple[FolderSet, ...]:
    """Read and analyze the films of folders, with progress on the terminal.

    Raises ManifestError for a folder without a usable table.
    """
    sets: list[FolderSet] = []
    for folder in folders:
        name = _choose_name(folder.resolve(), {entry.name for entry in sets})
        sets.append(read_case_set(folder, detector, name))
    return tuple(sets)


def _choose_name(folder: Path, others: set[str]) -> str:
    """Return the folder's name, changed where another set or the simulated ones have it."""
    name = folder.name or "cases"
    name = f"own-{name}" if name.startswith(RESERVED) else name
    numbers = (f"{name}-{number}" if number > 1 else name for number in range(1, len(others) + 2))
    return next(candidate for candidate in numbers if candidate not in others)


def read_case_set(folder: Path, detector: Detector, name: str = "") -> FolderSet:
    """Read a folder's manifest and analyze its films, or take the results that are stored beside them.

    A row that cannot be used is left out, with its reason on the terminal and in `problems`. Raises ManifestError with
    a sentence that says what to do where nothing can be used.
    """
    path = next((folder / name for name in TABLES if (folder / name).is_file()), None)
    if path is None:
        raise ManifestError(f"There is no {TABLES[0]} in {folder}. Write one with a column `path`; see docs/teach.md.")
    name = name or folder.resolve().name
    rows = _read_rows(path, detector.schema)
    results = SetResults.from_folder(folder)
    entries, stored, problems = [], [], []
    names: set[str] = set()
    if note := describe_unread_columns(tuple(rows[0][1]), detector.schema):
        print(f"{name}: {note}", file=sys.stderr)
    progress = tqdm(rows, desc=f"Case set {name}", unit="film", file=sys.stderr, leave=False, disable=None)
    for row, values in progress:
        try:
            entry = _parse_entry(row, values, path.parent, detector.schema, names)
            result, analysis = _prepare(entry, detector, results)
        except ValueError as error:
            problems.append(f"Row {row} ({values.get('path') or 'no path'}) is left out. {error}")
            progress.write(f"{name}: {problems[-1]}", file=sys.stderr)
            continue
        names.add(entry.name)
        entries.append(entry)
        stored.append(result)
        if analysis.accepted:
            doubt = f"{name}: Row {row} ({entry.path.name}) is used as it is. {' '.join(analysis.accepted)}"
            progress.write(doubt, file=sys.stderr)
    if not entries:
        raise ManifestError(f"No row of {path} can be used. {problems[0]}")
    results.remove_others(stored)
    left_out = f", {len(problems)} left out" if problems else ""
    print(f"Case set {name}: {len(entries)} films ready{left_out}. Link: ?{urlencode({'read': name})}", file=sys.stderr)
    return FolderSet(name, folder.resolve(), detector, tuple(entries), tuple(stored), tuple(problems))


def _read_rows(path: Path, schema: EHRSchema) -> list[tuple[int, dict[str, str]]]:
    """Return the table's rows by number, with columns named as in any manifest. Raises ManifestError."""
    table = read_table(path)
    rename_columns(table, path, schema)
    if not len(table):
        raise ManifestError(f"The manifest {path} has no rows. Write one for each film.")
    texts = ({name: _clean_text(value) for name, value in values.items()} for values in table.to_dict("records"))
    return list(zip((int(index) + 1 for index in table.index), texts, strict=True))


def _clean_text(value: object) -> str:
    text = "" if value is None else str(value).strip()
    return "" if text.lower() == "nan" else text


def _parse_entry(row: int, values: Mapping[str, str], folder: Path, schema: EHRSchema, names: set[str]) -> FolderEntry:
    """Return a row, checked as far as it can be without its film. Raises ValueError. names: of the rows before."""
    if not values["path"]:
        raise ManifestError("The column `path` is empty. Write the film's file name there.")
    path, note = locate(folder, values["path"])
    if not path.is_file():
        raise ManifestError(f"There is no such file. {note or 'Check the name; it is relative to the manifest.'}")
    mask = locate(folder, values["mask"])[0] if values.get("mask") else None
    if mask is not None and not mask.is_file():
        raise ManifestError(f"There is no file {values['mask']} for its mask. Check the name.")
    record = schema.parse({name: values[name] for name in schema.names if name in values})
    texts = {name: values.get(name, "") for name in ("boxes", "title", "question", "answer")}
    name = next(name for name in _list_link_names(path) if name not in names)
    return FolderEntry(row, name, path, record, normalize_label(values.get("label", "")), mask=mask, **texts)


def _list_link_names(path: Path) -> Iterator[str]:
    """Yield names for a film in links: its file's, then the same with numbers for further rows of the same film."""
    yield path.name
    number = 2
    while True:
        yield f"{path.stem}-{number}{path.suffix}"
        number += 1


def _read_case(entry: FolderEntry, detector: Detector) -> ReadingCase:
    """Read a row's film and its truth. Raises ValueError."""
    film = read_film(entry.path, accept=True)
    facts = {name: value for name, value in film.facts.items() if name in detector.schema}
    record = {**facts, **{name: value for name, value in entry.record.items() if value is not None}}
    truths = read_truths(entry, film)
    texts = dict(label=entry.label, title=entry.title, question=entry.question, answer=entry.answer)
    return ReadingCase(entry.name, film.pixels, film, record, truths, entry.is_counted, **texts)


def read_truths(entry: FolderEntry, film: Radiograph) -> tuple[Truth, ...]:
    """Return the places that a row marks, by boxes and by mask. Raises ManifestError."""
    height, width = film.pixels.shape
    truths = parse_boxes(entry.boxes, height, width)
    if entry.mask is None:
        return truths
    mask = cv2.imread(str(entry.mask), cv2.IMREAD_GRAYSCALE)
    if mask is None:
        raise ManifestError(f"The mask {entry.mask.name} cannot be read. Save it as a black and white PNG.")
    if abs(mask.shape[1] / mask.shape[0] - width / height) > 0.02:
        raise ManifestError(f"The mask {entry.mask.name} has other proportions than the film. Save it at its size.")
    label = entry.label if entry.label not in ("", NORMAL) else "finding"
    return (*truths, *find_truths(mask > 127, label))


def parse_boxes(text: str, height: int, width: int) -> tuple[Truth, ...]:
    """Parse boxes such as "nodule 310 220 60 55; 80 400 120 90", in pixels of a film of that size.

    Raises ManifestError for one that cannot be read or that lies outside the film.
    """
    truths = []
    for part in filter(None, (piece.strip() for piece in text.split(";"))):
        match = BOX.fullmatch(part)
        x, y, across, down = (float(number) for number in re.split(r"[\s,]+", match["numbers"])) if match else [0] * 4
        if across <= 0 or down <= 0:
            raise ManifestError(f"The box {part[:60]!r} cannot be read. {BOX_FORM}")
        if x < 0 or y < 0 or x + across > width + 1 or y + down > height + 1:
            raise ManifestError(
                f"The box {part[:60]!r} does not lie within the film, which has {width}×{height} pixels. Boxes of "
                "another copy of the film must be scaled to the size of this one."
            )
        box = (y / height, x / width, (y + down) / height, (x + across) / width)
        truths.append(Truth(match["label"] or "finding", box))
    return tuple(truths)


def _prepare(entry: FolderEntry, detector: Detector, results: SetResults) -> tuple[StoredCase, Analysis]:
    """Return the result of a row, computed and stored where there is none that still holds. Raises ValueError."""
    record = {name: value for name, value in entry.record.items() if value is not None}
    stored = results.get_stored_case(entry.path, entry.mask, record, entry.boxes)
    analysis = stored.load(detector)
    if analysis is None:
        case = _read_case(entry, detector)
        analysis = detector.analyze(detector.case(case.film, case.record))
        stored.save(analysis, detector, case)
    return stored, analysis
