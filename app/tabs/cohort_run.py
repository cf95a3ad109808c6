"""Many cases: what is to be scored out of a manifest and a ZIP or folder, a few films a turn, and what it comes to."""

from __future__ import annotations

import csv
import html
import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from diff3m.analysis import Analysis
from diff3m.case import Case
from diff3m.data.archive import Archive, ArchiveError
from diff3m.data.manifest import NORMAL, ManifestError, read_manifest
from diff3m.data.manifest import Case as ManifestRow
from diff3m.detector import Detector
from diff3m.ehr import EHRError
from diff3m.evaluation.metrics import detection_metrics
from diff3m.imaging import GateError, RadiographError, pass_gate, read_radiograph

from ..render import figures, panels
from ..render.images import Frame, inline
from ..runtime.model_lock import MODEL

PART = 2  # films in one turn of the model: whoever comes meanwhile waits for no more
THUMBNAIL = 56
REPEATS = 300


@dataclass(frozen=True)
class Film:
    """One row to be scored: its number, name and label, its record, and how its bytes or path are had. Once scored, its record is the one that it
    was scored under, header facts included."""

    number: int
    name: str
    label: str | None
    record: dict
    read: Callable[[], bytes | Path]


@dataclass(frozen=True)
class Row:
    """One row of the result. score and percentile are None where `note` says why."""

    film: Film
    view: str
    score: float | None
    percentile: float | None
    compared_with: str
    picture: str
    note: str

    def cells(self) -> list:
        score, percentile = (
            None if value is None else round(value, digits) for value, digits in ((self.score, 2), (self.percentile, 1))
        )
        return [
            self.film.number,
            self.film.name,
            self.view,
            self.film.label or "",
            score,
            percentile,
            self.compared_with,
            self.picture,
            self.note,
        ]


def films_of(detector: Detector, manifest: str | None, archive: str | None) -> tuple[list[Film], Archive | None]:
    """What is to be scored: a manifest's rows with films out of a ZIP, or all of a ZIP with unknown records. Raises ManifestError, ArchiveError."""
    if not archive:
        raise ManifestError("There are no films yet: drop a ZIP of them.")
    opened = Archive(archive)
    if not manifest:
        films = [
            Film(i, name, None, {}, lambda name=name: opened.read(name)) for i, name in enumerate(opened.names, start=1)
        ]
        return films, opened
    folder = Path(manifest).parent
    return [_from_archive(case, folder, opened) for case in read_manifest(manifest, detector.schema)], opened


def _from_archive(case: ManifestRow, folder: Path, opened: Archive) -> Film:
    name = str(case.path.relative_to(folder)) if case.path.is_relative_to(folder) else case.path.name

    def read() -> bytes:
        found = opened.find(name)
        if found is None:
            raise ArchiveError("The ZIP holds no file of this name, or several.")
        return opened.read(found)

    return Film(case.row, name, case.label, dict(case.record), read)


def films_in_folder(detector: Detector, folder: Path, manifest: str) -> list[Film]:
    """A manifest in a folder of the server, with films below that folder. Raises ManifestError."""
    root = folder.resolve()
    path = (root / manifest).resolve()
    if not path.is_relative_to(root):
        raise ManifestError("The manifest must lie in the folder that the page was started with.")
    films = []
    for case in read_manifest(path, detector.schema):
        inside = case.path.resolve().is_relative_to(root)
        films.append(
            Film(case.row, case.path.name, case.label, dict(case.record), _reader(case.path if inside else None))
        )
    return films


def _reader(path: Path | None) -> Callable[[], Path]:
    def read() -> Path:
        if path is None:
            raise ArchiveError("This film lies outside the folder that the page was started with.")
        return path

    return read


def scored(detector: Detector, films: Sequence[Film], strict: bool) -> Iterator[Row]:
    """Score films a few at a time, each time when it is their turn. strict: leave out what the gate would stop."""
    for start in range(0, len(films), PART):
        opened = [_opened(detector, film, strict) for film in films[start : start + PART]]
        good = [case for _, case, _, _ in opened if case is not None]
        with MODEL.turn():
            analyses = iter(list(detector.analyze_many(good, batch_size=PART)))
        for row, case, record, note in opened:
            outcome = next(analyses) if case is not None else note
            yield _row(row, record, outcome)


