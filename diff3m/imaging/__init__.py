"""Radiographs: reading files, DICOM, preprocessing, the gate before analysis, and corrections by hand."""

from .dicom import looks_like_dicom
from .edit import corrected
from .gate import Quality, inspect
from .preprocess import (
    PreparedFilm,
    Preprocessing,
    border_box,
    crop_to_film,
    film_aspect,
    prepare,
    prepare_film,
    prepare_mask,
)
from .radiograph import Radiograph, RadiographError, check_film
from .read import read_radiograph

__all__ = [
    "PreparedFilm",
    "Preprocessing",
    "Quality",
    "Radiograph",
    "RadiographError",
    "border_box",
    "check_film",
    "corrected",
    "crop_to_film",
    "film_aspect",
    "inspect",
    "looks_like_dicom",
    "prepare",
    "prepare_film",
    "prepare_mask",
    "read_radiograph",
]
