"""Bad files by the thousand, and many analyses in a row: an answer or a sentence, and memory that stays flat."""

from __future__ import annotations

import gc
import io
import os
import time
from contextlib import suppress
from pathlib import Path

import cv2
import numpy as np
import pydicom
import pytest
from conftest import dicom_film, drawn_film
from PIL import Image
from test_evaluation import calibrated  # noqa: F401  (a fixture)

from app.components import viewer
from app.components.viewer import Look, View
from diff3m.checkpoint.folder import load_checkpoint
from diff3m.detector import Detector
from diff3m.imaging import Radiograph, RadiographError, inspect, read_radiograph

MUTATED = 1_000
SECONDS_EACH = 20
LEAST_SURVIVING = 100  # of the mutated files; else the mutations only ever hit the first check


def _seeds() -> list[bytes]:
    """One file of each kind, and small DICOM files with compressed pixels that come with pydicom."""
    grey = (drawn_film(128) * 255).astype(np.uint8)
    seeds = [dicom_film()]
    for kind in ("PNG", "JPEG", "TIFF", "WEBP"):
        buffer = io.BytesIO()
        Image.fromarray(grey).save(buffer, kind)
        seeds.append(buffer.getvalue())
    sixteen = io.BytesIO()
    Image.fromarray(grey.astype(np.uint16) * 257).save(sixteen, "PNG")
    seeds.append(sixteen.getvalue())
    names = ("JPEG2000.dcm", "MR_small_jp2klossless.dcm", "MR_small_RLE.dcm", "MR_small_jpeg_ls_lossless.dcm")
    found = (Path(pydicom.__file__).parent / "data" / "test_files" / name for name in names)
    return seeds + [path.read_bytes() for path in found if path.is_file()]


def _mutated(data: bytes, rng: np.random.Generator) -> bytes:
    """A file with bytes changed, cut off, doubled, or taken out; half of the changes fall into its first kilobyte, where the headers are."""
    changed = bytearray(data)
    for _ in range(int(rng.integers(1, 5))):
        end = min(len(changed), 1024) if rng.random() < 0.5 else len(changed)
        place, kind = int(rng.integers(0, max(1, end))), rng.integers(0, 6)
        if kind <= 2:
            changed[place : place + 1] = bytes([int(rng.integers(0, 256))])
        elif kind == 3:
            changed[place : place + 4] = rng.choice(
                [b"\xff\xff\xff\xff", b"\0\0\0\0", b"\x7f\xff\xff\xff", b"\x01\0\0\0"]
            )
        elif kind == 4:
            del changed[place : place + int(rng.integers(1, 64))]
        else:
            changed[place:place] = changed[place : place + int(rng.integers(1, 64))]
    return bytes(changed[: int(rng.integers(1, len(changed) + 1))]) if rng.random() < 0.1 else bytes(changed)


def test_a_thousand_mutated_files_give_an_answer_or_a_sentence():
    rng, seeds, survived, slowest = np.random.default_rng(0), _seeds(), 0, 0.0
    assert len(seeds) >= 6
    for index in range(MUTATED):
        data, started = _mutated(seeds[index % len(seeds)], rng), time.perf_counter()
        try:
            film = read_radiograph(data)
        except RadiographError as error:
            assert str(error).endswith((".", ")")) and "Traceback" not in str(error)
        else:
            assert (
                isinstance(film, Radiograph)
                and np.isfinite(film.pixels).all()
                and 0 <= film.pixels.min() <= film.pixels.max() <= 1
            )
            survived += 1
            with suppress(RadiographError):
                inspect(film)
        slowest = max(slowest, time.perf_counter() - started)
    assert survived >= LEAST_SURVIVING
    assert slowest < SECONDS_EACH, "a file held the reader up"


def test_memory_stays_flat_over_200_analyses(calibrated):  # noqa: F811
    status = Path("/proc/self/statm")
    if not status.exists():
        pytest.skip("memory is read from /proc")
    detector = Detector(load_checkpoint(calibrated), device="cpu", precision="float32")
    films = [drawn_film(200, seed) for seed in range(10)]

    def megabytes() -> float:
        gc.collect()
        return int(status.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20

    def analyze(count: int) -> None:
        for index in range(count):
            found = detector.analyze(
                films[index % 10], {"age": 20 + index % 60, "view": ("PA", "AP")[index % 2]}, seed=index
            )
            viewer.heat(View(found), Look(0.6, 0.01), detector.scoring)

    analyze(60)  # allocators and caches reach their size
    before = megabytes()
    analyze(200)
    assert megabytes() - before < 25


def test_weights_load_from_safetensors_only(calibrated, tmp_path):  # noqa: F811
    import pickle
    import shutil

    folder = tmp_path / "pickled"
    shutil.copytree(calibrated, folder)

    class Harm:
        def __reduce__(self):
            return (os.system, (f"touch {tmp_path}/harm",))

    (folder / "model.safetensors").write_bytes(pickle.dumps(Harm()))
    with pytest.raises(ValueError, match="weights"):
        load_checkpoint(folder)
    (folder / "model.safetensors").unlink()
    (folder / "model.pt").write_bytes(pickle.dumps(Harm()))
    with pytest.raises(ValueError):
        load_checkpoint(folder)
    assert not (tmp_path / "harm").exists()


def test_bombs_of_pixels_are_refused(tmp_path):
    picture = io.BytesIO()
    Image.fromarray(np.zeros((6_100, 6_100), np.uint8)).save(picture, "PNG")
    assert len(picture.getvalue()) < 200_000
    with pytest.raises(RadiographError, match="million"):
        read_radiograph(picture.getvalue())
    path = tmp_path / "film.png"
    cv2.imwrite(str(path), np.zeros((3, 3), np.uint8))
    with pytest.raises(RadiographError, match="at least"):
        read_radiograph(path)
