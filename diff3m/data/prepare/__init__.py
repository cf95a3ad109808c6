"""Manifests from the tables of public data sets, from folders of images and from archives of DICOM files."""

from .chexpert import prepare_chexpert
from .chexpert_plus import prepare_chexpert_plus
from .dicom_folder import prepare_dicom
from .films import FilmCheck
from .folder import prepare_folder
from .mimic import prepare_mimic
from .nih import prepare_nih
from .padchest import prepare_padchest
from .report import Report

RELEASES = {  # data sets that are one folder, as released, by the name of `diff3m prepare NAME`
    "chexpert": prepare_chexpert,
    "chexpert-plus": prepare_chexpert_plus,
    "nih": prepare_nih,
    "padchest": prepare_padchest,
}

__all__ = [
    "RELEASES",
    "FilmCheck",
    "Report",
    "prepare_chexpert",
    "prepare_chexpert_plus",
    "prepare_dicom",
    "prepare_folder",
    "prepare_mimic",
    "prepare_nih",
    "prepare_padchest",
]
