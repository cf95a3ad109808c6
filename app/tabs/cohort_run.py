"""Many cases: lists the films of a manifest with a ZIP or folder, scores them a few per job, and summarizes them."""

from __future__ import annotations

import csv
import html
import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from diff3m.analysis import Analysis, in_tenths, is_above_all, supported_percentile
from diff3m.case import Case
from diff3m.data.archive import Archive, ArchiveError
from diff3m.data.manifest import NORMAL, ManifestError, read_manifest
from diff3m.data.manifest import Case as ManifestRow
from diff3m.detector import Detector
from diff3m.ehr import EHRError
from diff3m.evaluation.metrics import MIN_CLASS, detection_metrics
from diff3m.imaging import GateError, RadiographError, pass_gate, read_radiograph
from diff3m.scoring.score import UNUSUAL

from ..render import figures, panels, wording
from ..render.images import Frame, inline_image
from ..runtime.model_thread import MODEL

PART = 2  # films in one job of the model's thread: whoever comes meanwhile waits for no more
THUMBNAIL = 56  # pixels
REPEATS = 300  # of the bootstrap
MAX_NAMES = 5  # films that the summary names for one reason
COLUMNS = ("row", "film", "view", "label", "score", "percentile", "compared_with", "note")


@dataclass(frozen=True)
class Film:
    """A row to be scored.

    number: its row in the manifest, or its place in the ZIP. label: None where not known. record: as the manifest gives
    it; once scored, the one that it was scored under, header facts included. load: returns the film's bytes or path.
    note: where its file was guessed, or "".
    """

    number: int
    name: str
    label: str | None
    record: dict
    load: Callable[[], bytes | Path]
    note: str = ""


@dataclass(frozen=True)
class Row:
    """A row of the result. score and percentile are None for a film that was not scored; `reason` says why.

    normals: how many normal films the percentile is among.
    """

    film: Film
    view: str
    score: float | None = None
    percentile: float | None = None
    compared_with: str = ""
    picture: str = ""
    notes: tuple[str, ...] = ()
    reason: str = ""
    normals: int = 0

    @property
    def note(self) -> str:
        """All notes on this row; the reason why it was not scored comes first."""
        above_all = f"Above all {self.normals} normal films." if is_above_all(self.percentile) else ""
        return " ".join(text for text in (self.reason, above_all, self.film.note, *self.notes) if text)

    def values(self) -> tuple:
        """Return one value for each of `COLUMNS`."""
        score = None if self.score is None else round(self.score, 2)
        film, view = self.film, self.view
        percentile = None if self.percentile is None else in_tenths(self.percentile)
        if percentile is not None:  # a number, so that the table can be sorted; the note says what lies beyond it
            percentile = supported_percentile(percentile, self.normals)
        return film.number, film.name, view, film.label or "", score, percentile, self.compared_with, self.note


def list_films(detector: Detector, manifest: str | None, archive: str | None) -> tuple[list[Film], Archive]:
    """List a manifest's rows with films out of a ZIP or, without a manifest, all films of the ZIP with unknown records.

    Returns the films and the ZIP, open. Raises ManifestError or ArchiveError.
    """
    if not archive:
        raise ManifestError("There are no films yet: drop a ZIP of them.")
    source = Archive(archive)
    if not manifest:
        films = [
            Film(i, name, None, {}, lambda name=name: source.read(name)) for i, name in enumerate(source.names, start=1)
        ]
        return films, source
    folder = Path(manifest).parent
    rows = read_manifest(manifest, detector.schema)
    return [_make_archive_film(row, folder, source) for row in rows], source


def _make_archive_film(row: ManifestRow, folder: Path, archive: Archive) -> Film:
    name = str(row.path.relative_to(folder)) if row.path.is_relative_to(folder) else row.path.name
    match = archive.match(name)

    def load() -> bytes:
        if match is None:
            raise ArchiveError("The ZIP holds no file of this name, or several.")
        return archive.read(match.name)

    notes = (match.note if match else row.note, row.column_note)
    return Film(row.row, name, row.label, dict(row.record), load, " ".join(note for note in notes if note))


def list_folder_films(detector: Detector, folder: Path, manifest: str) -> list[Film]:
    """List the rows of a manifest in a folder of the server, with films below that folder. Raises ManifestError."""
    root = folder.resolve()
    path = (root / manifest).resolve()
    if not path.is_relative_to(root):
        raise ManifestError("The manifest must lie in the folder that the page was started with.")
    return [_make_folder_film(row, root) for row in read_manifest(path, detector.schema)]


def _make_folder_film(row: ManifestRow, root: Path) -> Film:
    inside = row.path.resolve().is_relative_to(root)

    def load() -> Path:
        if not inside:
            raise ArchiveError("This film lies outside the folder that the page was started with.")
        return row.path

    return Film(row.row, row.path.name, row.label, dict(row.record), load, " ".join(row.notes))


def score_films(detector: Detector, films: Sequence[Film], strict: bool) -> Iterator[Row]:
    """Score films a few at a time, each time when the model is free. strict: leave out what the gate would stop."""
    for start in range(0, len(films), PART):
        prepared = [_prepare(detector, film, strict) for film in films[start : start + PART]]
        cases = [entry.case for entry in prepared if isinstance(entry, PreparedRow)]
        analyses = iter(MODEL.run(partial(_analyze, detector, cases)))
        for entry in prepared:
            yield entry if isinstance(entry, Row) else _make_row(entry, next(analyses))


