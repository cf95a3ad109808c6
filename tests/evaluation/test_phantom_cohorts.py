"""The phantom benchmark's own arithmetic, and its run from end to end with a tiny network."""

import json
import shutil

import numpy as np
import pytest

from diff3m.checkpoint.folder import save_scoring
from diff3m.cli.main import main
from diff3m.data.phantom import KINDS, SEEDS, make_person
from diff3m.detector import Detector
from diff3m.evaluation.calibration import calibrate_on_normals
from diff3m.evaluation.phantoms import (
    CHANGES,
    PhantomResult,
    draw_cohort,
    measure_detection,
    measure_gain,
    measure_localization,
)
from diff3m.evaluation.realism import measure_realism


def phantom_result(score: float, hot: bool | None = None) -> PhantomResult:
    if hot is None:
        return PhantomResult(score, None, None)
    mask = np.zeros((16, 16), bool)
    mask[4:8, 4:8] = True
    heat = np.where(mask, 1.0, 0.1) if hot else np.where(mask, 0.1, 1.0)
    return PhantomResult(score, heat + 1e-3 * np.arange(256).reshape(16, 16), mask)


@pytest.mark.slow
def test_detection_and_gain_compare_the_same_films():
    labels = np.array(["normal"] * 40 + ["nodule"] * 20)
    views = np.array(["PA", "AP"] * 30)
    rng = np.random.default_rng(0)
    good = [phantom_result(score) for score in rng.normal(0, 1, 40)] + [
        phantom_result(score, True) for score in rng.normal(3, 1, 20)
    ]
    blind = [phantom_result(score) for score in rng.normal(0, 1, 60)]
    assert (
        measure_detection(good, labels, views)["nodule"]["auroc"]
        > 0.9
        > 0.65
        > measure_detection(blind, labels, views)["all"]["auroc"]
    )
    gain = measure_gain(good, blind, labels, views)["nodule"]
    assert gain["interval"][0] > 0.1 < gain["difference"]
    offset_results = [
        PhantomResult(entry.score + 5 * (view == "AP"), entry.heat, entry.mask)
        for entry, view in zip(good, views, strict=True)
    ]
    assert measure_detection(offset_results, labels, views) == measure_detection(
        good, labels, views
    )  # an offset of one view is no loss
    assert measure_gain(good, good, labels, views)["all"] == {"difference": 0.0, "interval": (0.0, 0.0)}


def test_localization_rewards_heat_inside_the_mask():
    labels = np.array(["normal", "nodule", "nodule"])
    right = measure_localization([phantom_result(0), phantom_result(1, True), phantom_result(1, True)], labels)
    wrong = measure_localization([phantom_result(0), phantom_result(1, False), phantom_result(1, False)], labels)
    assert right["average_precision"]["nodule"] == pytest.approx(1) and right["best_dice"]["all"] > 0.9
    assert wrong["average_precision"]["all"] < 0.1 and wrong["best_dice"]["all"] < 0.3


def test_nobody_is_used_twice_and_training_is_far_away():
    numbers = [person.number for person in draw_cohort(300, 75)] + [
        SEEDS["test"][0] + 90_000 + index for index in range(60)
    ]
    assert len(set(numbers)) == len(numbers) and min(numbers) >= SEEDS["test"][0] > sum(SEEDS["train"])
    assert {person.lesion.kind for person in draw_cohort(2, 2) if person.lesion} == set(KINDS)
    for change in CHANGES.values():
        assert make_person(5).patient.with_values(**change(make_person(5).patient)) != make_person(5).patient


@pytest.mark.slow
def test_the_benchmark_runs_from_the_command_line(tiny_checkpoint, tmp_path, capsys):
    cohort, out, checkpoint = tmp_path / "cohort", tmp_path / "out", tmp_path / "tiny"
    shutil.copytree(tiny_checkpoint, checkpoint)
    assert main(["phantom", "--n", "24", "--size", "64", "--out", str(cohort)]) == 0
    detector = Detector.from_pretrained(checkpoint, device="cpu")
    save_scoring(checkpoint, calibrate_on_normals(detector, cohort / "manifest.csv"))
    command = [
        "benchmark",
        "phantoms",
        "--checkpoint",
        str(checkpoint),
        "--out",
        str(out),
        "--normals",
        "3",
        "--each",
        "1",
        "--people",
        "1",
    ]
    assert main([*command, "--films", str(cohort / "manifest.csv")]) == 0
    text = capsys.readouterr().out
    assert "true above unknown" in text and "counterfactual bmi" in text and "against real films" in text
    result = json.loads((out / "phantoms.json").read_text())
    assert set(result["detection"]) == {"true", "unknown", "shuffled"} and set(result["detection"]["true"]) == {
        "all",
        *KINDS,
    }
    assert set(result["twins"]["true"]) == {"all", *KINDS} and "width of large hearts" in text
    assert all(kind["before_inside"] > 0.005 for kind in result["twins"]["true"].values()), "the twin has no lesion"
    assert result["twins"]["true"]["cardiomegaly"]["before_heart"] > 0.01
    assert all(-1 <= entry["correlation"] <= 1 for entry in result["counterfactual"]["features"].values())


def test_realism_is_zero_for_the_same_films_and_grows_with_blur():
    films = np.stack([make_person(number).render(64) for number in range(6)])
    same, darker = measure_realism(films, films), measure_realism(films * 0.7, films)
    assert same == {"histogram_distance": 0.0, "spectrum_distance": 0.0}
    assert darker["histogram_distance"] > 0.05 and darker["spectrum_distance"] > 0.1
