"""The pseudo-healthy film at the film's own resolution."""

import cv2
import numpy as np
import pytest

from diff3m.data.phantom import make_person
from diff3m.imaging import Preprocessing, Radiograph, prepare_film
from diff3m.imaging.compose import compose_pseudo_healthy, smooth_difference, weight_difference

SETTINGS = Preprocessing(size=128)
NO_MAP = np.zeros((128, 128), np.float32)  # with a limit of 0, where no map counts


@pytest.fixture(scope="module")
def film() -> np.ndarray:
    """A simulated film of 300 × 260 pixels, wider than high."""
    return cv2.resize(make_person(3).render(512), (300, 260), interpolation=cv2.INTER_AREA).astype(np.float32)


def test_a_reconstruction_that_changes_nothing_gives_the_film_itself(film):
    prepared = prepare_film(Radiograph(film), SETTINGS)
    result = compose_pseudo_healthy(film, prepared, prepared.square, NO_MAP, 0)
    assert result.shape == film.shape and result.dtype == np.float32
    assert np.abs(result - film).max() < 1e-6


def test_a_large_opacity_goes_and_fine_detail_stays(film):
    """The model's picture lacks the opacity and all detail; the composed film lacks the opacity alone."""
    y, x = np.mgrid[0:260, 0:300]
    opacity = 0.2 * np.exp(-(((x - 90) / 25) ** 2 + ((y - 120) / 25) ** 2)).astype(np.float32)
    sick = np.clip(film + opacity * (1 - film), 0, 1)
    prepared = prepare_film(Radiograph(sick), SETTINGS)
    clean = cv2.resize(
        film[slice(*prepared.box[:2]), slice(*prepared.box[2:])], (128, 128), interpolation=cv2.INTER_AREA
    )
    reconstruction = (clean - prepared.low) / (prepared.high - prepared.low)
    result = compose_pseudo_healthy(sick, prepared, reconstruction.astype(np.float32), NO_MAP, 0)
    inside = opacity > 0.05
    assert np.abs(result - film)[inside].mean() < 0.2 * np.abs(sick - film)[inside].mean()
    detail = [image - cv2.GaussianBlur(image, (0, 0), 1.5) for image in (result, film)]
    assert np.corrcoef(detail[0][inside], detail[1][inside])[0, 1] > 0.97


def test_outside_the_box_nothing_changes():
    film = np.zeros((220, 200), np.float32)
    film[30:200, 20:180] = cv2.resize(make_person(4).render(256), (160, 170)).clip(0.1, 1)
    prepared = prepare_film(Radiograph(film), SETTINGS)
    top, bottom, left, right = prepared.box
    assert top > 0 and left > 0
    result = compose_pseudo_healthy(film, prepared, prepared.square - 0.3, NO_MAP, 0)
    differs = np.abs(result - film) > 0
    assert differs[top:bottom, left:right].any()
    differs[top:bottom, left:right] = False
    assert not differs.any()


def test_the_difference_is_zero_at_the_border_and_keeps_its_sign():
    film, reconstruction = np.full((128, 128), 0.6, np.float32), np.full((128, 128), 0.5, np.float32)
    difference = smooth_difference(film - reconstruction)
    assert difference[64, 64] == pytest.approx(0.1, abs=1e-5)
    assert abs(difference[0]).max() < 0.01 and abs(difference[:, -1]).max() < 0.01


def test_what_is_usual_for_normal_films_is_left_as_it_is(film):
    prepared = prepare_film(Radiograph(film), SETTINGS)
    y, x = np.mgrid[0:128, 0:128]
    ripple = 0.02 * np.sin(x / 3).astype(np.float32)  # fine detail that a picture of normal lacks
    bump = 0.2 * np.exp(-(((x - 40) / 8) ** 2 + ((y - 60) / 8) ** 2)).astype(np.float32)
    heat = cv2.GaussianBlur(ripple - bump, (0, 0), 3)
    result = compose_pseudo_healthy(film, prepared, prepared.square - ripple + bump, heat, 0.075)
    box = slice(*prepared.box[:2]), slice(*prepared.box[2:])
    change = cv2.resize((result - film)[box], (128, 128)) / (prepared.high - prepared.low)
    inside, outside = np.hypot(x - 40, y - 60) < 3, np.hypot(x - 40, y - 60) > 30
    assert film[box].max() <= 1 and change[inside].mean() == pytest.approx(0.19, rel=0.15)
    assert np.abs(change[outside]).max() < 1e-5


@pytest.mark.parametrize(("heat", "weight"), [(0, 0), (0.0039, 0), (-0.006, 0.5), (0.0081, 1), (-0.5, 1)])
def test_the_weight_rises_from_nothing_to_all_below_the_limit_of_normal_films(heat, weight):
    change = weight_difference(np.full((128, 128), 0.01), np.full((128, 128), heat), 0.02)
    assert change[64, 64] == pytest.approx(0.01 * weight, rel=1e-3)


@pytest.mark.parametrize(("height", "whole"), [(0.02, False), (0.2, True)])
def test_middle_frequencies_count_where_the_difference_is_large(height, whole):
    y, x = np.mgrid[0:128, 0:128] - 64
    spot = height * np.exp(-(x**2 + y**2) / (2 * 2.5**2))
    change = weight_difference(spot, np.full(spot.shape, 0.02), 0.02)
    loss = 1 - change[64, 64] / smooth_difference(spot)[64, 64]
    assert (abs(loss) < 1e-3) if whole else (loss > 0.2)