def _analyze(detector: Detector, cases: Sequence[Case]) -> list[Analysis]:
    return list(detector.analyze_many(cases, batch_size=PART))


@dataclass(frozen=True)
class PreparedRow:
    """A film of the table that is ready to be analyzed."""

    film: Film
    case: Case


def _prepare(detector: Detector, film: Film, strict: bool) -> PreparedRow | Row:
    """Prepare a film under its record, with header facts where the manifest says nothing.

    Returns the row that says why not, where it cannot be prepared.
    """
    try:
        radiograph = read_radiograph(film.load())
        known = {name: value for name, value in film.record.items() if value is not None}
        facts = {name: value for name, value in radiograph.facts.items() if name in detector.schema}
        film = replace(film, record={**facts, **known})
        return PreparedRow(film, detector.case(pass_gate(radiograph, accept=not strict), film.record))
    except GateError as error:
        return Row(film, _view(film), reason=" ".join(error.quality.reasons))
    except (RadiographError, ArchiveError, EHRError) as error:
        return Row(film, _view(film), reason=str(error))


def _view(film: Film) -> str:
    return str(film.record.get("view") or "")


def _make_row(entry: PreparedRow, analysis: Analysis) -> Row:
    picture = inline_image(Frame(analysis.film, f"film {entry.film.number}"), THUMBNAIL, analysis.aspect)
    return Row(
        entry.film,
        _view(entry.film),
        analysis.score,
        analysis.percentile,
        analysis.compared_with,
        picture,
        analysis.notes,
        normals=analysis.normals,
    )


def format_csv(rows: Sequence[Row], detector: Detector) -> bytes:
    """Write the result as CSV, one row a film."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow([*COLUMNS, "checkpoint", "weights_sha256"])
    writer.writerows([*row.values(), detector.config.name, detector.checkpoint.sha256] for row in rows)
    return text.getvalue().encode()


def summary_html(rows: Sequence[Row]) -> str:
    """Sum the rows up as HTML: counts, what was left out and why and, where labels exist, AUROC within and by view."""
    with_score = [row for row in rows if row.score is not None]
    unusual = sum(row.percentile >= UNUSUAL for row in with_score if row.percentile is not None)
    text = wording.cohort_sentence(len(with_score), len(rows), unusual)
    missing = _reasons(rows)
    with_label = [row for row in with_score if row.film.label]
    abnormal = np.array([row.film.label != NORMAL for row in with_label], bool)
    if not with_label or abnormal.all() or not abnormal.any():
        one_class = " The labels are all of one kind, so there is no ROC." if with_label else ""
        return f'<div class="card"><p>{text}{one_class}</p>{missing}</div>'
    score, view = np.array([row.score for row in with_label]), np.array([row.view for row in with_label])
    lines = _metric_sentences(detection_metrics(score, abnormal, view, REPEATS))
    note = panels.small_text(
        "Sick people are filmed lying, so a number that mixes views flatters any score that can tell AP from PA: "
        f"read the ones within view. Without an interval, a class has fewer than {MIN_CLASS} films."
    )
    items = "".join(f"<li>{html.escape(line)}</li>" for line in lines)
    chart = figures.inline_svg(figures.roc_curve(score, abnormal, view), " ".join(lines))
    return (
        f'<div class="card columns"><div><h3>Result</h3><p>{text}</p><ul>{items}</ul>{note}{missing}</div>'
        f"<div>{chart}</div></div>"
    )


def _reasons(rows: Sequence[Row]) -> str:
    """Return the films that were not scored, by reason, as an HTML list."""
    films: dict[str, list[str]] = {}
    for row in rows:
        if row.score is None:
            films.setdefault(row.reason or "This checkpoint gives no score.", []).append(row.film.name)
    items = ""
    for reason, names in films.items():
        more = f" and {len(names) - MAX_NAMES} more" if len(names) > MAX_NAMES else ""
        items += f"<li>{html.escape(reason)} <i>{html.escape(', '.join(names[:MAX_NAMES]))}{more}</i></li>"
    return f"<p>Not scored:</p><ul>{items}</ul>" if items else ""


def _metric_sentences(metrics: dict) -> list[str]:
    def line(name: str, entry: dict, suffix: str = "") -> str:
        auroc, precision = (_with_interval(entry, key + suffix) for key in ("auroc", "average_precision"))
        return f"{name}: AUROC {auroc}, average precision {precision}."

    views = [line(f"{name} alone ({entry['films']} films)", entry) for name, entry in metrics["views"].items()]
    return [
        line("All views mixed", metrics),
        line("Mean within each view", metrics, "_within_view"),
        *views,
    ]


def _with_interval(metrics: dict, name: str) -> str:
    value, interval = metrics[name], metrics[f"{name}_interval"]
    if value is None:
        return "not defined"
    return f"{value:.2f}" if interval is None else f"{value:.2f} [{interval[0]:.2f}, {interval[1]:.2f}]"


def reread_film(film: Film, archive: str | None) -> bytes:
    """Read a film's bytes once more. archive: the ZIP of its run, which was closed after it; None for a folder.

    Raises ArchiveError or OSError where the film is no longer there.
    """
    try:
        data = film.load()
    except (ValueError, OSError):
        if not archive:
            raise ArchiveError("The film is no longer there.") from None
        source = Archive(archive)
        try:
            name = source.find(film.name)
            if name is None:
                raise ArchiveError("The film is no longer in the ZIP.") from None
            data = source.read(name)
        finally:
            source.close()
    return data.read_bytes() if isinstance(data, Path) else data
