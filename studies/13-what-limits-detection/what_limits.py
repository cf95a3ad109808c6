"""What limits detection: within-view AUROC by finding and by the size of the opacity, from the scores that `diff3m benchmark films` wrote.

    python benchmarks/what_limits.py SCORES.csv --cxr DIR [--least 8 | --halves 200]

DIR holds metadata.csv and boxes.csv. Each finding (NIH's text mining, on films that radiologists called abnormal) and each size of opacity (share of
the film that the radiologists' boxes cover) against all normal films. --halves N instead: of N random halves of the patients, in how many ours is
ahead of the best baseline of that half with a 95 % interval that excludes 0.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pandas as pd

from diff3m.data.manifest import NORMAL
from diff3m.evaluation.metrics import auroc_within_view, bootstrap_interval, paired_difference

SCORE = "ours, true record: score"
SIZES = ((0.0, 0.05), (0.05, 0.12), (0.12, 1.0))
HALF_REPEATS = 300  # of each half's bootstrap
SIDE = 224  # pixels that the boxes are given in


def against_normal(part: pd.DataFrame, normal: pd.DataFrame) -> str:
    """ "0.80 [0.66, 0.92], 24 films" """
    both = pd.concat([part, normal])
    score, abnormal, view = both[SCORE].to_numpy(), (both["label"] != NORMAL).to_numpy(), both["view"].to_numpy().astype(str)
    strata = np.char.add(view, abnormal.astype(str))
    low, high = bootstrap_interval(lambda i: auroc_within_view(score[i], abnormal[i], view[i]), strata)
    return f"{auroc_within_view(score, abnormal, view):.2f} [{low:.2f}, {high:.2f}], {len(part)} films"


def ahead(films: pd.DataFrame, abnormal: str) -> tuple[float, bool]:
    """Ours with the true record beside the best baseline of these very films: the difference, and whether its interval is above 0."""
    both = films[films["label"].isin((NORMAL, abnormal))]
    flags, views = (both["label"] == abnormal).to_numpy(), both["view"].to_numpy().astype(str)
    others = [name for name in films.columns if ": " in name and not name.startswith("ours")]
    best = max(others, key=lambda name: auroc_within_view(both[name].to_numpy(), flags, views))
    gain = paired_difference(both[SCORE].to_numpy(), both[best].to_numpy(), flags, views, HALF_REPEATS)
    return gain["difference"], gain["interval"][0] > 0


def random_halves(films: pd.DataFrame, count: int) -> None:
    patients, random = films["patient"].unique(), np.random.default_rng(0)
    halves = [films[films["patient"].isin(random.choice(patients, len(patients) // 2, replace=False))] for _ in range(count)]
    for abnormal in ("opacity", "other_abnormal"):
        gains, above = zip(*(ahead(part, abnormal) for part in halves), strict=True)
        low, high = np.percentile(gains, (2.5, 97.5))
        spread = f"difference {np.mean(gains):+.3f} [{low:+.3f}, {high:+.3f}]"
        print(f"{abnormal:<15} interval above 0 in {np.mean(above):.0%} of {count} halves; {spread}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scores", type=Path)
    parser.add_argument("--cxr", required=True, type=Path)
    parser.add_argument("--least", type=int, default=8, help="films that a finding must have")
    parser.add_argument("--halves", type=int, metavar="N", help="random halves of the patients instead")
    options = parser.parse_args()
    scores = pd.read_csv(options.scores)
    scores["name"] = scores["path"].map(lambda path: Path(path).stem)
    known = pd.read_csv(options.cxr / "metadata.csv")
    known["name"] = known["file"].map(lambda path: Path(path).stem)
    films = scores.merge(known[["name", "image", "patient", "findings"]], on="name")
    if options.halves:
        random_halves(films, options.halves)
        return
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
