"""Scripts of examples/ run as a newcomer runs them."""

import re
import subprocess
import sys

import cv2
import pytest
from helpers import ROOT


@pytest.mark.slow
def test_the_minimal_example_scores_its_film_and_draws_the_figure(tmp_path):
    script = ROOT / "examples" / "minimal.py"
    film = ROOT / "assets" / "examples" / "opacity-pa-man.png"
    process = subprocess.run(
        [sys.executable, str(script), str(film), str(tmp_path / "figure.png")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert process.returncode == 0, process.stderr[-2000:]
    assert re.match(r"score -?\d+\.\d\d, percentile (> )?\d+\.\d of \d+ normal films\n", process.stdout)
    figure = cv2.imread(str(tmp_path / "figure.png"))
    assert figure.shape[1] > 2 * figure.shape[0] and figure.std() > 20  # three pictures beside each other, not blank


def test_the_minimal_example_stays_short():
    assert len((ROOT / "examples" / "minimal.py").read_text().splitlines()) <= 36
