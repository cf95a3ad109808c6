"""How well a film fits its record, group by group: measured deviations, their calibration, and the misfit that attributions explain."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from ..checkpoint.folder import write_config
from ..detector import Detector
from ..ehr import Feature, Record
from ..imaging import Radiograph
from ..reconstruct import draw_noises, estimate_in_one_step, predictor
from ..scoring.record_fit import GroupFit, deviation

NOISES = 2  # draws averaged by each one-step estimate; the same for every film and record
BATCH = 96  # images in one pass
LEVEL, LEVELS = 350, {"sex": 600}  # noise level of a group, chosen by the rule of docs/explanations.md
PRIOR_LEVEL = (
    850  # where noise hides the film, so that an estimate is what the record alone makes expect; by another rule there
)


class ExplanationError(ValueError):
    """An explanation that this checkpoint or this record cannot give; the message says why."""


@dataclass(frozen=True)
class RecordFit:
    """One explanation group: does the film look as the record says?

    z: standard deviations from normals under their own record, + toward the high end (higher numbers; the last category). shift: the same in the
    unit of `feature` for a group that numbers move (how much higher the value is that the film looks like), else None.
    known: whether the record holds the group; where not, the film is compared with what the rest of the record predicts.
    """

    group: str
    feature: Feature
    known: bool
    z: float
    shift: float | None


def one_step(detector: Detector, x0: Tensor, records: Sequence[Record], level: int, noises: int = NOISES) -> Tensor:
    """x̂_0 of one prepared film (1, 1, S, S) under n records from one noise level, same noises for all: (n, 1, S, S)."""
    drawn = draw_noises(noises, x0.shape[-1], level, 0, detector.device)
    made, detector = [], detector.in_float32  # directions are small differences of estimates
    for start in range(0, len(records), max(1, BATCH // noises)):
        part = records[start : start + max(1, BATCH // noises)]
        films = x0.expand(len(part), -1, -1, -1)
        condition = detector.condition(films, part, attention=False)
        with torch.no_grad():
            made.append(
                estimate_in_one_step(
                    films, predictor(detector.network, condition), level, drawn, detector.config.schedule
                )
            )
    return torch.cat(made)


def deviations(
    detector: Detector, x0: Tensor, records: Sequence[Record], fits: Sequence[GroupFit]
) -> tuple[np.ndarray, np.ndarray]:
    """Deviation and relative shift (see `fit.deviation`) of one prepared film under n records, by group: (n, groups) float64 each.

    The directions do not depend on the record, so they are computed once.
    """
    along, relative = np.zeros((len(records), len(fits))), np.zeros((len(records), len(fits)))
    for level in sorted({entry.level for entry in fits}):
        places = [place for place, entry in enumerate(fits) if entry.level == level]
        ends = [end for place in places for end in detector.schema.ends(fits[place].group)]
        made = one_step(detector, x0, [*ends, *records], level)
        for index, place in enumerate(places):
            low, high = made[2 * index : 2 * index + 1], made[2 * index + 1 : 2 * index + 2]
            found = deviation(x0, made[len(ends) :], low, high, detector.scoring.margin)
            along[:, place], relative[:, place] = (tensor.double().cpu().numpy() for tensor in found)
    return along, relative


def z_scores(along: np.ndarray, fits: Sequence[GroupFit]) -> np.ndarray:
    """Deviations (…, groups) in standard deviations of normals under their own record."""
    return (along - np.array([entry.mean for entry in fits])) / np.array([entry.std for entry in fits])


def misfit(z: np.ndarray) -> np.ndarray:
    """How badly a film contradicts a record: Σ z² over groups, (…, groups) → (…). About the number of groups for a normal film."""
    return np.square(z).sum(-1)


def movement(z: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """How far what is expected lies from what the whole record makes expect: Σ (z − z of the whole record)² over groups, (…, groups) → (…). The
    film's own deviation, which is in every z alike, cancels; 0 for the whole record."""
    return np.square(z - whole).sum(-1)


def may_be_unknown(detector: Detector) -> None:
    """Raise ExplanationError for a checkpoint that cannot be asked about a record with parts missing."""
    if not detector.config.network.unknown_tokens:
        raise ExplanationError(
            "This checkpoint cannot be asked what a part of the record adds: it was trained without a token for unknown values."
        )


