"""Influence curves: the fit of the record as one of its numbers runs over a range, everything else fixed."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from torch import Tensor

from ..detector import Detector
from ..ehr import EHRSchema, Feature, Record
from ..imaging import Radiograph
from .attribution import scores_under
from .counterfactual import counterfactual_films, highest_level
from .record_fit import ExplanationError, calibrated, deviations, misfit, one_step, z_scores
from .region import REGION_LEVEL, Box, region_of

STRIP_STEPS = 20
REACH = 3.0  # standard deviations of the training values on each side


@dataclass(frozen=True)
class Influence:
    """Curves over `values` (n,) of one feature, in its unit.

    misfit, deviation (n,): how badly the film contradicts the record with that value, and the z-score of the feature's own group (+: the film looks
    like more). region (n,): mean residual inside `box`, in grey levels of the film's range, + brighter than expected. score (n,): the anomaly
    score, or None. own: the record's value, None if unknown. trained: values within two standard deviations of the training mean; outside, the
    curve extrapolates. reconstructions (n, S, S): what normal looks like for this person at each value, or None.
    """

    feature: str
    group: str
    values: np.ndarray
    misfit: np.ndarray
    deviation: np.ndarray
    region: np.ndarray
    box: Box
    own: float | None
    trained: tuple[float, float]
    reconstructions: np.ndarray | None = None
    score: np.ndarray | None = None


def influence(
    detector: Detector,
    radiograph: Radiograph | np.ndarray | str | os.PathLike,
    ehr: Mapping[str, object] | None,
    feature: str,
    points: int = 9,
    strip: bool = True,
    score: bool = False,
    box: Box | None = None,
) -> Influence:
    """Run one number of the record over its range, same noises. Weight follows BMI and height, and BMI follows weight.

    strip, score: also what normal would look like at each value, and the anomaly score at each. box: the region whose residual is followed;
    default, the one that differs most under the record. Raises RadiographError, EHRError or ExplanationError with a sentence.
    """
    schema, entry, fits = detector.schema, curve_feature(detector.schema, feature), calibrated(detector)
    if points < 2:
        raise ExplanationError(f"An influence curve needs at least two points, got {points}.")
    record = schema.parse(ehr or {})
    own = None if record[feature] is None else float(record[feature])
    values = _range(entry, schema.room(record, feature), own, points)
    records = [schema.changed(record, feature, float(value)) for value in values]
    x0 = detector.prepared([detector.film(radiograph)])
    z = z_scores(deviations(detector, x0, records, fits)[0], fits)
    residual = (x0 - one_step(detector, x0, [record, *records], REGION_LEVEL))[:, 0]
    rows, columns, shares = region_of(residual[0], detector.scoring, box)
    return Influence(
        feature,
        entry.explanation_group,
        values,
        misfit(z),
        z[:, [fit.group for fit in fits].index(entry.explanation_group)],
        residual[1:, rows, columns].double().mean(dim=(1, 2)).cpu().numpy(),
        shares,
        own,
        (entry.mean - 2 * entry.std, entry.mean + 2 * entry.std),
        _drawn(detector, x0, record, records) if strip else None,
        scores_under(detector, x0, records, record.get("view")) if score else None,
    )


def curve_feature(schema: EHRSchema, name: str) -> Feature:
    """The number whose influence is asked for. Raises ExplanationError for what is no number, or was not trained with."""
    if name not in schema or schema[name].kind != "number" or not schema[name].trained:
        numbers = (
            ", ".join(entry.name for entry in schema.features if entry.kind == "number" and entry.trained)
            or "there is none"
        )
        raise ExplanationError(f"An influence curve needs a number that this checkpoint was trained with: {numbers}.")
    return schema[name]


def influence_strip(
    detector: Detector,
    radiograph: Radiograph | np.ndarray | str | os.PathLike,
    ehr: Mapping[str, object] | None,
    curve: Influence,
) -> Influence:
    """The curve with its reconstructions, where it was made without. Raises RadiographError or EHRError with a sentence."""
    record = detector.schema.parse(ehr or {})
    records = [detector.schema.changed(record, curve.feature, float(value)) for value in curve.values]
    return replace(
        curve, reconstructions=_drawn(detector, detector.prepared([detector.film(radiograph)]), record, records)
    )


def _drawn(detector: Detector, x0: Tensor, record: Record, records: Sequence[Record]) -> np.ndarray:
    """What normal looks like under each record, from the film's noise under its own: (n, S, S)."""
    films = counterfactual_films(detector, x0, [record], [records], highest_level(detector), STRIP_STEPS)
    return films[0, 1:, 0].float().cpu().numpy()


def _range(entry: Feature, room: tuple[float, float], own: float | None, points: int) -> np.ndarray:
    """Values of a number, rising: `REACH` standard deviations each way inside its room (one where the room lies beyond them), and as far as the
    record's own."""
    low, high = (float(np.clip(entry.mean + way * REACH * entry.std, *room)) for way in (-1, 1))
    if high - low < entry.std:
        low, high = max(low - entry.std, room[0]), min(high + entry.std, room[1])
    if own is not None:
        low, high = min(low, own), max(high, own)
    return np.linspace(low, high, points)
