"""The region of the chest, where differences count."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from diff3m.data.phantom import make_person
from diff3m.data.phantom.render import compute_layers
from diff3m.imaging.organs import Organs
from diff3m.scoring import Scoring, compute_heat_map, select_region
from diff3m.scoring.calibrate import calibrate_scoring
from diff3m.scoring.chest import chest_region, chest_regions, within_chest
from diff3m.scoring.score import HEALED

SIDE = 128


@pytest.fixture(scope="module")
def films() -> np.ndarray:
    """Three simulated films, (3, 128, 128)."""
    return np.stack([make_person(number).render(SIDE) for number in (3, 5, 8)]).astype(np.float32)


def test_the_chest_holds_lungs_and_heart_and_leaves_out_the_corners(films):
    regions = chest_regions(films)
    assert regions.shape == films.shape and regions.dtype == np.float32
    for number, region in zip((3, 5, 8), regions, strict=True):
        maps = compute_layers(make_person(number).draw_anatomy(), SIDE)
        assert region[np.maximum(maps.lung_left, maps.lung_right) > 0.5].mean() > 0.97
        corners = region[[0, 0, -1, -1], [0, -1, 0, -1]]
        assert corners.max() == 0 and 0.25 < region.mean() < 0.8


def test_a_lung_that_is_not_recognized_counts_at_its_usual_place():
    organs = Organs(np.zeros((SIDE, SIDE)), np.zeros((SIDE, SIDE)), np.zeros((SIDE, SIDE)))
    region = chest_region(organs)
    for left, top, right, bottom in organs.boxes.values():
        inside = region[round(top * SIDE) : round(bottom * SIDE), round(left * SIDE) : round(right * SIDE)]
        assert inside.min() > 0.99


def test_what_differs_outside_the_chest_does_not_count(films):
    film = torch.from_numpy(films)[:, None]
    reconstruction = film.clone()
    marker = film.clone()
    marker[:, :, 3:14, 3:14] = 1.0  # in the corner
    opacity = film.clone()
    opacity[:, :, 50:64, 30:44] += 0.3  # in the lung on the image's left
    assert torch.allclose(within_chest(marker, reconstruction), marker)
    chest_alone, everywhere = HEALED, replace(HEALED, chest=False)

    def heat_map(image: torch.Tensor, scoring: Scoring) -> torch.Tensor:
        return compute_heat_map(image, select_region(image, reconstruction, scoring), scoring.heat_sigma)

    assert heat_map(marker, chest_alone).abs().max() < 1e-6
    assert heat_map(marker, everywhere).abs().max() > 0.1
    inside = heat_map(opacity, chest_alone)
    assert torch.allclose(inside, heat_map(opacity, everywhere), atol=0.02)


def test_the_limit_of_normal_films_is_that_of_points_in_the_chest():
    maps, regions = torch.zeros(4, 50, 50), torch.zeros(4, 50, 50, dtype=torch.bool)
    regions[:, 22:28, 22:28] = True
    maps[regions] = 0.1
    values, views = torch.rand(4, 1), ["PA"] * 4
    assert calibrate_scoring(HEALED, values, views, maps, regions).heat_normal == pytest.approx(0.1)
    assert calibrate_scoring(HEALED, values, views, maps).heat_normal < 0.1
