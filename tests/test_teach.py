"""Teach without a server: lessons, sets of films, marks against the truth, and what a reader's page keeps."""

from __future__ import annotations

from types import SimpleNamespace

import cv2
import gradio as gr
import numpy as np
import pytest
from helpers import drawn_film

from app.tabs import playground
from app.tabs.case_set import SET_SIZE, SimulatedSet
from app.tabs.folder_set import read_case_set
from app.tabs.playground import build_playground
from app.tabs.reading import build_reading
from app.tabs.reading_report import format_csv, read_csv, report_html
from app.tabs.reading_session import DEFAULT_CONFIDENCE, FilmReading, ReadingSession, carry_confidences
from diff3m.data.manifest import ManifestError
from diff3m.evaluation.free_response import (
    Mark,
    Reading,
    compute_free_response_curve,
    compute_overall_point,
    count_marks,
    is_hit,
)
from diff3m.findings import mask_box

TRUTH = (0.4, 0.4, 0.5, 0.5)
HIT, MISS = (0.44, 0.44, 0.46, 0.46), (0.7, 0.1, 0.75, 0.15)


def handler(page: gr.Blocks, name: str):
    return next(event.fn for event in page.fns.values() if getattr(event.fn, "__name__", "") == name)


@pytest.mark.parametrize(
    ("mark", "expected"),
    [
        (HIT, True),
        (MISS, False),
        ((0.36, 0.36, 0.40, 0.40), True),  # its middle misses by less than the margin
        ((0.30, 0.30, 0.36, 0.36), False),
        ((0.0, 0.0, 0.9, 0.9), False),  # the whole film points at nothing
    ],
)
def test_a_mark_hits_what_it_points_at(mark, expected):
    assert is_hit(mark, TRUTH) is expected


def test_the_curve_counts_each_place_once_and_each_wrong_mark():
    readings = [
        Reading((TRUTH,), (Mark(HIT, 3), Mark(HIT, 2), Mark(MISS, 1))),
        Reading((TRUTH,), (Mark(MISS, 2),)),
        Reading((), ()),
        Reading((), (Mark(MISS, 1),)),
    ]
    points = [
        (point.confidence, point.sensitivity, point.false_marks) for point in compute_free_response_curve(readings)
    ]
    assert points == [(3, 0.5, 0.0), (2, 0.5, 0.25), (1, 0.5, 0.75)]
    assert compute_overall_point(readings).false_marks == 0.75 and count_marks(readings[0], 2) == (1, 0)
    assert compute_overall_point(readings[2:]).sensitivity is None and compute_free_response_curve([]) == ()
    with pytest.raises(ValueError, match="No film"):
        compute_overall_point([])


def test_a_simulated_set_is_the_same_films_for_every_reader():
    cases, again = SimulatedSet(2, None), SimulatedSet(2, None)
    one = cases.read_case(3)
    assert one.name == again.read_case(3).name and len(cases) == SET_SIZE
    assert one.pixels.shape == (512, 512) and one.film.pixels.shape == (256, 256)
    phantoms = [cases.select_phantom(index) for index in range(SET_SIZE)]
    assert (
        sum(lesion is not None for _, lesion in phantoms) == 6 and len({number for number, _ in phantoms}) == SET_SIZE
    )
    assert phantoms != [SimulatedSet(3, None).select_phantom(index) for index in range(SET_SIZE)]
    assert {truth.label for truth in one.truths} == {lesion for lesion in [phantoms[3][1]] if lesion}


def test_the_box_of_a_mask():
    mask = np.zeros((100, 50), bool)
    mask[10:20, 5:10] = True
    assert mask_box(mask) == (0.1, 0.1, 0.2, 0.2)


@pytest.fixture
def folder(tmp_path):
    for index in range(2):
        cv2.imwrite(str(tmp_path / f"{index}.png"), (drawn_film(96, index) * 255).astype(np.uint8))
    (tmp_path / "manifest.csv").write_text(
        "path,age,title,question,answer,boxes,label\n"
        '0.png,50,First,Where?,There.,"spot 48 24 24 24",\n1.png,,,,,,normal\n0.png,,,,,,pneumonia\n'
    )
    return tmp_path


