"""Single values of a DICOM header; a wrong VR, a decimal comma or a malformed value affects that value alone.

A keyword is the name of an attribute as pydicom knows it, e.g. "PatientAge".
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np
from pydicom.datadict import dictionary_VR
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue

BINARY = {
    "US": "u2", "SS": "i2", "US or SS": "u2", "US or OW": "u2", "US or SS or OW": "u2", "OW": "u2",
    "UL": "u4", "SL": "i4", "FL": "f4", "FD": "f8", "UV": "u8", "SV": "i8",
}  # fmt: skip
ENCODINGS = (
    "utf-8", "iso8859-5", "cp1251", "koi8-r", "shift_jis", "gb18030", "euc_kr", "iso8859-7", "iso8859-9", "cp1256"
)  # fmt: skip
# of enhanced objects (PS3.3 C.7.6.16): the attributes of functional groups that older objects have at the top
FUNCTIONAL_GROUPS = ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence")
FRAME_ATTRIBUTES = {
    "PixelValueTransformationSequence": ("RescaleSlope", "RescaleIntercept"),
    "FrameVOILUTSequence": ("WindowCenter", "WindowWidth", "WindowCenterWidthExplanation", "VOILUTFunction"),
    "PixelMeasuresSequence": ("PixelSpacing",),
    "FramePixelDataPropertiesSequence": ("ImagerPixelSpacing",),
    "PatientOrientationInFrameSequence": ("PatientOrientation",),
    "FieldOfViewSequence": ("FieldOfViewRotation", "FieldOfViewHorizontalFlip"),
}
DECIMAL_COMMA = "The header's {name} is written with a decimal comma and was read as such."
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")


def texts(dataset: Dataset, keyword: str) -> list[str]:
    """Return the components of a text value, stripped of blanks; [] where it is absent, empty or no text."""
    value = _value(dataset, keyword)
    if isinstance(value, bytes):
        return _split(value.decode("latin-1"))
    if isinstance(value, str):
        return _split(value)
    if isinstance(value, MultiValue | list | tuple):
        return [str(item).strip(" \0") for item in value if isinstance(item, str | int | float)]
    return [str(value)] if isinstance(value, int | float) else []


def text(dataset: Dataset, keyword: str) -> str:
    """Return the first component of a text value; "" where there is none."""
    return next(iter(texts(dataset, keyword)), "")


def spellings(dataset: Dataset, keyword: str) -> Iterator[str]:
    """Yield a text value as each of several character sets reads it: the header's own is often missing or wrong."""
    value = _value(dataset, keyword)
    if not isinstance(value, bytes):
        yield text(dataset, keyword)
        return
    for encoding in ENCODINGS:
        try:
            yield value.decode(encoding).strip(" \0")
        except UnicodeDecodeError:
            continue


def numbers(dataset: Dataset, keyword: str) -> list[float]:
    """Return the components of a numeric value of any VR; [] where it is absent or any of them is no number.

    Decimal commas are read as points.
    """
    element = _element(dataset, keyword)
    kind = _binary_kind(element)
    if kind and isinstance(element, RawDataElement) and isinstance(element.value, bytes):
        order = "<" if element.is_little_endian else ">"
        size = np.dtype(kind).itemsize
        data = element.value[: len(element.value) // size * size]
        values = [float(value) for value in np.frombuffer(data, order + kind)]
    else:
        entries = texts(dataset, keyword)
        if not all(NUMBER.fullmatch(item.replace(",", ".")) for item in entries):
            return []
        values = [float(item.replace(",", ".")) for item in entries]
    return values if all(np.isfinite(values)) else []


def number(dataset: Dataset, keyword: str) -> float | None:
    """Return the first component of a numeric value; None where there is none."""
    return next(iter(numbers(dataset, keyword)), None)


def whole_number(dataset: Dataset, keyword: str) -> int | None:
    """Return the first component of a numeric value as an integer; None where it is absent or not whole."""
    value = number(dataset, keyword)
    return int(value) if value is not None and value == int(value) else None


def has_decimal_comma(dataset: Dataset, keyword: str) -> bool:
    """Tell whether a number is written with a decimal comma, which DICOM does not allow but some devices write."""
    return bool(numbers(dataset, keyword)) and any("," in item for item in texts(dataset, keyword))


def bit_patterns(dataset: Dataset, keyword: str) -> list[int]:
    """Return the components of a US or SS value as 16-bit patterns, 0 to 65535, which are alike for both VRs."""
    return [int(value) & 0xFFFF for value in numbers(dataset, keyword)]


def lut_entries(dataset: Dataset, keyword: str) -> np.ndarray:
    """Return the entries of a lookup table, whatever their VR: (n,) uint16.

    Raises TypeError, ValueError or OverflowError for entries that are no whole numbers.
    """
    element = _element(dataset, keyword)
    value = None if element is None else element.value
    if isinstance(value, bytes):
        little = getattr(element, "is_little_endian", True)
        return np.frombuffer(value[: len(value) // 2 * 2], "<u2" if little else ">u2").astype(np.uint16)
    entries = value if isinstance(value, MultiValue | list | tuple) else [] if value is None else [value]
    return np.array([int(item) & 0xFFFF for item in entries], np.uint16)


def items(dataset: Dataset, keyword: str) -> list[Dataset]:
    """Return the items of a sequence; [] where it is absent, empty or malformed."""
    try:
        return [item for item in dataset.get(keyword) or [] if isinstance(item, Dataset)]
    except Exception:  # pydicom raises many kinds of error on malformed sequences
        return []


def lift_frame_attributes(dataset: Dataset) -> None:
    """Copy attributes of the first frame from the functional groups to the top of the data set, where it lacks them.

    Enhanced objects keep them in functional groups (PS3.3 C.7.6.16); older objects have them at the top.
    """
    groups = [item for keyword in FUNCTIONAL_GROUPS for item in items(dataset, keyword)[:1]]
    for group in groups:
        for sequence, keywords in FRAME_ATTRIBUTES.items():
            for item in items(group, sequence)[:1]:
                for keyword in keywords:
                    element = _element(item, keyword)
                    if element is not None and not texts(dataset, keyword):
                        dataset[keyword] = element


def _element(dataset: Dataset, keyword: str) -> RawDataElement | DataElement | None:
    try:
        return dataset.get_item(keyword)
    except Exception:  # absent, or malformed
        return None


def _value(dataset: Dataset, keyword: str):
    element = _element(dataset, keyword)
    return None if element is None else element.value


def _binary_kind(element: RawDataElement | DataElement | None) -> str | None:
    """Return the numpy type of a binary value by its VR, or by the dictionary's where it has none; None for text."""
    if element is None:
        return None
    kind = element.VR
    if kind in (None, "UN"):
        kind = dictionary_VR(element.tag)
    return BINARY.get(kind)


def _split(value: str) -> list[str]:
    value = value.strip(" \0")
    return [item.strip(" \0") for item in value.split("\\")] if value else []
