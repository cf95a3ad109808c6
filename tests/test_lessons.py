"""Lessons: what they measure, what they say of it, and how a lesson with a setting follows its slider."""

from __future__ import annotations

import itertools
from dataclasses import replace
from types import SimpleNamespace

import gradio as gr
import numpy as np
import pytest

from app.components.viewer import ViewerState
from app.render import wording
from app.tabs.lessons import LESSONS, Lesson, Setting, Step, answers, disagreement, healing, processing, record
from app.tabs.lessons.tab import build_lessons
from diff3m.detector import Detector
from diff3m.imaging import Preprocessing, Radiograph, prepare

MASK = np.zeros((64, 64), bool)
MASK[10:20, 30:40] = True


@pytest.fixture(scope="module")
def phantom_detector(calibrated_once) -> Detector:
    """The tiny calibrated detector, which stands in for the detector of the phantoms."""
    return Detector.from_pretrained(calibrated_once, device="cpu")


def test_every_lesson_has_a_link_a_film_and_notes():
    assert len({lesson.name for lesson in LESSONS}) == len(LESSONS) == 9
    for lesson in LESSONS:
        assert lesson.notes and len(lesson.choices) > 1 and lesson.question
    state = LESSONS[0].show()
    assert isinstance(state, ViewerState) and state.film.normal is None and not state.film.maps


# What heals and what does not


def analysis(film, reconstruction) -> SimpleNamespace:
    return SimpleNamespace(film=film, reconstruction=reconstruction)


def test_the_removed_share_is_measured_against_the_unpainted_twin():
    film = np.random.default_rng(0).random((64, 64)).astype(np.float32) / 2
    twin = analysis(film, film + 0.1)  # a normal film that is too bright everywhere
    painted = analysis(film + 0.2 * MASK, film + 0.1 + 0.05 * MASK)
    removal = healing.measure_removal(painted, twin, MASK)
    assert (removal.addition, removal.remaining) == pytest.approx((0.2, 0.05)) and removal.share == pytest.approx(0.75)
    other_contrast = analysis(painted.film - 0.03, painted.reconstruction - 0.02)  # of the whole film's contrast
    assert healing.measure_removal(other_contrast, twin, MASK).share == pytest.approx(0.75)
    assert healing.Removal(0.003, 0.001).share is None, "less than a grey step"


def test_a_lesion_stands_out_where_its_middle_does():
    place = SimpleNamespace(prepared_box=(0.1, 0.4, 0.4, 0.7))
    assert healing.place_stands_out([place], MASK)
    assert not healing.place_stands_out([SimpleNamespace(prepared_box=(0.5, 0.4, 0.9, 0.7))], MASK)
    assert not healing.place_stands_out([], MASK)


def test_lesions_are_painted_alike_for_viewer_and_model():
    healthy, masks = healing.make_phantom_film(healing.PERSON), healing.make_painted_film(0.4)[1]
    gross, faint = healing.make_painted_film(0.4)[0], healing.make_painted_film(0.04)[0]
    for mask in masks:
        inside = [float((phantom.pixels - healthy.pixels)[mask].mean()) for phantom in (gross, faint)]
        assert inside[0] > 0.02 and inside[1] == pytest.approx(inside[0] / 10, rel=0.05)
        small = mask.reshape(256, 2, 256, 2).all((1, 3))
        of_model = (gross.film.pixels - healthy.film.pixels)[small].mean()
        of_viewer = (gross.pixels - healthy.pixels).reshape(256, 2, 256, 2).mean((1, 3))[small].mean()
        assert of_model == pytest.approx(of_viewer, rel=0.1)


def measurement(strength: float, percentile: float, shares: tuple, stands_out: bool) -> healing.Measurement:
    removals = tuple(healing.Removal(0.2, 0.2 * (1 - share)) for share in shares)
    return healing.Measurement(strength, percentile, removals, (stands_out, False, False))


def test_the_answer_says_what_was_measured_and_nothing_else():
    rows = [measurement(0.8, 99, (0.2, 0.9, 0.4), True), measurement(0.4, 97, (0.2, 0.8, 0.1), True)]
    text = healing.conclusion_text([*rows, measurement(0.1, 30, (0.2, 0.8, 0.1), False)], 0.4)
    assert "without 80% of the nodule and 10% of the fluid" in text
    assert "A place stands out down to strength 0.40; the score reaches percentile 95 down to 0.40" in text
    text = healing.conclusion_text([measurement(0.1, 30, (0.2, 0.8, 0.1), False)], 0.1)
    assert "No place stands out; the score never reaches percentile 95" in text
    invisible = replace(rows[0], removals=(healing.Removal(0.001, 0.0),) * 3)
    assert "less than one grey step" in healing.conclusion_text([invisible], 0.8)


