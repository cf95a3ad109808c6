import csv
import json
import shutil
from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
from helpers import drawn_film
from sklearn.metrics import average_precision_score, roc_auc_score

from diff3m.checkpoint.folder import read_config
from diff3m.data.manifest import ManifestError, read_manifest, read_normal_cases
from diff3m.detector import Detector
from diff3m.evaluation import calibration
from diff3m.evaluation.calibration import calibrate_on_normals
from diff3m.evaluation.format import format_interval
from diff3m.evaluation.labelled_films import assign_half
from diff3m.evaluation.metrics import (
    auroc,
    auroc_within_view,
    average_precision,
    average_precision_within_view,
    bootstrap_interval,
    detection_metrics,
)
from diff3m.evaluation.run import analyze_cases, evaluate
from diff3m.evaluation.score_search import CandidateResult, choose, search_score
from diff3m.scoring.filters import crop_borders
from diff3m.scoring.score import Component, Scoring


def example(n: int = 300, shift: float = 1.0, confound: float = 0.0):
    rng = np.random.default_rng(0)
    abnormal = rng.random(n) < 0.5
    views = np.where(rng.random(n) < np.where(abnormal, 0.8, 0.2), "AP", "PA")
    return rng.normal(size=n) + shift * abnormal + confound * (views == "AP"), abnormal, views


def test_metrics_equal_scikit_learn_with_ties():
    scores, abnormal, _ = example()
    for values in (scores, np.round(scores)):
        assert auroc(values, abnormal) == pytest.approx(roc_auc_score(abnormal, values))
        assert average_precision(values, abnormal) == pytest.approx(average_precision_score(abnormal, values))
    assert np.isnan(auroc(scores[abnormal], abnormal[abnormal])) and np.isnan(
        average_precision(scores[abnormal], abnormal[abnormal])
    )


def test_within_view_is_not_fooled_by_view():
    scores, abnormal, views = example(3000, shift=0, confound=3)
    assert auroc(scores, abnormal) > 0.7
    assert auroc_within_view(scores, abnormal, views) == pytest.approx(0.5, abs=0.05)
    each = [auroc(scores[views == v], abnormal[views == v]) for v in ("AP", "PA")]
    assert auroc_within_view(scores, abnormal, views) == pytest.approx(np.mean(each))
    assert average_precision(scores, abnormal) > 0.65
    each = [average_precision_score(abnormal[views == v], scores[views == v]) for v in ("AP", "PA")]
    shares = [abnormal[views == v].mean() for v in ("AP", "PA")]  # of a blind score inside each view
    assert (
        average_precision_within_view(scores, abnormal, views)
        == pytest.approx(np.mean(each))
        == pytest.approx(np.mean(shares), abs=0.05)
    )


def test_bootstrap_interval_has_the_known_width():
    values = np.random.default_rng(1).normal(size=400)
    low, high = bootstrap_interval(lambda i: values[i].mean(), np.zeros(400, dtype=int))
    assert low < values.mean() < high
    assert high - low == pytest.approx(2 * 1.96 * values.std() / 20, rel=0.15)


def test_metrics_hold_everything():
    metrics = detection_metrics(*example(), repeats=100)
    assert metrics["films"] == 300 and set(metrics["views"]) == {"AP", "PA"}
    for part in (metrics, *metrics["views"].values()):
        for name in ("auroc", "average_precision"):
            low, high = part[f"{name}_interval"]
            assert low < part[name] < high
    for name in ("auroc", "average_precision"):
        low, high = metrics[f"{name}_within_view_interval"]
        assert low < metrics[f"{name}_within_view"] < high
        assert metrics[f"{name}_within_view"] == pytest.approx(np.mean([v[name] for v in metrics["views"].values()]))
    one_class = detection_metrics(np.ones(3), np.ones(3, dtype=bool), np.array(["PA"] * 3))
    assert (
        one_class["auroc"] is None
        and one_class["auroc_within_view"] is None
        and one_class["average_precision_within_view"] is None
    )


