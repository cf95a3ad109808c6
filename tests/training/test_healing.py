"""The healing term of the training loss, and the batches that it learns from."""

import dataclasses

import cv2
import numpy as np
import pytest
import torch
from helpers import randomize, tiny_network, training_config

from diff3m.checkpoint.folder import load_checkpoint
from diff3m.data.painted.painter import KINDS, PaintedFilm
from diff3m.data.phantom import make_person
from diff3m.detector import Detector
from diff3m.diffusion import Schedule, add_noise
from diff3m.ehr import paper_schema
from diff3m.imaging.organs import segment_organs
from diff3m.network import Diff3M
from diff3m.scoring.score import HEALED
from diff3m.training.batch import draw_batch, prefetch
from diff3m.training.config import ConfigError, TrainingConfig
from diff3m.training.films import Films
from diff3m.training.loop import train
from diff3m.training.loss import LossSettings, diffusion_loss, healing_loss
from diff3m.training.preview import measure_healing_ratios, paint_unseen_lesions

SCHEMA = paper_schema()
CONFIG = TrainingConfig(
    "healing", "films.csv", "out", batch_size=8, healing_weight=2.0, healing_fraction=0.5, masked_fraction=0.25
)


@pytest.fixture(scope="module")
def films() -> Films:
    images = np.stack([np.round(make_person(number).render(32) * 255).astype(np.uint8) for number in range(6)])
    values = np.stack([SCHEMA.encode(make_person(number).patient.to_record()) for number in range(6)])
    return Films(images, values, segment_organs(images))


def test_the_healing_loss_is_the_documented_sum():
    rng = np.random.default_rng(0)
    estimate, target = rng.normal(size=(2, 2, 1, 40, 40)).astype(np.float32)
    lesions = rng.uniform(size=(2, 1, 40, 40)).astype(np.float32)
    alpha_bar = np.array([0.9, 0.3], np.float32)
    error = estimate - target
    by_film = []
    for film in range(2):
        down = np.abs(np.diff(error[film, 0], axis=0)).mean()
        across = np.abs(np.diff(error[film, 0], axis=1)).mean()
        smooth = cv2.GaussianBlur(error[film, 0], (5, 5), 2.0 * 40 / 128, borderType=cv2.BORDER_REFLECT_101)
        size = np.abs(error[film, 0]) + 2 * np.abs(smooth)
        weighted = (size * (1 + 5 * lesions[film, 0])).mean()
        by_film.append(alpha_bar[film] * (weighted + 0.5 * (down + across)))
    result = healing_loss(
        *(torch.from_numpy(array) for array in (estimate, target, lesions, alpha_bar)), lesion_weight=5.0
    )
    assert result.item() == pytest.approx(np.mean(by_film), rel=1e-5)


def test_lesions_are_painted_on_the_input_of_healing_rows_alone(films):
    config = dataclasses.replace(CONFIG, painted_fraction=1.0)
    batch = draw_batch(films, SCHEMA, config, 0, 1000)
    assert batch.healing.tolist() == [False] * 4 + [True] * 4
    assert not (batch.healing & batch.masked).any()
    assert torch.equal(batch.x0[:4], batch.target[:4]) and not batch.lesions[:4].any()
    differences = (batch.x0 - batch.target).abs().amax((1, 2, 3))
    assert differences[4:].amax() > 0.05 and batch.lesions[4:].amax() > 0.5
    assert batch.x0.dtype == batch.target.dtype == batch.lesions.dtype == torch.float32


def test_timesteps_of_healing_rows_are_mostly_low(films):
    config = dataclasses.replace(CONFIG, batch_size=64, healing_level=100, healing_low_fraction=0.75)
    steps = torch.cat([(batch := draw_batch(films, SCHEMA, config, step, 1000)).t[batch.healing] for step in range(6)])
    assert 0.7 < (steps < 100).float().mean() < 0.9 and steps.max() > 500


def test_a_step_draws_the_same_batch_again_and_processes_share_it(films):
    whole, again = (draw_batch(films, SCHEMA, CONFIG, 3, 1000) for _ in range(2))
    assert torch.equal(whole.x0, again.x0) and torch.equal(whole.t, again.t)
    shares = [draw_batch(films, SCHEMA, CONFIG, 3, 1000, rank=rank, world_size=2) for rank in range(2)]
    assert torch.equal(torch.stack([share.x0 for share in shares], 1).flatten(0, 1), whole.x0)
    assert sum(share.healing_scale for share in shares).item() == pytest.approx(2)


