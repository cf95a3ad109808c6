"""Benchmarks that stand alone, run at a tiny scale: they keep up with the functions they measure."""

import importlib.util

import pandas as pd
from helpers import ROOT


def test_the_mimic_linkage_is_measured(tmp_path, capfd):
    spec = importlib.util.spec_from_file_location("link_mimic", ROOT / "benchmarks" / "link_mimic.py")
    benchmark = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(benchmark)
    benchmark.write_tables(tmp_path / "tables", 0.0005)
    seconds, peak = benchmark.link(tmp_path / "tables", tmp_path / "out.csv")
    assert "189 rows read" in capfd.readouterr().out and seconds > 0 and peak > 0
    table = pd.read_csv(tmp_path / "out.csv")
    assert len(table) > 50 and table["age"].notna().all() and table["weight_kg"].notna().any(), (
        "films are linked, though no image is there"
    )
