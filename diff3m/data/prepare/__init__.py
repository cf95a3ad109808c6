"""From the tables of public data sets, folders and archives to manifests."""

from .chexpert import prepare_chexpert
from .films import FilmCheck
from .folder import manifest_from_table
from .mimic import prepare_mimic
from .nih import prepare_nih
from .report import Report

RELEASES = {"chexpert": prepare_chexpert, "nih": prepare_nih}  # data sets that are one folder, as released

__all__ = ["RELEASES", "FilmCheck", "Report", "manifest_from_table", "prepare_chexpert", "prepare_mimic", "prepare_nih"]
