"""The stored pixels of a DICOM film, read as the Image Pixel module says (PS3.3 C.7.6.3), or as the picture shows.

Headers are often wrong about sign, bits in use and byte order; the picture itself then decides. Transfer syntaxes and
decoding are in `dicom_syntax`.
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

from .dicom_contradictions import correct_byte_order, correct_sign
from .dicom_syntax import complete_syntax, decode_values, is_native
from .dicom_values import numbers, text, whole_number
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
    "The picture in this DICOM file is cut short: {length} of {expected_length} bytes are there. Copy or export the "
    "file again."
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
    there is no film. photometric: PhotometricInterpretation in capitals, "" where it is missing. notes: sentences on
    what was guessed.
    """

    values: np.ndarray
    padding: np.ndarray
    photometric: str
    notes: tuple[str, ...]


@dataclass(frozen=True)
class _Format:
    """The Image Pixel module: how the pixel data are laid out.

    photometric: PhotometricInterpretation in capitals, "" where it is missing. samples: values a pixel, 1 or 3.
    allocated, stored: bits of a word, and those of them in use. high_bit: the highest bit in use, from 0. signed:
    whether values are in two's complement.
    """

    photometric: str
    samples: int
    allocated: int
    stored: int
    high_bit: int
    signed: bool


def decode_pixels(dataset: Dataset) -> StoredPixels:
    """Decode the stored pixels of a single-frame data set.

    The data set's Image Pixel module and transfer syntax are completed in place where the header lacks them. Raises
    RadiographError for pixels that cannot be read.
    """
    notes: list[str] = []
    uid = UID("")
    try:
        uid = complete_syntax(dataset, notes)
        layout = _complete_format(dataset, uid, notes)
        values = decode_values(dataset, uid)
        values = values.astype(values.dtype.newbyteorder("="), copy=False)
        values = correct_byte_order(values, notes) if is_native(uid) else values
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
        used_bits = correct_sign(used_bits, layout.stored, notes)
    padding = _padding(values, used_bits, layout, dataset, notes)
    return StoredPixels(used_bits, padding, layout.photometric, tuple(notes))


def _complete_format(dataset: Dataset, uid: UID, notes: list[str]) -> _Format:
    """Read the Image Pixel module, and complete it in the data set where a missing attribute can only be one thing.

    notes: gets a sentence for each guess. Raises RadiographError naming the attributes that are missing otherwise.
    """
    rows, columns = dataset.Rows, dataset.Columns = whole_number(dataset, "Rows"), whole_number(dataset, "Columns")
    if rows is None or columns is None:
        raise RadiographError(MISSING.format(tags="Rows, Columns"))
    missing = ["SamplesPerPixel"] if not whole_number(dataset, "SamplesPerPixel") else []
    missing += [name for name in ("BitsAllocated", "PixelRepresentation") if whole_number(dataset, name) is None]
    length = len(dataset.PixelData) if is_native(uid) or uid == DeflatedExplicitVRLittleEndian else None
    photometric = _read_photometric(dataset)
    samples = _read_samples(dataset, photometric, length)
    allocated = _read_bits_allocated(dataset, samples, length)
    stored = whole_number(dataset, "BitsStored") or allocated
    if not 1 <= stored <= allocated:
        stored = allocated
    high_bit = whole_number(dataset, "HighBit")
    if high_bit is None or not stored - 1 <= high_bit < allocated:
        high_bit = stored - 1
    if allocated not in (8, 16, 32) and is_native(uid):
        raise RadiographError(PACKED.format(bits=allocated if 0 < allocated < 65 else "an unknown number of"))
    if length is not None:
        subsampling = 1.5 if photometric == "YBR_FULL_422" and samples == 3 else 1  # two pixels share their colors
        _check_length(dataset, int(rows * columns * samples * allocated / 8 / subsampling), notes)
    signed = whole_number(dataset, "PixelRepresentation")
    if signed is None and length is not None and samples == 1:
        signed = _guess_signed(dataset, allocated, stored, high_bit)
    layout = _Format(photometric, samples, allocated, stored, high_bit, bool(signed))
    _write_format(dataset, layout)
    if missing:
        notes.append(GUESSED.format(tags=", ".join(missing)))
    return layout


def _read_photometric(dataset: Dataset) -> str:
    """Return PhotometricInterpretation in capitals, its odd spellings corrected; "" where it is missing."""
    photometric = text(dataset, "PhotometricInterpretation").upper().replace(" ", "")
    photometric = photometric.replace("PALETTECOLOR", "PALETTE COLOR")
    return "MONOCHROME1" if INVERTED.fullmatch(photometric) else photometric


