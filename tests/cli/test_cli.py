import csv
import json
import subprocess
import sys
from dataclasses import replace

import cv2
import pytest
from helpers import ROOT, drawn_film, run_command

from diff3m.checkpoint.folder import read_config
from diff3m.cli import terminal
from diff3m.data.phantom import make_person


def test_analyze_prints_and_writes(calibrated_checkpoint, film_folder, tmp_path, capsys):
    measurements = ["--height-cm", 170, "--weight-kg", 70, "--systolic", 120, "--diastolic", 80]
    record = ["--age", 63, "--sex", "F", "--view", "PA", *measurements]
    files = ["--json", tmp_path / "a.json", "--out", tmp_path / "pictures"]
    command = [
        "analyze",
        film_folder / "film0.png",
        *record,
        "--checkpoint",
        calibrated_checkpoint,
        *files,
        "--seed",
        3,
    ]
    status, out, _ = run_command(capsys, *command)
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
    for name in ("reconstruction", "residual"):
        assert cv2.imread(str(tmp_path / "pictures" / f"{name}.png")).shape == (512, 512, 3)
    pixels = cv2.imread(str(film_folder / "film0.png"))
    for name in ("film", "normal_film", "difference"):
        assert cv2.imread(str(tmp_path / "pictures" / f"{name}.png")).shape == pixels.shape


def test_a_stopped_film_is_analyzed_knowingly_only(calibrated_checkpoint, film_folder, tmp_path, capsys):
    film = film_folder / "film0.png"
    cv2.imwrite(str(film), 255 - cv2.imread(str(film), cv2.IMREAD_GRAYSCALE))
    for command in ("analyze", "explain"):
        status, _, error = run_command(capsys, command, film, "--checkpoint", calibrated_checkpoint)
        assert status == 1 and "negative" in error and "--accept" in error
    status, out, _ = run_command(
        capsys, "analyze", film, "--checkpoint", calibrated_checkpoint, "--accept", "--json", tmp_path / "a.json"
    )
    accepted = json.loads((tmp_path / "a.json").read_text())["accepted"]
    assert status == 0 and "negative" in accepted[0] and "knowingly" in out


def test_evaluate_calibrate_and_prepare(calibrated_checkpoint, film_folder, tmp_path, capsys):
    assert run_command(capsys, "calibrate", calibrated_checkpoint, "--manifest", film_folder / "manifest.csv")[0] == 0
    (film_folder / "table.csv").write_text((film_folder / "manifest.csv").read_text().replace("path,", "file,"))
    manifest = tmp_path / "m.csv"
    status, out, _ = run_command(
        capsys,
        "prepare",
        "folder",
        "--table",
        film_folder / "table.csv",
        "--out",
        manifest,
        "--column",
        "path=file",
        "--quick",
        "--where",
        "view=PA,AP",
    )
    assert status == 0 and "12 rows" in out
    status, out, _ = run_command(
        capsys,
        "evaluate",
        "--manifest",
        manifest,
        "--checkpoint",
        calibrated_checkpoint,
        "--out",
        tmp_path / "e",
        "--limit",
        9,
    )
    assert status == 0 and "AUROC within view" in out
    metrics = json.loads((tmp_path / "e" / "metrics.json").read_text())
    assert metrics["rows"] == 9 and metrics["auroc_within_view"] is not None


def test_train_then_analyze(film_folder, tmp_path, capsys):
    (tmp_path / "c.yaml").write_text(
        f"name: small\nmanifest: {film_folder}/manifest.csv\nvalidation: {film_folder}/manifest.csv\n"
        f"out: {tmp_path}/run\nsteps: 2\nbatch_size: 2\n"
        "network: {image_size: 32, space_to_depth: 2, channels: 32, channel_multipliers: [1, 2]}\nprecision: 'no'\n"
    )
    status, out, _ = run_command(capsys, "train", tmp_path / "c.yaml")
    assert status == 0 and "calibrated on 8 normal films" in out
    assert (
        run_command(capsys, "analyze", film_folder / "film1.png", "--checkpoint", tmp_path / "run" / "checkpoint")[0]
        == 0
    )