def test_no_interval_is_given_for_fewer_than_ten_films_of_a_class():
    scores, abnormal = np.arange(40.0) % 7, np.arange(40) % 2 == 0
    views = np.array(["PA"] * 20 + ["AP"] * 20)
    assert all(part["auroc_interval"] for part in detection_metrics(scores, abnormal, views, 20)["views"].values())
    fewer = detection_metrics(scores[1:], abnormal[1:], views[1:], 20)
    assert fewer["views"]["PA"]["auroc"] is not None and fewer["views"]["PA"]["auroc_interval"] is None
    assert fewer["views"]["AP"]["auroc_interval"] and fewer["auroc_interval"]
    assert fewer["auroc_within_view"] is not None and fewer["auroc_within_view_interval"] is None
    assert format_interval({"auroc": 0.7512, "interval": None}, "auroc", ".3f") == "0.751"
    assert format_interval({"auroc": None, "interval": None}, "auroc") == "–"


def test_calibration_measures_normals_only_and_is_stored(calibrated_checkpoint):
    scoring = read_config(calibrated_checkpoint).scoring
    entries = dict(scoring.calibration)
    assert entries["any"].count == 8 and entries["PA"].count + entries["AP"].count == 8
    assert np.mean(entries["any"].scores) == pytest.approx(0, abs=1e-4)
    assert scoring.heat_normal > 0


def test_evaluation_writes_scores_and_metrics(calibrated_checkpoint, film_folder, tmp_path):
    manifest = film_folder / "manifest.csv"
    manifest.write_text(manifest.read_text() + "absent.png,50,F,PA,,opacity\n" + "film0.png,50,F,PA,,\n")
    (film_folder / "film5.png").write_bytes(b"no picture at all")
    detector = Detector.from_pretrained(calibrated_checkpoint, device="cpu")
    progress = []
    metrics = evaluate(detector, manifest, tmp_path / "out", batch_size=4, report=lambda *p: progress.append(p))
    rows = list(csv.DictReader((tmp_path / "out" / "scores.csv").open()))
    assert len(rows) == metrics["rows"] == 14 and progress[-1] == (14, 14)
    assert [r["row"] for r in rows if r["error"]] == ["6", "13"] and metrics["unreadable"] == 2
    assert metrics["films"] == 11 and metrics["unlabelled"] == 1
    file_metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    for part in (file_metrics, file_metrics["mse"], file_metrics["labels"]["opacity"]):
        assert 0 < part["average_precision_within_view"] <= 1 and part["average_precision_within_view_interval"] is None
    assert file_metrics["auroc_within_view"] == metrics["auroc_within_view"]
    assert set(metrics["labels"]) == {"opacity"} and metrics["mse"]["auroc"] is not None
    good = [r for r in rows if not r["error"] and r["label"]]
    scores, abnormal = np.array([float(r["score"]) for r in good]), np.array([r["label"] != "normal" for r in good])
    assert metrics["auroc"] == pytest.approx(roc_auc_score(abnormal, scores))


@pytest.mark.parametrize("batch_size", [1, 4, 16])
def test_one_film_without_contrast_loses_only_itself(calibrated_checkpoint, film_folder, tmp_path, batch_size):
    flat = np.zeros((96, 96), np.uint8)
    flat[0, 0] = 255
    cv2.imwrite(str(film_folder / "film4.png"), flat)
    metrics = evaluate(
        Detector.from_pretrained(calibrated_checkpoint, device="cpu"),
        film_folder / "manifest.csv",
        tmp_path / "o",
        limit=5,
        batch_size=batch_size,
    )
    rows = list(csv.DictReader((tmp_path / "o" / "scores.csv").open()))
    assert [row["row"] for row in rows if row["error"]] == ["5"] and metrics["films"] == 4


