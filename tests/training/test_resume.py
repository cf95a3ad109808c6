"""Runs that stop, go on or are damaged, and what they say."""

import csv
import json
import math
import shutil
import signal
import subprocess
import sys
from dataclasses import replace

import pytest
import torch
import yaml
from helpers import ROOT, TRAINING_NETWORK, listed, randomize, training_config

from diff3m.checkpoint.folder import load_checkpoint, save_checkpoint, save_scoring
from diff3m.detector import Detector
from diff3m.ehr import paper_schema
from diff3m.evaluation.calibration import calibrate_on_normals
from diff3m.training import loop
from diff3m.training.loop import TrainingError, train

SCHEMA = paper_schema()


def test_a_stopped_run_ends_as_an_unbroken_one(film_folder):
    whole = train(training_config(film_folder, out=str(film_folder / "whole")))

    class Killed(Exception):
        pass

    def kill(progress):
        if progress.stage == "training" and progress.done == 4:
            raise Killed

    interrupted_run = training_config(film_folder, out=str(film_folder / "broken"), save_minutes=0)
    with pytest.raises(Killed):
        train(interrupted_run, report=kill)
    (film_folder / "broken" / "state.pt.partial").write_bytes(b"half a save")
    resumed_folder = train(interrupted_run)
    first, second = (load_checkpoint(folder).network.state_dict() for folder in (whole, resumed_folder))
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
        loop.truncate_log(log, step)
        assert log.read_bytes() == b"".join(lines)
    for text in (b"", b"step,ki"):  # killed while the header was written
        log.write_bytes(text)
        loop.truncate_log(log, 9)
        assert not log.exists()


@pytest.mark.slow
def test_a_run_goes_on_with_its_own_settings_alone(film_folder):
    settings = training_config(film_folder, steps=2, validation=None)
    train(settings)
    for changes, message in (
        (
            dict(learning_rate=1e-3, seed=3),
            r"learning_rate \(0.0004 there, 0.001 here\), seed \(0 there, 3 here\)\. Restore",
        ),
        (dict(network={**TRAINING_NETWORK, "fusion_heads": 2}), r"other settings: network\. "),
        (dict(manifest=listed(film_folder, "fewer.csv", range(5))), r"films \(8 there, 5 here\), features\. "),
    ):
        with pytest.raises(TrainingError, match=message):
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
    del state["identity"]  # as earlier versions saved it
    torch.save(state, film_folder / "run" / "state.pt")
    assert load_checkpoint(train(replace(later, steps=4, learning_rate=1e-3))).config.training["steps_done"] == 4


@pytest.mark.slow
def test_a_run_goes_on_with_the_weights_that_it_began_with(film_folder, tiny_checkpoint):
    init, other_folder = film_folder / "init", film_folder / "moved"
    shutil.copytree(tiny_checkpoint, init)
    settings = training_config(film_folder, steps=1, validation=None, init=str(init))
    train(settings)
    other = load_checkpoint(init)
    randomize(other.network, seed=1)
    save_checkpoint(init, other.config, other.network)
    for _ in range(2):
        with pytest.raises(
            TrainingError, match=r"other settings: init_sha256 \([0-9a-f]{64} there, [0-9a-f]{64} here\)\. Restore"
        ):
            train(replace(settings, steps=3))
        init.rename(other_folder)
        train(replace(settings, steps=2))  # what is gone cannot be compared, nor is it needed
        other_folder.rename(init)
    state = torch.load(film_folder / "run" / "state.pt", weights_only=True)
    identity = json.loads(state["identity"])
    del identity["init_sha256"]  # as earlier versions saved it
    torch.save({**state, "identity": json.dumps(identity)}, film_folder / "run" / "state.pt")
    train(replace(settings, steps=3))
    shutil.rmtree(init)
    shutil.copytree(tiny_checkpoint, init)
    assert load_checkpoint(train(replace(settings, steps=4))).config.training["steps_done"] == 4


@pytest.mark.slow
def test_a_run_that_began_with_its_own_checkpoint_goes_on(film_folder):
    settings = training_config(film_folder, steps=1, validation=None)
    own = train(settings)
    (film_folder / "run" / "state.pt").unlink()
    for steps in (2, 3):  # each save replaces what `init` names
        train(replace(settings, init=str(own), steps=steps))
    assert load_checkpoint(own).config.training["steps_done"] == 3


