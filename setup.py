"""Package data outside the package.

Wheels carry `assets/` and `checkpoints/` as diff3m/shipped (see diff3m/resources.py).

Everything else stands in pyproject.toml.
"""

from setuptools import find_namespace_packages, setup

ASSETS, CHECKPOINTS = "diff3m.shipped.assets", "diff3m.shipped.checkpoints"

setup(
    packages=[*find_namespace_packages(include=["diff3m", "diff3m.*"]), ASSETS, CHECKPOINTS],
    package_dir={ASSETS: "assets", CHECKPOINTS: "checkpoints"},
    package_data={
        ASSETS: ["film-gate.safetensors", "organs.safetensors"],
        CHECKPOINTS: ["*/config.json", "*/*.safetensors", "*/README.md"],
    },
)
