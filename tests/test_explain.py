"""Explanations: their arithmetic on a tiny network, and their truth on phantoms with the shipped one."""

import functools
import itertools
import json
import re
import shutil
from dataclasses import replace
from types import SimpleNamespace

import cv2
import numpy as np
import pandas as pd
import pytest
import torch

from app.components.film_edit import Handling
from app.explain_stream import Asked, explained, influence_choices
from app.render.explanation_cards import (
    agreement_sentence,
    attribution_sentence,
    fit_sentence,
    influence_card,
    movement_sentences,
    score_sentence,
    spread_card,
    unusual_sentence,
)
from app.tabs.explore_handlers import Case
from diff3m.checkpoint.folder import load_checkpoint
from diff3m.cli.main import main
from diff3m.data.manifest import ManifestError
from diff3m.data.phantom import SEEDS, person, write_cohort
from diff3m.data.phantom.cohort import ignored_value
from diff3m.detector import Detector
from diff3m.ehr import EHRError, paper_schema
from diff3m.evaluation import explanation_truth
from diff3m.evaluation.explanation_truth import extreme_patient, spearman
from diff3m.evaluation.oracle import GROUPS, Oracle, averages, implied, shapley
from diff3m.explain import (
    ExplanationError,
    attention_by_group,
    attribute,
    attribute_region,
    attribute_regions,
    attribute_target,
    attribution,
    calibrate_fit,
    calibrate_usual,
    coalitions,
    influence,
    information,
    integrated_gradients,
    other_record,
    record_fit,
    uncertainty,
)
from diff3m.explain.gradients import agreement
from diff3m.explain.record_fit import PRIOR_LEVEL, calibrated, deviations, misfit, movement, one_step, z_scores
from diff3m.imaging import Radiograph
from diff3m.scoring.record_fit import GroupFit, deviation

RECORD = {"age": 60, "sex": "F", "view": "AP", "bmi": 31, "height_cm": 165, "systolic_mmhg": 150, "diastolic_mmhg": 80}


@pytest.fixture(scope="module")
def fitted(tiny_checkpoint, tmp_path_factory) -> Detector:
    """The tiny checkpoint with a calibrated fit."""
    folder = tmp_path_factory.mktemp("fitted") / "tiny"
    shutil.copytree(tiny_checkpoint, folder)
    detector = Detector(load_checkpoint(folder), device="cpu", precision="float32")
    cases = [(person(number).film(64), person(number).patient.record()) for number in range(8)]
    calibrate_fit(detector, cases, {"habitus": 500})
    calibrate_usual(Detector(load_checkpoint(folder), device="cpu", precision="float32"), cases)
    return Detector(load_checkpoint(folder), device="cpu", precision="float32")


@pytest.fixture(scope="module")
def phantoms() -> Detector:
    return Detector.from_pretrained("phantoms", device="cpu")


def test_a_deviation_is_one_where_the_film_stands_at_the_high_end():
    low, high = torch.zeros(1, 1, 20, 20), torch.zeros(1, 1, 20, 20)
    high[..., 8:12, 8:12] = 0.5
    across = torch.zeros(1, 1, 20, 20)
    across[..., 3:6, 3:6] = 1
    along, relative = deviation(high, torch.cat([low, high, low + across]), low, high, 0.05)
    assert torch.allclose(
        relative, torch.tensor([1.0, 0.0, 1.0]), atol=1e-6
    )  # a change across the direction does not count
    assert torch.allclose(along, relative * (high - low).norm(), atol=1e-6)


def test_calibrated_normals_have_mean_zero_and_spread_one(fitted):
    cases = [(person(number).film(64), person(number).patient.record()) for number in range(8)]
    z = []
    for film, record in cases:
        z.append(
            z_scores(
                deviations(
                    fitted, fitted.prepared([fitted.film(film)]), [fitted.schema.parse(record)], fitted.config.fit
                )[0][0],
                fitted.config.fit,
            )
        )
    assert np.allclose(np.mean(z, 0), 0, atol=1e-6) and np.allclose(np.std(z, 0, ddof=1), 1, atol=1e-6)
    assert {entry.group: entry.level for entry in fitted.config.fit} == {
        "age": 350, "sex": 600, "view": 350, "habitus": 500, "blood pressure": 350,
    }  # fmt: skip


@pytest.mark.parametrize("target", ["misfit", "expectation", "prior", "score"])
def test_attributions_sum_to_the_whole_change(fitted, tmp_path, target, film_folder):
    detector = fitted
    if target == "score":
        from diff3m.evaluation.calibration import calibrate_on_normals

        detector = fitted.with_scoring(
            calibrate_on_normals(Detector(fitted.checkpoint, "cpu", "float32"), film_folder / "manifest.csv")
        )
    found = attribute(detector, person(3).film(64), RECORD, target=target)
    total = found.known - found.unknown
    assert abs(total) > 1e-3
    assert sum(found.groups.values()) == pytest.approx(total, rel=0.01) and sum(found.parts.values()) == pytest.approx(
        total, rel=0.01
    )
    assert set(found.groups) == set(GROUPS) and set(found.parts) == {
        "age",
        "sex",
        "view",
        "habitus",
        "systolic_mmhg",
        "diastolic_mmhg",
    }


