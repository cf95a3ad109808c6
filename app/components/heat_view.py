"""The heat view: film beside reconstruction and heat map, redrawn under other display settings without the model."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from diff3m.analysis import Analysis
from diff3m.explain import Box
from diff3m.export.files import FULL_COLOR, PICTURE_HEIGHT
from diff3m.export.overlay import PALETTES, enlarge, numbered, outlined, overlay
from diff3m.scoring.regions import Region, find_regions
from diff3m.scoring.score import Scoring

from ..render import panels, wording

MODES = {"Brighter or darker than expected": "signed", "Size of the difference only": "absolute"}
ANOMALY_MODE = "Anomaly map, learned from painted lesions"
MIDDLE = (0.5, 0.5)
MOST_THRESHOLD = 0.5  # grey levels: the end of its control
EXPLAINED = 3  # outlined regions, largest first


@dataclass(frozen=True)
class View:
    """What is drawn again without the model: an analysis, and the true mask (S, S) bool of a case whose truth is
    known."""

    analysis: Analysis
    truth: np.ndarray | None = None


@dataclass(frozen=True)
class Look:
    """Display settings. opacity 0..1; threshold in grey levels; mode: one of `modes`; colors: a name of PALETTES;
    contours: regions outlined and numbered; level, width: the grey window, as shares of the range; zoom: 1 = the
    whole film; middle: its center (row, column) as shares."""

    opacity: float
    threshold: float
    mode: str = next(iter(MODES))
    colors: str = next(iter(PALETTES))
    contours: bool = True
    level: float = 0.5
    width: float = 1.0
    zoom: float = 1.0
    middle: tuple[float, float] = MIDDLE

    @property
    def corner(self) -> tuple[float, float]:
        """Upper left of what is shown, as shares of the film's height and width."""
        row, column = (float(np.clip(place - 0.5 / self.zoom, 0, 1 - 1 / self.zoom)) for place in self.middle)
        return row, column

    def place(self, row: float, column: float) -> tuple[float, float]:
        """A place of the shown picture (shares of its sides) as a place of the film."""
        top, left = self.corner
        return top + row / self.zoom, left + column / self.zoom


def modes(scoring: Scoring) -> list[str]:
    """What the heat map can show of a checkpoint's results."""
    return [*MODES, *([ANOMALY_MODE] if scoring.uses_head else [])]


def windowed(image: np.ndarray, level: float, width: float) -> np.ndarray:
    """Grey window: `level` becomes mid-grey and `width` the whole range. (H, W) → [0, 1]."""
    return np.clip((image - level) / max(width, 1e-3) + 0.5, 0, 1)


def _magnified(image: np.ndarray, look: Look, aspect: float) -> np.ndarray:
    """The shown part of a picture (S, S), as high as every picture of the page."""
    larger = enlarge(image, round(PICTURE_HEIGHT * look.zoom), aspect)
    top, left = (round(share * side) for share, side in zip(look.corner, larger.shape[:2], strict=True))
    return larger[top : top + PICTURE_HEIGHT, left : left + round(PICTURE_HEIGHT * aspect)]


def films(view: View, look: Look) -> tuple[str, str]:
    """Film and reconstruction under the same window and zoom: paths of PNG files."""
    found = view.analysis
    film, made = (
        _magnified(windowed(image, look.level, look.width), look, found.aspect)
        for image in (found.film, found.reconstruction)
    )
    return panels.kept_picture(film), panels.kept_picture(made)


def heat(view: View, look: Look, scoring: Scoring) -> tuple[np.ndarray, str, str]:
    """The heat map over the film: (picture (H, W, 3) uint8, its alternative text, what is to be said about it as
    HTML)."""
    found, mode = view.analysis, MODES.get(look.mode, "absolute")
    learned, shown, threshold = _learned(view, look), _shown(view, look), _threshold(view, look, scoring)
    full = max(1.0 if learned else FULL_COLOR * scoring.heat_normal, threshold + 0.02)
    film = _magnified(windowed(found.film, look.level, look.width), look, found.aspect)
    values = _magnified(shown, look, found.aspect)
    picture = overlay(film, values, alpha=look.opacity, threshold=threshold, full=full, mode=mode, palette=look.colors)
    places = outlined_regions(view, look, scoring)
    for number, place in enumerate(places, start=1):
        picture = numbered(picture, _magnified(place.mask.astype(np.float32), look, found.aspect) > 0.5, str(number))
    if view.truth is not None:
        picture = outlined(picture, _magnified(view.truth.astype(np.float32), look, found.aspect) > 0.5)
    if learned:
        summary, legend = wording.anomaly_summary(found.anomaly_map, threshold, scoring.margin), wording.ANOMALY_LEGEND
    else:
        summary = wording.heat_summary(found.heat_map, threshold, scoring.margin)
        legend = wording.color_names(look.colors, mode) + wording.heat_legend(full)
    said = panels.heat_words(summary, legend, wording.region_sentences(places, learned), view.truth is not None)
    return cv2.convertScaleAbs(picture), summary, said


def _learned(view: View, look: Look) -> bool:
    """Whether the anomaly map is shown instead of the difference."""
    return look.mode == ANOMALY_MODE and view.analysis.anomaly_map is not None


def _shown(view: View, look: Look) -> np.ndarray:
    """The map that is shown (S, S): the anomaly map's probabilities, or the signed difference."""
    return view.analysis.anomaly_map if _learned(view, look) else view.analysis.heat_map


def _threshold(view: View, look: Look, scoring: Scoring) -> float:
    """The threshold in the units of the map that is shown. The control's are grey levels; for the anomaly map its
    start, what 95 % of the places of normal films stay under, becomes the same of that map, and its end a probability
    of 1."""
    if not _learned(view, look):
        return look.threshold
    return float(np.interp(look.threshold, (0, scoring.heat_normal, MOST_THRESHOLD), (0, scoring.map_normal, 1)))


def outlined_regions(view: View, look: Look, scoring: Scoring) -> list[Region]:
    """The regions that are outlined and numbered, in order."""
    if not look.contours:
        return []
    return find_regions(_shown(view, look), _threshold(view, look, scoring), scoring.margin)[:6]


def boxes(view: View, look: Look, scoring: Scoring) -> tuple[tuple[str, Box], ...]:
    """Rectangles that the reader may want explained, with their names: around each outlined region, and the part that
    is magnified."""
    found = []
    for number, region in enumerate(outlined_regions(view, look, scoring)[:EXPLAINED], start=1):
        (top, left), (bottom, right) = (edge(np.argwhere(region.mask), axis=0) for edge in (np.min, np.max))
        side = region.mask.shape[0]
        found.append((f"Outlined region {number}", (top / side, left / side, (bottom + 1) / side, (right + 1) / side)))
    if look.zoom > 1:
        top, left = look.corner
        found.append(("The magnified part", (top, left, top + 1 / look.zoom, left + 1 / look.zoom)))
    return tuple(found)
