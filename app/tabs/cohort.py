"""Tab Many cases: the films of a manifest with a ZIP (or a folder of the server) are scored into a table and a CSV."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import gradio as gr

from diff3m.data.archive import ArchiveError
from diff3m.data.manifest import PARQUET, ManifestError
from diff3m.detector import Detector
from diff3m.ehr import EHRError

from ..components.events import WAITING, Updates
from ..components.widgets import SILENT
from ..render import panels, wording
from ..runtime.gpu import on_gpu
from ..runtime.runs import Runs
from ..runtime.storage import store_file
from .cohort_run import Row, format_csv, list_films, list_folder_films, reread_film, score_films, summary_html
from .explore import Explore

MAX_FILMS = 5_000
MAX_TABLES = 200  # manifests of the server's folder that are offered
TABLE_SUFFIXES = (".csv", *PARQUET)
HEADERS = ["#", "film", "view", "label", "score", "percentile", "compared with", "note", "picture"]
TYPES = ["number", "str", "str", "str", "number", "number", "str", "str", "html"]
WIDTHS = ["56px", "180px", "64px", "110px", "80px", "124px", "124px", "340px", "90px"]
UPDATE_SECONDS = 0.5  # between two reports of progress, for each of which the browser takes a part of the processor
TABLE_STEP = 25  # rows; the whole table travels to the browser at every update
GONE = "This film is no longer there: films are deleted within the hour. Drop the ZIP again, and score it."
GUIDE = (
    "A table with a column “path” and, as far as known, the record's columns and “label” (“normal” or "
    "anything else), and a ZIP with the films. Without a table every film of the ZIP is scored with an unknown record."
)


@dataclass(frozen=True)
class CohortResult:
    """The scored rows, the model's name, and the ZIP (None: a folder of the server)."""

    model: str
    archive: str | None
    rows: list[Row]


@dataclass(frozen=True)
class CohortTab:
    """The tab's components."""

    manifest: gr.File
    archive: gr.File
    folder_table: gr.Dropdown
    model: gr.Dropdown
    strict: gr.Checkbox
    run: gr.Button
    cancel: gr.Button
    status: gr.HTML
    summary: gr.HTML
    download: gr.File
    table: gr.Dataframe
    result: gr.State

    @property
    def inputs(self) -> set:
        """What is read when films are scored."""
        return {self.manifest, self.archive, self.folder_table, self.model, self.strict}

    @property
    def outputs(self) -> list:
        """What a run changes."""
        return [self.status, self.summary, self.download, self.table, self.cancel, self.result]

    def show_message(self, text: str, alert: bool = False) -> Updates:
        """Show a sentence in the status line and hide Cancel."""
        return {self.status: panels.status_line(text, alert), self.cancel: gr.update(visible="hidden")}

    def clear(self) -> Updates:
        """Remove the result from the tab."""
        return {
            self.summary: "",
            self.download: gr.update(value=None, visible=False),
            self.table: gr.update(value=[], visible=False),
            self.result: None,
        }

    def show_rows(self, rows: Sequence[Row]) -> Updates:
        """Show rows in the table."""
        values = [[*row.values(), row.picture] for row in rows]
        return {self.table: gr.update(value=values, visible=True)}

    def show_summary(self, rows: Sequence[Row], detector: Detector) -> Updates:
        """Show the summary of rows, and their CSV for download."""
        path = store_file("diff3m-scores.csv", format_csv(rows, detector))
        return {self.summary: summary_html(rows), self.download: gr.update(value=str(path), visible=True)}


def build_cohort(
    detectors: Sequence[Detector],
    explore: Explore,
    tabs: gr.Tabs,
    folder: Path | None,
) -> None:
    """Lay the tab out and wire it; called inside a Blocks.

    explore, tabs: where a row's film is opened. folder: of the server, whose manifests are offered, or None.
    """
    by_name = {detector.config.name: detector for detector in detectors}
    tab = _build_tab(list(by_name), folder)

    def score(values: Mapping) -> Iterator[Updates]:
        yield from _score(tab, by_name[values[tab.model]], values, folder)

    running = tab.run.click(
        on_gpu(score), tab.inputs, tab.outputs, concurrency_id="cohort", concurrency_limit=1, **SILENT
    )

    def stop(result: CohortResult | None) -> Updates:
        if result is None:
            return tab.show_message("Stopped before a film was scored.") | tab.clear()
        rows, detector = list(result.rows), by_name[result.model]
        text = f"Stopped. The films that were scored stay below ({len(rows)})."
        return tab.show_message(text) | tab.show_rows(rows) | tab.show_summary(rows, detector)

    tab.cancel.click(stop, tab.result, tab.outputs, cancels=[running], queue=False, **SILENT)
    _wire_opening(tab, explore, tabs)