def test_captum_and_the_definition_agree_and_ablation_is_a_difference(fitted):
    film, record = person(4).film(64), fitted.schema.parse(RECORD)
    found = attribute(fitted, film, RECORD, parts=False)
    x0, members = fitted.prepared([fitted.film(film)]), fitted.schema.explanation_groups
    values = {}
    for coalition in itertools.product((0, 1), repeat=5):
        kept = {
            feature.name
            for group, present in zip(GROUPS, coalition, strict=True)
            if present
            for feature in members[group]
        }
        alone = {name: value if name in kept else None for name, value in record.items()}
        values[coalition] = float(
            misfit(z_scores(deviations(fitted, x0, [alone], fitted.config.fit)[0], fitted.config.fit))[0]
        )
    assert np.allclose(list(found.groups.values()), shapley(values), rtol=1e-3, atol=1e-4)
    assert found.ablation["habitus"] == pytest.approx(values[1, 1, 1, 1, 1] - values[1, 1, 1, 0, 1], rel=1e-3)


def test_what_the_record_moves_is_a_distance_from_the_whole_record(fitted):
    """The film's own deviation counts for the misfit alone."""
    film = person(4).film(64)
    found = {}
    for target in ("misfit", "expectation", "prior"):
        found[target] = attribute_target(fitted, film, RECORD, target, found)
    misfit_of, expectation, prior = found.values()
    assert (
        expectation.known == prior.known == 0 and expectation.unknown > 0 and prior.unknown > 0 and misfit_of.known > 0
    )
    assert movement(np.array([[1.0, 2.0], [4.0, 6.0]]), np.array([4.0, 6.0])).tolist() == [25.0, 0.0]
    whole, nothing = fitted.schema.parse(RECORD), fitted.schema.parse({})
    x0, fits = fitted.prepared([fitted.film(film)]), fitted.config.prior_fit
    z = z_scores(deviations(fitted, x0, [nothing, whole], fits)[0], fits)
    assert prior.unknown == pytest.approx(float(np.square(z[0] - z[1]).sum()), rel=1e-3) and {
        entry.level for entry in fits
    } == {PRIOR_LEVEL}
    assert (
        expectation.table.keys() == misfit_of.table.keys() and prior.fits == () and expectation.fits == misfit_of.fits
    )
    with pytest.raises(ExplanationError, match="measured other things"):
        attribute(fitted, film, RECORD, "prior", before=misfit_of)
    with pytest.raises(ExplanationError, match="diff3m calibrate"):
        calibrated(Detector(replace(fitted.checkpoint, config=replace(fitted.config, prior_fit=())), "cpu"), prior=True)


def test_what_is_unusual_is_measured_against_normals_own_records(fitted):
    cases = [(person(number).film(64), person(number).patient.record()) for number in range(8)]
    sizes = np.abs(
        [list(attribute(fitted, film, record, "prior", parts=False).groups.values()) for film, record in cases]
    )
    rank = (sizes < sizes[3]).sum(0) / (len(cases) - 1)
    found = attribute(fitted, *cases[3], "prior", parts=False)
    assert list(found.unusual.values()) == pytest.approx(
        list(rank * 101 / 102), abs=0.05
    )  # eight people: steep between quantiles
    assert attribute(fitted, *cases[3], parts=False).unusual == {}
    plain = replace(fitted.config, prior_fit=tuple(replace(entry, usual=()) for entry in fitted.config.prior_fit))
    assert (
        attribute(Detector(replace(fitted.checkpoint, config=plain), "cpu"), *cases[3], "prior", parts=False).unusual
        == {}
    )
    moving = replace(found, unknown=4.0, unusual={"age": 0.4, "view": 0.97})
    said = unusual_sentence(moving)
    assert moving.stands_out == "view" and "view" in said and "in 97 of 100" in said
    assert "No part" in unusual_sentence(replace(moving, unusual={"age": 0.4}))
    assert "Nothing in this record stands out" in unusual_sentence(replace(moving, unknown=0.4)), (
        "what moves normal by next to nothing"
    )
    assert set(attribute(fitted, cases[3][0], {"age": 30}, "prior", parts=False).unusual) == {"age"}, (
        "what is unknown is not out of the ordinary"
    )


