"""Two checkpoints' weights under one score, on the films that radiologists read: within-view AUROC of each, and their paired difference.

    python benchmarks/compare_weights.py FIRST SECOND --cxr DIR --out DIR

The score is the first one's; both are z-scored against `val` films measured by themselves. Measurements are kept in OUT by weights.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from select_score import RADIOLOGISTS, measurements, z_scores

from diff3m.detector import Detector
from diff3m.evaluation.labelled_films import half
from diff3m.evaluation.metrics import auroc_within_view, paired_difference
from diff3m.scoring.score import Scoring


def radiologists_films(folder: Path) -> pd.DataFrame:
    """Rows of metadata.csv: `val`, and the films of `dev` that radiologists read."""
    films = pd.read_csv(folder / "metadata.csv")
    return films[
        (films["split"] == "val")
        | ((films["split"] == "dev") & films["label"].isin({label for pair in RADIOLOGISTS for label in pair}))
    ]


def scores(detector: Detector, scoring: Scoring, folder: Path, films: pd.DataFrame, out: Path) -> np.ndarray:
    """Mean z-scores of the `dev` films by residuals, (N,)."""
    kept = out / f"measurements-{detector.checkpoint.sha256[:12]}.npy"
    if not kept.exists():
        settings = replace(scoring, calibration=())
        np.save(
            kept,
            measurements(
                detector.with_scoring(settings), folder, films, [c for c in scoring.components if c.source != "head"]
            ),
        )
    values, views, val = np.load(kept), films["view"].to_numpy(), (films["split"] == "val").to_numpy()
    return z_scores(values[~val], views[~val], values[val], views[val]).mean(1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("first")
    parser.add_argument("second")
    parser.add_argument("--cxr", required=True, type=Path)
    parser.add_argument("--out", required=True, type=Path)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    films = radiologists_films(options.cxr)
    detectors = [Detector.from_pretrained(source) for source in (options.first, options.second)]
    first, second = (scores(detector, detectors[0].scoring, options.cxr, films, options.out) for detector in detectors)
    dev = films[films["split"] == "dev"]
    halves, views = dev["patient"].map(half).to_numpy(), dev["view"].to_numpy().astype(str)
    for part, rows in (("all", np.ones(len(dev), bool)), ("half A", halves == "A"), ("half B", halves == "B")):
        for abnormal, normal in RADIOLOGISTS:
            pick = rows & dev["label"].isin((abnormal, normal)).to_numpy()
            flags = (dev["label"].to_numpy() == abnormal)[pick]
            one, other = (auroc_within_view(values[pick], flags, views[pick]) for values in (first, second))
            gain = paired_difference(second[pick], first[pick], flags, views[pick])
            low, high = gain["interval"]
            print(
                f"{part:<7} {abnormal:<15} first {one:.3f}, second {other:.3f}, difference {gain['difference']:+.3f} [{low:+.3f}, {high:+.3f}]"
            )


if __name__ == "__main__":
    main()
