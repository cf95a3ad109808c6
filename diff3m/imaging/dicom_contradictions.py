"""Corrections of headers that contradict the pixels: the picture itself shows its byte order and its sign."""

from __future__ import annotations

import numpy as np
from pydicom.dataset import Dataset

NOISE = 0.5  # mean difference of neighbors, in standard deviations: a film stays far below it, noise is about 1.1
CLEARLY_SMOOTHER = 3.0  # times: by how much the other byte order must be smoother to be the right one
SEAM_WIDTH = 1 / 32  # of the range: how near to its two ends neighbors must lie to count as a wrap
MIN_WRAPS = 1e-3  # share of neighbors that wrap in a film that was read with the wrong sign
CLEARLY_MORE = 10  # times as many wraps as in the other reading

OTHER_BYTE_ORDER = "The film's pixels are stored in another byte order than the header says; they were read in theirs."
OTHER_SIGN = "The header says that pixels are {header}, which does not fit them; they were read as {picture}."


def correct_byte_order(values: np.ndarray, notes: list[str]) -> np.ndarray:
    """Swap the bytes of uncompressed values where only that makes a picture.

    values: integers; other arrays than (H, W) of 16 bits are returned as they are. notes: gets a sentence where the
    bytes are swapped.
    """
    if values.dtype.itemsize != 2 or values.ndim != 2:
        return values
    other_order = values.byteswap()
    noise, other_noise = _noise(values), _noise(other_order)
    if noise < NOISE or noise < CLEARLY_SMOOTHER * other_noise:
        return values
    notes.append(OTHER_BYTE_ORDER)
    return other_order


def _noise(values: np.ndarray) -> float:
    """Return the mean difference of neighbors in a row, in standard deviations of the row's values."""
    lines = values[::8].astype(np.float32)
    return float(np.abs(np.diff(lines, axis=1)).mean() / max(float(lines.std()), 1e-6))


def correct_sign(values: np.ndarray, stored_bits: int, notes: list[str]) -> np.ndarray:
    """Read unsigned values as signed ones, or the other way, where only that makes a picture without jumps.

    Read with the wrong sign, a smooth picture wraps: neighbors lie at the two ends of the range.

    values: (H, W) integers. stored_bits: BitsStored; all bits of the type count where the values hold more. notes: gets
    a sentence where the sign changes.
    """
    signed = values.dtype.kind == "i"
    low, high = int(values.min()), int(values.max())
    fits = -signed * 2 ** (stored_bits - 1) <= low and high < 2 ** (stored_bits - signed)
    bits = stored_bits if fits else values.dtype.itemsize * 8
    lines = values[::4].astype(np.int64)
    wraps, other_wraps = _wraps(lines, bits, signed), _wraps(_other_sign(lines, bits, signed), bits, not signed)
    if wraps < MIN_WRAPS or wraps < CLEARLY_MORE * other_wraps:
        return values
    names = ("signed", "unsigned")
    notes.append(OTHER_SIGN.format(header=names[not signed], picture=names[signed]))
    return _other_sign(values.astype(np.int64 if bits > 16 else np.int32), bits, signed)


def _other_sign(values: np.ndarray, bits: int, signed: bool) -> np.ndarray:
    """Return the same bits, signed values read as unsigned and unsigned ones as signed."""
    if signed:
        return values & ((1 << bits) - 1)
    sign = 1 << (bits - 1)
    return (values ^ sign) - sign


def _wraps(values: np.ndarray, bits: int, signed: bool) -> float:
    """Return the share of neighbors in a row that lie at opposite ends of the range.

    The very ends do not count, since a film may be saturated there.
    """
    low, high = (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) if signed else (0, (1 << bits) - 1)
    width = max(2, int((high - low) * SEAM_WIDTH))
    bottom, top = (values > low) & (values < low + width), (values < high) & (values > high - width)
    return float(((bottom[:, 1:] & top[:, :-1]) | (top[:, 1:] & bottom[:, :-1])).mean())


def use_frame_format(dataset: Dataset, components: int | None, precision: int | None) -> None:
    """Write a JPEG picture's own number of channels and of bits into a data set that says otherwise.

    components: channels of the picture. precision: its bits a value; only 8 replaces what the data set says.
    """
    if components in (1, 3) and dataset.SamplesPerPixel != components:
        dataset.SamplesPerPixel = components
        dataset.PhotometricInterpretation = "MONOCHROME2" if components == 1 else "YBR_FULL_422"
        dataset.PlanarConfiguration = 0
    if precision == 8 and dataset.BitsAllocated > 8:
        dataset.BitsAllocated = dataset.BitsStored = 8
        dataset.HighBit = 7
