"""Diff3M: anomaly detection on chest X-rays with a diffusion model conditioned on the patient's record.

Names are imported when they are first used, so that what needs no network starts without torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .analysis import Analysis
    from .detector import Detector
    from .ehr import EHRError, EHRSchema, Feature, paper_schema
    from .imaging import Radiograph, RadiographError, read_radiograph

_MODULES = {
    "Analysis": "analysis",
    "Detector": "detector",
    "EHRError": "ehr",
    "EHRSchema": "ehr",
    "Feature": "ehr",
    "Radiograph": "imaging",
    "RadiographError": "imaging",
    "paper_schema": "ehr",
    "read_radiograph": "imaging",
}

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


def __getattr__(name: str) -> object:
    """Import a public name on first use (PEP 562)."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f".{_MODULES[name]}", __name__), name)
