"""Draw the rooms and arrows of diff3m/ and app/ from their real imports: python tools/draw_architecture.py [--write].

A room is a package or a single module directly inside `diff3m/` or `app/`; an arrow is an import, at the top of a
file or inside a function. ROOMS lists the rooms from the lowest to the highest: a room imports lower rooms alone.
Printed are every room with what it imports, the circles, and the imports that go up. --write also puts the flow chart
into docs/architecture.md.
"""

from __future__ import annotations

import argparse
import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DOCUMENT = ROOT / "docs" / "architecture.md"
PACKAGES = ("diff3m", "app")
# from the lowest to the highest; rooms in one tuple must not import each other
ROOMS = (
    ("diff3m.ehr", "diff3m.device", "diff3m.diffusion", "diff3m.resources"),
    ("diff3m.imaging", "diff3m.network"),
    ("diff3m.case", "diff3m.data", "diff3m.scoring", "diff3m.reconstruct"),
    ("diff3m.analysis", "diff3m.checkpoint", "diff3m.estimates"),
    ("diff3m.notes", "diff3m.findings", "diff3m.released"),
    ("diff3m.detector",),
    ("diff3m.sample", "diff3m.explain", "diff3m.training"),
    ("diff3m.export", "diff3m.evaluation"),
    ("diff3m.cli",),
    ("app.runtime",),
    ("app.render", "app.examples"),
    ("app.components", "app.explain_stream"),
    ("app.tabs",),
    ("app.api",),
    ("app.demo",),
)


@dataclass(frozen=True)
class Import:
    """One import: the importing module, its file and line, and the imported module."""

    source: str
    path: Path
    line: int
    target: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.source} imports {self.target}"


def module_name(path: Path, root: Path = ROOT) -> str:
    """The dotted name of a file: diff3m/ehr/__init__.py is diff3m.ehr."""
    parts = path.relative_to(root).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def modules(root: Path = ROOT, packages: tuple[str, ...] = PACKAGES) -> dict[str, Path]:
    """Every module of the packages by dotted name."""
    return {module_name(path, root): path for package in packages for path in sorted((root / package).rglob("*.py"))}


