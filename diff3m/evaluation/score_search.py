"""Choose a score for a checkpoint among candidates, on labelled films: half A of the patients chooses, half B reports.

The rule: highest mean, over the abnormal labels, of the within-view AUROC against normal films on half A; candidates
within `TIE` of the highest are tied, and of these the one with the fewest components is chosen. Half B is measured for
the choice alone, once, so that what it reports was not chosen on it.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from ..data.manifest import (
    NORMAL,
    Case,
    ManifestError,
    read_manifest,
    read_normal_cases,
    read_patients_by_row,
    read_table,
)
from ..detector import Detector
from ..scoring.calibrate import calibrate_views
from ..scoring.score import Scoring
from ..scoring.score_file import write_score
from .calibration import Measurements, check_count, check_scoring, measure_cases
from .format import format_interval, format_share, format_table
from .labelled_films import assign_half, check_held_out
from .metrics import auroc_within_view, detection_metrics

TIE = 0.005  # AUROC
CHOOSES, REPORTS = "A", "B"
Report = Callable[[str, int, int], None]  # stage, done, total


@dataclass(frozen=True)
class CandidateResult:
    """One candidate on half A. auroc: within view, by abnormal label."""

    name: str
    scoring: Scoring
    auroc: dict[str, float]

    @property
    def mean(self) -> float:
        """Mean of the AUROCs over labels."""
        return float(np.mean(list(self.auroc.values())))


@dataclass(frozen=True)
class SearchResult:
    """The result of a search.

    candidates: in the file's order. choice: by the rule. report: metrics of the choice on half B by label, see
    `detection_metrics`. films: measured in halves A and B. notes: sentences on what was left out.
    """

    candidates: tuple[CandidateResult, ...]
    choice: CandidateResult
    report: dict[str, dict]
    films: dict[str, int]
    notes: tuple[str, ...]


def search_score(
    detector: Detector,
    candidates: Mapping[str, Scoring],
    normals: str | Path,
    manifest: str | Path,
    report: Report = lambda stage, done, total: None,
    accept: bool = False,
) -> SearchResult:
    """Measure candidate scores and choose one by the rule of this module.

    candidates: see `score_file.read_candidates`. normals: manifest of normal films that training never saw; the scale
    of every z-score. manifest: manifest of labelled films with patients, none of them in `normals`. accept: measure
    what the gate stops, too. Raises ManifestError, or ValueError for a candidate that the checkpoint cannot measure.
    """
    for scoring in candidates.values():
        check_scoring(detector, scoring)
    has_patients = check_held_out(normals, manifest, detector.schema)
    cases, halves, without_patient = _read_labelled_cases(manifest, detector)
    scores: dict[str, np.ndarray] = {}
    for names in _group_candidates(candidates):
        union = _merge_scorings([candidates[name] for name in names])
        plain = detector.with_scoring(union)
        normal_films = measure_cases(
            plain,
            read_normal_cases(normals, detector.schema),
            lambda done, total: report("normal films", done, total),
            accept=accept,
        )
        check_count(len(normal_films.cases), normals)
        films = measure_cases(plain, cases, lambda done, total: report("labelled films", done, total), accept=accept)
        for name in names:
            scores[name] = _score_films(candidates[name], union, normal_films, films)
    if not films.cases:
        raise ManifestError(f"None of the films of {manifest} could be read; the first: {films.unreadable[0]}")
    half_of_film = np.array([halves[case.row] for case in films.cases])
    labels, views = np.array([case.label for case in films.cases]), np.array([view or "" for view in films.views])
    first = half_of_film == CHOOSES
    by_label = _make_contrasts(labels[first], views[first])
    results = tuple(
        CandidateResult(name, scoring, {label: by_label[label](scores[name][first]) for label in by_label})
        for name, scoring in candidates.items()
    )
    choice = choose(results)
    notes = _list_notes(films, normal_films, without_patient, has_patients, set(labels) - {NORMAL} - set(by_label))
    counts = {part: int((half_of_film == part).sum()) for part in (CHOOSES, REPORTS)}
    second = half_of_film == REPORTS
    metrics = _measure_labels(scores[choice.name][second], labels[second], views[second])
    return SearchResult(results, choice, metrics, counts, notes)


def choose(results: Sequence[CandidateResult]) -> CandidateResult:
    """Choose by the rule of this module; between equals the higher mean, then the first."""
    best = max(result.mean for result in results)
    ties = [result for result in results if result.mean >= best - TIE]
    return min(ties, key=lambda result: (len(result.scoring.components), -result.mean))


def write_search(result: SearchResult, out: str | Path) -> list[Path]:
    """Write score.yaml (the chosen score file), candidates.csv and search.md; returns their paths."""
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    labels = list(result.choice.auroc)
    paths = [out / name for name in ("score.yaml", "candidates.csv", "search.md")]
    write_score(paths[0], result.choice.scoring)
    with paths[1].open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["candidate", "components", "combine", *labels, "mean", "chosen"])
        for entry in result.candidates:
            values = [f"{entry.auroc[label]:.4f}" for label in labels]
            components, combine = len(entry.scoring.components), entry.scoring.combine
            writer.writerow([entry.name, components, combine, *values, f"{entry.mean:.4f}", entry is result.choice])
    paths[2].write_text(format_search(result))
    return paths


def format_search(result: SearchResult) -> str:
    """Describe a search in Markdown: the candidates on half A, the choice on half B, notes."""
    labels = list(result.choice.auroc)
    head = ["candidate", "components", *(f"{label}" for label in labels), "mean"]
    rows = [
        [
            f"**{entry.name}**" if entry is result.choice else entry.name,
            str(len(entry.scoring.components)),
            *(format_share(entry.auroc[label]) for label in labels),
            format_share(entry.mean),
        ]
        for entry in result.candidates
    ]
    pieces = [
        f"Half A chooses ({result.films['A']} films): AUROC within view against normal, {result.choice.name} chosen."
    ]
    pieces += [format_table(head, rows), f"Half B reports ({result.films['B']} films): {result.choice.name}."]
    report_rows = [[label, *_format_metrics(metrics)] for label, metrics in result.report.items()]
    pieces.append(
        format_table(["films against normal", "AUROC within view", "average precision within view"], report_rows)
    )
    return "\n\n".join([*pieces, *result.notes]) + "\n"


def _format_metrics(metrics: Mapping) -> list[str]:
    names = ("auroc_within_view", "average_precision_within_view")
    return [
        format_interval({name: metrics[name], "interval": metrics[f"{name}_interval"]}, name, ".3f") for name in names
    ]


def _read_labelled_cases(manifest: str | Path, detector: Detector) -> tuple[list[Case], dict[int, str], int]:
    """Return labelled films with a patient, the half of each by row, and how many name no patient.

    Raises ManifestError.
    """
    keys = read_patients_by_row(read_table(Path(manifest)))
    if keys is None:
        raise ManifestError(
            f"The manifest {manifest} has no column `patient` or `subject_id`: halves must not share patients. Add one."
        )
    cases = [case for case in read_manifest(manifest, detector.schema) if case.label is not None]
    patients = {case.row: keys.iloc[case.row - 1] for case in cases}
    with_patient = [case for case in cases if patients[case.row]]
    halves = {case.row: assign_half(patients[case.row]) for case in with_patient}
    return with_patient, halves, len(cases) - len(with_patient)


def _group_candidates(candidates: Mapping[str, Scoring]) -> list[list[str]]:
    """Group the names of candidates that differ in components and combination alone: films are measured once."""
    groups: dict[Scoring, list[str]] = {}
    for name, scoring in candidates.items():
        groups.setdefault(replace(scoring, components=(), combine="mean"), []).append(name)
    return list(groups.values())


def _merge_scorings(scorings: Sequence[Scoring]) -> Scoring:
    """Return a scoring that measures every component of a group once."""
    components = dict.fromkeys(component for scoring in scorings for component in scoring.components)
    return replace(scorings[0], components=tuple(components), combine="mean", calibration=())


def _score_films(scoring: Scoring, union: Scoring, normals: Measurements, films: Measurements) -> np.ndarray:
    """Score films under one candidate, calibrated on the normals: (N,)."""
    columns = torch.tensor([union.components.index(component) for component in scoring.components])
    calibration = calibrate_views(scoring, normals.values[:, columns], normals.views)
    candidate = replace(scoring, calibration=calibration)
    rows = zip(films.values, films.views, strict=True)
    return np.array([candidate.score(row[columns], view) for row, view in rows])


def _make_contrasts(labels: np.ndarray, views: np.ndarray) -> dict[str, Callable[[np.ndarray], float]]:
    """Return by abnormal label a function from scores (N,) to the within-view AUROC against normal.

    Labels for which that is not defined are left out. Raises ManifestError where it is for none.
    """

    def contrast(label: str) -> Callable[[np.ndarray], float]:
        rows = np.isin(labels, (NORMAL, label))
        return lambda scores: auroc_within_view(scores[rows], labels[rows] == label, views[rows])

    contrasts = {str(label): contrast(label) for label in np.unique(labels[labels != NORMAL])}
    measurable = {label: auroc for label, auroc in contrasts.items() if np.isfinite(auroc(np.zeros(len(labels))))}
    if not measurable:
        raise ManifestError(
            "Half A of the patients has no view with both normal and abnormal films, so nothing can be chosen: "
            "give more labelled films, with their view."
        )
    return measurable


def _measure_labels(scores: np.ndarray, labels: np.ndarray, views: np.ndarray) -> dict[str, dict]:
    """Measure every abnormal label against normal; see `detection_metrics`."""
    return {
        str(label): detection_metrics(scores[rows], labels[rows] == label, views[rows])
        for label in np.unique(labels[labels != NORMAL])
        for rows in [np.isin(labels, (NORMAL, label))]
    }


def _list_notes(
    films: Measurements, normals: Measurements, without_patient: int, has_patients: bool, labels_left_out: set[str]
) -> tuple[str, ...]:
    unreadable = len(films.unreadable) + len(normals.unreadable)
    notes = [f"{without_patient} labelled films name no patient and were left out."] if without_patient else []
    notes += [f"{unreadable} films could not be read and were left out."] if unreadable else []
    notes += [f"No view of half A has both {label} and normal films: not counted." for label in sorted(labels_left_out)]
    if not has_patients:
        notes.append(
            "The manifest of normal films names no patients: whether one is among the labelled was not checked."
        )
    return tuple(notes)