def test_films_that_the_gate_stops_enter_no_metric_unless_accepted(calibrated_checkpoint, film_folder, tmp_path):
    sideways_film = np.rot90(cv2.imread(str(film_folder / "film2.png"), cv2.IMREAD_GRAYSCALE))
    cv2.imwrite(str(film_folder / "film2.png"), sideways_film)
    detector = Detector.from_pretrained(calibrated_checkpoint, device="cpu")
    metrics = evaluate(detector, film_folder / "manifest.csv", tmp_path / "o")
    assert metrics["stopped"] == 1 and not metrics["unreadable"] and metrics["films"] == 11
    row = list(csv.DictReader((tmp_path / "o" / "scores.csv").open()))[2]
    assert row["stopped"] == "yes" and "turned" in row["error"] and not row["score"]
    metrics = evaluate(detector, film_folder / "manifest.csv", tmp_path / "o", accept=True)
    assert metrics["films"] == 12 and metrics["accepted"] == 1 and not metrics["stopped"]
    row = list(csv.DictReader((tmp_path / "o" / "scores.csv").open()))[2]
    assert row["score"] and "turned" in row["accepted"] and "knowingly" in row["notes"]


def test_unlabelled_films_get_scores_and_no_metrics(calibrated_checkpoint, film_folder, tmp_path):
    (film_folder / "m.csv").write_text("Path,Age\nfilm0.png,40\nfilm1.png,41\n")
    metrics = evaluate(
        Detector.from_pretrained(calibrated_checkpoint, device="cpu"), film_folder / "m.csv", tmp_path / "o"
    )
    assert metrics["unlabelled"] == 2 and metrics["auroc"] is None and metrics["labels"] == {}


def test_what_cannot_be_evaluated_gets_a_sentence(calibrated_checkpoint, tiny_checkpoint, film_folder, tmp_path):
    (tmp_path / "m.csv").write_text("path,label\nnowhere.png,normal\n")
    with pytest.raises(ManifestError, match="None of the 1 films"):
        evaluate(Detector.from_pretrained(calibrated_checkpoint, device="cpu"), tmp_path / "m.csv", tmp_path / "out")
    with pytest.raises(ManifestError, match="diff3m calibrate"):
        evaluate(
            Detector.from_pretrained(tiny_checkpoint, device="cpu"), film_folder / "manifest.csv", tmp_path / "out"
        )
    with pytest.raises(ManifestError, match="fewer than two"):
        calibrate_on_normals(Detector.from_pretrained(calibrated_checkpoint, device="cpu"), tmp_path / "m.csv")
    shutil.copy(film_folder / "film0.png", tmp_path / "nowhere.png")
    metrics = evaluate(
        Detector.from_pretrained(calibrated_checkpoint, device="cpu"), tmp_path / "m.csv", tmp_path / "out"
    )
    assert metrics["films"] == 1 and metrics["unreadable"] == 0, "no part of the run before is left"


def candidate(name: str, components: int, **auroc: float) -> CandidateResult:
    kinds = [Component("absolute", sigma, 80) for sigma in range(1, components + 1)]
    return CandidateResult(name, Scoring(tuple(kinds), noise_level=80), auroc)


def test_the_rule_takes_the_highest_mean_and_fewer_components_in_a_tie():
    best, near = candidate("best", 4, a=0.90, b=0.80), candidate("near", 2, a=0.896, b=0.796)
    assert choose([near, best]) is near, "0.004 below is a tie"
    assert choose([candidate("far", 1, a=0.89, b=0.798), best]) is best, "0.006 below is none"
    assert choose([best, candidate("as many", 4, a=0.902, b=0.796)]) is best


@pytest.fixture
def labelled_manifest(tmp_path):
    """Write a manifest of 24 drawn films of 24 patients, where "opacity" is bright and "other" looks normal."""
    lines = ["path,view,label,patient"]
    for index in range(24):
        label = ("normal", "other", "normal", "opacity")[index % 4]  # so both halves hold opacities
        film = drawn_film(seed=100 + index, bright=0.6 * (label == "opacity"))
        cv2.imwrite(str(tmp_path / f"l{index}.png"), (film * 255).astype(np.uint8))
        lines.append(f"l{index}.png,{('PA', 'AP')[index // 4 % 2]},{label},{index}")
    (tmp_path / "labelled.csv").write_text("\n".join(lines) + "\n")
    return tmp_path / "labelled.csv"


