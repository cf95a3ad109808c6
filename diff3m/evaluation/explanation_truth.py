"""Explanations compared with known causes, on simulated patients.

The patients are phantoms in which one group of the record is extreme and everything else average, and phantoms drawn
from the population. Attributions are compared with those of the oracle.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from ..case import Case
from ..data.phantom import Patient, Person, make_person
from ..data.phantom.cohort import draw_ignored_value
from ..detector import Detector
from ..explain import (
    Attribution,
    ExplanationError,
    Gradients,
    attribute,
    compute_influence,
    compute_integrated_gradients,
    list_explainable_groups,
    sum_attention_by_group,
)
from ..imaging import Radiograph
from ..network import Diff3M
from .charts import plot_attribution_truth
from .explanation_table import (
    DRAWN,
    EXTREME,
    METHODS,
    RANDOM,
    average_values,
    format_tables,
    measure_agreement,
    summarize_method,
)
from .metrics import mean_with_interval
from .oracle import GROUPS, Oracle, average_population, infer_population, make_average_patient
from .phantom_numbers import get_explanation_number, get_first_number

CURVES = ("bmi", "systolic_mmhg", "age")
NOISE = 1.0  # the variance of one group's shift among people of one record
Report = Callable[[str, int, int], None]


@dataclass(frozen=True)
class ExplainedPhantom:
    """One phantom and its attributions by every method.

    kind: the group that was made extreme, or DRAWN. number: of the phantom. model: the attribution of the misfit.
    values: by method of METHODS, then by group; of the oracles and integrated gradients only where they were requested.
    stands_out: `Attribution.stands_out` of the target "prior".
    """

    kind: str
    number: int
    model: Attribution
    values: dict[str, dict[str, float]]
    gradients: Gradients | None = None
    stands_out: str | None = None


def make_extreme_patient(group: str, rng: np.random.Generator) -> Patient:
    """Return a patient who is average in everything but one group. Sex is drawn, and "sex" itself has no extreme."""
    patient, high = make_average_patient("FM"[rng.integers(2)]), bool(rng.integers(2))
    pressures = ((88.0, 52.0), (190.0, 105.0))[high]
    changes: dict[str, dict] = {
        "age": dict(age=85.0 if high else 20.0),
        "sex": {},
        "view": dict(view="AP"),
        "habitus": dict(bmi=44.0 if high else 18.5),
        "blood pressure": dict(systolic_mmhg=pressures[0], diastolic_mmhg=pressures[1]),
    }
    return patient.with_values(**changes[group])


def benchmark_explanations(
    detector: Detector,
    out: str | Path,
    each: int = 100,
    with_oracle: int = 40,
    split: str = "test",
    other_checkpoint: tuple[Detector, str] | None = None,
    report: Report | None = None,
) -> dict:
    """Explain phantoms with known causes, write the results under `out`, and return what explanations.json holds.

    each: phantoms with each group extreme. with_oracle: how many of each kind the oracle and integrated gradients
    explain too, and how many are drawn from the population. other_checkpoint: one that was trained with a feature on
    which nothing depends, and its name. report: called with (stage, done, total). Writes explanations.json, a table,
    a figure and cases.csv. Raises ExplanationError for a checkpoint that lacks a group.

    top_1: share of films whose largest |attribution| is the extreme group. rank_correlation: Spearman's, over the
    groups of all films of one kind, between attributions and the oracle's; rank_correlation_averages: the same with
    the oracle that infers nothing. said_to_stand_out: share of films whose `Attribution.stands_out` is the extreme
    group. These are also given for attention and for a network of the same shape with random weights.
    """
    report = report or (lambda stage, done, total: None)
    if missing := [group for group in GROUPS if group not in list_explainable_groups(detector)]:
        raise ExplanationError(
            f"Simulated patients differ in {', '.join(missing)} too, which {detector.config.name} was not trained "
            "with. Give another."
        )
    oracle, fewer = Oracle(detector), min(each, with_oracle)
    phantoms = explain_extremes(detector, oracle, each, fewer, split, report)
    phantoms += explain_population(detector, oracle, fewer, split, report)
    control = explain_extremes(
        _shuffle_weights(detector),
        oracle,
        fewer,
        fewer,
        split,
        lambda stage, done, total: report(f"random weights, {stage}", done, total),
        with_gradients=False,
    )
    errors = [abs(sum(one.model.groups.values()) - (one.model.known - one.model.unknown)) for one in phantoms]
    result = {
        "checkpoint": detector.config.name,
        "weights_sha256": detector.checkpoint.sha256,
        "split": split,
        "first_number": get_first_number(split, "explanations"),
        "each": each,
        "with_oracle": fewer,
        **{
            name: summarize_method(control if name.startswith(RANDOM) else phantoms, name.removeprefix(RANDOM))
            for name in METHODS
        },
        "said_to_stand_out": {
            group: float(np.mean([one.stands_out == group for one in phantoms if one.kind == group]))
            for group in EXTREME
        },
        "largest_efficiency_error": max(errors),
        "agreement_with_shapley": measure_agreement(phantoms),
        "influence": measure_influence_truth(detector, oracle, fewer, split, report),
        "mean": {kind: average_values([one for one in phantoms if one.kind == kind]) for kind in (*EXTREME, DRAWN)},
        "ignored": None
        if other_checkpoint is None
        else attribute_ignored_feature(*other_checkpoint, people=fewer, split=split, report=report),
    }
    folder, rows = Path(out), tabulate_values(phantoms)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "explanations.json").write_text(json.dumps(result, indent=1) + "\n")
    (folder / "explanations.md").write_text(format_tables(result))
    rows.to_csv(folder / "cases.csv", index=False)
    plot_attribution_truth(result, rows).savefig(folder / "explanations.svg", metadata={"Date": None})
    return result


def explain_extremes(
    detector: Detector,
    oracle: Oracle,
    each: int,
    with_oracle: int,
    split: str,
    report: Report,
    with_gradients: bool = True,
) -> list[ExplainedPhantom]:
    """Explain `each` phantoms with each group in turn extreme, the first `with_oracle` of each by the oracle too."""
    phantoms = []
    for place, group in enumerate(EXTREME):
        for index in range(each):
            number = get_explanation_number(split, place, index)
            patient = make_extreme_patient(group, np.random.default_rng([number, 4]))
            judge = oracle if index < with_oracle else None
            phantoms.append(_explain(detector, judge, group, number, patient, with_gradients))
            report(group, index + 1, each)
    return phantoms


def explain_population(
    detector: Detector, oracle: Oracle, count: int, split: str, report: Report
) -> list[ExplainedPhantom]:
    """Explain phantoms drawn from the population, by the oracle too."""
    phantoms = []
    for index in range(count):
        number = get_explanation_number(split, len(EXTREME), index)
        phantoms.append(_explain(detector, oracle, DRAWN, number, make_person(number).patient))
        report("drawn from the population", index + 1, count)
    return phantoms


def _explain(
    detector: Detector, oracle: Oracle | None, kind: str, number: int, patient: Patient, with_gradients: bool = True
) -> ExplainedPhantom:
    person = make_person(number)
    case = _make_case(detector, person, patient)
    model = attribute(detector, case, parts=False)
    expectation = attribute(detector, case, "expectation", parts=False, previous=model)
    prior = attribute(detector, case, "prior", parts=False)
    values = {"shapley": model.groups, "expectation": expectation.groups, "prior": prior.groups}
    values |= {"ablation": model.ablation, "attention": sum_attention_by_group(detector, case)}
    if prior.unusual and with_gradients:  # of a network with random weights nothing is known to be usual
        values["unusual"] = prior.unusual
    gradients = None
    if oracle is not None:
        values["oracle"] = oracle.attribute(person, patient, infer_population)
        values["oracle_averages"] = oracle.attribute(person, patient, average_population)
        if with_gradients:
            gradients = compute_integrated_gradients(detector, case)
            values["integrated_gradients"] = gradients.groups
    return ExplainedPhantom(kind, number, model, values, gradients, prior.stands_out)


def _make_case(
    detector: Detector, person: Person, patient: Patient | None = None, changes: Mapping[str, object] | None = None
) -> Case:
    """Return a normal phantom as a case, with further values of the record."""
    film = person.render(detector.config.network.image_size, patient)
    return detector.case(Radiograph(film), {**(patient or person.patient).to_record(), **(changes or {})})


def measure_influence_truth(detector: Detector, oracle: Oracle, people: int, split: str, report: Report) -> dict:
    """Measure whether the model's influence curves rise and fall with the oracle's, on normals of the population.

    agreement: share of the curves' steps whose sign is the oracle's, where the oracle's misfit changes by more than
    `NOISE`, with a 95 % interval over people; a feature that moves nobody's misfit so far is left out.
    """
    result = {}
    for feature in CURVES:
        shares = []
        for index in range(people):
            person = make_person(get_explanation_number(split, 5, index))
            curve = compute_influence(detector, _make_case(detector, person), feature, strip=False)
            truth, model = (
                np.diff(oracle.compute_curve(person, person.patient, feature, curve.values)),
                np.diff(curve.misfit),
            )
            is_counted = np.abs(truth) > NOISE
            if is_counted.any():
                shares.append(float((np.sign(truth) == np.sign(model))[is_counted].mean()))
            report(f"influence of {feature}", index + 1, people)
        if shares:
            entry = mean_with_interval(np.array(shares))
            result[feature] = {"agreement": entry["mean"], "interval": entry["interval"], "people": len(shares)}
    return result


def attribute_ignored_feature(detector: Detector, feature: str, people: int, split: str, report: Report) -> dict:
    """Attribute a feature on which nothing depends, by a checkpoint that was trained with it, on normals.

    mean, interval: of its Shapley values; size: their mean |value|. size_of_others: the same of each other group.
    Raises KeyError if the checkpoint does not know it.
    """
    group, rows = detector.schema[feature].explanation_group, []
    for index in range(people):
        number = get_explanation_number(split, 6, index)
        case = _make_case(detector, make_person(number), changes={feature: draw_ignored_value(number)})
        rows.append(attribute(detector, case, parts=False).groups)
        report(f"attribution of the ignored {feature}", index + 1, people)
    values = pd.DataFrame(rows)
    sizes = values.abs().mean()
    return {
        "feature": feature,
        "checkpoint": detector.config.name,
        "people": people,
        **mean_with_interval(values[group].to_numpy()),
        "size": float(sizes[group]),
        "size_of_others": {name: float(value) for name, value in sizes.items() if name != group},
    }


def tabulate_values(phantoms: Sequence[ExplainedPhantom]) -> pd.DataFrame:
    """Return one row for each phantom, method and group."""
    return pd.DataFrame(
        [
            {"kind": one.kind, "number": one.number, "method": method, "group": group, "value": values[group]}
            for one in phantoms
            for method, values in one.values.items()
            for group in GROUPS
        ]
    )


def _shuffle_weights(detector: Detector) -> Detector:
    """Return a detector in which every tensor's values are shuffled: same spread of weights, nothing learned."""
    network = Diff3M(detector.config.network, detector.config.schedule)
    generator, state = torch.Generator().manual_seed(0), {}
    for name, tensor in detector.network.state_dict().items():
        order = torch.randperm(tensor.numel(), generator=generator)
        state[name] = tensor.cpu().contiguous().flatten()[order].view(tensor.shape)
    network.load_state_dict(state)
    return Detector(replace(detector.checkpoint, network=network), detector.device, detector.precision)
