"""Lessons: a phantom, a question, a guess by the class, and an answer that is computed while they watch. Every number in an answer is measured."""

from __future__ import annotations

import html
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from diff3m.analysis import Analysis
from diff3m.data.phantom import person
from diff3m.detector import Detector
from diff3m.explain import Attribution, attribute, counterfactual
from diff3m.export.files import heat_over_film
from diff3m.export.overlay import signed
from diff3m.imaging import Radiograph, prepare

from ..render import figures, panels, wording
from ..render.images import Frame, strip
from ..runtime.model_lock import MODEL
from .explore_handlers import analyzed

SIDE = 256
HEART, BMI, VIEW, MISSED = 2_050_016, 2_050_120, 2_050_131, 2_050_030
PRESSED = dict(age=66.0, sex="M", view="PA", bmi=29.0, systolic_mmhg=188.0, diastolic_mmhg=104.0, height_cm=176.0)

Answer = Callable[[Detector], Iterator[str]]


@dataclass(frozen=True)
class Lesson:
    """title; question (Markdown); choices to guess from; shown: the pictures of the question; answer: the answer as HTML that grows."""

    title: str
    question: str
    choices: tuple[str, ...]
    shown: Callable[[Detector], str]
    answer: Answer


def _film(number: int, lesion: str | None = None, **changes) -> Radiograph:
    who = person(number, lesion)
    patient = who.patient.under(**changes)
    return Radiograph(who.diseased(SIDE, patient).film if lesion else who.film(SIDE, patient))


def _prepared(detector: Detector, film: Radiograph) -> np.ndarray:
    return prepare(film, detector.config.preprocessing)


def _card(title: str, text: str, pictures: str = "") -> str:
    return f'<div class="card"><h3>{html.escape(title)}</h3><p>{html.escape(text)}</p>{pictures}</div>'


def _fits(analysis: Analysis, detector: Detector) -> str:
    return " ".join(wording.contradiction_sentences(analysis, detector.schema))


def _triptych(analysis: Analysis, detector: Detector) -> str:
    return strip(
        [
            Frame(analysis.film, "the film"),
            Frame(analysis.reconstruction, "what normal would look like"),
            Frame(
                heat_over_film(analysis.film, analysis.heat_map, detector.scoring.heat_normal),
                "where they differ",
                wording.heat_summary(analysis.heat_map, detector.scoring.heat_normal, 0.08),
            ),
        ]
    )


# 1 -------------------------------------------------------------------------------------------------------------------


def _heart_shown(detector: Detector) -> str:
    return strip([Frame(_prepared(detector, _film(HEART, **PRESSED)), "one film; is this heart too large?")])


def _heart(detector: Detector) -> Iterator[str]:
    film, shown, percentiles = _film(HEART, **PRESSED), "", []
    records = (
        ("the pressure that this heart was made under, 188/104 mmHg", {}),
        ("115/74 mmHg", dict(systolic_mmhg=115.0, diastolic_mmhg=74.0)),
    )
    for name, change in records:
        record = {**person(HEART).patient.under(**PRESSED).record(), **change}
        found = analyzed(detector, film, record)
        percentiles.append(found.percentile or 0)
        shown += _card(
            f"With {name}", f"{wording.score_sentence(found)} {_fits(found, detector)}", _triptych(found, detector)
        )
        yield shown
    change = percentiles[1] - percentiles[0]
    moved = f"moves the percentile by {change:+.0f} points" if abs(change) >= 1 else "leaves the percentile where it is"
    yield shown + _card(
        "The answer",
        f"The same picture under the second record {moved}. A heart is large for somebody: what is expected under high pressure is a contradiction "
        "under a low one. The reconstruction hardly shows it, because inversion keeps the patient's own shape; the fit of film and record does.",
    )


# 2 -------------------------------------------------------------------------------------------------------------------


def _bmi_shown(detector: Detector) -> str:
    return strip([Frame(_prepared(detector, _film(BMI, bmi=22.0)), "a phantom at BMI 22")])


