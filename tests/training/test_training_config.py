"""Configurations of trainings."""

import re

import pytest
from helpers import ROOT

from diff3m.ehr import paper_schema
from diff3m.training.config import ConfigError, TrainingConfig

SCHEMA = paper_schema()


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("name: a\nmanifest: b\n", "lacks: out"),
        ("name: a\nmanifest: b\nout: c\nstep: 4\n", "unknown setting"),
        ("name: a\nmanifest: b\nout: c\nsteps: 0\n", "steps must be"),
        ("name: a\nmanifest: b\nout: c\nlearning_rate: fast\n", "learning_rate"),
        ("name: a\nmanifest: b\nout: c\nprecision: int8\n", "precision"),
        ("- a\n- b\n", "setting: value"),
        ("a: [", "valid YAML"),
        ("1: 2\nname: a\nmanifest: b\nout: c\n", "unknown setting.*1"),
        *(
            (f"name: a\nmanifest: b\nout: c\n{setting}: {value}\n", f"^{setting} must {rule}, got ")
            for setting, value, rule in (
                ("gradient_clip", "0", "be above 0"),
                ("gradient_clip", "-1.0", "be above 0"),
                ("learning_rate", ".nan", "be a finite number"),
                ("learning_rate", "null", "be a finite number"),
                ("learning_rate", "-1e-4", "be above 0"),
                ("learning_rate", ".inf", "be a finite number"),
                ("final_learning_rate", "1.5", "lie between 0 and 1"),
                ("final_learning_rate", "-0.1", "lie between 0 and 1"),
                ("low_level", "1001", "lie between 1 and 1000"),
                ("low_level", "0", "lie between 1 and 1000"),
                ("batch_size", "4.0", "be a whole number"),
                ("batch_size", "true", "be a whole number"),
                ("steps", "null", "be a whole number"),
                ("warmup_steps", "-1", "be at least 0"),
                ("seed", "1.5", "be a whole number"),
                ("seed", "-1", "lie between 0 and 4294967295"),
                ("weight_decay", "-0.1", "be at least 0"),
                ("gamma", ".nan", "be a finite number"),
                ("save_minutes", "[5]", "be a finite number"),
                ("ema", "2", "lie between 0 and 1"),
                ("network", "[1]", "be `field: value` pairs"),
                ("preset", "null", "be text"),
                ("init", "3", "be text"),
                ("name", "''", "be text"),
            )
        ),
    ],
)
def test_a_bad_configuration_gets_a_sentence(tmp_path, text, word):
    (tmp_path / "c.yaml").write_text(text)
    with pytest.raises(ConfigError, match=word):
        TrainingConfig.from_yaml(tmp_path / "c.yaml")


def test_precision_no_needs_no_quotes(tmp_path):
    (tmp_path / "c.yaml").write_text("name: a\nmanifest: b\nout: c\nprecision: no\n")
    assert TrainingConfig.from_yaml(tmp_path / "c.yaml").precision == "no"


@pytest.mark.parametrize("name", ["condition_encoders", "shared_masked_encoder", "unknown_tokens"])
def test_a_switch_of_the_network_is_true_or_false(name):
    with pytest.raises(ConfigError, match=f"network: {name} must be true or false, got 'maybe'"):
        TrainingConfig("a", "b", "c", network={name: "maybe"}).network_config(SCHEMA.slots)


def test_the_walk_names_a_run_before_the_one_that_goes_on_from_it():
    commands = re.findall(r"^   .*train (configs/\S+\.yaml)$", (ROOT / "docs" / "train.md").read_text(), re.MULTILINE)
    runs = [TrainingConfig.from_yaml(ROOT / path) for path in commands]
    assert [run.name for run in runs] == ["real-films-first", "real-films", "mimic-paper"]
    assert [run.init for run in runs] == [None, f"{runs[0].out}/checkpoint", None]


def test_configurations_in_the_repository_are_valid(monkeypatch):
    monkeypatch.chdir(ROOT)
    for path in (ROOT / "configs").glob("*.yaml"):
        settings = TrainingConfig.from_yaml(path, out="elsewhere")
        schema = settings.ehr_schema()
        assert settings.out == "elsewhere" and settings.network_config(schema.slots).slots == schema.slots
