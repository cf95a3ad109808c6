"""Which phantoms of a split are used for what, so that no number is used twice."""

from __future__ import annotations

from ..data.phantom import SEEDS

FIRST = {  # offset from the split's first number
    "detection": 0,
    "teaching": 60_000,
    "explanations": 70_000,
    "counterfactuals": 90_000,
}
EXPLANATIONS_STRIDE = 2_000  # from one kind of explained phantom to the next


def get_first_number(split: str, use: str) -> int:
    """Return the first phantom number of a split ("train", "val", "dev", "test") for one use of `FIRST`."""
    return SEEDS[split][0] + FIRST[use]


def get_explanation_number(split: str, kind: int, index: int) -> int:
    """Return the number of one explained phantom: the kind's place, and its index in it."""
    return get_first_number(split, "explanations") + EXPLANATIONS_STRIDE * kind + index
