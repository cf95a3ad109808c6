import json
import subprocess
import sys

import cv2
import pytest
from conftest import ROOT
from test_evaluation import calibrated  # noqa: F401  (a fixture)

from diff3m.cli import terminal
from diff3m.cli.main import main
from diff3m.data.phantom import person


def run(capsys, *arguments) -> tuple[int, str, str]:
    status = main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def test_analyze_prints_and_writes(calibrated, film_folder, tmp_path, capsys):  # noqa: F811
    status, out, _ = run(
        capsys, "analyze", film_folder / "film0.png", "--age", 63, "--sex", "F", "--view", "PA", "--height-cm", 170, "--weight-kg", 70,
        "--systolic", 120, "--diastolic", 80, "--checkpoint", calibrated, "--json", tmp_path / "a.json", "--out", tmp_path / "pictures", "--seed", 3,
    )  # fmt: skip
    assert status == 0
    for word in (
        "anomaly score",
        "percentile",
        "attention over demographics",
        "Age",
        "63 years",
        "Female",
        "not for diagnosis",
    ):
        assert word in out
    values = json.loads((tmp_path / "a.json").read_text())
    assert values["score"] is not None and 0 <= values["percentile"] <= 100 and values["settings"]["seed"] == 3
    assert values["record"]["bmi"] == pytest.approx(24.2) and sum(values["attention"]["ehr"].values()) == pytest.approx(
        1, abs=1e-4
    )
    assert len(values["checkpoint"]["weights_sha256"]) == 64 and "film0" not in json.dumps(values)
    for name in ("film", "reconstruction", "residual", "heat_map"):
        assert cv2.imread(str(tmp_path / "pictures" / f"{name}.png")).shape == (512, 512, 3)


def test_a_stopped_film_is_analyzed_knowingly_only(calibrated, film_folder, tmp_path, capsys):  # noqa: F811
    film = film_folder / "film0.png"
    cv2.imwrite(str(film), 255 - cv2.imread(str(film), cv2.IMREAD_GRAYSCALE))
    for command in ("analyze", "explain"):
        status, _, error = run(capsys, command, film, "--checkpoint", calibrated)
        assert status == 1 and "negative" in error and "--accept" in error
    status, out, _ = run(capsys, "analyze", film, "--checkpoint", calibrated, "--accept", "--json", tmp_path / "a.json")
    accepted = json.loads((tmp_path / "a.json").read_text())["accepted"]
    assert status == 0 and "negative" in accepted[0] and "knowingly" in out


def test_evaluate_calibrate_and_prepare(calibrated, film_folder, tmp_path, capsys):  # noqa: F811
    assert run(capsys, "calibrate", calibrated, "--manifest", film_folder / "manifest.csv")[0] == 0
    (film_folder / "table.csv").write_text((film_folder / "manifest.csv").read_text().replace("path,", "file,"))
    manifest = tmp_path / "m.csv"
    status, out, _ = run(
        capsys,
        "prepare",
        "folder",
        "--table",
        film_folder / "table.csv",
        "--out",
        manifest,
        "--column",
        "path=file",
        "--where",
        "view=PA,AP",
    )
    assert status == 0 and "12 rows" in out
    status, out, _ = run(
        capsys, "evaluate", "--manifest", manifest, "--checkpoint", calibrated, "--out", tmp_path / "e", "--limit", 9
    )
    assert status == 0 and "AUROC within view" in out
    metrics = json.loads((tmp_path / "e" / "metrics.json").read_text())
    assert metrics["rows"] == 9 and metrics["auroc_within_view"] is not None


def test_train_then_analyze(film_folder, tmp_path, capsys):
    (tmp_path / "c.yaml").write_text(
        f"name: small\nmanifest: {film_folder}/manifest.csv\nvalidation: {film_folder}/manifest.csv\nout: {tmp_path}/run\nsteps: 2\nbatch_size: 2\n"
        "network: {image_size: 32, space_to_depth: 2, channels: 32, channel_multipliers: [1, 2]}\nprecision: 'no'\n"
    )
    status, out, _ = run(capsys, "train", tmp_path / "c.yaml")
    assert status == 0 and "calibrated on 8 normal films" in out
    assert run(capsys, "analyze", film_folder / "film1.png", "--checkpoint", tmp_path / "run" / "checkpoint")[0] == 0


def test_time_left_of_a_resumed_training_counts_from_where_it_goes_on(film_folder, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(terminal, "LOG_SECONDS", 0.0)
    (tmp_path / "c.yaml").write_text(
        f"name: small\nmanifest: {film_folder}/manifest.csv\nout: {tmp_path}/run\nsteps: 2\nbatch_size: 2\nprecision: 'no'\nlog_every: 1\n"
        "network: {image_size: 32, space_to_depth: 2, channels: 32, channel_multipliers: [1, 2]}\n"
    )
    assert run(capsys, "train", tmp_path / "c.yaml")[0] == 0
    status, _, error = run(capsys, "train", tmp_path / "c.yaml", "--steps", 4)
    bars = [line for line in error.replace("\r", "\n").splitlines() if line.startswith("training:")]
    assert status == 0 and " 2/4 [00:00<?, ?step/s]" in bars[0] and " 4/4 [" in bars[-1] and "noise nan" not in error


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (("analyze", "absent.png"), "no such file"),
        (("analyze", "FILM", "--age", "200"), "Age"),
        (("analyze", "FILM", "--ehr", "heart_rate=80"), "no feature heart_rate"),
        (("analyze", "FILM", "--ehr", "age"), "NAME=VALUE"),
        (("analyze", "FILM", "--checkpoint", "absent"), "no checkpoint"),
        (("analyze", "FILM", "--steps", "100000"), "steps must lie"),
        (("evaluate", "--manifest", "absent.csv", "--out", "OUT"), "no manifest"),
        (("train", "absent.yaml"), "no configuration"),
    ],
)
def test_mistakes_get_one_sentence(calibrated, tmp_path, capsys, arguments, word):  # noqa: F811
    film = tmp_path / "film.png"
    cv2.imwrite(str(film), person(2_050_001).film(96) * 255)
    arguments = [{"FILM": film, "OUT": tmp_path / "o"}.get(a, a) for a in arguments]
    if arguments[0] != "train" and "--checkpoint" not in arguments:
        arguments += ["--checkpoint", calibrated]
    status, _, error = run(capsys, *arguments)
    assert status == 1 and word in error and "Traceback" not in error


def test_the_command_is_installed_and_explains_itself():
    made = subprocess.run(
        [sys.executable, "-m", "diff3m.cli", "--help"], capture_output=True, text=True, cwd=ROOT, check=True
    )
    for command in ("analyze", "evaluate", "train", "calibrate", "prepare"):
        assert command in made.stdout
