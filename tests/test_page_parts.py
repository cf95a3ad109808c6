"""Parts of the page without a server: the viewer, the film tools, what is saved, stored results, turns."""

from __future__ import annotations

import threading
import time
from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import drawn_film
from test_evaluation import calibrated  # noqa: F401  (a fixture)

from app.components import heat_view
from app.components.film_edit import Handling, looked_at
from app.components.heat_view import Look, View
from app.render import wording
from app.runtime.model_lock import Turns
from app.tabs.explore_handlers import sentence
from diff3m.checkpoint.folder import load_checkpoint, save_head, save_scoring
from diff3m.detector import Detector
from diff3m.evaluation.calibration import calibrate_on_normals
from diff3m.export.cache import load_analysis, save_analysis
from diff3m.imaging import Radiograph, corrected, inspect, with_quality
from diff3m.scoring.anomaly_head import AnomalyHead, HeadConfig
from diff3m.scoring.score import Component


@pytest.fixture
def detector(calibrated, film_folder) -> Detector:  # noqa: F811
    """The calibrated tiny checkpoint with an untaught anomaly head in its score."""
    checkpoint = load_checkpoint(calibrated)
    torch.manual_seed(0)
    save_head(calibrated, checkpoint.config, AnomalyHead(checkpoint.config.network, HeadConfig(level=80, width=16)))
    components = (*checkpoint.config.scoring.components, Component("logit", 0, 80, "head"))
    scoring = replace(checkpoint.config.scoring, components=components, combine="balanced")
    detector = Detector(load_checkpoint(calibrated), device="cpu")
    save_scoring(calibrated, calibrate_on_normals(detector, film_folder / "manifest.csv", scoring))
    return Detector(load_checkpoint(calibrated), device="cpu", precision="float32")


@pytest.fixture
def analysis(detector):
    return detector.analyze(drawn_film(96, 3, bright=0.5), {"age": 60, "sex": "F", "view": "PA"})


def test_the_viewer_magnifies_around_the_place_that_was_clicked(analysis, detector):
    view, look = View(analysis), Look(0.6, 0.01)
    whole, text, said = heat_view.heat(view, look, detector.scoring)
    assert whole.shape == (512, 512, 3) and text and "Red: brighter than expected; blue: darker" in said
    closer = replace(look, zoom=4.0, middle=(0.5, 0.7))
    part, _, _ = heat_view.heat(view, closer, detector.scoring)
    assert part.shape == whole.shape and not np.array_equal(part, whole)
    assert closer.place(0.5, 0.5) == pytest.approx((0.5, 0.7)) and closer.place(0, 0) == pytest.approx((0.375, 0.575))
    corner = replace(look, zoom=2.0, middle=(0.0, 1.0))
    assert corner.corner == (0.0, 0.5), "what is shown stays inside the film"
    other = heat_view.heat(view, replace(look, colors="Orange and purple"), detector.scoring)[2]
    assert "Orange: brighter" in other


