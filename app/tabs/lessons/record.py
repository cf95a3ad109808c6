"""Lessons on the patient's record: what it makes unusual, what it explains, and what attention to it does not say.

Every number in an answer is measured. The film stands in the viewer; small pictures beside the text show the rest.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np

from diff3m.detector import Detector
from diff3m.explain import attribute, compute_counterfactual
from diff3m.export.overlay import draw_signed
from diff3m.findings import mask_box
from diff3m.imaging import prepare
from diff3m.scoring.score import UNUSUAL

from ...components.film_pictures import make_difference_map
from ...components.viewer import ViewerFinding, ViewerState
from ...render import figures, panels, wording
from ...render.images import Frame
from ...runtime.model_thread import MODEL
from ..teach_films import PhantomFilm, make_phantom_film, make_plain_film
from . import answers
from .lesson import Lesson, Step

# numbers of phantoms
HEART_PERSON, STOUT_PERSON, VIEW_PERSON, NODULE_PERSON = 2_050_016, 2_050_120, 2_050_131, 2_050_030
HIGH_PRESSURE = dict(age=66.0, sex="M", view="PA", bmi=29.0, systolic_mmhg=188.0, diastolic_mmhg=104.0, height_cm=176.0)
FULL_DIFFERENCE = 0.3  # of the grey range: full color of the true and the learned difference


# Is this heart too large?


def _show_heart() -> ViewerState:
    return answers.make_question_state(make_phantom_film(HEART_PERSON, **HIGH_PRESSURE), "Is this heart too large?")


def _answer_heart(detector: Detector) -> Iterator[Step]:
    phantom, text, percentiles = make_phantom_film(HEART_PERSON, **HIGH_PRESSURE), "", []
    reconstructions = []
    records = (
        ("188/104 mmHg, the pressure that made this heart", {}),
        ("115/74 mmHg", dict(systolic_mmhg=115.0, diastolic_mmhg=74.0)),
    )
    for name, change in records:
        analysis = answers.analyze(detector, phantom, change)
        percentiles.append(analysis.percentile or 0)
        reconstructions.append(analysis.reconstruction)
        sentences = f"{wording.score_sentence(analysis)} {answers.describe_record_fit(analysis, detector)}"
        text += answers.card(f"With {name}", sentences, answers.result_pictures(analysis, detector))
        yield Step(text, answers.make_answer_state(phantom, analysis, detector, f"With {name}"))
    change = percentiles[1] - percentiles[0]
    difference = float(np.abs(reconstructions[1] - reconstructions[0]).mean())
    effect = f"{change:+.0f} points" if abs(change) >= 1 else "less than a point"
    yield Step(
        answers.conclusion(
            text,
            f"The picture is the same; the second record moves its percentile by {effect}. A heart is too large for "
            "somebody: a width that is expected under high pressure is not expected under low pressure. The two normal "
            f"films differ by {wording.percent(difference)} of the grey range on average: a normal film keeps "
            "most of the patient's own shape, so what the record changes most is the fit of film and record.",
        )
    )


# What BMI does


def _bmi_films() -> tuple[PhantomFilm, PhantomFilm]:
    return make_phantom_film(STOUT_PERSON, bmi=22.0), make_phantom_film(STOUT_PERSON, bmi=38.0)


def _show_bmi() -> ViewerState:
    return answers.make_question_state(_bmi_films()[0], "The person at BMI 22")


def _answer_bmi(detector: Detector) -> Iterator[Step]:
    thin, stout = _bmi_films()
    films = [prepare(phantom.film, detector.config.preprocessing) for phantom in (thin, stout)]
    truth = films[1] - films[0]
    difference = make_difference_map(stout.pixels - thin.pixels, 0.0, FULL_DIFFERENCE, "True difference")
    first = make_plain_film(thin.pixels, "BMI 22", normal=stout.pixels, normal_name="BMI 38", maps=(difference,))
    text = answers.card(
        "What the simulator does",
        "The same person at both values, by the equations behind the phantom. Red is brighter at BMI 38, blue darker.",
        answers.small_pictures(
            Frame(films[0], "BMI 22"),
            Frame(films[1], "BMI 38"),
            Frame(draw_signed(truth, FULL_DIFFERENCE), "true difference"),
        ),
    )
    yield Step(text, ViewerState(first, description="The same person at BMI 22 and 38, with the true difference"))
    case = detector.case(thin.film, thin.patient.to_record())
    result = MODEL.run(lambda: compute_counterfactual(detector, case, [stout.patient.to_record()]))
    agreement = float(np.corrcoef(truth.ravel(), result.differences[0].ravel())[0, 1])
    yield Step(
        text
        + answers.card(
            "What the model learned",
            "The model was given the second record and drew what normal would look like. Its difference agrees with "
            f"the true one at a correlation of {agreement:.2f} over the picture (1 would be perfect; the model never "
            "saw this person). A larger body absorbs more: soft tissue is brighter, contrast in the lungs falls, and "
            "the diaphragm stands higher.",
            answers.small_pictures(
                Frame(result.reconstruction, "normal at BMI 22"),
                Frame(result.reconstructions[0], "normal at BMI 38"),
                Frame(draw_signed(result.differences[0], FULL_DIFFERENCE), "the model's difference"),
            ),
        )
    )


# AP or PA?


def _show_view() -> ViewerState:
    return answers.make_question_state(make_phantom_film(VIEW_PERSON, view="AP"), "Which way did the X-rays go?")


def _answer_view(detector: Detector) -> Iterator[Step]:
    lying, standing, text = make_phantom_film(VIEW_PERSON, view="AP"), make_phantom_film(VIEW_PERSON, view="PA"), ""
    contradicts = False
    for view, name in (("AP", "AP, lying, as it was made"), ("PA", "PA, standing, which is wrong")):
        case = detector.case(lying.film, {**lying.patient.to_record(), "view": view})
        fits = MODEL.run(partial(attribute, detector, case, parts=False)).fits
        fit = next(entry for entry in fits if entry.group == "view")
        contradicts = abs(fit.z) >= wording.FITS
        verb = "contradicts" if contradicts else "does not contradict"
        text += answers.card(
            f"The record says {name}",
            f"The film {verb} the view: {fit.z:+.1f} standard deviations of normal films under their own view.",
        )
        yield Step(text)
    answer = answers.conclusion(
        text,
        f"The film is AP, and the model {'notices' if contradicts else 'does not notice'} the wrong record. Lying, "
        "with the tube near and in front, the heart is magnified and the diaphragm stands high. A detector that does "
        "not know the view may take that for disease or, where sick people are filmed lying, the view for disease.",
    )
    films = make_plain_film(lying.pixels, "AP, lying"), make_plain_film(standing.pixels, "The same person PA, standing")
    yield Step(answer, ViewerState(*films, description="The same person AP and PA"))


# What the model does without the record, and attention


def _show_stout() -> ViewerState:
    return answers.make_question_state(make_phantom_film(STOUT_PERSON, bmi=41.0), "A healthy person at BMI 41")


def _answer_without(detector: Detector) -> Iterator[Step]:
    phantom, text, normals = make_phantom_film(STOUT_PERSON, bmi=41.0), "", []
    record = phantom.patient.to_record()
    for name, changes in (("Everything known", {}), ("Nothing known", dict.fromkeys(record))):
        analysis = answers.analyze(detector, phantom, changes)
        normals.append(analysis.reconstruction)
        text += answers.card(name, wording.score_sentence(analysis), answers.result_pictures(analysis, detector))
        yield Step(text, answers.make_answer_state(phantom, analysis, detector, name))
    result = MODEL.run(partial(attribute, detector, detector.case(phantom.film, record), parts=False))
    is_explained = result.known < result.unknown
    meaning = "the record explains an unusual but healthy body" if is_explained else "here the record explains nothing"
    difference = wording.percent(float(np.abs(normals[1] - normals[0]).mean()))
    yield Step(
        answers.conclusion(
            text,
            f"The misfit says how badly the film contradicts what the model expects (about {len(result.fits)} for a "
            f"normal film). It is {result.unknown:.1f} without the record and {result.known:.1f} with it: {meaning}. "
            "The percentiles below answer less: without a view the film is compared with normal films of all views. "
            f"The two normal films differ by {difference} of the grey range on average: a normal film keeps "
            "most of the patient's own shape, whatever the record says.",
        )
    )


def _answer_attention(detector: Detector) -> Iterator[Step]:
    phantom = make_phantom_film(STOUT_PERSON, bmi=41.0)
    analysis = answers.analyze(detector, phantom)
    text = panels.attention_card(analysis, detector)
    yield Step(text, answers.make_answer_state(phantom, analysis, detector, "A healthy person at BMI 41"))
    case = detector.case(phantom.film, phantom.patient.to_record())
    result = MODEL.run(partial(attribute, detector, case, parts=False))
    top = max(result.groups, key=lambda group: abs(result.groups[group]))
    chart = figures.inline_svg(
        figures.attribution_bars(result.groups), "Shapley values of the misfit by group of the record"
    )
    highest = dict.fromkeys(max(weights, key=weights.get) for weights in analysis.attention.values())
    sentences = (
        "The only unusual thing about this phantom is its BMI of 41. Attention was highest on: "
        f"{', '.join(highest).replace('_', ' ')}. The Shapley values put {top} first ({result.groups[top]:+.1f}).",
        "Attention says where the network looked in the record, not what changed the result. What a value changed is "
        "found by taking it away and looking again, which is what Shapley values do.",
    )
    yield Step(answers.conclusion(text, sentences, chart))


# When it fails


def _show_nodule() -> ViewerState:
    return answers.make_question_state(make_phantom_film(NODULE_PERSON, "nodule"), "There is a nodule in this lung")


def _answer_nodule(detector: Detector) -> Iterator[Step]:
    with_nodule, healthy, text, percentiles = (
        make_phantom_film(NODULE_PERSON, "nodule"),
        make_phantom_film(NODULE_PERSON),
        "",
        [],
    )
    truth = (ViewerFinding("nodule, the truth", "", mask_box(with_nodule.mask)),)
    for name, phantom, findings in (("With the nodule", with_nodule, truth), ("The same lung without it", healthy, ())):
        analysis = answers.analyze(detector, phantom)
        percentiles.append(analysis.percentile or 0)
        text += answers.card(name, wording.score_sentence(analysis), answers.result_pictures(analysis, detector))
        if findings:
            yield Step(text, answers.make_answer_state(phantom, analysis, detector, name, findings=findings))
    verdict = "is called unusual" if percentiles[0] >= UNUSUAL else "is called normal"
    yield Step(
        answers.conclusion(
            text,
            f"With the limit at percentile {UNUSUAL} the film with the nodule {verdict}; the nodule moves the "
            f"percentile by {percentiles[0] - percentiles[1]:+.0f} points. It covers {with_nodule.mask.mean():.1%} of "
            "the film. The score is made of the largest differences, and at ribs and vessels they can be as large as "
            "at a nodule. A film without color is not proof of health.",
        )
    )


HEART = Lesson(
    "heart",
    "Is this heart too large? Depends for whom",
    "This heart is wide. The record may say a pressure of **188/104** or of **115/74** mmHg. Under which is it "
    "unusual?",
    ("188/104 mmHg", "115/74 mmHg", "Under both alike", "Under neither"),
    "Let the class measure the cardiothoracic ratio in the viewer (tool *CTR*) before they guess. Afterwards, ask what "
    "else makes a heart look wide (AP view, shallow breath), and point out that the picture never changed.",
    _show_heart,
    _answer_heart,
)

BODY = Lesson(
    "bmi",
    "What BMI does to a chest film",
    "The same person gains weight, from BMI **22** to **38**. What changes in the film?",
    (
        "The heart doubles",
        "Soft tissue brightens and the diaphragm rises",
        "The lungs grow",
        "Nothing that can be seen",
    ),
    "After the answer press *Swipe* in the viewer and drag the line over the two films. The first card shows the true "
    "difference, which the simulator knows; the second what the model learned of it from other people.",
    _show_bmi,
    _answer_bmi,
)

VIEW = Lesson(
    "view",
    "AP or PA?",
    "Was this film taken standing, from behind (PA), or lying, from the front (AP)? And would the model notice a wrong "
    "record?",
    ("AP, and it notices", "AP, and it does not notice", "PA, and it notices", "PA, and it does not notice"),
    "Signs of AP: a magnified heart, a high diaphragm, shoulder blades over the lungs. Ask why the view is a trap for "
    "a detector that was trained in one hospital.",
    _show_view,
    _answer_view,
)

WITHOUT_RECORD = Lesson(
    "without-record",
    "What the model does without the record",
    "A healthy person with BMI **41**. What happens if the model knows nothing about them?",
    ("The film looks more unusual", "The film looks less unusual", "Nothing changes"),
    "The point is fairness: people who are rare in the training films may look ill to a model that does not know why "
    "they look different. Continue with *Attention is not explanation*, which uses the same film.",
    _show_stout,
    _answer_without,
)

ATTENTION = Lesson(
    "attention",
    "Attention is not explanation",
    "The same person, everything known. The network has *attention* over the record. Does the highest attention lie on "
    "what made the result?",
    ("Yes, it lies on BMI", "No, it lies elsewhere"),
    "For a class that knows attention from language models. docs/explanations.md compares attention and Shapley values "
    "on phantoms with one known cause.",
    _show_stout,
    _answer_attention,
)

NODULE = Lesson(
    "nodule",
    "When it fails",
    f"This film has a nodule. Will the model call the film unusual (above {UNUSUAL} % of normal films)?",
    ("Yes", "No"),
    "Let somebody point at the nodule first; press *R* to see the whole film again. The answer outlines its place. Ask "
    "what a reader who trusts the colors alone would miss.",
    _show_nodule,
    _answer_nodule,
)
