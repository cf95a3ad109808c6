"""Selection of the films of a table that can be used: whole files that pass the gate."""

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
from ...imaging.raster import looks_like_raster
from ..paths import FOREIGN, OTHER_CASE, locate
from .report import Report, keep_rows

# the last bytes of a whole file, by its first
ENDS = {b"\xff\xd8\xff": b"\xff\xd9", b"\x89PNG": b"IEND"}
END_BYTES = 1024  # at the end of a file that are searched for these, because some programs pad files
BATCH = 256  # films between two calls of `progress`
MISSING, UNREADABLE = "missing image", "unreadable image"
FOREIGN_PATH = "path of another machine, write it relative to the table"
OTHER_NAME = "found under a name that differs in upper and lower case alone"
NOT_JUDGED = "film not read whole, so neither damage in its middle nor a turned or negative film would be noticed"
ACCEPTED = "the gate would stop it"


@dataclass(frozen=True)
class FilmCheck:
    """How each film of a table is checked.

    whole: read each film and judge it by `diff3m.imaging.gate.inspect`; otherwise only its first and last bytes are
    read. accept: use films that the gate would stop, and count them with the reason. progress: called with the number
    of films checked so far, and of all.
    """

    whole: bool = True
    accept: bool = False
    progress: Callable[[int, int], None] | None = None


class _State(NamedTuple):
    """The result of checking one film.

    path: of the file, relative to the root as far as the table's is. problem: why the film is left out, "" if it is
    not. notes: what the user should know of it.
    """

    path: str
    problem: str = ""
    notes: tuple[str, ...] = ()


def select_usable_films(rows: pd.DataFrame, root: Path, report: Report, check: FilmCheck | None = None) -> pd.DataFrame:
    """Select the rows whose film can be used, and count the others in the report with the reason.

    rows: with the column `path`, relative to `root` or absolute; it becomes the path of the file as the folder writes
    it. check: `FilmCheck()` by default.
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
        rows, problems = keep_rows(rows, problems != reason, report, reason), problems[problems != reason]
    if not check.whole:
        report.note(NOT_JUDGED, rows["path"])
    return rows


def _inspect_file(root: Path, name: str, check: FilmCheck) -> _State:
    """Check the film that a table calls `name`."""
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
    is_film = looks_like_raster(start) or looks_like_dicom(start)
    is_whole = all(mark in end for begin, mark in ENDS.items() if start.startswith(begin))
    if not (is_film and is_whole):
        return state._replace(problem=UNREADABLE)
    if not check.whole:
        return state
    problem, notes = inspect_film(path, check.accept)
    return state._replace(problem=problem, notes=(*state.notes, *notes))


def inspect_film(path: Path, accept: bool) -> tuple[str, list[str]]:
    """Read a film whole and let the gate judge it.

    accept: use a film that the gate would stop. Returns why the film is left out ("" if it is not), and clauses on what
    the user should know of it.
    """
    try:
        film = read_radiograph(path)
        quality = inspect(film)
    except RadiographError as error:
        return f"image that no film can be made of: {to_clause(str(error))}", []
    notes = [to_clause(note) for note in film.notes]
    if quality.passes:
        return "", notes
    reason = to_clause(" ".join(quality.reasons))
    return ("", [*notes, f"{ACCEPTED}: {reason}"]) if accept else (reason, notes)


def to_clause(sentence: str) -> str:
    """Return a sentence without its period, as a reason of a report."""
    return sentence.rstrip(".")