def _bmi(detector: Detector) -> Iterator[str]:
    thin, stout = (person(BMI).patient.under(bmi=value) for value in (22.0, 38.0))
    films = [_prepared(detector, Radiograph(person(BMI).film(SIDE, patient))) for patient in (thin, stout)]
    truth = films[1] - films[0]
    shown = _card(
        "What the simulator does",
        "The equations behind the phantom: the same person at both values.",
        strip(
            [
                Frame(films[0], "BMI 22"),
                Frame(films[1], "BMI 38"),
                Frame(signed(truth, 0.3), "true difference: red brighter, blue darker"),
            ]
        ),
    )
    yield shown
    with MODEL.turn():
        found = counterfactual(detector, detector.case(_film(BMI, bmi=22.0), thin.record()), [stout.record()])
    model = found.differences[0]
    agreement = float(np.corrcoef(truth.ravel(), model.ravel())[0, 1])
    yield shown + _card(
        "What the model learned",
        f"The model was told the second record and drew what normal would look like. Its difference agrees with the true one at a correlation "
        f"of {agreement:.2f} over the picture (1 would be perfect; the model never saw this person). A larger body absorbs more: soft tissue is "
        "brighter, contrast in the lungs falls, and the diaphragm stands higher.",
        strip(
            [
                Frame(found.reconstruction, "the model's normal at BMI 22"),
                Frame(found.reconstructions[0], "the model's normal at BMI 38"),
                Frame(signed(model, 0.3), "the model's difference"),
            ]
        ),
    )


# 3 -------------------------------------------------------------------------------------------------------------------


def _view_shown(detector: Detector) -> str:
    return strip([Frame(_prepared(detector, _film(VIEW, view="AP")), "which way did the X-rays go?")])


def _view(detector: Detector) -> Iterator[str]:
    patient, film, shown = person(VIEW).patient.under(view="AP"), _film(VIEW, view="AP"), ""
    for view, name in (("AP", "AP, lying, as it was made"), ("PA", "PA, standing, which is wrong")):
        with MODEL.turn():
            found = attribute(detector, detector.case(film, {**patient.record(), "view": view}), parts=False)
        fit = next(entry for entry in found.fits if entry.group == "view")
        fits = "contradicts" if abs(fit.z) >= wording.FITS else "does not contradict"
        shown += _card(
            f"The record says {name}",
            f"The film {fits} the view: {fit.z:+.1f} standard deviations of normal films under their own view.",
        )
        yield shown
    other = _prepared(detector, Radiograph(person(VIEW).film(SIDE, person(VIEW).patient.under(view="PA"))))
    yield shown + _card(
        "The answer",
        "In an AP film, taken lying with the tube near and in front, the heart is magnified and the diaphragm stands high. A detector that does not "
        "know the view takes that for disease, or, where sick people are filmed lying, takes the view for the disease.",
        strip([Frame(_prepared(detector, film), "AP"), Frame(other, "the same person PA")]),
    )


# 4 -------------------------------------------------------------------------------------------------------------------


def _without_shown(detector: Detector) -> str:
    return strip([Frame(_prepared(detector, _film(BMI, bmi=41.0)), "a normal phantom at BMI 41")])


def _without(detector: Detector) -> Iterator[str]:
    patient, film, shown = person(BMI).patient.under(bmi=41.0), _film(BMI, bmi=41.0), ""
    for name, record in (("Everything known", patient.record()), ("Nothing known", {})):
        found = analyzed(detector, film, record)
        shown += _card(name, wording.score_sentence(found), _triptych(found, detector))
        yield shown
    with MODEL.turn():
        explained = attribute(detector, detector.case(film, patient.record()), parts=False)
    yield shown + _card("The answer", _misfit_sentence(explained))


def _misfit_sentence(found: Attribution) -> str:
    return (
        f"How badly the film contradicts what the model expects (the misfit; about {len(found.fits)} for a normal film) is {found.unknown:.1f} "
        f"without the record and {found.known:.1f} with it. Without the record an unusual but healthy body looks unusual; the record explains it. "
        "The reconstructions differ less than one might think: inversion carries the patient's shape in the noise, whatever the record says."
    )


# 5 -------------------------------------------------------------------------------------------------------------------


