import itertools

import pytest
import torch
from diffusers import DDIMInverseScheduler, DDIMScheduler, DDPMScheduler

from diff3m.diffusion import (
    Progress,
    Schedule,
    add_noise,
    ddim_step,
    ddim_timesteps,
    denoise,
    estimate_x0,
    implied_noise,
    invert,
)

SCHEDULE = Schedule()
ORACLE = dict(num_train_timesteps=1000, beta_start=1e-4, beta_end=0.02, beta_schedule="linear", clip_sample=False)


def images():
    g = torch.Generator().manual_seed(0)
    return torch.rand(3, 1, 8, 8, generator=g), torch.randn(3, 1, 8, 8, generator=g)


def toy_predictor(x, t):
    """Depends on x and t, smoothly, as a network would."""
    return 0.9 * torch.tanh(x + t.view(-1, 1, 1, 1) / 1000) + 0.05


def test_alpha_bars():
    bars = SCHEDULE.alpha_bars
    assert bars[0] == 1 and bars[-1] == 0 and len(bars) == 1002
    assert bars[1] == pytest.approx(1 - 1e-4) and bars[401].sqrt() == pytest.approx(0.44, abs=0.005)
    assert bars[1:-1].float() == pytest.approx(DDPMScheduler(**ORACLE).alphas_cumprod, rel=1e-5)


def test_adding_noise_equals_diffusers():
    x0, noise = images()
    t = torch.tensor([0, 399, 999])
    assert torch.allclose(add_noise(x0, noise, t, SCHEDULE), DDPMScheduler(**ORACLE).add_noise(x0, noise, t), atol=1e-5)


def test_estimates_undo_noising():
    x0, noise = images()
    t = torch.tensor([5, 399, 800])
    x_t = add_noise(x0, noise, t, SCHEDULE)
    assert torch.allclose(estimate_x0(x_t, noise, t, SCHEDULE), x0, atol=1e-4)
    assert torch.allclose(implied_noise(x_t, x0, t, SCHEDULE), noise, atol=1e-4)


def test_denoising_equals_diffusers():
    _, x = images()
    oracle = DDIMScheduler(**ORACLE, set_alpha_to_one=True, timestep_spacing="leading")
    oracle.set_timesteps(20)  # 950, 900, …, 0
    path = [int(t) for t in oracle.timesteps] + [-1]
    expected = x
    for t in oracle.timesteps:
        expected = oracle.step(toy_predictor(expected, t.repeat(3)), t, expected).prev_sample
    ours = x
    for t, t_next in itertools.pairwise(path):
        ours, _ = ddim_step(ours, toy_predictor, t, t_next, SCHEDULE, None)
    assert torch.allclose(ours, expected, atol=1e-4)


def test_inversion_equals_diffusers():
    x0, _ = images()
    oracle = DDIMInverseScheduler(**ORACLE, set_alpha_to_one=True, timestep_spacing="leading")
    oracle.set_timesteps(20)
    expected, ours = x0, x0
    for t in oracle.timesteps[1:12]:  # from the level below t to t
        expected = oracle.step(toy_predictor(expected, t.repeat(3)), t, expected).prev_sample
        below = int(t) - 50
        # diffusers asks the network at the level it goes to; so does this predictor
        ours, _ = ddim_step(ours, lambda x, _, t=t: toy_predictor(x, t.repeat(3)), below, int(t), SCHEDULE, None)
    assert torch.allclose(ours, expected, atol=1e-4)


def test_the_walk_down_mirrors_the_walk_up():
    """With a predictor that knows the true noise, inversion and denoising return to the film exactly."""
    x0, noise = images()
    up = invert(x0, lambda x, t: noise, 400, 10, SCHEDULE)
    assert torch.allclose(up, add_noise(x0, noise, torch.tensor(399), SCHEDULE), atol=1e-5)
    assert torch.allclose(denoise(up, lambda x, t: noise, 400, 10, SCHEDULE), x0, atol=1e-5)


def test_finer_steps_return_closer_to_the_film():
    x0, _ = images()
    errors = []
    for steps in (5, 20, 80):
        back = denoise(invert(x0, toy_predictor, 400, steps, SCHEDULE), toy_predictor, 400, steps, SCHEDULE)
        errors.append((back - x0).abs().mean().item())
    assert errors[0] > errors[1] > errors[2]


def test_levels():
    assert ddim_timesteps(400, 10) == [-1, 39, 79, 119, 159, 199, 239, 279, 319, 359, 399]
    assert ddim_timesteps(7, 7) == [-1, 0, 1, 2, 3, 4, 5, 6]
    for noise_level, steps in ((1, 1), (1000, 37), (399, 50)):
        path = ddim_timesteps(noise_level, steps)
        assert path[0] == -1 and path[-1] == noise_level - 1 and path == sorted(set(path)) and len(path) == steps + 1
    for steps in (0, 401):
        with pytest.raises(ValueError, match="steps"):
            ddim_timesteps(400, steps)


def test_the_callback_receives_every_step():
    steps: list[Progress] = []
    end = invert(images()[0], toy_predictor, 100, 4, SCHEDULE, callback=steps.append)
    assert [(step.phase, step.done, step.total) for step in steps] == [("inversion", i, 4) for i in range(1, 5)]
    assert steps[-1].preview.shape == end.shape == (3, 1, 8, 8)


def test_masked_pixels_stand_in_for_x_t():
    x0, noise = images()
    t = torch.tensor([200])
    x_t = add_noise(x0, noise, t, SCHEDULE)
    _, plain = ddim_step(x_t, lambda x, t: noise, 200, 150, SCHEDULE, None)
    _, same = ddim_step(x_t, lambda x, t: (noise, x), 200, 150, SCHEDULE, None)
    _, other = ddim_step(x_t, lambda x, t: (noise, x + 0.1), 200, 150, SCHEDULE, None)
    assert torch.equal(plain, same) and (other - plain).mean() == pytest.approx(
        0.1 / SCHEDULE.alpha_bar(200).sqrt().item(), rel=1e-4
    )
