"""Influence curves: how misfit, residual and score change with one number of the record, everything else fixed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from torch import Tensor

from ..case import Case
from ..detector import Detector
from ..ehr import EHRSchema, Feature, Record, category_of, number_of
from .attribution import score_records
from .counterfactual import get_highest_level, reconstruct_counterfactuals
from .needs import ExplanationError, Need, meets
from .record_fit import compute_misfit, compute_z_scores, estimate_one_step, get_calibrated_fits, measure_deviations
from .region import REGION_LEVEL, locate_region
from .registry import Box, Context, Explanation, Picture, register

STRIP_STEPS = 20
REACH = 3.0  # standard deviations of the training values on each side


@dataclass(frozen=True, eq=False)
class Influence:
    """Curves over n values of one feature.

    group: explanation group of the feature. values: (n,), in the feature's unit. misfit: (n,), how badly the film
    contradicts the record with that value. deviation: (n,), z-score of the feature's own group (+: the film looks like
    a higher value). region: (n,), mean residual inside `box` in shares of the grey range, + brighter than expected.
    own: the record's value, None if unknown. trained: the range within two standard deviations of the training mean;
    outside it the curve extrapolates. reconstructions: (n, S, S) in [0, 1], the counterfactual at each value, or None.
    score: (n,), the anomaly score, or None.
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


def compute_influence(
    detector: Detector,
    case: Case,
    feature: str,
    points: int = 9,
    strip: bool = True,
    score: bool = False,
    box: Box | None = None,
) -> Influence:
    """Compute the influence curve of one number of the record, with the same noises at all values.

    Weight follows BMI and height, and BMI follows weight. feature: its name. points: of the curve, at least 2. strip:
    whether to reconstruct the film at each value. score: whether to measure the anomaly score. box: the region whose
    residual is measured; default, the one that differs most under the record. Raises ExplanationError.
    """
    schema, entry, fits = detector.schema, select_curve_feature(detector.schema, feature), get_calibrated_fits(detector)
    if points < 2:
        raise ExplanationError(f"An influence curve needs at least two points, got {points}.")
    record, x0 = case.record, detector.inputs([case])
    own = number_of(record, feature)
    values = _select_values(entry, schema.allowed_range(record, feature), own, points)
    records = [schema.with_value(record, feature, float(value)) for value in values]
    z = compute_z_scores(measure_deviations(detector, x0, records, fits)[0], fits)
    residual = (x0 - estimate_one_step(detector, x0, [record, *records], REGION_LEVEL))[:, 0]
    rows, columns, shares = locate_region(residual[0], detector.scoring, box)
    return Influence(
        feature,
        entry.explanation_group,
        values,
        compute_misfit(z),
        z[:, [fit.group for fit in fits].index(entry.explanation_group)],
        residual[1:, rows, columns].double().mean(dim=(1, 2)).cpu().numpy(),
        shares,
        own,
        (entry.mean - 2 * entry.std, entry.mean + 2 * entry.std),
        _reconstruct_records(detector, x0, record, records) if strip else None,
        score_records(detector, x0, records, category_of(record, "view")) if score else None,
    )


def select_curve_feature(schema: EHRSchema, name: str) -> Feature:
    """Return a feature by name.

    Raises ExplanationError for one that is no number, or that the checkpoint was not trained with.
    """
    numbers = [entry.name for entry in schema.features if entry.kind == "number" and entry.trained]
    if name not in numbers:
        choices = ", ".join(numbers) or "there is none"
        raise ExplanationError(f"An influence curve needs a number that this checkpoint was trained with: {choices}.")
    return schema[name]


def add_reconstructions(detector: Detector, case: Case, curve: Influence) -> Influence:
    """Return a curve that was computed without reconstructions with them."""
    records = [detector.schema.with_value(case.record, curve.feature, float(value)) for value in curve.values]
    reconstructions = _reconstruct_records(detector, detector.inputs([case]), case.record, records)
    return replace(curve, reconstructions=reconstructions)


