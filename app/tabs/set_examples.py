"""A teacher's films as the examples of Explore."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from diff3m.analysis import Analysis
from diff3m.detector import Detector

from ..examples import Example
from .folder_set import FolderSet
from .set_results import StoredCase

ORIGIN = "From the case set {title}."


@dataclass(frozen=True)
class CaseExample(Example):
    """A film of a case set, with its stored result."""

    stored: StoredCase

    @property
    def picture(self) -> str:
        """The thumbnail's path: the film itself may be a DICOM file, or large."""
        return str(self.stored.picture)

    def load_result(self, detector: Detector) -> Analysis | None:
        """Return the result that was computed at the start, if it is still what the checkpoint gives."""
        return self.stored.load(detector)


def make_case_id(cases: FolderSet, name: str) -> str:
    """Return the name of a case in links: its set's and its own."""
    return f"{cases.name}/{name}"


def list_set_examples(sets: Sequence[FolderSet]) -> dict[str, tuple[CaseExample, ...]]:
    """Return the examples of all sets by the name of the model that analyzed them."""
    examples: dict[str, tuple[CaseExample, ...]] = {}
    for cases in sets:
        name = cases.detector.config.name
        examples[name] = (*examples.get(name, ()), *_list_examples(cases))
    return examples


def _list_examples(cases: FolderSet) -> Iterator[CaseExample]:
    for entry, stored in zip(cases.entries, cases.stored, strict=True):
        analysis = stored.load(cases.detector)
        record = {} if analysis is None else analysis.record
        yield CaseExample(
            id=make_case_id(cases, entry.name),
            path=entry.path,
            title=entry.title or entry.path.stem,
            record={name: value for name, value in record.items() if value is not None},
            teaches=entry.answer,
            origin=ORIGIN.format(title=cases.title),
            mask=stored.mask if stored.mask.is_file() else None,
            stored=stored,
        )
