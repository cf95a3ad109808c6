"""What a DICOM header says beside the pixels: kind of picture, facts about the patient, orientation, size.

Only the attributes named here are read, and none is quoted unless it is one of a list of terms: anything may stand in a
header. Facts about the patient are read by `diff3m.ehr.header`.
"""

from __future__ import annotations

import re
import unicodedata
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
from pydicom.dataset import Dataset
from pydicom.uid import UID

from ..ehr import EHRError
from ..ehr import header as ehr_header
from ..ehr.facts import read_text, read_view
from ..ehr.header import Fact
from .dicom_values import has_decimal_comma, items, number, numbers, spellings, text, texts, whole
from .geometry import MAX_PIXEL_ASPECT, Placement, pixels_are_square, stretch_note
from .radiograph import RadiographError

PROJECTION_MODALITIES = frozenset(
    {"CR", "DX", "DR", "RG", "RF", "XR", "XRAY", "X-RAY", "CXR", "RX", "PX", "DF", "CF", "HC", "OT", "SC", ""}
)
# Defined terms of Modality, PS3.3 C.7.3.1.1.1, that are no projection radiography of the chest
OTHER_MODALITIES = frozenset(
    {"AR", "ASMT", "AU", "BDUS", "BI", "BMD", "CD", "CTPROTOCOL", "CFM", "CT", "DG", "DD", "DMS", "DOC", "DS", "EC",
     "ECG", "EEG", "EMG", "EOG", "EPS", "ES", "FA", "FID", "FS", "GM", "HD", "IO", "IOL", "IVOCT", "IVUS", "KER",
     "KO", "LEN", "LP", "LS", "M3D", "MA", "MG", "MR", "MS", "NM", "OAM", "OCT", "OP", "OPM", "OPR", "OPT", "OPTBSV",
     "OPTENF", "OPV", "OSS", "PLAN", "POS", "PR", "PT", "REG", "RESP", "RTDOSE", "RTIMAGE", "RTINTENT", "RTPLAN",
     "RTRAD", "RTRECORD", "RTSEGANN", "RTSTRUCT", "RWV", "SEG", "SM", "SMR", "SR", "SRF", "ST", "STAIN",
     "TEXTUREMAP", "TG", "US", "VA", "VF", "VL", "XA", "XAPROTOCOL", "XC"}
)  # fmt: skip
# of a storage class's keyword, where Modality is missing: other pictures than plain radiographs
OTHER_CLASSES = re.compile(
    r"CT|MR|Ultrasound|NuclearMedicine|Positron|Mammography|IntraOral|RT|Angiographic|XRF|VL|Waveform"
)
PICTURE_CLASSES = re.compile(r"Radiography|XRay|SecondaryCapture")
OTHER_BODY_PARTS = frozenset(
    {"ABDOMEN", "ANKLE", "ARM", "BREAST", "CALCANEUS", "CLAVICLE", "CSPINE", "ELBOW", "EXTREMITY", "FEMUR", "FINGER",
     "FOOT", "FOREARM", "HAND", "HEAD", "HIP", "HUMERUS", "JAW", "KNEE", "LEG", "LSPINE", "MANDIBLE", "NECK",
     "PELVIS", "SHOULDER", "SKULL", "SPINE", "TIBIA", "TOE", "TSPINE", "WRIST"}
)  # fmt: skip
# parts of words for the chest in capitals without accents, as devices in several languages write them
CHEST_WORDS = (
    "CHEST", "THORAX", "THORAC", "TORAX", "TORAC", "TORAK", "TORASS", "CXR", "LUNG", "RIB", "PECHO", "PEITO", "PETTO",
    "POITRINE", "POUMON", "PULM", "POLMON", "BRUSTKORB", "KLATKA PIERS",
    "KLATKI PIERS", "PLUCA", "HRUDN", "MELLKAS", "TUDO", "GOGUS",
    "AKCIGER", "BORSTKAS", "BROSTKORG", "BRYSTKASSE", "RINTA", "DADA", "PIEPT", "GRUDNI KOS", "KRUTIN", "KRUTIS",
    "RINDKERE", "NGUC", "TORSO", "ТОРАКС", "ГРУДНАЯ КЛЕТКА", "ГРУДНОИ КЛЕТКИ", "ОГК", "ЛЕГКИ", "ГРУДЬ",
    "ΘΩΡΑ", "胸", "肺", "흉부", "가슴", "صدر", "ทรวงอก", "छाती", "צזה", "חזה",
)  # fmt: skip
WHOLE_CHEST_WORDS = frozenset({"BRUST", "THX", "LONGEN", "LUNGE", "STERNUM", "HEART", "TORS", "TRUNK", "T D3000"})
# of BodyPartExamined, beside the words that mean "unknown" everywhere
NO_BODY_PARTS = frozenset({"OTHER", "UNSPECIFIED", "UNDEFINED", "DEFAULT", "ANY", "NOT APPLICABLE", "NOT SPECIFIED"})
SPINE_WORDS = ("SPINE", "COLUMN", "COLONNA", "RACHIS", "WIRBEL", "VERTEBR", "ПОЗВОН", "KREGOSL")