def test_the_loss_of_two_processes_is_that_of_one(films):
    torch.manual_seed(0)
    network = Diff3M(tiny_network(SCHEMA, refinement_channels=4))
    randomize(network)
    schedule, settings = Schedule(), LossSettings(weighting="velocity", healing_weight=2.0)
    whole = diffusion_loss(network, draw_batch(films, SCHEMA, CONFIG, 1, 1000), schedule, settings)
    shares = [
        diffusion_loss(network, draw_batch(films, SCHEMA, CONFIG, 1, 1000, rank=rank, world_size=2), schedule, settings)
        for rank in range(2)
    ]
    for name in ("total", "noise", "masked_pixels", "healing"):
        mean = sum(getattr(share, name).item() for share in shares) / 2
        assert mean == pytest.approx(getattr(whole, name).item(), rel=1e-4)
    assert whole.total.item() > 2 * whole.healing.item() > 0


def test_a_network_that_gives_the_noise_to_the_clean_film_heals_perfectly(films):
    """The healing term is 0 exactly where ε̂ is the noise that the painted film lacks to be the clean one."""
    batch, schedule = draw_batch(films, SCHEMA, CONFIG, 2, 1000), Schedule()
    x_t = add_noise(batch.x0, batch.noise, batch.t, schedule)
    alpha_bar = schedule.alpha_bar(batch.t).float().view(-1, 1, 1, 1)
    perfect = (x_t - alpha_bar.sqrt() * batch.target) / (1 - alpha_bar).sqrt()

    class Oracle(Diff3M):
        def predict_noise(self, *_):
            return perfect

    losses = diffusion_loss(Oracle(tiny_network(SCHEMA)), batch, schedule, LossSettings(healing_weight=1.0))
    assert losses.healing.item() == pytest.approx(0, abs=1e-3)


def test_gradients_of_healing_reach_the_noise_branch(films):
    network = Diff3M(tiny_network(SCHEMA, refinement_channels=4))
    randomize(network)
    losses = diffusion_loss(
        network, draw_batch(films, SCHEMA, CONFIG, 0, 1000), Schedule(), LossSettings(healing_weight=1.0)
    )
    losses.healing.backward()
    assert network.noise_decoder.refinement.head.weight.grad.abs().sum() > 0
    assert network.masked_decoder.head.weight.grad is None


def test_held_out_kinds_are_not_painted(films, monkeypatch):
    names = []
    monkeypatch.setattr(
        "diff3m.training.batch.make_healing_example",
        lambda film, organs, other, rng, kinds, **chances: names.extend(kinds) or _unpainted(film),
    )
    draw_batch(films, SCHEMA, dataclasses.replace(CONFIG, held_out_kinds=["nodules", "hila"]), 0, 1000)
    assert set(KINDS) - set(names) == {"nodules", "hila"}


def _unpainted(film):
    return PaintedFilm(film, film, np.zeros_like(film), ())


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"held_out_kinds": ["measles"]}, "held_out_kinds must be a list of"),
        ({"held_out_kinds": list(KINDS)}, "leaves no lesion"),
        ({"healing_fraction": 0.9, "masked_fraction": 0.5}, "leave room for each other"),
        ({"healing_weight": -1.0}, "healing_weight must be at least 0"),
    ],
)
def test_settings_of_healing_that_cannot_be_are_named(changes, words):
    with pytest.raises(ConfigError, match=words):
        dataclasses.replace(CONFIG, **changes)


def test_batches_are_made_ahead_in_order():
    assert list(prefetch(lambda step: step * 10, 2, 7, workers=2)) == [20, 30, 40, 50, 60]


def test_an_error_in_a_batch_is_raised():
    def fail(step):
        raise ValueError(f"step {step}")

    with pytest.raises(ValueError, match="step 0"):
        list(prefetch(fail, 0, 3, workers=2))


def test_healing_ratios_are_one_for_a_network_that_changes_nothing(films):
    """With v̂ = 0 and little noise x̂_0 is nearly the film: what was painted stays."""
    network = Diff3M(tiny_network(SCHEMA))
    ratios = measure_healing_ratios(network.eval(), films, Schedule(), torch.device("cpu"))
    assert set(ratios) == {"opacity", "nodule", "effusion", "unpainted"}
    assert all(0.7 < ratios[kind] < 1.4 for kind in ("opacity", "nodule", "effusion"))
    assert 0 < ratios["unpainted"] < 0.2


def test_unseen_lesions_lie_in_the_lungs_and_are_the_same_again(films):
    first, second = paint_unseen_lesions(films), paint_unseen_lesions(films)
    for kind, (clean, painted, masks) in first.items():
        assert np.array_equal(painted, second[kind][1])
        difference = np.abs(painted - clean)
        assert difference[masks].mean() > 3 * difference[~masks].mean()


def test_a_healed_checkpoint_draws_by_noise_and_denoising(film_folder):
    folder = train(training_config(film_folder, healing_weight=2.0, steps=2))
    assert load_checkpoint(folder).config.scoring == HEALED
    analysis = Detector(load_checkpoint(folder), device="cpu").analyze(film_folder / "film0.png", accept=True)
    assert list(analysis.reconstructions) == [60] and analysis.percentile is None
