"""Findings: where they lie in the native film, what is measured of them, in which order they come."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from diff3m import findings
from diff3m.case import Case
from diff3m.findings import (
    find_findings,
    finding_regions,
    largest_in_organs,
    name_box,
    native_box,
    organ_zones,
    prepared_box,
)
from diff3m.imaging import PreparedFilm, Radiograph
from diff3m.imaging.zones import HEART, OUTSIDE, ZONES
from diff3m.scoring.regions import find_regions
from diff3m.scoring.score import Scoring

SIZE = 100
SCORING = Scoring(heat_normal=0.02, place_normal=0.045, margin=0.08)
PLACES = {  # rows and columns of the prepared film
    "right upper zone": (slice(20, 30), slice(20, 30)),
    "left lower zone": (slice(70, 80), slice(70, 80)),
    HEART: (slice(60, 66), slice(46, 52)),
    OUTSIDE: (slice(84, 92), slice(10, 40)),
}


@pytest.fixture(autouse=True)
def zones(monkeypatch) -> np.ndarray:
    """A chest of rectangles instead of the organ network's."""
    zones = np.full((SIZE, SIZE), ZONES.index(OUTSIDE), np.uint8)
    for side, columns in (("right", slice(12, 42)), ("left", slice(58, 88))):
        for height, rows in (("upper", slice(10, 34)), ("mid", slice(34, 58)), ("lower", slice(58, 82))):
            zones[rows, columns] = ZONES.index(f"{side} {height} zone")
    zones[50:82, 42:58] = ZONES.index(HEART)
    monkeypatch.setattr(findings, "organ_zones", lambda reconstruction: zones)
    return zones


def case_of(height: int = 300, width: int = 400, box: tuple[int, int, int, int] = (50, 250, 100, 300)) -> Case:
    """A native film of which the prepared film shows the box (top, bottom, left, right)."""
    return Case(
        Radiograph(np.zeros((height, width), np.float32)),
        {},
        PreparedFilm(np.zeros((SIZE, SIZE), np.float32), box, 0.0, 1.0),
    )


def result(values: dict[str, float]) -> SimpleNamespace:
    """Return what `find_findings` reads of an analysis: a difference map with values at `PLACES`."""
    heat = np.zeros((SIZE, SIZE), np.float32)
    for zone, value in values.items():
        heat[PLACES[zone]] = value
    return SimpleNamespace(heat_map=heat, reconstruction=np.zeros((SIZE, SIZE), np.float32))


def replace_reconstruction(analysis: SimpleNamespace, reconstruction: np.ndarray) -> SimpleNamespace:
    return SimpleNamespace(heat_map=analysis.heat_map, reconstruction=reconstruction)


def test_findings_are_named_by_the_side_of_the_patient_and_come_by_weight():
    film_findings = find_findings(
        result({"right upper zone": 0.05, "left lower zone": -0.06, HEART: 0.06}), case_of(), SCORING
    )
    assert [finding.zone for finding in film_findings] == ["left lower zone", "right upper zone", HEART]
    assert [np.sign(finding.mean) for finding in film_findings] == [-1, 1, 1]
    assert [finding.side for finding in film_findings] == ["left", "right", None]
    assert film_findings[0].to_dict()["side"] == "left" and film_findings[0].to_dict()["zone"] == "left lower zone"
    assert film_findings[0].share == pytest.approx(0.01) and film_findings[0].weight == pytest.approx(0.01 * 0.06)


def test_a_place_that_spans_both_lungs_and_the_heart_is_three_findings():
    heat = np.zeros((SIZE, SIZE), np.float32)
    heat[60:76, 24:74] = 0.05
    heat[70, 70] = 0.09
    analysis = SimpleNamespace(heat_map=heat, reconstruction=heat)
    film_findings = find_findings(analysis, case_of(), SCORING)
    assert sorted(finding.zone for finding in film_findings) == [HEART, "left lower zone", "right lower zone"]
    assert {finding.zone: round(finding.largest, 3) for finding in film_findings}["left lower zone"] == 0.09
    assert sum(finding.share for finding in film_findings) == pytest.approx(16 * 50 / SIZE**2)


def test_what_lies_outside_the_lungs_comes_last_and_never_stands_out():
    film_findings = find_findings(result({OUTSIDE: 0.9, HEART: 0.03}), case_of(), SCORING)
    assert [finding.zone for finding in film_findings] == [HEART, OUTSIDE]
    assert film_findings[1].weight > film_findings[0].weight and not film_findings[1].stands_out