def test_strengths_are_measured_one_by_one(phantom_detector, monkeypatch):
    monkeypatch.setattr(healing, "STRENGTHS", (0.8, 0.4))
    steps = list(healing.answer_painted(phantom_detector, 0.4))
    assert len(steps) == 3 and "The answer" in steps[-1].html and "The answer" not in steps[0].html
    assert steps[0].state.film.normal is not None
    assert steps[0].state.film.findings[0].label == "cloud, painted"
    assert steps[-1].html.count("<tr") == 4 and 'class="emphasis"><th scope="row">0.40' in steps[-1].html


# Same film, two hospitals


def test_each_processing_does_what_its_name_says():
    ramp = np.tile(np.linspace(0, 1, 64, dtype=np.float32), (64, 1))
    edge = np.where(ramp > 0.5, 0.7, 0.3).astype(np.float32)
    curve = processing.apply_grey_curve(ramp)
    assert curve[0, 0] == 0 and curve[0, -1] == 1 and (curve[:, 1:-1] < ramp[:, 1:-1]).all()
    assert np.allclose(processing.sharpen(np.full((64, 64), 0.4)), 0.4)
    assert np.ptp(processing.sharpen(edge)) > np.ptp(edge) + 0.05
    grain = processing.add_grain(edge) - edge
    assert grain.std() == pytest.approx(processing.GRAIN, rel=0.1)
    assert np.array_equal(processing.add_grain(edge), processing.add_grain(edge))
    settings = Preprocessing(size=32)
    darker = prepare(Radiograph(processing.darken(ramp)), settings)
    assert np.allclose(darker, prepare(Radiograph(ramp), settings), atol=1e-5), "brightness as such is stretched away"


def outcome(name: str, percentile: float, change: float) -> processing.Outcome:
    return processing.Outcome(name, percentile, (name, f"{percentile:.1f}", f"{change:.1%}", "none"), change)


def test_the_hospitals_answer_names_the_largest_changes():
    outcomes = [outcome("hospital A", 50, 0), outcome("grey curve", 47, 0.02), outcome("sharpening", 90, 0.01)]
    text = processing.conclusion_text([*outcomes, outcome("darker", 50.5, 0), outcome("all of these", 97, 0.03)])
    assert "moved the score most: sharpening, by +40.0 points" in text and "hardly moved with: darker." in text
    assert "from 50.0 to 97.0, which crosses the limit" in text and "most with: grey curve (2.0%" in text
    fewer = processing.conclusion_text([*outcomes, outcome("all of these", 60, 0.03)])
    assert "does not cross" in fewer and "hardly" not in fewer


def test_the_hospitals_are_compared_on_the_model(phantom_detector):
    steps = list(processing.answer_processing(phantom_detector))
    assert len(steps) == 2 + len(processing.VARIANTS) + 1 and steps[-1].html.count("<tr") == 3 + len(
        processing.VARIANTS
    )
    assert "Nothing in the patient changed" in steps[-1].html
    first, second = steps[-1].state.film, steps[-1].state.second
    assert first.normal is not None and second.normal is not None and first.film != second.film


# The score and the map disagree


def candidate(name: str, percentile: float | None, largest: float | None) -> disagreement.Outcome:
    place = SimpleNamespace(zone="heart", largest=largest, share=0.01)
    result = SimpleNamespace(percentile=percentile, normals=322, components=())
    return disagreement.Outcome(disagreement.Candidate(name, 1), result, () if largest is None else (place,))


def test_films_are_chosen_by_what_was_measured():
    films = [candidate("a", 99, 0.3), candidate("b", 60, 0.05), candidate("c", 10, -0.07), candidate("d", 40, None)]
    assert disagreement.find_map_alone(films).candidate.name == "c" and disagreement.find_score_alone(films) is None
    films += [candidate("e", 95, None), candidate("f", 99.5, None)]
    assert disagreement.find_score_alone(films).candidate.name == "f"
    assert [film.row[-1] for film in films] == [
        "agree",
        "map alone",
        "map alone",
        "agree",
        "score alone",
        "score alone",
    ]
    sentences = disagreement.conclusion_sentences(films[:4], SimpleNamespace(schema={}))
    assert sentences[0] == "Score and map disagree on 2 of 4 films."
    assert "percentile 10.0" in sentences[1] and "heart differs by −7.0 %" in sentences[1]
    assert sentences[2] == "No film of an unusual score is without such a place."
    sentences = disagreement.conclusion_sentences(films[:1], None)
    assert sentences[0] == "Score and map disagree on 0 of 1 films." and "On no film of an ordinary" in sentences[1]


