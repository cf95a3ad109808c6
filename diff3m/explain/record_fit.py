"""How well a film fits its record, group by group, and the misfit that attributions explain."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..case import Case
from ..detector import Detector
from ..ehr import Feature, Record
from ..reconstruct import draw_noises, estimate_in_one_step, make_predictor
from ..scoring.record_fit import GroupFit, measure_deviation
from .needs import Need, require

NOISES = 2  # draws averaged by each one-step estimate; the same for every film and record
BATCH = 96  # images in one pass


@dataclass(frozen=True)
class RecordFit:
    """Whether the film looks as one explanation group of the record says.

    z: standard deviations from normals under their own record, + toward the high end (higher numbers; the last
    category). shift: the same in the unit of `feature` for a group that numbers move (how much higher the value is
    that the film looks like), else None. known: whether the record holds the group; where not, the film is compared
    with what the rest of the record predicts.
    """

    group: str
    feature: Feature
    known: bool
    z: float
    shift: float | None


def estimate_one_step(
    detector: Detector, x0: Tensor, records: Sequence[Record], level: int, noises: int = NOISES
) -> Tensor:
    """Estimate x̂_0 of one prepared film (1, 1, S, S) under n records from one noise level: (n, 1, S, S).

    In float32, with the same noises for all records, because directions are small differences of estimates.
    """
    noise, detector = draw_noises(noises, x0.shape[-1], level, 0, detector.device), detector.in_float32
    size, estimates = max(1, BATCH // noises), []
    for start in range(0, len(records), size):
        batch = records[start : start + size]
        films = x0.expand(len(batch), -1, -1, -1)
        predict = make_predictor(detector.network, detector.condition(films, batch, attention=False))
        with torch.no_grad():
            estimates.append(estimate_in_one_step(films, predict, level, noise, detector.config.schedule))
    return torch.cat(estimates)


def measure_deviations(
    detector: Detector, x0: Tensor, records: Sequence[Record], fits: Sequence[GroupFit]
) -> tuple[np.ndarray, np.ndarray]:
    """Measure one prepared film's deviation and relative shift (see `measure_deviation`) under n records, by group.

    The directions do not depend on the record, so they are computed once. Returns (n, groups) float64 each.
    """
    along, relative = np.zeros((len(records), len(fits))), np.zeros((len(records), len(fits)))
    for level in sorted({fit.level for fit in fits}):
        places = [place for place, fit in enumerate(fits) if fit.level == level]
        ends = [end for place in places for end in detector.schema.contrast_records(fits[place].group)]
        estimates = estimate_one_step(detector, x0, [*ends, *records], level)
        for index, place in enumerate(places):
            low, high = estimates[2 * index : 2 * index + 1], estimates[2 * index + 1 : 2 * index + 2]
            pair = measure_deviation(x0, estimates[len(ends) :], low, high, detector.scoring.margin)
            along[:, place], relative[:, place] = (tensor.double().cpu().numpy() for tensor in pair)
    return along, relative


def z_scores(along: np.ndarray, fits: Sequence[GroupFit]) -> np.ndarray:
    """Return deviations (…, groups) in standard deviations of normals under their own record."""
    return (along - np.array([fit.mean for fit in fits])) / np.array([fit.std for fit in fits])


def compute_misfit(z: np.ndarray) -> np.ndarray:
    """Return how badly a film contradicts a record: Σ z² over groups, (…, groups) → (…).

    About the number of groups for a normal film.
    """
    return np.square(z).sum(-1)


def compute_movement(z: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """Return how far what is expected lies from what the whole record makes expect, (…, groups) → (…).

    Σ (z − z of the whole record)² over groups. The film's own deviation, which is in every z alike, cancels; 0 for
    the whole record.
    """
    return np.square(z - whole).sum(-1)


def calibrated_fits(detector: Detector, prior: bool = False) -> tuple[GroupFit, ...]:
    """Return the checkpoint's calibration of fits, beside the film or, `prior`, before it is seen.

    Raises ExplanationError where there is none.
    """
    require(detector, Need.UNKNOWN_TOKENS, Need.PRIOR_FIT if prior else Need.FIT)
    return detector.config.prior_fit if prior else detector.config.fit


def measure_record_fit(detector: Detector, case: Case) -> tuple[RecordFit, ...]:
    """Measure whether the film looks as its record says, group by group. Raises ExplanationError."""
    fits = calibrated_fits(detector)
    along, relative = measure_deviations(detector, detector.inputs([case]), [case.record], fits)
    return to_record_fits(detector, case.record, fits, along[0], relative[0])


def to_record_fits(
    detector: Detector, record: Record, fits: Sequence[GroupFit], along: np.ndarray, relative: np.ndarray
) -> tuple[RecordFit, ...]:
    """Return measured deviations and relative shifts (groups,) as `RecordFit`s."""
    results = []
    for fit, z, part in zip(fits, z_scores(along, fits), relative, strict=True):
        feature = leading_feature(detector, fit.group)
        shift = 2 * feature.std * float(part) if feature.kind == "number" else None
        results.append(RecordFit(fit.group, feature, knows(detector, record, fit.group), float(z), shift))
    return tuple(results)


def knows(detector: Detector, record: Record, group: str) -> bool:
    """Tell whether a record holds anything of an explanation group."""
    return any(record.get(member.name) is not None for member in detector.schema.explanation_groups[group])


def leading_feature(detector: Detector, group: str) -> Feature:
    """Return the feature that stands for an explanation group: BMI for habitus, else its first."""
    members = detector.schema.explanation_groups[group]
    return next((feature for feature in members if feature.name == "bmi"), members[0])


def explainable_groups(detector: Detector) -> tuple[str, ...]:
    """Return the explanation groups of which training saw a value."""
    groups = detector.schema.explanation_groups
    return tuple(name for name, members in groups.items() if any(feature.trained for feature in members))