def test_no_average_lies_above_its_largest_value():
    heat = result({}).heat_map
    rng = np.random.default_rng(0)
    heat += rng.normal(0, 0.03, heat.shape).astype(np.float32)
    analysis = SimpleNamespace(heat_map=heat, reconstruction=heat)
    film_findings = find_findings(analysis, case_of(), SCORING, limit=50)
    assert len(film_findings) > 3
    for finding in film_findings:
        assert abs(finding.mean) <= abs(finding.largest) and finding.mean * finding.largest > 0


def test_box_and_outline_are_shares_of_the_native_film():
    (finding,) = find_findings(result({"right upper zone": 0.05}), case_of(), SCORING)
    assert finding.prepared_box == pytest.approx((0.2, 0.2, 0.3, 0.3))
    # rows 50 + 0.2 · 200 = 90 to 110 of 300, columns 100 + 0.2 · 200 = 140 to 160 of 400
    assert finding.box == pytest.approx((90 / 300, 140 / 400, 110 / 300, 160 / 400))
    rows, columns = np.array(finding.outline).T
    assert rows.min() == pytest.approx(finding.box[0], abs=0.003) and rows.max() == pytest.approx(
        finding.box[2], abs=0.003
    )
    assert columns.min() == pytest.approx(finding.box[1], abs=0.003) and columns.max() == pytest.approx(
        finding.box[3], abs=0.003
    )
    assert prepared_box(finding.box, case_of()) == pytest.approx(finding.prepared_box)
    assert prepared_box((0, 0, 1, 1), case_of()) == (0, 0, 1, 1), "cut at the border of the prepared film"
    assert native_box((0, 0, 1, 1), case_of()) == pytest.approx((1 / 6, 0.25, 5 / 6, 0.75))


def test_a_place_stands_out_by_its_largest_difference():
    limit = SCORING.place_normal
    places = find_findings(
        result({"right upper zone": 1.01 * limit, "left lower zone": 0.99 * limit}), case_of(), SCORING
    )
    assert [finding.zone for finding in places] == ["right upper zone", "left lower zone"]
    assert [finding.stands_out for finding in places] == [True, False]


def test_the_largest_difference_in_the_organs_leaves_the_rest_out():
    maps = result({"right upper zone": 0.05, "left lower zone": -0.08, OUTSIDE: 0.9})
    assert largest_in_organs(maps.heat_map, maps.reconstruction, SCORING) == pytest.approx(0.08)
    assert largest_in_organs(result({OUTSIDE: 0.9}).heat_map, maps.reconstruction, SCORING) == 0


def test_a_name_for_each_region_that_is_explained():
    film_findings = find_findings(result({"right upper zone": 0.05, HEART: 0.04}), case_of(), SCORING)
    again = [film_findings[0], replace(film_findings[0], prepared_box=(0, 0, 1, 1)), film_findings[1]]
    assert [name for name, _ in finding_regions(again)] == ["right upper zone", "right upper zone (2)", HEART]
    assert finding_regions(film_findings)[0][1] == film_findings[0].prepared_box


def test_a_box_is_named_by_where_most_of_it_lies(zones):
    assert name_box((0.2, 0.2, 0.3, 0.3), zones) == "right upper zone"
    assert name_box((0.0, 0.0, 0.05, 0.05), zones) == OUTSIDE
    assert name_box((0.555, 0.705, 0.556, 0.706), zones) == "left mid zone", "smaller than a point"


def test_zones_are_those_of_the_normal_film(zones, monkeypatch):
    """A white lung has no lung in the film itself."""
    normal = np.full((SIZE, SIZE), 0.3, np.float32)
    pictures = []
    monkeypatch.setattr(findings, "organ_zones", lambda picture: pictures.append(picture) or zones)
    find_findings(replace_reconstruction(result({HEART: 0.05}), normal), case_of(), SCORING)
    assert len(pictures) == 1 and pictures[0] is normal
    masks = np.zeros((1, 3, 64, 64), np.uint8)
    monkeypatch.setattr(findings, "segment_organs", lambda films: masks)
    assert organ_zones(normal).shape == (SIZE, SIZE)


def test_regions_come_by_weight_and_keep_out_of_the_margin():
    heat = np.zeros((100, 100))
    heat[20:30, 20:30], heat[60:80, 60:80], heat[0:9, 50:60], heat[50:51, 50:51] = -0.3, 0.2, 0.9, 0.9
    heat[25, 25] = -0.4
    regions = find_regions(heat, 0.1, 0.1)
    assert [round(region.mean, 3) for region in regions] == [0.2, -0.301] and regions[0].share == 0.04
    assert [region.largest for region in regions] == [0.2, -0.4]
    assert regions[1].mask[20:30, 20:30].all() and regions[1].mask.sum() == 100
