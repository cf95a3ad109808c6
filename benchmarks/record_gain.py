"""Does the record count on real films? Ways to let it count, under the true, another film's and no record, and where pictures change.

    python benchmarks/record_gain.py CHECKPOINT --manifest CSV --out DIR [--normals CSV] [--people 40] [--changes-only]

On the manifest's labelled films, within-view AUROC and the paired gain of the true record, of: the residual in one step from mid and high noise,
where a record can act (two noises with both signs); the same with guidance (the record's effect on the estimate times 3); the misfit of film and
record; the bits that the record costs in describing the film (Kong et al., ICLR 2024); and the score beside normals of the same age and sex (with
--normals: films from which the score's regression on age and sex within view is learned). Then, for `people` normal films, what the model draws under
another age, sex or view, from the same noise: mean size of the change, and a figure of the mean signed change over people.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure
from tqdm import tqdm

from diff3m.data.manifest import NORMAL, read_manifest
from diff3m.detector import Detector
from diff3m.ehr import Record
from diff3m.estimates import Estimates
from diff3m.evaluation.labelled_films import Cohort, load_cohort
from diff3m.evaluation.metrics import auroc_within_view, mean_with_interval, paired_difference
from diff3m.evaluation.phantoms import RECORDS, asked_records
from diff3m.explain import counterfactual_films
from diff3m.explain.information import bits_spent
from diff3m.explain.record_fit import calibrated_fits, deviations, misfit, z_scores
from diff3m.scoring.score import Component

LEVELS = (300, 500, 700)
KINDS = (("absolute", 4), ("brighter", 4), ("ssim", 6))
CHANGES = {"age": {"age": 25.0}, "age, older": {"age": 75.0}, "sex": {"sex": "other"}, "view": {"view": "other"}}
OTHER = {"F": "M", "M": "F", "PA": "AP", "AP": "PA"}
LEVEL, STEPS, BATCH = 1000, 20, 16
GUIDANCE, BIT_LEVELS = 3.0, (250, 400, 550, 700)


def one_step_measurements(
    detector: Detector, cohort: Cohort, components: tuple[Component, ...]
) -> dict[str, dict[str, np.ndarray]]:
    """Component values (N,) of all films by component's name and kind of record, plain and with guidance."""
    asked = asked_kinds(detector, cohort)
    settings, levels = detector.settings(), sorted({component.level for component in components})
    changed = detector.with_scoring(
        replace(detector.scoring, components=components, mirrored_noises=True, one_step_noises=2, calibration=())
    )
    rows: dict[tuple[str, str], list[np.ndarray]] = {}
    for start in tqdm(range(0, len(cohort.cases), BATCH), desc="one step"):
        x0, made = cohort.x0[start : start + BATCH], {}
        for kind in RECORDS:
            condition = changed.condition(x0, asked[kind][start : start + BATCH], attention=False)
            with changed.autocast():
                made[kind] = {
                    level: changed.one_step_estimate(x0, condition, level, settings).float() for level in levels
                }
        for kind in RECORDS:
            for way, weight in (("", 1.0), (", guided", GUIDANCE)):
                told = {
                    level: torch.lerp(made["unknown"][level], made[kind][level], weight).clamp(0, 1) for level in levels
                }
                estimates = Estimates(one_step=told)
                values = changed.measurements(x0, asked[kind][start : start + BATCH], estimates, settings).numpy()
                rows.setdefault((way, kind), []).append(values)
    tables = {key: np.concatenate(parts) for key, parts in rows.items()}
    return {
        f"{component.kind} {component.sigma:g}, one step at {component.level}{way}": {
            kind: tables[way, kind][:, place] for kind in RECORDS
        }
        for way in ("", ", guided")
        for place, component in enumerate(components)
    }


def asked_kinds(detector: Detector, cohort: Cohort) -> dict[str, list]:
    """The films' records by kind of record."""
    return {
        kind: asked_records([case.record for case in cohort.cases], detector.schema.parse({}), kind) for kind in RECORDS
    }


def misfits(detector: Detector, cohort: Cohort) -> dict[str, np.ndarray]:
    """The misfit of film and record by film (N,), by kind of record."""
    asked, fits = asked_kinds(detector, cohort), calibrated_fits(detector)
    rows = []
    for index in tqdm(range(len(cohort.cases)), desc="misfit"):
        records = [asked[kind][index] for kind in RECORDS]
        rows.append(misfit(z_scores(deviations(detector, cohort.x0[index : index + 1], records, fits)[0], fits)))
    return dict(zip(RECORDS, np.array(rows).T, strict=True))