def test_the_notes_name_the_candidates_without_a_lesion():
    healthy = [place for place, film in enumerate(disagreement.CANDIDATES, start=1) if film.lesion is None]
    assert healthy == [2, 3, 5] and "Films 2, 3 and 5 hold no lesion" in disagreement.DISAGREEMENT.notes


def test_candidates_are_analyzed_one_by_one(phantom_detector, monkeypatch):
    monkeypatch.setattr(disagreement, "CANDIDATES", disagreement.CANDIDATES[:2])
    steps = list(disagreement.answer_disagreement(phantom_detector))
    assert len(steps) == 3 and "The answer" in steps[-1].html and steps[-1].state.film.normal is not None


# The view, and nothing known


def test_the_view_lesson_says_whether_the_model_notices(fitted_detector, monkeypatch):
    def attribute(detector, case, parts):
        views.append(case.record["view"])
        return SimpleNamespace(fits=[SimpleNamespace(group="view", z=3.0 if case.record["view"] == "PA" else 0.5)])

    views: list[str] = []
    monkeypatch.setattr(record, "attribute", attribute)
    *_, step = record.VIEW.answer(fitted_detector)
    assert views == ["AP", "PA"] and "the model notices the wrong record" in step.html
    monkeypatch.setattr(wording, "FITS", 4.0)
    *_, step = record.VIEW.answer(fitted_detector)
    assert "the model does not notice the wrong record" in step.html


def test_nothing_known_is_an_empty_record(phantom_detector):
    first, second = list(itertools.islice(record.WITHOUT_RECORD.answer(phantom_detector), 2))
    assert "Everything known" in first.html and "Nothing known" in second.html
    phantom = record.make_phantom_film(record.STOUT_PERSON, bmi=41.0)
    unknown = answers.analyze(phantom_detector, phantom, dict.fromkeys(phantom.patient.to_record()))
    assert set(unknown.case.record.values()) == {None}


# The tab


def test_an_answer_that_fails_says_so():
    def answer(detector):
        yield Step("<b>half</b>")
        raise RuntimeError("out of memory")

    with gr.Blocks():
        tab = build_lessons([Lesson("fails", "Fails", "Q?", (), "", ViewerState, answer)], None)
    *_, last = tab.show_answer({tab.lesson: "fails", tab.setting: 0.0, tab.guess: None})
    assert "half" in last[tab.answer] and "Something failed on the server (RuntimeError)" in last[tab.answer]


def test_a_setting_moves_the_film_and_after_the_answer_the_answer():
    settings = []

    def answer(detector, *setting):
        settings.append(setting)
        yield Step(f"<b>measured at {setting}</b>")

    plain = Lesson("plain", "Plain", "Q?", (), "", ViewerState, answer)
    follows = replace(
        plain,
        name="follows",
        choices=("yes", "no"),
        notes="n",
        show=lambda value: ViewerState(description=f"at {value}"),
        setting=Setting("Strength", 0, 1, 0.1, 0.5),
    )
    with gr.Blocks():
        tab = build_lessons([plain, follows], None)
    assert not tab.setting.visible and tab.first == "plain"
    update = tab.show("follows")
    assert update[tab.setting]["visible"] and update[tab.setting]["value"] == 0.5 and update[tab.has_answer] is False
    assert update[tab.viewer]["description"] == "at 0.5" and update[tab.guess]["visible"]
    values = {tab.lesson: "follows", tab.setting: 0.3, tab.guess: "yes", tab.has_answer: False}
    (update,) = tab.change_setting(values)
    assert update[tab.viewer]["description"] == "at 0.3" and not settings
    updates = list(tab.change_setting({**values, tab.has_answer: True}))
    assert "The class thinks: yes." in updates[-1][tab.answer] and "measured at (0.3,)" in updates[-1][tab.answer]
    values = {**values, tab.lesson: "plain", tab.has_answer: True}
    assert [set(update) for update in tab.change_setting(values)] == [{tab.has_answer}], "the slider of another lesson"
    assert list(tab.show_answer(values))[-1][tab.answer] == "<b>measured at ()</b>" and settings == [(0.3,), ()]
