"""The oracle of simulated patients: it knows the simulator's equations and the person, and attributes its own misfit.

Under a coalition of known groups it expects that person's film with the unknown groups inferred from the known ones in
the population (a low pressure makes an old patient less likely, a height of 185 cm makes a woman less likely), which a
model that was trained on incomplete records can learn too; or, without inference, with the population's averages. Where
sex or view is unknown, it expects the mean of the films, weighted by their shares. Its directions are the true changes
of an average patient's film.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
import torch

from ..data.phantom import Patient, Person, make_person
from ..data.phantom.patient import (
    AGE,
    AGE_RANGE,
    AP_SHARE,
    BMI,
    BMI_RANGE,
    HEIGHT,
    PRESSURE_SPREAD,
    compute_usual_diastolic,
    compute_usual_systolic,
)
from ..detector import Detector
from ..explain.coalitions import compute_shapley_values
from ..imaging import Radiograph
from ..scoring.filters import crop_borders
from .phantom_numbers import get_explanation_number

GROUPS = ("age", "sex", "view", "habitus", "blood pressure")
AVERAGE: dict[str, dict[str, float]] = {  # by group
    "age": dict(age=52.0),
    "habitus": dict(bmi=28.6),
    "blood pressure": dict(systolic_mmhg=123.0, diastolic_mmhg=75.0),
}
CROWD = 4_000  # people that are drawn to represent the population
Population = Callable[[Patient, Sequence[str]], Iterator[tuple[Patient, float]]]
SHARES = {"sex": {"F": 0.5, "M": 0.5}, "view": {"PA": 1 - AP_SHARE, "AP": AP_SHARE}}


def make_average_patient(sex: str) -> Patient:
    """Return the record of an average adult of one sex with a PA film. sex: "F" or "M"."""
    height, numbers = HEIGHT[sex][0], {name: value for values in AVERAGE.values() for name, value in values.items()}
    return Patient(sex=sex, view="PA", height_cm=height, weight_kg=numbers["bmi"] * (height / 100) ** 2, **numbers)


class Oracle:
    """What the simulator's equations expect of a person under any coalition of known groups.

    Shifts are measured in spreads: standard deviations among people with the same record.
    """

    def __init__(self, detector: Detector, people: int = 20) -> None:
        """Measure the spread along each group's direction.

        detector: prepares the films. people: number of normal people of the "val" split, whose films under one record
        are compared.
        """
        self.detector = detector
        shifts = []
        for sex in "FM":
            crowd = [make_person(get_explanation_number("val", 0, index)) for index in range(people)]
            middle = make_average_patient(sex)
            films = np.stack([self.render_film(person, middle) for person in crowd])
            directions = np.mean([self.measure_directions(person, middle) for person in crowd], axis=0)
            shifts.append((films - films.mean(0)) @ (directions / np.square(directions).sum(1, keepdims=True)).T)
        self.spread = np.concatenate(shifts).std(0)

    def render_film(self, person: Person, patient: Patient) -> np.ndarray:
        """Render the prepared film of a person under a record, without its margin: (pixels,) float64."""
        film = Radiograph(person.render(self.detector.config.network.image_size, patient))
        x0 = torch.from_numpy(self.detector.case(film).x0)
        return crop_borders(x0, self.detector.scoring.margin).numpy().astype(np.float64).ravel()

    def measure_directions(self, person: Person, middle: Patient) -> np.ndarray:
        """Measure what each group changes in the film of a person with an average record: (groups, pixels)."""
        directions = []
        for group in GROUPS:
            low, high = (
                {name: value for name, value in end.items() if value is not None}
                for end in self.detector.schema.contrast_records(group)
            )
            directions.append(
                self.render_film(person, middle.with_values(**high))
                - self.render_film(person, middle.with_values(**low))
            )
        return np.stack(directions)

    def compute_filters(self, person: Person, sex: str) -> np.ndarray:
        """Compute filters (groups, pixels) that turn a residual into shifts along each direction, in spreads."""
        directions = self.measure_directions(person, make_average_patient(sex))
        return directions / np.square(directions).sum(1, keepdims=True) / self.spread[:, None]

    def compute_curve(self, person: Person, patient: Patient, feature: str, values: Iterable[float]) -> np.ndarray:
        """Compute the misfit of a person's own film with records in which one number has n other values: (n,)."""
        own, filters = self.render_film(person, patient), self.compute_filters(person, patient.sex)
        residuals = [own - self.render_film(person, patient.with_values(**{feature: float(value)})) for value in values]
        return np.array([float(np.square(filters @ residual).sum()) for residual in residuals])

    def attribute(self, person: Person, patient: Patient, population: Population | None = None) -> dict[str, float]:
        """Compute Shapley values of the oracle's misfit by group.

        The misfit is Σ over groups of the squared shift along that group's direction, in spreads. population: yields
        the possible patients where groups are unknown, `average_population` (default) or `infer_population`.
        """
        population = population or average_population
        own, filters = self.render_film(person, patient), self.compute_filters(person, patient.sex)
        values = {}
        for coalition in itertools.product((0, 1), repeat=len(GROUPS)):
            absent = [group for group, present in zip(GROUPS, coalition, strict=True) if not present]
            expected = sum(share * self.render_film(person, under) for under, share in population(patient, absent))
            values[coalition] = float(np.square(filters @ (own - expected)).sum())
        return compute_shapley_values(values, GROUPS)


