"""What each part of the record adds to the score."""

from __future__ import annotations

import html

from diff3m.explain import Attribution, Context

from .. import figures, panels
from .registry import card

MIN_CHANGE = 0.1  # standard deviations: a smaller change of the score is not worth a word


@card("score", "The record and the score")
def score_card(attribution: Attribution, context: Context) -> str:
    """Return the card of the Shapley values of the score."""
    sentence = score_sentence(attribution)
    bars = figures.attribution_bars(attribution.groups, "lowers the score  ◂   ▸  raises it", digits=2)
    how = panels.small_text(
        "Shapley values of the score over all combinations of known and unknown parts of the record. They "
        "are exact, and often small: the score is measured where the film itself, seen through little noise, tells "
        "most of what the record says."
    )
    chart = figures.inline_svg(bars, sentence)
    text = f"<p>{html.escape(sentence)}</p>{how}"
    return f'<div class="card columns"><div>{text}</div><div>{chart}</div></div>'


def score_sentence(attribution: Attribution) -> str:
    """Say in words what the score is with and without the record."""
    known, unknown = f"{attribution.known:+.2f}", f"{attribution.unknown:+.2f}"
    start = f"The score is {known} with the record and would be {unknown} without it."
    group = max(attribution.groups, key=lambda name: abs(attribution.groups[name]), default="")
    if not group or abs(attribution.groups[group]) < MIN_CHANGE:
        return f"{start} No part of the record changes it by as much as {MIN_CHANGE:.1f}."
    return f"{start} The largest single effect on it is that of {group} ({attribution.groups[group]:+.2f})."
