"""Benchmarks that stand alone, run at a tiny scale: they keep up with the functions they measure."""

import importlib.util
import json
import sys

import pandas as pd
import pytest
from helpers import ROOT


@pytest.fixture
def script(monkeypatch):
    """Loads a script of benchmarks/ by its name."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))

    def load(name: str):
        spec = importlib.util.spec_from_file_location(name, ROOT / "benchmarks" / f"{name}.py")
        module = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, name, module)
        spec.loader.exec_module(module)
        return module

    return load


def test_the_mimic_linkage_is_measured(script, tmp_path, capfd):
    benchmark = script("link_mimic")
    benchmark.write_tables(tmp_path / "tables", 0.0005)
    seconds, peak = benchmark.link(tmp_path / "tables", tmp_path / "out.csv")
    assert "189 rows read" in capfd.readouterr().out and seconds > 0 and peak > 0
    table = pd.read_csv(tmp_path / "out.csv")
    assert len(table) > 50 and table["age"].notna().all() and table["weight_kg"].notna().any(), (
        "films are linked, though no image is there"
    )


@pytest.mark.slow
def test_the_gpu_benchmark_measures_and_writes_a_table(script, calibrated_checkpoint, tmp_path, monkeypatch, capsys):
    """On the processor, with a compiler that compiles nothing; what fails is written down and loses nothing else."""
    gpu = script("gpu")
    monkeypatch.setitem(gpu.MODES, "graphs", {"backend": "eager"})
    monkeypatch.setitem(gpu.MODES, "compile", {"backend": "no such compiler"})
    command = ["--device", "cpu", "--checkpoint", str(calibrated_checkpoint), "--batches", "1", "3", "--repeats", "1"]
    gpu.main([*command, "--no-paper", "--out", str(tmp_path)])
    network = json.loads((tmp_path / "gpu.json").read_text())["networks"]["tiny"]
    assert network["side"] == 32 and network["passes"] > 4
    for batch in ("1", "3"):
        assert network["modes"]["eager"][batch]["films_per_second"] > 0
        eager, graphs = (network["modes"][mode][batch]["largest_difference"] for mode in ("eager", "graphs"))
        assert graphs == pytest.approx(eager, abs=1e-4), "compiled is the same"
        assert "no such compiler" in network["modes"]["compile"][batch]["failure"]
    gpu.main([*command, "--no-paper", "--modes", "eager", "--minutes", "0", "--out", str(tmp_path / "late")])
    assert (tmp_path / "late" / "gpu.md").read_text().count("not measured: 0 minutes were over") == 2
    table = (tmp_path / "gpu.md").read_text()
    assert table.count("| eager |") == table.count("| graphs |") == 2 and table in capsys.readouterr().out
    monkeypatch.setattr(gpu.torch.cuda, "is_available", lambda: False)
    with pytest.raises(SystemExit, match="no GPU here"):
        gpu.main(["--out", str(tmp_path)])


@pytest.mark.slow
def test_the_compiled_branch_is_the_one_that_an_analysis_calls(script, calibrated_checkpoint):
    gpu = script("gpu")
    detector = gpu.Detector(gpu.load_checkpoint(calibrated_checkpoint), "cpu", "float32")
    case = detector.case(gpu.synthetic_film(64), {"age": 60})
    calls = []
    with gpu.compiled(detector, {"backend": lambda graph, inputs: calls.append(1) or graph.forward}):
        detector.analyze(case)
    assert calls, "nothing was compiled"
    detector.analyze(case)
    assert "predict_noise" not in vars(detector.network)


@pytest.mark.slow
def test_users_of_the_load_test_each_get_their_own(script):
    load = script("load")
    with load.served(None) as address:
        result = load.measure(address, 4)
    assert result["wrong records"] == result["wrong films"] == 0 and len(result["answers"]) == 4
    assert 0 < result["median wait, s"] <= result["last wait, s"]


def test_a_refusal_by_the_full_queue_is_known_from_other_errors(script):
    load = script("load")
    assert load.FULL.search("Queue is full! Please try again.") and load.FULL.search("Queue is full. Max size is 40")
    assert not load.FULL.search("The film seems to be turned")
