"""Tab: many cases. A manifest and a ZIP of films (or a folder of the server) in; a table, ROC and a CSV out. Layout and wiring."""

from __future__ import annotations

import time
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path

import gradio as gr

from diff3m.data.archive import ArchiveError
from diff3m.data.manifest import PARQUET, ManifestError
from diff3m.detector import Detector
from diff3m.ehr import EHRError

from ..render import panels, wording
from ..runtime.gpu import on_gpu
from ..runtime.storage import keep_file
from .cohort_run import PART, Row, films_in_folder, films_of, reopened, scored, summary, table_csv
from .explore import SILENT, Explore

MOST = 5_000
TABLES = (".csv", *PARQUET)
HEADERS = ["#", "film", "view", "label", "score", "percentile", "compared with", "picture", "note"]
TYPES = ["number", "str", "str", "str", "number", "number", "str", "html", "str"]
SHOWN_AT_ONCE = 12
KEPT = gr.skip()
NOTHING = dict(found="", csv=gr.update(value=None, visible=False), table=gr.update(value=[], visible=False), rows=None)


@dataclass(frozen=True)
class Scored:
    """What was scored: the model's name, the ZIP (None: a folder of the server) and its rows."""

    model: str
    archive: str | None
    rows: list[Row]


def build_cohort(
    detectors: Sequence[Detector],
    explore: Explore,
    tabs: gr.Tabs,
    folder: Path | None,
) -> None:
    """Lay the tab out; called inside a Blocks. tabs: what is switched to open a row in Explore. folder: of the server, or None."""
    names = [detector.config.name for detector in detectors]
    gr.HTML(
        panels.quiet(
            "A table with a column “path” and, as far as known, the record's columns and “label” (“normal” or anything else), and a ZIP with the "
            "films. Without a table every film of the ZIP is scored with an unknown record."
        )
    )
    with gr.Row():
        manifest = gr.File(
            label="Manifest: CSV or Parquet", file_types=list(TABLES), height=120, elem_id="cohort-manifest"
        )
        archive = gr.File(label="Films: ZIP", file_types=[".zip"], height=120, elem_id="cohort-zip")
    tables = (
        sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.suffix.lower() in TABLES)[:200]
        if folder
        else []
    )
    served = gr.Dropdown(
        tables, value=None, label="Or a manifest in the server's folder", visible=bool(folder), elem_id="cohort-served"
    )
    with gr.Row():
        model = gr.Dropdown(
            [(wording.model_title(name), name) for name in names], value=names[0], label="Model", visible=len(names) > 1
        )
        strict = gr.Checkbox(True, label="Leave out what does not look like a frontal chest film")
    with gr.Row():
        run = gr.Button("Score all", variant="primary", elem_id="cohort-run", scale=3)
        cancel = gr.Button("Cancel", elem_id="cohort-cancel", scale=1, min_width=80, visible=False)
    status = gr.HTML(panels.status("Nothing is scored yet."), elem_id="cohort-status")
    found = gr.HTML(elem_id="cohort-summary")
    download = gr.File(label="Results: CSV", visible=False, interactive=False, elem_id="cohort-csv")
    table = gr.Dataframe(
        headers=HEADERS,
        datatype=TYPES,
        interactive=False,
        visible=False,
        elem_id="cohort-table",
        show_search="filter",
        wrap=False,
        max_height=600,
    )
    gr.HTML(panels.quiet("Click a heading to sort, a row to open its film in Explore."))
    rows_state = gr.State(None, time_to_live=3600)
    by_name = dict(zip(names, detectors, strict=True))

    def score(manifest, archive, served, name, strict) -> Generator[tuple, None, None]:
        detector, opened, rows = by_name[name], None, []
        try:
            if served and folder:
                films = films_in_folder(detector, folder, served)
            else:
                films, opened = films_of(detector, manifest, archive)
            if len(films) > MOST:
                raise ManifestError(
                    f"{len(films):,} films are too many for one run; at most {MOST:,}. Use `diff3m evaluate`."
                )
            yield _update(panels.status("Waiting for its turn …"), cancel=gr.update(visible=True), **NOTHING)
            started = time.perf_counter()
            for row in scored(detector, films, strict):
                rows.append(row)
                if len(rows) % PART == 0 or len(rows) == len(films):
                    listed = (
                        gr.update(value=[r.cells() for r in rows], visible=True)
                        if _shown(len(rows), len(films))
                        else KEPT
                    )
                    yield _update(
                        _progress(len(rows), len(films), time.perf_counter() - started),
                        table=listed,
                        rows=Scored(name, archive, rows),
                    )
            seconds = time.perf_counter() - started
            done = panels.status(
                f"Done: {len(rows)} films in {seconds:.0f} s, {seconds / max(1, len(rows)):.1f} s each."
            )
            yield _update(
                done, cancel=gr.update(visible=False), rows=Scored(name, archive, rows), **_results(rows, detector)
            )
        except (ManifestError, ArchiveError, EHRError) as error:
            yield _update(panels.status(str(error), alert=True), cancel=gr.update(visible=False), **NOTHING)
        finally:
            if opened is not None:
                opened.close()

    outputs = [status, found, download, table, cancel, rows_state]
    inputs = [manifest, archive, served, model, strict]
    running = run.click(on_gpu(score), inputs, outputs, concurrency_id="cohort", concurrency_limit=1, **SILENT)

    def stop(state: Scored | None) -> tuple:
        if state is None:
            return _update(
                panels.status("Stopped before a film was scored."), cancel=gr.update(visible=False), **NOTHING
            )
        rows = list(state.rows)
        listed = gr.update(value=[row.cells() for row in rows], visible=True)
        said = panels.status(f"Stopped. The {len(rows)} films that were scored stay below.")
        return _update(said, table=listed, cancel=gr.update(visible=False), **_results(rows, by_name[state.model]))

    cancel.click(stop, rows_state, outputs, cancels=[running], queue=False, **SILENT)
    _wire_opening(table, rows_state, explore, tabs)