def test_confidences_stay_with_their_marks():
    first, second = Mark(HIT, 1), Mark(MISS, 4)
    assert carry_confidences((first, second), [MISS]) == (second,), "the first was erased"
    marks = carry_confidences((first, second), [TRUTH, MISS])
    assert marks == (Mark(TRUTH, 1), second), "the first was moved"
    assert carry_confidences((first,), [HIT, MISS])[1].confidence == DEFAULT_CONFIDENCE


def films() -> list[FilmReading]:
    return [
        FilmReading("a", Reading((TRUTH,), (Mark(HIT, 3), Mark(MISS, 1))), 4.0, model=(Mark(MISS, 0.2),)),
        FilmReading("b", Reading((), ()), 6.0, model=()),
    ]


def test_the_report_says_sensitivity_false_marks_and_time():
    text = report_html({"you": films()})
    assert "You: sensitivity 100% of 1, 0.5 false marks a film" in text
    assert "You: 5 s for a film (median), two films read" in text
    assert "The model: sensitivity 0% of 1, 0.5 false marks a film" in text and "<svg" in text
    assert "<svg" not in report_html({"you": [films()[1]]}), "no place to find, no curve"
    assert "known truth" in report_html({"you": [FilmReading("a", Reading((), ()), 1.0, is_counted=False)]})


def test_a_class_is_counted_beside_the_reader_and_its_tables_are_deleted(folder, tiny_detector, tmp_path):
    with gr.Blocks():
        tab = build_reading(tiny_detector, [read_case_set(folder, tiny_detector)])
    tables = [tmp_path / name for name in ("one.csv", "other.csv")]
    for table in tables:
        table.write_text(format_csv("s", [FilmReading("a", Reading((TRUTH,), (Mark(MISS, 2),)), 8.0)]))
    update = tab.pool(list(map(str, tables)), ReadingSession("s", films=tuple(films())))
    text = update[tab.page.class_result]
    assert "The class: two readers" in text and "The class: sensitivity 0% of 2, 1.0 false marks a film" in text
    assert "You: sensitivity 100% of 1" in text and not any(table.exists() for table in tables)
    other = tmp_path / "other.csv"
    other.write_text("a,b\n")
    assert "Drop the CSV files" in tab.pool([str(other)], None)[tab.page.class_result] and not other.exists()


def test_a_saved_reading_is_read_again():
    again = read_csv(format_csv("simulated-1", films()).encode())
    assert [film.reading for film in again] == [film.reading for film in films()]
    assert [film.seconds for film in again] == [4.0, 6.0]
    for data in (b"", b"a,b\n1,2\n", b"\xff\xfe", format_csv("s", []).encode(), b"x" * 2**21):
        with pytest.raises(ValueError, match="Drop the CSV files"):
            read_csv(data)


def test_a_film_is_read_marked_and_revealed(folder, tiny_detector):
    """The handlers of the page take values by component and return updates by component."""
    with gr.Blocks():
        tab = build_reading(tiny_detector, [read_case_set(folder, tiny_detector)])
    page = tab.page
    update = tab.start({page.set_name: folder.name, page.number: 1})
    assert update[page.session].index == 0 and "Where?" in update[page.task]
    assert update[page.viewer]["films"][0]["normal"] is None and not update[page.viewer]["films"][0]["findings"]
    values = {page.session: update[page.session], **dict.fromkeys(page.confidences)}
    box = [0.3, 0.55, 0.45, 0.7]
    measurement = dict(kind="rectangle", film=0, unit="px", box=box, width=14, height=14, mean_difference=None)
    update = tab.mark(values, SimpleNamespace(version=1, measurements=[measurement]))
    assert update[page.session].marks == (Mark(tuple(box), DEFAULT_CONFIDENCE),)
    assert [update[radio]["visible"] for radio in page.confidences] == [True, False, False, False, False]
    many = tab.mark(values, SimpleNamespace(version=1, measurements=[measurement] * 6))
    assert len(many[page.session].marks) == 5 and "Only the first 5 marks count" in many[page.result]
    fewer = tab.mark(values, SimpleNamespace(version=1, measurements=[measurement]))
    assert "Mark what you see" in fewer[page.result], "the warning goes with the mark"
    values = {**values, page.session: update[page.session], page.confidences[0]: 4}
    update = list(tab.submit(values))[-1]
    session = update[page.session]
    assert session.films[0].reading.marks[0].confidence == 4 and "You found 1 of 1" in update[page.result]
    film = update[page.viewer]["films"][0]
    assert film["normal"] and film["findings"][0]["label"] == "spot, the truth" and "There." in update[page.result]
    late = tab.mark({**values, page.session: session}, SimpleNamespace(version=1, measurements=[]))
    assert set(late) == {page.session}, "a mark after the truth does not count"
    update = tab.proceed(session)
    assert update[page.session].index == 1 and update[page.session].marks == ()
    update = tab.proceed(ReadingSession(folder.name, index=2, films=session.films))
    assert "Your reading" in update[page.result] and update[page.save]["visible"]
    assert "Your reading" in tab.finish(ReadingSession(folder.name, films=session.films))[page.result]
    assert "Start" in list(tab.submit({**values, page.session: None}))[-1][page.result]
    assert "Start" in tab.finish(ReadingSession(folder.name))[page.result]


