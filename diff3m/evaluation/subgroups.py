"""Performance of a score in groups of patients: AUROC, score and false alarms by sex, age, view, BMI and others.

Groups come from the record, and from columns such as `race` that a manifest has for this report alone.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import binomtest

from ..checkpoint.folder import CARD_FILE
from ..data.manifest import REPORT_COLUMNS
from ..scoring.score import UNUSUAL
from .format import format_interval, format_table
from .metrics import (
    MIN_CLASS,
    REPEATS,
    auroc,
    auroc_within_view,
    has_enough,
    mean_with_interval,
    measure_with_interval,
    number_strata,
)

AGE_EDGES = (0, 18, 40, 60, 80)  # years; the last band has no end
BMI_EDGES = (0, 18.5, 25, 30)  # kg/m², the classes of the World Health Organization
UNKNOWN = "unknown"
TITLES = {"sex": "sex", "age": "age", "view": "view", "bmi": "BMI"}
START, END = "<!-- subgroups: written by `diff3m evaluate --card` -->", "<!-- end of subgroups -->"
NOTE = (
    f"False alarms: normal films at or above percentile {UNUSUAL} of the calibration's. Scores are standard deviations "
    "above the average normal film. Each 95 % interval is of one group alone; where a class has fewer than "
    f"{MIN_CLASS} films there is none."
)


def assign_groups(record: Mapping[str, object], columns: Mapping[str, str]) -> dict[str, str]:
    """Return the group of each kind that a patient belongs to, "" where it is not known.

    record: parsed. columns: what a manifest says beside it (`Case.report_columns`).
    """
    groups = {
        "sex": str(record.get("sex") or ""),
        "age": _name_band(record.get("age"), AGE_EDGES),
        "view": str(record.get("view") or ""),
        "bmi": _name_band(record.get("bmi"), BMI_EDGES),
    }
    return groups | {name: columns.get(name, "") for name in REPORT_COLUMNS}


def _name_band(value: object, edges: Sequence[float]) -> str:
    """Return the name of the band [edge, next edge) that holds a number, as in "25 to 30"; "" where it is unknown."""
    if not isinstance(value, int | float):
        return ""
    for low, high in pairwise(edges):
        if value < high:
            return f"under {high:g}" if low == 0 else f"{low:g} to {high:g}"
    return f"{edges[-1]:g} and over"


def _make_sort_key(kind: str, name: str) -> tuple:
    """Sort bands by their edges, other groups by name, unknown last."""
    edges = {"age": AGE_EDGES, "bmi": BMI_EDGES}.get(kind)
    if name == UNKNOWN or edges is None:
        return name == UNKNOWN, 0.0, name
    number = 0.0 if name.startswith("under") else float(name.split()[0])
    return False, number, name


def compute_subgroup_metrics(
    scores: np.ndarray,
    percentiles: np.ndarray,
    abnormal: np.ndarray,
    views: np.ndarray,
    groups: Mapping[str, np.ndarray | pd.Series],
    repeats: int = REPEATS,
) -> dict[str, dict[str, dict]]:
    """Measure every group of every kind on labelled films.

    scores, percentiles: (N,) float. abnormal: (N,) bool. views: (N,) text. groups: by kind the group of each film, (N,)
    text, "" = unknown; a kind that is unknown for all films is left out, but for BMI, whose lack is worth knowing.
    Returns by kind and group: films, normal, abnormal; auroc and auroc_within_view with intervals; normal_score and
    abnormal_score (means) and false_alarms (share of normal films) as {"value", "interval"}. Values that cannot be had
    are None, and so is an interval where a class has fewer than `MIN_CLASS` films.
    """
    result: dict[str, dict[str, dict]] = {}
    for kind, members in groups.items():
        names = {str(name) for name in pd.unique(pd.Series(members))}
        if names <= {""} and kind not in TITLES:
            continue
        groups_in_order = sorted((name or UNKNOWN for name in names), key=partial(_make_sort_key, kind))
        result[kind] = {
            name: _measure(rows, scores, percentiles, abnormal, views, repeats)
            for name in groups_in_order
            for rows in [np.flatnonzero(np.asarray(members == ("" if name == UNKNOWN else name)))]
        }
    return result


def _measure(
    rows: np.ndarray,
    scores: np.ndarray,
    percentiles: np.ndarray,
    abnormal: np.ndarray,
    views: np.ndarray,
    repeats: int,
) -> dict:
    score, flags, view = scores[rows], abnormal[rows], views[rows]
    strata = number_strata(view, flags)
    parts = [flags[view == name] for name in np.unique(view[view != ""])]
    inside = all(has_enough(part) for part in parts if part.any() and not part.all())
    return {
        "films": len(rows),
        "normal": int((~flags).sum()),
        "abnormal": int(flags.sum()),
        **measure_with_interval("auroc", auroc, (score, flags), strata, repeats, has_enough(flags)),
        **measure_with_interval("auroc_within_view", auroc_within_view, (score, flags, view), strata, repeats, inside),
        "normal_score": _summarize_mean(score[~flags], repeats),
        "abnormal_score": _summarize_mean(score[flags], repeats),
        "false_alarms": measure_share(percentiles[rows][~flags] >= UNUSUAL),
    }


def _summarize_mean(values: np.ndarray, repeats: int) -> dict:
    if not len(values):
        return {"value": None, "interval": None}
    if len(values) < MIN_CLASS:
        return {"value": float(values.mean()), "interval": None}
    entry = mean_with_interval(values, repeats)
    return {"value": entry["mean"], "interval": entry["interval"]}


def measure_share(flags: np.ndarray) -> dict:
    """Return the share of (N,) bool and its 95 % interval (Wilson 1927), which a share of 0 has too.

    No interval for fewer than `MIN_CLASS` films, no value for none.
    """
    if not len(flags):
        return {"value": None, "interval": None}
    count = int(flags.sum())
    limits = binomtest(count, len(flags)).proportion_ci(0.95, method="wilson")
    enough = len(flags) >= MIN_CLASS
    return {
        "value": count / len(flags),
        "interval": (float(limits.low), float(limits.high)) if enough else None,
    }


def format_subgroup_table(subgroups: Mapping[str, Mapping[str, Mapping]]) -> str:
    """Write the measured groups as a Markdown table with its note."""
    head = [
        "group", "normal", "abnormal", "AUROC within view", "views mixed", "score, normal", "score, abnormal",
        "false alarms",
    ]  # fmt: skip
    rows = []
    for kind, groups in subgroups.items():
        for name, entry in groups.items():
            aurocs = [
                format_interval({key: entry[key], "interval": entry[f"{key}_interval"]}, key, ".2f")
                for key in ("auroc_within_view", "auroc")
            ]
            means = [format_interval(entry[key], "value", "+.2f") for key in ("normal_score", "abnormal_score")]
            alarms = format_interval(entry["false_alarms"], "value", ".2f")
            counts = [str(entry[key]) for key in ("normal", "abnormal")]
            rows.append([f"{TITLES.get(kind, kind)}: {name}", *counts, *aurocs, *means, alarms])
    return f"{format_table(head, rows)}\n\n{NOTE}\n"


def write_subgroups(folder: Path, subgroups: Mapping) -> str:
    """Write subgroups.json and subgroups.md into a folder; returns the table."""
    table = format_subgroup_table(subgroups)
    (folder / "subgroups.json").write_text(json.dumps(subgroups, indent=1) + "\n")
    (folder / "subgroups.md").write_text(table)
    return table


def write_card_section(folder: Path, table: str, films: str) -> Path:
    """Write the table into a checkpoint's model card, in place of an earlier one, or at its end.

    folder: of the checkpoint; a card is begun where there is none. films: which films were measured, a line.
    Returns the card's path.
    """
    path = folder / CARD_FILE
    card = path.read_text(encoding="utf-8") if path.is_file() else f"# {folder.name}\n"
    section = f"{START}\n## Groups of patients\n\n{films}\n\n{table}{END}\n"
    before, start, rest = card.partition(START)
    after = rest.partition(f"{END}\n")[2] if start else ""
    path.write_text(before.rstrip("\n") + f"\n\n{section}{after}", encoding="utf-8")
    return path
