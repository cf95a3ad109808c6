"""Analyses stored as files, which are valid for the checkpoint that computed them."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from pathlib import Path

import numpy as np

from ..analysis import Analysis, Settings
from ..case import Case
from ..detector import Detector

ARRAYS = ("film", "reconstruction", "heat_map")
VALUES = ("score", "percentile", "compared_with", "normals", "attention", "record", "aspect", "seconds")


def compute_fingerprint(detector: Detector) -> str:
    """Hash what an analysis depends on besides film, record and settings: weights, score and calibration."""
    scoring = json.dumps(detector.scoring.to_dict(), sort_keys=True)
    return hashlib.sha256(f"{detector.checkpoint.sha256} {scoring}".encode()).hexdigest()


def save_analysis(path: Path, analysis: Analysis, detector: Detector) -> None:
    """Write an analysis as .npz: pictures as float16, the rest as JSON.

    Of the reconstructions only the displayed one is stored.
    """
    values = {name: getattr(analysis, name) for name in VALUES}
    values |= {"made_with": compute_fingerprint(detector), "settings": asdict(analysis.settings)}
    values |= {"notes": list(analysis.notes), "accepted": list(analysis.accepted)}
    values["components"] = [[value, z] for _, value, z in analysis.components]
    arrays = {name: getattr(analysis, name).astype(np.float16) for name in ARRAYS}
    np.savez_compressed(path, values=np.array(json.dumps(values)), **arrays)


def load_analysis(path: Path, detector: Detector, case: Case | None = None) -> Analysis | None:
    """Load the analysis at `path`; return None if there is none, or one of other weights, score or calibration.

    case: film and record of the analysis, which the file does not hold; without it there is no pseudo-healthy film.
    """
    if not path.is_file():
        return None
    with np.load(path, allow_pickle=False) as arrays:
        values = json.loads(str(arrays["values"]))
        pictures = {name: arrays[name].astype(np.float32) for name in ARRAYS}
    if values.pop("made_with") != compute_fingerprint(detector):
        return None
    settings = Settings(**values.pop("settings"))
    film, reconstruction = pictures["film"], pictures["reconstruction"]
    components = zip(detector.scoring.components, values.pop("components"), strict=True)
    return Analysis(
        film=film,
        reconstruction=reconstruction,
        residual=film - reconstruction,
        heat_map=pictures["heat_map"],
        settings=settings,
        reconstructions={settings.noise_level: reconstruction},
        components=tuple((component, value, z) for component, (value, z) in components),
        notes=tuple(values.pop("notes")),
        case=case,
        heat_sigma=detector.scoring.heat_sigma,
        heat_normal=detector.scoring.normal_limit,
        accepted=tuple(values.pop("accepted", ())),  # absent from files of shipped examples
        **values,
    )
