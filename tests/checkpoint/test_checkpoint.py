import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from diff3m.checkpoint.folder import CheckpointError, load_checkpoint, read_config, save_checkpoint


@pytest.fixture
def folder(tiny_checkpoint, tmp_path):
    return shutil.copytree(tiny_checkpoint, tmp_path / "copy")


def test_what_is_saved_is_loaded(folder, tmp_path):
    checkpoint = load_checkpoint(folder)
    again = load_checkpoint(save_checkpoint(tmp_path / "again", checkpoint.config, checkpoint.network, torch.float32))
    assert again.config == checkpoint.config and again.sha256 == checkpoint.sha256
    for name, tensor in checkpoint.network.state_dict().items():
        assert torch.equal(tensor, again.network.state_dict()[name])


def test_half_precision_halves_the_file(folder, tmp_path):
    checkpoint = load_checkpoint(folder)
    small = save_checkpoint(tmp_path / "half", checkpoint.config, checkpoint.network)
    assert (small / "model.safetensors").stat().st_size < 0.52 * (folder / "model.safetensors").stat().st_size
    weights = load_checkpoint(small).network.state_dict()
    assert {tensor.dtype for tensor in weights.values()} == {torch.float32}


def damage_config(change):
    def damage(folder):
        values = json.loads((folder / "config.json").read_text())
        change(values)
        (folder / "config.json").write_text(json.dumps(values))

    return damage


def missing_weight(folder):
    weights = load_file(folder / "model.safetensors")
    weights.pop(next(iter(weights)))
    save_file(weights, folder / "model.safetensors")


DAMAGE = {
    "no weights": (lambda f: (f / "model.safetensors").unlink(), "model.safetensors"),
    "no config": (lambda f: (f / "config.json").unlink(), "config.json"),
    "cut weights": (
        lambda f: (f / "model.safetensors").write_bytes((f / "model.safetensors").read_bytes()[:5000]),
        "damaged",
    ),
    "pickle": (lambda f: torch.save({"a": 1}, f / "model.safetensors"), "damaged"),
    "other weights": (missing_weight, "does not fit"),
    "no json": (lambda f: (f / "config.json").write_text("{"), "cannot be read"),
    "format": (damage_config(lambda v: v.update(format=99)), "format 99"),
    "network": (damage_config(lambda v: v["network"].update(channels=31)), "valid"),
    "lacks schema": (damage_config(lambda v: v.pop("schema")), "schema"),
    "other schema": (damage_config(lambda v: v["schema"].pop()), "contradicts"),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_a_damaged_checkpoint_gets_a_sentence(folder, name):
    damage, word = DAMAGE[name]
    damage(folder)
    with pytest.raises(CheckpointError, match=word):
        load_checkpoint(folder)


def test_configuration_is_read_without_weights(folder):
    (folder / "model.safetensors").unlink()
    assert read_config(folder).name == "tiny"
