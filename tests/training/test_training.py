import csv
import json
import math
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import warnings
from dataclasses import replace
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import yaml
from helpers import ROOT, randomize

from diff3m.checkpoint.folder import load_checkpoint, save_checkpoint, save_scoring
from diff3m.data.manifest import ManifestError, normal_cases, read_manifest
from diff3m.detector import Detector
from diff3m.diffusion import Schedule
from diff3m.ehr import paper_schema
from diff3m.evaluation.calibration import calibrate_on_normals
from diff3m.imaging import Preprocessing
from diff3m.network import Diff3M
from diff3m.training import loop
from diff3m.training.batch import Batch, augment, draw, drop_features
from diff3m.training.config import ConfigError, TrainingConfig
from diff3m.training.films import load_films
from diff3m.training.loop import TrainingError, agreed_step, learning_rate, mixed_precision, start_from, train
from diff3m.training.loss import diffusion_loss

SCHEMA = paper_schema()
TINY = dict(
    image_size=32, space_to_depth=2, channels=32, channel_multipliers=[1, 2], fusion_heads=4, attention_resolutions=[8]
)


def config(folder, **changes) -> TrainingConfig:
    values = dict(
        name="test",
        manifest=str(folder / "manifest.csv"),
        validation=str(folder / "manifest.csv"),
        out=str(folder / "run"),
        network=TINY,
        steps=6,
        batch_size=4,
        warmup_steps=2,
        log_every=2,
        validate_every=3,
        precision="no",
        rotate_degrees=5,
        shift=0.05,
        gamma=0.1,
    )
    return TrainingConfig(**{**values, **changes})


def films(folder):
    return load_films(read_manifest(folder / "manifest.csv", SCHEMA), SCHEMA, Preprocessing(32))


def test_a_batch_depends_on_seed_and_step_alone(film_folder):
    data, settings = films(film_folder), config(film_folder)
    first, again, next_step = (draw(data, SCHEMA, settings, step, 1000) for step in (5, 5, 6))
    assert torch.equal(first.x0, again.x0) and torch.equal(first.noise, again.noise) and torch.equal(first.t, again.t)
    assert not torch.equal(first.noise, next_step.noise)


def test_processes_share_the_global_batch(film_folder):
    data, settings = films(film_folder), config(film_folder)
    whole = draw(data, SCHEMA, settings, 3, 1000)
    parts = [draw(data, SCHEMA, settings, 3, 1000, rank, 2) for rank in (0, 1)]
    assert torch.equal(torch.stack([p.x0 for p in parts], 1).flatten(0, 1), whole.x0)
    assert whole.masked_scale == 1 and [int(part.masked.sum()) for part in parts] == [1, 0]  # one of four is masked
    assert [float(part.masked_scale) for part in parts] == [2, 0]  # whose mean over both is the whole batch's


def test_every_film_is_seen_once_an_epoch(film_folder):
    data, settings = films(film_folder), config(film_folder, rotate_degrees=0, shift=0, gamma=0)
    epoch = torch.cat([draw(data, SCHEMA, settings, step, 1000).x0 for step in range(3)])
    seen = {film.numpy().tobytes() for film in torch.round(epoch * 255).to(torch.uint8)}
    assert len(seen) == 12


def test_features_are_dropped_whole(film_folder):
    values = torch.zeros(4000, 10)
    settings = config(film_folder, feature_dropout=0.2, record_dropout=0.1)
    dropped = torch.isnan(drop_features(values, SCHEMA, settings, torch.Generator().manual_seed(0)))
    assert torch.equal(dropped[:, 1], dropped[:, 2]) and torch.equal(
        dropped[:, 3], dropped[:, 4]
    )  # one-hot slots go together
    assert dropped[:, 0].float().mean() == pytest.approx(1 - 0.8 * 0.9, abs=0.03)
    assert dropped.all(1).float().mean() == pytest.approx(0.1, abs=0.02)


