"""Results of a teacher's films, stored beside them so that a second start is quick."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from gradio.utils import get_upload_folder

from diff3m.analysis import Analysis
from diff3m.case import Case
from diff3m.detector import Detector
from diff3m.export.cache import load_analysis, save_analysis
from diff3m.export.overlay import to_uint8

from .case_set import ReadingCase, Truth

FOLDER = ".diff3m"  # beside the manifest
PICTURE = 256  # pixels of a thumbnail's longer side
MASK = 512  # pixels of a mask's longer side


@dataclass(frozen=True)
class StoredCase:
    """The files of one film: result, thumbnail, and the mask of its known places. start: their path without an end."""

    start: Path

    @property
    def result(self) -> Path:
        """The analysis."""
        return self.start.with_suffix(".npz")

    @property
    def picture(self) -> Path:
        """A thumbnail."""
        return self.start.with_suffix(".png")

    @property
    def mask(self) -> Path:
        """The mask of the known places, absent where there is none."""
        return self.start.with_suffix(".mask.png")

    def load(self, detector: Detector, case: Case | None = None) -> Analysis | None:
        """Return the result if it is whole and still what the checkpoint gives; else None."""
        if not self.picture.is_file():
            return None
        try:
            return load_analysis(self.result, detector, case)
        except (OSError, ValueError, KeyError, TypeError, EOFError):  # cut short, or of another version
            return None

    def save(self, analysis: Analysis, detector: Detector, case: ReadingCase) -> None:
        """Write all files, each whole or not at all; the thumbnail, which `load` asks for, last."""
        partial = self.start.with_suffix(f".{os.getpid()}.partial.npz")
        save_analysis(partial, analysis, detector)
        os.replace(partial, self.result)
        if case.truths:
            _write_png(self.mask, draw_truths(case.truths, case.pixels.shape))
        _write_png(self.picture, to_uint8(_reduce(case.pixels, PICTURE)))


@dataclass(frozen=True)
class SetResults:
    """The folder of a set's results."""

    folder: Path

    @classmethod
    def from_folder(cls, folder: Path) -> SetResults:
        """Use a folder beside the manifest; where nothing may be written there, one that ends with the app."""
        own = folder / FOLDER
        try:
            own.mkdir(exist_ok=True)
            with tempfile.TemporaryFile(dir=own):
                return cls(own)
        except OSError:
            name = hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:16]
            other = Path(get_upload_folder()) / "cases" / name
            other.mkdir(parents=True, exist_ok=True)
            return cls(other)

    def get_stored_case(self, film: Path, mask: Path | None, record: Mapping, boxes: str) -> StoredCase:
        """Return the files of a film: their name changes with the film, its mask, its record and its boxes."""
        digest = hashlib.sha256(film.read_bytes())
        digest.update(mask.read_bytes() if mask else b"")
        digest.update(json.dumps([dict(record), boxes], sort_keys=True).encode())
        return StoredCase(self.folder / digest.hexdigest()[:32])

    def remove_others(self, cases: Sequence[StoredCase]) -> None:
        """Delete what belongs to no film of the set any more."""
        current = {path for case in cases for path in (case.result, case.picture, case.mask)}
        for path in self.folder.iterdir():
            if path.suffix in (".npz", ".png") and path not in current:
                path.unlink(missing_ok=True)


def draw_truths(truths: Sequence[Truth], shape: tuple[int, int]) -> np.ndarray:
    """Draw known places as a mask, uint8 0 or 255, in the proportions of a film of that shape."""
    factor = MASK / max(shape)
    height, width = (max(1, round(side * factor)) for side in shape)
    mask = np.zeros((height, width), np.uint8)
    for truth in truths:
        top, left, bottom, right = truth.box
        corners = truth.outline or ((top, left), (top, right), (bottom, right), (bottom, left))
        points = [(round(column * width), round(row * height)) for row, column in corners]
        cv2.fillPoly(mask, [np.array(points, np.int32)], 255)
    return mask


def _reduce(pixels: np.ndarray, side: int) -> np.ndarray:
    factor = min(1.0, side / max(pixels.shape))
    return cv2.resize(pixels, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)


def _write_png(path: Path, picture: np.ndarray) -> None:
    partial = path.with_suffix(f".{os.getpid()}.partial.png")
    cv2.imwrite(str(partial), picture)
    os.replace(partial, path)