def costs_in_bits(detector: Detector, cohort: Cohort) -> dict[str, np.ndarray]:
    """Bits that a record costs in describing each film (N,), by kind of record: with it minus without, over `BIT_LEVELS`."""
    asked, rows = asked_kinds(detector, cohort), {kind: [] for kind in RECORDS}
    for start in tqdm(range(0, len(cohort.cases), BATCH), desc="bits"):
        part = slice(start, start + BATCH)
        spent = {
            kind: bits_spent(detector, cohort.x0[part], asked[kind][part], BIT_LEVELS).sum(dim=(1, 2))
            for kind in RECORDS
        }
        for kind in RECORDS:
            rows[kind].append((spent[kind] - spent["unknown"]).numpy())
    return {kind: np.concatenate(parts) for kind, parts in rows.items()}


def beside_their_like(detector: Detector, cohort: Cohort, normals: Cohort) -> dict[str, np.ndarray]:
    """Scores (N,) beside what normals of the record's age and sex have, in spreads of what age and sex leave, by kind of record.

    The score's regression on age and sex is learned from normal films, within view. "unknown" is the score as shown, of the film's own view.
    """
    learned, own = scores(detector, normals), scores(detector, cohort)
    asked, found = asked_kinds(detector, cohort), {"unknown": own}
    for kind in ("true", "shuffled"):
        values = np.empty(len(own))
        for view in np.unique(cohort.views):
            fit, rows = normals.views == view, cohort.views == view
            design = _age_and_sex([case.record for case, used in zip(normals.cases, fit, strict=True) if used])
            weights = np.linalg.lstsq(design, learned[fit], rcond=None)[0]
            spread = (learned[fit] - design @ weights).std(ddof=3)
            told = _age_and_sex([record for record, used in zip(asked[kind], rows, strict=True) if used])
            values[rows] = (own[rows] - told @ weights) / spread
        found[kind] = values
    return found


def normal_films(detector: Detector, manifest: Path) -> Cohort:
    """The normal films of a manifest, prepared."""
    cases = [case for case in read_manifest(manifest, detector.schema) if case.label == NORMAL]
    x0 = torch.cat([detector.inputs([detector.case(case.path)]) for case in cases])
    return Cohort(x0, cases, np.full(len(cases), ""), [None] * len(cases))


def _age_and_sex(records) -> np.ndarray:
    """1, age in decades from 50, and sex as ±½; an unknown one counts as the middle."""
    ages = [0.0 if record.get("age") is None else (float(record["age"]) - 50) / 10 for record in records]
    sexes = [{"F": -0.5, "M": 0.5}.get(record.get("sex"), 0.0) for record in records]
    return np.column_stack([np.ones(len(ages)), ages, sexes])


def measured(detector: Detector, cohort: Cohort, records: list[Record], label: str) -> torch.Tensor:
    """The score's components of every film under a record each, (N, components)."""
    settings, rows = detector.settings(), []
    for start in tqdm(range(0, len(records), BATCH), desc=label, unit="batch"):
        x0, part = cohort.x0[start : start + BATCH], records[start : start + BATCH]
        made = detector.estimates(x0, detector.condition(x0, part, attention=False), detector.scoring.keys, settings)
        rows.append(detector.measurements(x0, part, made, settings))
    return torch.cat(rows)


def scores(detector: Detector, cohort: Cohort) -> np.ndarray:
    """The shipped score of every film under its own record, (N,)."""
    records = [case.record for case in cohort.cases]
    values = measured(detector, cohort, records, "score")
    return np.array(
        [detector.scoring.score(row, record.get("view")) for row, record in zip(values, records, strict=True)]
    )


def gains(values: dict[str, np.ndarray], cohort: Cohort) -> dict:
    """By label: AUROC within view under each record, and the paired gain of the true one."""
    found = {}
    for label in np.unique(cohort.labels[cohort.labels != NORMAL]):
        rows = np.isin(cohort.labels, (NORMAL, label))
        abnormal, views = cohort.labels[rows] == label, cohort.views[rows]
        entry = {kind: auroc_within_view(values[kind][rows], abnormal, views) for kind in RECORDS}
        entry["gain"] = {
            kind: paired_difference(values["true"][rows], values[kind][rows], abnormal, views)
            for kind in RECORDS
            if kind != "true"
        }
        found[str(label)] = entry
    return found


