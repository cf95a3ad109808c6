"""Simulated patients: the eight EHR values, drawn from a population model of adults.

Marginals follow the United States' health survey (NHANES): height, weight and BMI by sex from Fryar et al.,
"Anthropometric Reference Data for Children and Adults: United States, 2015-2018", Vital Health Stat 3(46), 2021
(rounded); systolic pressure rises by about 0.5 mmHg a year of age and 0.5 mmHg a unit of BMI, diastolic pressure
flattens and then falls in later life (Franklin et al., Circulation 1997). Ages (52 ± 17 years), the share of AP films
and the spread around those lines are assumed.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace

import numpy as np

from ...ehr import body_mass_index

AP_SHARE = 0.35
HEIGHT = {"M": (175.3, 7.5), "F": (161.3, 7.0)}  # cm: mean, standard deviation
BMI = {"M": (28.6, 0.19), "F": (28.7, 0.24)}  # kg/m²: median, standard deviation of the logarithm
AGE = (52.0, 17.0)  # years: mean, standard deviation
PRESSURE_SPREAD = (14.0, 7.0)  # mmHg: standard deviations of systolic and diastolic pressure around the expected ones
AGE_RANGE, BMI_RANGE = (18.0, 95.0), (16.0, 52.0)


@dataclass(frozen=True)
class Patient:
    """The record of a simulated patient, with the names and units of `paper_schema`; BMI = weight / height²."""

    age: float
    sex: str
    view: str
    bmi: float
    systolic_mmhg: float
    diastolic_mmhg: float
    height_cm: float
    weight_kg: float

    def with_values(self, **changes) -> Patient:
        """Return the record with other values, by feature name.

        Weight follows from BMI and height, unless weight is given and BMI is not; then BMI follows.
        """
        patient = replace(self, **changes)
        if "weight_kg" in changes and "bmi" not in changes:
            return replace(patient, bmi=body_mass_index(patient.height_cm, patient.weight_kg))
        return replace(patient, weight_kg=patient.bmi * (patient.height_cm / 100) ** 2)

    def to_record(self, decimals: int = 1) -> dict[str, float | str]:
        """Return the values by feature name, numbers rounded to `decimals`."""
        return {
            name: round(value, decimals) if isinstance(value, float) else value for name, value in asdict(self).items()
        }


def compute_usual_systolic(age, bmi):
    """Return the expected systolic pressure in mmHg. age, bmi: numbers or arrays."""
    return 122 + 0.5 * (age - 50) + 0.5 * (bmi - 28)


def compute_usual_diastolic(systolic, age, bmi):
    """Return the expected diastolic pressure in mmHg. systolic, age, bmi: numbers or arrays."""
    return 75 + 0.35 * (systolic - 122) - 0.006 * (age - 50) ** 2 + 0.2 * (bmi - 28)


def draw_patient(rng: np.random.Generator) -> Patient:
    """Draw the record of an adult; the number of random draws does not depend on it."""
    z, u = rng.normal(size=5), rng.uniform(size=2)
    sex, view = "FM"[int(u[0] < 0.5)], "AP" if u[1] < AP_SHARE else "PA"
    age = float(np.clip(AGE[0] + AGE[1] * z[0], *AGE_RANGE))
    height = HEIGHT[sex][0] + HEIGHT[sex][1] * float(z[1])
    bmi = float(np.clip(BMI[sex][0] * np.exp(BMI[sex][1] * z[2]), *BMI_RANGE))
    systolic = float(np.clip(compute_usual_systolic(age, bmi) + PRESSURE_SPREAD[0] * z[3], 85, 220))
    diastolic = float(
        np.clip(compute_usual_diastolic(systolic, age, bmi) + PRESSURE_SPREAD[1] * z[4], 40, systolic - 15)
    )
    return Patient(age, sex, view, bmi, systolic, diastolic, height, bmi * (height / 100) ** 2)
