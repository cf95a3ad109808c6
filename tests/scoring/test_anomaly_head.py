"""The anomaly head: what is painted, that it can be taught, and that its map is part of an analysis."""

import json
import shutil
from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch

from diff3m.checkpoint.folder import HEAD_FILE, CheckpointError, load_checkpoint, save_head, save_scoring
from diff3m.cli.main import main
from diff3m.data.painted.anomalies import KINDS, paint_anomaly, vary_pose, vary_processing
from diff3m.data.phantom import person
from diff3m.detector import Detector
from diff3m.evaluation.calibration import calibrate_on_normals
from diff3m.evaluation.metrics import auroc
from diff3m.scoring.anomaly_head import AnomalyHead, HeadConfig, anomaly_logits, feature_widths, film_features
from diff3m.scoring.calibrate import calibrate_scoring
from diff3m.scoring.filters import inner
from diff3m.scoring.measure import measure_component
from diff3m.scoring.score import Component, Scoring, combine_z_scores
from diff3m.training.head import HeadTraining, HeadTrainingError, train_head


@pytest.fixture
def headed(tiny_checkpoint, tmp_path):
    """The tiny checkpoint with an untaught head."""
    folder = tmp_path / "headed"
    shutil.copytree(tiny_checkpoint, folder)
    checkpoint = load_checkpoint(folder)
    torch.manual_seed(0)
    save_head(folder, checkpoint.config, AnomalyHead(checkpoint.config.network, HeadConfig(level=80, width=16)))
    return folder


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_anomaly_changes_the_film_where_its_mask_says(kind):
    film, other = person(1).film(96), person(2).film(96)
    shares = []
    for seed in range(6):
        changed, mask = KINDS[kind][0](film, other, np.random.default_rng(seed))
        difference = np.abs(changed - film)
        assert (
            changed.shape == mask.shape == film.shape
            and np.isfinite(changed).all()
            and mask.min() >= 0
            and mask.max() <= 1.0001
        )
        assert difference.max() > 0
        shares.append(difference[mask > 0.05].sum() / difference.sum())
    assert np.mean(shares) > 0.75


def test_painted_films_keep_their_range_and_repeat_by_seed():
    film, other = person(1).film(96), person(2).film(96)
    first, second = (paint_anomaly(film, other, np.random.default_rng(7)) for _ in range(2))
    assert np.array_equal(first[0], second[0]) and np.array_equal(first[1], second[1])
    assert np.percentile(first[0], 1) == pytest.approx(0, abs=0.02) and np.percentile(first[0], 99) == pytest.approx(
        1, abs=0.02
    )
    assert sum(share for _, share in KINDS.values()) == pytest.approx(1)
    varied = vary_processing(vary_pose(film, np.random.default_rng(1)), np.random.default_rng(1))
    assert varied.dtype == np.float32 and 0 <= varied.min() and varied.max() <= 1 and not np.array_equal(varied, film)


def test_features_are_of_every_level(headed):
    detector = Detector(load_checkpoint(headed), "cpu", "float32")
    x0 = torch.rand(2, 1, 32, 32)
    condition = detector.condition(x0, [detector.schema.parse({})] * 2, attention=False)
    found = film_features(detector.network, x0, condition)
    assert [part.shape[1] for part in found] == feature_widths(detector.config.network)
    noises = torch.randn(3, 1, 32, 32)
    whole = anomaly_logits(detector.network, detector.head, detector.config.schedule, x0, noises, condition)[0]
    alone = anomaly_logits(
        detector.network, detector.head, detector.config.schedule, x0[1:], noises, condition.map(lambda part: part[1:])
    )[0]
    assert whole.shape == (2, 1, 32, 32) and torch.allclose(whole[1:], alone, atol=1e-4)
    with pytest.raises(ValueError, match="width that 16 divides"):
        HeadConfig(width=20)


