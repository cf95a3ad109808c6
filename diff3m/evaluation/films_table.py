"""Results of `film_comparison.benchmark_films` as Markdown tables."""

from __future__ import annotations

from collections.abc import Mapping

from .format import format_interval, format_share, format_table

PARTS = {"all": "All films"}
SIDES = {"size": "by size", "brighter": "by the brighter side"}
LOCALIZATION_METRICS = {"pointing_game": "pointing game", "average_precision": "box average precision"}


def format_tables(result: Mapping) -> str:
    """Write detection by part of the films, the paired differences of our score, where maps point, and the cost.

    No AUROC stands without the one within view beside it.
    """
    pieces = [_format_counts(result)]
    for part, labels in result["parts"].items():
        if labels:
            pieces += [f"{PARTS.get(part, f'Part {part}')}:", _format_detection(labels)]
            pieces += ["Ours with the true record, paired differences:", _format_differences(labels)]
    localization = {name: labels for name, labels in result["localization"].items() if labels}
    if localization:
        pieces += ["Where (films with boxes):", _format_localization(localization)]
    cost = [
        [name, f"{seconds:.2f}" if seconds >= 0.01 else "under 0.01"]
        for name, seconds in result["seconds_a_film"].items()
    ]
    pieces += ["Cost:", format_table(["method", "seconds a film"], cost)]
    return "\n\n".join(pieces) + "\n"


def _format_counts(result: Mapping) -> str:
    """Say how many films there are, and how many were left out."""
    text = f"{result['films']} films"
    if result["accepted"]:
        text += f", {result['accepted']} of which the gate stops and that were judged knowingly"
    if not result["stopped"] and not result["unreadable"]:
        return f"{text}."
    return (
        f"{text}. {result['stopped']} more were stopped by the gate, {result['unreadable']} could not be read; "
        "scores.csv says why."
    )


def _format_detection(labels: Mapping[str, dict]) -> str:
    head = ["method", "score"]
    for label in labels:
        head += [f"{_format_label(label)}: AUROC within view", "views mixed", "average precision within view; mixed"]
    methods = next(iter(labels.values()))["methods"]
    rows = []
    for name, scores in methods.items():
        for score in scores:
            row = [name, score]
            for entry in labels.values():
                values = entry["methods"][name][score]
                within_view = _format_metric(values, "average_precision_within_view")
                row += [_format_metric(values, "auroc_within_view"), format_share(values["auroc"])]
                row.append(f"{within_view}; {format_share(values['average_precision'])}")
            rows.append(row)
    return format_table(head, rows)


def _format_differences(labels: Mapping[str, dict]) -> str:
    rows = []
    for label, entry in labels.items():
        for against, gain in entry["difference"].items():
            rows.append([_format_label(label), against, format_interval(gain, "difference")])
    return format_table(["films against normal", "ours", "AUROC within view"], rows)


def _format_localization(localization: Mapping[str, Mapping]) -> str:
    head = [
        "method",
        "films",
        *(f"{what}, {side}" for what in LOCALIZATION_METRICS.values() for side in SIDES.values()),
        "chance",
    ]
    rows = []
    for name, labels in localization.items():
        for label, entry in labels.items():
            values = [
                format_interval(entry[side][what], "mean", ".2f") for what in LOCALIZATION_METRICS for side in SIDES
            ]
            rows.append([name, f"{entry['films']} {_format_label(label)}", *values, f"{entry['chance']:.2f}"])
    return format_table(head, rows)


def _format_metric(values: Mapping, key: str) -> str:
    """Format a metric with its interval, as in 0.911 [0.825, 0.983], or a dash."""
    return format_interval({key: values[key], "interval": values[f"{key}_interval"]}, key, ".3f")


def _format_label(label: str) -> str:
    return label.replace("_", " ")
