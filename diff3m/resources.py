"""Files that come with the project: `assets/` and `checkpoints/` of the checkout, or of the installed wheel."""

from __future__ import annotations

from pathlib import Path

PACKAGE = Path(__file__).resolve().parent


def resource(name: str) -> Path:
    """Locate a file or folder that comes with the project.

    name: relative to the checkout's root, e.g. "assets/film-gate.safetensors". A wheel carries the folders inside the
    package (see setup.py). Returns the path, whether or not it exists.
    """
    path_in_wheel = PACKAGE / "shipped" / name
    return path_in_wheel if path_in_wheel.exists() else PACKAGE.parent / name
