"""Films and analyses as values of the viewer: pixels, the normal film, maps and findings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import torch

from diff3m.analysis import Analysis
from diff3m.case import Case
from diff3m.export.files import FULL_COLOR
from diff3m.findings import Finding, mask_box, native_box, outline_mask
from diff3m.imaging import PreparedFilm, Radiograph
from diff3m.imaging.compose import compose_pseudo_healthy
from diff3m.scoring import Scoring, compute_heat_map, select_region

from ..render import wording
from ..runtime.storage import store_picture
from .viewer import ViewerFilm, ViewerFinding, ViewerMap, Window, build_film, encode_film, encode_map, window_presets

DIFFERENCE = "Difference"
TRUTH = "the truth"
FORMING_SIDE = 768  # pixels of a normal film that is still forming


def make_film_picture(film: Radiograph, name: str, size: int) -> ViewerFilm:
    """Return a film before its analysis, at its own resolution.

    name: what stands over it. size: pixels of the model's square.
    """
    tags = (f"{film.pixels.shape[1]}×{film.pixels.shape[0]}", f"the model sees {size}×{size}")
    if film.at_detector:
        tags = (*tags, "lengths are those on the detector")
    return build_film(_select_pixels(film), store=store_picture, name=name, spacing_mm=film.spacing_mm, tags=tags)


def list_presets(film: Radiograph) -> tuple[Window, ...]:
    """Return grey windows: those of the header first, then lungs, mediastinum and bones from the film's own greys."""
    header = [
        Window(f"Header: {window.explanation}", (window.low + window.high) / 2, window.high - window.low)
        for window in film.windows
    ]
    pixels = film.unwindowed if _has_header_window(film) else film.pixels
    return (*(header if _has_header_window(film) else ()), *window_presets(pixels))


def select_first_preset(film: Radiograph) -> str | None:
    """Return the header's own window, where the film is shown with its full range; else the full range."""
    return f"Header: {film.windows[0].explanation}" if _has_header_window(film) else None


def _has_header_window(film: Radiograph) -> bool:
    return film.full_range is not None and bool(film.windows)


def _select_pixels(film: Radiograph) -> np.ndarray:
    """Return the film's full range where a linear window of the header hides some of it.

    The pixels have 8 bits where that loses nothing.
    """
    pixels = film.full_range if _has_header_window(film) else film.pixels
    levels = pixels * np.float32(255)
    integers = np.round(levels)
    return integers.astype(np.uint8) if np.abs(levels - integers).max() < 1e-3 else pixels


def add_forming_normal(estimate: np.ndarray, case: Case, picture: ViewerFilm, scoring: Scoring) -> ViewerFilm:
    """Return the viewer's film with an estimate (S, S) of its normal film, at a lower resolution and in 8 bits."""
    film = case.film
    factor = min(1.0, FORMING_SIDE / max(film.pixels.shape))

    def reduce(pixels: np.ndarray) -> np.ndarray:
        return cv2.resize(pixels, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA) if factor < 1 else pixels

    pixels = reduce(film.pixels)
    top, bottom, left, right = (round(factor * edge) for edge in case.prepared.box)
    box = top, min(bottom, pixels.shape[0]), left, min(right, pixels.shape[1])
    square, reconstruction = (torch.from_numpy(image)[None, None] for image in (case.x0, estimate))
    in_region = select_region(square, reconstruction, scoring)
    heat = compute_heat_map(square, in_region, scoring.heat_sigma)[0, 0].numpy()
    normal = compose_pseudo_healthy(pixels, replace(case.prepared, box=box), estimate, heat, scoring.normal_limit)
    if _has_header_window(film):
        normal = _map_to_full_range(normal, pixels, reduce(film.unwindowed), film)
    title = wording.normal_film_title(case.record)
    return replace(picture, normal=_store_normal(np.round(normal * 255).astype(np.uint8)), normal_name=title)


def _map_to_full_range(normal: np.ndarray, pixels: np.ndarray, full_range: np.ndarray, film: Radiograph) -> np.ndarray:
    """Return a normal film, whose film has `pixels` under its header's window, in the greys of the full range."""
    window = film.windows[0]
    return np.clip(full_range + (normal - pixels) * np.float32(window.high - window.low), 0, 1)


def _store_normal(normal: np.ndarray) -> Path:
    return store_picture(encode_film(normal))


def add_analysis(
    picture: ViewerFilm,
    analysis: Analysis,
    case: Case,
    scoring: Scoring,
    findings: Sequence[Finding],
    truth: np.ndarray | None = None,
) -> ViewerFilm:
    """Add normal film, map and findings of an analysis to the viewer's film.

    Parameters:
        findings: of `diff3m.findings.find_findings`, in their order. Each shows its largest difference.
        truth: (S, S) bool, where a film is known to be abnormal; each of its parts is outlined.
    """
    places = tuple(
        ViewerFinding(
            finding.zone,
            wording.signed_percent(finding.largest),
            finding.box,
            finding.outline,
            finding.stands_out,
        )
        for finding in findings
    )
    if truth is not None:
        places = (*places, *_make_truth_findings(truth, case))
    normal, film = analysis.pseudo_healthy, case.film
    if _has_header_window(film):
        normal = _map_to_full_range(normal, film.pixels, film.unwindowed, film)
    return replace(
        picture,
        normal=_store_normal(normal),
        normal_name=wording.normal_film_title(analysis.record),
        maps=(make_analysis_map(analysis, scoring, case.prepared, case.film.pixels.shape),),
        findings=places,
    )


def _make_truth_findings(truth: np.ndarray, case: Case) -> list[ViewerFinding]:
    """Return each connected part of the truth (S, S) as a place of the film as read."""
    count, labels = cv2.connectedComponents(truth.astype(np.uint8), connectivity=8)
    parts = [labels == index for index in range(1, count)]
    return [
        ViewerFinding(TRUTH, "", native_box(mask_box(part), case), outline_mask(part, case), known=True)
        for part in parts
    ]


def make_analysis_map(
    analysis: Analysis, scoring: Scoring, prepared: PreparedFilm, shape: tuple[int, int]
) -> ViewerMap:
    """Return an analysis' signed difference, whose numbers the findings show. shape: of the film that it lies on."""
    (top, bottom, left, right), (height, width) = prepared.box, shape
    box = (top / height, left / width, bottom / height, right / width)
    return make_difference_map(analysis.heat_map, scoring.heat_normal, box=box)


def make_difference_map(
    values: np.ndarray, threshold: float, full: float | None = None, name: str = DIFFERENCE, **options: object
) -> ViewerMap:
    """Return a signed map (S, S) for the viewer.

    full: the size in full color; default, a multiple of the threshold. options: further fields of `ViewerMap`.
    """
    data, scale = encode_map(values)
    return ViewerMap(name, store_picture(data), scale, full or FULL_COLOR * threshold, threshold, **options)
