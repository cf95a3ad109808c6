"""An Analysis as DICOM Secondary Capture images, written with highdicom."""

from __future__ import annotations

import io
from importlib.util import find_spec

from ..analysis import Analysis
from ..detector import Detector
from .files import NOTICE, get_software_versions, render_pictures

SERIES_NUMBER = 9301
TITLES = {
    "film": "Film",
    "normal_film": "Pseudo-healthy film",
    "difference": "Difference over the film",
}


def can_export_dicom() -> bool:
    """Tell whether highdicom is installed."""
    return find_spec("highdicom") is not None


def secondary_captures(analysis: Analysis, detector: Detector) -> dict[str, bytes]:
    """Return Secondary Capture files by name: film, pseudo-healthy film and difference over the film.

    They form one new series of a new study. The patient's name and id are empty, because neither is read from a
    header. Raises RuntimeError without highdicom.
    """
    if not can_export_dicom():
        raise RuntimeError("DICOM files need the package highdicom: pip install highdicom")
    import highdicom
    from highdicom.sc import SCImage

    study, series = highdicom.UID(), highdicom.UID()
    images, files = render_pictures(analysis, detector.scoring), {}
    for number, (name, title) in enumerate(TITLES.items(), start=1):
        pixels = images[name]
        image = SCImage(
            pixel_array=pixels,
            photometric_interpretation="MONOCHROME2" if pixels.ndim == 2 else "RGB",
            bits_allocated=8,
            coordinate_system="PATIENT",
            study_instance_uid=study,
            series_instance_uid=series,
            series_number=SERIES_NUMBER,
            sop_instance_uid=highdicom.UID(),
            instance_number=number,
            manufacturer="Diff3M Explorer",
            patient_orientation=("L", "F"),
        )
        # present and empty: a mirrored film cannot be told from a plain one
        image.PatientOrientation = None  # type: ignore[assignment]
        image.SeriesDescription = f"Diff3M: {title}"[:64]
        image.ImageComments = f"{NOTICE} {detector.config.name} {detector.checkpoint.sha256[:12]}"
        image.SoftwareVersions = f"diff3m {get_software_versions()['diff3m']}"
        buffer = io.BytesIO()
        image.save_as(buffer)
        files[name] = buffer.getvalue()
    return files