def _attention(detector: Detector) -> Iterator[str]:
    patient, film = person(BMI).patient.under(bmi=41.0), _film(BMI, bmi=41.0)
    found = analyzed(detector, film, patient.record())
    shown = panels.attention(found, detector)
    yield shown
    with MODEL.turn():
        explained = attribute(detector, detector.case(film, patient.record()), parts=False)
    top = max(explained.groups, key=lambda group: abs(explained.groups[group]))
    chart = figures.inline_svg(
        figures.attribution_bars(explained.groups), "Shapley values of the misfit by group of the record"
    )
    looked = ", ".join(max(weights, key=weights.get) for weights in found.attention.values())
    yield shown + (
        f'<div class="card columns"><div><h3>What changed the result</h3><p>The only thing unusual about this phantom is its BMI of 41. Attention '
        f"was highest on: {html.escape(looked.replace('_', ' '))}. The Shapley values put {html.escape(top)} first "
        f"({explained.groups[top]:+.1f}).</p><p>"
        "Attention is part of how the answer is made, whatever the film shows; it does not know the score. What a value changed is found by "
        "taking it away and looking again, which is what Shapley values do. On phantoms with one known cause the two were compared: see "
        f"docs/explanations.md.</p></div><div>{chart}</div></div>"
    )


# 6 -------------------------------------------------------------------------------------------------------------------


def _fails_shown(detector: Detector) -> str:
    return strip([Frame(_prepared(detector, _film(MISSED, "nodule")), "there is a nodule in this lung")])


def _fails(detector: Detector) -> Iterator[str]:
    who, shown = person(MISSED, "nodule"), ""
    diseased = who.diseased(SIDE)
    for name, pixels in (("With the nodule", diseased.film), ("The same lung without it", who.healthy.film(SIDE))):
        found = analyzed(detector, Radiograph(pixels), who.patient.record())
        shown += _card(name, wording.score_sentence(found), _triptych(found, detector))
        yield shown
        if pixels is diseased.film:
            with_nodule = found.percentile or 0
    seen = "would have been called unusual" if with_nodule >= 95 else "would have been called normal"
    moved = with_nodule - (found.percentile or 0)
    yield shown + _card(
        "The answer",
        f"By a limit at percentile 95 the film with the nodule {seen}; the nodule moves the percentile by {moved:+.0f} points. "
        f"It covers {diseased.mask.mean():.1%} of the picture. A score over the whole film averages what is small away, and reconstruction errors of "
        "ribs and vessels are as large as it. Absence of color is no proof of health.",
    )


LESSONS = (
    Lesson(
        "Is this heart too large? Depends for whom",
        "This phantom's heart is wide. Its record may say a pressure of **188/104** or of **115/74** mmHg. Under which record is it unusual?",
        ("188/104 mmHg", "115/74 mmHg", "Under both alike", "Under neither"),
        _heart_shown,
        _heart,
    ),
    Lesson(
        "What BMI does to a chest film",
        "The same person gains weight, from BMI **22** to **38**. What changes most in the film?",
        (
            "The heart doubles",
            "Soft tissue brightens and the diaphragm rises",
            "The lungs grow",
            "Nothing that can be seen",
        ),
        _bmi_shown,
        _bmi,
    ),
    Lesson(
        "AP or PA?",
        "Was this film taken standing, from behind (PA), or lying, from the front (AP)? And would the model notice if the record were wrong?",
        ("AP, and it notices", "AP, and it does not notice", "PA, and it notices", "PA, and it does not notice"),
        _view_shown,
        _view,
    ),
    Lesson(
        "What the model does without the record",
        "A healthy person with BMI **41**. What happens if the model is told nothing about them?",
        ("The film looks more unusual", "The film looks less unusual", "Nothing changes"),
        _without_shown,
        _without,
    ),
    Lesson(
        "Attention is not explanation",
        "The same person, everything told. The network has *attention* over the record. Does the highest attention show what made the result?",
        ("Yes, it lies on BMI", "No, it lies elsewhere", "It cannot be said"),
        _without_shown,
        _attention,
    ),
    Lesson(
        "When it fails",
        "This film has a nodule. Will the model call the film unusual (above 95 % of normal films)?",
        ("Yes", "No"),
        _fails_shown,
        _fails,
    ),
)
