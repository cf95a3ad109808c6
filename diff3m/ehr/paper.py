"""The features that the paper conditions on, the vitals that an emergency stay adds, and which values are plausible."""

from __future__ import annotations

from .facts import AGE_RANGE, SEXES, VIEW_LABELS
from .feature import Feature
from .schema import EHRSchema

PLAUSIBLE = {
    "age": AGE_RANGE,
    "bmi": (10, 90),
    "systolic_mmhg": (50, 280),
    "diastolic_mmhg": (20, 180),
    "height_cm": (100, 230),
    "weight_kg": (25, 300),
    "heart_rate_bpm": (20, 250),
    "respiratory_rate": (4, 70),
    "spo2_percent": (40, 100),
    "temperature_c": (30, 44),
}  # lowest and highest value, in the unit that the name or `Feature.unit` says


def _number(name: str, label: str, group: str, explanation_group: str, unit: str, mean: float, std: float) -> Feature:
    return Feature(name, label, "number", group, explanation_group, unit, PLAUSIBLE[name], mean, std)


VITALS = (
    _number("heart_rate_bpm", "Heart rate", "ehr", "vitals", "1/min", 85, 18),
    _number("respiratory_rate", "Respiratory rate", "ehr", "vitals", "1/min", 18, 3),
    _number("spo2_percent", "Oxygen saturation", "ehr", "vitals", "%", 98, 3),
    _number("temperature_c", "Temperature", "ehr", "vitals", "°C", 36.8, 0.5),
)


def paper_schema() -> EHRSchema:
    """Return the paper's eight features, with general adult means and standard deviations until `EHRSchema.fit`."""
    return EHRSchema(
        (
            _number("age", "Age", "demographics", "age", "years", 50, 17),
            Feature("sex", "Sex", "category", "demographics", "sex", categories=SEXES, labels=("Female", "Male")),
            Feature(
                "view",
                "View",
                "category",
                "demographics",
                "view",
                categories=tuple(VIEW_LABELS),
                labels=tuple(VIEW_LABELS.values()),
            ),
            _number("bmi", "BMI", "ehr", "habitus", "kg/m²", 27.5, 6),
            _number("systolic_mmhg", "Systolic pressure", "ehr", "blood pressure", "mmHg", 125, 18),
            _number("diastolic_mmhg", "Diastolic pressure", "ehr", "blood pressure", "mmHg", 75, 11),
            _number("height_cm", "Height", "ehr", "habitus", "cm", 169, 10),
            _number("weight_kg", "Weight", "ehr", "habitus", "kg", 79, 19),
        )
    )