def _build_tab(names: list[str], folder: Path | None) -> CohortTab:
    gr.HTML(panels.small_text(GUIDE))
    with gr.Row():
        manifest = gr.File(
            label="Manifest: CSV or Parquet", file_types=list(TABLE_SUFFIXES), height=120, elem_id="cohort-manifest"
        )
        archive = gr.File(label="Films: ZIP", file_types=[".zip"], height=120, elem_id="cohort-zip")
    paths = folder.rglob("*") if folder else ()
    tables = sorted(str(path.relative_to(folder)) for path in paths if path.suffix.lower() in TABLE_SUFFIXES)
    folder_table = gr.Dropdown(
        tables[:MAX_TABLES],
        value=None,
        label="Or a manifest in the server's folder",
        visible=bool(folder),
        elem_id="cohort-served",
    )
    with gr.Row():
        model = gr.Dropdown(
            [(wording.model_title(name), name) for name in names], value=names[0], label="Model", visible=len(names) > 1
        )
        strict = gr.Checkbox(True, label="Leave out what does not look like a frontal chest film")
    with gr.Row():
        run = gr.Button("Score all", variant="primary", elem_id="cohort-run", scale=3)
        cancel = gr.Button("Cancel", elem_id="cohort-cancel", scale=1, min_width=80, visible="hidden")
    status = gr.HTML(panels.status_line("Nothing is scored yet."), elem_id="cohort-status")
    summary_card = gr.HTML(elem_id="cohort-summary")
    download = gr.File(label="Results: CSV", visible=False, interactive=False, elem_id="cohort-csv")
    table = gr.Dataframe(
        headers=HEADERS,
        datatype=TYPES,
        column_widths=WIDTHS,
        interactive=False,
        visible=False,
        elem_id="cohort-table",
        show_search="filter",
        wrap=True,
        max_height=600,
    )
    gr.HTML(panels.small_text("Click a heading to sort, a row to open its film in Explore."))
    result = gr.State(None, time_to_live=3600)
    return CohortTab(
        manifest, archive, folder_table, model, strict, run, cancel, status, summary_card, download, table, result
    )


def _score(tab: CohortTab, detector: Detector, values: Mapping, folder: Path | None) -> Iterator[Updates]:
    """Score what the tab's inputs name, with progress; then summary, CSV and the whole table."""
    source, rows, path = None, [], values[tab.archive]
    try:
        if values[tab.folder_table] and folder:
            films, path = list_folder_films(detector, folder, values[tab.folder_table]), None
        else:
            films, source = list_films(detector, values[tab.manifest], path)
        if len(films) > MAX_FILMS:
            raise ManifestError(
                f"{len(films):,} films are too many for one run; at most {MAX_FILMS:,}. Use `diff3m evaluate`."
            )
        yield tab.clear() | {
            tab.status: panels.status_line(WAITING),
            tab.cancel: gr.update(visible=True),
        }
        start, result = time.perf_counter(), CohortResult(detector.config.name, path, rows)
        last_update, rows_in_table = start, 0
        for row in score_films(detector, films, values[tab.strict]):
            rows.append(row)
            now, is_last = time.perf_counter(), len(rows) == len(films)
            if now - last_update < UPDATE_SECONDS and not is_last:
                continue
            update, last_update = {tab.status: _progress(len(rows), len(films), now - start), tab.result: result}, now
            if is_last or rows_in_table == 0 or len(rows) - rows_in_table >= TABLE_STEP:
                update, rows_in_table = update | tab.show_rows(rows), len(rows)
            yield update
        failures = sum(row.score is None for row in rows)
        text = f"Done: {len(rows)} films in {time.perf_counter() - start:.0f} s."
        if failures:
            text += f" **Not scored: {failures}**, see the reasons below."
        yield tab.show_message(text) | tab.show_summary(rows, detector) | {tab.result: result}
    except (ManifestError, ArchiveError, EHRError) as error:
        yield tab.show_message(str(error), alert=True) | tab.clear()
    finally:
        if source is not None:
            source.close()


def _wire_opening(tab: CohortTab, explore: Explore, tabs: gr.Tabs) -> None:
    """Open a row's film in Explore at a click, under the record that it was scored under; what runs there stops."""

    def open_row(result: CohortResult | None, runs: Runs, event: gr.SelectData) -> Updates:
        number = int(event.row_value[0])
        row = next((row for row in result.rows if row.film.number == number), None) if result else None
        try:
            if result is None or row is None:
                raise ArchiveError("The result is no longer there.")
            data = reread_film(row.film, result.archive)
            changes = explore.open_case(result.model, str(store_file("film", data)), row.film.record)
        except (ArchiveError, OSError):
            gr.Warning(GONE)
            return {tabs: gr.skip()}
        except ValueError as error:
            gr.Warning(str(error))
            return {tabs: gr.skip()}
        runs.end()
        return {tabs: gr.Tabs(selected="explore"), **changes}

    tab.table.select(open_row, [tab.result, explore.runs], [tabs, *explore.outputs], **SILENT)


def _progress(done: int, total: int, seconds: float) -> str:
    remaining = seconds / done * (total - done)
    return panels.progress_line(f"{done} of {total} films, about {remaining:.0f} s left", done / total)
