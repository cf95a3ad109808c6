"""The phantom simulator: what the record does is measured in the pictures, not read from parameters."""

import itertools
from dataclasses import replace

import cv2
import numpy as np
import pandas as pd
import pytest

from diff3m.cli.main import main
from diff3m.data.manifest import read_manifest
from diff3m.data.phantom import KINDS, SEEDS, Patient, make_person, render, render_with_lesion, write_cohort
from diff3m.data.phantom.lesion import RANGES, draw_lesion
from diff3m.data.phantom.render import compute_dome
from diff3m.ehr import EHRError, paper_schema

AVERAGE = Patient(50.0, "M", "PA", 25.0, 120.0, 75.0, 175.0, 25.0 * 1.75**2)


def plain(anatomy):
    """Nothing in front of the borders that are measured, and no tilt."""
    return replace(anatomy, noise=0.0, devices=(), marker=None, collimation=(0, 0, 0, 0), rotation=0.0)


def borders(anatomy, size: int = 512) -> tuple[float, float]:
    """(width of the heart, inner width of the rib cage) in cm.

    Measured at the steepest changes of grey along the film's rows.
    """
    film = cv2.GaussianBlur(render(plain(anatomy), size), (0, 0), 2.5, sigmaY=5)
    pixel, half = anatomy.field_cm / size, anatomy.thorax_width / 2
    slope = np.gradient(film, axis=1)
    x = (np.arange(size) + 0.5) * pixel - anatomy.center_x

    def place(row: np.ndarray, low: float, high: float) -> float:
        window = np.flatnonzero((x > low) & (x < high))
        return float(x[window[np.argmax(row[window])]])

    def row_at(y: float) -> int:
        return int((y + anatomy.apex_y) / pixel)

    lowest = float(min(compute_dome(anatomy, np.array(3.0), -1), compute_dome(anatomy, np.array(3.0), 1))) - 0.8
    rows = range(row_at(0.55 * anatomy.thorax_length), row_at(lowest))
    right = max(np.percentile([place(-slope[row], 2.8, 0.93 * half) for row in rows], [90]))
    left = min(np.percentile([place(slope[row], -0.75 * half, -1.9) for row in rows], [10]))
    chest = [
        row
        for row in range(
            row_at(0.82 * anatomy.thorax_length), row_at(float(compute_dome(anatomy, np.array(0.97 * half), -1)) - 1.5)
        )
    ]
    inner = np.median(
        [place(slope[row], 0.9 * half, 1.08 * half) - place(-slope[row], -1.08 * half, -0.9 * half) for row in chest]
    )
    return float(right - left), float(inner)


def rim(anatomy, size: int = 256) -> float:
    """Soft tissue outside the rib cage at its widest, cm: from the skin, where the film leaves the black."""
    pixel = anatomy.field_cm / size
    film = render(
        plain(replace(anatomy, exposure=0.0, field_cm=2 * anatomy.field_cm, center_x=2 * anatomy.center_x)), size
    )
    row = film[int((0.95 * anatomy.thorax_length + anatomy.apex_y) / (2 * pixel))]
    middle = int(anatomy.center_x / pixel)
    below = np.flatnonzero(row[middle:] < 0.08)
    return float(below[0] * 2 * pixel - anatomy.thorax_width / 2)


@pytest.mark.parametrize("number", range(12))
def test_the_cardiothoracic_ratio_is_in_the_picture(number):
    anatomy = make_person(number).draw_anatomy()
    heart, chest = borders(anatomy)
    assert heart / chest == pytest.approx(anatomy.ctr, rel=0.02), (
        heart,
        chest,
        anatomy.ctr * anatomy.thorax_width,
        anatomy.thorax_width,
    )


def test_blood_pressure_widens_the_heart_in_the_picture_by_what_the_equation_says():
    who = make_person(SEEDS["dev"][0])
    low, high = (who.draw_anatomy(AVERAGE.with_values(systolic_mmhg=mmhg)) for mmhg in (110.0, 170.0))
    ratios = [heart / chest for heart, chest in map(borders, (low, high))]
    assert ratios[1] - ratios[0] == pytest.approx(60 * 0.0015, abs=0.012)


