"""The stored pixels of a DICOM film, read as the Image Pixel module says, or as the picture shows where that is wrong.

Transfer syntaxes and decoding: `dicom_syntax.py`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
from pydicom.dataset import Dataset
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
)

from .dicom_contradictions import with_true_byte_order, with_true_sign
from .dicom_syntax import complete_syntax, decode_values, is_native
from .dicom_values import has, numbers, text, whole
from .radiograph import RadiographError

CLEARLY_ROUGHER = 1.05  # times: by how much the wrong one of two readings must be rougher to count as wrong
INVERTED = re.compile(r"MONO[A-Z]*[^A-Z0-9]?1|(MIN)?(INTENSITY)?(IS)?WHITE(ISZERO)?")  # odd spellings of MONOCHROME1
OVERLAY_BIT_POSITION, OVERLAY_DATA = 0x0102, 0x3000  # elements of the groups 60xx

PADDING_IGNORED = (
    "The header's PixelPaddingValue cannot be used and was ignored: what lies beside the film may set its contrast."
)
BITS_BEYOND = "Some pixels hold more bits than the header's BitsStored says; they were read as they are stored."
LEFT_JUSTIFIED_WRONG = "The header's HighBit does not fit its pixels; they were read as they are stored."
UNSIGNED = "The header says that pixels are signed, which does not fit them; they were read as unsigned."
GUESSED = "The header lacks {tags}; the values were taken from the others and from the picture."
MISSING = "The DICOM file lacks {tags}, so its pixels cannot be read. Export it again from the archive, or as PNG."
CUT_SHORT = (
    "The picture in this DICOM file is cut short: {found} of {needed} bytes are there. Copy or export the file again."
)
UNREADABLE = (
    "The picture in this DICOM file cannot be decoded (transfer syntax: {syntax}). It may be damaged; export the film "
    "again {how}."
)
BEYOND = "The file holds more of a picture than its size (Rows, Columns) needs; the rest was left out. See the edges."
CHANNELS = "This DICOM film stores {samples} values a pixel, which are not read. Export it in grey levels, or as PNG."
PACKED = "This DICOM film stores pixels of {bits} bits, which are not read. Export it with 8, 16 or 32 bits, or as PNG."


@dataclass(frozen=True)
class StoredPixels:
    """Decoded pixels and how the header says to read them.

    values: (H, W) of any integer or float type, or (H, W, 3) RGB. padding: (H, W) bool, where the header says that
    there is no film. photometric: PhotometricInterpretation in capitals, "" where it is missing. notes: what was
    guessed.
    """

    values: np.ndarray
    padding: np.ndarray
    photometric: str
    notes: tuple[str, ...]


@dataclass(frozen=True)
class _Format:
    """The Image Pixel module: how the pixel data are laid out."""

    photometric: str
    samples: int
    allocated: int
    stored: int
    high_bit: int
    signed: bool


def decode(dataset: Dataset) -> StoredPixels:
    """Return the stored pixels of a single-frame data set. Raises RadiographError, which says what to do.

    The data set's Image Pixel module and transfer syntax are completed in place where the header lacks them.
    """
    notes: list[str] = []
    uid = UID("")
    try:
        uid = complete_syntax(dataset, notes)
        layout = _complete_format(dataset, uid, notes)
        values = decode_values(dataset, uid)
        values = values.astype(values.dtype.newbyteorder("="), copy=False)
        values = with_true_byte_order(values, notes) if is_native(uid) else values
    except RadiographError:
        raise
    except Exception:  # decoders raise many kinds of error
        syntax = uid.name if uid.is_transfer_syntax and uid.name != str(uid) else "unknown"  # else it is header text
        how = "from the archive, or as PNG" if is_native(uid) else "uncompressed or as JPEG 2000, or as PNG"
        raise RadiographError(UNREADABLE.format(syntax=syntax, how=how)) from None
    if values.ndim != 2 or values.dtype.kind not in "iu":
        return StoredPixels(values, np.zeros(values.shape[:2], bool), layout.photometric, tuple(notes))
    used_bits = _align(values, layout, dataset, notes)
    if layout.photometric != "PALETTE COLOR":  # whose indices need not be smooth
        used_bits = with_true_sign(used_bits, layout.stored, notes)
    padding = _padding(values, used_bits, layout, dataset, notes)
    return StoredPixels(used_bits, padding, layout.photometric, tuple(notes))


def _complete_format(dataset: Dataset, uid: UID, notes: list[str]) -> _Format:
    """Read the Image Pixel module, and complete it in the data set where a missing attribute can only be one thing.

    Raises RadiographError naming the attributes that are missing otherwise.
    """
    rows, columns = dataset.Rows, dataset.Columns = whole(dataset, "Rows"), whole(dataset, "Columns")
    if rows is None or columns is None:
        raise RadiographError(MISSING.format(tags="Rows, Columns"))
    photometric = (
        text(dataset, "PhotometricInterpretation").upper().replace(" ", "").replace("PALETTECOLOR", "PALETTE COLOR")
    )
    if INVERTED.fullmatch(photometric):
        photometric = "MONOCHROME1"
    samples, allocated, signed = (
        whole(dataset, name) for name in ("SamplesPerPixel", "BitsAllocated", "PixelRepresentation")
    )
    missing = [
        name
        for name, value in (
            ("SamplesPerPixel", samples or None),
            ("BitsAllocated", allocated),
            ("PixelRepresentation", signed),
        )
        if value is None
    ]
    length = len(dataset.PixelData) if is_native(uid) or uid == DeflatedExplicitVRLittleEndian else None
    if not samples:
        pixel_bytes = rows * columns * (allocated or 8) // 8
        is_color = not photometric and length is not None and length // pixel_bytes == 3
        samples = 3 if is_color or photometric.startswith(("RGB", "YBR")) else 1
    if samples not in (1, 3):
        raise RadiographError(CHANNELS.format(samples=samples if 0 < samples < 100 else "an unknown number of"))
    if allocated is None:
        per_value = (length or 0) / (rows * columns * samples)
        stored = whole(dataset, "BitsStored")
        allocated = next((bits for bits in (8, 16, 32) if bits / 8 <= per_value < bits / 8 + 0.01), None)
        if length is None and stored:
            allocated = 8 if stored <= 8 else 16
        if allocated is None:
            raise RadiographError(MISSING.format(tags="BitsAllocated"))
    stored = whole(dataset, "BitsStored") or allocated
    if not 1 <= stored <= allocated:
        stored = allocated
    high_bit = whole(dataset, "HighBit")
    if high_bit is None or not stored - 1 <= high_bit < allocated:
        high_bit = stored - 1
    if allocated not in (8, 16, 32) and is_native(uid):
        raise RadiographError(PACKED.format(bits=allocated if 0 < allocated < 65 else "an unknown number of"))
    subsampling = 1.5 if photometric == "YBR_FULL_422" and samples == 3 else 1  # two pixels share their colors
    expected_length = int(rows * columns * samples * allocated / 8 / subsampling)
    if length is not None and expected_length > length:
        raise RadiographError(CUT_SHORT.format(found=length, needed=expected_length))
    if length is not None and dataset.PixelData[expected_length : length - 1].strip(b"\0"):  # the last byte may pad
        notes.append(BEYOND)
    if signed is None and length is not None and samples == 1:
        signed = _guess_signed(dataset, allocated, stored, high_bit)
    layout = _Format(photometric, samples, allocated, stored, high_bit, bool(signed))
    _write_format(dataset, layout)
    if missing:
        notes.append(GUESSED.format(tags=", ".join(missing)))
    return layout


def _write_format(dataset: Dataset, layout: _Format) -> None:
    known = ("MONOCHROME1", "MONOCHROME2", "PALETTE COLOR", "RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT")
    default = "MONOCHROME2" if layout.samples == 1 else "RGB"
    fitting = known if layout.samples > 1 else known[:3]
    dataset.PhotometricInterpretation = layout.photometric if layout.photometric in fitting else default
    dataset.SamplesPerPixel, dataset.BitsAllocated, dataset.BitsStored = layout.samples, layout.allocated, layout.stored
    dataset.HighBit, dataset.PixelRepresentation = layout.high_bit, int(layout.signed)
    if layout.samples > 1 and whole(dataset, "PlanarConfiguration") is None:
        dataset.PlanarConfiguration = 0
    if has(dataset, "NumberOfFrames") and not whole(dataset, "NumberOfFrames"):
        del dataset.NumberOfFrames


def _guess_signed(dataset: Dataset, allocated: int, stored: int, high_bit: int) -> bool:
    """Tell whether uncompressed values are signed whose header does not say it.

    Where it matters, the smoother picture tells.

    Raises RadiographError where it does not.
    """
    kind = f"{'>' if dataset.file_meta.TransferSyntaxUID == ExplicitVRBigEndian else '<'}u{allocated // 8}"
    count = dataset.Rows * dataset.Columns
    raw = np.frombuffer(dataset.PixelData[: count * allocated // 8], kind).reshape(dataset.Rows, dataset.Columns)
    bits = (raw.astype(np.int64) >> (high_bit + 1 - stored)) & ((1 << stored) - 1)
    sign = 1 << (stored - 1)
    if not (bits & sign).any():
        return False
    unsigned, signed = _roughness(bits), _roughness((bits ^ sign) - sign)
    if max(unsigned, signed) < CLEARLY_ROUGHER * min(unsigned, signed):
        raise RadiographError(MISSING.format(tags="PixelRepresentation"))
    return signed < unsigned


def _align(values: np.ndarray, layout: _Format, dataset: Dataset, notes: list[str]) -> np.ndarray:
    """Values of BitsStored bits below HighBit, without what else stands in the words: overlays, or empty bits below.

    Headers are often wrong here, so a reading that the header asks for is taken only where it makes the picture no
    rougher than the words as they are.
    """
    width = values.dtype.itemsize * 8
    shift, mask = layout.high_bit + 1 - layout.stored, (1 << layout.stored) - 1
    if layout.stored >= width:
        return values
    raw = values.view(f"u{values.dtype.itemsize}")
    if shift and int(raw.max()) <= mask:
        notes.append(LEFT_JUSTIFIED_WRONG)
        return values
    bits = (raw >> shift) & mask
    if layout.signed:
        sign = 1 << (layout.stored - 1)
        reading = (bits.astype(np.int64) ^ sign) - sign
        reading = reading.astype(values.dtype)
    else:
        reading = bits
    if shift or _has_embedded_overlays(dataset) or np.array_equal(reading, values):
        return reading
    if _roughness(reading) <= _roughness(values):
        return reading
    notes.append(UNSIGNED if layout.signed and int(raw.max()) <= mask else BITS_BEYOND)
    return values


def _has_embedded_overlays(dataset: Dataset) -> bool:
    """Tell whether overlay planes stand in the unused bits of the pixels, as in old files."""
    return any(
        (group, OVERLAY_BIT_POSITION) in dataset and (group, OVERLAY_DATA) not in dataset
        for group in range(0x6000, 0x6020, 2)
    )


def _roughness(values: np.ndarray) -> float:
    """Mean absolute difference of neighbors, of the range: a film that is read in a wrong way is full of jumps."""
    lines = values[::4].astype(np.float32)
    low, high = np.percentile(lines, [5, 95])
    return float(np.abs(np.diff(lines, axis=1)).mean() / max(high - low, 1))


def _padding(raw: np.ndarray, used_bits: np.ndarray, layout: _Format, dataset: Dataset, notes: list[str]) -> np.ndarray:
    """Return where stored values are padding, by PixelPaddingValue and PixelPaddingRangeLimit.

    Both are compared as bit patterns, of 16 bits unless they need more, because headers often write the one VR for
    pixels of the other; of a signed film also of BitsStored bits.
    """
    limits = [numbers(dataset, name)[:1] for name in ("PixelPaddingValue", "PixelPaddingRangeLimit")]
    if not limits[0]:
        if has(dataset, "PixelPaddingValue"):
            notes.append(PADDING_IGNORED)
        return np.zeros(raw.shape, bool)
    values = [int(value) for (value,) in (limit for limit in limits if limit)]
    width = raw.dtype.itemsize * 8
    width = width if any(not -(2**15) <= value < 2**16 for value in values) else min(16, width)
    values = [value & ((1 << width) - 1) for value in values]
    if layout.signed:
        values = [value - (1 << width) if value >> (width - 1) else value for value in values]
        half = 1 << (layout.stored - 1)  # a signed film has no value of half and more: that is a pattern of fewer bits
        values = [value - 2 * half if half <= value < 2 * half else value for value in values]
    low, high = min(values), max(values)
    stored = raw.view(f"{'i' if layout.signed else 'u'}{raw.dtype.itemsize}")
    return ((stored >= low) & (stored <= high)) | ((used_bits >= low) & (used_bits <= high))