def test_augmentation_keeps_shape_and_range_and_can_be_off(film_folder):
    x0 = torch.rand(4, 1, 32, 32)
    g = torch.Generator().manual_seed(0)
    moved = augment(x0, config(film_folder), g)
    assert moved.shape == x0.shape and 0 <= moved.min() and moved.max() <= 1 and not torch.equal(moved, x0)
    assert torch.equal(augment(x0, config(film_folder, rotate_degrees=0, shift=0, gamma=0), g), x0)


def test_learning_rate_warms_up_and_decays(film_folder):
    settings = config(film_folder, steps=100, warmup_steps=10, learning_rate=1.0, final_learning_rate=0.1)
    rates = [learning_rate(settings, step) for step in range(101)]
    assert rates[0] == pytest.approx(0.1) and max(rates) == rates[9] and rates[100] == pytest.approx(0.1)


def test_training_lowers_the_loss_and_leaves_a_whole_checkpoint(film_folder):
    settings = config(film_folder, steps=60, learning_rate=2e-3, log_every=10)
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
    train(config(film_folder, validation=None, steps=3))
    picture = cv2.imread(str(film_folder / "run" / "samples" / "step_000003.png"), cv2.IMREAD_GRAYSCALE)
    assert picture.shape == (3 * 32, 8 * 32)
    assert np.array_equal(
        picture[:32, :32],
        load_films(normal_cases(film_folder / "manifest.csv", SCHEMA), SCHEMA, Preprocessing(32)).images[0],
    )
    assert {row["kind"] for row in csv.DictReader((film_folder / "run" / "log.csv").open())} == {"training"}


def test_a_stopped_run_ends_as_an_unbroken_one(film_folder):
    whole = train(config(film_folder, out=str(film_folder / "whole")))

    class Killed(Exception):
        pass

    def kill(progress):
        if progress.stage == "training" and progress.done == 4:
            raise Killed

    broken = config(film_folder, out=str(film_folder / "broken"), save_minutes=0)
    with pytest.raises(Killed):
        train(broken, report=kill)
    (film_folder / "broken" / "state.pt.partial").write_bytes(b"half a save")
    resumed = train(broken)
    first, second = (load_checkpoint(folder).network.state_dict() for folder in (whole, resumed))
    for name, tensor in first.items():
        assert torch.equal(tensor, second[name]), name
    curves = [
        [(row["step"], row["kind"]) for row in csv.DictReader((film_folder / run / "log.csv").open())]
        for run in ("whole", "broken")
    ]
    assert curves[0] == curves[1] and len(set(curves[1])) == len(curves[1]), "no step is listed twice"


def test_a_log_ends_where_the_run_goes_on(tmp_path):
    log, text = tmp_path / "log.csv", b"step,kind\r\n2,training\r\n3,validation\r\n4,training\r\n6,tra"
    for step, lines in (
        (9, text.splitlines(keepends=True)[:4]),
        (3, text.splitlines(keepends=True)[:3]),
        (0, [b"step,kind\r\n"]),
    ):
        log.write_bytes(text)
        loop.cut_log(log, step)
        assert log.read_bytes() == b"".join(lines)
    for text in (b"", b"step,ki"):  # killed while the header was written
        log.write_bytes(text)
        loop.cut_log(log, 9)
        assert not log.exists()


def test_a_run_goes_on_with_its_own_settings_alone(film_folder):
    settings = config(film_folder, steps=2, validation=None)
    train(settings)
    for changes, said in (
        (
            dict(learning_rate=1e-3, seed=3),
            r"learning_rate \(0.0004 there, 0.001 here\), seed \(0 there, 3 here\)\. Restore",
        ),
        (dict(network={**TINY, "fusion_heads": 2}), r"other settings: network\. "),
        (dict(manifest=listed(film_folder, "fewer.csv", range(5))), r"films \(8 there, 5 here\), features\. "),
    ):
        with pytest.raises(TrainingError, match=said):
            train(replace(settings, steps=3, **changes))
    (film_folder / "copy.csv").write_text((film_folder / "manifest.csv").read_text())
    later = replace(
        settings,
        name="later",
        manifest=str(film_folder / "copy.csv"),
        steps=3,
        log_every=1,
        validate_every=1,
        save_minutes=9.0,
    )
    assert load_checkpoint(train(later)).config.training["steps_done"] == 3
    state = torch.load(film_folder / "run" / "state.pt", weights_only=True)
    del state["lasting"]  # as earlier versions saved it
    torch.save(state, film_folder / "run" / "state.pt")
    assert load_checkpoint(train(replace(later, steps=4, learning_rate=1e-3))).config.training["steps_done"] == 4


