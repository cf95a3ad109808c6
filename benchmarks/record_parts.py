"""Where the record's gain in detection lies: in which part of the score, and by which features.

    python benchmarks/record_parts.py CHECKPOINT --manifest CSV --normals CSV --out DIR [--only KIND ...]

The manifest's labelled films are measured under their true record, under nothing, and under a part of the record alone; each is placed among the
films of --normals of its true view, measured under the same kind of record. Printed: within-view AUROC of the shipped score, of its residuals and of
its anomaly head under each, and the paired gain over nothing. Measurements are kept in OUT; with --only other kinds are left for another process.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from record_gain import measured, normal_films

from diff3m.data.manifest import NORMAL
from diff3m.detector import Detector
from diff3m.ehr import Record
from diff3m.evaluation.labelled_films import Cohort, load_cohort
from diff3m.evaluation.metrics import auroc_within_view, paired_difference
from diff3m.scoring.calibrate import calibrate_scoring
from diff3m.scoring.score import Scoring

KINDS: dict[str, tuple[str, ...] | None] = {
    "true": None, "unknown": (), "view alone": ("view",), "age and sex alone": ("age", "sex"), "age alone": ("age",), "sex alone": ("sex",),
}  # fmt: skip
SHOWN = ("true", "unknown", "view alone", "age and sex alone")


def told(record: Record, features: tuple[str, ...] | None) -> Record:
    """The record with nothing but some features; all of it for None."""
    return record if features is None else {name: value if name in features else None for name, value in record.items()}


def kept(detector: Detector, cohort: Cohort, kind: str, out: Path, manifest: Path) -> np.ndarray:
    """The components of every film under a kind of record (N, components), kept in a folder by weights and manifest."""
    path = out / f"{kind} {detector.checkpoint.sha256[:12]} {manifest.stem}.npy"
    if not path.exists():
        np.save(
            path, measured(detector, cohort, [told(case.record, KINDS[kind]) for case in cohort.cases], kind).numpy()
        )
    return np.load(path)


def judged(scoring: Scoring, values: np.ndarray, views: np.ndarray) -> dict[str, np.ndarray]:
    """The score of every film, and the mean z-score of each of its parts."""
    scores = [scoring.score(torch.tensor(row), view or None) for row, view in zip(values, views, strict=True)]
    z = np.stack(
        [scoring.z_scores(torch.tensor(row), view or None).numpy() for row, view in zip(values, views, strict=True)]
    )
    parts = np.array([component.part for component in scoring.components])
    return {"score": np.array(scores)} | {part: z[:, parts == part].mean(1) for part in dict.fromkeys(parts)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint")
    parser.add_argument("--manifest", required=True, type=Path)
    parser.add_argument("--normals", required=True, type=Path, help="normal films that nothing was trained on")
    parser.add_argument("--out", required=True, type=Path)
    parser.add_argument("--only", nargs="+", choices=list(KINDS), metavar="KIND")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    detector = Detector.from_pretrained(options.checkpoint)
    cohort, normals = load_cohort(detector, options.manifest, None, None), normal_films(detector, options.normals)
    found = {}
    for kind in options.only or SHOWN:
        values, beside = (
            kept(detector, films, kind, options.out, name)
            for films, name in ((cohort, options.manifest), (normals, options.normals))
        )
        scoring = calibrate_scoring(
            detector.scoring, torch.from_numpy(beside), list(normals.views), torch.zeros(1, 8, 8)
        )  # no map is looked at
        found[kind] = judged(scoring, values, cohort.views)
    if options.only:
        return
    for label in np.unique(cohort.labels[cohort.labels != NORMAL]):
        rows = np.isin(cohort.labels, (NORMAL, label))
        abnormal, views = cohort.labels[rows] == label, cohort.views[rows]
        for part in found["unknown"]:
            for kind, values in found.items():
                gain = paired_difference(values[part][rows], found["unknown"][part][rows], abnormal, views)
                low, high = gain["interval"]
                area = auroc_within_view(values[part][rows], abnormal, views)
                print(
                    f"{label:<15} {part:<9} {kind:<18} {area:.3f}, over unknown {gain['difference']:+.4f} [{low:+.4f}, {high:+.4f}]"
                )


if __name__ == "__main__":
    main()