def infer_population(patient: Patient, absent: Sequence[str]) -> Iterator[tuple[Patient, float]]:
    """Yield the possible patients, given the known groups, with their shares, one for each possible sex and view.

    absent: the unknown groups. Unknown numbers are the means over people drawn from the population, weighted by the
    likelihood of the known values (importance sampling).
    """
    z = np.random.default_rng(0).normal(size=(5, CROWD))
    candidates, evidence = [], []
    for sex in ("F", "M") if "sex" in absent else (patient.sex,):
        age = np.clip(AGE[0] + AGE[1] * z[0], *AGE_RANGE)
        height, bmi = (
            HEIGHT[sex][0] + HEIGHT[sex][1] * z[1],
            np.clip(BMI[sex][0] * np.exp(BMI[sex][1] * z[2]), *BMI_RANGE),
        )
        likely = np.zeros(CROWD)
        if "age" not in absent:
            age = np.full(CROWD, patient.age)
        if "habitus" not in absent:
            likely += _log_density(patient.height_cm, *HEIGHT[sex]) + _log_density(
                np.log(patient.bmi), np.log(BMI[sex][0]), BMI[sex][1]
            )
            height, bmi = np.full(CROWD, patient.height_cm), np.full(CROWD, patient.bmi)
        if "blood pressure" in absent:
            systolic = np.clip(compute_usual_systolic(age, bmi) + PRESSURE_SPREAD[0] * z[3], 85, 220)
            diastolic = np.clip(
                compute_usual_diastolic(systolic, age, bmi) + PRESSURE_SPREAD[1] * z[4], 40, systolic - 15
            )
        else:
            systolic, diastolic = np.full(CROWD, patient.systolic_mmhg), np.full(CROWD, patient.diastolic_mmhg)
            likely += _log_density(systolic, compute_usual_systolic(age, bmi), PRESSURE_SPREAD[0])
            likely += _log_density(diastolic, compute_usual_diastolic(systolic, age, bmi), PRESSURE_SPREAD[1])
        weights = np.exp(likely - likely.max())
        numbers = {"age": age, "bmi": bmi, "height_cm": height, "systolic_mmhg": systolic, "diastolic_mmhg": diastolic}
        candidates.append(
            patient.with_values(
                sex=sex, **{name: float(np.average(values, weights=weights)) for name, values in numbers.items()}
            )
        )
        evidence.append(np.log(weights.mean()) + likely.max())
    shares = np.exp(np.array(evidence) - max(evidence))
    for one, share in zip(candidates, shares / shares.sum(), strict=True):
        for view, part in SHARES["view"].items() if "view" in absent else ((patient.view, 1.0),):
            yield one.with_values(view=view), float(share * part)


def _log_density(value, mean, spread):
    """Return the logarithm of the normal density, up to a constant. All parameters: numbers or arrays."""
    return -0.5 * ((value - mean) / spread) ** 2 - np.log(spread)


def average_population(patient: Patient, absent: Sequence[str]) -> Iterator[tuple[Patient, float]]:
    """Yield the possible patients without inference: unknown numbers at the average, each category with its share.

    absent: the unknown groups.
    """
    numbers = {name: value for group in absent for name, value in AVERAGE.get(group, {}).items()}
    categories = [
        [(group, name, share) for name, share in SHARES[group].items()] for group in absent if group in SHARES
    ]
    for choice in itertools.product(*categories):
        share = float(np.prod([weight for _, _, weight in choice]))
        yield patient.with_values(**numbers, **{group: name for group, name, _ in choice}), share
