"""The grey scale of a DICOM film: stored values → modality LUT or rescale → VOI LUT or window → bright = dense.

Source: PS3.3 C.11. An attribute that cannot be used is left out with a note, and the film is shown through the others.
In this module `notes` is a list to which functions add sentences for the reader.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from pydicom.dataset import Dataset

from .dicom_values import (
    DECIMAL_COMMA,
    bit_patterns,
    has_decimal_comma,
    items,
    lut_entries,
    number,
    numbers,
    text,
    texts,
)
from .radiograph import Window

MAX_RESCALE = 1e20  # of slope and intercept: beyond that values overflow
SATURATED = 0.9  # share of a film that one window or table may show as mere black or white before it is left out
FUNCTIONS = ("LINEAR", "LINEAR_EXACT", "SIGMOID")
# terms of WindowCenterWidthExplanation that may be quoted
EXPLANATIONS = frozenset(
    {"NORMAL", "HARD", "HARDER", "SOFT", "SOFTER", "BONE", "LUNG", "CHEST", "STANDARD", "DEFAULT", "MEDIASTINUM",
     "NARROW", "WIDE"}
)  # fmt: skip

IGNORED = "The header's {name} cannot be used and was ignored: the film is shown without it. Compare its grey scale."
ONE_WINDOW = "One of the header's windows cannot be used and was left out."
EMPTY = "The header's {name} is empty and was ignored."
HIDES = "The header's {name} hides nearly all of the film and was ignored."
POLARITY_GUESSED = (
    "The header does not say whether bright is dense (PhotometricInterpretation); the film is taken for an ordinary "
    "one (MONOCHROME2). Invert it if bones are dark."
)
INVERSE = "The header asks for an inverse presentation of MONOCHROME2 (PresentationLUTShape); the film was inverted."
NOT_INVERSE = (
    "The header contradicts itself about whether bright is dense (MONOCHROME1 with PresentationLUTShape IDENTITY); the "
    "film was inverted. Invert it again if bones are dark."
)


@dataclass(frozen=True)
class GreyScale:
    """A film as the header asks it to be shown.

    values: (H, W) float32 of any range, bright = dense. full_range: the same before window or VOI LUT, None where
    `values` are that. windows: the header's windows, in units in which the full range is 0 to 1. notes: sentences for
    the reader.
    """

    values: np.ndarray
    full_range: np.ndarray | None
    windows: tuple[Window, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class _Voi:
    """A window of the header (value of interest, VOI).

    center, width: in units of the rescaled values. shape: LINEAR, LINEAR_EXACT or SIGMOID. explanation: see `Window`.
    """

    center: float
    width: float
    shape: str
    explanation: str

    @property
    def ends(self) -> tuple[float, float]:
        """The values that become black and white."""
        if self.shape == "LINEAR":  # PS3.3 C.11.2.1.2.1
            return self.center - 0.5 - (self.width - 1) / 2, self.center - 0.5 + (self.width - 1) / 2
        return self.center - self.width / 2, self.center + self.width / 2

    def bends(self, low: float, high: float) -> bool:
        """Tell whether the window changes more than the scale of values from low to high: it clips or curves them."""
        return self.shape == "SIGMOID" or low < self.ends[0] or high > self.ends[1]

    def apply(self, values: np.ndarray) -> np.ndarray:
        """Return values as shown, in [0, 1]."""
        if self.shape == "SIGMOID":
            exponent = np.clip(-4 * (values - np.float32(self.center)) / np.float32(self.width), -80, 80)
            return 1 / (1 + np.exp(exponent))
        low, high = self.ends
        return np.clip((values - np.float32(low)) / np.float32(high - low), 0, 1)


def apply_grey_scale(stored: np.ndarray, padding: np.ndarray, dataset: Dataset, inverted: bool) -> GreyScale:
    """Apply the header's grey scale to stored values.

    stored: (H, W). padding: (H, W) bool, where there is no film; it becomes black and sets no range. inverted: whether
    low values are bright, as in MONOCHROME1.
    """
    notes: list[str] = []
    if padding.all():
        padding = np.zeros_like(padding)
    rescaled = _rescale(stored, dataset, notes)
    inside = rescaled[~padding] if padding.any() else rescaled.ravel()
    low, high = float(inside.min()), float(inside.max())
    display = _through_table(rescaled, inside, dataset, notes)
    usable = [voi for voi in _windows(dataset, notes) if not _hides(voi, inside, notes)]
    if display is None and usable and usable[0].bends(low, high):
        display = usable[0].apply(rescaled)
    windows = tuple(_to_window(voi, low, high, inverted) for voi in usable)
    full = _finish(rescaled, padding, inverted)
    if display is None:
        return GreyScale(full, None, windows, tuple(notes))
    return GreyScale(_finish(display, padding, inverted), full, windows, tuple(notes))


def _to_window(voi: _Voi, low: float, high: float, inverted: bool) -> Window:
    """Return a window in units in which the film's range, low to high, is 0 to 1."""
    black, white = ((end - low) / (high - low) for end in voi.ends)
    return Window(1 - white, 1 - black, voi.explanation) if inverted else Window(black, white, voi.explanation)


