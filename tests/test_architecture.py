"""The rooms' imports: no circle, nothing that goes up, and diff3m knows nothing of the app."""

import ast
import importlib.util
import sys

import pytest
from helpers import ROOT

LINES_OF_A_FILE = 350

spec = importlib.util.spec_from_file_location("draw_architecture", ROOT / "tools" / "draw_architecture.py")
tool = importlib.util.module_from_spec(spec)
sys.modules[spec.name] = tool  # dataclasses look their module up
spec.loader.exec_module(tool)


@pytest.fixture(scope="module")
def imports():
    return tool.all_imports()


def test_modules_import_each_other_in_no_circle(imports):
    assert tool.circles(tool.module_edges(imports)) == []


def test_rooms_import_each_other_in_no_circle(imports):
    assert tool.circles(tool.room_edges(imports)) == []


def test_no_room_imports_a_higher_one(imports):
    assert [str(one) for one in tool.imports_up(imports)] == []


def test_the_library_knows_nothing_of_the_app(imports):
    assert [str(one) for one in imports if one.source.startswith("diff3m") and one.target.startswith("app")] == []


def test_every_room_has_a_height():
    rooms = {tool.room_of(name) for name in tool.modules()} - set(tool.PACKAGES)
    listed_rooms = [room for level in tool.ROOMS for room in level]
    assert rooms == set(listed_rooms) and len(listed_rooms) == len(rooms), (
        "name every room once in ROOMS of tools/draw_architecture.py"
    )


def test_the_flow_chart_in_the_docs_is_that_of_the_imports(imports):
    text = (ROOT / "docs" / "architecture.md").read_text()
    chart = tool.mermaid(tool.room_edges(imports))
    assert tool.with_flow_chart(text, chart) == text, "run: python tools/draw_architecture.py --write"


def test_circles_and_imports_up_are_found_where_they_are(tmp_path):
    """The files hold a cycle of three modules with a lazy import, and one import of a higher level.

    An import for type checking does not count.
    """
    files = {
        "diff3m/__init__.py": "from .high.top import Top\n",
        "diff3m/low/__init__.py": "",
        "diff3m/low/a.py": "from . import b\nfrom ..high import top\n",
        "diff3m/low/b.py": "def late():\n    from .c import value\n",
        "diff3m/low/c.py": "from .a import name\n",
        "diff3m/high/__init__.py": "",
        "diff3m/high/top.py": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from ..low import c\n",
        "app/__init__.py": "",
        "app/page.py": "import os, diff3m.low.a\n",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    edges = tool.all_imports(tmp_path)
    assert {(one.source, one.target, one.line) for one in edges} == {
        ("diff3m", "diff3m.high.top", 1),
        ("diff3m.low.a", "diff3m.low.b", 1),
        ("diff3m.low.a", "diff3m.high.top", 2),
        ("diff3m.low.b", "diff3m.low.c", 2),
        ("diff3m.low.c", "diff3m.low.a", 1),
        ("app.page", "diff3m.low.a", 1),
    }
    assert tool.circles(tool.module_edges(edges)) == [["diff3m.low.a", "diff3m.low.b", "diff3m.low.c"]]
    up = tool.imports_up(edges, (("diff3m.low",), ("diff3m.high",), ("app.page",)))
    assert [str(one) for one in up] == ["diff3m/low/a.py:2: diff3m.low.a imports diff3m.high.top"]


def test_no_file_of_the_library_is_too_long_for_one_sitting():
    lengths = {name: len(path.read_text().splitlines()) for name, path in tool.modules(packages=("diff3m",)).items()}
    assert {name: length for name, length in lengths.items() if length > LINES_OF_A_FILE} == {}


def test_no_test_module_imports_another():
    """What tests share is in helpers.py, and fixtures are in conftest.py."""
    tests = {path.stem: path for path in (ROOT / "tests").rglob("test_*.py")}
    imports = []
    for name, path in tests.items():
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            imports += [f"{name} imports {other}" for other in names if set(other.split(".")) & tests.keys()]
    assert imports == []
