"""Numbers of explanations as plain text."""

from __future__ import annotations

from collections.abc import Mapping


def join_values(values: Mapping[str, float], form: str) -> str:
    """Return "name value, name value" with each value in a format such as "+.2f"."""
    return ", ".join(f"{name} {value:{form}}" for name, value in values.items())


def format_people_share(share: float) -> str:
    """Return a share of people in words: "84 of 100 people"; never all of them."""
    return f"{min(99, int(100 * share))} of 100 people"
