"""The stored pixels of a DICOM film, decoded so that a damaged or hostile file can do no more than fail.

Before anything is decoded the picture's own size must be the one that the header gives. Compressed pictures whose
decoder can abort the process on damaged data (GDCM's JPEG Lossless and JPEG-LS, 12-bit JPEG) or whose unpacked size is
said nowhere (run-length encoding) are decoded in a process of their own (`pixel_worker.py`).
"""

from __future__ import annotations

import io
import os
import re
import struct
import subprocess
import sys
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import generate_frames
from pydicom.pixels import decoders, pixel_array
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEG2000TransferSyntaxes,
    JPEGLSTransferSyntaxes,
    JPEGTransferSyntaxes,
    MPEGTransferSyntaxes,
    RLELossless,
)

from .dicom_contradictions import take_format_of_frame, with_true_byte_order, with_true_sign
from .dicom_values import has, numbers, text, whole
from .radiograph import RadiographError

WORKER = Path(__file__).with_name("pixel_worker.py")
WORKER_SECONDS = 60  # on the clock; a busy machine may be slow
WORKER_CPU_SECONDS, CPU_SECONDS_PER_MEGAPIXEL = 8, 0.5  # of the processor, where the system can count them
WORKER_ENVIRONMENT = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}  # threads cost address space
GDCM_ONLY = frozenset(
    {"1.2.840.10008.1.2.4.57", "1.2.840.10008.1.2.4.70", "1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.4.81"}
)
JPEG_EXTENDED = frozenset({"1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.51"})
JPEG_SIZED = frozenset({*range(0xC0, 0xD0), 0xF7}) - {0xC4, 0xC8, 0xCC}  # the SOF markers, and JPEG-LS's
# by the marker of a JPEG frame's header: the transfer syntaxes that decode it
JPEG_SYNTAXES = {
    0xC0: ("1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.51"),
    0xC1: ("1.2.840.10008.1.2.4.51", "1.2.840.10008.1.2.4.50"),
    0xC3: ("1.2.840.10008.1.2.4.70", "1.2.840.10008.1.2.4.57"),
    0xF7: ("1.2.840.10008.1.2.4.81", "1.2.840.10008.1.2.4.80"),
}
HTJ2K_SYNTAXES = ("1.2.840.10008.1.2.4.201", "1.2.840.10008.1.2.4.202", "1.2.840.10008.1.2.4.203")
ENCAPSULATED = frozenset(
    {*JPEGTransferSyntaxes, *JPEGLSTransferSyntaxes, *JPEG2000TransferSyntaxes, *HTJ2K_SYNTAXES, *MPEGTransferSyntaxes}
)
GE_BIG_ENDIAN_PIXELS = "1.2.840.113619.5.2"  # private: an implicit, little-endian header with big-endian pixels
CLEARLY_ROUGHER = 1.05  # times: by how much the wrong one of two readings must be rougher to count as wrong
INVERTED = re.compile(r"MONO[A-Z]*[^A-Z0-9]?1|(MIN)?(INTENSITY)?(IS)?WHITE(ISZERO)?")  # odd spellings of MONOCHROME1
OVERLAY_BIT_POSITION, OVERLAY_DATA = 0x0102, 0x3000  # elements of the groups 60xx

PADDING_IGNORED = (
    "The header's PixelPaddingValue cannot be used and was ignored: what lies beside the film may set its contrast."
)
BITS_BEYOND = "Some pixels hold more bits than the header's BitsStored says; they were read as they are stored."
LEFT_JUSTIFIED_WRONG = "The header's HighBit does not fit its pixels; they were read as they are stored."
UNSIGNED = "The header says that pixels are signed, which does not fit them; they were read as unsigned."
OTHER_SYNTAX = "The file's transfer syntax does not fit its picture, which was read as it is stored."
GUESSED = "The header lacks {tags}; the values were taken from the others and from the picture."
MISSING = "The DICOM file lacks {tags}, so its pixels cannot be read. Export it again from the archive, or as PNG."
CUT_SHORT = (
    "The picture in this DICOM file is cut short: {found} of {needed} bytes are there. Copy or export the file again."
)
UNREADABLE = (
    "The picture in this DICOM file cannot be decoded (transfer syntax: {syntax}). It may be damaged; export the film "
    "again {how}."
)
NO_DECODER = (
    "This DICOM film is a JPEG of 12 bits, for which no decoder is installed: run `pip install imagecodecs`, or export "
    "the film uncompressed or as JPEG 2000."
)
BEYOND = "The file holds more of a picture than its size (Rows, Columns) needs; the rest was left out. See the edges."
CHANNELS = "This DICOM film stores {samples} values a pixel, which are not read. Export it in grey levels, or as PNG."
PACKED = "This DICOM film stores pixels of {bits} bits, which are not read. Export it with 8, 16 or 32 bits, or as PNG."