@pytest.mark.parametrize(
    "damage", ["cut", *(pytest.param(name, marks=pytest.mark.slow) for name in ("empty", "other"))]
)
def test_a_damaged_save_gets_a_sentence(film_folder, damage):
    settings = training_config(film_folder, steps=1, validation=None)
    train(settings)
    path = film_folder / "run" / "state.pt"
    path.write_bytes(path.read_bytes()[: 1000 if damage == "cut" else 0])
    if damage == "other":
        torch.save([1, 2], path)
    with pytest.raises(
        TrainingError, match=r"state\.pt cannot be read .*Remove it to start anew, or choose another `out`"
    ):
        train(replace(settings, steps=2))


CHILD = """
import os, signal, sys, torch
from diff3m.training import loop
from diff3m.training import loop
from diff3m.training.config import TrainingConfig
torch.set_num_threads(1)
config, moment = TrainingConfig.from_yaml(sys.argv[1]), sys.argv[2]
save, average = torch.save, loop._Run._update_average

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
    loop._Run._update_average = half_a_step
loop.train(config)
"""


@pytest.mark.slow
@pytest.mark.parametrize("moment", ["step", "save"])
def test_a_run_killed_in_the_middle_ends_as_an_unbroken_one(film_folder, moment):
    folders = {}
    for name, how in (("whole", ["never"]), ("killed", [moment, "never"])):
        settings = training_config(film_folder, out=str(film_folder / name), save_minutes=0, validation=None)
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


@pytest.mark.slow
def test_a_full_disk_ends_with_a_sentence_and_keeps_the_last_save(film_folder, monkeypatch):
    settings, saves, save = training_config(film_folder, save_minutes=0), [], torch.save

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


@pytest.mark.slow
def test_a_run_that_ended_in_its_last_save_writes_its_checkpoint(film_folder, monkeypatch):
    """The state says that all steps are done, but the checkpoint is of an earlier save.

    It is written anew, not taken for the last.
    """
    whole = train(training_config(film_folder, out=str(film_folder / "whole")))
    settings, save = training_config(film_folder, save_minutes=0), loop.save_checkpoint

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
    repeat, unbroken = (load_checkpoint(folder) for folder in (train(settings), whole))
    assert repeat.config.training["steps_done"] == 6
    for name, tensor in unbroken.network.state_dict().items():
        assert torch.equal(tensor, repeat.network.state_dict()[name]), name


@pytest.mark.slow
def test_a_finished_run_is_left_as_it_is(film_folder):
    folder = train(training_config(film_folder))
    detector = Detector.from_pretrained(folder, device="cpu")
    save_scoring(folder, calibrate_on_normals(detector, film_folder / "manifest.csv"))
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    train(training_config(film_folder))
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert load_checkpoint(folder).config.scoring.calibration


def test_a_run_whose_loss_is_lost_names_a_way_that_works(film_folder, monkeypatch):
    settings, draw = training_config(film_folder, save_minutes=0, validation=None), loop.draw_batch

    def lost(films, schema, config, step, *more, **options):
        batch = draw(films, schema, config, step, *more, **options)
        return replace(batch, x0=batch.x0 * math.nan) if step == 3 else batch

    monkeypatch.setattr(loop, "draw_batch", lost)
    with pytest.raises(TrainingError) as excinfo:
        train(settings)
    last_checkpoint = film_folder / "run" / "checkpoint"
    assert str(excinfo.value) == (
        "The loss is not finite at step 3. "
        f"Step 3 is kept: start another `out` with `init: {last_checkpoint}` and a lower learning_rate."
    )
    assert load_checkpoint(last_checkpoint).config.training["steps_done"] == 3
    monkeypatch.setattr(loop, "draw_batch", draw)
    train(replace(settings, out=str(film_folder / "other"), init=str(last_checkpoint), learning_rate=1e-5, steps=1))


def test_nothing_is_said_to_be_kept_before_the_first_save(film_folder, monkeypatch):
    settings, finite = training_config(film_folder, validation=None, steps=1), torch.isfinite
    monkeypatch.setattr(torch, "isfinite", lambda tensor: finite(tensor) & False)
    with pytest.raises(TrainingError, match=r"^The loss is not finite at step 0\. Lower learning_rate\.$"):
        train(settings)
    monkeypatch.setattr(torch, "isfinite", finite)
    train(replace(settings, learning_rate=1e-5))


@pytest.mark.slow
def test_another_network_is_not_resumed(film_folder):
    train(training_config(film_folder))
    state = torch.load(film_folder / "run" / "state.pt", weights_only=True)
    torch.save({**state, "identity": "{}"}, film_folder / "run" / "state.pt")
    with pytest.raises(TrainingError, match="another network"):
        train(training_config(film_folder, network={**TRAINING_NETWORK, "channels": 64}, steps=9))
