"""Attention of the record's groups as bars."""

from __future__ import annotations

import html

from diff3m.explain import Context

from .. import figures, wording
from .registry import card


@card("attention", "Where the model looked in the record")
def attention_card(weights: dict[str, float], context: Context) -> str:
    """Return a chart of the attention weights by explanation group; groups of which nothing is known are pale.

    Groups that the model does not use are left out: a weight of their own says nothing.
    """
    schema, record = context.detector.schema, context.case.record
    rows = [
        (
            wording.group_title(group),
            weight,
            any(member.trained and record.get(member.name) is not None for member in schema.explanation_groups[group]),
        )
        for group, weight in weights.items()
        if any(member.trained for member in schema.explanation_groups[group])
    ]
    chart = figures.inline_svg(figures.group_attention_bars(rows), wording.ATTENTION_LIMIT)
    return f'<div class="card"><p>{html.escape(wording.ATTENTION_LIMIT)}</p>{chart}</div>'
