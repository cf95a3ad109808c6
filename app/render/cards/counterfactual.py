"""What normal looks like for this person without a record, and under another one."""

from __future__ import annotations

from diff3m.explain import Context, Counterfactual
from diff3m.explain.counterfactual import RecordChanges

from .. import wording
from .layout import NO_CHANGE, mean_change, two_normals_card
from .registry import card


@card("record_unknown")
def record_unknown_card(result: Counterfactual, context: Context) -> str:
    """Return the card of normal with the record and without it, side by side."""
    size = mean_change(result.differences[0])
    movement = f"The record moves the picture of what is normal by {wording.percent(size)} of the grey range on average"
    where = ": next to nothing." if size < NO_CHANGE else " (red: brighter without the record, blue: darker)."
    labels = ("normal, record known", "normal, record unknown", "without the record")
    return two_normals_card("With and without the record", movement + where, result, 0, labels, context.case.aspect)


@card("record_changed")
def record_changed_card(result: RecordChanges, context: Context) -> str:
    """Return a card for each other record of the same person."""
    cards = ""
    for index, (name, _) in enumerate(result.changes):
        counterfactual, feature = result.counterfactual, context.detector.schema[name]
        size = mean_change(counterfactual.differences[index])
        own, other = (
            feature.describe(record.get(name)) for record in (counterfactual.record, counterfactual.others[index])
        )
        caption = (
            f"With {feature.label} {other} instead of {own}, the picture of what is normal moves by "
            f"{wording.percent(size)} of the grey range on average"
        )
        caption += (
            ": next to nothing." if size < NO_CHANGE else " (red: brighter under the other record, blue: darker)."
        )
        labels = ("normal, this record", f"normal, {feature.label} {other}", "what the change did")
        cards += two_normals_card("Under another record", caption, counterfactual, index, labels, context.case.aspect)
    return cards
