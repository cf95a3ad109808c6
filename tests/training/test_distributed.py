"""Trainings of two processes."""

import csv
import math
import os
import re
import socket
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from helpers import full_disk, training_config

from diff3m.checkpoint.folder import load_checkpoint
from diff3m.data.manifest import ManifestError
from diff3m.ehr import paper_schema
from diff3m.network import Diff3M
from diff3m.training import loop
from diff3m.training.config import TrainingConfig
from diff3m.training.loop import TrainingError, common_step, train

SCHEMA = paper_schema()


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
    with pytest.raises((TrainingError, ManifestError, OSError)) as excinfo:
        one_of_two(rank, port, settings)
    folder.with_name(f"said-{rank}").write_text(str(excinfo.value))


def two_processes(function, settings: TrainingConfig) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    torch.multiprocessing.spawn(function, (port, settings), nprocs=2)


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_two_processes_save_at_the_same_steps(film_folder):
    """Both save by the first one's clock.

    Were each to go by its own, one would wait for the other's save and the other for its gradients.
    """
    two_processes(
        slow_to_write, training_config(film_folder, out=str(film_folder / "both"), steps=12, save_minutes=0.5 / 60)
    )
    assert load_checkpoint(film_folder / "both" / "checkpoint").config.training["steps_done"] == 12


@pytest.mark.slow
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
    settings = training_config(film_folder, validation=None)
    if what == "saves":
        train(replace(settings, steps=3))
    two_processes(partial(mishap, what), settings)
    for rank in (0, 1):
        assert re.search(sentence, (film_folder / f"said-{rank}").read_text())


def test_processes_resume_from_one_step():
    assert common_step([7]) == common_step([7, 7]) == 7
    with pytest.raises(TrainingError, match="a disk that all machines share"):
        common_step([7, 0])


@pytest.mark.slow
def test_two_processes_train_as_one_on_the_same_global_batch(film_folder):
    alone = train(training_config(film_folder, out=str(film_folder / "alone"), masked_fraction=1.0))
    two_processes(one_of_two, training_config(film_folder, out=str(film_folder / "both"), masked_fraction=1.0))
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
