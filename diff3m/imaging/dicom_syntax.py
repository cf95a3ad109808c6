"""Transfer syntaxes of DICOM films: how the picture is encoded, also where the file is wrong about it, and decoding.

Before a compressed picture is decoded, its own size must be the one that the header gives. Pictures whose decoder can
abort the process on damaged data (GDCM's JPEG Lossless and JPEG-LS, 12-bit JPEG), and those that do not state their
size (run-length encoding), are decoded in a process of their own, `pixel_worker.py`.
"""

from __future__ import annotations

import io
import os
import subprocess
import sys
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

from .dicom_contradictions import use_frame_format
from .dicom_values import text
from .jpeg import PictureHeader, read_jpeg_header, read_picture_header
from .pixel_worker import JPEG_EXTENDED
from .radiograph import RadiographError

WORKER = Path(__file__).with_name("pixel_worker.py")
WORKER_SECONDS = 60  # on the clock; a busy machine may be slow
WORKER_CPU_SECONDS, CPU_SECONDS_PER_MEGAPIXEL = 8, 0.5  # of the processor, where the system can count them
WORKER_ENVIRONMENT = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}  # threads cost address space
GDCM_ONLY = frozenset(
    {"1.2.840.10008.1.2.4.57", "1.2.840.10008.1.2.4.70", "1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.4.81"}
)
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
OTHER_SYNTAX = "The file's transfer syntax does not fit its picture, which was read as it is stored."
NO_DECODER = (
    "This DICOM film is a JPEG of 12 bits, for which no decoder is installed: run `pip install imagecodecs`, or export "
    "the film uncompressed or as JPEG 2000."
)

for _decoder in (
    decoders.JPEGBaseline8BitDecoder,
    decoders.JPEGExtended12BitDecoder,
    decoders.JPEG2000Decoder,
    decoders.JPEG2000LosslessDecoder,
):
    if "gdcm" in _decoder.available_plugins:
        _decoder.remove_plugin("gdcm")


def is_native(uid: UID) -> bool:
    """Tell whether a transfer syntax stores pixels uncompressed."""
    return uid in (ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian)


def complete_syntax(dataset: Dataset, notes: list[str]) -> UID:
    """Determine the transfer syntax, and write it into the data set's meta information.

    It is the declared one, if that is known and fits how the picture is packed and begins; else the one by which
    pydicom could parse the file, or that of the picture's first bytes. notes: gets a sentence where it is not the
    declared one.
    """
    meta = getattr(dataset, "file_meta", None)
    declared_syntax = text(meta, "TransferSyntaxUID") if meta is not None else ""
    element = dataset.get_item("PixelData")
    encapsulated = getattr(element, "length", 0) == 0xFFFFFFFF or getattr(element, "is_undefined_length", False)
    uid = (
        _encapsulated_syntax(element.value, declared_syntax)
        if encapsulated
        else _native_syntax(dataset, declared_syntax)
    )
    if declared_syntax not in ("", uid, GE_BIG_ENDIAN_PIXELS):
        notes.append(OTHER_SYNTAX)
    if meta is None:
        dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = uid
    return uid


def _native_syntax(dataset: Dataset, declared_syntax: str) -> UID:
    """Return the transfer syntax of an uncompressed picture."""
    if declared_syntax == GE_BIG_ENDIAN_PIXELS:
        return ExplicitVRBigEndian
    if is_native(UID(declared_syntax)) or declared_syntax == DeflatedExplicitVRLittleEndian:
        return UID(declared_syntax)
    implicit, little = dataset.original_encoding
    return ExplicitVRBigEndian if little is False else ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian


def _encapsulated_syntax(data: bytes, declared_syntax: str) -> UID:
    """Return the transfer syntax of a compressed picture: the declared one, unless the first bytes contradict it."""
    try:
        frame = next(generate_frames(data, number_of_frames=1))
    except Exception:
        return UID(declared_syntax or RLELossless)
    header = read_jpeg_header(frame)
    if frame[:4] in (b"\xff\x4f\xff\x51", b"\0\0\0\x0c"):
        fitting = (JPEG2000Lossless, *JPEG2000TransferSyntaxes, *HTJ2K_SYNTAXES)
    elif header is not None:
        fitting = JPEG_SYNTAXES.get(header.marker, JPEG_SYNTAXES[0xC0])
    else:
        return UID(declared_syntax if declared_syntax in ENCAPSULATED else RLELossless)
    return UID(declared_syntax if declared_syntax in fitting else fitting[0])


def decode_values(dataset: Dataset, uid: UID) -> np.ndarray:
    """Decode the stored values of a single-frame data set, (H, W) or (H, W, 3) of an integer type.

    Bits beyond BitsStored stay as they are. Raises RadiographError where a decoder is not installed, and any exception
    for a picture that cannot be decoded.
    """
    in_worker = uid in GDCM_ONLY or uid == RLELossless
    if uid in GDCM_ONLY or uid in JPEGTransferSyntaxes or uid in JPEG2000TransferSyntaxes:
        header = _check_picture_size(dataset)
        if uid in JPEG_EXTENDED:
            use_frame_format(dataset, header.components, header.precision)
        if uid in JPEG_EXTENDED and header.precision == 12:
            if find_spec("imagecodecs") is None:
                raise RadiographError(NO_DECODER)
            in_worker = True
    return _decode_in_worker(dataset) if in_worker else pixel_array(dataset, correct_unused_bits=False)


def _check_picture_size(dataset: Dataset) -> PictureHeader:
    """Return the compressed picture's own header. Raises ValueError unless it has the size that the data set gives."""
    header = read_picture_header(next(generate_frames(dataset.PixelData, number_of_frames=1)))
    if header is None or (header.width, header.height) != (dataset.Columns, dataset.Rows):
        raise ValueError("the picture's size is not the header's")
    return header


def _decode_in_worker(dataset: Dataset) -> np.ndarray:
    """Decode in another process with limits on time and memory: see `decode_values`.

    Raises subprocess.SubprocessError where that process fails or takes too long.
    """
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