def changes(detector: Detector, cohort: Cohort, people: int, out: Path) -> dict:
    """Mean size of what another record does to the picture of what is normal, with its interval over people; writes record_changes.svg."""
    normal = [
        index
        for index in range(len(cohort.cases))
        if cohort.labels[index] == NORMAL and None not in _named(cohort.cases[index].record)
    ][:people]
    sizes, signed = {name: [] for name in CHANGES}, {name: [] for name in CHANGES}
    for index in tqdm(normal, desc="changes"):
        record = cohort.cases[index].record
        others = [
            {**record, **{key: OTHER[record[key]] if value == "other" else value for key, value in change.items()}}
            for change in CHANGES.values()
        ]
        made = (
            counterfactual_films(detector, cohort.x0[index : index + 1], [record], [others], LEVEL, STEPS)[0, :, 0]
            .float()
            .cpu()
            .numpy()
        )
        for name, changed in zip(CHANGES, made[1:], strict=True):
            sizes[name].append(float(np.abs(changed - made[0]).mean()))
            flipped = name in ("sex", "view") and record[name] in ("M", "AP")  # always from woman to man, from PA to AP
            signed[name].append((made[0] - changed) if flipped else (changed - made[0]))
    figure = Figure(figsize=(3 * len(CHANGES), 3.3), layout="constrained")
    full = max(float(np.abs(np.mean(maps, axis=0)).max()) for maps in signed.values())
    for axes, (name, maps) in zip(figure.subplots(1, len(CHANGES)), signed.items(), strict=True):
        axes.imshow(np.mean(maps, axis=0), cmap="coolwarm", vmin=-full, vmax=full)
        axes.set_title(
            {"sex": "woman to man", "view": "PA to AP", "age": "to 25 years", "age, older": "to 75 years"}[name],
            fontsize=10,
        )
        axes.set_axis_off()
    figure.suptitle(
        f"What another record does to the picture of normal: mean over {len(normal)} people, full color at {full:.1%} of the grey range",
        fontsize=9,
    )
    figure.savefig(out / "record_changes.svg", metadata={"Date": None})
    return {name: mean_with_interval(np.array(values)) for name, values in sizes.items()}


def _named(record) -> tuple:
    return record.get("age"), record.get("sex"), record.get("view")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint")
    parser.add_argument("--manifest", required=True, type=Path)
    parser.add_argument("--out", required=True, type=Path)
    parser.add_argument("--people", type=int, default=40, help="0 leaves the pictures out")
    parser.add_argument("--levels", type=int, nargs="+", default=list(LEVELS))
    parser.add_argument(
        "--normals", type=Path, default=None, help="manifest of normal films for the regression on age and sex"
    )
    parser.add_argument("--changes-only", action="store_true", help="where pictures change, and no gains")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    detector = Detector.from_pretrained(options.checkpoint)
    cohort = load_cohort(detector, options.manifest, None, None)
    found = {} if options.changes_only else measured_gains(detector, cohort, options)
    if options.people:
        found["changes"] = changes(detector, cohort, options.people, options.out)
        for name, entry in found["changes"].items():
            print(f"change of {name}: mean size {entry['mean']:.4f} {entry['interval']}")
    (options.out / "record_gain.json").write_text(json.dumps(found, indent=1) + "\n")


def measured_gains(detector: Detector, cohort: Cohort, options: argparse.Namespace) -> dict:
    """Gains of every way by name, printed as they are found."""
    components = tuple(Component(kind, sigma, level, "one_step") for level in options.levels for kind, sigma in KINDS)
    values = one_step_measurements(detector, cohort, components)
    values["misfit of film and record"] = misfits(detector, cohort)
    values["bits that the record costs"] = costs_in_bits(detector, cohort)
    if options.normals:
        values["score beside normals of like age and sex"] = beside_their_like(
            detector, cohort, normal_films(detector, options.normals)
        )
    found = {name: gains(by_kind, cohort) for name, by_kind in values.items()}
    for name, labels in found.items():
        for label, entry in labels.items():
            gain = ", ".join(
                f"over {kind} {g['difference']:+.3f} [{g['interval'][0]:+.3f}, {g['interval'][1]:+.3f}]"
                for kind, g in entry["gain"].items()
            )
            print(
                f"{name:<44} {label:<15} true {entry['true']:.3f}, shuffled {entry['shuffled']:.3f}, unknown {entry['unknown']:.3f}; gain {gain}"
            )
    return found


if __name__ == "__main__":
    main()
