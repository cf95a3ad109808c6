"""Shared fixtures: a tiny checkpoint with random weights, drawn films, the real films where they are."""

from __future__ import annotations

import io
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pydicom
import pytest
import torch
from pydicom.uid import ExplicitVRLittleEndian

from diff3m.checkpoint.folder import CheckpointConfig, load_checkpoint, save_checkpoint, write_config
from diff3m.checkpoint.source import SHIPPED
from diff3m.data.phantom import person
from diff3m.detector import Detector
from diff3m.ehr import EHRSchema, paper_schema
from diff3m.explain import calibrate_fit, calibrate_usual
from diff3m.imaging import Preprocessing
from diff3m.network import Diff3M, NetworkConfig
from diff3m.scoring.score import Component, Scoring

ROOT = Path(__file__).resolve().parent.parent
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
REAL_DATA = Path(os.environ.get("DIFF3M_TEST_DATA", ROOT.parent / "shared" / "data"))
FILM_PEOPLE = 2_050_001  # the number of the first phantom of `film_folder`
RECORD = {"age": 60, "sex": "F", "view": "AP", "bmi": 31, "height_cm": 165, "systolic_mmhg": 150, "diastolic_mmhg": 80}
GOLDEN = Path(__file__).resolve().parent / "golden"


def drawn_film(size: int = 96, seed: int = 0, bright: float = 0.0) -> np.ndarray:
    """Two dark lungs on a bright chest, with a little noise: enough of a film for plumbing. (size, size) in [0, 1]."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:size, 0:size] / size
    film = 0.75 - 0.15 * y
    for center in (0.3, 0.7):
        film -= 0.5 * np.exp(-(((x - center - 0.01 * rng.normal()) / 0.13) ** 2 + ((y - 0.45) / 0.28) ** 2))
    film += bright * np.exp(-(((x - 0.7) / 0.06) ** 2 + ((y - 0.5) / 0.06) ** 2))
    film[:, 0:2] = rng.uniform(0, 0.1, (size, 2))
    return np.clip(film + 0.02 * rng.normal(size=(size, size)), 0, 1).astype(np.float32)


def dicom_film() -> bytes:
    """A DICOM file of a drawn film, 128×128, 12 bits, with age, sex and view in its header."""
    pixels = (drawn_film(128) * 4095).astype(np.uint16)
    dataset = pydicom.Dataset()
    dataset.file_meta = pydicom.dataset.FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.1.1"
    dataset.file_meta.MediaStorageSOPInstanceUID = "1.2.3"
    dataset.Modality, dataset.PatientAge, dataset.PatientSex, dataset.ViewPosition = "DX", "063Y", "F", "PA"
    dataset.Rows, dataset.Columns = pixels.shape
    dataset.SamplesPerPixel, dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = (
        1,
        16,
        12,
        11,
        0,
    )
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.PixelData = pixels.tobytes()
    buffer = io.BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def tiny_network(schema: EHRSchema, **changes) -> NetworkConfig:
    settings = dict(
        image_size=32, space_to_depth=2, channels=32, channel_multipliers=(1, 2), blocks_per_level=1, attention_resolutions=(8,),
        shared_masked_encoder=True, fusion="multihead", fusion_heads=4, condition_encoders=True, parameterization="velocity", slots=schema.slots,
    )  # fmt: skip
    return NetworkConfig(**{**settings, **changes})


def randomize(network: torch.nn.Module, seed: int = 0, scale: float = 0.05) -> None:
    """Give every parameter a small random value, also those that start at zero, so that nothing is the identity."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(scale * torch.randn(parameter.shape, generator=generator))


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
def fitted(tiny_checkpoint, tmp_path_factory) -> Detector:
    """The tiny checkpoint with a calibrated fit of the record, in a folder of its own."""
    folder = Path(shutil.copytree(tiny_checkpoint, tmp_path_factory.mktemp("fitted") / "tiny"))
    detector = Detector(load_checkpoint(folder), device="cpu", precision="float32")
    cases = [detector.case(person(number).film(64), person(number).patient.record()) for number in range(8)]
    calibration = calibrate_fit(detector, cases, {"habitus": 500})
    config = replace(detector.config, fit=calibration.fit, prior_fit=calibration.prior_fit)
    config = replace(config, prior_fit=calibrate_usual(detector.with_config(config), cases))
    write_config(folder, config)
    return Detector(load_checkpoint(folder), device="cpu", precision="float32")


@pytest.fixture(scope="session")
def phantoms() -> Detector:
    """The shipped checkpoint of simulated patients."""
    return Detector.from_pretrained("phantoms", device="cpu")


@pytest.fixture
def film_folder(tmp_path) -> Path:
    """Twelve phantoms, which the gate lets pass, and a manifest: eight normal, four with a bright spot; both views."""
    lines = ["path,age,sex,view,bmi,label"]
    y, x = np.mgrid[0:96, 0:96] / 96
    for index in range(12):
        abnormal = index % 3 == 2
        film = person(FILM_PEOPLE + index).film(96)
        if abnormal:
            film = np.clip(film + 0.4 * np.exp(-(((x - 0.7) / 0.06) ** 2 + ((y - 0.5) / 0.06) ** 2)), 0, 1)
        cv2.imwrite(str(tmp_path / f"film{index}.png"), (film * 255).astype(np.uint8))
        view, sex = ("PA", "AP")[index % 2], ("F", "M")[index // 2 % 2]
        lines.append(
            f"film{index}.png,{40 + index},{sex},{view},{'' if index % 4 else 24.5},{'opacity' if abnormal else 'normal'}"
        )
    (tmp_path / "manifest.csv").write_text("\n".join(lines) + "\n")
    return tmp_path


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
def shipped() -> Detector:
    """The shipped checkpoint."""
    if not (SHIPPED / "real-films" / "config.json").is_file():
        pytest.fail("the shipped checkpoint is missing")
    return Detector.from_pretrained("real-films", device="cpu")


@contextmanager
def serving(log: Path, *arguments: str, **environment: str) -> Iterator[str]:
    """A server of the page, ended at the end: its address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    address = f"http://127.0.0.1:{port}/"
    everything = {**os.environ, "PORT": str(port), "HF_HUB_OFFLINE": "1", **environment}
    with log.open("w") as file:
        process = subprocess.Popen(
            [sys.executable, "app.py", *arguments], cwd=ROOT, env=everything, stdout=file, stderr=subprocess.STDOUT
        )
    try:
        for _ in range(240):
            try:
                urllib.request.urlopen(address, timeout=2)
                break
            except (urllib.error.URLError, OSError):
                assert process.poll() is None, log.read_text()
                time.sleep(0.5)
        yield address
    finally:
        process.terminate()
        process.wait(20)


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    log, storage = tmp_path_factory.mktemp("app") / "log", tmp_path_factory.mktemp("storage")
    with serving(log, TMPDIR=str(storage)) as address:
        yield address
        left_before = list(storage.rglob("*.png"))
    assert left_before and not list(storage.rglob("*.png"))  # pictures of films do not outlive the server
    said = log.read_text()
    assert "Traceback" not in said, said
    assert "secret-film-name" not in said and "SECRET" not in said


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