def _hides(voi: _Voi, inside: np.ndarray, notes: list[str]) -> bool:
    """Tell whether a window shows nearly nothing of the film; add a note if so."""
    hides = _saturates(inside, *voi.ends)
    if hides:
        notes.append(HIDES.format(name=voi.explanation if voi.explanation.startswith("window") else "window"))
    return hides


def read_polarity(dataset: Dataset, photometric: str) -> tuple[bool, tuple[str, ...]]:
    """Return whether low stored values are bright, and sentences on what was guessed.

    photometric: PhotometricInterpretation in capitals, "" where it is missing.
    """
    inverse = text(dataset, "PresentationLUTShape").upper() == "INVERSE"
    other = (IGNORED.format(name="presentation LUT"),) if items(dataset, "PresentationLUTSequence") else ()
    if photometric == "MONOCHROME1":
        return True, (*other, NOT_INVERSE) if text(dataset, "PresentationLUTShape").upper() == "IDENTITY" else other
    notes = other if photometric == "MONOCHROME2" else (*other, POLARITY_GUESSED)
    return inverse, (*notes, INVERSE) if inverse else notes


def _finish(values: np.ndarray, padding: np.ndarray, inverted: bool) -> np.ndarray:
    """Invert values where asked, so that bright is dense, and make padding black: float32."""
    values = values.astype(np.float32)
    if inverted:
        inside = values[~padding]
        values = inside.max() + inside.min() - values
    if padding.any():
        values[padding] = values[~padding].min()
    return values


def _rescale(stored: np.ndarray, dataset: Dataset, notes: list[str]) -> np.ndarray:
    """Apply the modality LUT, or else rescale slope and intercept: float32."""
    if "ModalityLUTSequence" in dataset:
        table = _table(
            next(iter(items(dataset, "ModalityLUTSequence")), None), float(stored.min()), float(stored.max())
        )
        values = stored if table is None else table.apply(stored.astype(np.float32))
        if table is not None and values.max() > values.min():
            return values
        notes.append(IGNORED.format(name="modality LUT"))
    slope = _rescale_number(dataset, "RescaleSlope", 1.0, notes)
    intercept = _rescale_number(dataset, "RescaleIntercept", 0.0, notes)
    if slope == 1 and intercept == 0:
        return stored.astype(np.float32)
    with np.errstate(all="ignore"):  # what overflows is refused afterwards, as not finite
        return (stored.astype(np.float64) * slope + intercept).astype(np.float32)


def _rescale_number(dataset: Dataset, name: str, default: float, notes: list[str]) -> float:
    """Read RescaleSlope or RescaleIntercept; the default where it is absent or, with a note, cannot be used."""
    if name not in dataset:
        return default
    value = number(dataset, name)
    if value is None or abs(value) > MAX_RESCALE or (name == "RescaleSlope" and value == 0):
        notes.append((IGNORED if texts(dataset, name) else EMPTY).format(name=name))
        return default
    if has_decimal_comma(dataset, name):
        notes.append(DECIMAL_COMMA.format(name=name))
    return value


