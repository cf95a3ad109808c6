"""Diff3M: anomaly detection on chest X-rays with a diffusion model conditioned on the patient's record."""

from .analysis import Analysis
from .detector import Detector
from .ehr import EHRError, EHRSchema, Feature, paper_schema
from .imaging import Radiograph, RadiographError, read_radiograph

__all__ = [
    "Analysis",
    "Detector",
    "EHRError",
    "EHRSchema",
    "Feature",
    "Radiograph",
    "RadiographError",
    "paper_schema",
    "read_radiograph",
]
