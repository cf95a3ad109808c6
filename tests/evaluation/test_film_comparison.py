"""The comparison of methods on films: every method judged on the same films, boxes pointed at, answers kept."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pandas as pd
import pytest
import torch
from helpers import drawn_film, run_command, two_processes

from diff3m.checkpoint.folder import load_checkpoint
from diff3m.data.phantom import make_person
from diff3m.detector import Detector
from diff3m.ehr import paper_schema
from diff3m.evaluation import film_comparison as benchmark
from diff3m.evaluation import labelled_films, methods, shards
from diff3m.evaluation.film_comparison import benchmark_films, compare, measure_localization
from diff3m.evaluation.labelled_films import Cohort, assign_half, check_held_out, load_cohort
from diff3m.evaluation.methods import Judgment
from diff3m.released.inference import released_scores

SCHEMA = paper_schema()
OURS = ("ours, true record", "ours, unknown record", "ours, shuffled record")


@pytest.fixture
def tables(tmp_path) -> Path:
    """train.csv of 40 drawn normals; dev.csv of 12 with a bright spot in every third, boxes.csv around the spots."""
    train, dev, boxes = ["path,view,label"], ["path,image,patient,age,sex,view,label"], ["image,x,y,w,h"]
    for index in range(52):
        bright = 0.6 * (index >= 40 and index % 3 == 0)
        cv2.imwrite(str(tmp_path / f"{index}.png"), (drawn_film(96, index, bright) * 255).astype(np.uint8))
        view = ("PA", "AP")[index % 2]
        if index < 40:
            train.append(f"{index}.png,{view},normal")
            continue
        dev.append(f"{index}.png,{index}.png,{index},{30 + index},F,{view},{'opacity' if bright else 'normal'}")
        if bright:
            boxes.append(f"{index}.png,58,39,20,20")
    for name, lines in (("train", train), ("dev", dev), ("boxes", boxes)):
        (tmp_path / f"{name}.csv").write_text("\n".join(lines) + "\n")
    return tmp_path


@pytest.fixture
def quick(monkeypatch):
    """A lower noise level for the released code, and fewer resampled intervals."""
    monkeypatch.setattr(methods, "RELEASED_LEVEL", 40)
    monkeypatch.setattr(benchmark, "REPEATS", 30)


def films_command(checkpoint: Path, tables: Path) -> list:
    """The command that compares methods on the films of `tables`."""
    manifests = ["--manifest", tables / "dev.csv", "--train", tables / "train.csv"]
    return [
        "benchmark",
        "films",
        "--checkpoint",
        checkpoint,
        *manifests,
        "--accept",
    ]  # drawn films are none to the gate


def read_part_times(tables: Path) -> dict[Path, int]:
    """Return the stored parts of a comparison, with the time at which each was written."""
    return {path: path.stat().st_mtime_ns for path in (tables / "out" / "cache").rglob("*.parquet")}


def test_films_that_the_gate_stops_are_counted_and_enter_no_metric(calibrated_checkpoint, tables, capsys, quick):
    """The gate accepts films of phantoms, and a drawn film or a text file is rejected with a reason."""
    rows = pd.read_csv(tables / "dev.csv")
    for index, row in rows.iterrows():
        if index >= 4:
            cv2.imwrite(str(tables / row["path"]), (make_person(2_050_001 + index).render(96) * 255).astype(np.uint8))
    (tables / rows["path"][0]).write_text("no picture")
    arguments = [entry for entry in films_command(calibrated_checkpoint, tables) if entry != "--accept"]
    status, out, error = run_command(capsys, *arguments, "--baselines", "PCA", "--out", tables / "out")
    assert status == 0, error
    result = json.loads((tables / "out" / "films.json").read_text())
    assert (result["films"], result["stopped"], result["unreadable"], result["accepted"]) == (8, 3, 1, 0)
    entries = result["parts"]["all"]["opacity"]["methods"]
    assert all(entry["films"] == 8 for scores in entries.values() for entry in scores.values())
    table = pd.read_csv(tables / "out" / "scores.csv")
    failures = table[table["error"].notna()]
    assert list(failures["row"]) == [1, 2, 3, 4] and failures["PCA: mse"].isna().all()
    assert list(failures["stopped"].fillna("")) == ["", "yes", "yes", "yes"]
    assert "--accept" in failures["error"].iloc[1] and "no PNG" in failures["error"].iloc[0]
    assert "3 films were stopped by the gate" in out and "1 films could not be read" in out
    assert "3 more were stopped by the gate" in (tables / "out" / "films.md").read_text()
    for row in rows["path"][4:]:
        (tables / row).write_text("no picture")
    status, _, error = run_command(capsys, *arguments, "--baselines", "PCA", "--out", tables / "out")
    assert status == 1 and "has no film of one class left" in error and "Traceback" not in error


@pytest.mark.slow
def test_two_processes_compare_as_one_after_a_kill(calibrated_checkpoint, tables, capsys, monkeypatch):
    """Each process evaluates a part of the films with every method, and the results equal those of one process."""
    monkeypatch.setattr(methods, "RELEASED_LEVEL", 40)
    monkeypatch.setattr(shards, "MAX_PARTS", 6)
    monkeypatch.setattr(benchmark, "BATCH", 2)
    monkeypatch.setattr(labelled_films, "BATCH", 2)
    small = "\nfrom diff3m.evaluation import methods, film_comparison, labelled_films\n"
    small += "methods.RELEASED_LEVEL = 40\nfilm_comparison.BATCH = labelled_films.BATCH = 2\n"
    arguments = [*films_command(calibrated_checkpoint, tables), "--boxes", tables / "boxes.csv", "--device", "cpu"]
    assert run_command(capsys, *arguments, "--out", tables / "alone")[0] == 0
    (survivor, _, errors), (victim, _, _) = two_processes([*arguments, "--out", tables / "out"], 1, small)
    assert victim < 0 and survivor == 1 and "Run the same command again" in errors, errors
    (first, _, errors), (second, silent, _) = two_processes([*arguments, "--out", tables / "out"], None, small)
    assert first == second == 0 and not silent, errors
    assert (tables / "out" / "scores.csv").read_text() == (tables / "alone" / "scores.csv").read_text()
    results = [json.loads((tables / name / "films.json").read_text()) for name in ("out", "alone")]
    for result in results:
        del result["seconds_a_film"]
    assert results[0] == results[1]


@pytest.mark.slow
def test_every_method_judges_the_same_films(calibrated_checkpoint, tables, capsys, quick):
    arguments = [*films_command(calibrated_checkpoint, tables), "--boxes", tables / "boxes.csv", "--halves", "patient"]
    arguments += ["--simplex", calibrated_checkpoint, "--out", tables / "out"]
    status, out, error = run_command(capsys, *arguments)
    assert status == 0, error
    result = json.loads((tables / "out" / "films.json").read_text())
    entries = result["parts"]["all"]["opacity"]["methods"]
    assert set(entries) == {"PCA", "autoencoder", "AnoDDPM, Gaussian", "AnoDDPM, simplex", "Diff3M as released", *OURS}
    assert all(entry["films"] == 12 for scores in entries.values() for entry in scores.values())
    assert entries["PCA"]["mse"]["auroc_within_view"] > 0.9, "a bright spot is no principal component of normals"
    assert all(
        entry["average_precision_within_view_interval"] is None  # fewer than ten films of a class
        for scores in entries.values()
        for entry in scores.values()
    )
    assert result["patients_checked"] is False, "train.csv names no patients"
    place = result["localization"]["PCA"]["opacity"]
    assert place["brighter"]["pointing_game"]["mean"] > 0.7 > place["chance"]
    assert (
        set(result["parts"]) == {"all", "A", "B"}
        and "over unknown record" in result["parts"]["all"]["opacity"]["difference"]
    )
    assert "pointing game" in out and (tables / "out" / "films.svg").read_text().count("PCA")
    lines = (tables / "out" / "scores.csv").read_text().splitlines()
    assert len(lines) == 13 and lines[0].startswith("row,path,label,view,part,PCA: mse")
    assert result["films"] == result["accepted"] == 12 and "12 films that the gate stops were judged knowingly" in out

    parts = read_part_times(tables)
    assert len(parts) == 9, "eight methods and the prepared films"
    assert run_command(capsys, *arguments)[0] == 0
    assert parts == read_part_times(tables), "stored results are not computed again"


def test_films_without_a_view_are_compared_as_far_as_can_be(calibrated_checkpoint, tables, capsys, quick):
    table = pd.read_csv(tables / "dev.csv").drop(columns="view")
    table.to_csv(tables / "dev.csv", index=False)
    arguments = films_command(calibrated_checkpoint, tables)
    status, out, error = run_command(
        capsys, *arguments, "--baselines", "PCA", "Diff3M as released", "--out", tables / "out"
    )
    assert status == 0, error
    names = {path.name.partition(" ")[0] for path in (tables / "out" / "cache").iterdir()}
    assert names == {"films", "PCA", "Diff3M", "ours,"}
    text = (tables / "out" / "films.json").read_text()
    assert (
        "NaN" not in text
        and json.loads(text)["parts"]["all"]["opacity"]["difference"]["over unknown record"]["difference"] is None
    )
    assert "mse – (" in out and "ours with the true record over unknown record: –" in out


def test_patients_and_films_that_methods_learned_from_are_refused(calibrated_checkpoint, tables, capsys):
    def learned(*lines: str) -> Path:
        (tables / "learned.csv").write_text("\n".join(("path,Patient,label", *lines)) + "\n")
        return tables / "learned.csv"

    arguments = [
        "benchmark",
        "films",
        "--checkpoint",
        calibrated_checkpoint,
        "--manifest",
        tables / "dev.csv",
        "--out",
        tables / "out",
    ]
    status, _, error = run_command(
        capsys, *arguments, "--train", learned("0.png,41,normal", "1.png,44,normal", "2.png,2,normal")
    )
    assert (
        status == 1 and "learned.csv and" in error and "dev.csv: 2 (41, 44 …)" in error and "splits by patient" in error
    )
    status, _, error = run_command(
        capsys, *arguments, "--train", learned("0.png,,normal", f"../{tables.name}/41.png,,normal", "42.png,,opacity")
    )
    assert status == 1 and "Films in both" in error and "dev.csv: 1 (41.png …)" in error, "42.png is not learned from"
    assert not (tables / "out").exists()
    assert check_held_out(learned("0.png,0,normal"), tables / "dev.csv", SCHEMA) is True
    assert check_held_out(learned("0.png,,normal"), tables / "dev.csv", SCHEMA) is False


def test_pixel_scores_leave_out_what_ours_leaves_out(calibrated_checkpoint):
    detector = Detector(load_checkpoint(calibrated_checkpoint), device="cpu", precision="float32")
    film = torch.zeros(1, 1, 32, 32)
    film[..., 0, 0] = 1.0
    judgment = methods.judge_by_residual(torch.zeros_like, detector)(film, slice(0, 1))
    assert judgment.scores["mse"].item() == judgment.scores["max"].item() == 0


@pytest.mark.slow
def test_answers_are_kept_for_their_weights_and_films_alone(calibrated_checkpoint, tables, monkeypatch):
    monkeypatch.setattr(benchmark, "REPEATS", 30)
    detector = Detector(load_checkpoint(calibrated_checkpoint), device="cpu", precision="float32")
    first = benchmark_films(detector, tables / "dev.csv", tables / "train.csv", tables / "out", accept=True)
    assert first["localization"]["PCA"] is None, "no boxes were given"
    scoring = detector.scoring
    other = detector.with_scoring(replace(scoring, one_step_noises=scoring.one_step_noises + 1))
    benchmark_films(other, tables / "dev.csv", tables / "train.csv", tables / "out", accept=True)
    assert len(list((tables / "out" / "cache").glob("ours, true record *"))) == 2
    assert len(list((tables / "out" / "cache").glob("PCA *"))) == 1


def test_answers_of_one_precision_are_not_taken_for_those_of_another(calibrated_checkpoint, tables, monkeypatch):
    class JudgeCall(Exception):
        pass

    def judge(method, cohort, folder, *_):
        raise JudgeCall(folder.name)

    monkeypatch.setattr(benchmark, "_judge", judge)
    names = []
    for precision in ("float32", "bfloat16", "float32"):
        with pytest.raises(JudgeCall) as call:
            detector = Detector(load_checkpoint(calibrated_checkpoint), device="cpu", precision=precision)
            benchmark_films(detector, tables / "dev.csv", tables / "train.csv", tables / "out", accept=True)
        names.append(str(call.value))
    assert names[0] == names[2] != names[1]


def test_pointing_game_and_difference_by_hand(quick):
    heat, boxes = np.zeros((4, 20, 20)), [np.zeros((20, 20), bool) for _ in range(4)]
    for index in range(4):
        boxes[index][5:10, 5:10] = True
    heat[0, 7, 7] = heat[1, 9, 5] = heat[2, 15, 15] = 1
    heat[3, 7, 7], heat[3, 0, 0] = 1, 2  # the hottest pixel lies in the margin, which does not count
    cases = [type("Case", (), {"label": "opacity", "record": {"view": "PA"}, "abnormal": True})() for _ in range(4)]
    cohort = Cohort(None, cases, np.array([""] * 4), boxes)
    localization = measure_localization(heat, cohort, 0.1)["opacity"]
    assert localization["size"]["pointing_game"]["mean"] == 0.75 and localization["films"] == 4
    assert measure_localization(-heat, cohort, 0.1)["opacity"]["brighter"]["pointing_game"]["mean"] == 0, (
        "darker is not brighter"
    )
    assert localization["chance"] == pytest.approx(25 / 256)

    labels = ["normal"] * 20 + ["opacity"] * 20
    cases = [
        type("Case", (), {"label": label, "record": {"view": ("PA", "AP")[i % 2]}})() for i, label in enumerate(labels)
    ]
    cohort = Cohort(None, cases, np.array([""] * 40), [None] * 40)
    perfect, blind = np.array([0.0] * 20 + [1.0] * 20) + np.arange(40) * 1e-3, np.tile([0.0, 1.0, 1.0, 0.0], 10)
    judgments = {name: Judgment({"score": perfect}, np.zeros((40, 2, 2))) for name in OURS} | {
        "PCA": Judgment({"mse": blind}, np.zeros((40, 2, 2)))
    }
    entry = compare(judgments, cohort, np.ones(40, bool))["opacity"]
    assert entry["best_baseline"] == ["PCA", "mse"]
    assert entry["difference"]["over PCA (mse)"]["difference"] == pytest.approx(0.5)
    assert entry["difference"]["over shuffled record"]["interval"] == (0, 0)


def test_halves_are_fixed_and_mistakes_are_named(calibrated_checkpoint, tables):
    assert "".join(map(assign_half, range(6))) == "BBAABB"
    assert {assign_half(number) for number in (1, "1", "1.0", 1.0, " 1 ")} == {assign_half(1)}, (
        "a patient is in one half however the number is written"
    )
    detector = Detector(load_checkpoint(calibrated_checkpoint), device="cpu", precision="float32")
    with pytest.raises(ValueError, match="no column `person`"):
        load_cohort(detector, tables / "dev.csv", None, "person", tables)
    with pytest.raises(ValueError, match="labelled normal films and labelled abnormal"):
        load_cohort(detector, tables / "train.csv", None, None, tables)
    (tables / "boxes.csv").write_text("image,x\n1.png,3\n")
    with pytest.raises(ValueError, match="columns image, x, y, w, h"):
        load_cohort(detector, tables / "dev.csv", tables / "boxes.csv", None, tables)


def test_released_scores_by_hand():
    film, reconstruction = torch.zeros(1, 1, 4, 4), torch.zeros(1, 1, 4, 4)
    film[0, 0, 0, 0], reconstruction[0, 0, 0, 0], reconstruction[0, 0, 3, 3] = 1.0, 0.5, 0.25
    scores = {name: values.item() for name, values in released_scores(film, reconstruction).items()}
    assert scores == pytest.approx(
        {"mse, whole film": 0.3125 / 16, "max, whole film": 0.5, "mse, min–max": 0.25 / 16, "max, min–max": 0.5}
    )
    flat = released_scores(torch.zeros(1, 1, 4, 4), torch.zeros(1, 1, 4, 4))
    assert all(values.item() == 0 for values in flat.values()), "a film of one grey value has no range"


def test_a_simplex_network_given_later_makes_no_other_answer_anew(calibrated_checkpoint, tables, monkeypatch):
    folders = []
    monkeypatch.setattr(
        benchmark,
        "_judge",
        lambda method, cohort, folder, *_: folders.append(folder.name) or (SimpleNamespace(heat=None), 0.0),
    )
    monkeypatch.setattr(benchmark, "compare", lambda judgments, cohort, rows: {})
    monkeypatch.setattr(benchmark, "measure_localization", lambda heat, cohort, border: {})
    monkeypatch.setattr(benchmark, "_write_scores", lambda path, judgments, cohort: None)
    detector = Detector(load_checkpoint(calibrated_checkpoint), device="cpu", precision="float32")
    for simplex in (None, Detector(load_checkpoint(calibrated_checkpoint), device="cpu", precision="bfloat16")):
        benchmark_films(
            detector, tables / "dev.csv", tables / "train.csv", tables / "out", simplex=simplex, accept=True
        )
    assert len(folders) == 15 and len(set(folders)) == 8
