"""DICOM films: pixels as a viewer would show them, and an allow-list of header facts (nothing else is read)."""

from __future__ import annotations

import io
import logging
import re
import warnings
import zlib
from datetime import date

import numpy as np
import pydicom
from pydicom.config import IGNORE, settings
from pydicom.dataset import Dataset
from pydicom.filereader import _read_file_meta_info, read_preamble
from pydicom.multival import MultiValue
from pydicom.pixels import apply_color_lut, apply_modality_lut, apply_voi_lut
from pydicom.uid import DeflatedExplicitVRLittleEndian

from .dicom_pixels import decode
from .radiograph import MAX_BYTES, Radiograph, RadiographError, check_film, check_size, grey_from_rgb

# pydicom quotes malformed header values in its warnings and log lines; a patient's data must reach neither. Silenced for
# pydicom alone, once, because switching it for each file would not be safe with several threads.
logging.getLogger("pydicom").setLevel(logging.CRITICAL + 1)
warnings.filterwarnings("ignore", module=r"pydicom(\.|$)")
settings.reading_validation_mode = IGNORE

DAMAGED = "The DICOM file is damaged or incomplete. Export it again from the archive."
PROJECTION_MODALITIES = frozenset({"CR", "DX", "RG", "RF", "XR", "OT", "SC", ""})
# header text is quoted to the reader only if it is one of these terms: anything may stand in a header
OTHER_MODALITIES = frozenset(
    {
        "CT",
        "MR",
        "US",
        "NM",
        "PT",
        "MG",
        "XA",
        "ECG",
        "SR",
        "PR",
        "SEG",
        "RTDOSE",
        "RTIMAGE",
        "RTPLAN",
        "RTSTRUCT",
        "DOC",
    }
)
OTHER_BODY_PARTS = frozenset(
    {"ABDOMEN", "ANKLE", "ARM", "BREAST", "CSPINE", "ELBOW", "EXTREMITY", "FOOT", "HAND", "HEAD", "HIP", "KNEE", "LEG", "LSPINE", "NECK",
     "PELVIS", "SHOULDER", "SKULL", "SPINE", "TSPINE", "WRIST"}
)  # fmt: skip
CHEST_WORDS = ("CHEST", "THORAX", "LUNG", "RIB")
ALLOWED_TAGS = (
    "PatientAge", "PatientBirthDate", "StudyDate", "PatientSex", "ViewPosition", "PatientSize", "PatientWeight",
    "BodyPartExamined", "Modality", "PhotometricInterpretation",
)  # fmt: skip
PLAIN_TEXT = re.compile(r"[A-Za-z0-9 _.+-]{1,24}")


def looks_like_dicom(data: bytes) -> bool:
    """True for a DICOM file by content: "DICM" at byte 128, or a data set without preamble that starts at group 2 or 8."""
    return data[128:132] == b"DICM" or data[:4] in (
        b"\x02\x00\x00\x00",
        b"\x08\x00\x00\x00",
        b"\x08\x00\x05\x00",
        b"\x08\x00\x08\x00",
    )


def read_dicom(data: bytes) -> Radiograph:
    """A single-frame projection radiograph from DICOM bytes. Raises RadiographError with a sentence that says what to do."""
    dataset = _parse(data)
    _check_kind(dataset)
    pixels = _pixels(dataset)
    facts, notes = header_facts(dataset)
    return Radiograph(check_film(pixels), "DICOM", facts, notes)


def _parse(data: bytes) -> Dataset:
    _refuse_bomb(data)
    try:
        return pydicom.dcmread(io.BytesIO(data), force=data[128:132] != b"DICM")
    except Exception:  # pydicom raises many kinds of error on damaged files
        raise RadiographError(DAMAGED) from None


def _refuse_bomb(data: bytes) -> None:
    """Deflated files are inflated whole by pydicom; refuse one that would not stay within the size of an upload."""
    if DeflatedExplicitVRLittleEndian.encode() not in data:
        return
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        file = io.BytesIO(data)
        read_preamble(file, force=True)
        if (
            _read_file_meta_info(file).get("TransferSyntaxUID") != DeflatedExplicitVRLittleEndian
        ):  # the same reader that `dcmread` uses
            return
        inflater.decompress(data[file.tell() :], MAX_BYTES)
    except Exception:
        raise RadiographError(DAMAGED) from None
    if inflater.unconsumed_tail:
        raise RadiographError(
            f"Unpacked, this DICOM file is larger than {MAX_BYTES // 2**20} MB. Export a single film, uncompressed."
        )


def _text(dataset: Dataset, tag: str) -> str:
    """One allow-listed header value as short plain text; "" if absent, empty, of another kind or malformed."""
    if tag not in ALLOWED_TAGS:
        raise KeyError(f"{tag} is not on the allow-list")
    try:
        value = dataset.get(tag)
        if isinstance(value, MultiValue | list | tuple):
            value = value[0]
        if not isinstance(value, str | int | float):
            return ""
        text = str(value).strip()
    except Exception:  # a malformed value is the same as none
        return ""
    return text if PLAIN_TEXT.fullmatch(text) else ""


