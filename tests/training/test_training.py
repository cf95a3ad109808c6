"""A whole training, on a few phantoms and a tiny network."""

import csv
import json
import math
import warnings

import cv2
import numpy as np
import pytest
import torch
from helpers import TRAINING_NETWORK, listed, training_config

from diff3m.checkpoint.folder import load_checkpoint
from diff3m.data.manifest import ManifestError, read_normal_cases
from diff3m.detector import Detector
from diff3m.device import mixed_precision
from diff3m.diffusion import Schedule
from diff3m.ehr import paper_schema
from diff3m.imaging import Preprocessing
from diff3m.network import Diff3M
from diff3m.training import validation
from diff3m.training.batch import Batch
from diff3m.training.config import ConfigError
from diff3m.training.films import load_films
from diff3m.training.loop import TrainingError, copy_weights, train
from diff3m.training.loss import diffusion_loss

SCHEMA = paper_schema()


def test_training_lowers_the_loss_and_leaves_a_whole_checkpoint(film_folder):
    settings = training_config(film_folder, steps=30, learning_rate=3e-3, log_every=5)
    stages = []
    folder = train(settings, report=stages.append)
    rows = [row for row in csv.DictReader((film_folder / "run" / "log.csv").open()) if row["kind"] == "training"]
    assert float(rows[-1]["noise_mse"]) < 0.8 * float(rows[0]["noise_mse"])
    assert float(rows[-1]["masked_pixel_mse"]) < float(rows[0]["masked_pixel_mse"])
    assert {p.stage for p in stages} == {"films", "training"}
    assert list((film_folder / "run" / "samples").glob("*.png")) and list(
        (film_folder / "run" / "tensorboard").iterdir()
    )
    checkpoint = load_checkpoint(folder)
    assert checkpoint.config.training["films"] == 8  # the normals
    assert [f.trained for f in checkpoint.config.schema.features] == [
        True,
        True,
        True,
        True,
        False,
        False,
        False,
        False,
    ]
    assert checkpoint.config.schema["age"].mean == pytest.approx(np.mean([40, 41, 43, 44, 46, 47, 49, 50]))


def test_samples_are_of_the_training_films_without_validation(film_folder):
    train(training_config(film_folder, validation=None, steps=3))
    picture = cv2.imread(str(film_folder / "run" / "samples" / "step_000003.png"), cv2.IMREAD_GRAYSCALE)
    assert picture.shape == (3 * 32, 8 * 32)
    assert np.array_equal(
        picture[:32, :32],
        load_films(read_normal_cases(film_folder / "manifest.csv", SCHEMA), SCHEMA, Preprocessing(32)).images[0],
    )
    assert {row["kind"] for row in csv.DictReader((film_folder / "run" / "log.csv").open())} == {"training"}