def test_the_soft_tissue_rim_grows_with_bmi():
    who = make_person(SEEDS["dev"][0] + 1)
    rims = [rim(who.draw_anatomy(AVERAGE.with_values(bmi=bmi))) for bmi in (19.0, 27.0, 35.0, 43.0)]
    assert all(later - earlier > 0.5 for earlier, later in itertools.pairwise(rims)), rims


def test_hearts_are_larger_on_ap_films():
    for number in range(4):
        pa, ap = (borders(make_person(number).draw_anatomy(AVERAGE.with_values(view=view))) for view in ("PA", "AP"))
        assert ap[0] / ap[1] > pa[0] / pa[1] + 0.03


def test_the_diaphragm_rises_with_bmi_and_the_bones_stay():
    who = make_person(7)
    slim, heavy = (plain(who.draw_anatomy(AVERAGE.with_values(bmi=bmi))) for bmi in (20.0, 40.0))
    column = 0.5 * slim.thorax_width / 2

    def diaphragm(anatomy) -> float:
        film = cv2.GaussianBlur(render(anatomy, 512), (0, 0), 3)
        pixel = anatomy.field_cm / 512
        rows = slice(
            int((0.6 * anatomy.thorax_length + anatomy.apex_y) / pixel),
            int((anatomy.thorax_length + 4 + anatomy.apex_y) / pixel),
        )
        steepest = np.argmax(np.gradient(film[rows, int((anatomy.center_x - column) / pixel)]))
        return (rows.start + steepest) * pixel

    assert diaphragm(slim) - diaphragm(heavy) == pytest.approx(slim.lung_length - heavy.lung_length, abs=0.5)
    assert slim.thorax_length == heavy.thorax_length and slim.field_cm == heavy.field_cm


def test_same_number_same_film_and_another_record_is_the_same_person():
    first, again, other = make_person(11), make_person(11), make_person(12)
    assert first == again and np.array_equal(first.render(128), again.render(128))
    assert not np.array_equal(first.render(128), other.render(128))
    older = first.patient.with_values(age=first.patient.age + 20)
    difference = np.abs(first.render(128, older) - first.render(128))
    assert 0 < difference.mean() < 0.25 * np.abs(first.render(128) - other.render(128)).mean()
    assert np.array_equal(first.render(128, first.patient.with_values()), first.render(128))


def test_bmi_height_and_weight_stay_consistent():
    for number in range(200):
        patient = make_person(number).patient
        paper_schema().parse(patient.to_record())  # raises where the record contradicts itself
        assert patient.with_values(bmi=31.0).weight_kg == pytest.approx(31.0 * (patient.height_cm / 100) ** 2)
        assert patient.with_values(weight_kg=70.0).bmi == pytest.approx(70.0 / (patient.height_cm / 100) ** 2)


def test_the_population_is_that_of_the_survey():
    patients = [make_person(number).patient for number in range(3000)]
    frame = pd.DataFrame([vars(patient) for patient in patients])
    men, women = frame[frame["sex"] == "M"], frame[frame["sex"] == "F"]
    assert abs(len(men) / len(frame) - 0.5) < 0.03 and abs((frame["view"] == "AP").mean() - 0.35) < 0.03
    assert men["height_cm"].mean() == pytest.approx(175.3, abs=0.6) and women["height_cm"].mean() == pytest.approx(
        161.3, abs=0.6
    )
    assert 28.3 < frame["bmi"].mean() < 30.5 and 120 < frame["systolic_mmhg"].mean() < 127
    assert frame["systolic_mmhg"].corr(frame["age"]) > 0.4 and frame["systolic_mmhg"].corr(frame["bmi"]) > 0.1


