"""The distance of pseudo-healthy films from the healthy twin."""

from dataclasses import astuple

import numpy as np
import pytest

from diff3m.data.phantom import make_person
from diff3m.evaluation.twins import TwinDistance, measure_heart_widths, measure_twin_distance, summarize_twins


def test_distances_inside_and_outside_by_hand():
    twin, mask = np.zeros((4, 4), np.float32), np.zeros((4, 4), bool)
    mask[:2] = True
    film, reconstruction = twin.copy(), twin.copy()
    film[:2], reconstruction[:2], reconstruction[2:] = 0.4, 0.1, -0.02
    distance = measure_twin_distance(film, reconstruction, twin, mask)
    assert astuple(distance)[:4] == pytest.approx((0.4, 0.1, 0.0, 0.02))


def test_the_heart_is_compared_with_the_twins():
    person = make_person(2_000_000, "cardiomegaly")
    film, twin = person.render_with_lesion(128), person.healthy.render(128)
    large, own = measure_heart_widths(np.stack([film.film, twin]))
    distance = measure_twin_distance(film.film, twin, twin, film.mask)
    assert large > own + 0.02 and 0.2 < own < 0.6
    assert (distance.before_heart, distance.after_heart) == (pytest.approx(large - own), 0)


def test_kinds_are_averaged_apart_and_faint_lesions_count_by_their_size():
    labels = np.array(["normal", "nodule", "nodule", "effusion"])
    distances = [
        None,
        TwinDistance(0.4, 0.1, 0, 0.01, 0.1, 0.02),
        TwinDistance(0.001, 0.003, 0, 0.03, 0, 0.04),
        TwinDistance(0.2, 0.2, 0, 0, 0, 0),
    ]
    summary = summarize_twins(distances, labels)
    assert set(summary) == {"all", "nodule", "effusion"}
    assert summary["nodule"]["healed"]["ratio"] == pytest.approx(0.103 / 0.401)
    assert summary["nodule"]["after_outside"] == pytest.approx(0.02)
    assert summary["nodule"]["before_heart"] == 0.05 and summary["nodule"]["after_heart"] == pytest.approx(0.03)
    estimate = summary["all"]["healed"]
    assert estimate["ratio"] == pytest.approx(0.303 / 0.601)
    assert estimate["interval"][0] <= estimate["ratio"] <= estimate["interval"][1]
