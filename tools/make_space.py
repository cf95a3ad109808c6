"""Write a folder that is ready to push to a Hugging Face Space: python tools/make_space.py [--out build/space].

The Space runs the same app on its CPU or GPU; nothing is downloaded but the packages of requirements.txt.
"""

from __future__ import annotations

import argparse
import re
import shutil
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parent.parent
PARTS = ("app", "diff3m", "assets", "checkpoints", "docs", "app.py", "requirements.txt", "LICENSE")
PYTHON = "3.10.13"  # of the two that ZeroGPU lists, so that the same folder runs there once it is supported


def pinned_gradio() -> str:
    """The version that requirements.txt pins; the Space's sdk_version must equal it. Raises ValueError where there is
    no pin.
    """
    found = re.search(r"^gradio==(\S+)$", (ROOT / "requirements.txt").read_text(), re.MULTILINE)
    if not found:
        raise ValueError("requirements.txt does not pin gradio with ==, so the Space's sdk_version is not known")
    return found.group(1)


def front_matter() -> dict:
    """What the Space's README begins with."""
    return {
        "title": "Diff3M Explorer",
        "emoji": "🫁",
        "colorFrom": "green",
        "colorTo": "blue",
        "sdk": "gradio",
        "sdk_version": pinned_gradio(),
        "python_version": PYTHON,
        "app_file": "app.py",
        "suggested_hardware": "cpu-basic",
        "license": "apache-2.0",
        "short_description": "What normal would look like on this chest film",
    }


def make_space(out: Path) -> Path:
    """Copy the app, the method, the checkpoints and the examples to `out`, with a README that configures the Space."""
    if out.exists():
        shutil.rmtree(out)
    out.mkdir(parents=True)
    for name in PARTS:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, out / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(source, out / name)
    head = yaml.safe_dump(front_matter(), sort_keys=False, allow_unicode=True)
    (out / "README.md").write_text(f"---\n{head}---\n\n{(ROOT / 'README.md').read_text()}", encoding="utf-8")
    (out / ".gitattributes").write_text(
        "".join(f"*.{suffix} filter=lfs diff=lfs merge=lfs -text\n" for suffix in ("safetensors", "png", "npz"))
    )
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "space")
    out = make_space(parser.parse_args().out)
    size = sum(path.stat().st_size for path in out.rglob("*") if path.is_file()) / 2**20
    print(f"wrote {out} ({size:.0f} MiB). Push it: docs/host.md")


if __name__ == "__main__":
    main()
