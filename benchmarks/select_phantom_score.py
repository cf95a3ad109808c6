"""Choose the phantom checkpoint's score by the rule of docs/phantoms.md, on phantoms of the "dev" numbers.

    python benchmarks/select_phantom_score.py CHECKPOINT --out DIR [--normals 150] [--each 40] [--write]

Measurements are kept in OUT/measurements.npz and not made twice for the same weights. --write puts the chosen score into the
checkpoint, and calibrates it on phantoms of the "val" numbers.
"""

from __future__ import annotations

import argparse
import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from diff3m.checkpoint.folder import write_config
from diff3m.data.phantom import KINDS, SEEDS, Person, write_cohort
from diff3m.detector import Detector
from diff3m.evaluation.metrics import auroc, auroc_within_view
from diff3m.evaluation.phantoms import cohort_of
from diff3m.evaluation.run import calibrate_checkpoint
from diff3m.imaging.radiograph import Radiograph
from diff3m.scoring.score import TOP_SHARE, Component, Scoring, combined

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
    return [
        Component(kind, sigma, level, "one_step", share=share)
        for name in families
        for kind, sigma, share in FAMILIES[name]
        for level in levels
    ]


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


@dataclass(frozen=True)
class Cohort:
    """Phantoms of "dev": people, and each one's label ("normal" or the kind of lesion) and view, (n,)."""

    people: list[Person]
    label: np.ndarray
    view: np.ndarray

    @classmethod
    def of(cls, normals: int, each: int) -> Cohort:
        people = cohort_of(normals, each, "dev")
        label = np.array([who.lesion.kind if who.lesion else "normal" for who in people])
        return cls(people, label, np.array([who.patient.view for who in people]))

    def z_scores(self, values: np.ndarray) -> np.ndarray:
        """Values (n, k) in standard deviations of the normals of each one's view."""
        z = np.empty_like(values)
        for name in np.unique(self.view):
            rows, normal = self.view == name, (self.view == name) & (self.label == "normal")
            z[rows] = (values[rows] - np.nanmean(values[normal], 0)) / np.nanstd(values[normal], 0, ddof=1)
        return z

    def by_kind(self, scores: np.ndarray) -> dict[str, float]:
        """Within-view AUROC of each kind of lesion, and their mean, which is the rules' criterion."""
        rows = {kind: np.isin(self.label, ("normal", kind)) for kind in KINDS}
        found = {
            kind: auroc_within_view(scores[here], self.label[here] == kind, self.view[here])
            for kind, here in rows.items()
        }
        return {**found, "mean": float(np.mean(list(found.values())))}


def choose(table: Mapping[str, Mapping], cheapest: Sequence[str]) -> str:
    """The candidate that the rule takes: the cheapest by the named columns, then the best, among those near the best."""
    best = max(row["mean"] for row in table.values())
    near = [name for name, row in table.items() if row["mean"] >= best - TOLERANCE]
    return min(near, key=lambda name: (*(table[name][column] for column in cheapest), -table[name]["mean"]))


def print_table(table: Mapping[str, Mapping], chosen: str) -> None:
    """Every candidate, the best first."""
    print(f"{'candidate':<64}  n passes " + " ".join(f"{kind[:8]:>8}" for kind in KINDS) + "     mean")
    for name, row in sorted(table.items(), key=lambda item: -item[1]["mean"]):
        values, mark = " ".join(f"{row[kind]:8.3f}" for kind in KINDS), "  <- chosen" if name == chosen else ""
        print(f"{name:<64} {row['components']:>2} {row['passes']:>3} {values}  {row['mean']:.4f}{mark}")


def arguments(description: str) -> argparse.Namespace:
    """The command's options; makes the folder `out`."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint")
    parser.add_argument("--out", required=True, type=Path)
    parser.add_argument("--normals", type=int, default=150)
    parser.add_argument("--each", type=int, default=40)
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    return options


def write_scoring(checkpoint: str, scoring: Scoring, out: Path) -> None:
    """Put a score into the checkpoint, and calibrate it on phantoms of the "val" numbers."""
    detector, manifest = Detector.from_pretrained(checkpoint), out / "val" / "manifest.csv"
    if not manifest.exists():
        write_cohort(manifest.parent, CALIBRATED_ON, detector.config.network.image_size, SEEDS["val"][0])
    write_config(detector.checkpoint.folder, replace(detector.config, scoring=scoring))
    calibrate_checkpoint(Detector.from_pretrained(checkpoint), manifest)
    print(f"wrote {checkpoint}")


def chosen_scoring(chosen: Mapping) -> Scoring:
    """The score of a row of the table."""
    return Scoring(
        tuple(candidates()[chosen["set"]]), combine=chosen["how"], one_step_noises=NOISES, mirrored_noises=True
    )


def main() -> None:
    options = arguments(__doc__)
    detector = Detector.from_pretrained(options.checkpoint)
    cohort = Cohort.of(options.normals, options.each)
    z = cohort.z_scores(kept_measurements(detector, cohort.people, MEASURED, options.out / "measurements.npz"))
    index = {component: place for place, component in enumerate(MEASURED)}
    table = {}
    for (name, components), how in itertools.product(candidates().items(), COMBINATIONS):
        scores = combined(torch.from_numpy(z[:, [index[component] for component in components]]), how).numpy()
        cost = {"components": len(components), "passes": passes(components)}
        table[f"{how} of {name}"] = {**cost, "how": how, "set": name, **cohort.by_kind(scores)}
    chosen = choose(table, ("passes", "components"))
    print_table(table, chosen)
    print("single measurements, AUROC of each kind with views mixed")
    for component, place in index.items():
        rows = [np.isin(cohort.label, ("normal", kind)) for kind in KINDS]
        found = [auroc(z[here, place], cohort.label[here] == kind) for kind, here in zip(KINDS, rows, strict=True)]
        print(
            f"{component.kind:<13} σ{component.sigma} {component.level} {component.source:<9} share {component.share:.4f}",
            np.round(found, 2),
        )
    (options.out / "selection.json").write_text(json.dumps({"chosen": chosen, "table": table}, indent=1))
    if options.write:
        write_scoring(options.checkpoint, chosen_scoring(table[chosen]), options.out)


def kept_measurements(
    detector: Detector, people: Sequence[Person], components: Sequence[Component], path: Path, batch: int = 16
) -> np.ndarray:
    """Component values (people, components) under the true records, as kept at `path` or made."""
    detector = detector.with_scoring(Scoring(tuple(components), one_step_noises=NOISES, mirrored_noises=True))
    checkpoint, asked = detector.checkpoint, [(who.number, who.lesion and who.lesion.kind) for who in people]
    made_of = repr((checkpoint.sha256, checkpoint.head_sha256, components, NOISES, asked))
    if path.exists() and str(np.load(path)["made_of"]) == made_of:
        return np.load(path)["values"]
    size, settings, rows = detector.config.network.image_size, detector.settings(), []
    for start in tqdm(range(0, len(people), batch), unit="batch"):
        part = people[start : start + batch]
        x0 = detector.inputs([detector.case(Radiograph(who.film(size))) for who in part])
        records = [detector.schema.parse(who.patient.record()) for who in part]
        made = detector.estimates(
            x0, detector.condition(x0, records), detector.scoring.keys, settings, with_reconstruction=False
        )
        rows.append(detector.measurements(x0, records, made, settings).numpy())
    values = np.concatenate(rows)
    np.savez(path, values=values, made_of=made_of)
    return values


if __name__ == "__main__":
    main()
