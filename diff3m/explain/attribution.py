"""Which parts of the record an opinion rests on: Shapley values with "unknown" as the absent value.

Training dropped features and whole groups, so every coalition of known features is a valid input of the network.
Coalitions are computed once, in batches, with the same noises (`coalitions`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np
from torch import Tensor

from ..case import Case
from ..detector import Detector
from ..ehr import Record, category_of
from ..scoring.record_fit import GroupFit
from .coalitions import (
    compute_ablation_values,
    compute_shapley_values,
    group_known_features,
    list_coalitions,
    make_coalition_record,
)
from .needs import ExplanationError, Need
from .record_fit import (
    RecordFit,
    compute_misfit,
    compute_movement,
    compute_z_scores,
    get_calibrated_fits,
    list_explainable_groups,
    make_record_fits,
    measure_deviations,
)
from .registry import Context, Cost, Explanation, register
from .text import format_people_share

TARGETS = ("misfit", "expectation", "prior", "score")
FILM_TARGETS = TARGETS[:2]  # both are computed from the same measurements, given the film
MIN_MOVEMENT = 1.0  # squared standard deviations: a record that moves the expected film by less has no real effect
CLEARLY = 0.9  # a movement is clearly less than another if it is less than this part of it
STANDS_OUT = 0.8  # share of people in whom a part of the record moves the expected film less


@dataclass(frozen=True)
class Attribution:
    """What each part of the record adds to a target.

    target: "misfit" (how badly the film contradicts the record, see `compute_misfit`), "expectation" (how far the film
    that is expected under a part of the record lies from the one under the whole record, see `compute_movement`),
    "prior" (the same without the film) or "score" (the anomaly score).
    groups, parts: Shapley values by explanation group, and by part (habitus as one, other features one by one; empty
    if not requested); each sums to known − unknown. A negative value makes the film less unusual.
    ablation: known − (value with that group unknown), by group.
    known, unknown: the target under the whole record and under an unknown one.
    fits: with targets "misfit" and "expectation", the fit under the whole record.
    table: the measurements of every coalition (z-scores by group, or the score), by the features that are known.
    unusual: with target "prior", the share of normal people in whom a known group, if nothing else is known, moves the
    expected film clearly less than here, so a high value marks an extraordinary part of the record; empty where that
    was not calibrated.
    """

    target: str
    groups: dict[str, float]
    parts: dict[str, float]
    ablation: dict[str, float]
    known: float
    unknown: float
    fits: tuple[RecordFit, ...] = ()
    table: Mapping[frozenset[str], np.ndarray] = field(default_factory=dict, repr=False, compare=False)
    unusual: dict[str, float] = field(default_factory=dict)

    @property
    def farthest_out(self) -> str | None:
        """The group with the highest value in `unusual`; None where the whole record has no real effect."""
        if not self.unusual or self.unknown < MIN_MOVEMENT:
            return None
        return max(self.unusual, key=lambda group: self.unusual[group])

    @property
    def stands_out(self) -> str | None:
        """`farthest_out`, where its value is at least `STANDS_OUT`, else None."""
        group = self.farthest_out
        return group if group is not None and self.unusual[group] >= STANDS_OUT else None


def attribute(
    detector: Detector, case: Case, target: str = "misfit", parts: bool = True, previous: Attribution | None = None
) -> Attribution:
    """Attribute a target to the record's groups and parts; unknown ones get 0.

    target: one of `TARGETS`. parts: whether to attribute to single values too, which may take twice as long. previous:
    an attribution of the same case and target (or of "misfit" for "expectation", or the reverse), whose coalitions are
    not computed again. Raises ExplanationError for an unknown target, or where the checkpoint or the record does not
    allow it.
    """
    check_target(target)
    fits = () if target == "score" else get_calibrated_fits(detector, prior=target == "prior")
    if previous is not None and previous.target != target and not {previous.target, target} <= set(FILM_TARGETS):
        raise ExplanationError(
            f"An attribution of the {previous.target} measured other things than the {target} needs."
        )
    coalitions = list_coalitions(detector, case.record, single=parts)
    table, whole_fits = _measure(detector, case, target, fits, coalitions.records, previous)
    measurements = np.stack([table[list_known_features(record)] for record in coalitions.records])
    values = dict(zip(coalitions.members, _compute_target(target, measurements).tolist(), strict=True))
    movements = compute_lone_movements(detector, case.record, table) if target == "prior" else {}
    zeros = dict.fromkeys(list_explainable_groups(detector), 0.0)
    groups = zeros | compute_shapley_values(values, coalitions.groups)
    return Attribution(
        target,
        groups,
        compute_shapley_values(values, coalitions.parts) if parts else {},
        zeros | compute_ablation_values(values, coalitions.groups),
        values[coalitions.members[-1]],
        values[coalitions.members[0]],
        whole_fits,
        table,
        _compute_unusual_shares(fits, movements),
    )


def _measure(
    detector: Detector,
    case: Case,
    target: str,
    fits: Sequence[GroupFit],
    records: Sequence[Record],
    previous: Attribution | None,
) -> tuple[dict[frozenset[str], np.ndarray], tuple[RecordFit, ...]]:
    """Measure the coalitions that `previous` lacks.

    records: of all coalitions, the whole record last. Returns the table of all coalitions, see `Attribution`, and the
    fits under the whole record.
    """
    table, whole_fits = ({}, ()) if previous is None else (dict(previous.table), previous.fits)
    missing = [record for record in {list_known_features(one): one for one in records}.values()]
    missing = [record for record in missing if list_known_features(record) not in table]
    if not missing:
        return table, whole_fits
    x0 = detector.inputs([case])
    if target == "score":
        measurements = score_records(detector, x0, missing, category_of(case.record, "view"))[:, None]
    else:
        along, relative = measure_deviations(detector, x0, missing, fits)
        measurements = compute_z_scores(along, fits)
        if target in FILM_TARGETS and list_known_features(missing[-1]) == list_known_features(records[-1]):
            whole_fits = make_record_fits(detector, case.record, fits, along[-1], relative[-1])
    return table | dict(zip(map(list_known_features, missing), measurements, strict=True)), whole_fits


def measure_lone_movements(detector: Detector, case: Case) -> dict[str, float]:
    """Measure how far each known group of a record alone moves the film that is expected before the film is seen.

    See `compute_lone_movements`. Raises ExplanationError where the fit is not calibrated.
    """
    groups = group_known_features(detector, case.record)
    records = [make_coalition_record(case.record, [names], (1,)) for names in ([], *groups.values())]
    table, _ = _measure(detector, case, "prior", get_calibrated_fits(detector, prior=True), records, None)
    return compute_lone_movements(detector, case.record, table)


def compute_lone_movements(
    detector: Detector, record: Record, table: Mapping[frozenset[str], np.ndarray]
) -> dict[str, float]:
    """Compute how far the expected film under one group alone lies from that under an unknown record, by known group.

    A Shapley value would also contain what a group does to the effect of the others, so that an average sex looked
    extraordinary in a person of extraordinary weight. table: see `Attribution`.
    """
    unknown = table[frozenset()]
    return {
        group: float(compute_movement(table[frozenset(names)], unknown))
        for group, names in group_known_features(detector, record).items()
    }


def _compute_unusual_shares(fits: Sequence[GroupFit], movements: Mapping[str, float]) -> dict[str, float]:
    """Return the share of normal people in whom each known group alone moves the expected film clearly less."""
    return {
        fit.group: fit.share_below(CLEARLY * movements[fit.group])
        for fit in fits
        if fit.movements and fit.group in movements
    }


def check_target(target: str) -> None:
    """Raise ExplanationError for an unknown target."""
    if target not in TARGETS:
        raise ExplanationError(f"The target must be one of {', '.join(TARGETS)}, got {target!r}.")


def _compute_target(target: str, measurements: np.ndarray) -> np.ndarray:
    """Compute the target from the measurements of n coalitions, (n, k), the whole record last: (n,)."""
    if target == "misfit":
        return compute_misfit(measurements)
    return measurements[:, 0] if target == "score" else compute_movement(measurements, measurements[-1])


def list_known_features(record: Record) -> frozenset[str]:
    """Return the names of the features that a record knows."""
    return frozenset(name for name, value in record.items() if value is not None)


def score_records(
    detector: Detector, x0: Tensor, records: Sequence[Record], view: str | None, batch_size: int = 16
) -> np.ndarray:
    """Score one prepared film (1, 1, S, S) under n records, all against normal films of one view: (n,).

    view: of the film, None where unknown. batch_size: records in one pass. Raises ExplanationError for a checkpoint
    without calibration.
    """
    settings, scoring, scores = detector.settings(), detector.scoring, []
    for start in range(0, len(records), batch_size):
        batch = list(records[start : start + batch_size])
        films = x0.expand(len(batch), -1, -1, -1)
        condition = detector.condition(films, batch, attention=False)
        estimates = detector.estimates(films, condition, scoring.keys, settings, with_reconstruction=False)
        values = detector.measurements(films, batch, estimates, settings)
        try:
            scores += [scoring.score(row, view) for row in values]
        except LookupError as error:
            raise ExplanationError(f"There is no score to explain: {error}.") from None
    return np.array(scores)


def _explain(context: Context, target: str) -> Attribution:
    previous = context.compute("misfit") if target == "expectation" else None
    return attribute(context.detector, context.case, target, parts=False, previous=previous)


def _validate(context: Context) -> None:
    for target in context.request.targets:
        check_target(target)


def _to_dict(attribution: Attribution) -> dict:
    fits = [
        {"group": fit.group, "known": fit.known, "z": fit.z, "shift": fit.shift, "unit": fit.feature.unit}
        for fit in attribution.fits
    ]
    return {
        "known": attribution.known,
        "unknown": attribution.unknown,
        "groups": attribution.groups,
        "ablation": attribution.ablation,
        "unusual": attribution.unusual,
        "fit": fits,
    }


def _describe(attribution: Attribution, title: str) -> list[str]:
    lines = [
        f"{title}: {attribution.known:+.2f} with the record, {attribution.unknown:+.2f} without; "
        "what each part of the record adds:"
    ]
    for group, value in attribution.groups.items():
        lines.append(f"  {group:<16} {value:+.2f}   (left out alone: {attribution.ablation[group]:+.2f})")
    if attribution.unusual:
        shares = ", ".join(f"{group} in {format_people_share(share)}" for group, share in attribution.unusual.items())
        lines.append(f"  each alone moves normal more than: {shares}; {attribution.stands_out or 'nothing'} stands out")
    for fit in attribution.fits if attribution.target == "misfit" else ():
        shift = "" if fit.shift is None else f", like {fit.feature.label.lower()} {fit.shift:+.3g} {fit.feature.unit}"
        unknown = "" if fit.known else " (not in the record)"
        lines.append(f"  fit of {fit.group}: {fit.z:+.1f} standard deviations{shift}{unknown}")
    return lines


def _register(target: str, title: str, progress: str, order: int, cost: Cost, need: Need) -> None:
    register(
        Explanation(
            name=target,
            title=title,
            progress=progress,
            order=order,
            cost=cost,
            explain=partial(_explain, target=target),
            to_dict=_to_dict,
            describe=partial(_describe, title=title),
            needs=(Need.UNKNOWN_TOKENS, need),
            is_requested=lambda request: target in request.targets,
            validate=_validate,
        )
    )


_register(
    "misfit",
    "misfit of film and record (sum of squared z-scores)",
    "Measuring what each part of the record adds …",
    20,
    "medium",
    Need.FIT,
)
_register(
    "prior",
    "distance from what the whole record makes expect, before the film is seen (sum of squared z-scores)",
    "Measuring what the record makes expect before the film is seen …",
    30,
    "low",
    Need.PRIOR_FIT,
)
_register(
    "expectation",
    "distance of what is expected of this film from what the whole record makes expect (sum of squared z-scores)",
    "Measuring what the record makes expect of this film …",
    40,
    "medium",
    Need.FIT,
)
_register(
    "score",
    "anomaly score",
    "Measuring what each part of the record does to the score …",
    100,
    "high",
    Need.SCORE,
)