@dataclass(frozen=True)
class _Table:
    """A lookup table. entries: (n,) uint8 or uint16. first: the value whose entry is the first, as of all below it."""

    entries: np.ndarray
    first: int

    def apply(self, values: np.ndarray) -> np.ndarray:
        """Return the entries of values, float32; values beyond the table have its first or last entry."""
        index = np.clip(np.rint(values) - self.first, 0, len(self.entries) - 1).astype(np.int32)
        return self.entries[index].astype(np.float32)


def _table(item: Dataset | None, low: float, high: float) -> _Table | None:
    """Return the table of a LUT item for values between low and high; None where it is malformed.

    The second number of the descriptor, the first value, is signed if the values are. Headers often give it the wrong
    VR, so both readings are compared, and the one counts whose table covers more of the values.
    """
    if item is None or "LUTData" not in item:
        return None
    descriptor = bit_patterns(item, "LUTDescriptor")
    if len(descriptor) != 3:
        return None
    count, first, bits = descriptor[0] or 65536, descriptor[1], descriptor[2]
    try:
        entries = lut_entries(item, "LUTData")
    except (TypeError, ValueError, OverflowError):
        return None
    if len(entries) < count:
        if bits > 8 or 2 * len(entries) < count:
            return None
        entries = np.ascontiguousarray(entries).view(np.uint8)  # two 8-bit entries in each word
    readings = sorted({first, first - 65536 if first > 32767 else first}, reverse=True)
    first = max(readings, key=lambda start: min(high, start + count - 1) - max(low, start))
    return _Table(entries[:count], first)


def _through_table(values: np.ndarray, inside: np.ndarray, dataset: Dataset, notes: list[str]) -> np.ndarray | None:
    """Apply the first usable VOI LUT; None where there is none. inside: the values that are no padding."""
    if "VOILUTSequence" not in dataset:
        return None
    for item in items(dataset, "VOILUTSequence"):
        table = _table(item, float(inside.min()), float(inside.max()))
        if table is None:
            continue
        output = table.apply(inside)
        if output.max() > output.min() and not _saturates(inside, table.first, table.first + len(table.entries) - 1):
            return table.apply(values)
    notes.append(IGNORED.format(name="VOI LUT"))
    return None


def _windows(dataset: Dataset, notes: list[str]) -> list[_Voi]:
    """Return the header's windows that can be used."""
    names = [name for name in ("WindowCenter", "WindowWidth") if name in dataset]
    if not names or not any(texts(dataset, name) for name in names):
        return []
    shape = text(dataset, "VOILUTFunction").upper()
    if "VOILUTFunction" in dataset and shape not in FUNCTIONS:
        notes.append((IGNORED if shape else EMPTY).format(name="VOILUTFunction"))
    shape = shape if shape in FUNCTIONS else "LINEAR"
    centers, widths = numbers(dataset, "WindowCenter"), numbers(dataset, "WindowWidth")
    if any(has_decimal_comma(dataset, name) for name in names):
        notes.append(DECIMAL_COMMA.format(name="window"))
    explanations = texts(dataset, "WindowCenterWidthExplanation")
    windows, least = [], 1.0 if shape == "LINEAR" else 0.0
    for index, (center, width) in enumerate(zip(centers, widths, strict=False)):
        if width >= least and width > 0:
            word = explanations[index].upper() if index < len(explanations) else ""
            windows.append(_Voi(center, width, shape, word if word in EXPLANATIONS else f"window {index + 1}"))
    if not windows or len(centers) != len(widths) or len(windows) < len(widths):
        notes.append(ONE_WINDOW if windows else IGNORED.format(name="window"))
    return windows


def _saturates(inside: np.ndarray, low: float, high: float) -> bool:
    """Tell whether a window from low to high shows nearly all of a film's values as black or white."""
    return bool(((inside <= low) | (inside >= high)).mean() > SATURATED)