def _check_kind(dataset: Dataset) -> None:
    modality = _text(dataset, "Modality").upper()
    if modality not in PROJECTION_MODALITIES:
        named = f"modality {modality}" if modality in OTHER_MODALITIES else "another modality"
        raise RadiographError(
            f"This DICOM file holds {named}, not a projection radiograph. Choose a frontal chest film (CR or DX)."
        )
    if "PixelData" not in dataset:
        raise RadiographError(
            "This DICOM file holds no picture (a report, a directory or a presentation state, perhaps). Choose the image file."
        )
    frames, rows, columns = (_whole(dataset, tag) for tag in ("NumberOfFrames", "Rows", "Columns"))
    if frames and frames > 1:
        count = frames if frames < 10_000 else "many"
        raise RadiographError(f"This DICOM file holds {count} frames. Export a single frontal film.")
    if not rows or not columns:
        raise RadiographError(
            "This DICOM file does not say how large its picture is. Export it again from the archive."
        )
    check_size(columns, rows)


def _whole(dataset: Dataset, tag: str) -> int | None:
    try:
        return int(dataset.get(tag))
    except Exception:  # absent or malformed
        return None


def _pixels(dataset: Dataset) -> np.ndarray:
    """Stored values → modality LUT / rescale → VOI LUT / window → bright = dense; padding set to black."""
    stored = decode(dataset)
    try:
        with np.errstate(all="ignore"):  # what overflows is refused afterwards, as not finite
            photometric = _text(dataset, "PhotometricInterpretation").upper()
            if photometric == "PALETTE COLOR":
                stored = apply_color_lut(stored, dataset)
            if stored.ndim == 3 and stored.shape[-1] in (3, 4):
                return grey_from_rgb(stored[..., :3])
            if stored.ndim != 2:
                raise RadiographError("This DICOM file does not hold a single grey picture. Export one frontal film.")
            padding = _padding(dataset, stored)
            values = apply_voi_lut(apply_modality_lut(stored, dataset), dataset).astype(np.float32)
            if photometric == "MONOCHROME1":
                values = values.max() + values.min() - values
            if padding.any() and not padding.all():
                values[padding] = values[~padding].min()
            return values
    except RadiographError:
        raise
    except Exception:  # a malformed LUT or window
        raise RadiographError(
            "The grey scale of this DICOM file (its window or lookup table) is malformed. Export the film as PNG."
        ) from None


def _padding(dataset: Dataset, stored: np.ndarray) -> np.ndarray:
    """Where stored values are padding, by PixelPaddingValue and PixelPaddingRangeLimit."""
    value, limit = _whole(dataset, "PixelPaddingValue"), _whole(dataset, "PixelPaddingRangeLimit")
    if value is None:
        return np.zeros(stored.shape, dtype=bool)
    low, high = sorted((value, value if limit is None else limit))
    return (stored >= low) & (stored <= high)


def header_facts(dataset: Dataset) -> tuple[dict[str, float | str], tuple[str, ...]]:
    """EHR values from the allow-listed header entries, and notes for the reader. Implausible values are left out."""
    facts: dict[str, float | str] = {}
    notes: list[str] = []
    age = _age(dataset)
    if age is not None and 0 <= age <= 120:
        facts["age"] = age
        if age < 18:
            notes.append("The header says the patient is under 18; the model knows adult films only.")
    sex = _text(dataset, "PatientSex").upper()
    if sex in ("F", "M"):
        facts["sex"] = sex
    view = _text(dataset, "ViewPosition").upper()
    if view in ("PA", "AP"):
        facts["view"] = view
    elif view in ("LL", "RL", "LAT", "LATERAL"):
        notes.append("The header says this is a lateral view; the model knows frontal films only.")
    size = _number(_text(dataset, "PatientSize"))
    if size is not None:
        height_cm = size * 100 if size < 3 else size  # DICOM says metres; some devices write centimetres
        if 100 <= height_cm <= 230:
            facts["height_cm"] = round(height_cm, 1)
    weight = _number(_text(dataset, "PatientWeight"))
    if weight is not None and 25 <= weight <= 300:
        facts["weight_kg"] = round(weight, 1)
    body_part = _text(dataset, "BodyPartExamined").upper()
    if body_part and not any(word in body_part for word in CHEST_WORDS):
        named = f"the body part is {body_part}" if body_part in OTHER_BODY_PARTS else "this is another body part"
        notes.append(f"The header says {named}; the model knows chest films only.")
    return facts, tuple(notes)


def _age(dataset: Dataset) -> float | None:
    """Years from PatientAge ("063Y", "18M", "58"), else from birth and study dates."""
    match = re.fullmatch(r"(\d{1,3})\s*([YMWD]?)", _text(dataset, "PatientAge").upper())
    if match:
        per_year = {"": 1, "Y": 1, "M": 12, "W": 52.18, "D": 365.25}[match.group(2)]
        return float(int(int(match.group(1)) / per_year))
    born, studied = (_date(_text(dataset, tag)) for tag in ("PatientBirthDate", "StudyDate"))
    if born is None or studied is None or studied < born:
        return None
    return float(studied.year - born.year - ((studied.month, studied.day) < (born.month, born.day)))


def _date(text: str) -> date | None:
    try:
        return date(int(text[:4]), int(text[4:6]), int(text[6:8]))
    except ValueError:
        return None


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if np.isfinite(value) else None
