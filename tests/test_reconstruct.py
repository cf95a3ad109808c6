import pytest
import torch

from diff3m.diffusion import Schedule, denoise, invert
from diff3m.reconstruct import CLAMP, draw_noises, estimate_in_one_step, reconstruct, scale_steps

SCHEDULE = Schedule()


def toy(x, t):
    return 0.9 * torch.tanh(x + t.view(-1, 1, 1, 1) / 1000)


def films(count: int = 3):
    return torch.rand(count, 1, 8, 8, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("plan", [{400: 10}, {200: 5, 400: 10, 720: 18}, {200: 5, 300: 10}, {80: 2, 40: 1}])
def test_walking_levels_together_equals_walking_each_alone(plan):
    x0 = films()
    together = reconstruct(x0, toy, plan, SCHEDULE)
    assert set(together) == set(plan)
    for level, steps in plan.items():
        up = invert(x0, toy, level, steps, SCHEDULE, clamp=CLAMP)
        alone = denoise(up, toy, level, steps, SCHEDULE, clamp=CLAMP).clamp(*CLAMP)
        assert torch.allclose(together[level], alone, atol=1e-5)


def test_shared_steps_are_walked_once():
    calls = []

    def counting(x, t):
        calls.append(x.shape[0])
        return toy(x, t)

    reconstruct(films(2), counting, {200: 5, 400: 10, 720: 18}, SCHEDULE)
    assert len(calls) == 36 and sum(calls) == 2 * (18 + 18 + 10 + 5)


def test_progress_counts_to_the_end_and_previews_the_shown_level():
    progress = []
    reconstruct(films(1), toy, {200: 5, 400: 10}, SCHEDULE, preview_level=200, callback=progress.append)
    assert [p.done for p in progress] == list(range(1, 21)) and {p.total for p in progress} == {20}
    assert [p.preview is not None for p in progress] == [False] * 15 + [True] * 5
    assert progress[-1].preview.shape == (1, 1, 8, 8)


def test_a_callback_may_cancel():
    def stop(progress):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        reconstruct(films(1), toy, {400: 10}, SCHEDULE, callback=stop)


def test_one_step_estimates_average_over_noises():
    x0 = films(2)
    noises = draw_noises(3, 8, 300, seed=5)
    together = estimate_in_one_step(x0, toy, 300, noises, SCHEDULE)
    each = [estimate_in_one_step(x0[1:], toy, 300, noise[None], SCHEDULE) for noise in noises]
    assert torch.allclose(together[1:], torch.stack(each).mean(0), atol=1e-6)
    assert torch.equal(noises, draw_noises(3, 8, 300, seed=5)) and not torch.equal(
        noises, draw_noises(3, 8, 300, seed=6)
    )


def test_steps_are_in_proportion_to_the_level():
    assert [scale_steps(level, 10, 400) for level in (200, 400, 720, 1000, 10)] == [5, 10, 18, 25, 1]
    assert scale_steps(3, 400, 400) == 3
