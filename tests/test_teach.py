"""Teach without a server: lessons, sets of films, marks against the truth, and what a reader's page keeps."""

from __future__ import annotations

from types import SimpleNamespace

import cv2
import gradio as gr
import numpy as np
import pytest
from helpers import drawn_film

from app.components.viewer import ViewerState
from app.tabs.case_set import SET_SIZE, FolderSet, SimulatedSet, parse_boxes, read_case_set
from app.tabs.lessons import LESSONS
from app.tabs.playground import build_playground
from app.tabs.reading import build_reading
from app.tabs.reading_session import (
    DEFAULT_CONFIDENCE,
    FilmReading,
    Session,
    carry_confidences,
    read_csv,
    report,
    table_csv,
)
from app.tabs.teach_films import mask_box
from diff3m.data.manifest import ManifestError
from diff3m.evaluation.free_response import Mark, Reading, count_marks, free_response_curve, hits, overall_point

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
    assert hits(mark, TRUTH) is expected


def test_the_curve_counts_each_place_once_and_each_wrong_mark():
    readings = [
        Reading((TRUTH,), (Mark(HIT, 3), Mark(HIT, 2), Mark(MISS, 1))),
        Reading((TRUTH,), (Mark(MISS, 2),)),
        Reading((), ()),
        Reading((), (Mark(MISS, 1),)),
    ]
    points = [(point.confidence, point.sensitivity, point.false_marks) for point in free_response_curve(readings)]
    assert points == [(3, 0.5, 0.0), (2, 0.5, 0.25), (1, 0.5, 0.75)]
    assert overall_point(readings).false_marks == 0.75 and count_marks(readings[0], 2) == (1, 0)
    assert overall_point(readings[2:]).sensitivity is None and free_response_curve([]) == ()
    with pytest.raises(ValueError, match="No film"):
        overall_point([])


def test_a_simulated_set_is_the_same_films_for_every_reader():
    cases, again = SimulatedSet(2, None), SimulatedSet(2, None)
    one = cases.case(3)
    assert one.name == again.case(3).name and len(cases) == SET_SIZE
    assert one.shown.shape == (512, 512) and one.film.pixels.shape == (256, 256)
    phantoms = [cases.phantom(index) for index in range(SET_SIZE)]
    assert (
        sum(lesion is not None for _, lesion in phantoms) == 6 and len({number for number, _ in phantoms}) == SET_SIZE
    )
    assert phantoms != [SimulatedSet(3, None).phantom(index) for index in range(SET_SIZE)]
    assert [truth.label for truth in one.truths] == [lesion for lesion in [phantoms[3][1]] if lesion]


def test_the_box_of_a_mask():
    mask = np.zeros((100, 50), bool)
    mask[10:20, 5:10] = True
    assert mask_box(mask) == (0.1, 0.1, 0.2, 0.2)


def test_boxes_of_a_manifest_are_pixels_with_labels():
    nodule, other = parse_boxes("small nodule 10 20 30 40; 0,0,5,5", 200, 100, 1)
    assert nodule.label == "small nodule" and nodule.box == (0.1, 0.1, 0.3, 0.4)
    assert other.label == "finding" and other.box == (0.0, 0.0, 0.025, 0.05)
    assert parse_boxes("", 10, 10, 1) == ()
    for text in ("nodule", "1 2 3", "1 2 0 4", "1 2 3 -4"):
        with pytest.raises(ManifestError, match=r"Row 7: the box .* x y width height"):
            parse_boxes(text, 10, 10, 7)


@pytest.fixture
def folder(tmp_path):
    for index in range(2):
        cv2.imwrite(str(tmp_path / f"{index}.png"), (drawn_film(96, index) * 255).astype(np.uint8))
    (tmp_path / "manifest.csv").write_text(
        "path,age,title,question,answer,boxes,label\n"
        '0.png,50,First,Where?,There.,"spot 48 24 24 24",\n1.png,,,,,,normal\n0.png,,,,,,\n'
    )
    return tmp_path


def test_a_teachers_folder_becomes_a_set(folder, tiny_detector):
    cases = read_case_set(folder, tiny_detector)
    assert isinstance(cases, FolderSet) and len(cases) == 3
    first, second, third = (cases.case(index) for index in range(3))
    assert first.truths[0].box == (0.25, 0.5, 0.5, 0.75) and first.truths[0].label == "spot"
    assert (first.title, first.question, first.answer, first.record["age"]) == ("First", "Where?", "There.", 50)
    assert [case.labelled for case in (first, second, third)] == [True, True, False]


def test_a_folder_that_is_no_set_gets_a_sentence(folder, tiny_detector):
    (folder / "manifest.csv").write_text("path,boxes\n0.png,here\n")
    with pytest.raises(ManifestError, match="Row 1: the box 'here'"):
        read_case_set(folder, tiny_detector)
    (folder / "manifest.csv").unlink()
    with pytest.raises(ManifestError, match=r"no manifest\.csv"):
        read_case_set(folder, tiny_detector)


