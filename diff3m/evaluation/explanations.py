"""Explanations against known causes: phantoms in which one group of the record is extreme and everything else is average.

The oracle knows the simulator's equations and the person: what it expects under a coalition of known groups is that person's film with the
population's average in the unknown ones (of sex and view: the mean of both films by their shares), and its directions are the true
change of an average patient's film. Its misfit is attributed by the same Shapley values.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import factorial
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from ..data.phantom import SEEDS, Patient, Person, person
from ..data.phantom.patient import AP_SHARE, HEIGHT
from ..detector import Detector
from ..ehr import Record
from ..explain import attribute, influence
from ..explain.attribution import Attribution
from ..radiograph import Radiograph, prepare
from ..scoring import inner
from .metrics import bootstrap_interval

GROUPS = ("age", "sex", "view", "habitus", "blood pressure")
OFFSET, STRIDE = 70_000, 2_000  # of the phantoms' numbers, away from those of `evaluation.phantoms`
AVERAGE = {"age": dict(age=52.0), "habitus": dict(bmi=28.6), "blood pressure": dict(systolic_mmhg=123.0, diastolic_mmhg=75.0)}
SHARES = {"sex": {"F": 0.5, "M": 0.5}, "view": {"PA": 1 - AP_SHARE, "AP": AP_SHARE}}
CURVES = ("bmi", "systolic_mmhg", "age")
NOISE = 1.0  # the variance of one group's shift among people of one record
Report = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Explained:
    """One phantom: the group that was made extreme, the model's attribution, attention by group, and the oracle's Shapley values, if asked for."""

    group: str
    model: Attribution
    attention: dict[str, float]
    oracle: dict[str, float]


def average_patient(sex: str) -> Patient:
    """An average adult of one sex, standing for a PA film."""
    height = HEIGHT[sex][0]
    return Patient(52.0, sex, "PA", 28.6, 123.0, 75.0, height, 28.6 * (height / 100) ** 2)


def extreme_patient(group: str, rng: np.random.Generator) -> Patient:
    """Average in everything but one group. Sex has no average: it is drawn, and "sex" itself has no extreme."""
    patient, high = average_patient("FM"[rng.integers(2)]), bool(rng.integers(2))
    changes = {
        "age": dict(age=85.0 if high else 20.0),
        "sex": {},
        "view": dict(view="AP"),
        "habitus": dict(bmi=44.0 if high else 18.5),
        "blood pressure": dict(systolic_mmhg=190.0, diastolic_mmhg=105.0) if high else dict(systolic_mmhg=88.0, diastolic_mmhg=52.0),
    }
    return patient.under(**changes[group])


def benchmark_explanations(
    detector: Detector, out: str | Path, each: int = 100, with_oracle: int = 40, split: str = "test", report: Report | None = None
) -> dict:
    """Explain `each` phantoms a group, `with_oracle` of them by the oracle too, and write explanations.json under `out`; returns what was written.

    top_1: share of films whose largest |attribution| is the extreme group. rank_correlation: Spearman's, over the groups of all films, between
    attributions and the oracle's. Attention's own of both beside it, and those of a network with the same shape and random weights.
    """
    report = report or (lambda stage, done, total: None)
    oracle = Oracle(detector)
    cases = explain_cases(detector, oracle, each, with_oracle, split, report)
    randomized = Detector(replace(detector.checkpoint, network=_randomized(detector)), device=detector.device, precision=detector.precision)
    fewer = min(each, with_oracle)
    control = explain_cases(randomized, oracle, fewer, fewer, split, lambda stage, done, total: report(f"random weights, {stage}", done, total))
    result = {
        "checkpoint": detector.config.name,
        "weights_sha256": detector.checkpoint.sha256,
        "split": split,
        "first_number": SEEDS[split][0] + OFFSET,
        "each": each,
        "shapley": _summary(cases, lambda case: case.model.groups),
        "ablation": _summary(cases, lambda case: case.model.ablation),
        "attention": _summary(cases, lambda case: case.attention),
        "random_weights": _summary(control, lambda case: case.model.groups),
        "oracle": _summary([case for case in cases if case.oracle], lambda case: case.oracle),
        "largest_efficiency_error": max(abs(sum(c.model.groups.values()) - (c.model.known - c.model.unknown)) for c in cases),
        "sign_agreement_shapley_ablation": _agreement(cases),
        "influence": influence_truth(detector, oracle, fewer, split, report),
        "mean": {group: _means([case for case in cases if case.group == group]) for group in GROUPS if group != "sex"},
    }
    Path(out).mkdir(parents=True, exist_ok=True)
    (Path(out) / "explanations.json").write_text(json.dumps(result, indent=1) + "\n")
    return result


def explain_cases(detector: Detector, oracle: Oracle, each: int, with_oracle: int, split: str, report: Report) -> list[Explained]:
    """`each` phantoms with each group in turn extreme, explained."""
    cases, size = [], detector.config.network.image_size
    for place, group in enumerate(name for name in GROUPS if name != "sex"):
        for index in range(each):
            number = SEEDS[split][0] + OFFSET + STRIDE * place + index
            rng = np.random.default_rng([number, 4])
            patient, who = extreme_patient(group, rng), person(number)
            film = Radiograph(who.film(size, patient))
            record = detector.schema.parse(patient.record())
            model = attribute(detector, film, record, parts=False)
            truth = oracle.attribution(who, patient) if index < with_oracle else {}
            cases.append(Explained(group, model, attention_by_group(detector, film, record), truth))
            report(group, index + 1, each)
    return cases


def influence_truth(detector: Detector, oracle: Oracle, people: int, split: str, report: Report) -> dict:
    """Whether the model's influence curves rise and fall with the oracle's, on normals drawn from the population.

    agreement: share of the curves' steps whose sign is the oracle's, where the oracle's misfit changes by more than `NOISE`, with a 95 %
    interval over people; a feature that moves nobody's misfit so far is left out.
    """
    size, found = detector.config.network.image_size, {}
    for feature in CURVES:
        shares = []
        for index in range(people):
            who = person(SEEDS[split][0] + OFFSET + STRIDE * 5 + index)
            curve = influence(detector, Radiograph(who.film(size)), who.patient.record(), feature, strip=False)
            truth, model = np.diff(oracle.curve(who, who.patient, feature, curve.values)), np.diff(curve.misfit)
            counted = np.abs(truth) > NOISE
            if counted.any():
                shares.append(float((np.sign(truth) == np.sign(model))[counted].mean()))
            report(f"influence of {feature}", index + 1, people)
        values = np.array(shares)
        if len(values):
            interval = bootstrap_interval(lambda i, v=values: float(v[i].mean()), np.zeros(len(values)))
            found[feature] = {"agreement": float(values.mean()), "interval": interval, "people": len(values)}
    return found


def attention_by_group(detector: Detector, film: Radiograph, record: Record) -> dict[str, float]:
    """IECA's weights summed to explanation groups."""
    x0 = detector.prepared([film])
    weights = detector.condition(x0, [record]).attention
    by_feature: dict[str, float] = {}
    for name, tensor in weights.items():
        by_feature |= detector.schema.by_feature(name, tensor[0].cpu().numpy())
    return {group: sum(by_feature[member.name] for member in members) for group, members in detector.schema.explanation_groups.items()}


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