def test_a_run_goes_on_with_the_weights_that_it_began_with(film_folder, tiny_checkpoint):
    init, moved = film_folder / "init", film_folder / "moved"
    shutil.copytree(tiny_checkpoint, init)
    settings = config(film_folder, steps=1, validation=None, init=str(init))
    train(settings)
    other = load_checkpoint(init)
    randomize(other.network, seed=1)
    save_checkpoint(init, other.config, other.network)
    for _ in range(2):
        with pytest.raises(
            TrainingError, match=r"other settings: init_sha256 \([0-9a-f]{64} there, [0-9a-f]{64} here\)\. Restore"
        ):
            train(replace(settings, steps=3))
        init.rename(moved)
        train(replace(settings, steps=2))  # what is gone cannot be compared, nor is it needed
        moved.rename(init)
    state = torch.load(film_folder / "run" / "state.pt", weights_only=True)
    lasting = json.loads(state["lasting"])
    del lasting["init_sha256"]  # as earlier versions saved it
    torch.save({**state, "lasting": json.dumps(lasting)}, film_folder / "run" / "state.pt")
    train(replace(settings, steps=3))
    shutil.rmtree(init)
    shutil.copytree(tiny_checkpoint, init)
    assert load_checkpoint(train(replace(settings, steps=4))).config.training["steps_done"] == 4


def test_a_run_that_began_with_its_own_checkpoint_goes_on(film_folder):
    settings = config(film_folder, steps=1, validation=None)
    own = train(settings)
    (film_folder / "run" / "state.pt").unlink()
    for steps in (2, 3):  # each save replaces what `init` names
        train(replace(settings, init=str(own), steps=steps))
    assert load_checkpoint(own).config.training["steps_done"] == 3


@pytest.mark.parametrize("damage", ["cut", "empty", "other"])
def test_a_damaged_save_gets_a_sentence(film_folder, damage):
    settings = config(film_folder, steps=1, validation=None)
    train(settings)
    path = film_folder / "run" / "state.pt"
    path.write_bytes(path.read_bytes()[: 1000 if damage == "cut" else 0])
    if damage == "other":
        torch.save([1, 2], path)
    with pytest.raises(
        TrainingError, match=r"state\.pt cannot be read .*Remove it to start anew, or choose another `out`"
    ):
        train(replace(settings, steps=2))


def test_validation_takes_no_more_films_at_once_than_a_step(film_folder, monkeypatch):
    parts = []

    def measured(network, batch, schedule, *more):
        parts.append((batch, network))
        return diffusion_loss(network, batch, schedule, *more)

    monkeypatch.setattr(loop, "diffusion_loss", measured)
    train(config(film_folder, batch_size=3, steps=3))
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
    first = train(config(film_folder, out=str(film_folder / "first")))
    given = load_checkpoint(first).network.state_dict()
    network = Diff3M(config(film_folder, network={**TINY, "query": "film"}).network_config(SCHEMA.slots))
    assert 0 < start_from(str(first), network) < len(given)  # the record's query has no place in that network
    state = network.state_dict()
    assert torch.equal(state["noise_encoder.stem.weight"], given["noise_encoder.stem.weight"])
    train(config(film_folder, out=str(film_folder / "second"), init=str(first), steps=1))
    with pytest.raises(TrainingError, match="init: "):
        train(config(film_folder, out=str(film_folder / "third"), init=str(film_folder / "nothing")))
    other = Diff3M(config(film_folder, network={**TINY, "channels": 64}).network_config(SCHEMA.slots))
    with pytest.raises(TrainingError, match="most weights"):
        start_from(str(first), other)


