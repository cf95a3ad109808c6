"""Batches of a training: drawn by seed and step, augmented, features dropped."""

import pytest
import torch
from helpers import training_config

from diff3m.data.manifest import read_manifest
from diff3m.ehr import paper_schema
from diff3m.imaging import Preprocessing
from diff3m.training.batch import augment, draw_batch, drop_features
from diff3m.training.films import load_films
from diff3m.training.loop import TrainingError, train

SCHEMA = paper_schema()


def films(folder):
    return load_films(read_manifest(folder / "manifest.csv", SCHEMA), SCHEMA, Preprocessing(32))


def test_a_batch_depends_on_seed_and_step_alone(film_folder):
    data, settings = films(film_folder), training_config(film_folder)
    first, again, next_step = (draw_batch(data, SCHEMA, settings, step, 1000) for step in (5, 5, 6))
    assert torch.equal(first.x0, again.x0) and torch.equal(first.noise, again.noise) and torch.equal(first.t, again.t)
    assert not torch.equal(first.noise, next_step.noise)


def test_processes_share_the_global_batch(film_folder):
    data, settings = films(film_folder), training_config(film_folder)
    whole = draw_batch(data, SCHEMA, settings, 3, 1000)
    parts = [draw_batch(data, SCHEMA, settings, 3, 1000, rank=rank, world_size=2) for rank in (0, 1)]
    assert torch.equal(torch.stack([p.x0 for p in parts], 1).flatten(0, 1), whole.x0)
    assert whole.masked_scale == 1 and [int(part.masked.sum()) for part in parts] == [1, 0]  # one of four is masked
    assert [float(part.masked_scale) for part in parts] == [2, 0]  # whose mean over both is the whole batch's


def test_every_film_is_seen_once_an_epoch(film_folder):
    data, settings = films(film_folder), training_config(film_folder, rotate_degrees=0, shift=0, gamma=0)
    epoch = torch.cat([draw_batch(data, SCHEMA, settings, step, 1000).x0 for step in range(3)])
    different_films = {film.numpy().tobytes() for film in torch.round(epoch * 255).to(torch.uint8)}
    assert len(different_films) == 12


def test_features_are_dropped_whole(film_folder):
    values = torch.zeros(4000, 10)
    settings = training_config(film_folder, feature_dropout=0.2, record_dropout=0.1)
    is_unknown = torch.isnan(drop_features(values, SCHEMA, settings, torch.Generator().manual_seed(0)))
    assert torch.equal(is_unknown[:, 1], is_unknown[:, 2]) and torch.equal(
        is_unknown[:, 3], is_unknown[:, 4]
    )  # one-hot slots go together
    assert is_unknown[:, 0].float().mean() == pytest.approx(1 - 0.8 * 0.9, abs=0.03)
    assert is_unknown.all(1).float().mean() == pytest.approx(0.1, abs=0.02)


def test_augmentation_keeps_shape_and_range_and_can_be_off(film_folder):
    x0 = torch.rand(4, 1, 32, 32)
    g = torch.Generator().manual_seed(0)
    result = augment(x0, training_config(film_folder), g)
    assert result.shape == x0.shape and 0 <= result.min() and result.max() <= 1 and not torch.equal(result, x0)
    assert torch.equal(augment(x0, training_config(film_folder, rotate_degrees=0, shift=0, gamma=0), g), x0)


def test_learning_rate_warms_up_and_decays(film_folder):
    settings = training_config(film_folder, steps=100, warmup_steps=10, learning_rate=1.0, final_learning_rate=0.1)
    rates = [settings.learning_rate_at(step) for step in range(101)]
    assert rates[0] == pytest.approx(0.1) and max(rates) == rates[9] and rates[100] == pytest.approx(0.1)


def test_a_batch_that_cannot_be_shared_evenly_is_refused(film_folder, monkeypatch):
    monkeypatch.setattr("accelerate.Accelerator.num_processes", property(lambda self: 3))
    with pytest.raises(TrainingError, match="multiple of 3"):
        train(training_config(film_folder))
