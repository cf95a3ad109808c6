"""The example cases in assets/: synthetic films with a record, none of them a patient's."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from diff3m.analysis import Analysis
from diff3m.detector import Detector
from diff3m.export.cache import load_analysis

MAX_STRIP = 12  # examples in the strip; a link opens any
FOLDER = Path(__file__).resolve().parent.parent / "assets" / "examples"


@dataclass(frozen=True)
class Example:
    """One case.

    id: its name in links. path: of the film. title: a caption. record: by feature name. teaches: what the example
    shows. origin: where the film comes from. mask: path of the true mask, or None.
    """

    id: str
    path: Path
    title: str
    record: dict
    teaches: str
    origin: str
    mask: Path | None

    @property
    def picture(self) -> str:
        """Path of the picture in the strip."""
        return str(self.path)

    def load_result(self, detector: Detector) -> Analysis | None:
        """Return the result that tools/make_examples.py computed, if it is still what the checkpoint gives."""
        return load_analysis(FOLDER / f"{self.id}.npz", detector)


def get_strip_title(examples: Sequence[Example]) -> str:
    """Return the title of the strip of examples."""
    origin = examples[0].origin if examples else ""
    return origin if origin.startswith("From ") else "Or an example: synthetic, no patient's film."


def read_mask(path: Path | None) -> np.ndarray | None:
    """Return an example's true mask (H, W) bool; None where it has none."""
    return cv2.imread(str(path), cv2.IMREAD_GRAYSCALE) > 127 if path else None


def load_examples(checkpoint: str) -> list[Example]:
    """Return the examples that were made for a checkpoint (its folder's name)."""
    index = FOLDER / "examples.json"
    if not index.is_file():
        return []
    entries = json.loads(index.read_text(encoding="utf-8"))
    return [
        Example(
            id=entry["id"],
            path=FOLDER / entry["file"],
            title=entry["title"],
            record=entry["record"],
            teaches=entry["teaches"],
            origin=entry["origin"],
            mask=FOLDER / entry["mask"] if "mask" in entry else None,
        )
        for entry in entries
        if entry["checkpoint"] == checkpoint
    ]
