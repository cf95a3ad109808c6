"""Many cases without a server: rows of a manifest or a ZIP are scored, listed, summed up and opened again."""

from __future__ import annotations

import csv
import io
import zipfile
from dataclasses import replace
from types import SimpleNamespace

import cv2
import gradio as gr
import numpy as np
import pytest
from helpers import dicom_film, drawn_film

from app.runtime.runs import Runs
from app.tabs.cohort import CohortResult, build_cohort
from app.tabs.cohort_run import (
    Film,
    Row,
    format_csv,
    list_films,
    list_folder_films,
    reread_film,
    score_films,
    summary_html,
)
from app.tabs.explore import build_explore
from app.tabs.explore_layout import build_model_select
from diff3m.checkpoint.folder import load_checkpoint, save_checkpoint, save_scoring
from diff3m.data.archive import ArchiveError
from diff3m.data.manifest import ManifestError
from diff3m.detector import Detector
from diff3m.evaluation.calibration import calibrate_on_normals


@pytest.fixture
def detector(tiny_checkpoint, film_folder, tmp_path) -> Detector:
    """The tiny checkpoint, calibrated."""
    checkpoint = load_checkpoint(tiny_checkpoint)
    folder = save_checkpoint(tmp_path / "calibrated", checkpoint.config, checkpoint.network)
    save_scoring(folder, calibrate_on_normals(Detector(load_checkpoint(folder)), film_folder / "manifest.csv"))
    return Detector(load_checkpoint(folder), device="cpu", precision="float32")


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    """A manifest of four films and one that is missing, and a ZIP that also holds a picture of noise."""
    folder, lines = tmp_path_factory.mktemp("cohort"), ["path,view,age,label"]
    with zipfile.ZipFile(folder / "films.zip", "w") as archive:
        for index in range(4):
            archive.writestr(f"films/{index}.png", png(drawn_film(96, index, 0.5 * (index > 1))))
            lines.append(f"{index}.png,{('PA', 'AP')[index % 2]},50,{'opacity' if index > 1 else 'normal'}")
        archive.writestr("noise.png", png(np.random.default_rng(0).random((99, 99))))
    lines += ["absent.png,PA,50,normal"]
    (folder / "manifest.csv").write_text("\n".join(lines) + "\n")
    return folder


def png(pixels: np.ndarray) -> bytes:
    return cv2.imencode(".png", (pixels * 255).astype(np.uint8))[1].tobytes()


def row(number: int, percentile: float, **film) -> Row:
    return Row(Film(number, f"{number}.png", None, {}, bytes, **film), "PA", 1.0, percentile, "PA", normals=273)


def test_many_cases_are_scored_listed_and_summed_up(cohort, detector):
    films, archive = list_films(detector, str(cohort / "manifest.csv"), str(cohort / "films.zip"))
    rows = list(score_films(detector, films, strict=False))
    assert [entry.score is not None for entry in rows] == [True] * 4 + [False]
    alone = detector.analyze(drawn_film(96, 1), {"view": "AP", "age": 50})
    assert rows[1].score == pytest.approx(alone.score, abs=0.05) and rows[1].compared_with == alone.compared_with
    text = summary_html(rows)
    assert "4 of 5 films were scored" in text and "within each view" in text and "<svg" in text
    assert "no file of this name" in rows[4].reason and rows[4].reason in text and "absent.png" in text
    table = list(csv.DictReader(io.StringIO(format_csv(rows, detector).decode())))
    assert len(table) == 5 and table[0]["weights_sha256"] == detector.checkpoint.sha256
    assert table[4]["note"] == rows[4].reason and table[4]["score"] == ""
    archive.close()
    assert reread_film(films[0], str(cohort / "films.zip")).startswith(b"\x89PNG")
    with pytest.raises(ArchiveError):
        reread_film(films[0], None)


def test_a_percentile_has_one_decimal_and_names_no_limit_that_it_did_not_reach():
    assert [row(1, value).values()[5] for value in (94.96, 95.0, 97.849, 99.96)] == [94.9, 95.0, 97.8, 99.9]


def test_no_row_is_at_percentile_100():
    """273 normal films cannot show what lies above all of them; the cell stays a number, which can be sorted."""
    assert row(1, 100.0).values()[5] == 99.6 and "Above all 273 normal films." in row(1, 100.0).values()[-1]
    assert "Above all" not in row(1, 99.9).note


@pytest.mark.parametrize(("above", "words"), [(0, "0 lie above"), (1, "1 lies above"), (2, "2 lie above")])
def test_the_number_of_films_above_the_limit_is_in_plain_english(above, words):
    rows = [row(number, 97 if number <= above else 50) for number in (1, 2, 3)]
    assert f"{words} percentile 95" in summary_html(rows)