@pytest.mark.slow
def test_time_left_of_a_resumed_training_counts_from_where_it_goes_on(film_folder, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(terminal, "LOG_SECONDS", 0.0)
    (tmp_path / "c.yaml").write_text(
        f"name: small\nmanifest: {film_folder}/manifest.csv\nout: {tmp_path}/run\n"
        "steps: 2\nbatch_size: 2\nprecision: 'no'\nlog_every: 1\n"
        "network: {image_size: 32, space_to_depth: 2, channels: 32, channel_multipliers: [1, 2]}\n"
    )
    assert run_command(capsys, "train", tmp_path / "c.yaml")[0] == 0
    status, _, error = run_command(capsys, "train", tmp_path / "c.yaml", "--steps", 4)
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
def test_mistakes_get_one_sentence(calibrated_checkpoint, tmp_path, capsys, arguments, word):
    film = tmp_path / "film.png"
    cv2.imwrite(str(film), make_person(2_050_001).render(96) * 255)
    arguments = [{"FILM": film, "OUT": tmp_path / "o"}.get(a, a) for a in arguments]
    if arguments[0] != "train" and "--checkpoint" not in arguments:
        arguments += ["--checkpoint", calibrated_checkpoint]
    status, _, error = run_command(capsys, *arguments)
    assert status == 1 and word in error and "Traceback" not in error


def test_help_lists_the_commands_and_imports_nothing_heavy():
    code = (
        "import sys\nfrom diff3m.cli.main import main\ntry:\n    main(['--help'])\n"
        "except SystemExit:\n    print('IMPORTED', *sorted(sys.modules))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    text, modules = result.stdout.split("IMPORTED ")
    for command in ("analyze", "evaluate", "train", "calibrate", "search-score", "prepare"):
        assert command in text
    assert not {"torch", "pandas", "numpy", "cv2", "matplotlib", "gradio", "tqdm"} & set(modules.split())


def test_the_module_runs_as_the_command():
    command = [sys.executable, "-m", "diff3m.cli", "calibrate", "--help"]
    assert "--score" in subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=True).stdout


@pytest.mark.slow
def test_analyze_imports_no_package_that_it_does_not_use(calibrated_checkpoint, film_folder):
    command = ["analyze", str(film_folder / "film0.png"), "--checkpoint", str(calibrated_checkpoint)]
    code = (
        f"import sys\nfrom diff3m.cli.main import main\nassert main({command!r}) == 0\nprint('IMPORTED', *sys.modules)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    modules = set(result.stdout.split("IMPORTED ")[1].split())
    assert not {"pandas", "captum", "matplotlib", "scipy", "sklearn", "accelerate", "gradio", "pydicom"} & modules


SCORE = """
components:
  - {kind: absolute, sigma: 2}
  - {kind: ssim, sigma: 6, level: 40, source: one_step}
noise_level: 80
steps: 3
combine: max
window: [0.1, 0.1, 0.2, 0.1]
"""


def test_calibrate_takes_a_score_file(calibrated_checkpoint, film_folder, tmp_path, capsys):
    (tmp_path / "score.yaml").write_text(SCORE)
    arguments = ("calibrate", calibrated_checkpoint, "--manifest", film_folder / "manifest.csv", "--score")
    before = read_config(calibrated_checkpoint)
    assert run_command(capsys, *arguments, tmp_path / "score.yaml")[0] == 0
    after = read_config(calibrated_checkpoint)
    assert [component.kind for component in after.scoring.components] == ["absolute", "ssim"]
    assert (after.scoring.steps, after.scoring.combine, after.scoring.window[2]) == (3, "max", 0.2)
    assert dict(after.scoring.calibration)["any"].count == 8 and len(dict(after.scoring.calibration)["any"].mean) == 2
    assert replace(after, scoring=before.scoring) == before
    assert run_command(capsys, "analyze", film_folder / "film0.png", "--checkpoint", calibrated_checkpoint)[
        1
    ].startswith("anomaly score")
    stored = (calibrated_checkpoint / "config.json").read_bytes()
    for text, word in (("components: [{kind: entropy}]", "kind must be one of"), ("noise_level: 2000", "beyond")):
        (tmp_path / "bad.yaml").write_text(text)
        status, _, error = run_command(capsys, *arguments, tmp_path / "bad.yaml")
        assert status == 1 and word in error and "Traceback" not in error
    assert (calibrated_checkpoint / "config.json").read_bytes() == stored


def test_a_score_is_searched_and_then_used(calibrated_checkpoint, film_folder, tmp_path, capsys):
    (tmp_path / "candidates.yaml").write_text(
        "noise_level: 80\nsteps: 2\ncandidates:\n  low: {components: [{kind: brighter, sigma: 2, level: 40}]}\n"
        "  two: {components: [{kind: absolute, sigma: 2}, {kind: ssim, sigma: 6}], combine: max}\n"
    )
    lines = ["path,view,label,patient"]
    for index in range(24):
        bright = index % 2
        cv2.imwrite(str(tmp_path / f"{index}.png"), drawn_film(seed=100 + index, bright=0.6 * bright) * 255)
        lines.append(f"{index}.png,{('PA', 'AP')[index // 2 % 2]},{('normal', 'opacity')[bright]},{index}")
    (tmp_path / "labelled.csv").write_text("\n".join(lines) + "\n")
    arguments = ["search-score", "--checkpoint", calibrated_checkpoint, "--candidates", tmp_path / "candidates.yaml"]
    arguments += ["--manifest", film_folder / "manifest.csv", "--labelled", tmp_path / "labelled.csv", "--accept"]
    status, out, error = run_command(capsys, *arguments, "--out", tmp_path / "out")
    assert status == 0 and "Half A chooses" in out and "Half B reports" in out, error
    rows = list(csv.DictReader((tmp_path / "out" / "candidates.csv").open()))
    assert [row["candidate"] for row in rows] == ["low", "two"] and [row["components"] for row in rows] == ["1", "2"]
    assert [row["chosen"] for row in rows].count("True") == 1
    command = ["calibrate", calibrated_checkpoint, "--manifest", film_folder / "manifest.csv"]
    assert run_command(capsys, *command, "--score", tmp_path / "out" / "score.yaml")[0] == 0
    expected = {"low": ("brighter",), "two": ("absolute", "ssim")}[
        next(r["candidate"] for r in rows if r["chosen"] == "True")
    ]
    assert tuple(component.kind for component in read_config(calibrated_checkpoint).scoring.components) == expected


@pytest.mark.slow
def test_a_manifest_is_explained_line_by_line(fitted_detector, film_folder, tmp_path, capsys):
    (film_folder / "bad.png").write_text("no picture")
    rows = "path,age,sex,view,bmi,label,weight\nfilm0.png,50,F,PA,31,normal,70\nbad.png,60,M,AP,,,70\n"
    (film_folder / "m.csv").write_text(rows)
    checkpoint = fitted_detector.checkpoint.folder
    command = ["explain", "--manifest", film_folder / "m.csv", "--checkpoint", checkpoint, "--device", "cpu"]
    status, out, error = run_command(capsys, *command, "--target", "misfit", "--out", tmp_path / "e")
    assert status == 0, error
    first, second = map(json.loads, (tmp_path / "e" / "explanations.jsonl").read_text().splitlines())
    assert first["row"] == 1 and first["record"]["bmi"] == 31 and "date" not in first
    assert any("`weight` was not read" in note for note in first["notes"])
    assert "no PNG" in second["error"] and second["stopped"] is False and "1 of 2 films were explained" in out
    assert len(json.loads((tmp_path / "e" / "run.json").read_text())["checkpoint"]["weights_sha256"]) == 64
    film = ["explain", film_folder / "film0.png", "--age", 50, "--sex", "F", "--view", "PA", "--bmi", 31]
    film += ["--checkpoint", checkpoint, "--device", "cpu", "--target", "misfit", "--json", tmp_path / "one.json"]
    assert run_command(capsys, *film)[0] in (0, 1)
    one = json.loads((tmp_path / "one.json").read_text())
    assert one["explanations"]["misfit"] == first["explanations"]["misfit"]


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ((), "There is no film"),
        (("film.png", "--manifest", "m.csv"), "not both"),
        (("--manifest", "m.csv"), "--out names the folder"),
        (("--manifest", "m.csv", "--out", "o", "--age", "50"), "the records come from its columns"),
        (("--manifest", "m.csv", "--out", "o", "--json", "x"), "--json is of one film"),
    ],
)
def test_what_one_film_and_a_manifest_do_not_share_is_named(capsys, arguments, word):
    status, _, error = run_command(capsys, "explain", *arguments)
    assert status == 1 and word in error
