"""The distance of pseudo-healthy films from the healthy twin."""

import numpy as np
import pytest

from diff3m.evaluation.twins import TwinDistance, measure_twin_distance, summarize_twins


def test_distances_inside_and_outside_by_hand():
    twin, mask = np.zeros((4, 4), np.float32), np.zeros((4, 4), bool)
    mask[:2] = True
    film, healed = twin.copy(), twin.copy()
    film[:2], healed[:2], healed[2:] = 0.4, 0.1, -0.02
    distance = measure_twin_distance(film, healed, twin, mask)
    assert distance == TwinDistance(*(pytest.approx(value) for value in (0.4, 0.1, 0.0, 0.02)))


def test_kinds_are_averaged_apart_and_faint_lesions_count_by_their_size():
    labels = np.array(["normal", "nodule", "nodule", "effusion"])
    distances = [
        None,
        TwinDistance(0.4, 0.1, 0, 0.01),
        TwinDistance(0.001, 0.003, 0, 0.03),
        TwinDistance(0.2, 0.2, 0, 0),
    ]
    summary = summarize_twins(distances, labels)
    assert set(summary) == {"all", "nodule", "effusion"}
    assert summary["nodule"]["healed"]["ratio"] == pytest.approx(0.103 / 0.401)
    assert summary["nodule"]["after_outside"] == pytest.approx(0.02)
    healed = summary["all"]["healed"]
    assert healed["ratio"] == pytest.approx(0.303 / 0.601)
    assert healed["interval"][0] <= healed["ratio"] <= healed["interval"][1]
