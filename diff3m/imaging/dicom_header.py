"""What a DICOM header says of the kind of picture and of the patient; orientation and spacing are in `dicom_geometry`.

Only the attributes that are named here are read. A value is quoted in a message only if it is in a list of known terms,
because free text may name the patient. Facts about the patient are parsed by `diff3m.ehr.header`.
"""

from __future__ import annotations

import re
import unicodedata
from contextlib import suppress

from pydicom.dataset import Dataset
from pydicom.uid import UID

from ..ehr import EHRError
from ..ehr import header as ehr_header
from ..ehr.facts import read_text, read_view
from ..ehr.header import Fact
from .dicom_values import items, spellings, text, texts, whole_number
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
    "RINDKERE", "NGUC", "TORSO", "ТОРАКС", "ГРУДНАЯ КЛЕТКА", "ГРУДНОИ КЛЕТКИ", "ОГК",
    "ЛЕГКИ", "ГРУДЬ", "ΘΩΡΑ", "胸", "肺", "흉부", "가슴", "صدر",
    "ทรวงอก", "छाती", "צזה", "חזה",
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


def check_kind(dataset: Dataset) -> list[str]:
    """Check that a data set may be a projection radiograph of one frame.

    Returns notes for the reader. Raises RadiographError for another modality, several frames or no picture.
    """
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
    frames = whole_number(dataset, "NumberOfFrames")
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
    """Return the error message for a data set without integer pixel data."""
    if "FloatPixelData" in dataset or "DoubleFloatPixelData" in dataset:
        return FLOAT_PIXELS
    return CUT_OFF if "Rows" in dataset or PICTURE_CLASSES.search(_storage_class(dataset)) else NO_PICTURE


def _storage_class(dataset: Dataset) -> str:
    """Return the keyword of SOPClassUID, e.g. "DigitalXRayImageStorageForPresentation"; "" where it is not known."""
    try:
        return UID(text(dataset, "SOPClassUID")).keyword
    except ValueError:
        return ""


def record_facts(dataset: Dataset) -> dict[str, Fact]:
    """Return what the header says of the patient's record, by feature name; a value is None where it says nothing."""
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
    """Return ViewPosition, decoded by the first character set in which it names a view; else as it is."""
    plain = " ".join(texts(dataset, "ViewPosition"))
    for spelling in () if plain.isascii() else spellings(dataset, "ViewPosition"):
        with suppress(EHRError):
            if read_view(spelling):
                return spelling
    return plain


def header_facts(dataset: Dataset) -> tuple[dict[str, float | str], tuple[str, ...]]:
    """Read EHR values from the header: the known ones by feature name, and notes for the reader.

    Implausible values are left out, with a note.
    """
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
    """Tell whether a body part, as `_plain` writes it, is or holds the chest."""
    if any(spine in word for spine in SPINE_WORDS):
        return False
    return word in WHOLE_CHEST_WORDS or any(chest in word for chest in CHEST_WORDS)
