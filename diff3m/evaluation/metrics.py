"""Detection metrics with bootstrap intervals, overall and within view.

View is confounded with disease (sick people are filmed lying), so every number that mixes views stands beside the mean
of the per-view ones.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.stats import rankdata

REPEATS = 1000
MIN_CLASS = 10  # films of a class under which an interval would claim a certainty that resampling cannot know

MANY_FILMS, FEW_REPEATS = 20_000, 200  # of more films than that, intervals are narrow, and each repeat takes long


def choose_repeats(films: int) -> int:
    """Return how often films are resampled: `REPEATS` times, and in proportion less often for more than 20,000."""
    return max(FEW_REPEATS, min(REPEATS, REPEATS * MANY_FILMS // max(films, 1)))


def auroc(scores: np.ndarray, abnormal: np.ndarray) -> float:
    """Return the area under the ROC curve (the Mann-Whitney statistic, ties count half); NaN without both classes.

    scores: (N,), larger = more abnormal. abnormal: (N,) bool.
    """
    positive = int(abnormal.sum())
    negative = len(abnormal) - positive
    if not positive or not negative:
        return float("nan")
    ranks = rankdata(scores)
    return float((ranks[abnormal].sum() - positive * (positive + 1) / 2) / (positive * negative))


def average_precision(scores: np.ndarray, abnormal: np.ndarray) -> float:
    """Return Σ (R_n − R_{n−1}) P_n over distinct thresholds; NaN without both classes.

    The same as scikit-learn's `average_precision_score`, which takes ten times as long in a bootstrap. scores: (N,).
    abnormal: (N,) bool.
    """
    if abnormal.all() or not abnormal.any():
        return float("nan")
    order = np.argsort(-scores, kind="stable")
    descending, hits = scores[order], np.cumsum(abnormal[order])
    last = np.append(descending[1:] != descending[:-1], True)  # the last film of each run of equal scores
    precision, recall = (hits / np.arange(1, len(scores) + 1))[last], (hits / hits[-1])[last]
    return float(np.sum(np.diff(recall, prepend=0) * precision))


def auroc_within_view(scores: np.ndarray, abnormal: np.ndarray, views: np.ndarray) -> float:
    """Return the mean of the AUROCs inside each view that has both classes; NaN if none has."""
    return _average_over_views(auroc, scores, abnormal, views)


def average_precision_within_view(scores: np.ndarray, abnormal: np.ndarray, views: np.ndarray) -> float:
    """Return the mean of the average precisions inside each view that has both classes; NaN if none has."""
    return _average_over_views(average_precision, scores, abnormal, views)


def _average_over_views(
    function: Callable[[np.ndarray, np.ndarray], float], scores: np.ndarray, abnormal: np.ndarray, views: np.ndarray
) -> float:
    inside = [function(scores[views == view], abnormal[views == view]) for view in np.unique(views[views != ""])]
    inside = [value for value in inside if np.isfinite(value)]
    return float(np.mean(inside)) if inside else float("nan")


def bootstrap_interval(
    statistic: Callable[[np.ndarray], float], strata: np.ndarray, repeats: int = REPEATS, seed: int = 0
) -> tuple[float, float] | None:
    """Return the 95 % percentile interval of a statistic, resampling inside each stratum; None if it is never finite.

    statistic: a function of row indices. strata: (N,), the stratum of each row. seed: of the resampling.
    """
    rng = np.random.default_rng(seed)
    members = [np.flatnonzero(strata == stratum) for stratum in np.unique(strata)]
    draws = [statistic(np.concatenate([rng.choice(rows, len(rows)) for rows in members])) for _ in range(repeats)]
    finite = np.asarray(draws)[np.isfinite(draws)]
    return (float(np.percentile(finite, 2.5)), float(np.percentile(finite, 97.5))) if len(finite) else None


def number_strata(views: np.ndarray, abnormal: np.ndarray) -> np.ndarray:
    """Number the strata of a bootstrap: (N,) int16, one for each view and class."""
    numbers = np.zeros(len(views), np.int16)
    for number, view in enumerate(np.unique(views)):
        numbers[views == view] = 2 * number
    return numbers + abnormal


def detection_metrics(scores: np.ndarray, abnormal: np.ndarray, views: np.ndarray, repeats: int = REPEATS) -> dict:
    """Measure AUROC and average precision with 95 % intervals: over all films, the mean within views, and per view.

    scores (N,) float, larger = more abnormal; abnormal (N,) bool; views (N,) text, "" = unknown. Values that cannot be
    had (one class only) are None, and so is every interval where a class has fewer than `MIN_CLASS` films; within
    views, where that is so in one of the views that count.
    """
    strata = number_strata(views, abnormal)
    result: dict = {"films": len(scores), "normal": int((~abnormal).sum()), "abnormal": int(abnormal.sum())}
    enough = has_enough(abnormal)
    for name, function in (("auroc", auroc), ("average_precision", average_precision)):
        result.update(measure_with_interval(name, function, (scores, abnormal), strata, repeats, enough))
    flags = [abnormal[views == view] for view in np.unique(views[views != ""])]
    enough = all(has_enough(part) for part in flags if part.any() and not part.all())
    for name, within_view in (
        ("auroc_within_view", auroc_within_view),
        ("average_precision_within_view", average_precision_within_view),
    ):
        result.update(measure_with_interval(name, within_view, (scores, abnormal, views), strata, repeats, enough))
    result["views"] = {}
    for view in np.unique(views[views != ""]):
        rows = views == view
        part: dict = {
            "films": int(rows.sum()),
            "normal": int((~abnormal[rows]).sum()),
            "abnormal": int(abnormal[rows].sum()),
        }
        enough = has_enough(abnormal[rows])
        for name, function in (("auroc", auroc), ("average_precision", average_precision)):
            columns = (scores[rows], abnormal[rows])
            part.update(measure_with_interval(name, function, columns, strata[rows], repeats, enough))
        result["views"][str(view)] = part
    return result


def has_enough(abnormal: np.ndarray) -> bool:
    """Tell whether both classes of abnormal (N,) bool have the `MIN_CLASS` films that an interval needs."""
    return min(int(abnormal.sum()), int((~abnormal).sum())) >= MIN_CLASS


def paired_difference(
    first: np.ndarray, second: np.ndarray, abnormal: np.ndarray, views: np.ndarray, repeats: int = REPEATS
) -> dict:
    """Compare two scores (N,) of the same films: within-view AUROC of the first minus that of the second.

    Returns "difference", None where no view has both classes, and its 95 % "interval" over films resampled in pairs.
    """

    def statistic(i: np.ndarray) -> float:
        return auroc_within_view(first[i], abnormal[i], views[i]) - auroc_within_view(second[i], abnormal[i], views[i])

    strata, value = number_strata(views, abnormal), statistic(np.arange(len(first)))
    return {
        "difference": value if np.isfinite(value) else None,
        "interval": bootstrap_interval(statistic, strata, repeats),
    }


def make_mean(values: np.ndarray) -> Callable[[np.ndarray], float]:
    """Return a function of indices: the mean of those values of (N,)."""
    return lambda rows: float(values[rows].mean())


def mean_with_interval(values: np.ndarray, repeats: int = REPEATS) -> dict:
    """Return the mean of (N,) and its 95 % interval over films."""
    return {
        "mean": float(values.mean()),
        "interval": bootstrap_interval(make_mean(values), np.zeros(len(values)), repeats),
    }


def measure_with_interval(
    name: str,
    function: Callable[..., float],
    columns: tuple[np.ndarray, ...],
    strata: np.ndarray,
    repeats: int,
    enough: bool,
) -> dict:
    """Return {name: function(*columns), name_interval: its 95 % interval over films}.

    columns: (N,) each. strata: (N,), inside which films are resampled. enough: whether there are enough films for an
    interval, which is None otherwise; both are None where the function is not finite.
    """

    def statistic(rows: np.ndarray) -> float:
        return function(*(column[rows] for column in columns))

    value = statistic(np.arange(len(strata)))
    if not np.isfinite(value):
        return {name: None, f"{name}_interval": None}
    return {name: value, f"{name}_interval": bootstrap_interval(statistic, strata, repeats) if enough else None}