def _reconstruct_records(detector: Detector, x0: Tensor, record: Record, records: Sequence[Record]) -> np.ndarray:
    """Reconstruct a film under n records, from its noise under its own record: (n, S, S)."""
    films = reconstruct_counterfactuals(detector, x0, [record], [records], get_highest_level(detector), STRIP_STEPS)
    return films[0, 1:, 0].float().cpu().numpy()


def _select_values(entry: Feature, limits: tuple[float, float], own: float | None, points: int) -> np.ndarray:
    """Return `points` rising values of a number.

    They reach `REACH` standard deviations each way inside the allowed range (one where that range lies beyond them),
    and include the record's own value in their range.
    """
    low, high = (float(np.clip(entry.mean + way * REACH * entry.std, *limits)) for way in (-1, 1))
    if high - low < entry.std:
        low, high = max(low - entry.std, limits[0]), min(high + entry.std, limits[1])
    if own is not None:
        low, high = min(low, own), max(high, own)
    return np.linspace(low, high, points)


def _explain(context: Context) -> tuple[Influence, ...]:
    score, box = meets(context.detector, Need.SCORE), context.request.box
    return tuple(
        compute_influence(context.detector, context.case, name, strip=False, score=score, box=box)
        for name in context.request.numbers
    )


def _explain_strip(context: Context) -> tuple[Influence, ...]:
    return tuple(add_reconstructions(context.detector, context.case, curve) for curve in context.compute("influence"))


def _validate(context: Context) -> None:
    for name in context.request.numbers:
        select_curve_feature(context.detector.schema, name)


def _to_dict(curves: Sequence[Influence]) -> dict:
    return {
        curve.feature: {
            "values": curve.values.tolist(),
            "misfit": curve.misfit.tolist(),
            "deviation": curve.deviation.tolist(),
            "region": {"box": list(curve.box), "residual": curve.region.tolist()},
            "score": None if curve.score is None else curve.score.tolist(),
            "own": curve.own,
            "trained": list(curve.trained),
        }
        for curve in curves
    }


def _describe(curves: Sequence[Influence]) -> list[str]:
    lines = []
    for curve in curves:
        rows = {"misfit": (curve.misfit, ".1f"), "residual of the region": (curve.region, "+.1%")}
        if curve.score is not None:
            rows["score"] = (curve.score, "+.2f")
        for name, (levels, form) in rows.items():
            pairs = zip(curve.values, levels, strict=True)
            points = ", ".join(f"{value:.4g}: {level:{form}}" for value, level in pairs)
            lines.append(f"{name} by {curve.feature}: {points}")
    return lines


def _strip_to_dict(curves: Sequence[Influence]) -> dict:
    return {
        curve.feature: {"mean_absolute_change": float(np.abs(np.diff(curve.reconstructions, axis=0)).mean())}
        for curve in curves
        if curve.reconstructions is not None
    }


def _describe_strip(curves: Sequence[Influence]) -> list[str]:
    return [
        f"normal along {feature}: differs by {entry['mean_absolute_change']:.2%} of the grey range from one value to "
        "the next"
        for feature, entry in _strip_to_dict(curves).items()
    ]


def _strip_pictures(curves: Sequence[Influence]) -> dict[str, Picture]:
    return {
        f"influence_{curve.feature}": Picture(np.concatenate(list(curve.reconstructions), axis=1))
        for curve in curves
        if curve.reconstructions is not None
    }


register(
    Explanation(
        name="influence",
        title="Influence of a number",
        progress="Measuring the influence of one number …",
        order=90,
        cost="high",
        explain=_explain,
        to_dict=_to_dict,
        describe=_describe,
        needs=(Need.UNKNOWN_TOKENS, Need.FIT),
        is_requested=lambda request: bool(request.numbers),
        validate=_validate,
    )
)
register(
    Explanation(
        name="influence_strip",
        title="Normal along a number",
        progress="Drawing what normal would look like along it …",
        order=95,
        cost="high",
        explain=_explain_strip,
        to_dict=_strip_to_dict,
        describe=_describe_strip,
        needs=(Need.UNKNOWN_TOKENS, Need.FIT),
        pictures=_strip_pictures,
        is_requested=lambda request: bool(request.numbers) and request.pictures,
    )
)
