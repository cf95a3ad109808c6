"""Names of values are nouns: no participle names a variable, parameter or attribute of the code."""

import importlib.util
import sys

import pytest
from helpers import ROOT

spec = importlib.util.spec_from_file_location("check_names", ROOT / "tools" / "check_names.py")
tool = importlib.util.module_from_spec(spec)
sys.modules[spec.name] = tool  # dataclasses look their module up
spec.loader.exec_module(tool)


def test_no_participle_names_a_value():
    rooms = ("diff3m", "app", "tests", "benchmarks", "tools", "examples")
    paths = [path for room in rooms for path in (ROOT / room).rglob("*.py")]
    assert len(paths) > 200
    assert [str(name) for path in paths for name in tool.participles(path)] == []


@pytest.mark.parametrize("name", ["found", "made", "shown", "kept", "rows_kept", "left", "selected", "read2", "_drawn"])
def test_participles_are_named(tmp_path, name):
    (tmp_path / "module.py").write_text(f"{name} = 1\n\ndef work({name}):\n    for self.{name} in ():\n        pass\n")
    assert [entry.line for entry in tool.participles(tmp_path / "module.py")] == [1, 3, 4]


@pytest.mark.parametrize(
    "name", ["result", "denoised", "seed", "masked_pixels", "is_hidden", "SHIPPED", "shed", "PixelsStored"]
)
def test_nouns_and_words_of_the_field_are_not(tmp_path, name):
    (tmp_path / "module.py").write_text(f"{name} = 1\n")
    assert tool.participles(tmp_path / "module.py") == []


def test_left_is_a_side_beside_right(tmp_path):
    (tmp_path / "module.py").write_text("left, right = 1, 2\n")
    assert tool.participles(tmp_path / "module.py") == []
