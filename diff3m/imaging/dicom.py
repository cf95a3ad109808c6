"""DICOM films, upright and with the grey levels of a viewer.

Of the header, the attributes that `dicom_header` lists are read and nothing else.
"""

from __future__ import annotations

import io
import logging
import warnings
import zlib

import numpy as np
import pydicom
from pydicom.config import IGNORE, settings
from pydicom.dataset import Dataset
from pydicom.filereader import _read_file_meta_info, read_preamble
from pydicom.pixels import apply_color_lut
from pydicom.uid import DeflatedExplicitVRLittleEndian

from .dicom_content import has_dicom_prefix, without_blank_preamble
from .dicom_geometry import Geometry, read_geometry
from .dicom_grey import GreyScale, apply_grey_scale, read_polarity
from .dicom_header import check_kind, header_facts
from .dicom_pixels import StoredPixels, decode_pixels
from .dicom_values import lift_frame_attributes, whole_number
from .geometry import square_size, with_square_pixels
from .radiograph import MAX_BYTES, Radiograph, RadiographError, check_size, grey_from_rgb, normalize_film

# pydicom quotes malformed header values in its warnings and log lines; a patient's data must reach neither. Silenced
# for pydicom alone, once, because switching it for each file would not be safe with several threads.
logging.getLogger("pydicom").setLevel(logging.CRITICAL + 1)
warnings.filterwarnings("ignore", module=r"pydicom(\.|$)")
settings.reading_validation_mode = IGNORE

DAMAGED = "The DICOM file is damaged or incomplete. Export it again from the archive."
NO_SIZE = "This DICOM file does not say how large its picture is (Rows, Columns). Export it again from the archive."


def read_dicom(data: bytes) -> Radiograph:
    """Read a single-frame projection radiograph from the bytes of a DICOM file.

    Raises RadiographError, whose message says what to do.
    """
    dataset = read_dataset(data)
    notes = check_kind(dataset)
    geometry = read_geometry(dataset)
    _check_stored_size(dataset, geometry)
    facts, fact_notes = header_facts(dataset)
    grey = _grey(dataset, decode_pixels(dataset))
    pixels = _turn_upright(grey.values, geometry)
    full_range = None if grey.full_range is None else _turn_upright(grey.full_range, geometry)
    spacing = geometry.spacing_mm
    if spacing is not None:
        spacing = _upright_spacing(spacing, grey.values.shape, pixels.shape, geometry)
    return Radiograph(
        normalize_film(pixels),
        "DICOM",
        facts,
        (*notes, *grey.notes, *geometry.notes, *fact_notes),
        spacing_mm=spacing,
        at_detector=geometry.at_detector,
        windows=grey.windows,
        full_range=None if full_range is None else normalize_film(full_range),
    )


def read_dataset(data: bytes) -> Dataset:
    """Read the data set of a DICOM file; preamble and meta information may be absent, or wrong about the encoding.

    Attributes of functional groups are copied to the top, see `lift_frame_attributes`. Raises RadiographError for a
    damaged file.
    """
    dataset = _parse(without_blank_preamble(data))
    lift_frame_attributes(dataset)
    return dataset


def _parse(data: bytes) -> Dataset:
    """Parse a file; where that gives no picture, parse what follows the meta information by its own encoding."""
    _refuse_bomb(data)
    try:
        dataset = pydicom.dcmread(io.BytesIO(data), force=not has_dicom_prefix(data))
        if "Rows" in dataset and "PixelData" in dataset:
            return dataset
        file = io.BytesIO(data)  # the meta information may name another encoding than that of the data set
        read_preamble(file, force=True)
        _read_file_meta_info(file)
        other = pydicom.dcmread(io.BytesIO(file.read()), force=True)
        return other if "Rows" in other and "PixelData" in other else dataset
    except Exception:  # pydicom raises many kinds of error on damaged files
        raise RadiographError(DAMAGED) from None


def _refuse_bomb(data: bytes) -> None:
    """Raise RadiographError for a deflated file that is larger than `MAX_BYTES` once inflated; pydicom has no limit."""
    if DeflatedExplicitVRLittleEndian.encode() not in data:
        return
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        file = io.BytesIO(data)
        read_preamble(file, force=True)
        # the same reader that `dcmread` uses
        if _read_file_meta_info(file).get("TransferSyntaxUID") != DeflatedExplicitVRLittleEndian:
            return
        inflater.decompress(data[file.tell() :], MAX_BYTES)
    except Exception:
        raise RadiographError(DAMAGED) from None
    if inflater.unconsumed_tail:
        raise RadiographError(
            f"Unpacked, this DICOM file is larger than {MAX_BYTES // 2**20} MB. Export a single film, uncompressed."
        )


def _check_stored_size(dataset: Dataset, geometry: Geometry) -> None:
    """Raise RadiographError for a picture without a size, or with one that no film has; nothing is decoded for it."""
    rows, columns = whole_number(dataset, "Rows"), whole_number(dataset, "Columns")
    if not rows or not columns or min(rows, columns) < 0:
        raise RadiographError(NO_SIZE)
    check_size(columns, rows, geometry.pixel_aspect)
    height, width = square_size(rows, columns, geometry.pixel_aspect)
    check_size(width, height)


def _grey(dataset: Dataset, stored: StoredPixels) -> GreyScale:
    """Return decoded pixels as one grey picture. Raises RadiographError for a color picture, or several pictures."""
    values = stored.values
    try:
        if stored.photometric == "PALETTE COLOR" and values.ndim == 2:
            values = apply_color_lut(values, dataset)
    except Exception:  # a malformed palette
        raise RadiographError("The palette of this DICOM film is malformed. Export the film as PNG.") from None
    if values.ndim == 3 and values.shape[-1] in (3, 4):
        values = grey_from_rgb(values[..., :3])
        if not stored.photometric.startswith("MONOCHROME"):
            return GreyScale(values, None, (), stored.notes)
        # else three equal channels of a picture that the header calls grey
    if values.ndim != 2:
        raise RadiographError("This DICOM file does not hold a single grey picture. Export one frontal film.")
    if not np.isfinite(values).all():
        raise RadiographError("The image holds values that are not numbers. Export it again as PNG or DICOM.")
    inverted, notes = read_polarity(dataset, stored.photometric)
    try:
        grey = apply_grey_scale(values, stored.padding, dataset, inverted)
    except Exception:
        raise RadiographError(
            "The grey scale of this DICOM file (its window or lookup table) is malformed. Export the film as PNG."
        ) from None
    return GreyScale(grey.values, grey.full_range, grey.windows, (*stored.notes, *notes, *grey.notes))


def _turn_upright(image: np.ndarray, geometry: Geometry) -> np.ndarray:
    """Return a stored picture upright and with square pixels."""
    return np.ascontiguousarray(geometry.placement.apply(with_square_pixels(image, geometry.pixel_aspect)))


def _upright_spacing(
    spacing: tuple[float, float], stored: tuple[int, int], upright: tuple[int, int], geometry: Geometry
) -> tuple[float, float]:
    """Return the (row, column) spacing of the upright picture, in millimeters; its extent does not change.

    spacing: of the stored picture. stored, upright: the shapes of both.
    """
    height, width = spacing[0] * stored[0], spacing[1] * stored[1]
    if geometry.placement.transposed:
        height, width = width, height
    return height / upright[0], width / upright[1]
