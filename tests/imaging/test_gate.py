"""The gate before analysis: films pass, other pictures are stopped, turned and inverted films are set right."""

import cv2
import numpy as np
import pandas as pd
import pytest
from helpers import drawn_film

from diff3m.data.phantom import make_person
from diff3m.imaging import GateError, Radiograph, RadiographError, edit_film, pass_gate, read_film, read_radiograph
from diff3m.imaging.gate import Gate, has_writing, inspect, shipped_gate


@pytest.fixture(scope="module")
def dev(real_films) -> list[Radiograph]:
    table = pd.read_csv(real_films / "metadata.csv")
    return [read_radiograph(real_films / name) for name in table[table["split"] == "dev"]["file"][::8]]


def test_real_films_pass_and_are_set_right(dev):
    assert np.mean([inspect(film).passes for film in dev]) >= 0.95
    for turn, negative in ((1, False), (2, False), (3, False), (0, True), (1, True)):
        qualities = [inspect(edit_film(film, turn, negative)) for film in dev[::3]]
        assert np.mean([not quality.passes for quality in qualities]) >= 0.95
        assert np.mean([(quality.turn, quality.negative) == ((-turn) % 4, negative) for quality in qualities]) >= 0.9


def test_other_pictures_are_stopped():
    rng = np.random.default_rng(0)
    noise = [cv2.GaussianBlur(rng.random((200, 200), np.float32), (0, 0), sigma) for sigma in (0.5, 3, 12)]
    chart = np.ones((300, 300), np.float32)
    cv2.polylines(
        chart, [np.stack([np.arange(0, 300, 10), rng.integers(20, 280, 30)], 1).astype(np.int32)], False, 0.0, 2
    )
    ramp = np.tile(np.linspace(0, 1, 200, dtype=np.float32), (200, 1))
    for picture in (*noise, chart, ramp):
        quality = inspect(Radiograph(picture))
        assert not quality.passes and quality.reasons and quality.distance > quality.limit


def test_phantoms_pass_and_what_is_proposed_is_what_mends():
    film = edit_film(Radiograph(make_person(2_050_001).render(256)))
    assert inspect(film).passes
    bad_film = edit_film(film, turn=1, negative=True)
    quality = inspect(bad_film)
    assert not quality.passes and len(quality.reasons) == 2 and "negative" in quality.reasons[1]
    upright_film = edit_film(bad_film, quality.turn, quality.negative)
    assert np.allclose(upright_film.pixels, film.pixels, atol=1e-6) and inspect(upright_film).passes


def test_every_door_judges_a_film_alike_and_says_what_was_accepted(tmp_path):
    film = edit_film(Radiograph(make_person(2_050_001).render(256)), turn=1)
    cv2.imwrite(str(tmp_path / "turned.png"), film.pixels * 255)
    with pytest.raises(GateError, match=r"turned.*--accept"):
        read_film(tmp_path / "turned.png")
    accepted = read_film(tmp_path / "turned.png", accept=True)
    assert accepted.accepted == inspect(film).reasons and "knowingly" in accepted.notes[0]
    upright = pass_gate(edit_film(film, turn=3))
    assert not upright.accepted and not any("knowingly" in note for note in upright.notes)
    with pytest.raises(RadiographError, match="no such file"):
        read_film(tmp_path / "absent.png", accept=True)


def test_cutting_is_measured_on_the_turned_film():
    film = Radiograph(np.arange(200 * 160, dtype=np.float32).reshape(200, 160) / 32_000)
    assert edit_film(film, turn=1, cut=(0.25, 0, 0, 0)).pixels.shape == (120, 200)
    with pytest.raises(ValueError, match="at least a tenth"):
        edit_film(film, cut=(0.5, 0, 0.45, 0))


def test_writing_and_small_films_are_noted():
    film = cv2.resize(make_person(2_050_001).render(256), (1024, 1024), interpolation=cv2.INTER_CUBIC).clip(0, 1)

    def written(text: str, place: tuple[int, int], scale: float, thickness: int) -> np.ndarray:
        picture = (film * 255).astype(np.uint8)
        return (
            cv2.putText(picture, text, place, cv2.FONT_HERSHEY_SIMPLEX, scale, 255, thickness).astype(np.float32) / 255
        )

    assert not has_writing(film)
    for place in ((40, 60), (500, 60)):
        assert has_writing(written("SAMPLE TEXT 19510412", place, 1.2, 3)), place
    assert not has_writing(written("L", (900, 90), 2.5, 6)), "a side marker is no writing"
    assert any("small" in note for note in inspect(Radiograph(cv2.resize(film, (100, 100)))).notes)


def test_a_gate_is_fitted_saved_and_read(tmp_path, monkeypatch):
    films = np.stack([cv2.resize(drawn_film(96, seed), (32, 32), interpolation=cv2.INTER_AREA) for seed in range(80)])
    gate = Gate.fit(films[:50], films[50:])
    assert (gate.distance(films[50:]) <= gate.limit + 1e-9).all()
    assert gate.distance(np.rot90(films, 2, axes=(1, 2))).min() > gate.limit
    gate.save(tmp_path / "gate.safetensors")
    monkeypatch.setattr("diff3m.imaging.gate.WEIGHTS", tmp_path / "gate.safetensors")
    shipped_gate.cache_clear()
    try:
        assert np.allclose(shipped_gate().distance(films), gate.distance(films), atol=1e-3)
    finally:
        shipped_gate.cache_clear()