def test_what_is_usual_is_measured_on_people_of_whom_a_group_is_known(tiny_checkpoint, tmp_path):
    folder = tmp_path / "tiny"
    shutil.copytree(tiny_checkpoint, folder)
    cases = [(person(number).film(64), person(number).patient.record()) for number in range(6)]
    calibrate_fit(Detector(load_checkpoint(folder), "cpu", "float32"), cases)

    def usual(given) -> dict:
        calibrate_usual(Detector(load_checkpoint(folder), "cpu", "float32"), given)
        return {entry.group: entry.usual for entry in load_checkpoint(folder).config.prior_fit}

    whole = usual(cases[:3])["age"]
    assert usual([*cases[:3], *((film, {"view": "PA"}) for film, _ in cases[3:])])["age"] == whole, (
        "three more whose age is unknown"
    )
    assert usual([(film, {"age": 40 + number}) for number, (film, _) in enumerate(cases)])["habitus"] == ()


def test_the_share_below_rises_beyond_what_was_measured():
    entry = GroupFit("age", 850, 0.0, 1.0, 9, (0.0, 1.0, 3.0))
    shares = [entry.share_below(size) for size in (0.0, 0.5, 1.0, 2.0, 3.0, 3.001, 6.0, 300.0)]
    assert (
        shares == sorted(set(shares))
        and shares[0] == 0
        and shares[2] == pytest.approx(0.375)
        and shares[4] == 0.75
        and shares[-1] < 1
    )
    assert GroupFit.from_dict(entry.to_dict()) == entry
    assert GroupFit.from_dict({**entry.to_dict(), "usual": 0.7}).usual == ()  # the form of before
    with pytest.raises(ValueError, match="rising"):
        replace(entry, usual=(2.0, 1.0))


def test_groups_of_many_values_move_as_one(fitted):
    """Four vitals beside the eight features would make 1,024 coalitions and millions of orders."""
    vital = fitted.schema["systolic_mmhg"]
    more = tuple(replace(vital, name=f"vital_{number}", explanation_group="vitals") for number in range(4))
    wide = replace(fitted.schema, features=(*fitted.schema.features, *more))
    detector = SimpleNamespace(schema=wide)
    record = {**fitted.schema.parse(RECORD), **{feature.name: 1.0 for feature in more}}
    players = coalitions.players_of(detector, record, single=True)
    assert tuple(feature.name for feature in more) in players and ("systolic_mmhg",) in players and len(players) == 7
    single = tuple(replace(vital, name=f"lone_{number}", explanation_group=f"lone {number}") for number in range(3))
    many = SimpleNamespace(schema=replace(wide, features=(*wide.features, *single)), config=fitted.config)
    with pytest.raises(ExplanationError, match="8 parts"):
        coalitions.coalitions_of(
            many,
            {**record, **{feature.name: 1.0 for feature in single}, "systolic_mmhg": None, "diastolic_mmhg": None},
            single=False,
        )


def test_what_is_not_known_or_not_trained_explains_nothing(fitted, shipped):
    found = attribute(fitted, person(5).film(64), {"age": 60})
    assert found.groups["age"] == pytest.approx(found.known - found.unknown) and all(
        found.groups[name] == 0 for name in GROUPS[1:]
    )
    empty = attribute(fitted, person(5).film(64), {})
    assert set(empty.groups.values()) == {0.0} and empty.known == empty.unknown and empty.parts == {}
    real = attribute(shipped, person(5).film(128), RECORD, parts=False)
    assert set(real.groups) == {"age", "sex", "view"}  # BMI and pressure were never trained


def test_explanations_repeat_and_end_in_sentences_where_they_cannot_be_given(fitted, tiny_detector):
    film = person(6).film(64)
    once, again = (attribute(fitted, film, RECORD, parts=False) for _ in range(2))
    assert once == again and all(np.array_equal(once.table[known], again.table[known]) for known in once.table)
    assert [entry.z for entry in record_fit(fitted, film, RECORD)] == pytest.approx(
        [entry.z for entry in attribute(fitted, film, RECORD).fits], rel=1e-3
    )
    with pytest.raises(ExplanationError, match="diff3m calibrate"):
        attribute(tiny_detector, film, RECORD)
    with pytest.raises(ExplanationError, match="no score to explain"):
        attribute(tiny_detector, film, RECORD, target="score")
    with pytest.raises(ExplanationError, match="target must be"):
        attribute(fitted, film, RECORD, target="luck")
    with pytest.raises(ExplanationError, match="needs a number"):
        influence(fitted, film, RECORD, "sex")
    with pytest.raises(ExplanationError, match="at least two"):
        calibrate_fit(fitted, [(film, RECORD)])
    with pytest.raises(ValueError, match="std positive"):
        GroupFit("age", 350, 0.0, 0.0, 3)


