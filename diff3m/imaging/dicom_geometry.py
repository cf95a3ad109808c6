"""Orientation and spacing in a DICOM header: how a stored picture becomes upright and true to proportion.

In this module `notes` is a list to which functions add sentences for the reader.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from pydicom.dataset import Dataset

from .dicom_values import DECIMAL_COMMA, has_decimal_comma, number, numbers, text, texts, whole_number
from .geometry import MAX_PIXEL_ASPECT, Placement, pixels_are_square, stretch_note

SIDE_VIEW = "The header's orientation is that of a side view; the model knows frontal films only."
BAD_ORIENTATION = "The header's PatientOrientation is not understood; the film is shown as it is stored."
DETECTOR_FLIP = (
    "The header says that the stored film was {what} relative to the detector (FieldOfView) and not how it is to be "
    "hung; it is shown as it is stored. Compare the side marker."
)
BAD_SPACING = "The header's {name} is not plausible and was ignored."
ONE_LENGTH = "The header's {name} holds one length instead of two; pixels are taken for square."
TWO_ASPECTS = (
    "The header contradicts itself about the proportions of its pixels; the first of PixelSpacing, ImagerPixelSpacing "
    "and PixelAspectRatio was used. Compare the film's proportions."
)
BAD_MAGNIFICATION = (
    "The header's magnification is not plausible and was ignored: millimeters are those at the detector."
)
MAX_MAGNIFICATION = 2.0  # of a projection radiograph; a chest film has 1.0 to 1.3
ROUNDING = 1e-3  # share by which PixelSpacing and ImagerPixelSpacing may differ and still be the same, rounded
SPACING_RANGE = (0.02, 5.0)  # mm: finer than any detector, coarser than any film


@dataclass(frozen=True)
class Geometry:
    """How a stored picture becomes upright and true to proportion.

    placement: how it is turned. pixel_aspect: height over width of a stored pixel, before it is turned.
    spacing_mm: (row, column) distance of stored pixels in millimeters; None where the header does not say it.
    at_detector: whether that is on the detector; distances in the patient are smaller by an unknown factor.
    notes: sentences for the reader.
    """

    placement: Placement
    pixel_aspect: float
    spacing_mm: tuple[float, float] | None
    at_detector: bool
    notes: tuple[str, ...]


def read_geometry(dataset: Dataset) -> Geometry:
    """Read how the stored picture is brought upright and to true proportions."""
    notes: list[str] = []
    placement = _placement(dataset, notes)
    spacing, at_detector = _spacing(dataset, notes)
    ratio = _pixel_aspect_ratio(dataset, notes)
    aspect = _aspect(spacing) if spacing is not None else ratio or 1.0
    if ratio and not pixels_are_square(ratio / aspect):
        notes.append(TWO_ASPECTS)
    if not 1 / MAX_PIXEL_ASPECT <= aspect <= MAX_PIXEL_ASPECT:
        notes.append(BAD_SPACING.format(name="pixel aspect ratio"))
        aspect, spacing = 1.0, None
    if note := stretch_note(1 / aspect if placement.transposed else aspect):
        notes.append(note)
    return Geometry(placement, aspect, spacing, at_detector, tuple(notes))


def _placement(dataset: Dataset, notes: list[str]) -> Placement:
    """Read PatientOrientation, the directions of a row and of a column, as the placement of a frontal film.

    A film is viewed with the patient's left on the right. A film whose orientation is not understood stays as it is,
    with a note.
    """
    directions = [direction.upper()[:1] for direction in texts(dataset, "PatientOrientation")]
    placement = None
    if len(directions) == 2:
        row, column = directions
        transposed = row in ("H", "F")
        right, down = (column, row) if transposed else (row, column)
        if right in ("L", "R") and down in ("H", "F"):
            placement = Placement(transposed, right == "R", down == "H")
        elif set(directions) & {"A", "P"} and set(directions) & {"H", "F"}:
            notes.append(SIDE_VIEW)
            return Placement()
    if placement is None:
        if any(directions):
            notes.append(BAD_ORIENTATION)
        _note_detector_flip(dataset, notes)
        return Placement()
    if placement.note:
        notes.append(placement.note)
    return placement


def _note_detector_flip(dataset: Dataset, notes: list[str]) -> None:
    """Add a note where FieldOfViewRotation or FieldOfViewHorizontalFlip is set.

    They say what was already done to the stored pixels (PS3.3 C.8.11.4.1.1), so nothing is turned.
    """
    changes = []
    rotation = whole_number(dataset, "FieldOfViewRotation")
    if rotation:
        changes.append("turned")
    if text(dataset, "FieldOfViewHorizontalFlip").upper() in ("YES", "Y"):
        changes.append("mirrored")
    if changes:
        notes.append(DETECTOR_FLIP.format(what=" and ".join(changes)))


def _spacing(dataset: Dataset, notes: list[str]) -> tuple[tuple[float, float] | None, bool]:
    """Return the (row, column) spacing in millimeters, None where unknown, and whether it is that at the detector.

    A PixelSpacing that differs from ImagerPixelSpacing is calibrated to the patient. The same value, or
    ImagerPixelSpacing alone, is that at the detector; EstimatedRadiographicMagnificationFactor converts it to the
    patient (PS3.3 10.7.1). NominalScannedPixelSpacing is that on a scanned film, and counts as ImagerPixelSpacing.
    """
    pixel_spacing, imager_spacing = (
        _two_lengths(dataset, name, notes) for name in ("PixelSpacing", "ImagerPixelSpacing")
    )
    imager_spacing = imager_spacing or _two_lengths(dataset, "NominalScannedPixelSpacing", notes)
    spacing = pixel_spacing or imager_spacing
    if pixel_spacing and imager_spacing and not pixels_are_square(_aspect(pixel_spacing) / _aspect(imager_spacing)):
        notes.append(TWO_ASPECTS)
    is_calibrated = pixel_spacing and imager_spacing and not np.allclose(pixel_spacing, imager_spacing, ROUNDING, 0)
    if spacing is None or imager_spacing is None or is_calibrated:
        return spacing, False
    name = "EstimatedRadiographicMagnificationFactor"
    factor = number(dataset, name)
    if factor is not None and 1 <= factor <= MAX_MAGNIFICATION:
        return (spacing[0] / factor, spacing[1] / factor), False
    if text(dataset, name) or factor is not None:
        notes.append(BAD_MAGNIFICATION)
    return spacing, True


def _aspect(spacing: tuple[float, float]) -> float:
    """Return height over width of a pixel of a (row, column) spacing."""
    return spacing[0] / spacing[1]


def _two_lengths(dataset: Dataset, name: str, notes: list[str]) -> tuple[float, float] | None:
    """Read two lengths within `SPACING_RANGE`; None where they are absent or, with a note, malformed."""
    if not text(dataset, name):
        return None
    values = numbers(dataset, name)
    if has_decimal_comma(dataset, name):
        notes.append(DECIMAL_COMMA.format(name=name))
    low, high = SPACING_RANGE
    if len(values) == 1:
        notes.append(ONE_LENGTH.format(name=name))
        values *= 2
    if len(values) != 2 or not all(low <= value <= high for value in values):
        notes.append(BAD_SPACING.format(name=name))
        return None
    return values[0], values[1]


def _pixel_aspect_ratio(dataset: Dataset, notes: list[str]) -> float | None:
    """Read PixelAspectRatio as height over width of a pixel; None where it is absent or, with a note, malformed."""
    values = numbers(dataset, "PixelAspectRatio")
    if not text(dataset, "PixelAspectRatio"):
        return None
    if len(values) != 2 or min(values) <= 0:
        notes.append(BAD_SPACING.format(name="PixelAspectRatio"))
        return None
    return values[0] / values[1]