def test_confidences_stay_with_their_marks():
    first, second = Mark(HIT, 1), Mark(MISS, 4)
    assert carry_confidences((first, second), [MISS]) == (second,), "the first was erased"
    moved = carry_confidences((first, second), [TRUTH, MISS])
    assert moved == (Mark(TRUTH, 1), second), "the first was moved"
    assert carry_confidences((first,), [HIT, MISS])[1].confidence == DEFAULT_CONFIDENCE


def films() -> list[FilmReading]:
    return [
        FilmReading("a", Reading((TRUTH,), (Mark(HIT, 3), Mark(MISS, 1))), 4.0, model=(Mark(MISS, 0.2),)),
        FilmReading("b", Reading((), ()), 6.0),
    ]


def test_the_report_says_sensitivity_false_marks_and_time():
    text = report(films())
    assert "You: sensitivity 100% of 1, 0.5 false marks a film" in text and "Median time for a film: 5 s" in text
    assert "The model: sensitivity 0% of 1, 0.5 false marks a film" in text and "<svg" in text
    assert "known truth" in report([FilmReading("a", Reading((), ()), 1.0, labelled=False)])


def test_a_saved_reading_is_read_again():
    again = read_csv(table_csv("simulated-1", films()).encode())
    assert [film.reading for film in again] == [film.reading for film in films()]
    assert [film.seconds for film in again] == [4.0, 6.0]
    for data in (b"", b"a,b\n1,2\n", b"\xff\xfe", table_csv("s", []).encode(), b"x" * 2**21):
        with pytest.raises(ValueError, match="Drop the CSV files"):
            read_csv(data)


def test_a_film_is_read_marked_and_revealed(folder, tiny_detector):
    """Through the handlers of the page: values by component in, updates by component out."""
    with gr.Blocks() as page:
        tab = build_reading(tiny_detector, [read_case_set(folder, tiny_detector)])
    update = handler(page, "start")({tab.chosen: folder.name, tab.number: 1})
    assert update[tab.session].index == 0 and "Where?" in update[tab.task]
    assert update[tab.viewer]["films"][0]["normal"] is None and not update[tab.viewer]["films"][0]["findings"]
    values = {tab.session: update[tab.session], **dict.fromkeys(tab.confidences)}
    box = [0.3, 0.55, 0.45, 0.7]
    measured = dict(kind="rectangle", film=0, unit="px", box=box, width=14, height=14, mean_difference=None)
    update = handler(page, "mark")(values, SimpleNamespace(version=1, measurements=[measured]))
    assert update[tab.session].marks == (Mark(tuple(box), DEFAULT_CONFIDENCE),)
    assert [update[radio]["visible"] for radio in tab.confidences] == [True, False, False, False, False]
    values = {**values, tab.session: update[tab.session], tab.confidences[0]: 4}
    update = list(handler(page, "submit")(values))[-1]
    session = update[tab.session]
    assert session.films[0].reading.marks[0].confidence == 4 and "You found 1 of 1" in update[tab.result]
    shown = update[tab.viewer]["films"][0]
    assert shown["normal"] and shown["findings"][0]["label"] == "spot, the truth" and "There." in update[tab.result]
    late = handler(page, "mark")({**values, tab.session: session}, SimpleNamespace(version=1, measurements=[]))
    assert set(late) == {tab.session}, "a mark after the truth does not count"
    update = handler(page, "proceed")(session)
    assert update[tab.session].index == 1 and update[tab.session].marks == ()
    update = handler(page, "proceed")(Session(folder.name, index=2, films=session.films))
    assert "Your reading" in update[tab.result] and update[tab.save]["visible"]
    assert "Start" in list(handler(page, "submit")({**values, tab.session: None}))[-1][tab.result]


def test_a_link_names_a_set(tiny_detector):
    with gr.Blocks():
        tab = build_reading(tiny_detector)
    assert tab.choose("simulated-7")[tab.number]["value"] == 7
    for name in ("simulated-0", "simulated-901", "simulated-x", "other"):
        with pytest.raises(ManifestError, match="Choose a simulated set"):
            tab.case_set(name)


def test_every_lesson_has_a_link_a_film_and_notes():
    assert len({lesson.name for lesson in LESSONS}) == len(LESSONS) >= 6
    for lesson in LESSONS:
        assert lesson.notes and len(lesson.choices) > 1
    state = LESSONS[0].show()
    assert isinstance(state, ViewerState) and state.film.normal is None and not state.film.maps


def test_the_playground_opens_with_a_phantom_and_hears_every_control(tiny_detector):
    with gr.Blocks() as page, gr.Tabs(), gr.Tab() as place:
        tab = build_playground(tiny_detector, place)
    assert tab.phantom.value.count("<img") == 2 and "lesion outlined" in tab.phantom.value
    events = [event for event in page.fns.values() if getattr(event.fn, "__name__", "") == "show_result"]
    targets = {target for event in events for target in event.targets}
    assert {(control._id, "change") for control in tab.controls} <= targets and (place._id, "select") in targets
    assert {event.trigger_mode for event in events} == {"always_last"}
    values = {control: control.value for control in tab.controls} | {tab.lesion: "nodule", tab.person: None}
    steps = list(handler(page, "show_result")(values))
    assert "model&#x27;s normal" in steps[-1][tab.result] and "from the true one" in steps[-1][tab.result]