@pytest.mark.parametrize("init", ["nothing", "other"])
def test_a_start_that_does_not_fit_is_told_before_films_are_read(film_folder, tiny_checkpoint, init):
    heard = []
    settings = config(
        film_folder,
        init=str(tiny_checkpoint if init == "other" else film_folder / init),
        network={**TINY, "channels": 64},
    )
    with pytest.raises(TrainingError, match="init: "):
        train(settings, report=heard.append)
    assert not heard


def test_automatic_precision_is_half_only_where_that_is_native(monkeypatch):
    for native, expected in ((True, "bf16"), (False, "no")):
        monkeypatch.setattr("diff3m.training.loop.has_bfloat16", lambda device, native=native: native)
        assert mixed_precision("auto") == expected
    assert mixed_precision("fp16") == "fp16"


CHILD = """
import os, signal, sys, torch
from diff3m.training import loop
from diff3m.training import loop
from diff3m.training.config import TrainingConfig
torch.set_num_threads(1)
config, moment = TrainingConfig.from_yaml(sys.argv[1]), sys.argv[2]
save, average = torch.save, loop._Run._average

def die():
    os.kill(os.getpid(), signal.SIGKILL)

def half_a_save(state, path):
    if state["step"] < 4:
        return save(state, path)
    with open(path, "wb") as file:
        file.write(b"half a save")
    die()

def half_a_step(run):
    if run.step == 4:
        die()
    average(run)

if moment == "save":
    torch.save = half_a_save
elif moment == "step":
    loop._Run._average = half_a_step
loop.train(config)
"""


@pytest.mark.parametrize("moment", ["step", "save"])
def test_a_run_killed_in_the_middle_ends_as_an_unbroken_one(film_folder, moment):
    folders = {}
    for name, how in (("whole", ["never"]), ("killed", [moment, "never"])):
        settings = config(film_folder, out=str(film_folder / name), save_minutes=0, validation=None)
        (film_folder / f"{name}.yaml").write_text(yaml.safe_dump(settings.to_dict()))
        for when in how:
            child = subprocess.run(
                [sys.executable, "-c", CHILD, str(film_folder / f"{name}.yaml"), when],
                capture_output=True,
                cwd=ROOT,
                timeout=200,
            )
            assert child.returncode == (0 if when == "never" else -signal.SIGKILL), child.stderr[-500:]
        folders[name] = film_folder / name / "checkpoint"
    first, second = (load_checkpoint(folder).network.state_dict() for folder in folders.values())
    for name, tensor in first.items():
        assert torch.equal(tensor, second[name]), name


def test_a_full_disk_ends_with_a_sentence_and_keeps_the_last_save(film_folder, monkeypatch):
    settings, saves, save = config(film_folder, save_minutes=0), [], torch.save

    def full(state, path):
        saves.append(state["step"])
        if state["step"] == 3:
            path.write_bytes(b"part")
            raise OSError(28, "No space left on device")
        save(state, path)

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(TrainingError, match=r"No space left.*last save is kept"):
        train(settings)
    assert saves == [1, 2, 3] and not list((film_folder / "run").rglob("*.partial"))
    assert torch.load(film_folder / "run" / "state.pt", weights_only=True)["step"] == 2
    monkeypatch.setattr(torch, "save", save)
    assert load_checkpoint(train(settings)).config.training["steps_done"] == 6


