"""The registry: whoever shows explanations, page, API, command line, export or benchmark, takes what it holds."""

import importlib.util
import json
import re
import sys
from dataclasses import replace

import cv2
import gradio as gr
import numpy as np
import pytest
from helpers import RECORD, ROOT

from app.components.film_edit import Corrections
from app.explain_stream import list_influence_choices, stream_cards
from app.render.cards import CARDS
from app.render.cards.misfit import attribution_sentence, fit_sentence
from app.render.cards.movement import expectation_sentence, prior_sentence
from app.render.cards.score import score_sentence
from app.runtime.runs import Runs
from app.tabs.explore_explain import ExploreHandlers
from app.tabs.explore_layout import build_model_select, build_screen
from app.tabs.open_films import open_film
from app.tabs.session import Session
from diff3m.cli.main import main
from diff3m.data.phantom import make_person
from diff3m.ehr import EHRError
from diff3m.explain import EXPLANATIONS, Context, Explanation, ExplanationError, Request, attribute, register, registry
from diff3m.explain.attribution import TARGETS
from diff3m.export.explanations import explanations_to_dict, write_explanation_pictures
from diff3m.imaging import Radiograph

PICTURES = {"information": 2, "record_unknown": 4, "record_changed": 4, "influence_strip": 9, "uncertainty": 1}
REQUEST = Request(targets=TARGETS, numbers=("bmi",), changes=(("sex", "m"),))


@pytest.fixture
def brightness(monkeypatch):
    """A further explanation, without a card."""
    monkeypatch.setattr(registry, "EXPLANATIONS", EXPLANATIONS)
    before = dict(EXPLANATIONS)
    explanation = register(
        Explanation(
            name="brightness",
            title="Mean of the film",
            progress="Averaging …",
            order=15,
            cost="low",
            explain=lambda context: float(context.case.x0.mean()),
            to_dict=lambda mean: {"mean": mean},
            describe=lambda mean: [f"mean {mean:.2f} & more"],
            pictures=lambda mean: {"brightness": registry.Picture(np.full((4, 4), mean))},
        )
    )
    yield explanation
    EXPLANATIONS.clear()
    EXPLANATIONS.update(before)


def test_every_explanation_has_a_card_and_says_what_it_is():
    assert set(CARDS) == set(EXPLANATIONS)
    orders = [explanation.order for explanation in EXPLANATIONS.values()]
    assert orders == sorted(orders) and len(set(orders)) == len(orders)
    for explanation in EXPLANATIONS.values():
        assert (
            explanation.title and explanation.progress.endswith(" …") and explanation.cost in ("low", "medium", "high")
        )


def test_a_registered_explanation_is_everywhere(brightness, tiny_checkpoint, tiny_detector, tmp_path, capsys):
    case = tiny_detector.case(make_person(3).render(64), RECORD)
    context = Context(tiny_detector, case)
    *_, (_, page) = stream_cards(context)
    assert "<summary>Mean of the film</summary>" in page and "&amp; more" in page
    assert "<h3>Mean of the film</h3>" not in page, "the fold's title is not said twice"
    assert explanations_to_dict(context)["explanations"]["brightness"] == {"mean": pytest.approx(case.x0.mean())}
    assert tmp_path / "brightness.png" in write_explanation_pictures(tmp_path, context)
    cv2.imwrite(str(tmp_path / "film.png"), (make_person(3).render(64) * 255).astype(np.uint8))
    assert main(["explain", str(tmp_path / "film.png"), "--checkpoint", str(tiny_checkpoint)]) == 1
    assert "& more" in capsys.readouterr().out
    with pytest.raises(ValueError, match="two explanations called"):
        register(brightness)


def test_the_cost_of_every_explanation_is_measured(brightness, tiny_detector, monkeypatch):
    spec = importlib.util.spec_from_file_location("explain_cost", ROOT / "benchmarks" / "explain_cost.py")
    benchmark = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, benchmark)
    spec.loader.exec_module(benchmark)
    for name in set(EXPLANATIONS) - {"brightness", "attention", "region", "uncertainty"}:
        monkeypatch.delitem(EXPLANATIONS, name)
    rows = benchmark.measure_costs(tiny_detector, 1)
    titles = [EXPLANATIONS[name].title for name in ("attention", "brightness", "region")]
    assert [row.title for row in rows] == ["analysis", *titles], "uncertainty needs a score"
    assert all(row.seconds > 0 for row in rows)


def test_results_are_shared_and_failures_are_said_once(tiny_detector):
    context = Context(tiny_detector, tiny_detector.case(make_person(3).render(64), RECORD))
    assert context.attempt("misfit") is None and context.attempt("expectation") is None
    assert len(context.failures) == 1 and "--fit" in context.failures[0]
    assert context.compute("region") is context.compute("region")
    assert list(context.collect_results()) == ["region"]


