"""Detection, localization and counterfactuals on phantoms that training never saw, compared with the known truth."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch

from ..data.phantom import KINDS, SEEDS, Patient, Person, make_person
from ..detector import Detector
from ..ehr import Record
from ..explain.counterfactual import COUNTERFACTUAL_LEVEL, COUNTERFACTUAL_STEPS, reconstruct_counterfactuals
from ..imaging import Radiograph, prepare_mask
from .metrics import (
    auroc_within_view,
    average_precision,
    bootstrap_interval,
    make_mean,
    number_strata,
    paired_difference,
)
from .phantom_numbers import get_first_number
from .twins import TwinDistance, measure_twin_distance, summarize_twins

RECORDS = ("true", "unknown", "shuffled")
KIND_STRIDE = 10_000  # numbers from one kind's first phantom to the next's
Report = Callable[[str, int, int], None]

# a feature's other value, on the far side of the population's middle; each is the control of the one before
CHANGES: dict[str, Callable[[Patient], dict]] = {
    "bmi": lambda patient: {"bmi": 21.0 if patient.bmi > 28 else 37.0},
    "sex": lambda patient: {"sex": "F" if patient.sex == "M" else "M"},
    "systolic_mmhg": lambda patient: {
        "systolic_mmhg": 105.0 if patient.systolic_mmhg > 130 else 170.0,
        "diastolic_mmhg": 75.0,
    },
    "view": lambda patient: {"view": "PA" if patient.view == "AP" else "AP"},
    "age": lambda patient: {"age": 25.0 if patient.age > 52 else 80.0},
}


@dataclass(frozen=True)
class PhantomResult:
    """One phantom analyzed under one record.

    heat: |heat map|. mask: the true one. Both (S, S) in the prepared film's frame, None for normals. twin: how far the
    pseudo-healthy film lies from the person's film without the lesion; None for normals.
    """

    score: float
    heat: np.ndarray | None
    mask: np.ndarray | None
    twin: TwinDistance | None = None


@dataclass(frozen=True, eq=False)
class _PhantomFilm:
    """A phantom's film (H, W); with a lesion also its twin without, and the lesion's mask on both frames."""

    film: Radiograph
    twin: np.ndarray | None = None
    mask: np.ndarray | None = None
    prepared_mask: np.ndarray | None = None


def draw_cohort(normals: int, each: int, split: str = "test") -> list[Person]:
    """Return `normals` people without a lesion, then `each` of every kind of lesion; no number is used twice.

    Raises ValueError for a count that is not from 1 to `KIND_STRIDE`.
    """
    first = SEEDS[split][0]
    if not (1 <= normals <= KIND_STRIDE and 1 <= each <= KIND_STRIDE):
        raise ValueError(f"Give at least 1 and at most {KIND_STRIDE:,} normals, and as many of each kind.")
    people = [make_person(first + index) for index in range(normals)]
    return people + [
        make_person(first + KIND_STRIDE * (1 + place) + index, kind)
        for place, kind in enumerate(KINDS)
        for index in range(each)
    ]


def benchmark_phantoms(
    detector: Detector,
    out: str | Path,
    normals: int = 200,
    each: int = 50,
    people: int = 60,
    report: Report | None = None,
    split: str = "test",
) -> dict:
    """Measure a checkpoint on phantoms, write phantoms.json into `out` and return its content.

    Detection is measured under the true record, with all features unknown and with another patient's record.
    normals: number of phantoms without a lesion. each: number with each kind of lesion. people: normal phantoms whose
    counterfactuals are measured. report: called with (stage, done, total). split: see `phantom_numbers`. Raises
    ValueError for a count out of range.
    """
    report = report or (lambda stage, done, total: None)
    cohort = draw_cohort(normals, each, split)
    films = [_render(person, detector) for person in cohort]
    results = {}
    for kind in RECORDS:
        records = _select_cohort_records(detector, cohort, kind)
        progress = partial(_report_record, report, kind, len(cohort))
        results[kind] = list(_measure(detector, cohort, films, records, progress))
    labels = np.array([person.lesion.kind if person.lesion else "normal" for person in cohort])
    views = np.array([person.patient.view for person in cohort])
    result = {
        "checkpoint": detector.config.name,
        "weights_sha256": detector.checkpoint.sha256,
        "split": split,
        "first_number": SEEDS[split][0],
        "normals": normals,
        "each": each,
        "detection": {kind: measure_detection(results[kind], labels, views) for kind in RECORDS},
        "gain": {other: measure_gain(results["true"], results[other], labels, views) for other in RECORDS[1:]},
        "localization": {kind: measure_localization(results[kind], labels) for kind in RECORDS},
        "twins": {kind: summarize_twins([entry.twin for entry in results[kind]], labels) for kind in RECORDS},
        "counterfactual": measure_counterfactual_fidelity(detector, people, split, report),
    }
    Path(out).mkdir(parents=True, exist_ok=True)
    (Path(out) / "phantoms.json").write_text(json.dumps(result, indent=1) + "\n")
    return result


def _render_normal(person: Person, size: int) -> Radiograph:
    return Radiograph(person.render(size))


def _render(person: Person, detector: Detector) -> _PhantomFilm:
    size = detector.config.network.image_size
    if person.lesion is None:
        return _PhantomFilm(_render_normal(person, size))
    drawing = person.render_with_lesion(size)
    film = Radiograph(drawing.film)
    mask = prepare_mask(drawing.mask, film, detector.config.preprocessing)
    return _PhantomFilm(film, person.healthy.render(size), drawing.mask, mask)


def _select_cohort_records(detector: Detector, cohort: Sequence[Person], kind: str) -> list[Record]:
    """Return the records of a cohort, by one of RECORDS."""
    return select_records(
        [detector.schema.parse(person.patient.to_record()) for person in cohort], detector.schema.parse({}), kind
    )


def select_records(own: Sequence[Record], unknown: Record, kind: str) -> list[Record]:
    """Return the records that the model receives. kind: one of RECORDS.

    own: the true records. unknown: a record without values. "shuffled" gives each film the record of another film (a
    fixed derangement).
    """
    if kind == "true":
        return list(own)
    if kind == "unknown":
        return [unknown] * len(own)
    order = np.random.default_rng(0).permutation(len(own))
    strangers: list[Record] = [{}] * len(own)
    for place, following in zip(order, np.roll(order, 1), strict=True):
        strangers[place] = own[following]
    return strangers


def _measure(
    detector: Detector,
    cohort: Sequence[Person],
    films: Sequence[_PhantomFilm],
    records: Sequence[Record],
    report: Callable[[int], None],
    batch: int = 16,
) -> Iterator[PhantomResult]:
    cases = (detector.case(entry.film, record) for entry, record in zip(films, records, strict=True))
    for place, analysis in enumerate(detector.analyze_many(cases, batch_size=batch)):
        values = torch.tensor([value for _, value, _ in analysis.components])
        score = detector.scoring.score(values, cohort[place].patient.view)
        entry = films[place]
        heat = None if entry.mask is None else np.abs(analysis.heat_map)
        yield PhantomResult(score, heat, entry.prepared_mask, _measure_distance(entry, analysis.pseudo_healthy))
        report(place + 1)


def _measure_distance(entry: _PhantomFilm, pseudo_healthy: np.ndarray) -> TwinDistance | None:
    """Measure the distance from the healthy twin; None without a lesion, or for a mask that is empty or full."""
    if entry.twin is None or entry.mask is None or not entry.mask.any() or entry.mask.all():
        return None
    return measure_twin_distance(entry.film.pixels, pseudo_healthy, entry.twin, entry.mask)


def measure_detection(results: Sequence[PhantomResult], labels: np.ndarray, views: np.ndarray) -> dict:
    """Measure the within-view AUROC with a 95 % interval of each kind of lesion against the normals, and of all.

    Within view, because a score made without the record is not placed among normals of its own view, and that must not
    count against it.
    """
    scores, by_kind = np.array([entry.score for entry in results]), {}
    for kind, rows in _select_contrasts(labels).items():
        part, abnormal, view = scores[rows], labels[rows] != "normal", views[rows]

        def statistic(i: np.ndarray, part=part, abnormal=abnormal, view=view) -> float:
            return auroc_within_view(part[i], abnormal[i], view[i])

        by_kind[kind] = {
            "auroc": statistic(np.arange(len(part))),
            "interval": bootstrap_interval(statistic, number_strata(view, abnormal)),
        }
    return by_kind


def measure_gain(
    first: Sequence[PhantomResult], second: Sequence[PhantomResult], labels: np.ndarray, views: np.ndarray
) -> dict:
    """Subtract within-view AUROCs on the same films, first minus second, with a paired 95 % interval."""
    a, b = (np.array([entry.score for entry in results]) for results in (first, second))
    return {
        kind: paired_difference(a[rows], b[rows], labels[rows] != "normal", views[rows])
        for kind, rows in _select_contrasts(labels).items()
    }


def _select_contrasts(labels: np.ndarray) -> dict[str, np.ndarray]:
    """Return the rows of all films, and of the normals with each kind of lesion that is there: (N,) bool by name."""
    kinds = [kind for kind in KINDS if (labels == kind).any()]
    return {"all": np.ones(len(labels), dtype=bool)} | {kind: np.isin(labels, ("normal", kind)) for kind in kinds}


def _report_record(report: Report, kind: str, total: int, done: int) -> None:
    report(f"{kind} record", done, total)


def measure_localization(results: Sequence[PhantomResult], labels: np.ndarray) -> dict:
    """Measure the localization by pixels: average precision of |heat map|, and Dice at the best common threshold."""
    pictures = {
        index: (entry.heat, entry.mask)
        for index, entry in enumerate(results)
        if entry.heat is not None and entry.mask is not None and entry.mask.any()
    }
    rows = list(pictures)
    precision = {index: average_precision(heat.ravel(), mask.ravel()) for index, (heat, mask) in pictures.items()}
    places = {"all": list(range(len(rows)))} | {
        kind: [place for place, i in enumerate(rows) if labels[i] == kind] for kind in KINDS
    }
    places = {kind: indices for kind, indices in places.items() if indices}
    mean_precision = {
        kind: float(np.mean([precision[rows[place]] for place in indices])) for kind, indices in places.items()
    }
    thresholds = np.quantile(
        np.concatenate([heat.ravel()[::7] for heat, _ in pictures.values()]), np.linspace(0.5, 0.999, 60)
    )
    dice = np.array(
        [[_compute_dice(heat > threshold, mask) for heat, mask in pictures.values()] for threshold in thresholds]
    )
    best = int(dice.mean(1).argmax())
    by_kind = {kind: float(dice[best, indices].mean()) for kind, indices in places.items()}
    chance = float(np.mean([mask.mean() for _, mask in pictures.values()]))
    return {
        "average_precision": mean_precision,
        "best_dice": by_kind,
        "threshold": float(thresholds[best]),
        "share_of_pixels": chance,
    }


def _compute_dice(mask: np.ndarray, truth: np.ndarray) -> float:
    return 2 * float((mask & truth).sum()) / max(float(mask.sum() + truth.sum()), 1.0)


def measure_counterfactual_fidelity(
    detector: Detector,
    people: int,
    split: str,
    report: Report,
    level: int = COUNTERFACTUAL_LEVEL,
    steps: int = COUNTERFACTUAL_STEPS,
    batch: int = 4,
) -> dict:
    """Correlate, over pixels, the model's difference under a changed record with the phantom's own.

    Returns means over people by feature, and as "control" the same against the true difference of another feature's
    change in the same person; as "control_truth" what a perfect model would have there, the correlation of the two true
    differences.
    """
    size, first = detector.config.network.image_size, get_first_number(split, "counterfactuals")
    names, correlations, controls, perfect = list(CHANGES), [], [], []
    for start in range(0, people, batch):
        part = [make_person(first + index) for index in range(start, min(start + batch, people))]
        x0 = detector.inputs([detector.case(_render_normal(person, size)) for person in part])
        variants = [[person.patient.with_values(**CHANGES[name](person.patient)) for name in names] for person in part]
        records = [detector.schema.parse(person.patient.to_record()) for person in part]
        others = [[detector.schema.parse(patient.to_record()) for patient in row] for row in variants]
        films = reconstruct_counterfactuals(detector, x0, records, others, level, steps)[:, :, 0].float().cpu().numpy()
        for person, row, own, drawings in zip(part, variants, x0[:, 0].cpu().numpy(), films, strict=True):
            truth = [detector.case(Radiograph(person.render(size, patient))).x0 - own for patient in row]
            model = drawings[1:] - drawings[0]
            correlations.append([_correlate(a, b) for a, b in zip(model, truth, strict=True)])
            others_truth = [*truth[1:], truth[0]]
            controls.append([_correlate(a, b) for a, b in zip(model, others_truth, strict=True)])
            perfect.append([_correlate(a, b) for a, b in zip(truth, others_truth, strict=True)])
        report("counterfactuals", min(start + batch, people), people)
    rows = np.zeros(len(correlations))
    result: dict = {"people": people, "noise_level": level, "steps": steps, "features": {}}
    for place, name in enumerate(names):
        values, control = (np.array(table)[:, place] for table in (correlations, controls))
        result["features"][name] = {
            "correlation": float(values.mean()),
            "interval": bootstrap_interval(make_mean(values), rows),
            "control": float(control.mean()),
            "control_truth": float(np.mean(perfect, axis=0)[place]),
            "control_interval": bootstrap_interval(make_mean(control), rows),
        }
    return result


def _correlate(a: np.ndarray, b: np.ndarray) -> float:
    a, b = a - a.mean(), b - b.mean()
    return float((a * b).sum() / max(np.sqrt((a**2).sum() * (b**2).sum()), 1e-12))
