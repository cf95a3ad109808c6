"""The example cases in assets/: synthetic films with a record, none of them a patient's."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).resolve().parent.parent / "assets" / "examples"


@dataclass(frozen=True)
class Example:
    """One case: its id, the film's path, a caption, the record by feature name, and what is to be seen."""

    id: str
    path: Path
    title: str
    record: dict
    teaches: str


def load_examples(checkpoint: str) -> list[Example]:
    """The examples that were made for a checkpoint (its folder's name)."""
    index = FOLDER / "examples.json"
    if not index.is_file():
        return []
    entries = json.loads(index.read_text(encoding="utf-8"))
    return [
        Example(entry["id"], FOLDER / entry["file"], entry["title"], entry["record"], entry["teaches"])
        for entry in entries
        if entry["checkpoint"] == checkpoint
    ]
