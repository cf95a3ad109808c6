"""Attention has its chart beside the score of every analysis, so the explanations draw none."""

from __future__ import annotations

from diff3m.explain import Context

from .registry import card


@card("attention", "Where the model looked in the record")
def attention_card(weights: dict[str, float], context: Context) -> str:
    """Return nothing: the page shows attention with the score."""
    return ""
