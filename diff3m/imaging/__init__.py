"""Radiographs: reading files, preprocessing, the gate before analysis, and corrections by hand."""

from .dicom_content import looks_like_dicom
from .edit import edit_film
from .gate import GateError, Quality, inspect, pass_gate, read_film, with_quality
from .preprocess import (
    PreparedFilm,
    Preprocessing,
    border_box,
    prepare,
    prepare_film,
    prepare_mask,
)
from .radiograph import Radiograph, RadiographError, Window, normalize_film
from .read import read_radiograph

__all__ = [
    "GateError",
    "PreparedFilm",
    "Preprocessing",
    "Quality",
    "Radiograph",
    "RadiographError",
    "Window",
    "border_box",
    "edit_film",
    "inspect",
    "looks_like_dicom",
    "normalize_film",
    "pass_gate",
    "prepare",
    "prepare_film",
    "prepare_mask",
    "read_film",
    "read_radiograph",
    "with_quality",
]