def _results(rows: Sequence[Row], detector: Detector) -> dict:
    """Summary and CSV of what was scored."""
    path = keep_file("diff3m-scores.csv", table_csv(rows, detector))
    return dict(found=summary(rows), csv=gr.update(value=str(path), visible=True))


def _wire_opening(table: gr.Dataframe, rows: gr.State, explore: Explore, tabs: gr.Tabs) -> None:
    """A click on a row opens its film in Explore of the same model, under the record that it was scored under; what runs there is stopped."""

    def open_row(state: Scored | None, event: gr.SelectData) -> dict:
        number = int(event.row_value[0])
        row = next((entry for entry in state.rows if entry.film.number == number), None) if state else None
        try:
            if row is None:
                raise ArchiveError("gone")
            data = reopened(row.film, state.archive)
        except (ArchiveError, OSError):
            gr.Warning(
                "This film is no longer there: films are deleted within the hour. Drop the ZIP again, and score it."
            )
            return {tabs: gr.skip()}
        changes = explore.open_case(state.model, str(keep_file("film", data)), row.film.record)
        return {tabs: gr.Tabs(selected="explore"), **changes}

    table.select(open_row, rows, [tabs, *explore.outputs], cancels=explore.running, **SILENT)


def _shown(done: int, total: int) -> bool:
    """The whole table travels to the browser at every update, so it is not sent each time."""
    return done <= SHOWN_AT_ONCE or done == total or done % (10 * PART) == 0


def _progress(done: int, total: int, seconds: float) -> str:
    left = seconds / done * (total - done)
    return panels.progress_bar(f"{done} of {total} films, about {left:.0f} s left", done, total)


def _update(status: str, found=KEPT, csv=KEPT, table=KEPT, cancel=KEPT, rows=KEPT) -> tuple:
    return status, found, csv, table, cancel, rows
