"""Which parts of the record an opinion rests on: Shapley values with "unknown" as the absent value.

Training dropped features and whole groups, so every coalition of known features is a valid input of the network. Coalitions are evaluated once, in
batches, with the same noises (`coalitions`).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from captum.attr import FeatureAblation, ShapleyValues
from torch import Tensor

from ..checkpoint.folder import write_config
from ..detector import Detector
from ..ehr import Record
from ..imaging import Radiograph
from ..scoring.record_fit import GroupFit
from .coalitions import attributed, coalitions_of, groups_of, part_names
from .record_fit import (
    ExplanationError,
    RecordFit,
    calibrated,
    deviations,
    explainable_groups,
    fits_of,
    knows,
    misfit,
    movement,
    z_scores,
)

TARGETS = ("misfit", "expectation", "prior", "score")
BESIDE_THE_FILM = TARGETS[:2]  # of the same measurements
USUAL_FILMS, QUANTILES = 300, 101  # normal films that show how much a group usually moves, and what is kept of them
NOTHING_MOVED = 1.0  # of the squared standard deviations: a record that moves normal by less moves next to nothing
STANDS_OUT = 0.8  # share of people in whom a part of the record moves normal less


@dataclass(frozen=True)
class Attribution:
    """What each part of the record adds to a target.

    target: "misfit" (how badly the film contradicts the record, see `record_fit.misfit`), "expectation" (how far what is expected of this film,
    seen through noise, lies from what the whole record makes expect, see `record_fit.movement`), "prior" (the same before the film is seen, at
    `record_fit.PRIOR_LEVEL`) or "score" (the anomaly score).
    groups, parts: Shapley values by explanation group, and by part (habitus in one piece, other features one by one; empty if not asked
    for); each sums to known − unknown. ablation: known − (value with that group unknown), by group. known, unknown: the target under
    the whole record and under none. Negative: knowing it makes the film less unusual (explains it away). fits: with targets "misfit"
    and "expectation", the fit under the whole record. table: what was measured (z-scores by group; the score), by which features are known, of
    every coalition that was asked. unusual: with target "prior", the share of normal people in whom a known group moves normal less than in this
    one: which part of *this* record is out of the ordinary; empty where that was not measured.
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
        """The group of `unusual` that the fewest people exceed; None where the record as a whole moves normal by less than `NOTHING_MOVED`."""
        return (
            max(self.unusual, key=lambda group: self.unusual[group])
            if self.unusual and self.unknown >= NOTHING_MOVED
            else None
        )

    @property
    def stands_out(self) -> str | None:
        """`farthest_out`, where it moves normal more than in `STANDS_OUT` of people."""
        group = self.farthest_out
        return group if group is not None and self.unusual[group] >= STANDS_OUT else None


def in_people(share: float) -> str:
    """A share of people in words: "84 of 100 people"; never all of them."""
    return f"{min(99, int(100 * share))} of 100 people"


def attribute(
    detector: Detector,
    radiograph: Radiograph | np.ndarray | str | os.PathLike,
    ehr: Mapping[str, object] | None,
    target: str = "misfit",
    parts: bool = True,
    before: Attribution | None = None,
) -> Attribution:
    """Attribute a target to the record's groups and parts; what the record does not know gets 0. parts: False takes groups alone, in half the time.

    before: an attribution of the same film and record, and of the same target (or of "misfit" for "expectation", or the reverse), whose coalitions
    are not asked again. Raises RadiographError, EHRError or ExplanationError with a sentence.
    """
    check_target(target)
    record = detector.schema.parse(ehr or {})
    x0 = detector.prepared([detector.film(radiograph)])
    fits = () if target == "score" else calibrated(detector, prior=target == "prior")
    if before is not None and before.target != target and not {before.target, target} <= set(BESIDE_THE_FILM):
        raise ExplanationError(
            f"An attribution of the {before.target} measured other things than one of the {target} needs."
        )
    players, coalitions, records = coalitions_of(detector, record, single=parts)
    table = {} if before is None else dict(before.table)
    asked = {known_of(one): one for one in records}
    missing = [one for known, one in asked.items() if known not in table]
    found = () if before is None else before.fits
    if missing and fits:
        along, relative = deviations(detector, x0, missing, fits)
        table |= zip(map(known_of, missing), z_scores(along, fits), strict=True)
        if target in BESIDE_THE_FILM and known_of(missing[-1]) == known_of(records[-1]):
            found = fits_of(detector, record, fits, along[-1], relative[-1])
    elif missing:
        table |= zip(
            map(known_of, missing), scores_under(detector, x0, missing, record.get("view"))[:, None], strict=True
        )
    measured = np.stack([table[known_of(one)] for one in records])
    values = dict(zip(coalitions, _target_of(target, measured).tolist(), strict=True))
    every = dict.fromkeys(explainable_groups(detector), 0.0)
    by_group = groups_of(detector, record, players)
    groups = every | attributed(ShapleyValues, values, by_group)
    return Attribution(
        target,
        groups,
        attributed(ShapleyValues, values, part_names(players, by_group)) if parts else {},
        every | attributed(FeatureAblation, values, by_group),
        values[coalitions[-1]],
        values[coalitions[0]],
        found,
        table,
        _unusual(detector, record, fits, groups) if target == "prior" else {},
    )


