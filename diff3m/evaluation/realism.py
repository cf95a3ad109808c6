"""How near the phantoms come to real films: grey levels and power spectrum."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from ..data.manifest import read_manifest
from ..data.phantom import SEEDS, make_person
from ..ehr import paper_schema
from ..imaging import Preprocessing, Radiograph, prepare
from ..training.films import load_films


def compute_power_spectrum(films: np.ndarray) -> np.ndarray:
    """Return the mean radial power spectrum of films (N, S, S), Hann windowed, at frequencies 1 to S/2 − 1 a side."""
    size = films.shape[-1]
    window = np.hanning(size)[:, None] * np.hanning(size)
    power = np.abs(np.fft.fftshift(np.fft.fft2((films - films.mean((1, 2), keepdims=True)) * window), axes=(1, 2))) ** 2
    y, x = np.mgrid[-(size // 2) : size - size // 2, -(size // 2) : size - size // 2]
    radius, mean = np.hypot(x, y).astype(int), power.mean(0)
    return np.array([mean[radius == k].mean() for k in range(1, size // 2)])


def measure_realism(phantoms: np.ndarray, films: np.ndarray) -> dict:
    """Measure how near prepared phantoms come to prepared films, both (N, S, S).

    Returns the Wasserstein-1 distance of the grey-level histograms (grey range 1), and the mean |log10| ratio of the
    radial power spectra.
    """
    a, b = (np.histogram(images, 256, (0, 1))[0] / images.size for images in (phantoms, films))
    ratio = np.log10(compute_power_spectrum(phantoms) / compute_power_spectrum(films))
    return {
        "histogram_distance": float(np.abs(np.cumsum(a - b)).sum() / 256),
        "spectrum_distance": float(np.abs(ratio).mean()),
    }


def benchmark_realism(manifest: str | Path, settings: Preprocessing, out: Path, count: int = 200) -> dict:
    """Compare `count` phantoms with the films of a manifest and write realism.json. Raises ManifestError."""
    films = (
        load_films(read_manifest(manifest, paper_schema()), paper_schema(), settings).images.astype(np.float32) / 255
    )
    first = SEEDS["dev"][0]
    phantoms = np.stack(
        [prepare(Radiograph(make_person(first + index).render(settings.size)), settings) for index in range(count)]
    )
    result = {"phantoms": count, "films": len(films), **measure_realism(phantoms, films)}
    out.mkdir(parents=True, exist_ok=True)
    (out / "realism.json").write_text(json.dumps(result, indent=1) + "\n")
    return result
