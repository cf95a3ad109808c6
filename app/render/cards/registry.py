"""Which function draws the card of which explanation."""

from __future__ import annotations

import html
from collections.abc import Callable
from typing import Any

from diff3m.explain import EXPLANATIONS, Context

Card = Callable[[Any, Context], str]
CARDS: dict[str, Card] = {}
TITLES: dict[str, str] = {}


def card(name: str, title: str = "") -> Callable[[Card], Card]:
    """Register a function (result, context) → HTML as the card of an explanation.

    title: of its fold, for the reader; default, the explanation's own. Raises KeyError for an explanation that there
    is not, ValueError for a second card of one.
    """
    EXPLANATIONS[name]
    if name in CARDS:
        raise ValueError(f"there are two cards for {name!r}")

    def register(function: Card) -> Card:
        CARDS[name] = function
        if title:
            TITLES[name] = title
        return function

    return register


def card_title(name: str) -> str:
    """Return the title of an explanation's fold."""
    return TITLES.get(name, EXPLANATIONS[name].title)


def render(name: str, result: Any, context: Context) -> str:
    """Return the card of an explanation; of one without a card of its own, its text. The fold has the title."""
    if name in CARDS:
        return CARDS[name](result, context)
    explanation = EXPLANATIONS[name]
    lines = "".join(f"<p>{html.escape(line)}</p>" for line in explanation.describe(result))
    return f'<div class="card">{lines}</div>'