def test_validation_takes_no_more_films_at_once_than_a_step(film_folder, monkeypatch):
    parts = []

    def recorded_loss(network, batch, schedule, *more):
        parts.append((batch, network))
        return diffusion_loss(network, batch, schedule, *more)

    monkeypatch.setattr(validation, "diffusion_loss", recorded_loss)
    train(training_config(film_folder, batch_size=3, steps=3))
    assert [len(batch.x0) for batch, _ in parts] == [3, 3, 2]
    whole = Batch(
        *(torch.cat([getattr(batch, name) for batch, _ in parts]) for name in ("x0", "noise", "t", "values", "masked"))
    )
    with torch.no_grad():
        losses = diffusion_loss(parts[0][1], whole, Schedule())
    row = next(row for row in csv.DictReader((film_folder / "run" / "log.csv").open()) if row["kind"] == "validation")
    assert float(row["noise_mse"]) == pytest.approx(losses.noise.item(), rel=1e-5)
    assert float(row["masked_pixel_mse"]) == pytest.approx(losses.masked_pixels.item(), rel=1e-5)
    assert whole.t.tolist() == [1000 * place // 8 for place in range(8)]


def test_a_run_starts_from_another_checkpoint_where_weights_fit(film_folder):
    first = train(training_config(film_folder, out=str(film_folder / "first")))
    weights = load_checkpoint(first).network.state_dict()
    network = Diff3M(
        training_config(film_folder, network={**TRAINING_NETWORK, "query": "film"}).network_config(SCHEMA.slots)
    )
    assert 0 < copy_weights(str(first), network) < len(weights)  # the record's query has no place in that network
    state = network.state_dict()
    assert torch.equal(state["noise_encoder.stem.weight"], weights["noise_encoder.stem.weight"])
    second = train(training_config(film_folder, out=str(film_folder / "second"), init=str(first), steps=1))
    assert load_checkpoint(second).config.training["init"] == first.name  # its folder is of this machine alone
    with pytest.raises(TrainingError, match="init: "):
        train(training_config(film_folder, out=str(film_folder / "third"), init=str(film_folder / "nothing")))
    other = Diff3M(
        training_config(film_folder, network={**TRAINING_NETWORK, "channels": 64}).network_config(SCHEMA.slots)
    )
    with pytest.raises(TrainingError, match="most weights"):
        copy_weights(str(first), other)


@pytest.mark.parametrize("init", ["nothing", "other"])
def test_a_start_that_does_not_fit_is_told_before_films_are_read(film_folder, tiny_checkpoint, init):
    reports = []
    settings = training_config(
        film_folder,
        init=str(tiny_checkpoint if init == "other" else film_folder / init),
        network={**TRAINING_NETWORK, "channels": 64},
    )
    with pytest.raises(TrainingError, match="init: "):
        train(settings, report=reports.append)
    assert not reports


def test_automatic_precision_is_half_only_where_that_is_native(monkeypatch):
    for native, expected in ((True, "bf16"), (False, "no")):
        monkeypatch.setattr("diff3m.device.has_bfloat16", lambda device, native=native: native)
        assert mixed_precision("auto") == expected
    assert mixed_precision("fp16") == "fp16"


def test_a_gradient_that_is_not_finite_ends_before_it_is_taken(film_folder, monkeypatch):
    monkeypatch.setattr(
        "accelerate.Accelerator.clip_grad_norm_", lambda self, parameters, limit: torch.tensor(math.nan)
    )
    with pytest.raises(TrainingError, match="gradient is not finite at step 0"):
        train(training_config(film_folder))


def test_patients_of_both_manifests_are_refused(film_folder):
    both = dict(manifest=listed(film_folder, "train.csv", range(2), ("10000032.0", "11.0")), steps=1)
    for column in ("patient", "subject_id"):
        with pytest.raises(ManifestError, match=r"Patients in both .* 1 \(10000032 …\), so validation"):
            train(
                training_config(
                    film_folder,
                    validation=listed(film_folder, "val.csv", range(2, 4), (" 10000032", 12), column),
                    **both,
                )
            )
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        train(training_config(film_folder, validation=listed(film_folder, "other.csv", range(2, 4), (13, 14)), **both))


def test_films_of_both_manifests_are_refused(film_folder):
    both = dict(manifest=listed(film_folder, "train.csv", range(3)), steps=1)
    (film_folder / "val.csv").write_text(f"path,label\n../{film_folder.name}/film2.png,normal\nfilm3.png,normal\n")
    with pytest.raises(ManifestError, match=r"Films in both .* 1 \(film2\.png …\)"):
        train(training_config(film_folder, validation=str(film_folder / "val.csv"), **both))


def test_it_is_said_where_patients_could_not_be_checked(film_folder):
    validation_manifest = listed(film_folder, "val.csv", range(3, 6), ("unknown", "nan", "7"))
    with pytest.warns(UserWarning, match="could not be checked: give both a column `patient`"):
        train(
            training_config(
                film_folder,
                manifest=listed(film_folder, "train.csv", range(3), ("unknown", "NaN", "")),
                validation=validation_manifest,
                steps=1,
            )
        )


def test_another_schema_trains_without_other_code(film_folder):
    features = [
        {
            "name": "heart_rate",
            "label": "Heart rate",
            "kind": "number",
            "group": "vitals",
            "explanation_group": "heart",
            "unit": "/min",
        },
        {
            "name": "spo2",
            "label": "SpO2",
            "kind": "number",
            "group": "vitals",
            "explanation_group": "oxygen",
            "unit": "%",
        },
    ]
    (film_folder / "schema.json").write_text(json.dumps(features))
    (film_folder / "manifest.csv").write_text(
        "path,heart_rate,spo2,label\n" + "".join(f"film{i}.png,{60 + i},,normal\n" for i in range(8))
    )
    folder = train(training_config(film_folder, schema=str(film_folder / "schema.json")))
    detector = Detector.from_pretrained(folder, device="cpu")
    assert detector.schema["heart_rate"].mean == pytest.approx(63.5) and not detector.schema["spo2"].trained
    assert set(detector.analyze(film_folder / "film0.png", {"heart_rate": 90}).attention["vitals"]) == {
        "heart_rate",
        "spo2",
    }
    (film_folder / "schema.json").write_text("[1, 2]")
    with pytest.raises(ConfigError, match="no list of features"):
        train(training_config(film_folder, schema=str(film_folder / "schema.json"), out=str(film_folder / "other")))


def test_a_loss_that_is_not_finite_ends_with_a_sentence(film_folder, monkeypatch):
    monkeypatch.setattr(Diff3M, "predict_noise", lambda self, x, t, c: x * math.nan)
    with pytest.raises(TrainingError, match="not finite at step 0"):
        train(training_config(film_folder))


def test_a_manifest_without_normals_ends_with_a_sentence(film_folder):
    (film_folder / "manifest.csv").write_text("path,label\nfilm0.png,opacity\n")
    with pytest.raises(ManifestError, match="no normal film"):
        train(training_config(film_folder, validation=None))
    (film_folder / "manifest.csv").write_text("path,label\nabsent.png,normal\n")
    with pytest.raises(ManifestError, match="Row 1"):
        train(training_config(film_folder, validation=None))
