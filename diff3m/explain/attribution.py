"""Which parts of the record an opinion rests on: Shapley values with "unknown" as the absent value.

Training dropped features and whole groups, so every coalition of known features is a valid input of the network. Coalitions are evaluated once, in
batches, with the same noises; Captum does the arithmetic on that table.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from captum.attr import FeatureAblation, ShapleyValues
from torch import Tensor

from ..detector import Detector
from ..ehr import Record
from ..radiograph import Radiograph
from .record_fit import ExplanationError, RecordFit, calibrated, deviations, explainable_groups, fits_of, misfit, z_scores

TARGETS = ("misfit", "score")
Coalition = tuple[int, ...]


@dataclass(frozen=True)
class Attribution:
    """What each part of the record adds to a target.

    target: "misfit" (how badly the film contradicts the record, see `record_fit.misfit`) or "score" (the anomaly score).
    groups, parts: Shapley values by explanation group, and by part (habitus in one piece, other features one by one; empty if not asked
    for); each sums to known − unknown. ablation: known − (value with that group unknown), by group. known, unknown: the target under
    the whole record and under none. Negative: knowing it makes the film less unusual (explains it away). fits: with target "misfit",
    the fit under the whole record.
    """

    target: str
    groups: dict[str, float]
    parts: dict[str, float]
    ablation: dict[str, float]
    known: float
    unknown: float
    fits: tuple[RecordFit, ...] = ()


def attribute(
    detector: Detector,
    radiograph: Radiograph | np.ndarray | str | os.PathLike,
    ehr: Mapping[str, object] | None,
    target: str = "misfit",
    parts: bool = True,
) -> Attribution:
    """Attribute a target to the record's groups and parts; what the record does not know gets 0. parts: False takes groups alone, in half the time.

    Raises RadiographError, EHRError or ExplanationError with a sentence.
    """
    if target not in TARGETS:
        raise ExplanationError(f"The target must be one of {', '.join(TARGETS)}, got {target!r}.")
    record = detector.schema.parse(ehr or {})
    x0 = detector.prepared([detector.film(radiograph)])
    fits = calibrated(detector) if target == "misfit" else ()
    players = _players(detector, record, single=parts)
    coalitions = list(itertools.product((0, 1), repeat=len(players)))
    records = [_coalition_record(record, players, coalition) for coalition in coalitions]
    found: tuple[RecordFit, ...] = ()
    if target == "misfit":
        along, relative = deviations(detector, x0, records, fits)
        values = misfit(z_scores(along, fits))
        found = fits_of(detector, record, fits, along[-1], relative[-1])
    else:
        values = _scores(detector, x0, records, record.get("view"))
    table = dict(zip(coalitions, values.tolist(), strict=True))
    group_of = {name: group for group, members in _group_members(detector, record).items() for name in members}
    every = dict.fromkeys(explainable_groups(detector), 0.0)
    by_group = [group_of[player[0]] for player in players]
    return Attribution(
        target,
        every | _captum(ShapleyValues, table, by_group),
        _captum(ShapleyValues, table, [player[0] if len(player) == 1 else group_of[player[0]] for player in players]) if parts else {},
        every | _captum(FeatureAblation, table, by_group),
        float(values[-1]),
        float(values[0]),
        found,
    )


def _group_members(detector: Detector, record: Record) -> dict[str, list[str]]:
    """Known, trained features by explanation group; groups without one are left out."""
    found = {
        group: [feature.name for feature in members if feature.trained and record.get(feature.name) is not None]
        for group, members in detector.schema.explanation_groups.items()
    }
    return {group: names for group, names in found.items() if names}


def _players(detector: Detector, record: Record, single: bool) -> list[tuple[str, ...]]:
    """What can be known or unknown on its own: groups, or single features but for habitus, which moves as one."""
    players: list[tuple[str, ...]] = []
    for names in _group_members(detector, record).values():
        together = not single or any(name in ("bmi", "height_cm", "weight_kg") for name in names)
        players += [tuple(names)] if together else [(name,) for name in names]
    return players


def _coalition_record(record: Record, players: Sequence[Sequence[str]], coalition: Coalition) -> Record:
    kept = {name for player, present in zip(players, coalition, strict=True) if present for name in player}
    return {name: value if name in kept else None for name, value in record.items()}


def _scores(detector: Detector, x0: Tensor, records: Sequence[Record], view, batch: int = 16) -> np.ndarray:
    """Anomaly scores of one prepared film under n records, all against normals of the film's own view, (n,)."""
    settings, keys = detector.settings(), [component.key for component in detector.scoring.components]
    scores = []
    for start in range(0, len(records), batch):
        part = list(records[start : start + batch])
        films = x0.expand(len(part), -1, -1, -1)
        made = detector.reconstructions(films, detector.condition(films, part, attention=False), keys, settings)
        try:
            scores += [detector.scoring.score(row, view) for row in detector.measurements(films, part, made, settings)]
        except LookupError as error:
            raise ExplanationError(f"There is no score to explain: {error}.") from None
    return np.array(scores)


def _captum(method: type, table: Mapping[Coalition, float], names: Sequence[str]) -> dict[str, float]:
    """Captum's attribution of a table of coalition values; players that share a name count as one."""
    if not names:
        return {}
    distinct = list(dict.fromkeys(names))
    mask = torch.tensor([[distinct.index(name) for name in names]])

    def forward(present: Tensor) -> Tensor:
        return torch.tensor([table[tuple(int(flag) for flag in row)] for row in present.tolist()], dtype=torch.float64)

    ones = torch.ones(1, len(names), dtype=torch.float64)
    given = method(forward).attribute(ones, baselines=torch.zeros_like(ones), feature_mask=mask)[0].tolist()
    return {name: given[names.index(name)] for name in distinct}