def test_a_wrong_request_is_refused_before_anything_is_computed(fitted_detector):
    case = fitted_detector.case(make_person(3).render(64), RECORD)
    wrong = {
        "target must be": Request(targets=("luck",)),
        "needs a number": Request(numbers=("sex",)),
        "four numbers": Request(box=(float("nan"), 0, 1, 1)),
        "region is empty": Request(regions=(("one", (0.5, 0.5, 0.5, 0.9)),)),
    }
    for sentence, request in wrong.items():
        with pytest.raises(ExplanationError, match=sentence):
            Context(fitted_detector, case, request)
    with pytest.raises(EHRError, match="give the other value of BMI"):
        Context(fitted_detector, case, Request(changes=(("bmi", " "),)))


def test_the_page_says_results_in_words(complete):
    patient = make_person(12).patient
    case = complete.case(Radiograph(make_person(12).render(128)), {**patient.to_record(), "sex": "F"})
    context = Context(complete, case, replace(REQUEST, regions=(("right mid zone", (0.4, 0.4, 0.6, 0.6)),)))
    steps = list(stream_cards(context))
    assert [name for name, _ in steps] == [*(entry.progress for entry in EXPLANATIONS.values()), ""]
    assert steps[0][1] == ""
    page = re.sub('base64,[^"]*', "", steps[-1][1])
    titles = (
        "Does the film fit",
        "What the record explains",
        "What the record moves",
        "and beside this film",
        "Where the record informs",
        "With and without the record",
        "Under another record",
        "How sure is the score",
        "Influence of BMI",
        "Normal along BMI",
        "The record and the score",
        "Do other methods agree?",
        "With the record, the right mid zone is",
    )
    assert [title for title in titles if title not in page] == []
    assert "With Sex Male instead of Female" in page and "The score moves by" in page
    assert "None" not in page and "nan" not in page
    images = {name: CARDS[name](context.results[name], context).count("<img") for name in PICTURES}
    assert images == PICTURES
    assert list(explanations_to_dict(context)["explanations"]) == list(EXPLANATIONS)
    assert ("BMI", "bmi") in list_influence_choices(complete.schema)


@pytest.mark.slow
def test_sentences_on_attributions(phantoms):
    other = make_person(12).patient.with_values(view="AP", bmi=41.0)  # a record that moves what is expected
    case = phantoms.case(Radiograph(make_person(12).render(128, other)), other.to_record())
    prior, expectation = (attribute(phantoms, case, target, parts=False) for target in ("prior", "expectation"))
    assert min(prior.groups, key=prior.groups.get) in prior_sentence(prior)
    assert f"{expectation.unknown:.1f}" in expectation_sentence(expectation, prior)
    still = replace(expectation, unknown=0.2)
    assert "the film shows the rest itself" in expectation_sentence(still, replace(prior, unknown=5.0))
    unknown = attribute(phantoms, phantoms.case(case.film), parts=False)
    nothing = attribute(phantoms, phantoms.case(case.film), "prior", parts=False)
    assert "next to nothing" in prior_sentence(nothing)
    assert "No part of the record" in attribution_sentence(unknown)
    assert fit_sentence(unknown.fits[0], {}) == "Age: not in the record."
    attribution = replace(unknown, known=1.5, unknown=0.5, groups={"age": 0.2, "view": 0.8})
    sentence = score_sentence(attribution)
    assert "+1.50 with the record and would be +0.50" in sentence and "view (+0.80)" in sentence
    assert "No part" in score_sentence(replace(attribution, groups={"age": 0.04, "view": 0.05}))


@pytest.mark.slow
def test_what_cannot_be_explained_is_said_and_costs_nothing_else(fitted_detector, tiny_detector):
    """`fitted_detector` has a fit and no score; the tiny checkpoint has neither."""
    film, record = Radiograph(make_person(12).render(64)), make_person(12).patient.to_record()
    request = Request(targets=TARGETS, numbers=("age",))
    *_, (_, page) = stream_cards(Context(fitted_detector, fitted_detector.case(film, record), request))
    assert "Does the film fit" in page and "Influence of Age" in page and "How sure is the score" not in page
    assert page.count("gives no score") == 1
    *_, (_, page) = stream_cards(Context(tiny_detector, tiny_detector.case(film, record), request))
    assert page.count("diff3m calibrate` with --fit") == 1
    assert "Where the record informs" in page and "With and without" in page