def test_an_influence_curve_passes_through_the_record_and_marks_what_was_trained(fitted):
    film = person(7).film(64)
    curve = influence(fitted, film, {**RECORD, "diastolic_mmhg": 60}, "systolic_mmhg", points=5)
    assert curve.values[0] < curve.trained[0] < curve.trained[1] < curve.values[-1] and curve.own == 150
    assert curve.reconstructions.shape == (5, 32, 32) and np.abs(np.diff(curve.reconstructions, axis=0)).max() > 0
    extreme = influence(fitted, film, {**RECORD, "systolic_mmhg": 220}, "systolic_mmhg", points=3, strip=False)
    assert extreme.values[-1] == 220 and extreme.reconstructions is None
    assert extreme.misfit[-1] == pytest.approx(
        attribute(fitted, film, {**RECORD, "systolic_mmhg": 220}).known, rel=1e-3
    )


def test_habitus_stays_consistent_when_one_of_three_changes():
    schema = paper_schema()
    record = schema.parse({"height_cm": 170, "weight_kg": 80})
    for name, value in (("bmi", 40.0), ("height_cm", 190.0), ("weight_kg", 60.0)):
        changed = schema.changed(record, name, value)
        assert changed[name] == value and changed["bmi"] == pytest.approx(
            changed["weight_kg"] / (changed["height_cm"] / 100) ** 2
        )
    without_height = schema.parse({"bmi": 30, "weight_kg": 90})
    assert schema.changed(without_height, "weight_kg", 45.0)["bmi"] == pytest.approx(15) and schema.changed(
        {"weight_kg": 90.0}, "weight_kg", 45.0
    )
    assert schema.changed(schema.parse({"bmi": 30}), "weight_kg", 45.0)["bmi"] == 30, (
        "nothing says what BMI would follow from"
    )
    low, high = schema.ends("habitus")
    assert low["bmi"] < high["bmi"] and low["height_cm"] is None and low["age"] is None
    assert schema.ends("sex") == (
        {**dict.fromkeys(schema.names), "sex": "F"},
        {**dict.fromkeys(schema.names), "sex": "M"},
    )


def test_information_sums_over_pixels_and_is_nothing_without_a_record(fitted):
    found = information(fitted, person(8).film(64), RECORD)
    assert found.map.shape == (32, 32) and found.map.sum() == pytest.approx(found.bits, rel=1e-3, abs=1e-3)
    assert set(found.groups) == set(GROUPS) and found.bits != 0
    nothing = information(fitted, person(8).film(64), {})
    assert nothing.bits == 0 and nothing.groups == {}


def test_a_region_is_attributed_whole_and_found_where_the_film_differs(fitted):
    film = person(8).film(64)
    film[40:46, 20:26] = 1.0
    found = attribute_region(fitted, film, RECORD)
    assert sum(found.groups.values()) == pytest.approx(found.known - found.unknown, abs=1e-6)
    chosen = attribute_region(fitted, film, RECORD, box=(0.0, 0.0, 1.0, 1.0))
    x0 = fitted.prepared([fitted.film(film)])
    whole = one_step(fitted, x0, [fitted.schema.parse(RECORD)], 350)
    assert chosen.known == pytest.approx(float((x0 - whole).mean()), abs=1e-5)
    with pytest.raises(ExplanationError, match="region is empty"):
        attribute_region(fitted, film, RECORD, box=(0.5, 0.5, 0.5, 0.9))


def test_uncertainty_is_over_levels_and_seeds(shipped, phantoms, tiny_detector):
    who = person(13)
    found = uncertainty(phantoms, who.film(128), who.patient.record())
    assert set(found.by_level) == {60, 100, 200} and set(found.by_seed) == {0, 1, 2} and found.heat_spread.max() > 0
    assert "Largest z-score" in spread_card(found, phantoms.scoring, 1.0) and "Mean z-score" in spread_card(
        found, shipped.scoring, 1.0
    )
    real = uncertainty(shipped, who.film(128), {"view": "PA"})
    assert (
        len(set(real.by_seed.values())) == 3 and set(real.by_level) == {30, 60, 400} and real.heat_spread.max() > 0
    )  # one-step estimates draw noise
    with pytest.raises(ExplanationError, match="no score"):
        uncertainty(tiny_detector, who.film(128), {})


