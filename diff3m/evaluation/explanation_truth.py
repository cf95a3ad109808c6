"""Explanations against known causes: phantoms in which one group of the record is extreme and everything else is average, and phantoms drawn from
the population, beside the oracle's own attributions."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from scipy.stats import rankdata

from ..data.phantom import SEEDS, Patient, person
from ..data.phantom.cohort import ignored_value
from ..detector import Detector
from ..explain import (
    Attribution,
    ExplanationError,
    Gradients,
    agreements,
    attention_by_group,
    attribute,
    explainable_groups,
    influence,
    integrated_gradients,
)
from ..imaging import Radiograph
from ..network import Diff3M
from .charts import attribution_truth
from .format import interval
from .metrics import bootstrap_interval, mean_with_interval
from .oracle import GROUPS, OFFSET, Oracle, average_patient, averages, implied

STRIDE = 2_000  # of the phantoms' numbers, from one kind to the next
EXTREME = tuple(group for group in GROUPS if group != "sex")
RANDOM = "random_weights_"
DRAWN = "drawn"  # from the population, instead of a group that was made extreme
MOVED = ("shapley", "expectation", "prior")  # Shapley values of the misfit, and of what the record moves
METHODS = (
    *MOVED,
    "unusual",
    "integrated_gradients",
    "ablation",
    "attention",
    *(f"{RANDOM}{name}" for name in MOVED),
    "oracle",
    "oracle_averages",
)
CURVES = ("bmi", "systolic_mmhg", "age")
NOISE = 1.0  # the variance of one group's shift among people of one record
Report = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Explained:
    """One phantom: the group that was made extreme (or DRAWN), its number, and every method's values by group; of the oracles and
    "integrated_gradients" only where they were asked for. "shapley", "expectation" and "prior": Shapley values of the first three targets of
    `attribution.TARGETS`; "unusual": `Attribution.unusual`, of a checkpoint for which it was measured; stands_out: the group that it is said of."""

    kind: str
    number: int
    model: Attribution
    values: dict[str, dict[str, float]]
    gradients: Gradients | None = None
    stands_out: str | None = None


def extreme_patient(group: str, rng: np.random.Generator) -> Patient:
    """Average in everything but one group. Sex has no average: it is drawn, and "sex" itself has no extreme."""
    patient, high = average_patient("FM"[rng.integers(2)]), bool(rng.integers(2))
    changes = {
        "age": dict(age=85.0 if high else 20.0),
        "sex": {},
        "view": dict(view="AP"),
        "habitus": dict(bmi=44.0 if high else 18.5),
        "blood pressure": dict(systolic_mmhg=190.0, diastolic_mmhg=105.0)
        if high
        else dict(systolic_mmhg=88.0, diastolic_mmhg=52.0),
    }
    return patient.under(**changes[group])


def benchmark_explanations(
    detector: Detector,
    out: str | Path,
    each: int = 100,
    with_oracle: int = 40,
    split: str = "test",
    ignored: tuple[Detector, str] | None = None,
    report: Report | None = None,
) -> dict:
    """Explain `each` phantoms with each group extreme and `with_oracle` drawn from the population, `with_oracle` of each kind by the oracle and by
    integrated gradients too; write explanations.json, a table, a figure and cases.csv under `out`; returns what explanations.json holds.

    top_1: share of films whose largest |attribution| is the extreme group. rank_correlation: Spearman's, over the groups of all films of one kind,
    between attributions and the oracle's; rank_correlation_averages: the same with the oracle that infers nothing. said_to_stand_out: share of
    films in which the extreme group is not only the farthest out of the ordinary, but far enough to say so (`Attribution.stands_out`). The same
    of attention, and of a network of the same shape with random weights. ignored: a checkpoint that was trained with a feature on which nothing
    depends, and its name. Raises ExplanationError for a checkpoint that lacks a group.
    """
    report = report or (lambda stage, done, total: None)
    if missing := [group for group in GROUPS if group not in explainable_groups(detector)]:
        raise ExplanationError(
            f"Simulated patients differ in {', '.join(missing)} too, which {detector.config.name} was not trained with. Give another."
        )
    oracle, fewer = Oracle(detector), min(each, with_oracle)
    cases = explain_cases(detector, oracle, each, fewer, split, report)
    cases += explain_drawn(detector, oracle, fewer, split, report)
    randomized = Detector(
        replace(detector.checkpoint, network=_randomized(detector)),
        device=detector.device,
        precision=detector.precision,
    )
    control = explain_cases(
        randomized,
        oracle,
        fewer,
        fewer,
        split,
        lambda stage, done, total: report(f"random weights, {stage}", done, total),
        True,
    )
    result = {
        "checkpoint": detector.config.name,
        "weights_sha256": detector.checkpoint.sha256,
        "split": split,
        "first_number": SEEDS[split][0] + OFFSET,
        "each": each,
        "with_oracle": fewer,
        **{
            name: _summary(control, name.removeprefix(RANDOM)) if name.startswith(RANDOM) else _summary(cases, name)
            for name in METHODS
        },
        "said_to_stand_out": {
            group: float(np.mean([c.stands_out == group for c in cases if c.kind == group])) for group in EXTREME
        },
        "largest_efficiency_error": max(
            abs(sum(c.model.groups.values()) - (c.model.known - c.model.unknown)) for c in cases
        ),
        "agreement_with_shapley": _agreement(cases),
        "influence": influence_truth(detector, oracle, fewer, split, report),
        "mean": {kind: _means([case for case in cases if case.kind == kind]) for kind in (*EXTREME, DRAWN)},
        "ignored": None if ignored is None else ignored_feature(*ignored, people=fewer, split=split, report=report),
    }
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "explanations.json").write_text(json.dumps(result, indent=1) + "\n")
    (folder / "explanations.md").write_text(table(result))
    _rows(cases).to_csv(folder / "cases.csv", index=False)
    attribution_truth(result, _rows(cases)).savefig(folder / "explanations.svg", metadata={"Date": None})
    return result


def explain_cases(
    detector: Detector, oracle: Oracle, each: int, with_oracle: int, split: str, report: Report, plain: bool = False
) -> list[Explained]:
    """`each` phantoms with each group in turn extreme, explained. plain: without integrated gradients."""
    cases = []
    for place, group in enumerate(EXTREME):
        for index in range(each):
            number = SEEDS[split][0] + OFFSET + STRIDE * place + index
            patient = extreme_patient(group, np.random.default_rng([number, 4]))
            cases.append(_explained(detector, oracle if index < with_oracle else None, group, number, patient, plain))
            report(group, index + 1, each)
    return cases


def explain_drawn(detector: Detector, oracle: Oracle, count: int, split: str, report: Report) -> list[Explained]:
    """Phantoms drawn from the population, explained by the oracle too."""
    cases = []
    for index in range(count):
        number = SEEDS[split][0] + OFFSET + STRIDE * len(EXTREME) + index
        cases.append(_explained(detector, oracle, DRAWN, number, person(number).patient))
        report("drawn from the population", index + 1, count)
    return cases


def _explained(
    detector: Detector, oracle: Oracle | None, kind: str, number: int, patient: Patient, plain: bool = False
) -> Explained:
    who = person(number)
    film, record = (
        Radiograph(who.film(detector.config.network.image_size, patient)),
        detector.schema.parse(patient.record()),
    )
    model = attribute(detector, film, record, parts=False)
    moved = (
        attribute(detector, film, record, "expectation", parts=False, before=model),
        attribute(detector, film, record, "prior", parts=False),
    )
    values = dict(zip(MOVED, (model.groups, *(one.groups for one in moved)), strict=True))
    values |= {"ablation": model.ablation, "attention": attention_by_group(detector, film, record)}
    if moved[1].unusual and not plain:  # of a network with random weights nothing is known to be usual
        values["unusual"] = moved[1].unusual
    gradients = None
    if oracle is not None:
        values["oracle"], values["oracle_averages"] = (
            oracle.attribution(who, patient, implied),
            oracle.attribution(who, patient, averages),
        )
        if not plain:
            gradients = integrated_gradients(detector, film, record)
            values["integrated_gradients"] = gradients.groups
    return Explained(kind, number, model, values, gradients, moved[1].stands_out)


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
        if shares:
            entry = mean_with_interval(np.array(shares))
            found[feature] = {"agreement": entry["mean"], "interval": entry["interval"], "people": len(shares)}
    return found


def ignored_feature(detector: Detector, feature: str, people: int, split: str, report: Report) -> dict:
    """Attributions of a feature on which nothing depends, by a checkpoint that was trained with it, on normals drawn from the population.

    mean, interval: of its Shapley values; size: their mean |value|. size_of_others: the same of each other group. Raises KeyError if the
    checkpoint does not know it.
    """
    group, size, rows = detector.schema[feature].explanation_group, detector.config.network.image_size, []
    for index in range(people):
        number = SEEDS[split][0] + OFFSET + STRIDE * 6 + index
        who = person(number)
        record = {**who.patient.record(), feature: ignored_value(number)}
        rows.append(attribute(detector, Radiograph(who.film(size)), record, parts=False).groups)
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


def _summary(cases: Sequence[Explained], method: str) -> dict:
    """Top-1 by group with a 95 % interval, and Spearman's correlation with the oracle over all groups of extreme and of drawn phantoms."""
    found: dict = {"top_1": {}, "rank_correlation": {}, "rank_correlation_averages": {}}
    cases = [case for case in cases if method in case.values]
    for group in EXTREME:
        hits = np.array([_largest(case.values[method]) == group for case in cases if case.kind == group], dtype=float)
        if len(hits):
            entry = mean_with_interval(hits)
            found["top_1"][group] = {"share": entry["mean"], "interval": entry["interval"], "films": len(hits)}
    judged = [
        case for case in cases if "oracle" in case.values and method != "unusual"
    ]  # whose scale is each group's own
    for name, rows in (
        ("extreme", [c for c in judged if c.kind != DRAWN]),
        (DRAWN, [c for c in judged if c.kind == DRAWN]),
    ):
        if rows:
            own, oracle, plain = (
                np.array([[case.values[source][group] for group in GROUPS] for case in rows])
                for source in (method, "oracle", "oracle_averages")
            )
            found["rank_correlation"][name], found["rank_correlation_averages"][name] = (
                _correlation(own, oracle),
                _correlation(own, plain),
            )
    return found


