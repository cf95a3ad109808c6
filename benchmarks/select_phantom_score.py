"""Choose the phantom checkpoint's score by the rule of docs/phantoms.md, on phantoms of the "dev" numbers.

    python benchmarks/select_phantom_score.py CHECKPOINT --out DIR [--normals 150] [--each 40] [--write]

Measurements are kept in OUT/measurements.npz and not made twice for the same weights. --write puts the chosen score into the
checkpoint, and calibrates it on phantoms of the "val" numbers.
"""

from __future__ import annotations

import argparse
import itertools
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from diff3m.checkpoint import write_config
from diff3m.data.phantom import KINDS, SEEDS, write_cohort
from diff3m.detector import Detector
from diff3m.evaluation.metrics import auroc, auroc_within_view
from diff3m.evaluation.phantoms import cohort_of
from diff3m.evaluation.run import calibrate_checkpoint
from diff3m.radiograph import Radiograph
from diff3m.scoring import TOP_SHARE, Component, Scoring, combined

TOLERANCE, NOISES, CALIBRATED_ON = 0.005, 2, 500  # noises with both signs
COMBINATIONS = ("mean", "max")
LEVEL_SETS = ((30,), (60,), (100,), (30, 60), (30, 60, 100), (60, 100, 200), (30, 60, 100, 200, 350))
LEVELS = LEVEL_SETS[-1]
FAMILIES = {
    "areas": [(kind, sigma, TOP_SHARE) for kind, sigma in itertools.product(("brighter", "darker"), (2, 4))],
    "peaks": [(kind, 2, 0.002) for kind in ("brighter", "darker")],
    "whole": [("absolute", 2, TOP_SHARE), ("absolute", 4, TOP_SHARE), ("ssim", 6, TOP_SHARE)],
}
RECORD = [Component("contradiction", 0, 350, "one_step", feature=name) for name in ("systolic_mmhg", "bmi", "age")]
BESIDE = {"": [], " + pressure": RECORD[:1], " + numbers": RECORD}
FIRST = [Component(*key) for key in itertools.product(("brighter", "darker"), (2, 4), (200, 400))] + [
    Component("contradiction", 0, level, "one_step", feature="systolic_mmhg") for level in (200, 350)
]


def in_one_step(families: Sequence[str], levels: Sequence[int]) -> list[Component]:
    """Measurements of families at noise levels."""
    return [Component(kind, sigma, level, "one_step", share=share) for name in families for kind, sigma, share in FAMILIES[name] for level in levels]


MEASURED = list(dict.fromkeys([*in_one_step(tuple(FAMILIES), LEVELS), *RECORD, *FIRST]))


def candidates() -> dict[str, list[Component]]:
    """The fixed sets of the rule, by name; each is tried as mean and as maximum."""
    unions = [chosen for count in range(1, len(FAMILIES) + 1) for chosen in itertools.combinations(FAMILIES, count)]
    found = {
        f"{' + '.join(families)} at {', '.join(map(str, levels))}{name}": in_one_step(families, levels) + record
        for families, levels, (name, record) in itertools.product(unions, LEVEL_SETS, BESIDE.items())
    }
    return {**found, "the first choice": FIRST}