def test_members_are_averaged_and_a_file_of_one_still_loads(tiny_checkpoint, tmp_path):
    network = load_checkpoint(tiny_checkpoint).config.network
    head = AnomalyHead(network, HeadConfig(width=16, members=3)).eval()
    sizes = [32 // 2 ** min(level, 1) for level in range(2 * len(feature_widths(network)))]
    features = [
        torch.rand(2, width, size, size) for width, size in zip(2 * feature_widths(network), sizes, strict=True)
    ]
    with torch.no_grad():
        places, films = head(features)
        apart = [member(features) for member in head.members]
    torch.testing.assert_close(places, torch.stack([part[0] for part in apart]).mean(0))
    torch.testing.assert_close(films, torch.stack([part[1] for part in apart]).mean(0))
    assert not torch.equal(apart[0][0], apart[1][0])  # other first weights
    one = AnomalyHead(network, HeadConfig(width=16))
    before = {
        name.removeprefix("members.0."): tensor
        for name, tensor in head.state_dict().items()
        if name.startswith("members.0.")
    }
    one.load_state_dict(before)
    with torch.no_grad():
        torch.testing.assert_close(one.eval()(features), apart[0])
    for count in (0, 17):
        with pytest.raises(ValueError, match="1 to 16 members"):
            HeadConfig(members=count)


def test_an_analysis_holds_the_map_and_a_balanced_score(headed, film_folder):
    plain = Detector(load_checkpoint(headed), "cpu", "float32")
    film = person(3).film(64)
    found = plain.analyze(film, {"age": 50})
    assert found.anomaly_map.shape == (32, 32) and 0 <= found.anomaly_map.min() <= found.anomaly_map.max() <= 1
    again = plain.analyze_many([plain.case(film, {"age": 50}), plain.case(person(4).film(64))])
    assert np.allclose(next(again).anomaly_map, found.anomaly_map, atol=1e-4)
    residuals = (Component("absolute", 2, 400), Component("ssim", 6, 400))
    scoring = Scoring((*residuals, Component("logit", 0, 80, "head")), combine="balanced", steps=2)
    made = calibrate_on_normals(plain, film_folder / "manifest.csv", scoring)
    save_scoring(headed, made)
    detector = Detector(load_checkpoint(headed), "cpu", "float32")
    assert made.map_normal == detector.scoring.map_normal and detector.scoring.uses_head
    scored = detector.analyze(film, {"age": 50})
    logit = scored.components[-1][1]
    with torch.no_grad():
        x0 = detector.inputs([detector.case(film)])
        condition = detector.condition(x0, [detector.schema.parse({"age": 50})])
        estimates = detector.estimates(x0, condition, [detector.head_key], detector.settings())
        inside = inner(estimates.anomaly_logits, 0.08)
    assert (
        logit == pytest.approx(float(inside.mean()), abs=1e-4)
        and scored.anomaly_map[-2].max() == 0 < scored.anomaly_map[16, 16]
    )
    assert scored.score is not None
    (headed / HEAD_FILE).unlink()
    with pytest.raises(CheckpointError, match=r"holds no head\.safetensors"):
        load_checkpoint(headed)


def test_balanced_means_half_residuals_half_head():
    generator = torch.Generator().manual_seed(0)
    residuals = torch.randn(60, 1, generator=generator) + 0.3 * torch.randn(
        60, 3, generator=generator
    )  # alike, so that their mean varies
    head = 5 + 2 * torch.randn(60, 1, generator=generator)
    components = (*(Component("absolute", sigma, 400) for sigma in (2, 3, 4)), Component("logit", 0, 100, "head"))
    values, maps = torch.cat([residuals, head], 1), torch.zeros(60, 8, 8)
    made = calibrate_scoring(Scoring(components, combine="balanced"), values, [None] * 60, maps, maps + 0.25)
    scores = np.array([made.score(row, None) for row in values])
    z = ((values - values.mean(0)) / values.std(0)).double()
    parts = [z[:, :3].mean(1), z[:, 3]]
    expected = sum(part / part.std() for part in parts) / 2
    assert np.allclose(scores, expected.numpy(), atol=1e-4) and made.map_normal == 0.25
    assert Scoring.from_dict(json.loads(json.dumps(made.to_dict()))) == made
    assert combine_z_scores(torch.tensor([1.0, float("nan"), 3.0]), "mean", (0.5, 0.2, 0.5)) == pytest.approx(2.0)
    with pytest.raises(ValueError, match="measured by the head"):
        Component("logit", 0, 100)


def test_foremost_is_the_part_that_stands_out_most():
    generator = torch.Generator().manual_seed(1)
    pressure = Component("contradiction", 0, 350, "one_step", feature="systolic_mmhg")
    components = (
        Component("absolute", 2, 400),
        Component("absolute", 4, 400),
        Component("peak_logit", 0, 100, "head"),
        pressure,
    )
    values = torch.randn(80, 4, generator=generator)
    made = calibrate_scoring(Scoring(components, combine="foremost"), values, ["PA"] * 80, torch.zeros(80, 8, 8))
    z = ((values - values.mean(0)) / values.std(0)).double()
    parts = torch.stack([part / part.std() for part in (z[:, :2].mean(1), z[:, 2], z[:, 3])])
    expected = parts.amax(0) - parts.amax(0).mean()
    assert np.allclose([made.score(row, "PA") for row in values], expected.numpy(), atol=1e-4)
    unknown = values[0].clone()
    unknown[3] = float("nan")
    assert made.score(unknown, "PA") == pytest.approx(float(parts[:2, 0].amax() - parts.amax(0).mean()), abs=1e-4)
    assert Scoring.from_dict(json.loads(json.dumps(made.to_dict()))) == made


def test_the_peak_of_the_map_is_the_mean_of_its_largest_logits():
    logits = torch.arange(100.0).view(1, 1, 10, 10)
    film, peak = torch.zeros_like(logits), Component("peak_logit", 0, 100, "head", share=0.05)
    assert measure_component(peak, film, logits, 0.0).tolist() == [97.0]
    assert measure_component(Component("logit", 0, 100, "head"), film, logits, 0.0).tolist() == [49.5]


def test_a_head_learns_what_was_painted(tiny_checkpoint, film_folder, tmp_path):
    """On a network that has learned nothing, a few steps already tell painted places from others.

    The same seed gives the same head.
    """
    detector = Detector(load_checkpoint(tiny_checkpoint), "cpu", "float32")
    folder = tmp_path / "films"
    folder.mkdir()
    for number in range(24):
        cv2.imwrite(str(folder / f"{number}.png"), (person(number).film(64) * 255).astype(np.uint8))
    manifest = folder / "manifest.csv"
    manifest.write_text("path,label\n" + "".join(f"{number}.png,normal\n" for number in range(24)))
    heard = []
    training = HeadTraining(steps=80, batch_size=12, learning_rate=3e-3)
    head = train_head(detector, str(manifest), training, HeadConfig(width=32), heard.append)
    assert [step.step for step in heard] == list(range(1, 81))
    assert np.mean([step.map_error for step in heard[-20:]]) < 0.75 * np.mean([step.map_error for step in heard[:10]])
    rng, logits, inside = np.random.default_rng(5), [], []
    for number in range(40, 64):
        film, mask = paint_anomaly(person(number).film(32), person(number + 1).film(32), rng)
        x0 = torch.from_numpy(np.clip(film, 0, 1))[None, None].float()
        condition = detector.condition(x0, [detector.schema.parse({})], attention=False)
        noises = torch.randn(2, 1, 32, 32, generator=torch.Generator().manual_seed(0))
        logits.append(
            anomaly_logits(detector.network, head, detector.config.schedule, x0, noises, condition)[0].numpy().ravel()
        )
        inside.append(mask.ravel() > 0.5)
    assert auroc(np.concatenate(logits), np.concatenate(inside)) > 0.6
    short = replace(training, steps=3)
    first, second = (train_head(detector, str(manifest), short, HeadConfig(width=16)).state_dict() for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)
    with pytest.raises(HeadTrainingError, match="must be positive"):
        HeadTraining(steps=0)


def test_the_command_teaches_a_head(tiny_checkpoint, film_folder, tmp_path, capsys):
    folder = tmp_path / "checkpoint"
    shutil.copytree(tiny_checkpoint, folder)
    assert (
        main(["head", str(folder), "--manifest", str(film_folder / "manifest.csv"), "--steps", "2", "--members", "2"])
        == 0
    )
    assert "error of the map" in capsys.readouterr().out
    first, second = load_checkpoint(folder).head.members
    assert not torch.equal(first.map.weight, second.map.weight)


def test_the_shipped_head_finds_a_lesion_that_no_one_painted_in_training(shipped):
    """A simulated film with an opacity, beside the same person's without.

    The real films' head was taught on other pictures altogether.
    """
    above = 0
    for number in range(2_090_000, 2_090_006):
        who = person(number, "opacity")
        ill, mask = who.film_with_lesion(128).film, who.film_with_lesion(128).mask
        well = person(number).film(128)
        maps = [shipped.analyze(film, {"view": who.patient.view}).anomaly_map for film in (ill, well)]
        above += maps[0][mask].mean() > maps[1][mask].mean()
    assert above >= 5
