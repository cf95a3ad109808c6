"""What limits detection: within-view AUROC by finding and by the size of the opacity, from the scores that `diff3m benchmark films` wrote.

    python benchmarks/what_limits.py SCORES.csv --cxr DIR [--least 8]

DIR holds metadata.csv and boxes.csv. Each finding (NIH's text mining, on films that radiologists called abnormal) and each size of opacity (share of
the film that the radiologists' boxes cover) against all normal films.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pandas as pd

from diff3m.data.manifest import NORMAL
from diff3m.evaluation.metrics import auroc_within_view, bootstrap_interval

SCORE = "ours, true record: score"
SIZES = ((0.0, 0.05), (0.05, 0.12), (0.12, 1.0))
SIDE = 224  # pixels that the boxes are given in


def against_normal(part: pd.DataFrame, normal: pd.DataFrame) -> str:
    """ "0.80 [0.66, 0.92], 24 films" """
    both = pd.concat([part, normal])
    score, abnormal, view = both[SCORE].to_numpy(), (both["label"] != NORMAL).to_numpy(), both["view"].to_numpy().astype(str)
    strata = np.char.add(view, abnormal.astype(str))
    low, high = bootstrap_interval(lambda i: auroc_within_view(score[i], abnormal[i], view[i]), strata)
    return f"{auroc_within_view(score, abnormal, view):.2f} [{low:.2f}, {high:.2f}], {len(part)} films"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scores", type=Path)
    parser.add_argument("--cxr", required=True, type=Path)
    parser.add_argument("--least", type=int, default=8, help="films that a finding must have")
    options = parser.parse_args()
    scores = pd.read_csv(options.scores)
    scores["name"] = scores["path"].map(lambda path: Path(path).stem)
    known = pd.read_csv(options.cxr / "metadata.csv")
    known["name"] = known["file"].map(lambda path: Path(path).stem)
    films = scores.merge(known[["name", "image", "findings"]], on="name")
    normal, abnormal = films[films["label"] == NORMAL], films[films["label"] != NORMAL]
    named = abnormal["findings"].fillna("none named").str.split("|")
    for finding in sorted({name for names in named for name in names}):
        part = abnormal[named.map(lambda names, finding=finding: finding in names)]
        if len(part) >= options.least:
            print(f"{finding:<20} {against_normal(part, normal)}")
    boxes = pd.read_csv(options.cxr / "boxes.csv")
    covered = (boxes["w"] * boxes["h"] / SIDE**2).groupby(boxes["image"]).sum()
    opacity = films[films["label"] == "opacity"].assign(size=lambda table: table["image"].map(covered))
    for low, high in SIZES:
        part = opacity[(opacity["size"] >= low) & (opacity["size"] < high)]
        print(f"opacity over {low:.0%} to {high:.0%} of the film: {against_normal(part, normal)}")


if __name__ == "__main__":
    main()