# of the age, a birth date and the days of which it is counted, the likeliest first
AGE_ATTRIBUTES = (
    "PatientAge", "PatientBirthDate", "StudyDate", "AcquisitionDate", "ContentDate", "SeriesDate", "AcquisitionDateTime"
)  # fmt: skip
CODE_ATTRIBUTES = ("CodeValue", "LongCodeValue", "URNCodeValue")
RECORD_ATTRIBUTES = (
    *AGE_ATTRIBUTES, "PatientSex", "ViewPosition", "ViewCodeSequence", "PatientSize", "PatientWeight"
)  # fmt: skip

NO_PICTURE = (
    "This DICOM file holds no picture (a report, a directory or a presentation state, perhaps). Choose the image file."
)
CUT_OFF = (
    "This DICOM file holds the header of a film and no picture: it may be cut short. Copy or export the file again."
)
FLOAT_PIXELS = (
    "This DICOM file stores pixels as floating-point numbers, which are not read. Export it with 16 bits, or as PNG."
)
UNKNOWN_MODALITY = "The header's modality is not a known one; the picture is taken for a radiograph."
RAW = (
    "The header says that these are raw detector values (FOR PROCESSING): its grey scale may differ from that of a "
    "finished film."
)
OVERLAYS = "The file holds annotations beside the film (overlay planes); they are not drawn."
SHUTTER = (
    "The header asks for a shutter over the film's edges (ShutterShape); it is not drawn, and what lies there may set "
    "the contrast."
)
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
COMMA = "The header's {name} is written with a decimal comma and was read as such."
MAX_MAGNIFICATION = 2.0  # of a projection radiograph; a chest film has 1.0 to 1.3
ROUNDING = 1e-3  # share by which PixelSpacing and ImagerPixelSpacing may differ and still be the same, rounded
SPACING_RANGE = (0.02, 5.0)  # mm: finer than any detector, coarser than any film


@dataclass(frozen=True)
class Geometry:
    """How a stored picture becomes upright and true to proportion.

    placement: how it is turned. pixel_aspect: height over width of a stored pixel, before it is turned.
    spacing_mm: (row, column) of the stored pixels in millimeters, or None; at_detector: whether that is the detector's,
    and what lies in the patient is smaller by an unknown amount. notes: sentences for the reader.
    """

    placement: Placement
    pixel_aspect: float
    spacing_mm: tuple[float, float] | None
    at_detector: bool
    notes: tuple[str, ...]


def check_kind(dataset: Dataset) -> list[str]:
    """Return notes on a data set that may be a projection radiograph. Raises RadiographError for one that cannot be."""
    modality, notes = text(dataset, "Modality").upper(), []
    if modality in OTHER_MODALITIES:
        raise RadiographError(
            f"This DICOM file holds modality {modality}, not a projection radiograph. "
            "Choose a frontal chest film (CR or DX)."
        )
    if modality not in PROJECTION_MODALITIES:
        notes.append(UNKNOWN_MODALITY)
    if not modality and OTHER_CLASSES.search(_storage_class(dataset)):
        raise RadiographError(
            "This DICOM file holds another modality, not a projection radiograph. "
            "Choose a frontal chest film (CR or DX)."
        )
    if "PixelData" not in dataset:
        raise RadiographError(_without_pixels(dataset))
    frames = whole(dataset, "NumberOfFrames")
    if frames and frames > 1:
        count = frames if frames < 10_000 else "many"
        raise RadiographError(f"This DICOM file holds {count} frames. Export a single frontal film.")
    if text(dataset, "PresentationIntentType").upper() == "FOR PROCESSING":
        notes.append(RAW)
    if any(0x6000 <= tag.group <= 0x601E for tag in dataset.keys()):  # noqa: SIM118  (a Dataset iterates over elements)
        notes.append(OVERLAYS)
    if text(dataset, "ShutterShape"):
        notes.append(SHUTTER)
    return notes


def _without_pixels(dataset: Dataset) -> str:
    """Return the error message for a data set without ordinary pixel data."""
    if "FloatPixelData" in dataset or "DoubleFloatPixelData" in dataset:
        return FLOAT_PIXELS
    return CUT_OFF if "Rows" in dataset or PICTURE_CLASSES.search(_storage_class(dataset)) else NO_PICTURE


def _storage_class(dataset: Dataset) -> str:
    try:
        return UID(text(dataset, "SOPClassUID")).keyword
    except ValueError:
        return ""


def record_facts(dataset: Dataset) -> dict[str, Fact]:
    """Return what the header says of the patient's record, by feature name; values are None where it does not."""
    age, birth_date, *study_dates = (text(dataset, name) for name in AGE_ATTRIBUTES)
    return {
        "age": ehr_header.read_header_age(age, birth_date, *study_dates),
        "sex": ehr_header.read_header_sex(text(dataset, "PatientSex")),
        "view": ehr_header.read_header_view(*view_attributes(dataset)),
        "height_cm": ehr_header.read_header_height(text(dataset, "PatientSize")),
        "weight_kg": ehr_header.read_header_weight(text(dataset, "PatientWeight")),
    }


