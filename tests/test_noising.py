"""Pictures of normal by noise and denoising, and the pseudo-healthy film of an analysis."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers import drawn_film

from diff3m.diffusion import Schedule, add_noise, ddim_timesteps, walk
from diff3m.reconstruct import CLAMP, draw_noises, reconstruct_from_noise
from diff3m.scoring.score import Component, Scoring

SCHEDULE = Schedule()


def shrink(x, t):
    """A predictor with structure: part of the picture and of the time."""
    return 0.3 * x + 0.001 * t.view(-1, 1, 1, 1)


def noising(detector, **changes):
    """The detector with a score of one measurement of what noise and denoising make of the film."""
    scoring = replace(
        detector.scoring,
        components=(Component("brighter", 4, 60, "noising"),),
        reconstruction="noising",
        noise_level=60,
        steps=1,
        one_step_noises=2,
        mirrored_noises=True,
        calibration=(),
    )
    return detector.with_scoring(replace(scoring, **changes))


@pytest.mark.parametrize("steps", [1, 3])
def test_each_film_is_the_mean_over_noises_of_its_own_walk(steps):
    x0 = torch.rand(2, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    noises = draw_noises(3, 8, 90, 0)
    together = reconstruct_from_noise(x0, shrink, 90, steps, noises, SCHEDULE)
    for film in range(2):
        walks = []
        for noise in noises:
            x_t = add_noise(x0[film][None], noise[None], 89, SCHEDULE)
            walks.append(walk(x_t, shrink, ddim_timesteps(90, steps)[::-1], SCHEDULE, clamp=CLAMP))
        assert torch.allclose(together[film], torch.cat(walks).mean(0), atol=1e-6)


def test_the_callback_sees_the_mean_of_the_forming_pictures():
    x0, noises, previews = torch.rand(2, 1, 8, 8), draw_noises(2, 8, 60, 0), []
    result = reconstruct_from_noise(x0, shrink, 60, 4, noises, SCHEDULE, previews.append)
    assert [(progress.done, progress.total) for progress in previews] == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert all(progress.preview.shape == x0.shape for progress in previews)
    assert torch.allclose(previews[-1].preview, result, atol=1e-6)


def test_further_rounds_go_on_from_the_last_estimate():
    x0, noises, previews = torch.rand(2, 1, 8, 8), draw_noises(2, 8, 60, 0), []
    once = reconstruct_from_noise(x0, shrink, 60, 2, noises, SCHEDULE)
    twice = reconstruct_from_noise(x0, shrink, 60, 2, noises, SCHEDULE, previews.append, rounds=2)
    assert torch.allclose(twice, reconstruct_from_noise(once, shrink, 60, 2, noises, SCHEDULE), atol=1e-6)
    assert not torch.allclose(twice, once, atol=1e-3)
    assert [(progress.done, progress.total) for progress in previews] == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_the_difference_that_is_shown_is_the_one_that_is_scored(tiny_detector):
    analysis = noising(tiny_detector, components=(Component("mse", 0, 60, "noising"),)).analyze(drawn_film(64))
    assert analysis.components[0][1] == pytest.approx(float(np.square(analysis.residual).mean()), rel=1e-4)
    assert list(analysis.reconstructions) == [60]


def test_the_same_seed_gives_the_same_picture_and_another_another(tiny_detector):
    detector, film = noising(tiny_detector), drawn_film(64)
    first, again, other = (detector.analyze(film, seed=seed).reconstruction for seed in (0, 0, 1))
    assert np.array_equal(first, again) and not np.array_equal(first, other)


def test_the_pseudo_healthy_film_lies_on_the_film_s_own_pixels(tiny_detector):
    film = drawn_film(200)[:, :180]
    analysis = noising(tiny_detector).analyze(film)
    assert analysis.pseudo_healthy.shape == film.shape and analysis.pseudo_healthy.dtype == np.float32
    assert 0 <= analysis.pseudo_healthy.min() and analysis.pseudo_healthy.max() <= 1
    assert analysis.pseudo_healthy is analysis.pseudo_healthy, "composed once"


def test_an_analysis_without_its_film_has_no_pseudo_healthy_film(tiny_detector):
    with pytest.raises(LookupError, match="without its film"):
        replace(tiny_detector.analyze(drawn_film(64)), case=None).pseudo_healthy  # noqa: B018


def test_scorings_of_earlier_versions_are_read():
    values = Scoring().to_dict()
    del values["reconstruction"]
    assert Scoring.from_dict({**values, "released_path": True}).reconstruction == "released"
    assert Scoring.from_dict({**values, "released_path": False}).reconstruction == "inversion"
    with pytest.raises(ValueError, match="reconstruction must be one of"):
        Scoring(reconstruction="magic")