def test_a_run_that_ended_in_its_last_save_writes_its_checkpoint(film_folder, monkeypatch):
    """The state says that all steps are done, but the checkpoint is of an earlier save.

    It is written anew, not taken for the last.
    """
    whole = train(config(film_folder, out=str(film_folder / "whole")))
    settings, save = config(film_folder, save_minutes=0), loop.save_checkpoint

    def full(folder, checkpoint, network, *more):
        if checkpoint.training["steps_done"] == 6:
            raise OSError(28, "No space left on device")
        return save(folder, checkpoint, network, *more)

    monkeypatch.setattr(loop, "save_checkpoint", full)
    with pytest.raises(TrainingError, match="last save is kept"):
        train(settings)
    assert torch.load(film_folder / "run" / "state.pt", weights_only=True)["step"] == 6
    assert load_checkpoint(film_folder / "run" / "checkpoint").config.training["steps_done"] == 5
    monkeypatch.setattr(loop, "save_checkpoint", save)
    mended, unbroken = (load_checkpoint(folder) for folder in (train(settings), whole))
    assert mended.config.training["steps_done"] == 6
    for name, tensor in unbroken.network.state_dict().items():
        assert torch.equal(tensor, mended.network.state_dict()[name]), name


def test_a_gradient_that_is_not_finite_ends_before_it_is_taken(film_folder, monkeypatch):
    monkeypatch.setattr(
        "accelerate.Accelerator.clip_grad_norm_", lambda self, parameters, limit: torch.tensor(math.nan)
    )
    with pytest.raises(TrainingError, match="gradient is not finite at step 0"):
        train(config(film_folder))


def listed(folder, name: str, films: range, patients: tuple = (), column: str = "Patient") -> str:
    """A manifest of normal films, with their patients where given."""
    lines = [f"path,label,{column}"] + [
        f"film{film}.png,normal,{patients[place] if patients else ''}" for place, film in enumerate(films)
    ]
    (folder / name).write_text("\n".join(lines) + "\n")
    return str(folder / name)


def test_patients_of_both_manifests_are_refused(film_folder):
    both = dict(manifest=listed(film_folder, "train.csv", range(2), ("10000032.0", "11.0")), steps=1)
    for column in ("patient", "subject_id"):
        with pytest.raises(TrainingError, match=r"1 patients are in both manifests \(10000032"):
            train(
                config(
                    film_folder,
                    validation=listed(film_folder, "val.csv", range(2, 4), (" 10000032", 12), column),
                    **both,
                )
            )
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        train(config(film_folder, validation=listed(film_folder, "other.csv", range(2, 4), (13, 14)), **both))


def test_films_of_both_manifests_are_refused(film_folder):
    both = dict(manifest=listed(film_folder, "train.csv", range(3)), steps=1)
    (film_folder / "val.csv").write_text(f"path,label\n../{film_folder.name}/film2.png,normal\nfilm3.png,normal\n")
    with pytest.raises(TrainingError, match=r"1 films are in both manifests \(film2\.png …\)"):
        train(config(film_folder, validation=str(film_folder / "val.csv"), **both))


def test_it_is_said_where_patients_could_not_be_checked(film_folder):
    held = listed(film_folder, "val.csv", range(3, 6), ("unknown", "nan", "7"))
    with pytest.warns(UserWarning, match="could not be checked: give both a column `patient`"):
        train(
            config(
                film_folder,
                manifest=listed(film_folder, "train.csv", range(3), ("unknown", "NaN", "")),
                validation=held,
                steps=1,
            )
        )


def slow_to_write(rank: int, port: int, settings: TrainingConfig) -> None:
    """One of two processes, the first of which takes a while to write, so that their clocks differ."""
    write = loop._Run._write

    def late(run) -> None:
        time.sleep(0.7)
        write(run)

    loop._Run._write = late
    one_of_two(rank, port, settings)


def one_of_two(rank: int, port: int, settings: TrainingConfig) -> None:
    os.environ.update(
        RANK=str(rank),
        LOCAL_RANK=str(rank),
        WORLD_SIZE="2",
        MASTER_ADDR="127.0.0.1",
        MASTER_PORT=str(port),
        ACCELERATE_USE_CPU="true",
    )
    torch.set_num_threads(1)
    train(settings, report=lambda progress: Path(f"{settings.out}-heard-{progress.stage}-{rank}").touch())


