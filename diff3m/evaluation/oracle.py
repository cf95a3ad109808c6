"""The oracle of simulated patients: it knows the simulator's equations and the person, and attributes its own misfit.

What it expects under a coalition of known groups is that person's film with the population's average in the unknown ones (of sex and view: the
mean of both films by their shares), and its directions are the true change of an average patient's film.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from math import factorial

import numpy as np
import torch

from ..data.phantom import SEEDS, Patient, Person, person
from ..data.phantom.patient import AP_SHARE, HEIGHT
from ..detector import Detector
from ..radiograph import Radiograph, prepare
from ..scoring import inner

GROUPS = ("age", "sex", "view", "habitus", "blood pressure")
OFFSET = 70_000  # of the phantoms' numbers, away from those of `evaluation.phantoms`
AVERAGE = {"age": dict(age=52.0), "habitus": dict(bmi=28.6), "blood pressure": dict(systolic_mmhg=123.0, diastolic_mmhg=75.0)}
SHARES = {"sex": {"F": 0.5, "M": 0.5}, "view": {"PA": 1 - AP_SHARE, "AP": AP_SHARE}}


def average_patient(sex: str) -> Patient:
    """An average adult of one sex, standing for a PA film."""
    height = HEIGHT[sex][0]
    return Patient(52.0, sex, "PA", 28.6, 123.0, 75.0, height, 28.6 * (height / 100) ** 2)


class Oracle:
    """Knows the simulator's equations: what it expects of a person under any coalition, and how much people of one record differ."""

    def __init__(self, detector: Detector, people: int = 20) -> None:
        """people: normals of the "val" numbers whose films under one record give the spread along each group's direction."""
        self.detector = detector
        shifts = []
        for sex in "FM":
            crowd, middle = [person(SEEDS["val"][0] + OFFSET + index) for index in range(people)], average_patient(sex)
            films = np.stack([self.film(who, middle) for who in crowd])
            directions = np.mean([self.directions(who, middle) for who in crowd], axis=0)
            shifts.append((films - films.mean(0)) @ (directions / np.square(directions).sum(1, keepdims=True)).T)
        self.spread = np.concatenate(shifts).std(0)

    def film(self, who: Person, patient: Patient) -> np.ndarray:
        """The prepared film without its margin, flat."""
        size, settings = self.detector.config.network.image_size, self.detector.config.preprocessing
        film = torch.from_numpy(prepare(Radiograph(who.film(size, patient)), settings))
        return inner(film, self.detector.scoring.margin).numpy().astype(np.float64).ravel()

    def directions(self, who: Person, middle: Patient) -> np.ndarray:
        """What each group does to an average patient's film: (groups, pixels)."""
        found = []
        for group in GROUPS:
            low, high = ({name: value for name, value in end.items() if value is not None} for end in self.detector.schema.ends(group))
            found.append(self.film(who, middle.under(**high)) - self.film(who, middle.under(**low)))
        return np.stack(found)

    def filters(self, who: Person, sex: str) -> np.ndarray:
        """What turns a residual into shifts along each group's direction, in spreads: (groups, pixels)."""
        directions = self.directions(who, average_patient(sex))
        return directions / np.square(directions).sum(1, keepdims=True) / self.spread[:, None]

    def curve(self, who: Person, patient: Patient, feature: str, values: Sequence[float]) -> np.ndarray:
        """The oracle's misfit of a person's own film with records in which one number has other values: (n,)."""
        own, filters = self.film(who, patient), self.filters(who, patient.sex)
        residuals = [own - self.film(who, patient.under(**{feature: float(value)})) for value in values]
        return np.array([float(np.square(filters @ residual).sum()) for residual in residuals])

    def attribution(self, who: Person, patient: Patient) -> dict[str, float]:
        """Shapley values by group of the oracle's misfit: Σ over groups of the squared shift along that group's direction, in spreads."""
        own, filters = self.film(who, patient), self.filters(who, patient.sex)
        values = {}
        for coalition in itertools.product((0, 1), repeat=len(GROUPS)):
            absent = [group for group, present in zip(GROUPS, coalition, strict=True) if not present]
            expected = sum(share * self.film(who, under) for under, share in _population(patient, absent))
            values[coalition] = float(np.square(filters @ (own - expected)).sum())
        return dict(zip(GROUPS, shapley(values), strict=True))


def _population(patient: Patient, absent: Sequence[str]) -> Iterator[tuple[Patient, float]]:
    """Who the patient may be with some groups unknown: numbers at the population's average, every category by its share."""
    numbers = {name: value for group in absent for name, value in AVERAGE.get(group, {}).items()}
    categories = [[(group, name, share) for name, share in SHARES[group].items()] for group in absent if group in SHARES]
    for choice in itertools.product(*categories):
        share = float(np.prod([weight for _, _, weight in choice]))
        yield patient.under(**numbers, **{group: name for group, name, _ in choice}), share


def shapley(values: Mapping[tuple[int, ...], float]) -> list[float]:
    """Shapley values of a table of all coalitions, by the definition (Shapley 1953)."""
    players, found = len(next(iter(values))), []
    for player in range(players):
        total = 0.0
        for coalition in values:
            if not coalition[player]:
                joined = (*coalition[:player], 1, *coalition[player + 1 :])
                weight = factorial(sum(coalition)) * factorial(players - sum(coalition) - 1) / factorial(players)
                total += weight * (values[joined] - values[coalition])
        found.append(total)
    return found
