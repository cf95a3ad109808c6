"""Which films of a table can be used: whole files that the gate takes for upright, positive frontal chest films."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from ...imaging import RadiographError, read_radiograph
from ...imaging.dicom_content import looks_like_dicom
from ...imaging.gate import inspect
from ..paths import FOREIGN, OTHER_CASE, locate
from .report import Report, keep

MAGIC = (b"\x89PNG", b"\xff\xd8\xff", b"II*\x00", b"MM\x00*", b"RIFF")
ENDS = {b"\xff\xd8\xff": b"\xff\xd9", b"\x89PNG": b"IEND"}
END_BYTES = 1024  # some writers pad their files
BATCH = 256  # films between two calls of `progress`
MISSING, FOREIGN_PATH, UNREADABLE = (
    "missing image",
    "path of another machine, write it relative to the table",
    "unreadable image",
)
OTHER_NAME = "found under a name that differs in upper and lower case alone"
NOT_JUDGED = "film not read whole, so neither damage in its middle nor a turned or negative film would be noticed"
ACCEPTED = "the gate would stop it"


@dataclass(frozen=True)
class FilmCheck:
    """How each film of a table is looked at.

    whole: read each film and judge it by `diff3m.imaging.gate.inspect`; otherwise only its first and last bytes are
    read.
    accept: use films that the gate would stop, and count them with the reason.
    progress: called with the number of films looked at, and of all.
    """

    whole: bool = True
    accept: bool = False
    progress: Callable[[int, int], None] | None = None


class _State(NamedTuple):
    """The result of checking one film.

    Its path under the root, why it is left out ("" if it is not), and what is to be known of it.
    """

    path: str
    problem: str = ""
    notes: tuple[str, ...] = ()


def usable_films(rows: pd.DataFrame, root: Path, report: Report, check: FilmCheck | None = None) -> pd.DataFrame:
    """Return the rows whose film, `path` under `root`, can be used; the report counts the others with the reason.

    `path` becomes that of the file that was found, where the table writes it in another way.
    """
    check = check or FilmCheck()
    names = list(rows["path"])
    states: list[_State] = []
    with ThreadPoolExecutor() as pool:
        for start in range(0, len(names), BATCH):
            part = names[start : start + BATCH]
            states += pool.map(lambda name: _inspect_file(root, name, check), part)
            if check.progress:
                check.progress(len(states), len(names))
    rows = rows.assign(path=[state.path for state in states])
    problems = np.array([state.problem for state in states], dtype=object)
    for reason in sorted({note for state in states for note in state.notes if not state.problem}):
        has_note = np.array([reason in state.notes for state in states], dtype=bool)
        report.note(reason, rows.loc[has_note & (problems == ""), "path"])
    for reason in sorted(set(problems) - {""}):
        rows, problems = keep(rows, problems != reason, report, reason), problems[problems != reason]
    if not check.whole:
        report.note(NOT_JUDGED, rows["path"])
    return rows


def _inspect_file(root: Path, name: str, check: FilmCheck) -> _State:
    path, note = locate(root, name)
    path_in_root = os.path.relpath(path, root) if not os.path.isabs(name) else str(path)
    state = _State(path_in_root, notes=(OTHER_NAME,) if note.startswith(OTHER_CASE.partition("{")[0]) else ())
    try:
        with path.open("rb") as file:
            start = file.read(512)
            file.seek(max(0, file.seek(0, os.SEEK_END) - END_BYTES))
            end = file.read()
    except OSError:
        foreign = note.startswith(FOREIGN.partition("{")[0])
        return state._replace(problem=FOREIGN_PATH if foreign else MISSING)
    known = start.startswith(MAGIC) or looks_like_dicom(start)
    whole = all(mark in end for begin, mark in ENDS.items() if start.startswith(begin))
    if not (known and whole):
        return state._replace(problem=UNREADABLE)
    return _apply_gate(state, path, check) if check.whole else state


def _apply_gate(state: _State, path: Path, check: FilmCheck) -> _State:
    """Return the state after the film was read whole and seen by the gate."""
    try:
        film = read_radiograph(path)
        quality = inspect(film)
    except RadiographError as error:
        return state._replace(problem=f"image that no film can be made of: {_clause(str(error))}")
    state = state._replace(notes=(*state.notes, *map(_clause, film.notes)))
    if quality.passes:
        return state
    reason = _clause(" ".join(quality.reasons))
    if not check.accept:
        return state._replace(problem=reason)
    return state._replace(notes=(*state.notes, f"{ACCEPTED}: {reason}"))


def _clause(sentence: str) -> str:
    """Return a sentence as a reason in the report, which goes on behind it."""
    return sentence.rstrip(".")
