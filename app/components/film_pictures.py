"""Films and analyses as what the viewer shows: pixels, the normal film, maps, and findings with their places."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np

from diff3m.analysis import Analysis
from diff3m.case import Case
from diff3m.export.files import FULL_COLOR
from diff3m.imaging import PreparedFilm, Radiograph
from diff3m.imaging.compose import compose_pseudo_healthy
from diff3m.imaging.organs import Organs, segment_organs
from diff3m.imaging.zones import name_zone, zone_map
from diff3m.scoring import Scoring, find_regions

from ..runtime.storage import keep_picture
from .viewer import Finding, ViewerFilm, ViewerMap, Window, build_film, encode_film, encode_map, window_presets

DIFFERENCE = "Difference"
TRUTH = "changed here (the truth)"
OUTLINE_SCALE = 4  # outlines are drawn on so much finer a grid than the map's
FORMING_SIDE = 768  # pixels of a normal film that is still forming


def film_picture(film: Radiograph, name: str, size: int) -> ViewerFilm:
    """A film before its analysis, at its own resolution.

    name: what stands over it. size: pixels of the model's square.
    """
    tags = (f"{film.pixels.shape[1]}×{film.pixels.shape[0]}", f"the model sees {size}×{size}")
    if film.at_detector:
        tags = (*tags, "lengths are those on the detector")
    return build_film(_shown_pixels(film), store=keep_picture, name=name, spacing_mm=film.spacing_mm, tags=tags)


def presets(film: Radiograph) -> tuple[Window, ...]:
    """Grey windows: those of the header first, then lungs, mediastinum and bones from the film's own greys."""
    header = [
        Window(f"Header: {window.explanation}", (window.low + window.high) / 2, window.high - window.low)
        for window in film.windows
    ]
    pixels = film.unwindowed if _has_header_window(film) else film.pixels
    return (*(header if _has_header_window(film) else ()), *window_presets(pixels))


def first_preset(film: Radiograph) -> str | None:
    """The header's own window, where the film is shown with its full range; else the full range."""
    return f"Header: {film.windows[0].explanation}" if _has_header_window(film) else None


def _has_header_window(film: Radiograph) -> bool:
    return film.full_range is not None and bool(film.windows)


def _shown_pixels(film: Radiograph) -> np.ndarray:
    """The film's full range where a linear window of the header hides some of it; in 8 bits where that loses nothing."""
    pixels = film.full_range if _has_header_window(film) else film.pixels
    levels = pixels * np.float32(255)
    rounded = np.round(levels)
    return rounded.astype(np.uint8) if np.abs(levels - rounded).max() < 1e-3 else pixels


def forming_normal(estimate: np.ndarray, case: Case, picture: ViewerFilm, scoring: Scoring) -> ViewerFilm:
    """The viewer's film with an estimate (S, S) of its normal film, at a lower resolution and in 8 bits."""
    limits = scoring.heat_sigma, scoring.heat_normal if scoring.calibration else 0.0
    normal = _in_shown_greys(compose_pseudo_healthy(case.film.pixels, case.prepared, estimate, *limits), case.film)
    factor = min(1.0, FORMING_SIDE / max(normal.shape))
    small = cv2.resize(normal, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA) if factor < 1 else normal
    return replace(picture, normal=_store_normal(np.round(small * 255).astype(np.uint8)))


def _in_shown_greys(normal: np.ndarray, film: Radiograph) -> np.ndarray:
    """A normal film in the greys in which its film is shown."""
    if not _has_header_window(film):
        return normal
    window = film.windows[0]
    return np.clip(film.unwindowed + (normal - film.pixels) * np.float32(window.high - window.low), 0, 1)


def _store_normal(normal: np.ndarray) -> Path:
    return keep_picture(encode_film(normal))


def analyzed_picture(
    picture: ViewerFilm,
    analysis: Analysis,
    case: Case,
    scoring: Scoring,
    places: Sequence[Place],
    truth: np.ndarray | None = None,
) -> ViewerFilm:
    """The viewer's film with all that an analysis adds to it.

    places: as `find_places` gives them. truth: (S, S) bool, where a film that was made for teaching was changed.
    """
    shape = case.film.pixels.shape
    box = _box_shares(case.prepared, shape)
    findings = tuple(_finding(place.mask, place.label, place.value, case.prepared, shape) for place in places)
    if truth is not None and truth.any():
        findings = (*findings, _finding(truth, TRUTH, "", case.prepared, shape))
    return replace(
        picture,
        normal=_store_normal(_in_shown_greys(analysis.pseudo_healthy, case.film)),
        maps=_maps(analysis, scoring, box),
        findings=findings,
    )