def mishap(what: str, rank: int, port: int, settings: TrainingConfig) -> None:
    """One of two processes, one of which meets something the other does not; leaves the sentence it ended with."""
    folder = Path(settings.out)
    if what == "saves" and rank == 1:
        settings = replace(settings, out=f"{folder}-elsewhere")
    if what == "manifest" and rank == 1:
        settings = replace(settings, manifest="absent.csv")
    if what == "disk" and rank == 0:
        torch.save = full_disk
    if what == "log" and rank == 0:
        loop._Run._log = full_disk
    if what == "loss" and rank == 1:
        Diff3M.predict_noise = lambda self, x, t, c: x * math.nan
    with pytest.raises((TrainingError, ManifestError, OSError)) as ended:
        one_of_two(rank, port, settings)
    folder.with_name(f"said-{rank}").write_text(str(ended.value))


def full_disk(*_) -> None:
    raise OSError(28, "No space left on device")


def two_processes(function, settings: TrainingConfig) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    torch.multiprocessing.spawn(function, (port, settings), nprocs=2)


@pytest.mark.timeout(120)
def test_two_processes_save_at_the_same_steps(film_folder):
    """Both save by the first one's clock.

    Were each to go by its own, one would wait for the other's save and the other for its gradients.
    """
    two_processes(slow_to_write, config(film_folder, out=str(film_folder / "both"), steps=12, save_minutes=0.5 / 60))
    assert load_checkpoint(film_folder / "both" / "checkpoint").config.training["steps_done"] == 12


@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    ("what", "sentence"),
    [
        ("saves", r"different steps \(3, 0;.* on a disk that all machines share"),
        ("manifest", "no manifest file absent.csv"),
        ("disk", "Step 6 could not be saved.*No space left"),
        ("log", "No space left"),
        ("loss", "loss is not finite at step 0"),
    ],
)
def test_where_one_of_two_processes_fails_both_end_with_its_sentence(film_folder, what, sentence):
    settings = config(film_folder, validation=None)
    if what == "saves":
        train(replace(settings, steps=3))
    two_processes(partial(mishap, what), settings)
    for rank in (0, 1):
        assert re.search(sentence, (film_folder / f"said-{rank}").read_text())


def test_processes_resume_from_one_step():
    assert agreed_step([7]) == agreed_step([7, 7]) == 7
    with pytest.raises(TrainingError, match="a disk that all machines share"):
        agreed_step([7, 0])


def test_a_batch_that_cannot_be_shared_evenly_is_refused(film_folder, monkeypatch):
    monkeypatch.setattr("accelerate.Accelerator.num_processes", property(lambda self: 3))
    with pytest.raises(TrainingError, match="multiple of 3"):
        train(config(film_folder))


def test_two_processes_train_as_one_on_the_same_global_batch(film_folder):
    alone = train(config(film_folder, out=str(film_folder / "alone"), masked_fraction=1.0))
    two_processes(one_of_two, config(film_folder, out=str(film_folder / "both"), masked_fraction=1.0))
    assert {path.name for path in film_folder.glob("both-heard-*")} == {
        "both-heard-films-0",
        "both-heard-training-0",
    }, "the second reports nothing"
    checkpoint = load_checkpoint(alone)
    torch.manual_seed(0)
    start = torch.nn.utils.parameters_to_vector(Diff3M(checkpoint.config.network).parameters())
    one = torch.nn.utils.parameters_to_vector(checkpoint.network.parameters())
    two = torch.nn.utils.parameters_to_vector(load_checkpoint(film_folder / "both" / "checkpoint").network.parameters())
    assert (one - two).norm() < 0.05 * (one - start).norm()  # the way that both went, but for rounding
    curves = [
        [row for row in csv.DictReader((film_folder / run / "log.csv").open()) if row["kind"] == "training"]
        for run in ("alone", "both")
    ]
    assert len(curves[0]) == len(curves[1]) == 3
    for name in ("noise_mse", "masked_pixel_mse"):
        first, second = ([float(row[name]) for row in curve] for curve in curves)
        assert second == pytest.approx(first, rel=2e-3)