def calibrated(detector: Detector, prior: bool = False) -> tuple[GroupFit, ...]:
    """The checkpoint's calibration of fits, beside the film or (prior) before it is seen. Raises ExplanationError where there is none."""
    may_be_unknown(detector)
    fits = detector.config.prior_fit if prior else detector.config.fit
    if not fits:
        raise ExplanationError(
            "This checkpoint's fit of the record has not been calibrated: run `diff3m calibrate` with --fit."
        )
    return fits


def record_fit(
    detector: Detector, radiograph: Radiograph | np.ndarray | str | os.PathLike, ehr: Mapping[str, object] | None
) -> tuple[RecordFit, ...]:
    """Does the film look as its record says, group by group? Raises RadiographError, EHRError or ExplanationError with a sentence."""
    fits, record = calibrated(detector), detector.schema.parse(ehr or {})
    along, relative = deviations(detector, detector.prepared([detector.film(radiograph)]), [record], fits)
    return fits_of(detector, record, fits, along[0], relative[0])


def fits_of(
    detector: Detector, record: Record, fits: Sequence[GroupFit], along: np.ndarray, relative: np.ndarray
) -> tuple[RecordFit, ...]:
    """Measured deviations and relative shifts (groups,) as `RecordFit`s."""
    found = []
    for entry, z, part in zip(fits, z_scores(along, fits), relative, strict=True):
        feature = leading_feature(detector, entry.group)
        known = knows(detector, record, entry.group)
        shift = 2 * feature.std * float(part) if feature.kind == "number" else None
        found.append(RecordFit(entry.group, feature, known, float(z), shift))
    return tuple(found)


def knows(detector: Detector, record: Record, group: str) -> bool:
    """Whether a record holds anything of an explanation group."""
    return any(record.get(member.name) is not None for member in detector.schema.explanation_groups[group])


def leading_feature(detector: Detector, group: str) -> Feature:
    """The feature that stands for an explanation group: BMI for habitus, else its first."""
    members = detector.schema.explanation_groups[group]
    return next((feature for feature in members if feature.name == "bmi"), members[0])


def explainable_groups(detector: Detector) -> tuple[str, ...]:
    """Explanation groups of which training saw a value."""
    return tuple(
        name
        for name, members in detector.schema.explanation_groups.items()
        if any(feature.trained for feature in members)
    )


def calibrate_fit(
    detector: Detector,
    cases: Sequence[tuple[Radiograph | np.ndarray | str | os.PathLike, Mapping[str, object]]],
    levels: Mapping[str, int] | None = None,
    report: Callable[[int, int], None] | None = None,
) -> tuple[GroupFit, ...]:
    """Measure normal films under their own record, and write the calibration into the checkpoint's config.json; returns that beside the film.

    levels: noise level by explanation group (default: `LEVELS`, else `LEVEL`; before the film is seen it is `PRIOR_LEVEL` for all). report(done,
    total) hears each film. Raises ExplanationError for fewer than two films.
    """
    if len(cases) < 2:
        raise ExplanationError("A calibration of the record's fit needs at least two normal films.")
    levels = {**LEVELS, **(levels or {})}
    groups = explainable_groups(detector)
    plain = [GroupFit(group, levels.get(group, LEVEL), 0.0, 1.0, 0) for group in groups]
    plain += [GroupFit(group, PRIOR_LEVEL, 0.0, 1.0, 0) for group in groups]
    rows = []
    for done, (film, ehr) in enumerate(cases, start=1):
        record = detector.schema.parse(ehr)
        along, _ = deviations(detector, detector.prepared([detector.film(film)]), [record], plain)
        known = [knows(detector, record, entry.group) for entry in plain]
        rows.append(np.where(known, along[0], np.nan))
        if report:
            report(done, len(cases))
    table = np.stack(rows)
    count = (~np.isnan(table)).sum(0)
    if (count < 2).any():
        missing = ", ".join(group for group, n in zip(groups, count, strict=False) if n < 2)
        raise ExplanationError(f"Fewer than two films of the manifest know {missing}; a calibration needs more.")
    mean, std = np.nanmean(table, 0), np.nanstd(table, 0, ddof=1)
    fits = tuple(
        GroupFit(e.group, e.level, float(m), float(max(s, 1e-6)), int(n))
        for e, m, s, n in zip(plain, mean, std, count, strict=True)
    )
    fit, prior = fits[: len(groups)], fits[len(groups) :]
    if detector.checkpoint.folder is not None:
        write_config(detector.checkpoint.folder, replace(detector.config, fit=fit, prior_fit=prior))
    return fit