def _correlation(first: np.ndarray, second: np.ndarray) -> dict:
    """Spearman's correlation of values (films, groups), over all of them and of their sizes, with an interval over films; and group by group."""

    def pooled(i: np.ndarray) -> float:
        return spearman(first[i].ravel(), second[i].ravel())

    films = np.zeros(len(first))
    return {
        "value": pooled(np.arange(len(first))),
        "interval": bootstrap_interval(pooled, films),
        "of_sizes": spearman(np.abs(first).ravel(), np.abs(second).ravel()),
        "by_group": {group: spearman(first[:, place], second[:, place]) for place, group in enumerate(GROUPS)},
        "films": len(first),
    }


def _largest(values: Mapping[str, float]) -> str:
    return max(GROUPS, key=lambda group: abs(values.get(group, 0.0)))


def spearman(a: np.ndarray, b: np.ndarray) -> float:
    """Spearman's rank correlation of two vectors (ties share their mean rank); 0 where one of them does not vary."""
    if np.ptp(a) == 0 or np.ptp(b) == 0:
        return 0.0
    return float(np.corrcoef(rankdata(a), rankdata(b))[0, 1])


def _agreement(cases: Sequence[Explained]) -> dict:
    """By method: share of the films in which it agrees with Shapley values in signs, order and largest group (see `explain.Agreement`)."""
    found: dict[str, list] = {}
    for case in cases:
        for name, one in agreements(case.model, case.gradients).items():
            found.setdefault(name, []).append(one)
    return {
        name: {
            "films": len(rows),
            **{part: float(np.mean([asdict(one)[part] for one in rows])) for part in ("signs", "order", "largest")},
        }
        for name, rows in found.items()
    }