def _opened(detector: Detector, row: Film, strict: bool) -> tuple[Film, Case | None, dict, str]:
    """A film as a case and its record (header facts where the manifest says nothing), or why there is none."""
    try:
        film = read_radiograph(row.read())
        facts = {
            name: value
            for name, value in film.facts.items()
            if name in detector.schema and row.record.get(name) is None
        }
        record = {**{name: value for name, value in row.record.items() if value is not None}, **facts}
        return row, detector.case(pass_gate(film, accept=not strict), record), record, ""
    except GateError as error:
        return row, None, record, error.quality.reasons[0]
    except (RadiographError, ArchiveError, EHRError) as error:
        return row, None, row.record, str(error)


def _row(film: Film, record: dict, outcome: Analysis | str) -> Row:
    film, view = replace(film, record=record), str(record.get("view") or "")
    if not isinstance(outcome, Analysis):
        return Row(film, view, None, None, "", "", str(outcome))
    picture = inline(Frame(outcome.film, f"film {film.number}"), THUMBNAIL, outcome.aspect)
    return Row(film, view, outcome.score, outcome.percentile, outcome.compared_with, picture, " ".join(outcome.notes))


def table_csv(rows: Sequence[Row], detector: Detector) -> bytes:
    """The result as CSV, one row a film."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(
        ["row", "film", "view", "label", "score", "percentile", "compared_with", "note", "checkpoint", "weights_sha256"]
    )
    for row in rows:
        cells = row.cells()
        writer.writerow([*cells[:7], row.note, detector.config.name, detector.checkpoint.sha256])
    return text.getvalue().encode()


def summary(rows: Sequence[Row]) -> str:
    """What was found over all films as HTML: counts, and where labels exist the AUROC within view and by view, with the ROC."""
    good = [row for row in rows if row.score is not None]
    above = sum(row.percentile >= 95 for row in good)
    text = f"{len(good)} of {len(rows)} films were scored; {above} lie above percentile 95 of normal films."
    labelled = [row for row in good if row.film.label]
    abnormal = np.array([row.film.label != NORMAL for row in labelled], bool)
    if not labelled or abnormal.all() or not abnormal.any():
        why = "" if not labelled else " The labels are all of one kind, so there is no ROC."
        return f'<div class="card"><p>{text}{why}</p></div>'
    score, view = np.array([row.score for row in labelled]), np.array([row.view for row in labelled])
    found = detection_metrics(score, abnormal, view, REPEATS)
    lines = [
        f"All views mixed: AUROC {_with_interval(found, 'auroc')}, average precision {_with_interval(found, 'average_precision')}."
    ]
    inside = (_with_interval(found, f"{name}_within_view") for name in ("auroc", "average_precision"))
    lines.append("Mean within each view: AUROC {}, average precision {}.".format(*inside))
    for name, entry in found["views"].items():
        precision = _with_interval(entry, "average_precision")
        lines.append(
            f"{name} alone ({entry['films']} films): AUROC {_with_interval(entry, 'auroc')}, average precision {precision}."
        )
    note = panels.quiet(
        "Sick people are filmed lying, so a number that mixes views flatters any score that can tell AP from PA: read the ones within view."
    )
    listed = "".join(f"<li>{html.escape(line)}</li>" for line in lines)
    chart = figures.inline_svg(figures.roc(score, abnormal, view), " ".join(lines))
    return f'<div class="card columns"><div><h3>Result</h3><p>{text}</p><ul>{listed}</ul>{note}</div><div>{chart}</div></div>'


def _with_interval(found: dict, name: str) -> str:
    if found[name] is None:
        return "not to be had"
    low, high = found[f"{name}_interval"]
    return f"{found[name]:.2f} [{low:.2f}, {high:.2f}]"


def reopened(film: Film, archive: str | None) -> bytes:
    """A film's bytes once more, out of the ZIP of its own run, which was closed after it. Raises ArchiveError or OSError where that is gone."""
    try:
        data = film.read()
    except (ValueError, OSError):
        if not archive:
            raise ArchiveError("gone") from None
        opened = Archive(archive)
        name = opened.find(film.name)
        data = opened.read(name) if name else b""
        opened.close()
    return data.read_bytes() if isinstance(data, Path) else data
