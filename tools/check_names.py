"""List participles that name a value of the code: python tools/check_names.py [PACKAGE …].

A value's name is a noun (`result`, `reconstruction`); a participle (`found`, `selected`) says what happened to it
instead. Checked are variables, parameters, attributes and fields whose last word is a participle; constants in capitals
are not, nor are yes-or-no values such as `is_hidden`. FIELD_WORDS are participles that name a value all the same.
`left` is a side where the same file also binds `right` or `top`.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
IRREGULAR = frozenset(
    """begun bent bought bound broken brought built burnt caught chosen done drawn driven eaten fallen felt forgotten
    found fought frozen given gone gotten grown heard held hidden kept known laid lasting learnt led left lent lost made
    meant met paid read said seen sent shown shut sold sought spent spoken stolen struck sung sunk taken taught thought
    thrown told torn understood woken won worn wound written""".split()  # noqa: SIM905
)
NOUNS = frozenset({"bed", "embed", "feed", "led", "need", "proceed", "unused", "red", "seed", "shed", "speed"})
# names of the field: of pictures and arrays, of DICOM's attributes and of torch; and of what the page and the exports
# share with the library
FIELD_WORDS = frozenset(
    {
        *("blurred", "decoded", "denoised", "encoded", "expected", "inverted", "masked", "mirrored", "predicted"),
        *("transposed", "weighted"),
        *("allocated", "encapsulated", "rescaled", "signed", "stored", "unsigned"),
        *("distributed", "trained"),
        *("accepted", "done", "known", "painted", "prepared"),
    }
)


@dataclass(frozen=True)
class Name:
    """A name that is bound: its file, line and spelling."""

    path: Path
    line: int
    name: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.name}"


def is_participle(name: str) -> bool:
    """Tell whether the last word of a name is a participle that the field does not use as a name."""
    if name.isupper() or name.startswith(("is_", "has_", "are_")) or not name.islower():
        return False
    word = re.sub(r"\d+$", "", name).rstrip("_").rpartition("_")[2]
    if word in NOUNS | FIELD_WORDS:
        return False
    return word in IRREGULAR or (word.endswith("ed") and len(word) > 3)


def bound_names(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """Yield the variables, parameters, attributes and fields that a module binds, with their lines."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id, node.lineno
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.attr, node.lineno
        elif isinstance(node, ast.arg):
            yield node.arg, node.lineno
        elif isinstance(node, ast.ExceptHandler) and node.name:
            yield node.name, node.lineno


def participles(path: Path) -> list[Name]:
    """Return the participles that name a value in one file."""
    names = list(bound_names(ast.parse(path.read_text(encoding="utf-8"))))
    has_sides = any(name.rpartition("_")[2] in ("right", "top") for name, _ in names)
    return [
        Name(path, line, name)
        for name, line in names
        if is_participle(name) and not (has_sides and name.rpartition("_")[2] == "left")
    ]


def main(packages: list[str]) -> int:
    """Print the participles of packages, and return how many there are."""
    names = [
        name for package in packages for path in sorted((ROOT / package).rglob("*.py")) for name in participles(path)
    ]
    print(*names, sep="\n")
    return len(names)


if __name__ == "__main__":
    sys.exit(bool(main(sys.argv[1:] or ["diff3m"])))