def _maps(analysis: Analysis, scoring: Scoring, box: tuple[float, float, float, float]) -> tuple[ViewerMap, ...]:
    """The signed difference."""
    data, scale = encode_map(analysis.heat_map)
    full = FULL_COLOR * scoring.heat_normal
    return (ViewerMap(DIFFERENCE, keep_picture(data), scale, full, scoring.heat_normal, box=box),)


@dataclass(frozen=True, eq=False)
class Place:
    """A place beyond what 95 % of the places of normal films stay under.

    label: its zone. value: the map's peak inside, as text. stands_out: whether that is beyond `Scoring.place_normal`.
    mask: (S, S) bool, of the prepared film.
    """

    label: str
    value: str
    stands_out: bool
    mask: np.ndarray


def find_places(analysis: Analysis, scoring: Scoring) -> tuple[Place, ...]:
    """Find the places of the map that is shown first, the one with the largest value first."""
    values, threshold = analysis.heat_map, scoring.heat_normal
    regions = find_regions(values, threshold, scoring.margin)
    if not regions:
        return ()
    # a white lung is seen on the normal film alone
    organs = Organs.from_masks(segment_organs(analysis.reconstruction[None])[0], analysis.film.shape[0])
    zones = zone_map(organs)
    peaks = [float(values[region.mask][np.abs(values[region.mask]).argmax()]) for region in regions]
    order = sorted(range(len(regions)), key=lambda index: -abs(peaks[index]))
    return tuple(
        Place(
            name_zone(regions[index].mask, zones),
            f"{peaks[index]:+.1%}".replace("-", "−"),
            abs(peaks[index]) >= scoring.place_normal,
            regions[index].mask,
        )
        for index in order
    )


def _finding(mask: np.ndarray, label: str, value: str, prepared: PreparedFilm, shape: tuple[int, int]) -> Finding:
    """A mask (S, S) of the prepared film as a place of the film as read."""
    side = mask.shape[0] * OUTLINE_SCALE
    fine = cv2.resize(mask.astype(np.float32), (side, side), interpolation=cv2.INTER_CUBIC) > 0.5
    contours, _ = cv2.findContours(fine.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    contour = cv2.approxPolyDP(max(contours, key=cv2.contourArea), 0.7, True)[:, 0]
    top, left, bottom, right = _box_shares(prepared, shape)
    rows = top + (contour[:, 1] + 0.5) / side * (bottom - top)
    columns = left + (contour[:, 0] + 0.5) / side * (right - left)
    box = tuple(float(edge) for edge in (rows.min(), columns.min(), rows.max(), columns.max()))
    outline = tuple((round(float(row), 4), round(float(column), 4)) for row, column in zip(rows, columns, strict=True))
    return Finding(label, value, box, outline if len(outline) > 2 else None)


def _box_shares(prepared: PreparedFilm, shape: tuple[int, int]) -> tuple[float, float, float, float]:
    """The prepared film's box as (top, left, bottom, right), shares of the film's sides."""
    (top, bottom, left, right), (height, width) = prepared.box, shape
    return top / height, left / width, bottom / height, right / width


def box_in_prepared(
    box: tuple[float, float, float, float], prepared: PreparedFilm, shape: tuple[int, int]
) -> tuple[float, float, float, float]:
    """A rectangle of the film as read, (top, left, bottom, right) in shares, as one of the prepared film.

    It is empty (bottom ≤ top or right ≤ left) where it lies beside what the model sees.
    """
    top, left, bottom, right = _box_shares(prepared, shape)
    rows = [min(max((edge - top) / (bottom - top), 0.0), 1.0) for edge in (box[0], box[2])]
    columns = [min(max((edge - left) / (right - left), 0.0), 1.0) for edge in (box[1], box[3])]
    return rows[0], columns[0], rows[1], columns[1]