def _summary(cases: Sequence[Explained], of: Callable[[Explained], dict[str, float]]) -> dict:
    """Top-1 by group with a 95 % interval, and Spearman's correlation with the oracle over all films and groups."""
    found: dict = {"top_1": {}}
    for group in dict.fromkeys(case.group for case in cases):
        hits = np.array([_largest(of(case)) == group for case in cases if case.group == group], dtype=float)
        interval = bootstrap_interval(lambda i, h=hits: float(h[i].mean()), np.zeros(len(hits)))
        found["top_1"][group] = {"share": float(hits.mean()), "interval": interval}
    judged = [case for case in cases if case.oracle]
    if judged:
        pairs = np.array([[of(case)[group], case.oracle[group]] for case in judged for group in GROUPS])
        found["rank_correlation"] = spearman(pairs[:, 0], pairs[:, 1])
        found["rank_correlation_of_sizes"] = spearman(np.abs(pairs[:, 0]), np.abs(pairs[:, 1]))
    return found


def _largest(values: Mapping[str, float]) -> str:
    return max(GROUPS, key=lambda group: abs(values.get(group, 0.0)))


def spearman(a: np.ndarray, b: np.ndarray) -> float:
    """Spearman's rank correlation of two vectors (ties share their mean rank)."""
    return float(np.corrcoef(pd.Series(a).rank(), pd.Series(b).rank())[0, 1])


def _agreement(cases: Sequence[Explained]) -> float:
    """Share of the films' largest attributions whose sign ablation shares."""
    same = []
    for case in cases:
        group = _largest(case.model.groups)
        same.append(np.sign(case.model.groups[group]) == np.sign(case.model.ablation[group]))
    return float(np.mean(same))


def _means(cases: Sequence[Explained]) -> dict:
    judged = [case for case in cases if case.oracle]
    return {
        "model": {group: float(np.mean([case.model.groups[group] for case in cases])) for group in GROUPS},
        "oracle": {group: float(np.mean([case.oracle[group] for case in judged])) for group in GROUPS} if judged else None,
    }


def _randomized(detector: Detector) -> torch.nn.Module:
    """A network of the same shape in which every tensor's values are shuffled: same spread of weights, nothing learned."""
    from ..network import Diff3M

    network = Diff3M(detector.config.network, detector.config.schedule)
    generator = torch.Generator().manual_seed(0)
    state = {}
    for name, tensor in detector.network.state_dict().items():
        order = torch.randperm(tensor.numel(), generator=generator)
        state[name] = tensor.cpu().contiguous().flatten()[order].view(tensor.shape)
    network.load_state_dict(state)
    return network