def test_a_label_of_the_whole_film_is_said_and_not_counted(folder, tiny_detector):
    with gr.Blocks():
        tab = build_reading(tiny_detector, [read_case_set(folder, tiny_detector)])
    page = tab.page
    values = {page.session: ReadingSession(folder.name, index=2), **dict.fromkeys(page.confidences)}
    update = list(tab.submit(values))[-1]
    assert "The label says pneumonia; nobody marked the place" in update[page.result]
    assert not update[page.session].films[0].is_counted


def test_a_film_that_went_since_the_start_is_passed_over(folder, tiny_detector):
    with gr.Blocks():
        tab = build_reading(tiny_detector, [read_case_set(folder, tiny_detector)])
    (folder / "0.png").unlink()
    page = tab.page
    update = tab.start({page.set_name: folder.name, page.number: 1})
    assert "Row 1 (0.png)" in update[page.result] and update[page.proceed]["visible"]
    assert tab.proceed(update[page.session])[page.session].index == 1


def test_a_link_names_a_set(folder, tiny_detector):
    with gr.Blocks():
        tab = build_reading(tiny_detector, [read_case_set(folder, tiny_detector)])
    assert tab.choose("simulated-7")[tab.page.number]["value"] == 7
    assert tab.choose(folder.name)[tab.page.set_name] == folder.name
    for name in ("simulated-0", "simulated-901", "simulated-x", "simulated-²", "other"):
        with pytest.raises(ManifestError, match="The sets are: "):
            tab.get_case_set(name)


def test_a_page_without_phantoms_reads_the_own_films_alone(folder, tiny_detector):
    with gr.Blocks():
        tab = build_reading(None, [read_case_set(folder, tiny_detector)])
    assert [value for _, value in tab.page.set_name.choices] == [folder.name]
    with pytest.raises(ManifestError, match="The sets are: "):
        tab.get_case_set("simulated-1")


def test_the_playground_opens_with_a_phantom_and_hears_every_control(tiny_detector, monkeypatch):
    def fail(*arguments):
        raise RuntimeError("out of memory")

    with gr.Blocks() as page, gr.Tabs(), gr.Tab() as place:
        tab = build_playground(tiny_detector, place)
    assert tab.phantom.value.count("<img") == 2 and "lesion outlined" in tab.phantom.value
    events = [event for event in page.fns.values() if getattr(event.fn, "__name__", "") == "show_result"]
    targets = {target for event in events for target in event.targets}
    assert {(control._id, "change") for control in tab.controls} <= targets and (place._id, "select") in targets
    assert {event.trigger_mode for event in events} == {"always_last"}
    values = {control: control.value for control in tab.controls} | {tab.lesion: "nodule", tab.person: None}
    steps = list(handler(page, "show_result")(values))
    monkeypatch.setattr(playground, "analyze_in_turn", fail)
    *_, last = handler(page, "show_result")(values)
    assert "Something failed on the server (RuntimeError)" in last[tab.text]
    assert "model&#x27;s normal" in steps[-1][tab.result] and "from the true one" in steps[-1][tab.text]