def _means(cases: Sequence[Explained]) -> dict:
    judged = [case for case in cases if "oracle" in case.values]
    return {
        "model": {group: float(np.mean([case.model.groups[group] for case in cases])) for group in GROUPS},
        "oracle": {group: float(np.mean([case.values["oracle"][group] for case in judged])) for group in GROUPS}
        if judged
        else None,
    }


def _rows(cases: Sequence[Explained]) -> pd.DataFrame:
    """One row a film, method and group."""
    return pd.DataFrame(
        [
            {"kind": case.kind, "number": case.number, "method": method, "group": group, "value": values[group]}
            for case in cases
            for method, values in case.values.items()
            for group in GROUPS
        ]
    )


def table(result: Mapping) -> str:
    """The result in Markdown: what each method names first, its rank correlation, and the other checks."""

    heads = [
        *(f"top-1 {group}" for group in EXTREME),
        "rank correlation, extreme",
        "drawn",
        "with averages, extreme",
        "drawn",
    ]
    lines = [f"| | {' | '.join(heads)} |", "|---|" + "---|" * len(heads)]
    for name in METHODS:
        found = result[name]
        top = [interval(found["top_1"][group], "share", ".2f") if group in found["top_1"] else "" for group in EXTREME]
        ranks = (
            found[key].get(kind)
            for key in ("rank_correlation", "rank_correlation_averages")
            for kind in ("extreme", DRAWN)
        )
        rank = ["" if entry is None else interval(entry, "value", ".2f") for entry in ranks]
        lines.append(f"| {name.replace('_', ' ')} | {' | '.join([*top, *rank])} |")
    said = ", ".join(f"{group} {share:.0%}" for group, share in result["said_to_stand_out"].items())
    lines += ["", f"Said to stand out: {said}."]
    lines += [
        "",
        "| agreement with Shapley values | films | same signs | same order | same largest |",
        "|---|---|---|---|---|",
    ]
    for name, entry in result["agreement_with_shapley"].items():
        lines.append(
            f"| {name} | {entry['films']} | {entry['signs']:.0%} | {entry['order']:.0%} | {entry['largest']:.0%} |"
        )
    lines += ["", "| influence curve | sign agreement with the oracle | people |", "|---|---|---|"]
    lines += [
        f"| {feature} | {interval(entry, 'agreement', '.2f')} | {entry['people']} |"
        for feature, entry in result["influence"].items()
    ]
    if result["ignored"]:
        entry = result["ignored"]
        others = ", ".join(f"{group} {value:.2f}" for group, value in entry["size_of_others"].items())
        lines += [
            "",
            f"The ignored {entry['feature']}: mean attribution {interval(entry, 'mean', '.2f')}, mean size {entry['size']:.2f}; "
            f"of the others: {others}.",
        ]
    return "\n".join(lines) + "\n"


def _randomized(detector: Detector) -> torch.nn.Module:
    """A network of the same shape in which every tensor's values are shuffled: same spread of weights, nothing learned."""
    network = Diff3M(detector.config.network, detector.config.schedule)
    generator = torch.Generator().manual_seed(0)
    state = {}
    for name, tensor in detector.network.state_dict().items():
        order = torch.randperm(tensor.numel(), generator=generator)
        state[name] = tensor.cpu().contiguous().flatten()[order].view(tensor.shape)
    network.load_state_dict(state)
    return network