def _unusual(
    detector: Detector, record: Record, fits: Sequence[GroupFit], groups: Mapping[str, float]
) -> dict[str, float]:
    """Share of normal people in whom each group that the record knows moves normal less."""
    return {
        entry.group: entry.share_below(abs(groups[entry.group]))
        for entry in fits
        if entry.usual and knows(detector, record, entry.group)
    }


def calibrate_usual(
    detector: Detector,
    cases: Sequence[tuple[Radiograph | np.ndarray | str | os.PathLike, Mapping[str, object]]],
    report: Callable[[int, int], None] | None = None,
) -> dict[str, float]:
    """Measure how much each group of normal films' records usually moves normal before the film is seen (`GroupFit.usual`), on the first
    `USUAL_FILMS` of them, and write it into the checkpoint's config.json; needs the fit's own calibration. Returns the medians by group. Raises
    ExplanationError."""
    cases, fits = cases[:USUAL_FILMS], calibrated(detector, prior=True)
    rows = []
    for done, (film, ehr) in enumerate(cases, start=1):
        groups, record = attribute(detector, film, ehr, "prior", parts=False).groups, detector.schema.parse(ehr)
        rows.append([groups[entry.group] if knows(detector, record, entry.group) else np.nan for entry in fits])
        if report:
            report(done, len(cases))
    fits = tuple(replace(entry, usual=_quantiles(sizes)) for entry, sizes in zip(fits, np.abs(rows).T, strict=True))
    if detector.checkpoint.folder is not None:
        write_config(detector.checkpoint.folder, replace(detector.config, prior_fit=fits))
    return {entry.group: entry.usual[QUANTILES // 2] for entry in fits if entry.usual}


def _quantiles(sizes: np.ndarray) -> tuple[float, ...]:
    """Evenly spaced quantiles of the sizes that are known (not NaN); empty where none is."""
    sizes = sizes[~np.isnan(sizes)]
    return (
        tuple(float(f"{size:.4g}") for size in np.quantile(sizes, np.linspace(0, 1, QUANTILES))) if len(sizes) else ()
    )


def attribute_target(
    detector: Detector,
    radiograph: Radiograph | np.ndarray | str | os.PathLike,
    ehr: Mapping[str, object] | None,
    target: str,
    found: Mapping[str, Attribution],
) -> Attribution:
    """`attribute` of one more target of a film and record, what it shares with those already found measured once; with single values where that
    costs little. Errors as there."""
    shared = next((found[other] for other in BESIDE_THE_FILM if target in BESIDE_THE_FILM and other in found), None)
    return attribute(detector, radiograph, ehr, target, parts=target != "prior", before=shared)


def check_target(target: str) -> None:
    """Raise ExplanationError for a target that there is not."""
    if target not in TARGETS:
        raise ExplanationError(f"The target must be one of {', '.join(TARGETS)}, got {target!r}.")


def _target_of(target: str, measured: np.ndarray) -> np.ndarray:
    """The target's values from what was measured of every coalition (n, k), the whole record last: (n,)."""
    if target == "misfit":
        return misfit(measured)
    return measured[:, 0] if target == "score" else movement(measured, measured[-1])


def known_of(record: Record) -> frozenset[str]:
    """Names of the features that a record knows."""
    return frozenset(name for name, value in record.items() if value is not None)


def scores_under(detector: Detector, x0: Tensor, records: Sequence[Record], view, batch: int = 16) -> np.ndarray:
    """Anomaly scores of one prepared film under n records, all against normals of the film's own view, (n,)."""
    settings, keys = detector.settings(), detector.scoring.keys
    scores = []
    for start in range(0, len(records), batch):
        part = list(records[start : start + batch])
        films = x0.expand(len(part), -1, -1, -1)
        made = detector.reconstructions(
            films, detector.condition(films, part, attention=False), keys, settings, with_shown=False
        )
        try:
            scores += [detector.scoring.score(row, view) for row in detector.measurements(films, part, made, settings)]
        except LookupError as error:
            raise ExplanationError(f"There is no score to explain: {error}.") from None
    return np.array(scores)
