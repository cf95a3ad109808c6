"""Does the record count on real films? Detection under true, another film's and no record, the record's misfit as a score, and where pictures change.

    python benchmarks/record_gain.py CHECKPOINT --manifest CSV --out DIR [--people 40]

The manifest's labelled films are measured in one step from mid and high noise, where a record can act (two noises with both signs), under the three
records; within-view AUROC and the paired gain of the true one. Then the misfit of film and record itself. Then, for `people` normal films, what the
model draws under another age, sex or view, from the same noise: mean size of the change, and a figure of the mean signed change over people.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from tqdm import tqdm

from diff3m.data.manifest import NORMAL
from diff3m.detector import Detector
from diff3m.evaluation.films import load_cohort
from diff3m.evaluation.metrics import auroc_within_view, mean_with_interval, paired_difference
from diff3m.evaluation.phantoms import RECORDS, asked_records
from diff3m.explain import counterfactual_films
from diff3m.explain.record_fit import calibrated, deviations, misfit, z_scores
from diff3m.scoring import Component

LEVELS = (300, 500, 700)
KINDS = (("absolute", 4), ("brighter", 4), ("ssim", 6))
CHANGES = {"age": {"age": 25.0}, "age, older": {"age": 75.0}, "sex": {"sex": "other"}, "view": {"view": "other"}}
OTHER = {"F": "M", "M": "F", "PA": "AP", "AP": "PA"}
LEVEL, STEPS, BATCH = 1000, 20, 16


def measured(detector: Detector, cohort, kind: str, components: tuple[Component, ...]) -> np.ndarray:
    """Component values of all films under a kind of record: (N, components)."""
    asked = asked_records([case.record for case in cohort.cases], detector.schema.parse({}), kind)
    settings, keys, rows = detector.settings(), sorted({component.key for component in components}), []
    changed = detector.with_scoring(replace(detector.scoring, components=components, mirrored_noises=True, one_step_noises=2, calibration=()))
    for start in tqdm(range(0, len(asked), BATCH), desc=kind):
        x0, records = cohort.x0[start : start + BATCH], asked[start : start + BATCH]
        condition = changed.condition(x0, records, attention=False)
        with changed.autocast():
            made = {key: changed.one_step_estimate(x0, condition, key[1], settings) for key in keys}
        rows.append(changed.measurements(x0, records, made, settings).numpy())
    return np.concatenate(rows)


def misfits(detector: Detector, cohort, kind: str) -> np.ndarray:
    """The misfit of film and record by film: (N,)."""
    asked, fits = asked_records([case.record for case in cohort.cases], detector.schema.parse({}), kind), calibrated(detector)
    found = []
    for index in tqdm(range(len(asked)), desc=f"misfit, {kind}"):
        along, _ = deviations(detector, cohort.x0[index : index + 1], [asked[index]], fits)
        found.append(float(misfit(z_scores(along, fits))[0]))
    return np.array(found)


def gains(values: dict[str, np.ndarray], cohort) -> dict:
    """By label: AUROC within view under each record, and the paired gain of the true one."""
    found = {}
    for label in np.unique(cohort.labels[cohort.labels != NORMAL]):
        rows = np.isin(cohort.labels, (NORMAL, label))
        abnormal, views = cohort.labels[rows] == label, cohort.views[rows]
        entry = {kind: auroc_within_view(values[kind][rows], abnormal, views) for kind in RECORDS}
        entry["gain"] = {kind: paired_difference(values["true"][rows], values[kind][rows], abnormal, views) for kind in RECORDS if kind != "true"}
        found[str(label)] = entry
    return found


def changes(detector: Detector, cohort, people: int, out: Path) -> dict:
    """Mean size of what another record does to the picture of what is normal, with its interval over people; writes record_changes.svg."""
    normal = [index for index in range(len(cohort.cases)) if cohort.labels[index] == NORMAL and None not in _named(cohort.cases[index].record)][
        :people
    ]
    sizes, signed = {name: [] for name in CHANGES}, {name: [] for name in CHANGES}
    for index in tqdm(normal, desc="changes"):
        record = cohort.cases[index].record
        others = [
            {**record, **{key: OTHER[record[key]] if value == "other" else value for key, value in change.items()}} for change in CHANGES.values()
        ]
        made = counterfactual_films(detector, cohort.x0[index : index + 1], [record], [others], LEVEL, STEPS)[0, :, 0].float().cpu().numpy()
        for name, changed in zip(CHANGES, made[1:], strict=True):
            sizes[name].append(float(np.abs(changed - made[0]).mean()))
            flipped = name in ("sex", "view") and record[name] in ("M", "AP")  # always from woman to man, from PA to AP
            signed[name].append((made[0] - changed) if flipped else (changed - made[0]))
    figure = Figure(figsize=(3 * len(CHANGES), 3.3), layout="constrained")
    full = max(float(np.abs(np.mean(maps, axis=0)).max()) for maps in signed.values())
    for axes, (name, maps) in zip(figure.subplots(1, len(CHANGES)), signed.items(), strict=True):
        axes.imshow(np.mean(maps, axis=0), cmap="coolwarm", vmin=-full, vmax=full)
        axes.set_title({"sex": "woman to man", "view": "PA to AP", "age": "to 25 years", "age, older": "to 75 years"}[name], fontsize=10)
        axes.set_axis_off()
    figure.suptitle(
        f"What another record does to the picture of normal: mean over {len(normal)} people, full color at {full:.1%} of the grey range", fontsize=9
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
    parser.add_argument("--people", type=int, default=40)
    parser.add_argument("--levels", type=int, nargs="+", default=list(LEVELS))
    parser.add_argument("--no-misfit", action="store_true", help="leave the misfit out, which takes longest")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    detector = Detector.from_pretrained(options.checkpoint)
    cohort = load_cohort(detector, options.manifest, None, None)
    components = tuple(Component(kind, sigma, level, "one_step") for level in options.levels for kind, sigma in KINDS)
    values = {kind: measured(detector, cohort, kind, components) for kind in RECORDS}
    found = {}
    for place, component in enumerate(components):
        name = f"{component.kind} {component.sigma:g}, one step at {component.level}"
        found[name] = gains({kind: table[:, place] for kind, table in values.items()}, cohort)
    if not options.no_misfit:
        found["misfit of film and record"] = gains({kind: misfits(detector, cohort, kind) for kind in RECORDS}, cohort)
    for name, labels in found.items():
        for label, entry in labels.items():
            gain = ", ".join(
                f"over {kind} {g['difference']:+.3f} [{g['interval'][0]:+.3f}, {g['interval'][1]:+.3f}]" for kind, g in entry["gain"].items()
            )
            print(f"{name:<36} {label:<15} true {entry['true']:.3f}, shuffled {entry['shuffled']:.3f}, unknown {entry['unknown']:.3f}; gain {gain}")
    found["changes"] = changes(detector, cohort, options.people, options.out)
    for name, entry in found["changes"].items():
        print(f"change of {name}: mean size {entry['mean']:.4f} {entry['interval']}")
    (options.out / "record_gain.json").write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
