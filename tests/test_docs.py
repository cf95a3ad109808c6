"""The documents keep up with the code: links, commands, symbols and sizes."""

import ast
import re
import shlex
from pathlib import Path

import pytest
import yaml
from helpers import ROOT

from diff3m.cli.parser import build_parser

EVALUATION_LIMIT = 8192  # bytes
TOP = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")
PAGES = [*map(ROOT.joinpath, TOP), *sorted((ROOT / "docs").glob("*.md")), *sorted((ROOT / "studies").rglob("*.md"))]
MAINTAINED = [page for page in PAGES if "studies" not in page.parts]  # studies quote commands of their time
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
FENCE = re.compile(r"^\s*```[^\n]*\n(.*?)^\s*```", re.MULTILINE | re.DOTALL)
DOTTED = re.compile(r"`((?:diff3m|app)(?:\.\w+){2,})`")
NUMBER = re.compile(r"\d\.\d{3}")


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


def anchors(text: str) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", FENCE.sub("", text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


def broken_links(page: Path) -> list[str]:
    """Relative links of a page that lead to no file, or to no heading of it."""
    result = []
    for target in LINK.findall(FENCE.sub("", page.read_text())):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        if not file.exists() or (anchor and anchor not in anchors(file.read_text())):
            result.append(target)
    return result


def commands(text: str) -> list[str]:
    """Return the `diff3m` commands in a page's code blocks and inline code, without a path before them."""
    blocks = FENCE.findall(text)
    blocks += re.findall(r"^ {4}(\S.*)$", text, re.MULTILINE)
    lines = [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    lines += re.findall(r"`([^`\n]+)`", FENCE.sub("", text))
    matches = [re.match(r"\s*(?:\S*/)?diff3m (\S.*)", line) for line in lines]
    return [re.sub(r"\s+#.*$", "", match.group(1)) for match in matches if match]


def unknown_words(command: str) -> list[str]:
    """The commands and options of a command line that the parser does not know; placeholders and omissions pass."""
    parser, unknown = build_parser(), []
    for word in shlex.split(command.replace("…", "X").replace("[", "").replace("]", "")):
        children = next((action.choices for action in parser._actions if isinstance(action.choices, dict)), None)
        if word.startswith("--"):
            if word.partition("=")[0] not in parser._option_string_actions:
                unknown.append(word)
        elif children is not None and word != "COMMAND":
            if word not in children:
                return [*unknown, word]
            parser = children[word]
    return unknown


def symbol_exists(dotted_name: str) -> bool:
    """Tell from the source whether a dotted name is a module, or a class, function or method in one."""
    parts = dotted_name.split(".")
    for cut in range(len(parts), 0, -1):
        base = ROOT.joinpath(*parts[:cut])
        file = base.with_suffix(".py") if base.with_suffix(".py").is_file() else base / "__init__.py"
        if not file.is_file():
            continue
        nodes = ast.parse(file.read_text()).body
        for name in parts[cut:]:
            match = [node for node in nodes if getattr(node, "name", None) == name]
            if not match:
                return False
            nodes = getattr(match[0], "body", [])
        return True
    return False


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_relative_links_resolve(page):
    assert broken_links(page) == []


@pytest.mark.parametrize("page", MAINTAINED, ids=name_of)
def test_commands_are_those_of_the_parser(page):
    assert {command: words for command in commands(page.read_text()) if (words := unknown_words(command))} == {}


def test_the_checks_find_what_is_wrong(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("# One head: and more\n[a](#one-head-and-more) [b](#other) [c](none.md) [d](https://x.org)\n")
    assert broken_links(page) == ["#other", "none.md"]
    block = "```\n.venv/bin/diff3m analyze film.png --age 63  # comment\ndiff3m anylyze x\n```\n"
    text = block + "`diff3m evaluate --manfest X`\n"
    assert commands(text) == ["analyze film.png --age 63", "anylyze x", "evaluate --manfest X"]
    assert [unknown_words(command) for command in commands(text)] == [[], ["anylyze"], ["--manfest"]]
    assert unknown_words("benchmark films --manifest HALF.csv --baselines PCA") == []
    assert symbol_exists("diff3m.detector.Detector.analyze") and symbol_exists("diff3m.ehr.schema")
    assert not symbol_exists("diff3m.detector.Detector.nothing") and not symbol_exists("diff3m.nowhere.thing")


def test_the_evaluation_is_short():
    assert len((ROOT / "docs" / "evaluation.md").read_bytes()) <= EVALUATION_LIMIT


def test_the_readme_repeats_measured_numbers():
    """Its table has four rows, each with numbers of the evaluation or of a model card."""
    sources = [ROOT / "docs" / "evaluation.md", *(ROOT / "checkpoints").glob("*/README.md")]
    source_numbers = set(NUMBER.findall(" ".join(path.read_text() for path in sources)))
    rows = re.findall(r"^\| (?!films)[^|\n]+\| ([^\n]+) \|$", (ROOT / "README.md").read_text(), re.MULTILINE)
    assert len(rows) == 4
    for row in rows:
        assert NUMBER.findall(row) and set(NUMBER.findall(row)) <= source_numbers, row


def test_the_walks_name_functions_that_exist():
    names = DOTTED.findall((ROOT / "docs" / "architecture.md").read_text())
    assert len(names) > 30
    assert [name for name in names if not symbol_exists(name)] == []


def test_the_newcomer_tasks_name_files_that_exist():
    text = (ROOT / "docs" / "architecture.md").read_text().partition("## Newcomer tasks")[2]
    rows = [line.strip("|").split("|") for line in text.splitlines() if line.startswith("|")][2:]
    assert len(rows) >= 5 and all(row[1].strip().isdigit() and row[2].strip().isdigit() for row in rows)
    paths = [path for row in rows for path in re.findall(r"`([\w/]+/[\w/.]*)`", row[-1])]
    assert len(paths) >= 10
    assert [path for path in paths if not (ROOT / path).exists()] == []


def test_comments_point_to_sections_of_the_method():
    sections = re.findall(r"^## (.+)$", (ROOT / "docs" / "method.md").read_text(), re.MULTILINE)
    code = [path for package in ("app", "diff3m") for path in (ROOT / package).rglob("*.py")]
    names = [name for path in code for name in re.findall(r'docs/method\.md, "([^"]+)"', path.read_text())]
    assert len(names) >= 5 and set(names) <= set(sections)
    assert not [path for path in code if re.search(r"\bMETHOD\b", path.read_text())]


def test_the_citation_names_the_software_and_the_paper():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["authors"] == [{"name": "Diff3M Explorer contributors"}]
    assert f'version = "{citation["version"]}"' in (ROOT / "pyproject.toml").read_text()
    assert citation["references"][0]["url"].endswith("2505.17311")
