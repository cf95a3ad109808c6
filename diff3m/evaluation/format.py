"""Measured values as text: shares, intervals, Markdown tables."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping


def format_share(value: float | None) -> str:
    """Format a share in three digits, or a dash where there is none."""
    return "–" if value is None else f"{value:.3f}"


def format_interval(entry: Mapping, name: str, form: str = "+.3f") -> str:
    """Format an entry's value and interval as "+0.233 [+0.167, +0.302]".

    The value alone where that has no interval, a dash where there is no value.
    """
    value = entry.get(name)
    if value is None or math.isnan(value):
        return "–"
    if entry["interval"] is None:
        return f"{value:{form}}"
    low, high = entry["interval"]
    return f"{value:{form}} [{low:{form}}, {high:{form}}]"


def format_table(head: list[str], rows: Iterable[list[str]]) -> str:
    """Format a table, without a line break at its end."""
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, ["---"] * len(head), *rows))