def test_the_command_explains_and_writes_json(phantoms, tmp_path, capsys):
    cv2.imwrite(str(tmp_path / "film.png"), (person(9).film(128) * 255).astype(np.uint8))
    command = [
        "explain",
        str(tmp_path / "film.png"),
        "--checkpoint",
        "phantoms",
        "--age",
        "60",
        "--view",
        "PA",
        "--curve",
        "age",
    ]
    changes = ["--change", "view=AP", "--change", "age=30", "--change", "age=80"]
    assert main([*command, *changes, "--json", str(tmp_path / "out.json"), "--out", str(tmp_path / "pictures")]) == 0
    text, found = capsys.readouterr().out, json.loads((tmp_path / "out.json").read_text())
    assert (
        "bits" in text
        and "mean residual" in text
        and "z-score by noise level" in text
        and "misfit by age" in text
        and "film.png" not in json.dumps(found)
    )
    entry = found["attributions"]["misfit"]
    assert sum(entry["groups"].values()) == pytest.approx(entry["known"] - entry["unknown"], rel=0.01)
    assert (
        sum(found["attention"].values()) == pytest.approx(2, abs=1e-3) and len(found["influence"]["age"]["score"]) == 9
    )
    unknown, changed, *aged = found["other_records"]
    assert [other["record"]["age"] for other in aged] == [30, 80] and "(age=80)" in text
    assert (
        unknown["record"]["view"] is None and changed["record"]["view"] == "AP" and changed["mean_absolute_change"] > 0
    )
    assert "attention (where" in text and "(view=AP)" in text and "score by age" in text
    written = {path.stem for path in (tmp_path / "pictures").iterdir()}
    assert written >= {
        "information",
        "information_age",
        "residual",
        "heat_spread",
        "normal",
        "normal_record_unknown",
        "change_other_record_1",
    }
    strip = cv2.imread(str(tmp_path / "pictures" / "influence_age.png"), cv2.IMREAD_GRAYSCALE)
    assert strip.shape == (512, 9 * 512)


def test_a_checkpoint_that_cannot_give_one_explanation_still_gives_the_others(tiny_checkpoint, tmp_path, capsys):
    """Neither its fit nor its score has been calibrated; both are said, and nothing else is lost."""
    cv2.imwrite(str(tmp_path / "film.png"), (person(9).film(128) * 255).astype(np.uint8))
    command = [
        "explain",
        str(tmp_path / "film.png"),
        "--checkpoint",
        str(tiny_checkpoint),
        "--age",
        "60",
        "--json",
        str(tmp_path / "out.json"),
    ]
    assert main(command) == 1
    told = capsys.readouterr()
    assert "bits" in told.out and "mean residual" in told.out and "normal under another record" in told.out
    assert "diff3m calibrate` with --fit" in told.err and "gives no score" in told.err
    found = json.loads((tmp_path / "out.json").read_text())
    assert (
        found["attributions"] == {}
        and found["z_score_by_noise_level"] is None
        and found["information_bits"]["record"] is not None
    )
    for wrong, said in (
        ("--target=misfit,luck", "target must be"),
        ("--box=nan 0 1 1", "four numbers"),
        ("--curve=sex", "needs a number"),
    ):
        assert main([*command, *wrong.replace("=", " ").split()]) == 1
        told = capsys.readouterr()
        assert said in told.err and "bits" not in told.out, "refused before anything is measured"
    assert main([*command, "--change", "age=60"]) == 1 and "what the record says already" in capsys.readouterr().err


def test_pressures_keep_their_order_along_a_curve(fitted):
    record = {"systolic_mmhg": 130, "diastolic_mmhg": 95}
    systolic, diastolic = (
        influence(fitted, person(3).film(64), record, name, 3, strip=False).values
        for name in ("systolic_mmhg", "diastolic_mmhg")
    )
    assert systolic.min() == 105 and diastolic.max() <= 120
    alone = influence(fitted, person(3).film(64), {"diastolic_mmhg": 178}, "systolic_mmhg", 3, strip=False)
    assert alone.values[0] >= 188 and (np.diff(alone.values) > 0).all(), (
        "above the diastolic value, although no patient of training was there"
    )
    assert "far from those of training" in influence_card(alone, fitted.schema["systolic_mmhg"], 1.0)


@pytest.mark.parametrize("group", ["view", "habitus", "blood pressure"])
def test_the_extreme_group_is_what_explains_a_normal_phantom(phantoms, group):
    """Shares of 100 films are in docs/explanations.md; here four of "dev", to catch a broken one."""
    hits = 0
    for number in range(SEEDS["dev"][0] + 65_000, SEEDS["dev"][0] + 65_004):
        patient = extreme_patient(group, np.random.default_rng([number, 4]))
        groups = attribute(
            phantoms, Radiograph(person(number).film(128, patient)), patient.record(), parts=False
        ).groups
        hits += max(groups, key=lambda name: abs(groups[name])) == group
    assert hits >= 3


