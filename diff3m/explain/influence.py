"""Influence curves: the fit of the record as one of its numbers runs over a range, everything else fixed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from torch import Tensor

from ..case import Case
from ..detector import Detector
from ..ehr import EHRSchema, Feature, Record, category_of, number_of
from .attribution import scores_under
from .counterfactual import counterfactual_films, highest_level
from .needs import ExplanationError, Need, meets
from .record_fit import calibrated_fits, compute_misfit, estimate_one_step, measure_deviations, z_scores
from .region import REGION_LEVEL, locate_region
from .registry import Box, Context, Explanation, Picture, register

STRIP_STEPS = 20
REACH = 3.0  # standard deviations of the training values on each side


@dataclass(frozen=True, eq=False)
class Influence:
    """Curves over `values` (n,) of one feature, in its unit.

    misfit, deviation: (n,), how badly the film contradicts the record with that value, and the z-score of the
    feature's own group (+: the film looks like more). region: (n,), mean residual inside `box` in grey levels of the
    film's range, + brighter than expected. own: the record's value, None if unknown. trained: values within two
    standard deviations of the training mean; outside, the curve extrapolates. reconstructions: (n, S, S), what normal
    looks like for this person at each value, or None. score: (n,), the anomaly score, or None.
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
    """Run one number of the record over its range, same noises. Weight follows BMI and height, and BMI follows weight.

    points: of the curve, at least 2. strip, score: also what normal would look like at each value, and the anomaly
    score. box: the region whose residual is followed; default, the one that differs most under the record. Raises
    ExplanationError.
    """
    schema, entry, fits = detector.schema, select_curve_feature(detector.schema, feature), calibrated_fits(detector)
    if points < 2:
        raise ExplanationError(f"An influence curve needs at least two points, got {points}.")
    record, x0 = case.record, detector.inputs([case])
    own = number_of(record, feature)
    values = _range(entry, schema.allowed_range(record, feature), own, points)
    records = [schema.with_value(record, feature, float(value)) for value in values]
    z = z_scores(measure_deviations(detector, x0, records, fits)[0], fits)
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
        _reconstructions(detector, x0, record, records) if strip else None,
        scores_under(detector, x0, records, category_of(record, "view")) if score else None,
    )


def select_curve_feature(schema: EHRSchema, name: str) -> Feature:
    """Return the number whose influence is followed.

    Raises ExplanationError for what is no number, or was not trained with.
    """
    numbers = [entry.name for entry in schema.features if entry.kind == "number" and entry.trained]
    if name not in numbers:
        choices = ", ".join(numbers) or "there is none"
        raise ExplanationError(f"An influence curve needs a number that this checkpoint was trained with: {choices}.")
    return schema[name]


def with_reconstructions(detector: Detector, case: Case, curve: Influence) -> Influence:
    """Return the curve with its reconstructions, where it was computed without."""
    records = [detector.schema.with_value(case.record, curve.feature, float(value)) for value in curve.values]
    reconstructions = _reconstructions(detector, detector.inputs([case]), case.record, records)
    return replace(curve, reconstructions=reconstructions)


def _reconstructions(detector: Detector, x0: Tensor, record: Record, records: Sequence[Record]) -> np.ndarray:
    """Return what normal looks like under each record, from the film's noise under its own: (n, S, S)."""
    films = counterfactual_films(detector, x0, [record], [records], highest_level(detector), STRIP_STEPS)
    return films[0, 1:, 0].float().cpu().numpy()


def _range(entry: Feature, limits: tuple[float, float], own: float | None, points: int) -> np.ndarray:
    """Return rising values of a number.

    `REACH` standard deviations each way inside its allowed range (one where that lies beyond them), and as far as the
    record's own value.
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
    return tuple(with_reconstructions(context.detector, context.case, curve) for curve in context.result("influence"))


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