def _read_samples(dataset: Dataset, photometric: str, length: int | None) -> int:
    """Return the number of values a pixel, 1 or 3, also where the header lacks it.

    length: of uncompressed pixel data in bytes, None for compressed ones. Raises RadiographError for another number.
    """
    samples = whole_number(dataset, "SamplesPerPixel")
    if not samples:
        plane_bytes = dataset.Rows * dataset.Columns * (whole_number(dataset, "BitsAllocated") or 8) // 8
        is_color = not photometric and length is not None and length // plane_bytes == 3
        samples = 3 if is_color or photometric.startswith(("RGB", "YBR")) else 1
    if samples not in (1, 3):
        raise RadiographError(CHANNELS.format(samples=samples if 0 < samples < 100 else "an unknown number of"))
    return samples


def _read_bits_allocated(dataset: Dataset, samples: int, length: int | None) -> int:
    """Return BitsAllocated, also where the header lacks it but the length or BitsStored tells it.

    length: as in `_read_samples`. Raises RadiographError where nothing tells it.
    """
    allocated = whole_number(dataset, "BitsAllocated")
    if allocated is not None:
        return allocated
    stored = whole_number(dataset, "BitsStored")
    if length is None and stored:
        return 8 if stored <= 8 else 16
    value_bytes = (length or 0) / (dataset.Rows * dataset.Columns * samples)
    allocated = next((bits for bits in (8, 16, 32) if bits / 8 <= value_bytes < bits / 8 + 0.01), None)
    if allocated is None:
        raise RadiographError(MISSING.format(tags="BitsAllocated"))
    return allocated


def _check_length(dataset: Dataset, expected_length: int, notes: list[str]) -> None:
    """Note uncompressed pixel data that are longer than expected. Raises RadiographError for shorter ones."""
    length = len(dataset.PixelData)
    if expected_length > length:
        raise RadiographError(CUT_SHORT.format(length=length, expected_length=expected_length))
    if dataset.PixelData[expected_length : length - 1].strip(b"\0"):  # the last byte may pad
        notes.append(BEYOND)


def _write_format(dataset: Dataset, layout: _Format) -> None:
    """Write the Image Pixel module into the data set, as pydicom's decoders need it."""
    known = ("MONOCHROME1", "MONOCHROME2", "PALETTE COLOR", "RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT")
    default = "MONOCHROME2" if layout.samples == 1 else "RGB"
    fitting = known if layout.samples > 1 else known[:3]
    dataset.PhotometricInterpretation = layout.photometric if layout.photometric in fitting else default
    dataset.SamplesPerPixel, dataset.BitsAllocated, dataset.BitsStored = layout.samples, layout.allocated, layout.stored
    dataset.HighBit, dataset.PixelRepresentation = layout.high_bit, int(layout.signed)
    if layout.samples > 1 and whole_number(dataset, "PlanarConfiguration") is None:
        dataset.PlanarConfiguration = 0
    if "NumberOfFrames" in dataset and not whole_number(dataset, "NumberOfFrames"):
        del dataset.NumberOfFrames


def _guess_signed(dataset: Dataset, allocated: int, stored: int, high_bit: int) -> bool:
    """Tell whether uncompressed values are signed where the header does not say it.

    They are unsigned if no value has the sign bit; else the reading that gives the smoother picture counts. Raises
    RadiographError where both readings are about as smooth.
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
    """Return the values of BitsStored bits below HighBit, without overlays or empty bits in the same words.

    Headers are often wrong here, so the reading that the header asks for is used only where it makes the picture no
    rougher than the words as they are. notes: gets a sentence where another reading is used.
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
    """Return the mean absolute difference of neighbors as a share of the film's range.

    A film that is read in a wrong way is full of jumps.
    """
    lines = values[::4].astype(np.float32)
    low, high = np.percentile(lines, [5, 95])
    return float(np.abs(np.diff(lines, axis=1)).mean() / max(high - low, 1))


def _padding(raw: np.ndarray, used_bits: np.ndarray, layout: _Format, dataset: Dataset, notes: list[str]) -> np.ndarray:
    """Return where stored values are padding by PixelPaddingValue and PixelPaddingRangeLimit: (H, W) bool.

    Both are compared as bit patterns, because headers often give a signed value for unsigned pixels and the reverse:
    patterns of 16 bits unless a value needs more, and for signed films also of BitsStored bits.

    raw: (H, W) words as decoded. used_bits: the same after `_align`.
    """
    limits = [numbers(dataset, name)[:1] for name in ("PixelPaddingValue", "PixelPaddingRangeLimit")]
    if not limits[0]:
        if "PixelPaddingValue" in dataset:
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