for _decoder in (
    decoders.JPEGBaseline8BitDecoder,
    decoders.JPEGExtended12BitDecoder,
    decoders.JPEG2000Decoder,
    decoders.JPEG2000LosslessDecoder,
):
    if "gdcm" in _decoder.available_plugins:
        _decoder.remove_plugin("gdcm")


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
    """The stored pixels of a single-frame data set. Raises RadiographError with a sentence that says what to do.

    The data set's Image Pixel module and transfer syntax are completed in place where the header lacks them.
    """
    notes: list[str] = []
    uid = UID("")
    try:
        uid = _complete_syntax(dataset, notes)
        layout = _complete_format(dataset, uid, notes)
        values = _decode(dataset, uid)
        values = values.astype(values.dtype.newbyteorder("="), copy=False)
        values = with_true_byte_order(values, notes) if _is_native(uid) else values
    except RadiographError:
        raise
    except Exception:  # decoders raise many kinds of error
        named = uid.name if uid.is_transfer_syntax and uid.name != str(uid) else "unknown"  # else it is header text
        how = "from the archive, or as PNG" if _is_native(uid) else "uncompressed or as JPEG 2000, or as PNG"
        raise RadiographError(UNREADABLE.format(syntax=named, how=how)) from None
    if values.ndim != 2 or values.dtype.kind not in "iu":
        return StoredPixels(values, np.zeros(values.shape[:2], bool), layout.photometric, tuple(notes))
    aligned = _aligned(values, layout, dataset, notes)
    if layout.photometric != "PALETTE COLOR":  # whose indices need not be smooth
        aligned = with_true_sign(aligned, layout.stored, notes)
    padding = _padding(values, aligned, layout, dataset, notes)
    return StoredPixels(aligned, padding, layout.photometric, tuple(notes))


def _is_native(uid: UID) -> bool:
    return uid in (ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian)


def _complete_syntax(dataset: Dataset, notes: list[str]) -> UID:
    """The transfer syntax: what the file says, as far as it is known and fits how the picture is packed and begins.

    Else that by which the parser could read the file, or the one that the picture's first bytes show.
    """
    meta = getattr(dataset, "file_meta", None)
    said = text(meta, "TransferSyntaxUID") if meta is not None else ""
    element = dataset.get_item("PixelData")
    packed = getattr(element, "length", 0) == 0xFFFFFFFF or getattr(element, "is_undefined_length", False)
    uid = _encapsulated_syntax(element.value, said) if packed else _native_syntax(dataset, said)
    if said not in ("", uid, GE_BIG_ENDIAN_PIXELS):
        notes.append(OTHER_SYNTAX)
    if meta is None:
        dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = uid
    return uid


def _native_syntax(dataset: Dataset, said: str) -> UID:
    """The transfer syntax of a picture that is not packed in fragments."""
    if said == GE_BIG_ENDIAN_PIXELS:
        return ExplicitVRBigEndian
    if _is_native(UID(said)) or said == DeflatedExplicitVRLittleEndian:
        return UID(said)
    implicit, little = dataset.original_encoding
    return ExplicitVRBigEndian if little is False else ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian


def _encapsulated_syntax(data: bytes, said: str) -> UID:
    """The transfer syntax of a picture in fragments: what the file says, unless the first bytes are of another kind."""
    try:
        frame = next(generate_frames(data, number_of_frames=1))
    except Exception:
        return UID(said or RLELossless)
    header = _jpeg_header(frame)
    if frame[:4] in (b"\xff\x4f\xff\x51", b"\0\0\0\x0c"):
        fitting = (JPEG2000Lossless, *JPEG2000TransferSyntaxes, *HTJ2K_SYNTAXES)
    elif header is not None:
        fitting = JPEG_SYNTAXES.get(header.marker, JPEG_SYNTAXES[0xC0])
    else:
        return UID(said if said in ENCAPSULATED else RLELossless)
    return UID(said if said in fitting else fitting[0])


def _complete_format(dataset: Dataset, uid: UID, notes: list[str]) -> _Format:
    """The Image Pixel module, completed in the data set where it is plain what a missing attribute must be.

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
    length = len(dataset.PixelData) if _is_native(uid) or uid == DeflatedExplicitVRLittleEndian else None
    if not samples:
        fills = not photometric and length is not None and length // (rows * columns * (allocated or 8) // 8) == 3
        samples = 3 if fills or photometric.startswith(("RGB", "YBR")) else 1
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
    if allocated not in (8, 16, 32) and _is_native(uid):
        raise RadiographError(PACKED.format(bits=allocated if 0 < allocated < 65 else "an unknown number of"))
    shared = 1.5 if photometric == "YBR_FULL_422" and samples == 3 else 1  # two pixels share their colors
    needed = int(rows * columns * samples * allocated / 8 / shared)
    if length is not None and needed > length:
        raise RadiographError(CUT_SHORT.format(found=length, needed=needed))
    if length is not None and dataset.PixelData[needed : length - 1].strip(b"\0"):  # the last byte may be padding
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
    assumed = "MONOCHROME2" if layout.samples == 1 else "RGB"
    fitting = known if layout.samples > 1 else known[:3]
    dataset.PhotometricInterpretation = layout.photometric if layout.photometric in fitting else assumed
    dataset.SamplesPerPixel, dataset.BitsAllocated, dataset.BitsStored = layout.samples, layout.allocated, layout.stored
    dataset.HighBit, dataset.PixelRepresentation = layout.high_bit, int(layout.signed)
    if layout.samples > 1 and whole(dataset, "PlanarConfiguration") is None:
        dataset.PlanarConfiguration = 0
    if has(dataset, "NumberOfFrames") and not whole(dataset, "NumberOfFrames"):
        del dataset.NumberOfFrames


def _guess_signed(dataset: Dataset, allocated: int, stored: int, high_bit: int) -> bool:
    """Whether uncompressed values are signed whose header does not say it.

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


def _decode(dataset: Dataset, uid: UID) -> np.ndarray:
    apart = uid in GDCM_ONLY or uid == RLELossless
    if uid in GDCM_ONLY or uid in JPEGTransferSyntaxes or uid in JPEG2000TransferSyntaxes:
        header = _check_picture_size(dataset)
        if uid in JPEG_EXTENDED:
            take_format_of_frame(dataset, header.components, header.precision)
        if uid in JPEG_EXTENDED and header.precision == 12:
            if find_spec("imagecodecs") is None:
                raise RadiographError(NO_DECODER)
            apart = True
    return _decode_apart(dataset) if apart else pixel_array(dataset, correct_unused_bits=False)  # see `_aligned`


@dataclass(frozen=True)
class _FrameHeader:
    """What a compressed picture says of itself.

    precision: bits, None for JPEG 2000. marker: of a JPEG's frame header. components: channels, None for JPEG 2000.
    """

    width: int
    height: int
    precision: int | None = None
    marker: int = 0
    components: int | None = None


def _check_picture_size(dataset: Dataset) -> _FrameHeader:
    """Return what the compressed picture says of itself.

    Raises ValueError unless the picture's size is the one that the header gives.
    """
    header = _frame_header(next(generate_frames(dataset.PixelData, number_of_frames=1)))
    if header is None or (header.width, header.height) != (dataset.Columns, dataset.Rows):
        raise ValueError("the picture's size is not the header's")
    return header


