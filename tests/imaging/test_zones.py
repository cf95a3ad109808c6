"""Names of places on a frontal film."""

import numpy as np
import pytest

from diff3m.data.phantom import make_person
from diff3m.imaging.organs import Organs, segment_organs
from diff3m.imaging.zones import OUTSIDE, ZONES, name_zone, split_by_organ, zone_map

SIZE = 100


def _mask(top: int, bottom: int, left: int, right: int) -> np.ndarray:
    mask = np.zeros((SIZE, SIZE), np.float32)
    mask[top:bottom, left:right] = 1
    return mask


@pytest.fixture
def zones() -> np.ndarray:
    """Two rectangular lungs of thirty rows in each third, the heart between and below them."""
    return zone_map(Organs(_mask(5, 95, 10, 40), _mask(5, 95, 60, 90), _mask(55, 95, 42, 66)))


@pytest.mark.parametrize(
    ("row", "column", "name"),
    [
        (10, 20, "right upper zone"),  # the image's left is the patient's right
        (50, 20, "right mid zone"),
        (90, 20, "right lower zone"),
        (10, 80, "left upper zone"),
        (50, 80, "left mid zone"),
        (90, 80, "left lower zone"),
        (70, 50, "heart"),
        (70, 63, "heart"),  # where the heart lies over a lung
        (20, 50, "mediastinum"),
        (50, 3, OUTSIDE),
        (99, 20, OUTSIDE),
    ],
)
def test_a_place_is_named_by_the_side_of_the_patient(zones, row, column, name):
    assert ZONES[zones[row, column]] == name


@pytest.mark.parametrize(
    ("rows", "columns", "name"),
    [
        (slice(30, 60), slice(15, 20), "right mid zone"),  # 5 rows of the upper third, 25 of the middle one
        (slice(20, 60), slice(15, 20), "right upper and mid zones"),
        (slice(45, 90), slice(80, 85), "left mid and lower zones"),
        (slice(10, 90), slice(80, 85), "left lung"),
        (slice(60, 80), slice(40, 60), "heart"),
        (slice(50, 80), slice(0, 8), OUTSIDE),
    ],
)
def test_a_region_is_named_by_all_zones_that_hold_much_of_it(zones, rows, columns, name):
    mask = np.zeros((SIZE, SIZE), bool)
    mask[rows, columns] = True
    assert name_zone(mask, zones) == name


def test_an_empty_region_has_no_name(zones):
    with pytest.raises(ValueError, match="empty"):
        name_zone(np.zeros((SIZE, SIZE), bool), zones)


def test_a_region_over_both_lungs_is_split(zones):
    mask = np.zeros((SIZE, SIZE), bool)
    mask[10:90, 12:30], mask[62:90, 70:90], mask[60:64, 30:70] = True, True, True
    parts = split_by_organ(mask, zones)
    assert [name_zone(part, zones) for part in parts] == ["right lung", "left lower zone"]
    assert (np.sum(parts, axis=0) == mask).all(), "what lies between them goes to the nearer"


def test_a_region_that_hardly_leaves_its_organ_stays_whole(zones):
    mask = np.zeros((SIZE, SIZE), bool)
    mask[60:80, 66:90] = True  # a seventh of it over the heart
    assert len(split_by_organ(mask, zones)) == 1


def test_lesions_of_simulated_films_are_named_by_their_side():
    people = [make_person(number, "opacity") for number in range(2_000_100, 2_000_116)]
    healthy = np.stack([someone.healthy.render(128) for someone in people])
    sides = []
    for someone, masks in zip(people, segment_organs(healthy), strict=True):
        name = name_zone(someone.render_with_lesion(128).mask, zone_map(Organs.from_masks(masks, 128)))
        sides.append(name.startswith("right" if someone.lesion.side < 0 else "left"))
    assert np.mean(sides) >= 0.85
