"""How few DDIM steps rank films as 50 + 50 steps do.

    python benchmarks/fewer_steps.py CHECKPOINT --cxr DIR [--steps 50 20 10 5 3 2 1] [--out FILE.json]

Each row scores the radiologists' films of `dev` with that many steps each way to the checkpoint's own noise level (other levels in
proportion), as z-scores against up to 80 `val` films of each view walked with the same number; prints seconds a film in batches, Spearman's
rank correlation with the first row's scores, and AUROC within view.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import pandas as pd
from scipy.stats import spearmanr
from select_score import CONTRASTS, criterion, measurements, z_scores

from diff3m.detector import Detector

NORMALS = 80  # of a view, from `val`


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint")
    parser.add_argument("--cxr", required=True, type=Path)
    parser.add_argument("--steps", type=int, nargs="+", default=[50, 20, 10, 5, 3, 2, 1])
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()

    films = pd.read_csv(options.cxr / "metadata.csv")
    films = films[
        (films["split"] == "val")
        | ((films["split"] == "dev") & films["label"].isin(("normal", "opacity", "other_abnormal")))
    ]
    films = films[(films["split"] == "dev") | (films.groupby(["split", "view"]).cumcount() < NORMALS)].reset_index(
        drop=True
    )
    val, views = (films["split"] == "val").to_numpy(), films["view"].to_numpy()
    detector = Detector.from_pretrained(options.checkpoint)

    rows, reference = [], None
    for steps in options.steps:
        start = time.perf_counter()
        values = measurements(
            detector, options.cxr, films, [c for c in detector.scoring.components if c.source != "head"], steps=steps
        )
        seconds = (time.perf_counter() - start) / len(films)
        scores = z_scores(values[~val], views[~val], values[val], views[val]).mean(1)
        reference = scores if reference is None else reference
        opacity, other = criterion(scores, films[~val], CONTRASTS[:2])
        rank = float(spearmanr(scores, reference).statistic)
        rows.append(
            {"steps": steps, "seconds": seconds, "rank_correlation": rank, "opacity": opacity, "other_abnormal": other}
        )
        print(
            f"{steps:>3} + {steps:<3} {seconds:.3f} s a film, rank correlation {rank:.3f}, opacity {opacity:.3f}, other {other:.3f}",
            flush=True,
        )
    if options.out:
        options.out.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
