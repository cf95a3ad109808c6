"""Shared fixtures: a tiny checkpoint with random weights, drawn films, the real films where they are."""

from __future__ import annotations

import gc
import shutil
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from helpers import CHROMIUM, REAL_DATA, randomize, serving, tiny_network

from diff3m.checkpoint.folder import CheckpointConfig, load_checkpoint, save_checkpoint, save_scoring, write_config
from diff3m.checkpoint.source import SHIPPED
from diff3m.data.phantom import make_person
from diff3m.detector import Detector
from diff3m.ehr import paper_schema
from diff3m.evaluation.calibration import calibrate_on_normals
from diff3m.explain import calibrate_fit, calibrate_usual
from diff3m.imaging import Preprocessing
from diff3m.network import Diff3M
from diff3m.scoring.score import Component, Scoring

FILM_PEOPLE = 2_050_001  # the number of the first phantom of `film_folder`


@pytest.fixture(scope="session")
def tiny_checkpoint(tmp_path_factory) -> Path:
    """A checkpoint folder with a small network and random weights, not calibrated."""
    schema = paper_schema()
    config = CheckpointConfig(
        "tiny",
        tiny_network(schema),
        schema,
        preprocessing=Preprocessing(size=32),
        scoring=Scoring(
            (Component("absolute", 4, 80), Component("ssim", 6, 40), Component("brighter", 4, 80, "one_step")),
            noise_level=80,
            steps=2,
        ),
    )
    torch.manual_seed(0)
    network = Diff3M(config.network)
    randomize(network)
    return save_checkpoint(tmp_path_factory.mktemp("checkpoint") / "tiny", config, network, torch.float32)


@pytest.fixture
def tiny_detector(tiny_checkpoint) -> Detector:
    return Detector(load_checkpoint(tiny_checkpoint), device="cpu", precision="float32")


@pytest.fixture
def tiny_copy(tiny_checkpoint, tmp_path) -> Path:
    """A copy of the tiny checkpoint that a test may write into."""
    return Path(shutil.copytree(tiny_checkpoint, tmp_path / "tiny_copy"))


@pytest.fixture(scope="session")
def fitted_detector(tiny_checkpoint, tmp_path_factory) -> Detector:
    """The tiny checkpoint with a calibrated fit of the record, in a folder of its own."""
    folder = Path(shutil.copytree(tiny_checkpoint, tmp_path_factory.mktemp("fitted") / "tiny"))
    detector = Detector(load_checkpoint(folder), device="cpu", precision="float32")
    cases = [
        detector.case(make_person(number).render(64), make_person(number).patient.to_record()) for number in range(8)
    ]
    calibration = calibrate_fit(detector, cases, {"habitus": 500})
    config = replace(detector.config, fit=calibration.fit, prior_fit=calibration.prior_fit)
    config = replace(config, prior_fit=calibrate_usual(detector.with_config(config), cases))
    write_config(folder, config)
    return Detector(load_checkpoint(folder), device="cpu", precision="float32")


@pytest.fixture(scope="session")
def phantoms() -> Detector:
    """The shipped checkpoint of simulated patients."""
    return Detector.from_pretrained("phantoms", device="cpu")


@pytest.fixture(scope="session")
def labelled_phantoms(tmp_path_factory) -> Path:
    """Twelve phantoms, which the gate lets pass, and a manifest: eight normal, four with a bright spot; both views."""
    folder = tmp_path_factory.mktemp("films")
    lines = ["path,age,sex,view,bmi,label"]
    y, x = np.mgrid[0:96, 0:96] / 96
    for index in range(12):
        film, label = make_person(FILM_PEOPLE + index).render(96), "normal"
        if index % 3 == 2:
            film = np.clip(film + 0.4 * np.exp(-(((x - 0.7) / 0.06) ** 2 + ((y - 0.5) / 0.06) ** 2)), 0, 1)
            label = "opacity"
        cv2.imwrite(str(folder / f"film{index}.png"), (film * 255).astype(np.uint8))
        view, sex = ("PA", "AP")[index % 2], ("F", "M")[index // 2 % 2]
        lines.append(f"film{index}.png,{40 + index},{sex},{view},{'' if index % 4 else 24.5},{label}")
    (folder / "manifest.csv").write_text("\n".join(lines) + "\n")
    return folder


@pytest.fixture
def film_folder(labelled_phantoms, tmp_path) -> Path:
    """A copy of the labelled phantoms and their manifest, in the test's own folder, that it may write into."""
    return Path(shutil.copytree(labelled_phantoms, tmp_path, dirs_exist_ok=True))


@pytest.fixture(scope="session")
def calibrated_once(tiny_checkpoint, labelled_phantoms, tmp_path_factory) -> Path:
    """The tiny checkpoint, calibrated on the normal phantoms."""
    folder = Path(shutil.copytree(tiny_checkpoint, tmp_path_factory.mktemp("calibrated") / "calibrated"))
    detector = Detector.from_pretrained(folder, device="cpu")
    save_scoring(folder, calibrate_on_normals(detector, labelled_phantoms / "manifest.csv"))
    return folder


@pytest.fixture
def calibrated_checkpoint(calibrated_once, tmp_path) -> Path:
    """A copy of the calibrated tiny checkpoint that a test may write into."""
    return Path(shutil.copytree(calibrated_once, tmp_path / "calibrated"))


@pytest.fixture(scope="session")
def complete(fitted_detector, labelled_phantoms, tmp_path_factory) -> Detector:
    """The tiny checkpoint with a calibrated fit and a calibrated score, so that it can explain everything."""
    folder = Path(shutil.copytree(fitted_detector.checkpoint.folder, tmp_path_factory.mktemp("complete") / "tiny"))
    save_scoring(folder, calibrate_on_normals(fitted_detector, labelled_phantoms / "manifest.csv"))
    return Detector(load_checkpoint(folder), device="cpu", precision="float32")


@pytest.fixture(scope="session")
def real_films() -> Path:
    """The folder of real films; tests that need it skip where it is absent."""
    folder = REAL_DATA / "cxr"
    if not (folder / "metadata.csv").is_file():
        pytest.skip(f"no real films: put them at {folder}, or name their folder in DIFF3M_TEST_DATA")
    return folder


@pytest.fixture(scope="session")
def real_uploads() -> Path:
    folder = REAL_DATA / "upload"
    if not folder.is_dir():
        pytest.skip("no full-size real files beside the project")
    return folder


@pytest.fixture(scope="session")
def shipped_detector() -> Detector:
    """The shipped checkpoint."""
    if not (SHIPPED / "real-films" / "config.json").is_file():
        pytest.fail("the shipped checkpoint is missing")
    return Detector.from_pretrained("real-films", device="cpu")


def pytest_collection_finish() -> None:
    """Spare every later collection of garbage the imported modules; a training alone asks for two."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def url(tmp_path_factory):
    log, storage = tmp_path_factory.mktemp("app") / "log", tmp_path_factory.mktemp("storage")
    with serving(log, TMPDIR=str(storage)) as address:
        yield address
        left_before = list(storage.rglob("*.png"))
    assert left_before and not list(storage.rglob("*.png"))  # pictures of films do not outlive the server
    message = log.read_text()
    assert "Traceback" not in message, message
    assert "secret-film-name" not in message and "SECRET" not in message


@pytest.fixture(scope="module")
def browser():
    if CHROMIUM is None:
        pytest.skip("no Chromium: install Debian's `chromium` to run the browser test")
    from playwright.sync_api import sync_playwright

    flags = ["--no-sandbox", "--disable-quic", "--no-first-run", "--disable-background-networking"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=flags)
        yield browser
        browser.close()