def view_attributes(dataset: Dataset) -> tuple[str, list[tuple[str, str]]]:
    """Return ViewPosition, and the (code, meaning) of each item of ViewCodeSequence."""
    codes = [
        (next((code for name in CODE_ATTRIBUTES if (code := text(item, name))), ""), text(item, "CodeMeaning"))
        for item in items(dataset, "ViewCodeSequence")
    ]
    return _view_position(dataset), codes


def _view_position(dataset: Dataset) -> str:
    """Return ViewPosition in the first character set in which it names a view, else as it is."""
    plain = " ".join(texts(dataset, "ViewPosition"))
    for spelling in () if plain.isascii() else spellings(dataset, "ViewPosition"):
        with suppress(EHRError):
            if read_view(spelling):
                return spelling
    return plain


def header_facts(dataset: Dataset) -> tuple[dict[str, float | str], tuple[str, ...]]:
    """Read EHR values of the header by feature name, and notes for the reader. Implausible values are left out."""
    facts = record_facts(dataset)
    values = {name: fact.value for name, fact in facts.items() if fact.value is not None}
    notes = [fact.note for fact in facts.values() if fact.note]
    return values, (*notes, *_body_part_notes(dataset))


def _body_part_notes(dataset: Dataset) -> list[str]:
    """Return a note where BodyPartExamined names another part than the chest."""
    parts = {_plain(read_text(spelling)) for spelling in spellings(dataset, "BodyPartExamined")} - {""} - NO_BODY_PARTS
    if not parts or any(_is_chest(word) for word in parts):
        return []
    known = next((word for word in parts if word in OTHER_BODY_PARTS), None)
    description = f"the body part is {known}" if known else "this is another body part"
    return [f"The header says {description}; the model knows chest films only."]


def _plain(word: str) -> str:
    """Return a word in capitals without accents and with single blanks."""
    bare = "".join(c for c in unicodedata.normalize("NFKD", word.upper()) if not unicodedata.combining(c))
    bare = unicodedata.normalize("NFC", bare)  # Korean letters were taken apart
    return " ".join(re.sub(r"[_\-./]+", " ", bare.replace("İ", "I").replace("Ł", "L").replace("Ø", "O")).split())


def _is_chest(word: str) -> bool:
    if any(spine in word for spine in SPINE_WORDS):
        return False
    return word in WHOLE_CHEST_WORDS or any(chest in word for chest in CHEST_WORDS)


def geometry(dataset: Dataset) -> Geometry:
    """Return how the stored picture is brought upright and to true proportions, by the header alone."""
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
    """Read PatientOrientation, the directions in which a row and a column run.

    A film hangs with the patient's left at the right.
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
    """Note FieldOfViewRotation and FieldOfViewHorizontalFlip.

    They say what was done to the stored pixels already (PS3.3 C.8.11.4.1.1).
    """
    changes = []
    rotation = whole(dataset, "FieldOfViewRotation")
    if rotation:
        changes.append("turned")
    if text(dataset, "FieldOfViewHorizontalFlip").upper() in ("YES", "Y"):
        changes.append("mirrored")
    if changes:
        notes.append(DETECTOR_FLIP.format(what=" and ".join(changes)))


def _spacing(dataset: Dataset, notes: list[str]) -> tuple[tuple[float, float] | None, bool]:
    """(row, column) spacing in millimeters, and whether it is the detector's.

    PixelSpacing that differs from ImagerPixelSpacing is calibrated; the same value, or ImagerPixelSpacing alone, is
    that at the detector, which EstimatedRadiographicMagnificationFactor takes to the patient (PS3.3 10.7.1);
    NominalScannedPixelSpacing is that on the film that was scanned.
    """
    pixel_spacing, imager_spacing = (_two(dataset, name, notes) for name in ("PixelSpacing", "ImagerPixelSpacing"))
    imager_spacing = imager_spacing or _two(dataset, "NominalScannedPixelSpacing", notes)
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
    """Return the height over the width of a pixel of some (row, column) spacing."""
    return spacing[0] / spacing[1]


def _two(dataset: Dataset, name: str, notes: list[str]) -> tuple[float, float] | None:
    """Read two positive lengths in millimeters; None where they are absent or, with a note, malformed."""
    if not text(dataset, name):
        return None
    values = numbers(dataset, name)
    if has_decimal_comma(dataset, name):
        notes.append(COMMA.format(name=name))
    low, high = SPACING_RANGE
    if len(values) == 1:
        notes.append(ONE_LENGTH.format(name=name))
        values *= 2
    if len(values) != 2 or not all(low <= value <= high for value in values):
        notes.append(BAD_SPACING.format(name=name))
        return None
    return values[0], values[1]


def _pixel_aspect_ratio(dataset: Dataset, notes: list[str]) -> float | None:
    """Return height over width of a pixel by PixelAspectRatio; None where it is absent or malformed."""
    values = numbers(dataset, "PixelAspectRatio")
    if not text(dataset, "PixelAspectRatio"):
        return None
    if len(values) != 2 or min(values) <= 0:
        notes.append(BAD_SPACING.format(name="PixelAspectRatio"))
        return None
    return values[0] / values[1]
