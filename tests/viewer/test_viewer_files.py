"""The viewer's files and values in Python."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from viewer_bench import decode

from app.components.viewer import (
    MAX_SIDE,
    Notice,
    Status,
    ViewerFilm,
    ViewerMap,
    ViewerState,
    Window,
    build_film,
    encode_film,
    encode_map,
    read_measurements,
    window_presets,
)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_film_is_stored_with_all_of_its_bits(dtype):
    pixels = np.random.default_rng(0).integers(0, np.iinfo(dtype).max, (70, 50), dtype, endpoint=True)
    stored = decode(encode_film(pixels))
    assert stored.dtype == dtype and np.array_equal(stored, pixels)


def test_a_float_film_is_stored_in_16_bits():
    pixels = np.linspace(0, 1, 65536, dtype=np.float32).reshape(256, 256)
    assert np.abs(decode(encode_film(pixels)) / 65535 - pixels).max() <= 0.51 / 65535


@pytest.mark.parametrize(
    ("pixels", "words"),
    [
        (np.zeros((4, 4, 3), np.uint8), "one grey picture"),
        (np.zeros((0, 4), np.uint8), "one grey picture"),
        (np.zeros((4, 4), np.int64), "uint8, uint16 or float"),
        (np.full((4, 4), np.nan), "not finite"),
    ],
)
def test_what_is_no_film_is_refused_in_words(pixels, words):
    with pytest.raises(ValueError, match=words):
        encode_film(pixels)


def test_a_larger_film_is_reduced_and_its_spacing_grows(tmp_path):
    def store(data: bytes) -> Path:
        path = tmp_path / f"{hash(data)}.png"
        path.write_bytes(data)
        return path

    film = build_film(np.zeros((2 * MAX_SIDE, 100), np.uint8), store=store, spacing_mm=(0.1, 0.2))
    assert decode(film.film.read_bytes()).shape == (MAX_SIDE, 50)
    assert film.spacing_mm == (0.2, 0.4) and film.normal is None
    same = build_film(np.zeros((100, 90), np.uint8), store=store, normal=np.ones((100, 90)), spacing_mm=(0.1, 0.1))
    assert same.spacing_mm == (0.1, 0.1) and decode(same.normal.read_bytes()).min() == 65535


def test_a_map_is_stored_with_its_sign():
    values = np.random.default_rng(1).normal(0, 0.03, (128, 128))
    data, scale = encode_map(values)
    assert scale == np.abs(values).max()
    assert np.abs((decode(data).astype(float) - 32768) / 32767 * scale - values).max() <= 0.51 * scale / 32767
    assert encode_map(np.zeros((4, 4)))[1] == 1.0
    with pytest.raises(ValueError, match="finite numbers"):
        encode_map(np.full((4, 4), np.inf))


def test_presets_lie_in_the_order_of_lungs_bones_and_mediastinum():
    pixels = np.tile(np.linspace(0, 4095, 1000), (1000, 1)).astype(np.uint16)
    lungs, mediastinum, bones = window_presets(pixels, maximum=4095)
    assert lungs.center < bones.center < mediastinum.center
    # the inner 900 columns of a ramp from 0 to 1 run from 0.05 to 0.95; the lungs end at their 70th percentile
    assert lungs.center + lungs.width / 2 == pytest.approx(0.05 + 0.7 * 0.9, abs=0.01)
    assert all(window.width > 0 for window in window_presets(np.full((80, 80), 7, np.uint8)))


def test_a_state_is_written_as_its_schema_says():
    film = ViewerFilm(
        Path("/films/a.png"), None, (ViewerMap("Difference", "map.png", 0.1, 0.05),), spacing_mm=(0.1, 0.1)
    )
    notice = Notice("Tilted.", (("go", "Go on"),))
    presets = (Window("Header", 0.4, 0.2),)
    state = ViewerState(film, presets=presets, window="Header", status=Status("Analyzing", 0.5), notice=notice)
    value = json.loads(json.dumps(state.to_value()))
    assert value["films"][0]["film"] == {"path": "/films/a.png", "meta": {"_type": "gradio.FileData"}}
    assert value["films"][0]["normal"] is None and value["films"][0]["maps"][0]["file"] == "map.png"
    assert value["window"] == "Header" and value["notice"]["actions"] == [{"id": "go", "label": "Go on"}]
    assert ViewerState().to_value()["films"] == []
    with pytest.raises(ValueError, match="name of a preset"):
        ViewerState(film, window="Lungs")
    with pytest.raises(ValueError, match="first one"):
        ViewerState(second=film)


@pytest.mark.parametrize(
    "export",
    [
        "{",
        "[]",
        {"version": 2, "measurements": []},
        {"version": 1, "measurements": [{"kind": "ruler", "film": 0, "length": float("nan"), "unit": "mm"}]},
        {"version": 1, "measurements": [{"kind": "ruler", "film": 2, "length": 1, "unit": "mm"}]},
        {"version": 1, "measurements": [{"kind": "ruler", "film": 0, "length": 1, "unit": "<b>"}]},
        {"version": 1, "measurements": [{"kind": "angle", "film": 0, "unit": "mm"}]},
        {"version": 1, "measurements": [{"kind": "ratio", "film": 0, "ratio": "0.5", "normal_ratio": None}]},
        {"version": 1, "measurements": [{}] * 51},
        "[" * 100_000,
    ],
)
def test_measurements_from_elsewhere_are_refused_in_words(export):
    with pytest.raises(ValueError, match="measure again"):
        read_measurements(export)


def test_no_measurements_are_no_error():
    assert (
        read_measurements(None)
        == read_measurements("null")
        == read_measurements('{"version": 1, "measurements": []}')
        == ()
    )
