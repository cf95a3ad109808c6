"""Painted lesions and devices, and the examples that the healing objective learns from."""

from types import SimpleNamespace

import numpy as np
import pytest
from helpers import drawn_film

from diff3m.data.painted.devices import DEVICES
from diff3m.data.painted.displacements import paint_pneumothorax
from diff3m.data.painted.painter import HIDDEN, KINDS, make_healing_example, paint_lesions
from diff3m.data.painted.shapes import add_density, compute_change_mask
from diff3m.data.painted.transplants import paint_foreign_patch
from diff3m.data.phantom import make_person
from diff3m.imaging.organs import Organs, segment_organs

SIDE = 96


@pytest.fixture(scope="module")
def films() -> np.ndarray:
    """Four simulated normal films."""
    return np.stack([make_person(number).render(SIDE) for number in range(4)])


@pytest.fixture(scope="module")
def organs(films) -> list[Organs]:
    return [Organs.from_masks(masks, SIDE) for masks in segment_organs(films)]


@pytest.mark.parametrize("kind", KINDS)
def test_a_lesion_changes_the_film_where_its_mask_says(kind, films, organs):
    changes, outside = [], []
    for row in range(4):
        example = paint_lesions(films[row], organs[row], films[row - 1], np.random.default_rng(row), (kind,))
        difference = np.abs(example.painted - example.target)
        assert np.array_equal(example.target, films[row]) and set(example.kinds) == {kind}
        assert np.isfinite(example.painted).all() and -0.2 < example.painted.min() and example.painted.max() < 1.3
        assert example.mask.min() >= 0 and example.mask.max() <= 1
        changes.append(difference.max())
        is_same = example.mask < 0.01
        outside.append(difference[is_same].mean() if is_same.any() else 0.0)
    assert max(changes) > 0.05
    assert max(outside) < 0.01


def test_tissue_of_full_detail_keeps_the_contrast_of_ribs():
    film = np.full((64, 64), 0.3, np.float32)
    film[::8] = 0.4  # ribs
    density = np.full_like(film, 0.5)
    smooth_film, detail_film = (add_density(film, density, detail) for detail in (0.0, 1.0))
    contrast = [image[24, 32] - image[28, 32] for image in (smooth_film, detail_film)]
    assert contrast[0] == pytest.approx(0.05, abs=1e-5) and contrast[1] == pytest.approx(0.1, abs=0.02)


def test_density_adds_nothing_where_the_film_is_brighter_than_its_level():
    film = np.linspace(0, 1, 64 * 64, dtype=np.float32).reshape(64, 64)
    painted = add_density(film, np.ones_like(film), 0.0, level=0.6)
    assert np.allclose(painted, np.maximum(film, 0.6))


def test_the_mask_of_a_change_ignores_what_cannot_be_seen():
    film = np.zeros((64, 64), np.float32)
    brighter = film.copy()
    brighter[20:40, 20:40] = 0.2
    mask = compute_change_mask(film, brighter)
    assert mask[30, 30] == 1 and mask[5, 5] == 0 and compute_change_mask(film, film).max() == 0


def test_devices_are_on_the_target_as_well_as_on_the_input(films, organs):
    for seed in range(6):
        rng = np.random.default_rng(seed)
        example = make_healing_example(films[0], organs[0], films[1], rng, painted_fraction=0.0, device_fraction=1.0)
        assert example.painted is example.target and not example.mask.any() and example.kinds == ()


@pytest.mark.parametrize("add", DEVICES, ids=lambda add: add.__name__)
def test_every_device_is_drawn_and_stays_in_range(add):
    film = drawn_film(SIDE)
    results = [add(film.copy(), np.random.default_rng(seed)) for seed in range(6)]
    assert all(np.isfinite(result).all() and result.min() > -0.5 and result.max() < 1.6 for result in results)
    assert max(np.abs(result - film).max() for result in results) > 0.05


def test_the_same_random_numbers_give_the_same_example(films, organs):
    first, second = (
        make_healing_example(films[0], organs[0], films[1], np.random.default_rng(3), painted_fraction=1.0)
        for _ in range(2)
    )
    assert np.array_equal(first.painted, second.painted) and first.kinds == second.kinds


def test_painted_and_target_are_in_one_grey_scale(films, organs):
    """Outside the lesion both are the same; the scale is that of the painted film, as preprocessing would give it."""
    for seed in range(8):
        rng = np.random.default_rng(seed)
        kinds = tuple(kind for kind in KINDS if kind not in (HIDDEN, "large heart", "shift", "raised diaphragm"))
        example = make_healing_example(films[2], organs[2], films[3], rng, painted_fraction=1.0, kinds=kinds)
        is_same_film = example.mask < 0.02
        if is_same_film.mean() > 0.1:
            assert np.abs(example.painted - example.target)[is_same_film].mean() < 0.006
        low, high = np.percentile(example.painted[::2, ::2], [1, 99])
        assert low == pytest.approx(0, abs=1e-3) and high == pytest.approx(1, abs=1e-3)


def test_air_beside_a_lung_lies_lateral_and_at_the_apex_and_is_dark(films, organs):
    dark = 0
    for seed in range(12):
        row = seed % 4
        painted, _ = paint_pneumothorax(films[row], organs[row], np.random.default_rng(seed))
        air = painted - films[row] < -0.03
        if air.sum() < 20:
            continue
        dark += 1
        lung_side = -1 if np.mean(np.nonzero(air)[1]) < SIDE / 2 else 1
        left, top, right, bottom = organs[row].boxes[lung_side]
        y, x = (np.mean(places) / SIDE for places in np.nonzero(air))
        depth = (x - left) / (right - left) if lung_side < 0 else (right - x) / (right - left)
        assert depth < 0.5 and y < (top + bottom) / 2 + 0.1
    assert dark > 6


@pytest.mark.parametrize("across", (False, True))
def test_a_patch_that_the_border_leaves_too_narrow_to_clone_is_not_cloned(across, films):
    """The equation needs three rows and columns."""
    for place in np.linspace(-0.1, 0.1, 81):
        center = (0.5, place) if across else (place, 0.5)
        organs = SimpleNamespace(point_in_lungs=lambda rng, center=center: center)
        for seed in range(4):
            painted, mask = paint_foreign_patch(films[0], organs, films[1], np.random.default_rng(seed))
            assert np.isfinite(painted).all() and painted.shape == mask.shape == films[0].shape
