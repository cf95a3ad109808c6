"""Write a folder that is ready to push to a Hugging Face Space.

    python tools/make_space.py [--out build/space] [--repo USER/NAME] [--model USER/NAME …]

The Space runs the same app on its CPU or GPU; nothing is downloaded but the packages of its requirements.txt, which has
what serving needs and not what training needs. --repo: the Space's id, for its thumbnail. --model: models on the Hub
that the page of the Space names.
"""

from __future__ import annotations

import argparse
import re
import shutil
from collections.abc import Sequence
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parent.parent
PARTS = ("app", "diff3m", "assets", "checkpoints", "app.py", "LICENSE", "docs/page.png")
TRAINING_ONLY = ("accelerate", "tensorboard")  # packages of requirements.txt that serving does not import
README = """# Diff3M Explorer

Drop a frontal chest film on the page (DICOM, PNG, JPEG, WebP or TIFF), enter what you know of the patient, and see what
a diffusion model thinks a **normal** film of this patient would look like, where the real one differs, how unusual that
is among normal films, and what the record changed.

**For research and teaching. Not a medical device; not for diagnosis.** A film that you drop goes to the computer that
runs this Space, and is deleted within the hour. Drop no film of a patient unless you may send it there.

![The page with a synthetic example](docs/page.png)

- It has no idea of disease. It marks what is unusual: illness, devices, markers and odd exposures alike.
- It knows adult frontal films. Other pictures are stopped or noted.
- Every example is synthetic; no film of a patient is in this folder.

The models' cards say what they learned from and how well they do: {cards}. What they name of docs, configs and
studies is in the source repository. The functions of the page are an API ("Use via API" at its foot).

The method is Diff3M: Kim et al., *Harnessing EHRs for Diffusion-based Anomaly Detection on Chest X-rays*, MICCAI 2025
([arXiv 2505.17311](https://arxiv.org/abs/2505.17311)); this is an independent implementation.

Code and weights: [Apache-2.0](LICENSE).
"""
PYTHON = "3.10.13"  # of the two that ZeroGPU lists, so that the same folder runs there once it is supported


def pinned_gradio() -> str:
    """Return the version that requirements.txt pins, which the Space's sdk_version must equal.

    Raises ValueError where there is no pin.
    """
    match = re.search(r"^gradio==(\S+)$", (ROOT / "requirements.txt").read_text(), re.MULTILINE)
    if not match:
        raise ValueError("requirements.txt does not pin gradio with ==, so the Space's sdk_version is not known")
    return match.group(1)


def front_matter(repo: str | None = None, models: Sequence[str] = ()) -> dict:
    """Return what the Space's README begins with. repo: id of the Space. models: ids on the Hub."""
    values = {
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
        "tags": ["chest-x-ray", "anomaly-detection", "diffusion", "dicom", "explainability", "education"],
    }
    if repo:
        values["thumbnail"] = f"https://huggingface.co/spaces/{repo}/resolve/main/docs/page.png"
    if models:
        values["models"] = list(models)
    return values


def serving_requirements() -> str:
    """Return requirements.txt without what only training needs."""
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    return "".join(f"{line}\n" for line in lines if not line.startswith(TRAINING_ONLY))


def make_space(out: Path, repo: str | None = None, models: Sequence[str] = ()) -> Path:
    """Copy the app, the method, the checkpoints and the examples to `out`, with a README that configures the Space."""
    if out.exists():
        shutil.rmtree(out)
    out.mkdir(parents=True)
    for name in PARTS:
        source, target = ROOT / name, out / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(source, target)
    (out / "requirements.txt").write_text(serving_requirements(), encoding="utf-8")
    cards = [f"[{path.parent.name}](checkpoints/{path.parent.name}/README.md)" for path in cards_of(out)]
    head = yaml.safe_dump(front_matter(repo, models), sort_keys=False, allow_unicode=True)
    text = README.format(cards=", ".join(cards))
    (out / "README.md").write_text(f"---\n{head}---\n\n{text}", encoding="utf-8")
    (out / ".gitattributes").write_text(
        "".join(f"*.{suffix} filter=lfs diff=lfs merge=lfs -text\n" for suffix in ("safetensors", "png", "npz"))
    )
    return out


def cards_of(out: Path) -> list[Path]:
    """Return the model cards of a Space's checkpoints."""
    return sorted(out.glob("checkpoints/*/README.md"))


def main() -> None:
    """Parse the options and write the folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "space")
    parser.add_argument("--repo", help="id of the Space, USER/NAME")
    parser.add_argument("--model", action="append", default=[], help="id of a model on the Hub; may be repeated")
    options = parser.parse_args()
    out = make_space(options.out, options.repo, options.model)
    size = sum(path.stat().st_size for path in out.rglob("*") if path.is_file()) / 2**20
    print(f"wrote {out} ({size:.0f} MiB). Push it: docs/host.md")


if __name__ == "__main__":
    main()