@pytest.mark.parametrize("kind", KINDS)
def test_the_mask_covers_the_change_that_a_lesion_made(kind):
    shares = []
    for number in range(6):
        who = make_person(SEEDS["dev"][0] + number, kind)
        lesion_film = who.render_with_lesion(128)
        change = (lesion_film.film - make_person(SEEDS["dev"][0] + number).render(128)) ** 2
        assert lesion_film.mask.any() and lesion_film.mask.mean() < 0.35
        wide_mask = cv2.dilate(lesion_film.mask.astype(np.uint8), np.ones((5, 5), np.uint8)).astype(bool)
        shares.append(change[wide_mask].sum() / change.sum())
    assert np.median(shares) > 0.85, shares


def test_the_healthy_person_is_the_same_without_the_lesion():
    ill = make_person(7, "nodule")
    difference = np.abs(ill.render(128) - ill.healthy.render(128))
    mask = ill.render_with_lesion(128).mask
    assert ill.healthy == make_person(7) and difference[mask].mean() > 10 * difference[~mask].mean()


def test_a_barely_visible_lesion_changes_less_than_a_gross_one():
    for kind in KINDS:
        random_lesion = draw_lesion(kind, np.random.default_rng(3))
        (small, large), (faint, dense) = RANGES[kind]
        anatomy = make_person(21).draw_anatomy()
        changes = [
            np.abs(
                render_with_lesion(anatomy, replace(random_lesion, extent=extent, strength=strength), 128).film
                - render(anatomy, 128)
            ).sum()
            for extent, strength in ((small, faint), (large, dense))
        ]
        assert 0 < changes[0] < 0.6 * changes[1], kind
    with pytest.raises(ValueError, match="unknown lesion"):
        draw_lesion("gout", np.random.default_rng(0))


@pytest.mark.slow
def test_a_cohort_on_disk_is_the_same_as_in_memory(tmp_path, capsys):
    out = tmp_path / "cohort"
    command = [
        "phantom",
        "--n",
        "12",
        "--size",
        "64",
        "--seed",
        "40",
        "--lesions",
        "0.5",
        "--counterfactual",
        "bmi=40",
        "--out",
        str(out),
    ]
    assert main(command) == 0 and "normal phantoms" in capsys.readouterr().out
    table = pd.read_csv(out / "manifest.csv", keep_default_na=False)
    assert set(table["label"]) > {"normal"} and len(table) == 12
    assert (table["mask"] != "").tolist() == (table["label"] != "normal").tolist()
    for row in table.to_dict("records"):
        who = make_person(row["seed"], None if row["label"] == "normal" else row["label"])
        film = cv2.imread(str(out / row["path"]), cv2.IMREAD_UNCHANGED)
        if row["label"] == "normal":
            assert np.array_equal(film, np.round(who.render(64) * 255).astype(np.uint8))
        else:
            assert cv2.imread(str(out / row["mask"]), 0).any()
        assert not np.array_equal(film, cv2.imread(str(out / row["counterfactual"]), 0))
    assert table["patient"].tolist() == list(range(40, 52))
    cases = read_manifest(out / "manifest.csv", paper_schema())
    assert all(value is not None for case in cases for value in case.record.values())
    assert main(command) == 1 and "already holds a cohort" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        (["--n", "3", "--size", "20"], "size of 64 to 1024"),
        (["--n", "3", "--lesions", "2"], "share of lesions"),
        (["--n", "3", "--counterfactual", "bmi=400"], "not plausible"),
        (["--n", "3", "--counterfactual", "mood=good"], "no feature 'mood'"),
        (["--n", "3", "--counterfactual", "bmi"], "NAME=VALUE"),
    ],
)
def test_a_cohort_that_cannot_be_is_refused_with_a_sentence(wrong, sentence, tmp_path, capsys):
    assert main(["phantom", *wrong, "--out", str(tmp_path / "x")]) == 1
    error = capsys.readouterr().err
    assert sentence in error and "Traceback" not in error
    assert not (tmp_path / "x" / "manifest.csv").exists()


def test_another_record_of_a_cohort_is_checked_like_any_record(tmp_path):
    with pytest.raises(EHRError, match="no feature"):
        write_cohort(tmp_path / "x", 2, 64, 0, counterfactual={"shoe": 43})