def test_the_oracle_infers_what_is_unknown_from_what_is_known():
    """Against people drawn from the population: those alike in what is known, and the mean of what is not."""
    crowd = [person(number).patient for number in range(40_000)]
    asked = replace(person(3).patient, sex="M", age=75.0).under(
        systolic_mmhg=150.0, diastolic_mmhg=80.0, bmi=30.0, height_cm=178.0
    )
    alike = [
        p for p in crowd if abs(p.systolic_mmhg - 150) < 4 and abs(p.diastolic_mmhg - 80) < 4 and abs(p.bmi - 30) < 3
    ]
    (guess, share), *others = implied(asked, ["age", "view"])
    assert (
        guess.age == pytest.approx(np.mean([p.age for p in alike]), abs=2)
        and guess.bmi == 30
        and share == pytest.approx(0.65)
    )
    assert [one.view for one, _ in others] == ["AP"]
    tall = [p.sex for p in crowd if abs(p.height_cm - 178) < 1 and abs(p.bmi - 30) < 3]
    by_sex = {one.sex: part for one, part in implied(asked, ["sex"])}
    assert by_sex["M"] == pytest.approx(tall.count("M") / len(tall), abs=0.04) and sum(
        by_sex.values()
    ) == pytest.approx(1)
    assert [share for _, share in averages(asked, ["sex"])] == [0.5, 0.5]
    young = [p for p in crowd if p.sex == "M" and abs(p.age - 25) < 2]
    (guess, _), *_ = implied(replace(asked, age=25.0), ["blood pressure", "habitus"])
    assert guess.systolic_mmhg == pytest.approx(np.mean([p.systolic_mmhg for p in young]), abs=1.5)
    assert guess.height_cm == pytest.approx(np.mean([p.height_cm for p in young]), abs=1)
    whole = list(implied(asked, []))
    assert len(whole) == 1 and whole[0][1] == 1 and whole[0][0].age == pytest.approx(75)


def test_a_wrong_pressure_moves_the_fit_toward_the_true_one(phantoms):
    who = person(SEEDS["dev"][0] + 66_000)
    film, patient = who.film(128, who.patient.under(systolic_mmhg=120.0, diastolic_mmhg=75.0)), who.patient
    fits = [
        {
            entry.group: entry
            for entry in record_fit(phantoms, film, patient.under(systolic_mmhg=value, diastolic_mmhg=75.0).record())
        }["blood pressure"]
        for value in (90.0, 120.0, 190.0)
    ]
    assert fits[0].z > fits[1].z > fits[2].z and fits[2].shift < 0 < fits[0].shift


def test_the_oracle_explains_an_extreme_by_its_own_group(phantoms):
    oracle = Oracle(phantoms, people=3)
    for group in ("habitus", "blood pressure"):
        patient = extreme_patient(group, np.random.default_rng(1))
        values = oracle.attribution(person(11), patient)
        assert min(values, key=values.get) == group
    patient = extreme_patient("blood pressure", np.random.default_rng(1))
    truth = oracle.curve(person(11), patient, "systolic_mmhg", [90.0, patient.systolic_mmhg, 200.0])
    assert truth[1] < 1e-9 < truth.max()
    assert spearman(np.array([1.0, 2, 3]), np.array([10.0, 20, 30])) == pytest.approx(1)
    weights = attention_by_group(phantoms, Radiograph(person(11).film(128)), phantoms.schema.parse(RECORD))
    assert sum(weights.values()) == pytest.approx(2, abs=1e-3)  # two attention groups, each summing to 1


def test_the_page_says_what_was_found_in_words(phantoms):
    film, record = Radiograph(person(12).film(128)), person(12).patient.record()
    asked = Asked("bmi", ("sex", "m"), (("Outlined region 1", (0.4, 0.4, 0.6, 0.6)),))
    steps = list(explained(phantoms, film, {**record, "sex": "F"}, asked, 1.0))
    assert len(steps) == 12 and steps[0][1] == "" and steps[-1][0] == ""
    last = re.sub('base64,[^"]*', "", steps[-1][1])
    titles = (
        "Does the film fit",
        "What the record explains",
        "What the record moves",
        "place that differs",
        "Where the record informs",
        "With and without the record",
    )
    titles += (
        "Under another record",
        "How sure is the score",
        "Influence of BMI",
        "The record and the score",
        "Do other methods agree?",
        "<b>Outlined region 1.</b>",
    )
    assert all(title in last for title in titles)
    assert "With Sex Male instead of Female" in last and "The anomaly score moves by" in last
    assert last.count("<img") == 2 + 4 + 4 + 9 + 1 and "None" not in last and "nan" not in last
    other = person(12).patient.under(view="AP", bmi=41.0)  # a record that moves what is expected
    seen = Radiograph(person(12).film(128, other)), other.record()
    prior, beside = (attribute(phantoms, *seen, target, parts=False) for target in ("prior", "expectation"))
    said = movement_sentences(prior, beside)
    assert (
        "Before" in last and min(prior.groups, key=prior.groups.get) in said[0] and f"{beside.unknown:.1f}" in said[1]
    )
    unknown = attribute(phantoms, film, {}, parts=False)
    nothing = attribute(phantoms, film, {}, "prior", parts=False)
    assert "next to nothing" in movement_sentences(nothing, nothing)[0]
    assert "No part of the record" in attribution_sentence(unknown)
    assert fit_sentence(unknown.fits[0], {}) == "Age: not in the record."
    scored = replace(unknown, known=1.5, unknown=0.5, groups={"age": 0.2, "view": 0.8})
    assert "+1.50 with the record and would be +0.50" in score_sentence(scored) and "view (+0.80)" in score_sentence(
        scored
    )
    assert "No part" in score_sentence(replace(scored, groups={"age": 0.04, "view": 0.05}))
    assert ("BMI", "bmi") in influence_choices(phantoms.schema)
    with pytest.raises(EHRError, match="give the other value of BMI"):
        next(explained(phantoms, film, record, Asked(change=("bmi", " ")), 1.0))