def test_a_finished_run_is_left_as_it_is(film_folder):
    folder = train(config(film_folder))
    detector = Detector.from_pretrained(folder, device="cpu")
    save_scoring(folder, calibrate_on_normals(detector, film_folder / "manifest.csv"))
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    train(config(film_folder))
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert load_checkpoint(folder).config.scoring.calibration


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
    folder = train(config(film_folder, schema=str(film_folder / "schema.json")))
    detector = Detector.from_pretrained(folder, device="cpu")
    assert detector.schema["heart_rate"].mean == pytest.approx(63.5) and not detector.schema["spo2"].trained
    assert set(detector.analyze(film_folder / "film0.png", {"heart_rate": 90}).attention["vitals"]) == {
        "heart_rate",
        "spo2",
    }
    (film_folder / "schema.json").write_text("[1, 2]")
    with pytest.raises(ConfigError, match="no list of features"):
        train(config(film_folder, schema=str(film_folder / "schema.json"), out=str(film_folder / "other")))


def test_a_loss_that_is_not_finite_ends_with_a_sentence(film_folder, monkeypatch):
    monkeypatch.setattr(Diff3M, "predict_noise", lambda self, x, t, c: x * math.nan)
    with pytest.raises(TrainingError, match="not finite at step 0"):
        train(config(film_folder))


def test_a_run_whose_loss_is_lost_names_a_way_that_works(film_folder, monkeypatch):
    settings, drawn = config(film_folder, save_minutes=0, validation=None), loop.draw

    def lost(films, schema, config, step, *more):
        batch = drawn(films, schema, config, step, *more)
        return replace(batch, x0=batch.x0 * math.nan) if step == 3 else batch

    monkeypatch.setattr(loop, "draw", lost)
    with pytest.raises(TrainingError) as ended:
        train(settings)
    kept = film_folder / "run" / "checkpoint"
    assert str(ended.value) == (
        f"The loss is not finite at step 3. Step 3 is kept: start another `out` with `init: {kept}` and a lower "
        "learning_rate."
    )
    assert load_checkpoint(kept).config.training["steps_done"] == 3
    monkeypatch.setattr(loop, "draw", drawn)
    train(replace(settings, out=str(film_folder / "other"), init=str(kept), learning_rate=1e-5, steps=1))


def test_nothing_is_said_to_be_kept_before_the_first_save(film_folder, monkeypatch):
    settings, finite = config(film_folder, validation=None, steps=1), torch.isfinite
    monkeypatch.setattr(torch, "isfinite", lambda tensor: finite(tensor) & False)
    with pytest.raises(TrainingError, match=r"^The loss is not finite at step 0\. Lower learning_rate\.$"):
        train(settings)
    monkeypatch.setattr(torch, "isfinite", finite)
    train(replace(settings, learning_rate=1e-5))


def test_a_manifest_without_normals_ends_with_a_sentence(film_folder):
    (film_folder / "manifest.csv").write_text("path,label\nfilm0.png,opacity\n")
    with pytest.raises(ManifestError, match="no normal film"):
        train(config(film_folder, validation=None))
    (film_folder / "manifest.csv").write_text("path,label\nabsent.png,normal\n")
    with pytest.raises(ManifestError, match="Row 1"):
        train(config(film_folder, validation=None))


