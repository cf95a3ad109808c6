"""Heights and weights as people write them: with a unit, metric or imperial."""

from __future__ import annotations

import re

CM_PER_INCH = 2.54
KG_PER_POUND = 0.45359237
NUMBER = r"(\d+(?:[.,]\d+)?)"
FEET = re.compile(rf"{NUMBER}\s*(?:'|′|ft|feet|foot)\s*(?:{NUMBER}\s*(?:\"|″|''|in|inch|inches)?)?", re.IGNORECASE)
WITH_UNIT = re.compile(rf"{NUMBER}\s*([a-z\"″]+)\.?", re.IGNORECASE)
FACTORS = {
    "cm": {
        "cm": 1.0,
        "m": 100.0,
        "mm": 0.1,
        "in": CM_PER_INCH,
        "inch": CM_PER_INCH,
        "inches": CM_PER_INCH,
        '"': CM_PER_INCH,
        "″": CM_PER_INCH,
    },
    "kg": {
        "kg": 1.0,
        "g": 0.001,
        "lb": KG_PER_POUND,
        "lbs": KG_PER_POUND,
        "pound": KG_PER_POUND,
        "pounds": KG_PER_POUND,
    },
}


def to_unit(text: str, unit: str) -> float | None:
    """A length in "cm" or a weight in "kg" from text that names its unit: 5'10", 5 ft 10 in, 70 in, 1.78 m, 154 lb. None for anything else."""
    if unit not in FACTORS:
        return None
    feet = FEET.fullmatch(text.strip()) if unit == "cm" else None
    if feet:
        return (12 * _number(feet[1]) + _number(feet[2] or "0")) * CM_PER_INCH
    named = WITH_UNIT.fullmatch(text.strip())
    factor = FACTORS[unit].get(named[2].lower()) if named else None
    return None if factor is None else _number(named[1]) * factor


def _number(text: str) -> float:
    return float(text.replace(",", "."))
