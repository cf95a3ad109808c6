"""One computation over many processes: the same numbers, resumed after a kill, in flat memory."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest
from helpers import ROOT, run_command, two_processes

from diff3m.data.manifest import ManifestError
from diff3m.evaluation import shards
from diff3m.evaluation.shards import Parts, Processes, ShardError, compute_part_size

SCHEMA = pa.schema([("value", pa.int64())])


@pytest.fixture
def small_parts(monkeypatch):
    """The same parts in this process as in the started ones."""
    monkeypatch.setattr(shards, "MAX_PARTS", 6)


@pytest.mark.slow
def test_two_processes_one_killed_and_started_again_give_the_numbers_of_one(
    calibrated_checkpoint, film_folder, tmp_path, capsys, small_parts
):
    (film_folder / "film7.png").write_bytes(b"no picture")
    command = [
        "evaluate",
        "--manifest",
        film_folder / "manifest.csv",
        "--checkpoint",
        calibrated_checkpoint,
        "--batch-size",
        2,
    ]
    command += ["--device", "cpu"]
    status, alone, error = run_command(capsys, *command, "--out", tmp_path / "alone")
    assert status == 0, error
    shared_command, parts = [*command, "--out", tmp_path / "both"], tmp_path / "both" / "parts"
    (survivor, _, errors), (victim, _, _) = two_processes(shared_command, victim=1)
    assert victim == -signal.SIGKILL and survivor == 1 and "Run the same command again" in errors, errors
    assert "Traceback" not in errors
    stored = {path.name: path.stat().st_mtime_ns for path in parts.glob("*.parquet")}
    assert len(stored) == 4 and not (tmp_path / "both" / "metrics.json").exists()
    for name in stored:
        # the link outlives the folder, which is removed at the end
        os.link(parts / name, tmp_path / f"link-{name}")
    (first, out, errors), (second, silent, _) = two_processes(shared_command)
    assert (first, second) == (0, 0), errors
    assert not silent and out.replace("both", "alone") == alone
    for name in ("metrics.json", "scores.csv", "subgroups.json"):
        assert (tmp_path / "both" / name).read_bytes() == (tmp_path / "alone" / name).read_bytes(), name
    for name, write_time in stored.items():
        assert (tmp_path / f"link-{name}").stat().st_mtime_ns == write_time, "a complete part was computed again"
    assert not parts.exists()


@pytest.mark.slow
def test_two_processes_calibrate_as_one_after_a_kill(calibrated_checkpoint, film_folder, tmp_path, small_parts, capsys):
    both = Path(shutil.copytree(calibrated_checkpoint, tmp_path / "both"))
    manifest = film_folder / "manifest.csv"
    manifest.write_text(manifest.read_text() + "".join(f"film{film}.png,40,F,PA,,normal\n" for film in (0, 1) * 20))
    assert run_command(capsys, "calibrate", calibrated_checkpoint, "--manifest", manifest)[0] == 0
    (survivor, _, errors), (victim, _, _) = two_processes(["calibrate", both, "--manifest", manifest], victim=1)
    assert victim == -signal.SIGKILL and survivor == 1 and "Run the same command again" in errors
    assert len(list((both / "calibration-parts").glob("*.parquet"))) == 3, "of four parts of 16 films"
    ((status, out, errors), _) = two_processes(["calibrate", both, "--manifest", manifest])
    assert status == 0 and "48 normal films" in out, errors
    assert (both / "config.json").read_text() == (calibrated_checkpoint / "config.json").read_text()
    assert not (both / "calibration-parts").exists()


@pytest.mark.slow
def test_two_processes_calibrate_the_fit_as_one_after_a_kill(tiny_copy, film_folder, tmp_path, small_parts, capsys):
    both = Path(shutil.copytree(tiny_copy, tmp_path / "both"))
    lines = [
        f"film{film}.png,{50 + film},{'FM'[film % 2]},{('PA', 'AP')[film % 2]},24,130,80,normal" for film in range(5)
    ]
    (film_folder / "film3.png").write_bytes(b"no picture")
    manifest = film_folder / "fit.csv"
    manifest.write_text("\n".join(["path,age,sex,view,bmi,systolic_mmhg,diastolic_mmhg,label", *lines]) + "\n")
    status, _, errors = run_command(capsys, "calibrate", tiny_copy, "--fit", "--manifest", manifest)
    assert status == 0, errors
    command = ["calibrate", both, "--fit", "--manifest", manifest]
    (survivor, _, errors), (victim, _, _) = two_processes(command, victim=1)
    assert victim == -signal.SIGKILL and survivor == 1 and "Run the same command again" in errors, errors
    assert len(list((both / "fit-parts").glob("*.parquet"))) == 4, "of five films"
    (first, out, errors), (second, silent, _) = two_processes(command)
    assert (first, second) == (0, 0) and "age: 4 normal films" in out and not silent, errors
    assert (both / "config.json").read_text() == (tiny_copy / "config.json").read_text()
    assert not list(both.glob("*-parts"))


@pytest.mark.slow
def test_two_processes_explain_as_one_after_a_kill(fitted_detector, film_folder, tmp_path, small_parts, capsys):
    rows = [f"film{film}.png,{50 + film},{'FM'[film % 2]},PA,normal" for film in range(5)]
    (film_folder / "film3.png").write_bytes(b"no picture")
    (film_folder / "m.csv").write_text("\n".join(["path,age,sex,view,label", *rows]) + "\n")
    command = ["explain", "--manifest", film_folder / "m.csv", "--checkpoint", fitted_detector.checkpoint.folder]
    command += ["--device", "cpu", "--target", "misfit"]
    status, _, error = run_command(capsys, *command, "--out", tmp_path / "alone")
    assert status == 0, error
    both = tmp_path / "both"
    (survivor, _, errors), (victim, _, _) = two_processes([*command, "--out", both], victim=1)
    assert victim == -signal.SIGKILL and survivor == 1 and "Run the same command again" in errors, errors
    assert list((both / "parts").glob("*.parquet")) and not (both / "explanations.jsonl").exists()
    (first, out, errors), (second, silent, _) = two_processes([*command, "--out", both])
    assert (first, second) == (0, 0) and "4 of 5 films were explained" in out and not silent, errors
    assert (both / "explanations.jsonl").read_text() == (tmp_path / "alone" / "explanations.jsonl").read_text()
    assert not (both / "parts").exists()


def compute(parts: Parts, processes: Processes = shards.SINGLE_PROCESS) -> list[int]:
    """Compute the squares of 0 to 9 in parts, and return the items that were computed."""
    items: list[int] = []

    def squares(part: list[int]):
        items.extend(part)
        return [{"value": item**2} for item in part]

    parts.compute(lambda is_wanted: (item for item in range(10) if is_wanted(item)), squares, processes)
    return items


def test_parts_are_shared_out_and_read_back_in_order(tmp_path, monkeypatch):
    monkeypatch.setattr(shards, "MAX_PARTS", 5)
    monkeypatch.setattr(Processes, "wait", lambda self: None)
    parts = Parts(tmp_path / "p", 10, 2, SCHEMA, {})
    assert parts.count == 5
    assert compute(parts, Processes(0, 2)) == [0, 1, 4, 5, 8, 9]
    assert compute(parts, Processes(0, 2)) == [2, 3], "of the two that are left each takes one"
    assert compute(parts) == [6, 7] and compute(parts) == []
    assert [row["value"] for row in parts.read_rows()] == [item**2 for item in range(10)]
    assert list(parts.read_frame(["value"])["value"]) == [item**2 for item in range(10)]


def test_parts_of_another_run_and_a_disk_of_ones_own_are_refused(tmp_path, monkeypatch):
    compute(Parts(tmp_path / "p", 10, 2, SCHEMA, {"settings": {"seed": 0}, "accept": False}))
    with pytest.raises(ShardError, match=r"with other settings\. Remove that folder"):
        compute(Parts(tmp_path / "p", 10, 2, SCHEMA, {"settings": {"seed": 1}, "accept": False}))
    monkeypatch.setattr(Processes, "wait", lambda self: None)
    with pytest.raises(ShardError, match="a disk that all machines share"):
        compute(Parts(tmp_path / "q", 10, 2, SCHEMA, {}), Processes(1, 2))


def test_parts_depend_on_the_rows_alone():
    assert compute_part_size(303, 16) == 16 and compute_part_size(10_000, 16) == 48 and compute_part_size(1, 16) == 16
    assert compute_part_size(1_000_000, 16) == 3920 and compute_part_size(100_000_000, 16) == 4096
    assert compute_part_size(7, 4) % 4 == 0


STREAM = """
import json, sys, types
from pathlib import Path
import numpy as np
from diff3m.data.manifest import Manifest
from diff3m.ehr import paper_schema
from diff3m.evaluation import run

