"""Choose whether and how the phantom checkpoint's anomaly head counts, by the third rule of docs/phantoms.md, on phantoms of the "dev" numbers.

    python benchmarks/select_phantom_head.py CHECKPOINT --out DIR [--normals 150] [--each 40] [--write]

Run `select_phantom_score.py` with the same OUT first, and `diff3m head CHECKPOINT`. --write puts the chosen score into the checkpoint and calibrates
it on phantoms of the "val" numbers.
"""

from __future__ import annotations

import itertools
import json
from dataclasses import replace

import numpy as np
import torch
from select_phantom_score import (
    MEASURED,
    Cohort,
    arguments,
    choose,
    chosen_scoring,
    kept_measurements,
    passes,
    print_table,
    write_scoring,
)

from diff3m.detector import Detector
from diff3m.scoring.score import COMBINATIONS, HEAD_KINDS, Component, combine_z_scores, part_weights

BETTER_BY = 0.01
HEADS = {"logit": HEAD_KINDS[:1], "peak": HEAD_KINDS[1:], "logit and peak": HEAD_KINDS}


def main() -> None:
    options = arguments(__doc__)
    detector = Detector.from_pretrained(options.checkpoint)
    if detector.head is None:
        raise SystemExit(f"{options.checkpoint} has no anomaly head: run `diff3m head` first.")
    second = json.loads((options.out / "selection.json").read_text())
    before, cohort = chosen_scoring(second["table"][second["chosen"]]), Cohort.of(options.normals, options.each)
    without_head = Detector(
        replace(detector.checkpoint, head=None, head_sha256=""), device=detector.device, precision=detector.precision
    )
    logits = [Component(kind, 0, detector.head.config.level, "head") for kind in HEAD_KINDS]
    values = [
        kept_measurements(without_head, cohort.people, MEASURED, options.out / "measurements.npz"),
        kept_measurements(detector, cohort.people, logits, options.out / "head.npz"),
    ]
    z, index = (
        cohort.z_scores(np.concatenate(values, axis=1)),
        {component: place for place, component in enumerate([*MEASURED, *logits])},
    )
    sets = {
        f"second choice + {name}": (*before.components, *(one for one in logits if one.kind in kinds))
        for name, kinds in HEADS.items()
    }
    tried = [
        ("second choice", before.combine, before.components),
        *((name, how, sets[name]) for name, how in itertools.product(sets, COMBINATIONS)),
    ]
    tried += [
        (f"{name} alone", "mean", tuple(one for one in logits if one.kind in kinds)) for name, kinds in HEADS.items()
    ]
    table = {}
    for name, how, components in tried:
        part = torch.from_numpy(z[:, [index[component] for component in components]])
        parts = [component.part for component in components]
        weights = part_weights(part[torch.from_numpy(cohort.label == "normal")], how, parts)
        found = cohort.by_kind(combine_z_scores(part, how, weights, parts).numpy())
        table[f"{how} of {name}"] = {
            "components": len(components),
            "passes": passes(components),
            "how": how,
            "set": name,
            **found,
        }
    offered = {name: row for name, row in table.items() if not row["set"].endswith("alone")}
    chosen = choose(offered, ("components",))
    plain = f"{before.combine} of second choice"
    if table[chosen]["mean"] < table[plain]["mean"] + BETTER_BY:
        chosen = plain
    print_table(table, chosen)
    (options.out / "head.json").write_text(json.dumps({"chosen": chosen, "table": table}, indent=1))
    if options.write:
        row = table[chosen]
        write_scoring(
            options.checkpoint,
            replace(before, components=tuple(sets.get(row["set"], before.components)), combine=row["how"]),
            options.out,
        )


if __name__ == "__main__":
    main()