def passes(components: Sequence[Component], stride: int = 40) -> int:
    """Network passes of a film that a score takes: noises of one step, another record for each contradiction, the walk up and down of inversion."""
    inversion = {component.level // stride for component in components if component.source == "inversion"}
    estimates = len({component.level for component in components if component.source == "one_step"})
    raised = sum(bool(component.feature) for component in components)
    return 2 * NOISES * (estimates + raised) + max(inversion, default=0) + sum(inversion)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint")
    parser.add_argument("--out", required=True, type=Path)
    parser.add_argument("--normals", type=int, default=150)
    parser.add_argument("--each", type=int, default=40)
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)

    detector = Detector.from_pretrained(options.checkpoint)
    detector = detector.with_scoring(Scoring(tuple(MEASURED), one_step_noises=NOISES, mirrored_noises=True))
    people = cohort_of(options.normals, options.each, "dev")
    label = np.array([who.lesion.kind if who.lesion else "normal" for who in people])
    view = np.array([who.patient.view for who in people])
    values = kept_measurements(detector, people, options.out / "measurements.npz")

    z = np.empty_like(values)
    for name in np.unique(view):
        rows, normal = view == name, (view == name) & (label == "normal")
        z[rows] = (values[rows] - values[normal].mean(0)) / values[normal].std(0, ddof=1)
    index = {component: place for place, component in enumerate(MEASURED)}
    table = {}
    for (name, chosen), how in itertools.product(candidates().items(), COMBINATIONS):
        scores = combined(torch.from_numpy(z[:, [index[component] for component in chosen]]), how).numpy()
        found = {}
        for kind in KINDS:
            rows = np.isin(label, ("normal", kind))
            found[kind] = auroc_within_view(scores[rows], label[rows] == kind, view[rows])
        cost = {"components": len(chosen), "passes": passes(chosen)}
        table[f"{how} of {name}"] = {**cost, "how": how, "set": name, **found, "mean": float(np.mean(list(found.values())))}
    best = max(row["mean"] for row in table.values())
    chosen = min((row for row in table.values() if row["mean"] >= best - TOLERANCE), key=lambda row: (row["passes"], row["components"], -row["mean"]))

    print(f"{'candidate':<64} n passes  " + " ".join(f"{kind[:8]:>8}" for kind in KINDS) + "     mean")
    for name, row in sorted(table.items(), key=lambda item: -item[1]["mean"]):
        mark = "  <- chosen" if row is chosen else ""
        print(
            f"{name:<64} {row['components']:>2} {row['passes']:>3} " + " ".join(f"{row[kind]:8.3f}" for kind in KINDS) + f"  {row['mean']:.4f}{mark}"
        )
    print("single measurements")
    for component, place in index.items():
        found = [auroc(z[np.isin(label, ("normal", kind)), place], label[np.isin(label, ("normal", kind))] == kind) for kind in KINDS]
        print(f"{component.kind:<13} σ{component.sigma} {component.level} {component.source:<9} share {component.share:.4f}", np.round(found, 2))
    (options.out / "selection.json").write_text(json.dumps(table, indent=1))

    if options.write:
        scoring = Scoring(tuple(candidates()[chosen["set"]]), combine=chosen["how"], one_step_noises=NOISES, mirrored_noises=True)
        manifest = options.out / "val" / "manifest.csv"
        if not manifest.exists():
            write_cohort(manifest.parent, CALIBRATED_ON, detector.config.network.image_size, SEEDS["val"][0])
        write_config(detector.checkpoint.folder, replace(detector.config, scoring=scoring))
        calibrate_checkpoint(Detector.from_pretrained(options.checkpoint), manifest)
        print(f"wrote {options.checkpoint}")


def kept_measurements(detector: Detector, people: list, path: Path, batch: int = 16) -> np.ndarray:
    """Component values (people, components) under the true records."""
    made_of = repr((detector.checkpoint.sha256, MEASURED, NOISES, [(who.number, who.lesion and who.lesion.kind) for who in people]))
    if path.exists() and str(np.load(path)["made_of"]) == made_of:
        return np.load(path)["values"]
    size, settings, rows = detector.config.network.image_size, detector.settings(), []
    keys = [component.key for component in MEASURED]
    for start in tqdm(range(0, len(people), batch), unit="batch"):
        part = people[start : start + batch]
        x0 = detector.prepared([Radiograph(who.film(size)) for who in part])
        records = [detector.schema.parse(who.patient.record()) for who in part]
        made = detector.reconstructions(x0, detector.condition(x0, records), keys, settings)
        rows.append(detector.measurements(x0, records, made, settings).numpy())
    values = np.concatenate(rows)
    np.savez(path, values=values, made_of=made_of)
    return values


if __name__ == "__main__":
    main()
