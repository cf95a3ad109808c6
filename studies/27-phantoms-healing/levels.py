"""Measure levels and rounds by the rule of this study, on half A of the labelled phantoms.

PYTHONPATH=. python studies/27-phantoms-healing/levels.py CHECKPOINT data/phantoms-labelled/manifest.csv [count]
"""

from __future__ import annotations

import sys
import time
from dataclasses import replace

import numpy as np
import pandas as pd

from diff3m import Detector
from diff3m.data.phantom import make_person
from diff3m.evaluation.labelled_films import assign_half
from diff3m.imaging import Radiograph
from diff3m.scoring.score import Component

LEVELS, ROUNDS = (40, 60, 100), (1, 2)


def main(checkpoint: str, manifest: str, count: int) -> None:
    """Print what is left of lesions by kind, and the change of normal phantoms, for each level and number of rounds."""
    table = pd.read_csv(manifest)
    table = table[[assign_half(patient) == "A" for patient in table.patient]].head(count)
    people = [make_person(row.seed, None if row.label == "normal" else row.label) for row in table.itertuples()]
    detector = Detector.from_pretrained(checkpoint)
    side = detector.config.network.image_size
    drawings = [person.render_with_lesion(side) if person.lesion else None for person in people]
    films = [drawing.film if drawing else person.render(side) for drawing, person in zip(drawings, people, strict=True)]
    twins = [person.healthy.render(side) if person.lesion else None for person in people]
    for level in LEVELS:
        for rounds in ROUNDS:
            scoring = replace(
                detector.scoring,
                components=(Component("brighter", 1, level, "noising"),),
                reconstruction="noising",
                noise_level=level,
                steps=1,
                rounds=rounds,
                one_step_noises=2,
                mirrored_noises=True,
                chest=False,
                heat_normal=0.0,  # the reconstruction's weight is 1 everywhere
                calibration={},
            )
            start = time.monotonic()
            plain = detector.with_scoring(scoring)
            cases = [plain.case(Radiograph(film), p.patient.to_record()) for film, p in zip(films, people, strict=True)]
            pictures = [analysis.pseudo_healthy for analysis in plain.analyze_many(cases)]
            seconds = (time.monotonic() - start) / len(films)
            left, changes = {}, []
            for row, (film, picture) in enumerate(zip(films, pictures, strict=True)):
                if drawings[row] is None:
                    changes.append(np.abs(picture - film).mean())
                    continue
                mask = drawings[row].mask
                if mask.any():
                    errors = [np.abs(image - twins[row])[mask].mean() for image in (picture, film)]
                    left.setdefault(people[row].lesion.kind, []).append(errors)
            ratios = {kind: float(np.divide(*np.mean(errors, axis=0))) for kind, errors in sorted(left.items())}
            mean, change = np.mean(list(ratios.values())), np.mean(changes)
            kinds = " ".join(f"{kind} {ratio:.3f}" for kind, ratio in ratios.items())
            print(f"level {level}, rounds {rounds}: left {mean:.3f} ({kinds}), change {change:.4f}, {seconds:.2f} s")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]) if len(sys.argv) > 3 else 10**6)