def test_an_unforeseen_error_leaves_what_was_explained(fitted_detector, monkeypatch, tmp_path):
    def broken(context):
        raise RuntimeError("out of memory")

    cv2.imwrite(str(tmp_path / "film.png"), (make_person(12).render(64) * 255).astype(np.uint8))
    monkeypatch.setitem(EXPLANATIONS, "information", replace(EXPLANATIONS["information"], explain=broken))
    with gr.Blocks():
        screen = build_screen([fitted_detector], {"tiny": []}, build_model_select([fitted_detector]))
    handlers = ExploreHandlers(screen)
    film, _ = open_film(str(tmp_path / "film.png"), Corrections(accepted=True), "film", fitted_detector)
    values = dict.fromkeys(screen.inputs | screen.questions, "")
    values |= {screen.session: Session("tiny", film), screen.model: "tiny", screen.runs: Runs()}
    values |= handlers.screen.parts["tiny"].form.fill({}, "")
    form = screen.parts["tiny"].form
    values |= {form.get_field(name): value for name, value in make_person(12).patient.to_record().items()}
    updates = list(handlers.explain(values))
    pages = [update[screen.explanation] for update in updates if screen.explanation in update]
    assert "RuntimeError" in updates[-1][screen.status] and screen.explanation not in updates[-1]
    assert "Does the film fit" in pages[-1]


def test_the_command_explains_and_writes_json(complete, tmp_path, capsys):
    cv2.imwrite(str(tmp_path / "film.png"), (make_person(9).render(128) * 255).astype(np.uint8))
    command = [
        "explain",
        str(tmp_path / "film.png"),
        "--checkpoint",
        str(complete.checkpoint.folder),
        "--age",
        "60",
        "--view",
        "PA",
    ]
    command += ["--curve", "age", "--change", "view=AP", "--change", "age=30", "--change", "age=80"]
    assert main([*command, "--json", str(tmp_path / "out.json"), "--out", str(tmp_path / "pictures")]) == 0
    text, values = capsys.readouterr().out, json.loads((tmp_path / "out.json").read_text())
    assert "film.png" not in json.dumps(values) and values["not_explained"] == []
    for words in (
        "bits",
        "mean residual",
        "z-score by noise level",
        "misfit by age",
        "score by age",
        "attention (where",
    ):
        assert words in text
    explanations = values["explanations"]
    misfit = explanations["misfit"]
    assert sum(misfit["groups"].values()) == pytest.approx(misfit["known"] - misfit["unknown"], rel=0.01)
    assert sum(explanations["attention"].values()) == pytest.approx(2, abs=1e-3)  # two attention groups
    assert len(explanations["influence"]["age"]["score"]) == 9
    assert explanations["record_unknown"]["record"]["view"] is None
    view_change, *age_changes = explanations["record_changed"]
    assert [other["record"]["age"] for other in age_changes] == [30, 80] and "(age=80)" in text and "(view=AP)" in text
    assert view_change["record"]["view"] == "AP" and view_change["mean_absolute_change"] > 0
    names = {path.stem for path in (tmp_path / "pictures").iterdir()}
    assert names >= {"information", "information_age", "residual", "heat_spread", "normal", "normal_record_unknown"}
    assert "change_other_record_1" in names
    strip = cv2.imread(str(tmp_path / "pictures" / "influence_age.png"), cv2.IMREAD_GRAYSCALE)
    assert strip.shape == (512, 9 * 512)


def test_a_checkpoint_that_cannot_give_one_explanation_still_gives_the_others(tiny_checkpoint, tmp_path, capsys):
    """Neither its fit nor its score is calibrated: the command names both and computes everything else."""
    cv2.imwrite(str(tmp_path / "film.png"), (make_person(9).render(128) * 255).astype(np.uint8))
    command = ["explain", str(tmp_path / "film.png"), "--checkpoint", str(tiny_checkpoint), "--age", "60"]
    assert main([*command, "--json", str(tmp_path / "out.json")]) == 1
    output = capsys.readouterr()
    assert "bits" in output.out and "mean residual" in output.out and "normal under another record" in output.out
    assert "diff3m calibrate` with --fit" in output.err and "gives no score" in output.err
    values = json.loads((tmp_path / "out.json").read_text())
    assert set(values["explanations"]) >= {"attention", "region", "information", "record_unknown"}
    assert len(values["not_explained"]) == 2
    for wrong, sentence in (
        ("--target misfit,luck", "target must be"),
        ("--box nan 0 1 1", "four numbers"),
        ("--curve sex", "needs a number"),
        ("--change age=60", "what the record says already"),
    ):
        assert main([*command, *wrong.split()]) == 1
        output = capsys.readouterr()
        assert sentence in output.err and "bits" not in output.out, "refused before anything is computed"