def imports_of(name: str, path: Path, known: Mapping[str, Path], root: Path = ROOT) -> Iterator[Import]:
    """The imports of one file that lead to known modules, type checking's apart.

    `from package import name` leads to the module package.name where there is one, else to the package itself.
    """
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    for node in _without_type_checking(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            targets = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = package.split(".")
                base = ".".join([*parents[: len(parents) - node.level + 1], *([node.module] if node.module else [])])
            targets = [f"{base}.{alias.name}" if f"{base}.{alias.name}" in known else base for alias in node.names]
        else:
            continue
        for target in dict.fromkeys(targets):
            if target in known and target != name:
                yield Import(name, path.relative_to(root), node.lineno, target)


def all_imports(root: Path = ROOT, packages: tuple[str, ...] = PACKAGES) -> list[Import]:
    """Every import between modules of the packages."""
    known = modules(root, packages)
    return [entry for name, path in known.items() for entry in imports_of(name, path, known, root)]


def room_of(module: str) -> str:
    """The room of a module: diff3m.ehr.schema is in diff3m.ehr, a package's own __init__ in the package."""
    return ".".join(module.split(".")[:2])


def circles(edges: Mapping[str, set[str]]) -> list[list[str]]:
    """Strongly connected components of more than one node, each sorted (Tarjan, 1972)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    result: list[list[str]] = []

    def visit(node: str) -> None:
        index[node] = low[node] = len(index)
        stack.append(node)
        for neighbor in sorted(edges.get(node, ())):
            if neighbor not in index:
                visit(neighbor)
                low[node] = min(low[node], low[neighbor])
            elif neighbor in stack:
                low[node] = min(low[node], index[neighbor])
        if low[node] == index[node]:
            component = stack[stack.index(node) :]
            del stack[stack.index(node) :]
            if len(component) > 1:
                result.append(sorted(component))

    for node in sorted(edges):
        if node not in index:
            visit(node)
    return result


def module_edges(imports: list[Import]) -> dict[str, set[str]]:
    """Imported modules by module."""
    edges: dict[str, set[str]] = {}
    for one in imports:
        edges.setdefault(one.source, set()).add(one.target)
    return edges


def room_edges(imports: list[Import]) -> dict[str, set[str]]:
    """Imported rooms by room, the packages' own __init__ (`diff3m`, `app`) left out: they re-export."""
    edges: dict[str, set[str]] = {}
    for one in imports:
        source, target = room_of(one.source), room_of(one.target)
        if source != target and source not in PACKAGES:
            edges.setdefault(source, set()).add(target)
    return edges


def imports_up(imports: list[Import], rooms: tuple[tuple[str, ...], ...] = ROOMS) -> list[Import]:
    """Imports of a room that is not lower than the importing one."""
    height = {room: index for index, level in enumerate(rooms) for room in level}
    return [
        one
        for one in imports
        if room_of(one.source) in height
        and room_of(one.target) in height
        and room_of(one.source) != room_of(one.target)
        and height[room_of(one.target)] >= height[room_of(one.source)]
    ]


def mermaid(edges: Mapping[str, set[str]]) -> str:
    """The rooms of each package as a Mermaid flow chart; arrows that another path already implies are left out."""
    lines = ["flowchart TD"]
    rooms = sorted({*edges, *(target for targets in edges.values() for target in targets)} - set(PACKAGES))
    for package in PACKAGES:
        lines.append(f"  subgraph {package}")
        lines += [f"    {_identifier(room)}[{room.split('.')[1]}]" for room in rooms if room.startswith(package + ".")]
        lines.append("  end")
    for source in sorted(edges):
        for target in sorted(edges[source] - set(PACKAGES)):
            if not _implied(source, target, edges):
                lines.append(f"  {_identifier(source)} --> {_identifier(target)}")
    return "\n".join(lines)


def with_flow_chart(text: str, chart: str) -> str:
    """A document with its Mermaid block replaced. Raises ValueError where it has none."""
    before, mark, rest = text.partition("```mermaid\n")
    _, end, after = rest.partition("\n```")
    if not mark or not end:
        raise ValueError("the document has no ```mermaid block to put the flow chart into")
    return f"{before}{mark}{chart}{end}{after}"


def _identifier(room: str) -> str:
    """A room's name as a Mermaid identifier, which must not hold dots."""
    return room.replace(".", "_")


def _implied(source: str, target: str, edges: Mapping[str, set[str]]) -> bool:
    """Whether `target` can be reached from `source` through another room."""
    done, todo = {source}, [room for room in edges.get(source, ()) if room != target]
    while todo:
        room = todo.pop()
        if room in done:
            continue
        done.add(room)
        todo += [following for following in edges.get(room, ()) if following != source]
        if room == target:
            return True
    return False


def _without_type_checking(tree: ast.AST) -> Iterator[ast.AST]:
    """Every node of a tree outside `if TYPE_CHECKING:`, in the order of the file."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        yield node
        yield from _without_type_checking(node)


def main() -> None:
    """Print rooms and arrows, circles and imports that go up."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="also put the flow chart into docs/architecture.md")
    options = parser.parse_args()
    imports = all_imports()
    edges = room_edges(imports)
    if options.write:
        DOCUMENT.write_text(with_flow_chart(DOCUMENT.read_text(encoding="utf-8"), mermaid(edges)), encoding="utf-8")
    for room in [room for level in reversed(ROOMS) for room in level]:
        print(f"{room} → {', '.join(sorted(edges.get(room, ()))) or '·'}")
    for title, entries in (
        ("circles of modules", circles(module_edges(imports))),
        ("circles of rooms", circles(edges)),
        ("imports that go up", imports_up(imports)),
    ):
        print(f"\n{title}: {len(entries)}")
        for one in entries:
            print("  " + (str(one) if isinstance(one, Import) else " ⇄ ".join(one)))


if __name__ == "__main__":
    main()
