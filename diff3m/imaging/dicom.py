"""DICOM films: upright, with pixels as a viewer would show them.

Of the header, an allow-list of facts is read and nothing else.
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
from .dicom_grey import GreyScale, grey_scale, is_inverted
from .dicom_header import Geometry, check_kind, geometry, header_facts
from .dicom_pixels import StoredPixels, decode
from .dicom_values import lift_frame_attributes, whole
from .geometry import square_size, with_square_pixels
from .radiograph import MAX_BYTES, Radiograph, RadiographError, check_film, check_size, grey_from_rgb

# pydicom quotes malformed header values in its warnings and log lines; a patient's data must reach neither. Silenced
# for pydicom alone, once, because switching it for each file would not be safe with several threads.
logging.getLogger("pydicom").setLevel(logging.CRITICAL + 1)
warnings.filterwarnings("ignore", module=r"pydicom(\.|$)")
settings.reading_validation_mode = IGNORE

DAMAGED = "The DICOM file is damaged or incomplete. Export it again from the archive."
NO_SIZE = "This DICOM file does not say how large its picture is (Rows, Columns). Export it again from the archive."


def read_dicom(data: bytes) -> Radiograph:
    """Return a single-frame projection radiograph from DICOM bytes.

    Raises RadiographError with a sentence that says what to do.
    """
    dataset = read_dataset(data)
    notes = check_kind(dataset)
    place = geometry(dataset)
    _check_stored_size(dataset, place)
    facts, fact_notes = header_facts(dataset)
    grey = _grey(dataset, decode(dataset))
    pixels = _place(grey.values, place)
    full_range = None if grey.full_range is None else _place(grey.full_range, place)
    spacing = place.spacing_mm
    if spacing is not None:
        spacing = _upright_spacing(spacing, grey.values.shape, pixels.shape, place)
    return Radiograph(
        check_film(pixels),
        "DICOM",
        facts,
        (*notes, *grey.notes, *place.notes, *fact_notes),
        spacing_mm=spacing,
        at_detector=place.at_detector,
        windows=grey.windows,
        full_range=None if full_range is None else check_film(full_range),
    )


def read_dataset(data: bytes) -> Dataset:
    """Read the data set of a DICOM file, whatever its preamble, meta information and encoding.

    What functional groups say of a frame stands at the top, as in older objects. Raises RadiographError for a damaged
    file.
    """
    dataset = _parse(without_blank_preamble(data))
    lift_frame_attributes(dataset)
    return dataset


def _parse(data: bytes) -> Dataset:
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
    """Deflated files are inflated whole by pydicom; refuse one that would not stay within the size of an upload."""
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


def _check_stored_size(dataset: Dataset, place: Geometry) -> None:
    """Raise RadiographError before anything is decoded, for a picture of no size, or of one that no film has."""
    rows, columns = whole(dataset, "Rows"), whole(dataset, "Columns")
    if not rows or not columns or min(rows, columns) < 0:
        raise RadiographError(NO_SIZE)
    check_size(columns, rows, place.pixel_aspect)
    height, width = square_size(rows, columns, place.pixel_aspect)
    check_size(width, height)


def _grey(dataset: Dataset, stored: StoredPixels) -> GreyScale:
    """Decoded pixels as one grey picture. Raises RadiographError for a color picture, or several."""
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
    inverted, notes = is_inverted(dataset, stored.photometric)
    try:
        grey = grey_scale(values, stored.padding, dataset, inverted)
    except Exception:
        raise RadiographError(
            "The grey scale of this DICOM file (its window or lookup table) is malformed. Export the film as PNG."
        ) from None
    return GreyScale(grey.values, grey.full_range, grey.windows, (*stored.notes, *notes, *grey.notes))


def _place(image: np.ndarray, place: Geometry) -> np.ndarray:
    """Return a stored picture with square pixels and upright."""
    return np.ascontiguousarray(place.placement.apply(with_square_pixels(image, place.pixel_aspect)))


def _upright_spacing(
    spacing: tuple[float, float], stored: tuple[int, int], upright: tuple[int, int], place: Geometry
) -> tuple[float, float]:
    """Return the spacing of the picture as it is shown: its size in millimeters does not change."""
    height, width = spacing[0] * stored[0], spacing[1] * stored[1]
    if place.placement.transposed:
        height, width = width, height
    return height / upright[0], width / upright[1]