def test_what_cannot_be_explained_is_said_and_costs_nothing_else(fitted, tiny_detector):
    """`fitted` has a fit and no score; the tiny checkpoint has neither."""
    film, record = Radiograph(person(12).film(64)), person(12).patient.record()
    *_, (_, with_fit) = explained(fitted, film, record, Asked("age"), 1.0)
    assert (
        "Does the film fit" in with_fit and "Influence of Age" in with_fit and "How sure is the score" not in with_fit
    )
    *_, (_, without) = explained(tiny_detector, film, record, Asked("age"), 1.0)
    assert (
        without.count("diff3m calibrate` with --fit") == 1
        and "Where the record informs" in without
        and "With and without" in without
    )


def test_an_error_that_nobody_foresaw_leaves_what_was_explained(fitted, monkeypatch, tmp_path):
    def broken(*_):
        raise RuntimeError("out of memory")

    cv2.imwrite(str(tmp_path / "film.png"), (person(12).film(64) * 255).astype(np.uint8))
    monkeypatch.setattr("app.explain_stream.information", broken)
    case = Case(fitted, SimpleNamespace(record=lambda values: person(12).patient.record()), [])
    inputs = ((0.5, 0.5), 0.5, 0.02, "Size of the difference only", "Red and blue", True, 0.5, 1.0, 1.0, None, None, "")
    *_, last = case.explain(str(tmp_path / "film.png"), Handling(accepted=True), None, *inputs)
    assert "RuntimeError" in last[1] and "Does the film fit" in last[2]


def test_another_record_changes_what_hangs_on_it():
    schema = paper_schema()
    record = schema.parse({"height_cm": 170, "weight_kg": 80, "systolic_mmhg": 120, "diastolic_mmhg": 80})
    assert other_record(schema, record, "bmi", "35")["weight_kg"] == pytest.approx(35 * 1.7**2)
    assert other_record(schema, record, "sex", "Male")["sex"] == "M"
    with pytest.raises(EHRError, match="says already"):
        other_record(schema, record, "systolic_mmhg", "120")
    with pytest.raises(EHRError, match="diastolic"):
        other_record(schema, record, "systolic_mmhg", "70")


def test_integrated_gradients_sum_to_the_whole_change_and_follow_the_definition(fitted):
    film = person(4).film(64)
    found, shapley_values = (
        integrated_gradients(fitted, film, RECORD, steps=24),
        attribute(fitted, film, RECORD, parts=False),
    )
    whole = shapley_values.known - shapley_values.unknown
    assert (
        sum(found.groups.values()) == pytest.approx(whole, abs=0.02 * abs(whole) + 0.01)
        and abs(found.gap) < 0.02 * abs(whole) + 0.01
    )
    only = integrated_gradients(fitted, film, {"age": 60}, steps=4)
    assert all(only.groups[group] == 0 for group in GROUPS[1:]) and only.groups["age"] != 0
    coarse = integrated_gradients(fitted, film, RECORD, steps=2)
    assert abs(coarse.gap) >= abs(found.gap)  # more points, a smaller error


def test_agreement_is_judged_on_groups_that_matter():
    values = {"age": -5.0, "sex": 0.2, "view": 2.0}
    assert agreement(values, {"age": -3.0, "sex": -0.3, "view": 1.0}).whole  # sex is too small to count
    other = agreement(values, {"age": -1.0, "sex": 0.0, "view": 4.0})
    assert other.signs == 1 and other.order and not other.largest
    turned = agreement(values, {"age": 5.0, "sex": 0.2, "view": 2.0})
    assert turned.signs == 0.5 and not turned.order and not turned.whole
    nothing = agreement({"age": 0.1}, {"age": -0.1})
    assert nothing.whole and "nothing to compare" in agreement_sentence("integrated gradients", nothing)
    assert "50% of the signs" in agreement_sentence("integrated gradients", turned)
    assert agreement_sentence("leaving one group out", agreement(values, values)).startswith(
        "Leaving one group out agrees"
    )


