"""Findings: the places where a film differs from its normal film, named by zone and side of the patient.

Everything that is said of a place (where it is, how far it differs, whether it stands out) is measured once, here, on
the blurred signed difference that is shown, so that page, report and table agree.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass

import cv2
import numpy as np

from .analysis import Analysis
from .case import Case
from .imaging.organs import Organs, segment_organs
from .imaging.zones import OUTSIDE, SIDES, name_zone, split_by_organ, zone_map
from .scoring.regions import Region, find_regions
from .scoring.score import Scoring

Box = tuple[float, float, float, float]  # top, left, bottom, right as shares of a picture's sides
MAX_FINDINGS = 6
OUTLINE_SCALE = 4  # outlines are traced on masks enlarged by this factor, so that they are smooth


@dataclass(frozen=True)
class Finding:
    """One connected place, in one organ, where a film differs from its normal film.

    zone: where it lies, by the side of the patient, as `zones.name_zone` says it.
    box, outline: (top, left, bottom, right) and points (row, column), as shares of the native film's sides.
    prepared_box: the same box as shares of the prepared film's sides, as `explain.Request` takes it.
    mean, largest: the signed difference inside, film − normal film after the blur, in shares of the grey range:
        positive where the film is brighter than expected. |mean| ≤ |largest|.
    share: of the prepared film that it covers, 0 to 1.
    weight: share × |mean|.
    stands_out: whether its largest difference is one that 95 % of normal films have nowhere; never outside the lungs.
    """

    zone: str
    box: Box
    outline: tuple[tuple[float, float], ...]
    prepared_box: Box
    mean: float
    largest: float
    share: float
    weight: float
    stands_out: bool

    @property
    def side(self) -> str | None:
        """The side of the patient, "right" or "left"; None for the heart, the mediastinum and what lies outside."""
        first = self.zone.split()[0]
        return first if first in SIDES.values() else None

    def to_dict(self) -> dict:
        """Return the finding as plain JSON values, with its side."""
        return {**asdict(self), "side": self.side, "outline": [list(point) for point in self.outline]}


def find_findings(
    analysis: Analysis,
    case: Case,
    scoring: Scoring,
    threshold: float | None = None,
    limit: int = MAX_FINDINGS,
) -> list[Finding]:
    """Find the places that differ by more than a threshold.

    case: of the analysis, for the place of the prepared film in the native one. threshold: in shares of the grey range,
    default the value that 95 % of the points of normal films stay under. limit: how many at most. Returns the heaviest
    first, those outside the lungs last.
    """
    threshold = scoring.heat_normal if threshold is None else threshold
    findings = []
    for region, zone in _find_places(analysis.heat_map, analysis.reconstruction, threshold, scoring.margin):
        box = mask_box(region.mask)
        findings.append(
            Finding(
                zone=zone,
                box=native_box(box, case),
                outline=outline_mask(region.mask, case),
                prepared_box=box,
                mean=region.mean,
                largest=region.largest,
                share=region.share,
                weight=region.share * abs(region.mean),
                stands_out=zone != OUTSIDE and abs(region.largest) >= scoring.place_normal,
            )
        )
    return sorted(findings, key=lambda finding: (finding.zone == OUTSIDE, -finding.weight))[:limit]


def largest_in_organs(heat: np.ndarray, reconstruction: np.ndarray, scoring: Scoring) -> float:
    """Return the largest size of a heat map in a place in the lungs, the heart or the mediastinum.

    heat, reconstruction: (S, S). Places are those beyond the scoring's `heat_normal`; 0 where there is none.
    """
    places = _find_places(heat, reconstruction, scoring.heat_normal, scoring.margin)
    return max((abs(region.largest) for region, zone in places if zone != OUTSIDE), default=0.0)


def _find_places(
    heat: np.ndarray, reconstruction: np.ndarray, threshold: float, margin: float
) -> Iterator[tuple[Region, str]]:
    """Yield the regions of a heat map (S, S) beyond a threshold, split by organ, each with its zone."""
    zones = organ_zones(reconstruction)
    for region in find_regions(heat, threshold, margin):
        for mask in split_by_organ(region.mask, zones):
            yield Region.of(mask, heat), name_zone(mask, zones)


def finding_regions(findings: Sequence[Finding], limit: int = 3) -> tuple[tuple[str, Box], ...]:
    """Return the first findings as (name, box) for `explain.Request.regions`: zones, numbered where one repeats."""
    regions: list[tuple[str, Box]] = []
    counts: Counter[str] = Counter()
    for finding in findings[:limit]:
        counts[finding.zone] += 1
        number = counts[finding.zone]
        regions.append((finding.zone if number == 1 else f"{finding.zone} ({number})", finding.prepared_box))
    return tuple(regions)


def organ_zones(reconstruction: np.ndarray) -> np.ndarray:
    """Return the zone of every point of a prepared film: (S, S) uint8, see `zones.zone_map`.

    reconstruction: (S, S), its normal film, on which the organs are outlined: a white lung has no lung in the film
    itself.
    """
    return zone_map(Organs.from_masks(segment_organs(reconstruction[None])[0], len(reconstruction)))


def name_box(box: Box, zones: np.ndarray) -> str:
    """Name where a box lies; see `zones.name_zone`.

    box: shares of the prepared film's sides. zones: of `organ_zones`.
    """
    height, width = zones.shape
    top, left = min(int(box[0] * height), height - 1), min(int(box[1] * width), width - 1)
    bottom, right = max(round(box[2] * height), top + 1), max(round(box[3] * width), left + 1)
    mask = np.zeros(zones.shape, bool)
    mask[top:bottom, left:right] = True
    return name_zone(mask, zones)


def native_box(box: Box, case: Case) -> Box:
    """Return a box in shares of the prepared film's sides as shares of the native film's."""
    return *_native_point(box[0], box[1], case), *_native_point(box[2], box[3], case)


def prepared_box(box: Box, case: Case) -> Box:
    """Return a box in shares of the native film's sides as shares of the prepared film's, cut at its border."""
    height, width = case.film.pixels.shape
    top, bottom, left, right = case.prepared.box
    rows = ((row * height - top) / (bottom - top) for row in box[::2])
    columns = ((column * width - left) / (right - left) for column in box[1::2])
    (first_row, last_row), (first_column, last_column) = (
        tuple(min(max(share, 0.0), 1.0) for share in shares) for shares in (rows, columns)
    )
    return first_row, first_column, last_row, last_column


def _native_point(row: float, column: float, case: Case) -> tuple[float, float]:
    height, width = case.film.pixels.shape
    top, bottom, left, right = case.prepared.box
    return (top + row * (bottom - top)) / height, (left + column * (right - left)) / width


def mask_box(mask: np.ndarray) -> Box:
    """Return the box around a mask (S, S) that is not empty, as shares of its sides."""
    height, width = mask.shape
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return (
        float(rows[0] / height),
        float(columns[0] / width),
        float((rows[-1] + 1) / height),
        float((columns[-1] + 1) / width),
    )


def outline_mask(mask: np.ndarray, case: Case) -> tuple[tuple[float, float], ...]:
    """Return the outer contour of a connected mask (S, S) as points in shares of the native film's sides."""
    height, width = (OUTLINE_SCALE * side for side in mask.shape)
    full_mask = cv2.resize(mask.astype(np.float32), (width, height), interpolation=cv2.INTER_LINEAR) > 0.5
    # a mask one point wide can lose its corners in the enlargement, and with them its connection
    full_mask |= cv2.resize(mask.astype(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST) > 0
    contours, _ = cv2.findContours(full_mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    contour = cv2.approxPolyDP(max(contours, key=cv2.contourArea), 1.0, closed=True)[:, 0]
    return tuple(_native_point((y + 0.5) / height, (x + 0.5) / width, case) for x, y in contour.tolist())
