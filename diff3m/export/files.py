"""An Analysis as JSON and PNG files, with settings, checkpoint hash, versions, date and notice."""

from __future__ import annotations

import json
import math
import platform
from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import cv2
import numpy as np
import torch

from ..analysis import Analysis
from ..detector import Detector
from ..scoring.score import Scoring
from .overlay import draw_overlay, enlarge, reduce_height, to_png, to_uint8

NOTICE = "For research and teaching. Not a medical device; not for diagnosis."
PICTURE_HEIGHT = 512  # pixels of the pictures at the model's side
MAX_MAP_HEIGHT = 1024  # pixels of the film under the difference
OPACITY = 0.6  # of the colors over the film
FULL_COLOR = 4.0  # full color at this multiple of the normal heat


def get_software_versions() -> dict[str, str]:
    """Return the versions of software that a result depends on."""
    try:
        own = version("diff3m")
    except PackageNotFoundError:
        own = "source"
    return {"diff3m": own, "torch": torch.__version__, "python": platform.python_version()}


def analysis_to_dict(analysis: Analysis, detector: Detector) -> dict:
    """Return an analysis without its pictures as JSON values, which contain no file name and no header text."""
    return {
        "notice": NOTICE,
        "score": analysis.score,
        "percentile": analysis.percentile,
        "compared_with": {"view": analysis.compared_with, "normal_films": analysis.normals},
        "components": [
            {**asdict(component), "value": _replace_nan(value), "z": _replace_nan(z)}
            for component, value, z in analysis.components
        ],
        "attention": analysis.attention,
        "record": analysis.record,
        "notes": list(analysis.notes),
        "accepted": list(analysis.accepted),
        "settings": asdict(analysis.settings),
        "seconds": {stage: round(value, 4) for stage, value in analysis.seconds.items()},
        **describe_provenance(detector),
    }


def describe_provenance(detector: Detector) -> dict:
    """Return the provenance of a result as JSON values: checkpoint, precision, versions and date."""
    return {
        "checkpoint": {
            "name": detector.config.name,
            "weights_sha256": detector.checkpoint.sha256,
        },
        "precision": detector.precision,
        "versions": get_software_versions(),
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
    }


def _replace_nan(value: float | None) -> float | None:
    """Return the number, or None for NaN, which JSON does not have."""
    return None if value is None or math.isnan(value) else value


def write_json(path: str | Path, values: dict) -> None:
    """Write indented UTF-8 JSON, creating folders."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(values, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def draw_heat_over_film(film: np.ndarray, heat: np.ndarray, heat_normal: float) -> np.ndarray:
    """Draw a heat map over its film, both (H, W), with the default display settings: (H, W, 3) uint8.

    heat_normal: limit of the heat on normal films, below which nothing is colored.
    """
    return draw_overlay(film, heat, alpha=OPACITY, threshold=heat_normal, full=FULL_COLOR * heat_normal)


def draw_difference(analysis: Analysis, scoring: Scoring, max_height: int = MAX_MAP_HEIGHT) -> np.ndarray:
    """Draw the heat map over the whole film, reduced to at most `max_height` pixels: (H, W, 3) uint8.

    Raises LookupError for an analysis without its film.
    """
    pixels, prepared = analysis.analyzed_case.film.pixels, analysis.analyzed_case.prepared
    film = reduce_height(pixels, max_height)
    scale = np.array(film.shape) / pixels.shape
    (top, left), (bottom, right) = (
        np.round(np.array(corner) * scale).astype(int) for corner in (prepared.box[::2], prepared.box[1::2])
    )
    heat = np.zeros(film.shape, np.float32)
    heat[top:bottom, left:right] = cv2.resize(
        analysis.heat_map, (int(right - left), int(bottom - top)), interpolation=cv2.INTER_CUBIC
    )
    return draw_heat_over_film(film, heat, scoring.heat_normal)


def render_pictures(analysis: Analysis, scoring: Scoring) -> dict[str, np.ndarray]:
    """Render the pictures of an analysis as grey or RGB uint8, by name.

    film, normal_film: on the film's own pixels. difference: the heat map over the film, at most 1,024 pixels high.
    reconstruction: the model's own picture, at its side. residual: film − reconstruction, mid-grey = none. Both are
    512 pixels high. Raises LookupError for an analysis without its film.
    """
    reconstruction, residual = (
        enlarge(image, PICTURE_HEIGHT, analysis.aspect) for image in (analysis.reconstruction, analysis.residual)
    )
    return {
        "film": to_uint8(analysis.analyzed_case.film.pixels),
        "normal_film": to_uint8(analysis.pseudo_healthy),
        "difference": draw_difference(analysis, scoring),
        "reconstruction": to_uint8(reconstruction),
        "residual": to_uint8(0.5 + residual),
    }


def write_pictures(folder: str | Path, analysis: Analysis, scoring: Scoring) -> list[Path]:
    """Write the pictures of `render_pictures` as PNG files; returns their paths."""
    return write_png_files(folder, render_pictures(analysis, scoring))


def write_png_files(folder: str | Path, images: Mapping[str, np.ndarray]) -> list[Path]:
    """Write grey or RGB uint8 images as PNG files by name, creating the folder; returns their paths."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, image in images.items():
        paths.append(folder / f"{name}.png")
        paths[-1].write_bytes(to_png(image))
    return paths