def labelled_rows(count: int) -> list[Row]:
    """So many normal and as many abnormal films of one view."""
    scores = np.random.default_rng(0).normal(size=2 * count) + np.repeat([0, 1], count)
    labels = ["normal"] * count + ["opacity"] * count
    rows = [row(number, 50) for number in range(2 * count)]
    return [
        replace(entry, score=score, film=replace(entry.film, label=label))
        for entry, score, label in zip(rows, scores, labels, strict=True)
    ]


def test_no_interval_is_shown_where_a_class_has_too_few_films():
    few, enough = summary_html(labelled_rows(9)), summary_html(labelled_rows(10))
    assert "AUROC 0." in few and "[" not in few.split("<div>", 2)[1]
    assert "[0." in enough.split("<div>", 2)[1]


def test_a_guessed_file_and_the_reasons_of_the_gate_stand_beside_the_row(cohort, detector, tmp_path):
    (tmp_path / "m.csv").write_text("path\nFILMS/0.PNG\nnoise.png\n")
    films, archive = list_films(detector, str(tmp_path / "m.csv"), str(cohort / "films.zip"))
    guessed_row = next(score_films(detector, films[:1], strict=False))
    stopped_row = next(score_films(detector, films[1:], strict=True))
    archive.close()
    assert "films/0.png is taken for FILMS/0.PNG" in guessed_row.note and guessed_row.score is not None
    assert stopped_row.score is None and "frontal chest film" in stopped_row.reason
    text = summary_html([guessed_row, stopped_row])
    assert "1 of 2 films were scored" in text and "frontal chest film" in text and "noise.png" in text


def test_a_row_is_opened_as_it_was_scored(detector, tmp_path):
    """The film comes from the ZIP archive of its own run, and the facts of its header are in the record."""
    for name in "ab":
        with zipfile.ZipFile(tmp_path / f"{name}.zip", "w") as archive:
            archive.writestr("1.dcm", dicom_film() + name.encode())
    films, archive = list_films(detector, None, str(tmp_path / "a.zip"))
    film_row = next(score_films(detector, films, strict=False))
    archive.close()
    assert film_row.film.record == {"age": 63, "sex": "F", "view": "PA"} and film_row.view == "PA"
    assert reread_film(film_row.film, str(tmp_path / "a.zip")).endswith(b"a")
    (tmp_path / "a.zip").unlink()
    with pytest.raises(ArchiveError):
        reread_film(film_row.film, str(tmp_path / "a.zip"))


def test_a_click_on_a_row_opens_its_film_under_its_record(detector, cohort):
    films, archive = list_films(detector, str(cohort / "manifest.csv"), str(cohort / "films.zip"))
    rows = [next(score_films(detector, films[:1], strict=False))]
    archive.close()
    with gr.Blocks() as page:
        model = build_model_select([detector])
        with gr.Tabs() as tabs, gr.Tab():
            explore = build_explore([detector], model, page)
            build_cohort([detector], explore, tabs, None)
    open_row = next(event.fn for event in page.fns.values() if getattr(event.fn, "__name__", "") == "open_row")
    click = SimpleNamespace(row_value=["1", "0.png"])
    runs = Runs()
    run = runs.start()
    update = open_row(CohortResult("tiny", str(cohort / "films.zip"), rows), runs, click)
    assert not run.is_current, "what runs on Explore ends"
    values = [value.get("value") for value in update.values() if isinstance(value, dict)]
    assert "50" in values and update[tabs].selected == "explore"
    assert not any("emptied" in value for value in update.values() if isinstance(value, str))
    assert open_row(None, Runs(), click) == {tabs: gr.skip()}


def test_without_a_table_all_films_of_the_zip_are_scored_and_the_gate_holds(cohort, detector):
    films, _ = list_films(detector, None, str(cohort / "films.zip"))
    rows = list(score_films(detector, films, strict=True))
    assert len(rows) == 5 and rows[4].score is None and "frontal chest film" in rows[4].reason
    with pytest.raises(ManifestError, match="no films yet"):
        list_films(detector, str(cohort / "manifest.csv"), None)


def test_a_folder_of_the_server_gives_only_what_lies_in_it(cohort, detector, tmp_path_factory):
    inside = tmp_path_factory.mktemp("served")
    (inside / "film.png").write_bytes(png(drawn_film(96)))
    (inside / "m.csv").write_text(f"path,label\nfilm.png,normal\n{cohort}/films.zip,normal\n../secret.png,normal\n")
    films = list_folder_films(detector, inside, "m.csv")
    rows = list(score_films(detector, films, strict=False))
    assert [entry.score is not None for entry in rows] == [True, False, False]
    assert "outside the folder" in rows[1].reason
    with pytest.raises(ManifestError, match="must lie in the folder"):
        list_folder_films(detector, inside, "../m.csv")