def _frame_header(frame: bytes) -> _FrameHeader | None:
    """What a JPEG, JPEG-LS or JPEG 2000 picture declares; None if it declares nothing."""
    start = frame.find(b"\xff\x4f\xff\x51", 0, 4096)  # JPEG 2000: start of codestream, then SIZ
    if start >= 0:
        right, bottom, left, top = struct.unpack(">4I", frame[start + 8 : start + 24])
        return _FrameHeader(right - left, bottom - top)
    return _jpeg_header(frame)


def _jpeg_header(frame: bytes) -> _FrameHeader | None:
    place = 2
    while frame[:2] == b"\xff\xd8" and place + 10 <= len(frame) and frame[place] == 0xFF:
        marker, length = frame[place + 1], int.from_bytes(frame[place + 2 : place + 4], "big")
        if marker == 0xFF:  # fill byte
            place += 1
        elif marker in JPEG_SIZED:
            precision, height, width, components = struct.unpack(">B2HB", frame[place + 4 : place + 10])
            return _FrameHeader(width, height, precision, marker, components)
        else:
            place += 2 + length
    return None


def _decode_apart(dataset: Dataset) -> np.ndarray:
    """Decode in another process with a limit on time and memory. Raises any exception if that process fails."""
    bare = Dataset()
    bare.file_meta = dataset.file_meta
    for tag in ("Rows", "Columns", "SamplesPerPixel", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation",
                "PhotometricInterpretation", "PlanarConfiguration", "PixelData"):  # fmt: skip
        if tag in dataset:
            bare[tag] = dataset[tag]
    buffer = io.BytesIO()
    bare.save_as(buffer, enforce_file_format=False, little_endian=True, implicit_vr=False)
    seconds = WORKER_CPU_SECONDS + dataset.Rows * dataset.Columns / 1e6 * CPU_SECONDS_PER_MEGAPIXEL
    result = subprocess.run(
        [sys.executable, str(WORKER), str(round(seconds))],
        input=buffer.getvalue(),
        capture_output=True,
        timeout=WORKER_SECONDS,
        check=True,
        env={**os.environ, **WORKER_ENVIRONMENT},
    )
    return np.load(io.BytesIO(result.stdout), allow_pickle=False)


def _aligned(values: np.ndarray, layout: _Format, dataset: Dataset, notes: list[str]) -> np.ndarray:
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
        read = (bits.astype(np.int64) ^ sign) - sign
        read = read.astype(values.dtype)
    else:
        read = bits
    if shift or _has_embedded_overlays(dataset) or np.array_equal(read, values):
        return read
    if _roughness(read) <= _roughness(values):
        return read
    notes.append(UNSIGNED if layout.signed and int(raw.max()) <= mask else BITS_BEYOND)
    return values


def _has_embedded_overlays(dataset: Dataset) -> bool:
    """Whether overlay planes stand in the unused bits of the pixels, as in old files."""
    return any(
        (group, OVERLAY_BIT_POSITION) in dataset and (group, OVERLAY_DATA) not in dataset
        for group in range(0x6000, 0x6020, 2)
    )


def _roughness(values: np.ndarray) -> float:
    """Mean absolute difference of neighbors, of the range: a film that is read in a wrong way is full of jumps."""
    lines = values[::4].astype(np.float32)
    low, high = np.percentile(lines, [5, 95])
    return float(np.abs(np.diff(lines, axis=1)).mean() / max(high - low, 1))


def _padding(raw: np.ndarray, aligned: np.ndarray, layout: _Format, dataset: Dataset, notes: list[str]) -> np.ndarray:
    """Where stored values are padding, by PixelPaddingValue and PixelPaddingRangeLimit.

    Both are compared as bit patterns, of 16 bits unless they need more, because headers often write the one VR for
    pixels of the other.
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
    low, high = min(values), max(values)
    stored = raw.view(f"{'i' if layout.signed else 'u'}{raw.dtype.itemsize}")
    return ((stored >= low) & (stored <= high)) | ((aligned >= low) & (aligned <= high))
