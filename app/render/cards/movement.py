"""What the record moves in the picture of normal, before the film is seen and beside it."""

from __future__ import annotations

import html

from diff3m.explain import EXPLANATIONS, Attribution, Context
from diff3m.explain.attribution import MIN_MOVEMENT

from .. import figures, panels
from .registry import card

AXIS = "nearer to the record's normal  ◂   ▸  farther from it"


@card("prior", "What the record makes expect before the film is seen")
def prior_card(prior: Attribution, context: Context) -> str:
    """Return the card of what the record moves before the film is seen."""
    how = panels.small_text(
        "How far normal as expected with parts of the record unknown lies from normal as the whole record makes "
        "expect it, in squared standard deviations of normal people, and each group's Shapley value, under noise "
        "that hides the film. On simulated patients these values follow what truly changes; on real films there is "
        "no truth to compare with. A value that another part of the record tells already (height tells of sex) gets "
        "less."
    )
    unusual = f"<p>{html.escape(unusual_sentence(prior))}</p>" if prior.unusual else ""
    title = "What the record moves in the picture of normal, before the film is seen"
    return _movement_card(title, prior, prior_sentence(prior), unusual + how)


@card("expectation", "What the record makes expect beside this film")
def expectation_card(expectation: Attribution, context: Context) -> str:
    """Return the card of what the record moves beside the film."""
    prior = context.results.get(EXPLANATIONS["prior"].name)
    how = panels.small_text(
        "The same with this film there. On simulated patients it follows what truly changes only roughly."
    )
    return _movement_card("… and beside this film", expectation, expectation_sentence(expectation, prior), how)


def _movement_card(title: str, attribution: Attribution, sentence: str, below: str) -> str:
    chart = figures.inline_svg(figures.attribution_bars(attribution.groups, AXIS), sentence)
    return (
        f'<div class="card columns"><div><h3>{html.escape(title)}</h3><p>{html.escape(sentence)}</p></div>'
        f'<div>{chart}</div><div class="wide">{below}</div></div>'
    )


def prior_sentence(prior: Attribution) -> str:
    """Say in words how far the record moves normal before the film is seen."""
    return f"Knowing the record moves the picture of normal by {prior.unknown:.1f} (0: not at all){_mostly(prior)}."


def expectation_sentence(expectation: Attribution, prior: Attribution | None = None) -> str:
    """Say in words how far the record moves normal beside the film, against before it is seen where that is known."""
    start = f"With the film there, knowing the record moves it by {expectation.unknown:.1f}"
    if prior is not None and expectation.unknown < MIN_MOVEMENT <= prior.unknown:
        return f"{start}: the film shows the rest itself."
    return f"{start}{_mostly(expectation)}."


def unusual_sentence(prior: Attribution) -> str:
    """Say in words which part of this record moves normal unusually far."""
    group = prior.farthest_out
    if group is None:
        return "Nothing in this record stands out: as a whole it hardly moves normal."
    hundredths = min(99, int(100 * prior.unusual[group]))
    share = f"more than in {hundredths} of 100 normal films"  # not people: a view is none of their properties
    if prior.stands_out is None:
        return (
            f"No part of this record is far out of the ordinary; the nearest to it is {group}, which moves normal "
            f"{share}."
        )
    return f"What stands out in this record is {group}: it moves normal {share}."


def _mostly(attribution: Attribution) -> str:
    """Name the group that moves most, where anything moves to speak of."""
    if attribution.unknown < MIN_MOVEMENT:
        return ", next to nothing"
    group = min(attribution.groups, key=lambda name: attribution.groups[name])
    return f", most strongly by {group} ({attribution.groups[group]:+.1f})"
