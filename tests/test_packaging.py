"""What an installed copy of the project needs comes with it."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from helpers import ROOT, phantom_png

from diff3m import resources

SOURCES = ("diff3m", "assets", "checkpoints", "pyproject.toml", "setup.py", "requirements.txt", "README.md", "LICENSE")


def test_a_resource_is_found_in_the_checkout_and_in_the_package(tmp_path, monkeypatch):
    assert resources.resource("assets/film-gate.safetensors") == ROOT / "assets" / "film-gate.safetensors"
    monkeypatch.setattr(resources, "PACKAGE", tmp_path / "diff3m")
    assert resources.resource("checkpoints") == tmp_path / "checkpoints"
    (tmp_path / "diff3m" / "shipped" / "checkpoints").mkdir(parents=True)
    assert resources.resource("checkpoints") == tmp_path / "diff3m" / "shipped" / "checkpoints"


@pytest.mark.slow
def test_a_wheel_works_from_another_folder(tmp_path):
    """Source archive → wheel → unpacked as an installer would → `diff3m analyze` in a folder without the checkout."""
    source = tmp_path / "source"
    source.mkdir()
    for name in SOURCES:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, source / name)
    sdist = build(source, "build_sdist", tmp_path)
    shutil.unpack_archive(sdist, tmp_path / "unpacked")
    wheel = build(next((tmp_path / "unpacked").iterdir()), "build_wheel", tmp_path)
    site, elsewhere = tmp_path / "site", tmp_path / "elsewhere"
    zipfile.ZipFile(wheel).extractall(site)
    elsewhere.mkdir()
    (elsewhere / "film.png").write_bytes(phantom_png())
    code = (
        f"import sys; sys.path.insert(0, {str(site)!r}); from diff3m.cli.main import main;"
        "import diff3m.imaging.gate as g; print(g.shipped_gate().limit); sys.exit(main(['analyze', 'film.png']))"
    )
    command = [sys.executable, "-c", code]
    result = subprocess.run(command, cwd=elsewhere, capture_output=True, text=True, env=dict(os.environ, PYTHONPATH=""))
    assert result.returncode == 0, result.stderr
    assert "anomaly score" in result.stdout and "real-films" in result.stdout
    paths = {path.relative_to(site).as_posix() for path in site.rglob("*") if path.is_file()}
    assert "diff3m/shipped/checkpoints/phantoms/model.safetensors" in paths
    assert "diff3m/shipped/assets/organs.safetensors" in paths
    assert not any(path.startswith(("app/", "tests/", "checkpoints/")) for path in paths)


def build(source: Path, hook: str, out: Path) -> Path:
    code = f"import setuptools.build_meta as backend; print(backend.{hook}({str(out)!r}))"
    result = subprocess.run([sys.executable, "-c", code], cwd=source, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return out / result.stdout.splitlines()[-1]