@pytest.mark.slow
def test_a_search_measures_what_each_candidate_would_score(tiny_detector, film_folder, labelled_manifest):
    components = (Component("brighter", 2, 80), Component("ssim", 6, 40, "one_step"))
    base = replace(tiny_detector.scoring, window=(0.1, 0.1, 0.1, 0.1))
    candidates = {
        "one": replace(base, components=components[:1]),
        "both": replace(base, components=components, combine="max"),
        "more steps": replace(base, components=components, steps=4),
    }
    result = search_score(tiny_detector, candidates, film_folder / "manifest.csv", labelled_manifest, accept=True)
    assert [entry.name for entry in result.candidates] == list(candidates) and set(result.report) == {
        "opacity",
        "other",
    }
    assert sum(result.films.values()) == 24 and min(result.films.values()) > 5
    assert any("names no patients" in note for note in result.notes)
    for entry in result.candidates:
        scoring = calibrate_on_normals(tiny_detector, film_folder / "manifest.csv", entry.scoring)
        films = read_manifest(labelled_manifest, tiny_detector.schema)
        scores = list(analyze_cases(tiny_detector.with_scoring(scoring), films, accept=True))
        for part, metrics in (("A", entry.auroc), ("B", result.report if entry is result.choice else {})):
            rows = [r for r in scores if assign_half(r.case.row - 1) == part and r.case.label in ("normal", "opacity")]
            columns = [(r.analysis.score, r.case.label == "opacity", r.case.record["view"]) for r in rows]
            expected = auroc_within_view(*(np.array(column) for column in zip(*columns, strict=True)))
            if metrics:
                value = metrics["opacity"]["auroc_within_view"] if part == "B" else metrics["opacity"]
                assert value == pytest.approx(expected, abs=1e-6)


def test_what_cannot_be_searched_gets_a_sentence(tiny_detector, film_folder, labelled_manifest):
    plain, manifest = tiny_detector.scoring, film_folder / "manifest.csv"
    table = labelled_manifest.read_text()

    def search(scoring=plain):
        return search_score(tiny_detector, {"plain": scoring}, manifest, labelled_manifest, accept=True)

    with pytest.raises(ValueError, match="no feature heart_rate"):
        search(replace(plain, components=(Component("contradiction", 0, 80, "one_step", feature="heart_rate"),)))
    with pytest.raises(ValueError, match="noise level 2000 is beyond"):
        search(replace(plain, components=(Component("mse", 0, 2000),)))
    labelled_manifest.write_text(table.replace("patient", "number"))
    with pytest.raises(ManifestError, match="no column `patient`"):
        search()
    labelled_manifest.write_text(table.replace("opacity", "normal").replace("other", "normal"))
    with pytest.raises(ManifestError, match="nothing can be chosen"):
        search()
    labelled_manifest.write_text(table + "film0.png,PA,opacity,99\n")
    with pytest.raises(ManifestError, match="Films in both"):
        search()


def test_maps_of_some_films_are_enough_for_a_calibration(tiny_detector, film_folder, monkeypatch):
    """Component values are of all films, wherever the maps are of few."""
    manifest = film_folder / "manifest.csv"
    whole = calibrate_on_normals(tiny_detector, manifest)
    monkeypatch.setattr(calibration, "MAX_MAPS", 4)
    part = calibrate_on_normals(tiny_detector, manifest)
    assert part.calibration == whole.calibration and part.heat_normal != whole.heat_normal
    cases = read_normal_cases(manifest, tiny_detector.schema)[::2]
    maps = torch.from_numpy(np.stack([result.analysis.heat_map for result in analyze_cases(tiny_detector, cases)]))
    expected = np.percentile(crop_borders(maps, tiny_detector.scoring.margin).abs().numpy(), 95)
    assert part.heat_normal == pytest.approx(expected, abs=2e-5)
