"""What one value of a record says about another: BMI follows from height and weight, diastolic lies below systolic.

The functions take and return records (feature name → value, None where unknown) and leave out what the record lacks.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from .errors import EHRError
from .units import CM_PER_INCH

Value = float | str | None
Record = dict[str, Value]

HABITUS = ("bmi", "height_cm", "weight_kg")  # move as one: two of them tell the third
MIN_PULSE_PRESSURE = 10.0  # mmHg between systolic and diastolic, where one of them is set beside the other


def body_mass_index(height_cm: float, weight_kg: float) -> float:
    """Return weight in kg over the square of height in m."""
    return weight_kg / (height_cm / 100) ** 2


def bmi_rounding(height_cm: float, weight_kg: float) -> float:
    """Return how far a BMI may lie from rounded height and weight: half an inch or 1 cm, 1 kg, and 0.5 BMI."""
    bmi_of_body = body_mass_index(height_cm, weight_kg)
    return 0.5 + bmi_of_body * (2 * (CM_PER_INCH / 2) / height_cm + 1 / weight_kg)


def with_bmi(record: Mapping[str, Value]) -> Record:
    """Return the record with BMI, to one decimal, where height and weight give it and it is not known.

    Raises EHRError where BMI, height and weight are known and contradict each other by more than rounding.
    """
    height, weight, bmi = (record.get(name) for name in ("height_cm", "weight_kg", "bmi"))
    if height is None or weight is None or "bmi" not in record:
        return dict(record)
    bmi_of_body = body_mass_index(float(height), float(weight))
    if bmi is None:
        return {**record, "bmi": round(bmi_of_body, 1)}
    if abs(float(bmi) - bmi_of_body) > bmi_rounding(float(height), float(weight)):
        raise EHRError(
            f"BMI: {float(bmi):g} contradicts height {float(height):g} cm and weight {float(weight):g} kg, which give "
            f"{bmi_of_body:.1f}. Correct one of the three, or leave one unknown."
        )
    return dict(record)


def check_pressures(record: Mapping[str, Value]) -> None:
    """Raise EHRError where both pressures are known and diastolic is not below systolic."""
    systolic, diastolic = record.get("systolic_mmhg"), record.get("diastolic_mmhg")
    if systolic is not None and diastolic is not None and float(diastolic) >= float(systolic):
        raise EHRError(
            f"Blood pressure: diastolic {float(diastolic):g} mmHg is not below systolic {float(systolic):g} mmHg. "
            "They may be swapped: correct them, or leave one unknown."
        )


def allowed_range(record: Mapping[str, Value], name: str, plausible: tuple[float, float] | None) -> tuple[float, float]:
    """Return the lowest and highest value that one number may take beside the rest of the record.

    plausible: its own range. Pressures also stay `MIN_PULSE_PRESSURE` apart.
    """
    low, high = plausible or (-math.inf, math.inf)
    systolic, diastolic = record.get("systolic_mmhg"), record.get("diastolic_mmhg")
    if name == "systolic_mmhg" and diastolic is not None:
        low = max(low, float(diastolic) + MIN_PULSE_PRESSURE)
    if name == "diastolic_mmhg" and systolic is not None:
        high = min(high, float(systolic) - MIN_PULSE_PRESSURE)
    return low, high


def number_of(record: Mapping[str, Value], name: str) -> float | None:
    """Return a number of a parsed record, None where it is unknown."""
    value = record.get(name)
    return None if value is None else float(value)


def category_of(record: Mapping[str, Value], name: str) -> str | None:
    """Return a category of a parsed record, None where it is unknown."""
    value = record.get(name)
    return None if value is None else str(value)


def with_value(record: Mapping[str, Value], name: str, value: float) -> Record:
    """Return the record with another number. Weight follows BMI and height, BMI follows weight."""
    values = {**record, name: value}
    height, weight, bmi = number_of(values, "height_cm"), number_of(record, "weight_kg"), number_of(record, "bmi")
    new_bmi = number_of(values, "bmi")
    if name == "weight_kg" and "bmi" in values:
        if height is not None:
            values["bmi"] = body_mass_index(height, value)
        elif bmi is not None and weight is not None:
            values["bmi"] = bmi * value / weight
    elif name in ("bmi", "height_cm") and weight is not None and height is not None and new_bmi is not None:
        values["weight_kg"] = new_bmi * (height / 100) ** 2
    elif name == "bmi" and weight is not None and bmi is not None:
        values["weight_kg"] = weight * value / bmi
    return values
