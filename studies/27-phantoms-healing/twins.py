"""Measure how far pseudo-healthy films lie from the healthy twins of the diseased phantoms of half B, by record.

PYTHONPATH=. python studies/27-phantoms-healing/twins.py CHECKPOINT MANIFEST [count]
"""

from __future__ import annotations

import sys
from dataclasses import replace

import numpy as np
import pandas as pd

from diff3m import Detector
from diff3m.data.phantom import make_person
from diff3m.evaluation.labelled_films import assign_half
from diff3m.evaluation.phantoms import RECORDS, select_records
from diff3m.evaluation.twins import measure_twin_distance, summarize_twins
from diff3m.imaging import Radiograph
from diff3m.scoring.score import Component, ViewCalibration


def main(checkpoint: str, manifest: str, count: int) -> None:
    """Print a table by record and kind of lesion."""
    table = pd.read_csv(manifest)
    table = table[table.label != "normal"]
    table = table[[assign_half(patient) == "B" for patient in table.patient]].head(count)
    people = [make_person(row.seed, row.label) for row in table.itertuples()]
    detector = Detector.from_pretrained(checkpoint)
    scoring = detector.scoring
    # one cheap measurement instead of the score, which is not needed; the limit of normal films stays
    component = Component("brighter", 1, scoring.noise_level, scoring.reconstruction)
    scale = (("any", ViewCalibration(1, (0.0,), (1.0,), (0.0,))),)
    detector = detector.with_scoring(replace(scoring, components=(component,), calibration=scale))
    side = detector.config.network.image_size
    drawings = [person.render_with_lesion(side) for person in people]
    twins = [person.healthy.render(side) for person in people]
    own = [detector.schema.parse(person.patient.to_record()) for person in people]
    print("| record | kind | inside: before → after | left [95 %] | outside: after | heart's width: before → after |")
    print("|---|---|---|---|---|---|")
    for record in RECORDS:
        records = select_records(own, detector.schema.parse({}), record)
        pairs = zip(drawings, records, strict=True)
        cases = [detector.case(Radiograph(drawing.film), values) for drawing, values in pairs]
        pictures = [analysis.pseudo_healthy for analysis in detector.analyze_many(cases)]
        distances = [
            measure_twin_distance(drawing.film, picture, twin, drawing.mask) if drawing.mask.any() else None
            for drawing, picture, twin in zip(drawings, pictures, twins, strict=True)
        ]
        for kind, row in summarize_twins(distances, np.array(table.label)).items():
            low, high = row["healed"]["interval"]
            print(
                f"| {record} | {kind} | {row['before_inside']:.3f} → {row['after_inside']:.3f} "
                f"| {row['healed']['ratio']:.2f} [{low:.2f}, {high:.2f}] | {row['after_outside']:.4f} "
                f"| {row['before_heart']:.3f} → {row['after_heart']:.3f} |",
                flush=True,
            )


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]) if len(sys.argv) > 3 else 10**6)
