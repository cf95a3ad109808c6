"""A film, its normal film and its maps, and the page that shows them."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
from viewer_bench import HEIGHT, WIDTH, Bench

from app.components.viewer import ViewerFilm, ViewerFinding, ViewerMap, ViewerState, Window, encode_film, encode_map


@pytest.fixture
def bench(browser):
    benches = []

    def open_bench(state: ViewerState | None, files: dict[str, bytes], **options) -> Bench:
        benches.append(Bench(browser, state, files, **options))
        return benches[-1]

    yield open_bench
    for each in benches:
        each.close()


@pytest.fixture(scope="module")
def arrays() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(2)
    smooth = cv2.resize(rng.uniform(-0.06, 0.06, (8, 8)), (32, 32), interpolation=cv2.INTER_CUBIC)
    return {
        "film": rng.integers(0, 256, (HEIGHT, WIDTH), np.uint8),
        "normal": rng.integers(0, 65536, (HEIGHT, WIDTH), np.uint16),
        "prior": rng.integers(0, 256, (HEIGHT // 2, WIDTH // 2), np.uint8),
        "map": smooth,
        "prior_map": -0.5 * smooth,
    }


@pytest.fixture
def files(arrays) -> dict[str, bytes]:
    pictures = {f"{name}.png": encode_film(arrays[name]) for name in ("film", "normal", "prior")}
    return {**pictures, **{f"{name}.png": encode_map(arrays[name])[0] for name in ("map", "prior_map")}}


@pytest.fixture
def state(arrays) -> ViewerState:
    """A film after its analysis."""
    difference = ViewerMap("Difference", "map.png", encode_map(arrays["map"])[1], full=0.06, threshold=0.02)
    findings = (
        ViewerFinding("right upper zone", "+4.1 %", (0.2, 0.2, 0.3, 0.35)),
        ViewerFinding("left lower zone", "−2.0 %", (0.6, 0.6, 0.8, 0.8), ((0.6, 0.6), (0.6, 0.8), (0.8, 0.7))),
    )
    film = ViewerFilm("film.png", "normal.png", (difference,), findings, spacing_mm=(0.5, 0.5))
    presets = (Window("Lungs", 0.3, 0.5), Window("Bones", 0.8, 0.3))
    return ViewerState(film, presets=presets, description="One place stands out: right upper zone.")


@pytest.fixture
def before(state) -> ViewerState:
    """The same film before its analysis."""
    return replace(state, film=replace(state.film, normal=None, maps=(), findings=()))


@pytest.fixture
def pair(state, arrays) -> ViewerState:
    """The film and a prior of half its resolution."""
    entry = replace(state.film.maps[0], file="prior_map.png", scale=encode_map(arrays["prior_map"])[1])
    return replace(state, second=ViewerFilm("prior.png", None, (entry,), name="Prior"))