def test_another_network_is_not_resumed(film_folder):
    train(config(film_folder))
    state = torch.load(film_folder / "run" / "state.pt", weights_only=True)
    torch.save({**state, "lasting": "{}"}, film_folder / "run" / "state.pt")
    with pytest.raises(TrainingError, match="another network"):
        train(config(film_folder, network={**TINY, "channels": 64}, steps=9))


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("name: a\nmanifest: b\n", "lacks: out"),
        ("name: a\nmanifest: b\nout: c\nstep: 4\n", "unknown setting"),
        ("name: a\nmanifest: b\nout: c\nsteps: 0\n", "steps must be"),
        ("name: a\nmanifest: b\nout: c\nlearning_rate: fast\n", "learning_rate"),
        ("name: a\nmanifest: b\nout: c\nprecision: int8\n", "precision"),
        ("- a\n- b\n", "setting: value"),
        ("a: [", "valid YAML"),
        ("1: 2\nname: a\nmanifest: b\nout: c\n", "unknown setting.*1"),
        *(
            (f"name: a\nmanifest: b\nout: c\n{setting}: {value}\n", f"^{setting} must {rule}, got ")
            for setting, value, rule in (
                ("gradient_clip", "0", "be above 0"),
                ("gradient_clip", "-1.0", "be above 0"),
                ("learning_rate", ".nan", "be a finite number"),
                ("learning_rate", "null", "be a finite number"),
                ("learning_rate", "-1e-4", "be above 0"),
                ("learning_rate", ".inf", "be a finite number"),
                ("final_learning_rate", "1.5", "lie between 0 and 1"),
                ("final_learning_rate", "-0.1", "lie between 0 and 1"),
                ("low_level", "1001", "lie between 1 and 1000"),
                ("low_level", "0", "lie between 1 and 1000"),
                ("batch_size", "4.0", "be a whole number"),
                ("batch_size", "true", "be a whole number"),
                ("steps", "null", "be a whole number"),
                ("warmup_steps", "-1", "be at least 0"),
                ("seed", "1.5", "be a whole number"),
                ("seed", "-1", "lie between 0 and 4294967295"),
                ("weight_decay", "-0.1", "be at least 0"),
                ("gamma", ".nan", "be a finite number"),
                ("save_minutes", "[5]", "be a finite number"),
                ("ema", "2", "lie between 0 and 1"),
                ("network", "[1]", "be `field: value` pairs"),
                ("preset", "null", "be text"),
                ("init", "3", "be text"),
                ("name", "''", "be text"),
            )
        ),
    ],
)
def test_a_bad_configuration_gets_a_sentence(tmp_path, text, word):
    (tmp_path / "c.yaml").write_text(text)
    with pytest.raises(ConfigError, match=word):
        TrainingConfig.from_yaml(tmp_path / "c.yaml")


def test_precision_no_needs_no_quotes(tmp_path):
    (tmp_path / "c.yaml").write_text("name: a\nmanifest: b\nout: c\nprecision: no\n")
    assert TrainingConfig.from_yaml(tmp_path / "c.yaml").precision == "no"


@pytest.mark.parametrize("name", ["condition_encoders", "shared_masked_encoder", "unknown_tokens"])
def test_a_switch_of_the_network_is_true_or_false(name):
    with pytest.raises(ConfigError, match=f"network: {name} must be true or false, got 'maybe'"):
        TrainingConfig("a", "b", "c", network={name: "maybe"}).network_config(SCHEMA.slots)


def test_the_walk_names_a_run_before_the_one_that_goes_on_from_it():
    commands = re.findall(r"^   .*train (configs/\S+\.yaml)$", (ROOT / "docs" / "train.md").read_text(), re.MULTILINE)
    runs = [TrainingConfig.from_yaml(ROOT / path) for path in commands]
    assert [run.name for run in runs] == ["real-films-first", "real-films", "mimic-paper"]
    assert [run.init for run in runs] == [None, f"{runs[0].out}/checkpoint", None]


def test_configurations_in_the_repository_are_valid(monkeypatch):
    monkeypatch.chdir(ROOT)
    for path in (ROOT / "configs").glob("*.yaml"):
        settings = TrainingConfig.from_yaml(path, out="elsewhere")
        schema = settings.ehr_schema()
        assert settings.out == "elsewhere" and settings.network_config(schema.slots).slots == schema.slots