class Analysis:
    score, percentile, compared_with, accepted, notes = 0.25, 40.0, "PA", (), ()
    residual = np.full((8, 8), 0.5, np.float32)

class Detector:
    schema = paper_schema()
    device, precision = types.SimpleNamespace(type="cpu"), "float32"
    config = types.SimpleNamespace(name="stub")
    checkpoint = types.SimpleNamespace(sha256="")
    scoring = types.SimpleNamespace(calibration=((),), to_dict=dict)
    def settings(self, **_): return Settings()
    def case(self, film, record): return film
    def analyze_many(self, films, **_): return (Analysis() for _ in films)

from diff3m.analysis import Settings as Plain
Settings = lambda: Plain(1, 1, 0, "x_t")
run.read_film = lambda path, accept: path
metrics = run.evaluate(Detector(), sys.argv[1], sys.argv[2])
peak = next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM")) / 1024
print(json.dumps({"rows": metrics["rows"], "films": metrics["films"], "peak": peak}))
"""


def peak_megabytes(folder: Path, rows: int) -> float:
    """Evaluate a manifest of that many rows in a process of its own, reading stubbed; returns its VmHWM."""
    manifest = folder / f"{rows}.csv"
    with manifest.open("w") as file:
        file.write("path,age,sex,view,bmi,label\n")
        for row in range(rows):
            file.write(f"{manifest.name},{20 + row % 60},{'FM'[row % 2]},PA,{20 + row % 15},normal\n")
    command = [sys.executable, "-c", STREAM, str(manifest), str(folder / f"out-{rows}")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["rows"] == result["films"] == rows
    with (folder / f"out-{rows}" / "scores.csv").open() as file:
        assert sum(1 for _ in file) == rows + 1
    return result["peak"]


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory is read from Linux's /proc")
def test_memory_does_not_grow_with_the_manifest(tmp_path):
    """A list of all cases takes 1.5 kB a row: 45 MB for 30,000 rows."""
    few, many = (peak_megabytes(tmp_path, rows) for rows in (10_000, 40_000))
    assert many < few + 30, f"{few:.0f} MB for 10,000 rows, {many:.0f} for 40,000"


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory is read from Linux's /proc")
def test_a_million_rows_stream(tmp_path):
    few, million = (peak_megabytes(tmp_path, rows) for rows in (20_000, 1_000_000))
    print(f"peak memory: {few:.0f} MB for 20,000 rows, {million:.0f} MB for a million")
    assert million < few + 200


@pytest.mark.slow
def test_a_manifest_that_cannot_be_read_ends_every_process_with_its_sentence(calibrated_checkpoint, tmp_path):
    command = [
        "evaluate",
        "--manifest",
        tmp_path / "absent.csv",
        "--checkpoint",
        calibrated_checkpoint,
        "--out",
        tmp_path / "o",
    ]
    for status, _, error in two_processes([*command, "--device", "cpu"]):
        assert status == 1 and "no manifest file" in error and "Traceback" not in error
    assert issubclass(ManifestError, ValueError)
