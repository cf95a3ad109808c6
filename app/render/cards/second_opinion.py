"""Whether other methods of attribution say the same."""

from __future__ import annotations

import html

from diff3m.explain import Agreement, Context, SecondOpinion

from .. import panels
from .registry import card


@card("second_opinion")
def second_opinion_card(opinion: SecondOpinion, context: Context) -> str:
    """Return the card of integrated gradients, ablation and single values beside the Shapley values."""
    schema, gradients = context.detector.schema, opinion.gradients
    sentences = "".join(
        f"<p>{html.escape(agreement_sentence(name, one))}</p>" for name, one in opinion.agreements.items()
    )
    groups = ", ".join(f"{group} {value:+.1f}" for group, value in gradients.groups.items())
    parts = ", ".join(
        f"{schema[name].label if name in schema else name} {value:+.1f}"
        for name, value in opinion.attribution.parts.items()
    )
    how = panels.small_text(
        f"Shapley values by single values of the record: {parts or 'none is known'}. Integrated gradients by group: "
        f"{groups} (they miss the whole change by {abs(gradients.gap):.1f}). They walk a straight line from "
        "“unknown” to the record, through records that nobody has; Shapley values use only records that training "
        "saw."
    )
    return f'<div class="card"><h3>Do other methods agree?</h3>{sentences}{how}</div>'


def agreement_sentence(name: str, agreement: Agreement) -> str:
    """Say in words how far a method agrees with Shapley values."""
    start, plural = name[0].upper() + name[1:], name.endswith("s")
    if not agreement.comparisons:
        return f"{start}: no part of the record changes the misfit by 1 or more, so there is nothing to compare."
    if agreement.is_full:
        verb = "agree" if plural else "agrees"
        return f"{start} {verb} with the Shapley values above in the signs and in the order of the groups."
    doubts = [] if agreement.signs == 1 else [f"{agreement.signs:.0%} of the signs are the same"]
    doubts += [] if agreement.order else ["the order of the groups is another"]
    doubts += [] if agreement.largest else ["it names another group as the largest: take the ranking with care"]
    verb = "do" if plural else "does"
    return f"{start} {verb} not agree with the Shapley values above in everything: {'; '.join(doubts)}."
