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
    """How well the film fits one explanation group of the record.

    feature: the group's leading feature. known: whether the record has a value of the group; where not, the film is
    compared with what the rest of the record predicts. z: standard deviations from normal films under their own
    record, + toward higher numbers or the last category. shift: the same in the unit of `feature` (how much higher the
    value is that the film looks like); None for categories.
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

    Computed in float32 and with the same noises for all records, because directions are small differences of
    estimates. noises: number of noises that are averaged.
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

    x0: (1, 1, S, S). The directions do not depend on the record, so they are computed once. Returns two arrays,
    (n, groups) float64 each.
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


def compute_z_scores(along: np.ndarray, fits: Sequence[GroupFit]) -> np.ndarray:
    """Standardize deviations (…, groups) by those of normal films under their own record: (…, groups)."""
    return (along - np.array([fit.mean for fit in fits])) / np.array([fit.std for fit in fits])


def compute_misfit(z: np.ndarray) -> np.ndarray:
    """Compute how badly a film contradicts a record: Σ z² over groups, (…, groups) → (…).

    It is about the number of groups for a normal film.
    """
    return np.square(z).sum(-1)


def compute_movement(z: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """Compute how far the expected film lies from that under the whole record, (…, groups) → (…).

    This is Σ (z − whole)² over groups, where `whole` is z under the whole record. The film's own deviation cancels,
    because every z contains it.
    """
    return np.square(z - whole).sum(-1)


def get_calibrated_fits(detector: Detector, prior: bool = False) -> tuple[GroupFit, ...]:
    """Return the checkpoint's calibrated fits: given the film, or, where `prior`, without it.

    Raises ExplanationError where the checkpoint has none.
    """
    require(detector, Need.UNKNOWN_TOKENS, Need.PRIOR_FIT if prior else Need.FIT)
    return detector.config.prior_fit if prior else detector.config.fit


def measure_record_fit(detector: Detector, case: Case) -> tuple[RecordFit, ...]:
    """Measure how well the film fits its record, group by group. Raises ExplanationError."""
    fits = get_calibrated_fits(detector)
    along, relative = measure_deviations(detector, detector.inputs([case]), [case.record], fits)
    return make_record_fits(detector, case.record, fits, along[0], relative[0])


def make_record_fits(
    detector: Detector, record: Record, fits: Sequence[GroupFit], along: np.ndarray, relative: np.ndarray
) -> tuple[RecordFit, ...]:
    """Return measured deviations and relative shifts (groups,) as `RecordFit`s."""
    results = []
    for fit, z, part in zip(fits, compute_z_scores(along, fits), relative, strict=True):
        feature = get_leading_feature(detector, fit.group)
        shift = 2 * feature.std * float(part) if feature.kind == "number" else None
        results.append(RecordFit(fit.group, feature, knows_group(detector, record, fit.group), float(z), shift))
    return tuple(results)


def knows_group(detector: Detector, record: Record, group: str) -> bool:
    """Tell whether a record has a value of an explanation group."""
    return any(record.get(member.name) is not None for member in detector.schema.explanation_groups[group])


def get_leading_feature(detector: Detector, group: str) -> Feature:
    """Return the feature that stands for an explanation group: BMI for habitus, else its first."""
    members = detector.schema.explanation_groups[group]
    return next((feature for feature in members if feature.name == "bmi"), members[0])


def list_explainable_groups(detector: Detector) -> tuple[str, ...]:
    """Return the explanation groups with a trained feature."""
    groups = detector.schema.explanation_groups
    return tuple(name for name, members in groups.items() if any(feature.trained for feature in members))
