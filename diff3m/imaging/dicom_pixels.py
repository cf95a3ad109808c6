"""The stored pixels of a DICOM film, decoded so that a damaged or hostile file can do no more than fail.

Before anything is decoded the picture's own size must be the one that the header gives. JPEG Lossless and JPEG-LS have one free decoder, GDCM,
which can abort the process on damaged data, and run-length encoding says nowhere how large it becomes; both are decoded in a process of their own
(`pixel_worker.py`).
"""

from __future__ import annotations

import io
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset
from pydicom.encaps import generate_frames
from pydicom.pixels import decoders
from pydicom.uid import UID, JPEG2000TransferSyntaxes, JPEGTransferSyntaxes, RLELossless

from .radiograph import RadiographError

WORKER = Path(__file__).with_name("pixel_worker.py")
WORKER_SECONDS = 30
GDCM_ONLY = frozenset(
    {"1.2.840.10008.1.2.4.57", "1.2.840.10008.1.2.4.70", "1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.4.81"}
)
JPEG_SIZED = frozenset({*range(0xC0, 0xD0), 0xF7}) - {0xC4, 0xC8, 0xCC}  # the SOF markers, and JPEG-LS's

for _decoder in (
    decoders.JPEGBaseline8BitDecoder,
    decoders.JPEGExtended12BitDecoder,
    decoders.JPEG2000Decoder,
    decoders.JPEG2000LosslessDecoder,
):
    if "gdcm" in _decoder.available_plugins:
        _decoder.remove_plugin("gdcm")


def decode(dataset: Dataset) -> np.ndarray:
    """The stored values of a single-frame data set. Raises RadiographError with a sentence that says what to do."""
    syntax = "unknown"
    try:
        uid = (
            UID(dataset.file_meta.TransferSyntaxUID)
            if "TransferSyntaxUID" in getattr(dataset, "file_meta", ())
            else None
        )
        if uid is not None and uid.is_transfer_syntax and uid.name != str(uid):  # an unknown one's name is header text
            syntax = uid.name
        if uid is not None and (uid in JPEGTransferSyntaxes or uid in JPEG2000TransferSyntaxes or uid in GDCM_ONLY):
            _check_picture_size(dataset)
        return _decode_apart(dataset) if uid in GDCM_ONLY or uid == RLELossless else dataset.pixel_array
    except RadiographError:
        raise
    except Exception:  # decoders raise many kinds of error
        raise RadiographError(
            f"The picture in this DICOM file cannot be decoded (transfer syntax: {syntax}). "
            "It may be incomplete; export it uncompressed or as JPEG 2000, or as PNG."
        ) from None


def _check_picture_size(dataset: Dataset) -> None:
    """Raise ValueError unless the compressed picture says the size that the header says."""
    frame = next(generate_frames(dataset.PixelData, number_of_frames=1))
    if picture_size(frame) != (int(dataset.Columns), int(dataset.Rows)):
        raise ValueError("the picture's size is not the header's")


def picture_size(frame: bytes) -> tuple[int, int] | None:
    """(width, height) that a JPEG, JPEG-LS or JPEG 2000 picture declares; None if it declares none."""
    start = frame.find(b"\xff\x4f\xff\x51", 0, 4096)  # JPEG 2000: start of codestream, then SIZ
    if start >= 0:
        right, bottom, left, top = struct.unpack(">4I", frame[start + 8 : start + 24])
        return right - left, bottom - top
    place = 2
    while frame[:2] == b"\xff\xd8" and place + 9 <= len(frame) and frame[place] == 0xFF:
        marker, length = frame[place + 1], int.from_bytes(frame[place + 2 : place + 4], "big")
        if marker == 0xFF:  # fill byte
            place += 1
        elif marker in JPEG_SIZED:
            height, width = struct.unpack(">2H", frame[place + 5 : place + 9])
            return width, height
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
    made = subprocess.run(
        [sys.executable, str(WORKER)], input=buffer.getvalue(), capture_output=True, timeout=WORKER_SECONDS, check=True
    )
    return np.load(io.BytesIO(made.stdout), allow_pickle=False)
