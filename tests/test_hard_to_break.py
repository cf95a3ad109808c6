"""Many analyses in a row, pickled weights and bombs of pixels: memory stays flat, and nothing foreign is run."""

from __future__ import annotations

import gc
import io
import os
from pathlib import Path

import cv2
import numpy as np
import pytest
from helpers import drawn_film
from PIL import Image

from diff3m.checkpoint.folder import load_checkpoint
from diff3m.detector import Detector
from diff3m.findings import find_findings
from diff3m.imaging import RadiographError, read_radiograph


@pytest.mark.slow
def test_memory_stays_flat_over_100_analyses(calibrated_checkpoint):
    status = Path("/proc/self/statm")
    if not status.exists():
        pytest.skip("memory is read from /proc")
    detector = Detector(load_checkpoint(calibrated_checkpoint), device="cpu", precision="float32")
    films = [drawn_film(200, seed) for seed in range(10)]

    def megabytes() -> float:
        gc.collect()
        return int(status.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20

    def analyze(count: int) -> None:
        for index in range(count):
            case = detector.case(films[index % 10], {"age": 20 + index % 60, "view": ("PA", "AP")[index % 2]})
            analysis = detector.analyze(case, seed=index)
            assert analysis.pseudo_healthy.shape == (200, 200)
            find_findings(analysis, case, detector.scoring)

    analyze(40)  # allocators and caches reach their size
    before = megabytes()
    analyze(100)
    assert megabytes() - before < 12


def test_weights_load_from_safetensors_only(calibrated_checkpoint, tmp_path):
    import pickle
    import shutil

    folder = tmp_path / "pickled"
    shutil.copytree(calibrated_checkpoint, folder)

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