def test_coalitions_that_were_asked_are_not_asked_again(fitted, monkeypatch):
    film, asked = person(4).film(64), []
    first = attribute(fitted, film, RECORD, parts=False)
    monkeypatch.setattr(
        attribution,
        "deviations",
        lambda d, x0, records, fits: asked.append(len(records)) or deviations(d, x0, records, fits),
    )
    second, whole = attribute(fitted, film, RECORD, before=first), attribute(fitted, film, RECORD)
    assert asked == [32, 64] and second.fits == first.fits
    assert list(second.parts.values()) == pytest.approx(list(whole.parts.values()), rel=1e-3, abs=1e-4)


def test_regions_share_their_estimates(fitted):
    film = person(8).film(64)
    boxes = [None, (0.0, 0.0, 1.0, 1.0), (0.2, 0.2, 0.4, 0.4)]
    together = attribute_regions(fitted, film, RECORD, boxes)
    assert [one.groups for one in together] == [attribute_region(fitted, film, RECORD, box=box).groups for box in boxes]


def test_an_influence_curve_follows_the_region_and_the_score(phantoms):
    who = person(14)
    record, box = who.patient.record(), (0.3, 0.3, 0.6, 0.6)
    curve = influence(phantoms, who.film(128), record, "bmi", points=3, strip=False, score=True, box=box)
    own = attribute_region(
        phantoms,
        who.film(128),
        {**phantoms.schema.changed(phantoms.schema.parse(record), "bmi", curve.values[1])},
        box=box,
    )
    assert curve.region[1] == pytest.approx(own.known, abs=1e-4) and curve.box == pytest.approx(box, abs=0.01)
    assert np.ptp(curve.region) > 0.001 and curve.score.shape == (3,) and np.isfinite(curve.score).all()


def test_the_benchmark_of_explanations_runs_from_the_command_line(fitted, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(explanation_truth, "Oracle", functools.partial(Oracle, people=2))
    monkeypatch.setattr(explanation_truth, "CURVES", ("age",))
    monkeypatch.setattr(explanation_truth, "EXTREME", ("view", "habitus"))
    command = ["benchmark", "explanations", "--checkpoint", str(fitted.checkpoint.folder), "--out", str(tmp_path)]
    assert main([*command, "--each", "1", "--with-oracle", "1"]) == 0
    found, cases = json.loads((tmp_path / "explanations.json").read_text()), pd.read_csv(tmp_path / "cases.csv")
    assert found["each"] == 1 and found["largest_efficiency_error"] < 1e-3 and "top-1" in capsys.readouterr().out
    for name in explanation_truth.METHODS:
        assert set(found[name]["top_1"]) == {"view", "habitus"}
        assert name == "unusual" or -1 <= found[name]["rank_correlation"]["extreme"]["value"] <= 1
    assert found["unusual"]["rank_correlation"] == {}, "each group has a scale of its own"
    assert all(
        found["said_to_stand_out"][group] <= found["unusual"]["top_1"][group]["share"] for group in ("view", "habitus")
    )
    assert found["oracle"]["rank_correlation"]["drawn"]["value"] == pytest.approx(1) and found["ignored"] is None
    assert found["oracle_averages"]["rank_correlation_averages"]["drawn"]["value"] == pytest.approx(1)
    assert set(cases["kind"]) == {"view", "habitus", "drawn"} and (cases["method"] == "oracle").sum() == 15
    assert (
        "integrated gradients |" in (tmp_path / "explanations.md").read_text()
        and (tmp_path / "explanations.svg").stat().st_size > 5000
    )


def test_the_benchmark_of_explanations_says_which_groups_a_checkpoint_lacks(tmp_path, capsys):
    assert main(["benchmark", "explanations", "--checkpoint", "real-films", "--out", str(tmp_path / "out")]) == 1
    assert "habitus, blood pressure" in capsys.readouterr().err and not (tmp_path / "out").exists()


def test_a_feature_that_nothing_depends_on_is_measured(fitted, tmp_path, monkeypatch):
    """That its attribution is small takes a trained network (docs/explanations.md); here, that it is measured as what it is."""
    monkeypatch.setattr(explanation_truth, "ignored_value", lambda number: 30.0 + number % 7)  # as an age
    found = explanation_truth.ignored_feature(fitted, "age", 3, "dev", lambda *heard: None)
    assert found["people"] == 3 and found["size"] > 0 and set(found["size_of_others"]) == set(GROUPS) - {"age"}
    table = write_cohort(tmp_path / "cohort", 3, 64, 5, ignored="lottery")
    assert table["lottery"].tolist() == [ignored_value(number) for number in (5, 6, 7)]
    with pytest.raises(ManifestError, match="name of its own"):
        write_cohort(tmp_path / "other", 3, 64, 5, ignored="bmi")