def test_the_anomaly_map_is_shown_on_the_scale_of_the_threshold(analysis, detector):
    scoring = detector.scoring
    assert heat_view.modes(scoring)[-1] == heat_view.ANOMALY_MODE and heat_view.ANOMALY_MODE not in heat_view.modes(
        replace(scoring, components=())
    )
    look = Look(0.6, scoring.heat_normal, mode=heat_view.ANOMALY_MODE, contours=False)
    painted = np.full(analysis.film.shape, 0.5 * scoring.map_normal, np.float32)
    side = len(painted)
    painted[side * 70 // 128 : side * 90 // 128, side * 20 // 128 : side * 40 // 128] = 0.9
    picture, text, said = heat_view.heat(View(replace(analysis, anomaly_map=painted)), look, scoring)
    assert "90%" in text and "middle left" in text and "never from disease" in said
    plain = heat_view.heat(View(replace(analysis, anomaly_map=0 * painted)), look, scoring)[0]
    changed = np.abs(picture.astype(int) - plain).max(2) > 0
    rows, columns = np.nonzero(changed)
    assert (
        changed.any()
        and columns.max() < changed.shape[1] / 2
        and 70 / 128 * 512 - 40 < rows.min()
        and rows.max() < 90 / 128 * 512 + 40
    )
    assert wording.anomaly_summary(0 * painted, 0.1, 0.08).startswith("Nowhere")
    most = replace(look, threshold=heat_view.MOST_THRESHOLD, contours=True)
    assert heat_view.heat(View(replace(analysis, anomaly_map=painted)), most, scoring)[1].startswith(
        "Nowhere does the anomaly map exceed 100%"
    )
    places = heat_view.outlined_regions(
        View(replace(analysis, anomaly_map=painted)), replace(look, contours=True), scoring
    )
    assert len(places) == 1 and places[0].mean == pytest.approx(0.9, abs=0.01), (
        "the places are those of the map that is shown"
    )
    without = heat_view.heat(View(replace(analysis, anomaly_map=None)), look, scoring)
    assert "the film differ" in without[1] or "of the picture differs" in without[1]


def test_the_window_moves_grey_levels_only():
    ramp = np.linspace(0, 1, 11, dtype=np.float32)[None]
    assert np.allclose(heat_view.windowed(ramp, 0.5, 1.0), ramp)
    narrow = heat_view.windowed(ramp, 0.5, 0.2)
    assert (
        narrow[0, 4] == pytest.approx(0, abs=1e-6)
        and narrow[0, 5] == pytest.approx(0.5)
        and narrow[0, 6] == pytest.approx(1, abs=1e-6)
    )


def test_a_film_is_taken_as_it_is_handled():
    film = corrected(Radiograph(drawn_film(200)))
    assert Handling().applied(film) is film
    turned = Handling().moved(turn=1).moved(turn=-2).moved(negative=True)
    assert turned == Handling(turn=3, negative=True)
    taken, quality = looked_at(film, turned)
    assert np.allclose(taken.pixels, 1 - np.rot90(film.pixels, 3), atol=1e-5) and quality.limit > 0


def test_a_stored_result_comes_back_until_the_checkpoint_changes(analysis, detector, tmp_path):
    path = tmp_path / "stored.npz"
    assert load_analysis(path, detector) is None
    save_analysis(path, replace(analysis, accepted=("It may be turned.",)), detector)
    again = load_analysis(path, detector)
    assert again.accepted == ("It may be turned.",)
    assert again.score == analysis.score and again.record == analysis.record and again.components == analysis.components
    assert np.abs(again.anomaly_map - analysis.anomaly_map).max() < 1e-3
    assert np.abs(again.heat_map - analysis.heat_map).max() < 1e-3 and again.settings == analysis.settings
    other = detector.with_scoring(replace(detector.scoring, steps=detector.scoring.steps + 1))
    assert load_analysis(path, other) is None


def test_what_the_gate_saw_stays_with_the_result(detector):
    noise = Radiograph(np.random.default_rng(0).random((200, 200), np.float32))
    quality = inspect(noise)
    analysis = detector.analyze(with_quality(noise, quality))
    assert quality.reasons and analysis.accepted == quality.reasons
    assert all(any(reason in note for note in analysis.notes) for reason in quality.reasons)


def test_an_error_that_is_nobodys_fault_is_told_without_its_text(caplog):
    assert sentence(ValueError("Mend it.")) == "Mend it."
    assert "secret" not in sentence(RuntimeError("secret")) + caplog.text and "RuntimeError" in caplog.text


def test_turns_are_taken_in_order_and_a_long_job_lets_others_go_between():
    turns, order = Turns(), []

    def long_job():
        for part in range(4):
            with turns.turn():
                order.append(("long", part))
                time.sleep(0.15)

    def short_job():
        with turns.turn():
            order.append(("short", 0))

    job = threading.Thread(target=long_job)
    job.start()
    time.sleep(0.05)
    other = threading.Thread(target=short_job)
    other.start()
    job.join()
    other.join()
    assert order.index(("short", 0)) == 1, "who comes during the first part goes before the second"
    with pytest.raises(ValueError, match="x"), turns.turn():
        raise ValueError("x")
    with turns.turn():
        pass
