"""Choose whether and how a checkpoint's anomaly head counts, by the rule of docs/evaluation.md, and report it on films that chose nothing.

    python benchmarks/select_head.py CHECKPOINT --cxr DIR --out DIR [--write]

The checkpoint needs a head (`diff3m head`) and the score of `select_score.py`, whose OUT holds the measurements of the same weights. --write puts the
chosen score and its calibration on `val` into the checkpoint.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from select_score import MEASURED, TOLERANCE, WINDOW, batches, candidates, criterion, share_above, write_score, z_scores
from torch import Tensor

from diff3m.detector import Detector
from diff3m.evaluation.labelled_films import box_mask, drawn_boxes, half
from diff3m.imaging import read_radiograph
from diff3m.reconstruct import draw_noises
from diff3m.scoring.anomaly_head import anomaly_logits
from diff3m.scoring.score import TOP_SHARE, Component, inner

RESIDUALS = candidates()["four at 400 + three at 30, 60"]
CHOSEN = "residuals + mean"  # what the rule chose; the one that --write can write


def read(detector: Detector, folder: Path, films: pd.DataFrame, batch: int = 16) -> tuple[np.ndarray, Tensor]:
    """The head's logits of films (N,) and by place (N, S, S), averaged over two noises with both signs."""
    noises = draw_noises(2, detector.config.network.image_size, detector.head.config.level, 0, detector.device)
    noises, whole, maps = torch.cat([noises, -noises]), [], []
    for x0, records in batches(detector, folder, films, batch):
        condition = detector.condition(x0, records, attention=False)
        places, film = anomaly_logits(detector.network, detector.head, detector.config.schedule, x0, noises, condition)
        whole.append(film.cpu().numpy())
        maps.append(places[:, 0].cpu())
    return np.concatenate(whole), torch.cat(maps)


def pointing_game(maps: Tensor, folder: Path, films: pd.DataFrame, detector: Detector) -> dict[str, float]:
    """By half: share of opacity films with boxes whose largest logit inside the window lies in a box."""
    boxes, hits = drawn_boxes(folder / "boxes.csv"), {"A": [], "B": []}
    chosen = (films["split"] == "dev") & (films["label"] == "opacity") & films["image"].isin(boxes)
    for index in np.flatnonzero(chosen):
        row = films.iloc[index]
        mask = box_mask(boxes[row["image"]], read_radiograph(folder / row["file"]), detector.config.preprocessing)
        hit = inner(torch.from_numpy(mask), WINDOW).flatten()[inner(maps[index], WINDOW).flatten().argmax()]
        hits[half(row["patient"])].append(bool(hit))
    return {part: float(np.mean(found)) for part, found in hits.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint")
    parser.add_argument("--cxr", required=True, type=Path)
    parser.add_argument("--out", required=True, type=Path)
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()

    detector = Detector.from_pretrained(options.checkpoint)
    if detector.head is None:
        raise SystemExit(f"{options.checkpoint} has no anomaly head: run `diff3m head` first.")
    films = pd.read_csv(options.cxr / "metadata.csv")
    films = films[films["split"].isin(("val", "dev"))].reset_index(drop=True)
    val, dev, views = (
        (films["split"] == "val").to_numpy(),
        (films["split"] == "dev").to_numpy(),
        films["view"].to_numpy(),
    )
    measured = np.load(options.out / "measurements.npz")["values"][
        :, [MEASURED.index(component) for component in RESIDUALS]
    ]
    kept = options.out / f"head {detector.checkpoint.head_sha256[:12]}.npz"
    if kept.exists():
        whole, maps = np.load(kept)["whole"], torch.from_numpy(np.load(kept)["maps"])
    else:
        whole, maps = read(detector, options.cxr, films)
        np.savez(kept, whole=whole, maps=maps.numpy())

    def standardized(values: np.ndarray) -> np.ndarray:
        return z_scores(values[:, None], views, values[val][:, None], views[val])[:, 0]

    inside = inner(maps, WINDOW).flatten(1)
    peak = inside.topk(round(TOP_SHARE * inside.shape[1]), 1).values.mean(1)
    head = {
        "film": standardized(whole),
        "mean": standardized(inside.mean(1).numpy()),
        "peak": standardized(peak.numpy()),
    }
    head["all three"] = standardized(sum(head.values()) / 3)
    shipped = z_scores(measured, views, measured[val], views[val]).mean(1)
    tried = {"residuals": shipped, **head} | {
        f"residuals + {name}": (standardized(shipped) + values) / 2 for name, values in head.items()
    }

    halves, table = films["patient"].map(half).to_numpy(), {}
    for name, scores in tried.items():
        table[name] = {}
        for part in "AB":
            rows = dev & (halves == part)
            found = criterion(scores[rows], films[rows])
            table[name][part] = [
                *found,
                float(np.mean(found)),
                share_above(scores[rows], films[rows], scores[val], views[val]),
            ]
        print(f"{name:<24}" + "   ".join(" ".join(f"{value:.3f}" for value in table[name][part]) for part in "AB"))
    best = max(table, key=lambda name: table[name]["A"][3])
    allowed = table[best]["A"][3] >= table["residuals"]["A"][3] + TOLERANCE
    hits = pointing_game(maps, options.cxr, films, detector)
    print(
        f"by the rule: {best if allowed else 'nothing changes'}; pointing game of the anomaly map: half A {hits['A']:.2f}, half B {hits['B']:.2f}"
    )
    (options.out / "head.json").write_text(
        json.dumps({"chosen": best if allowed else None, "table": table, "pointing_game": hits}, indent=1)
    )

    if options.write:
        if not allowed or best != CHOSEN:
            raise SystemExit(f"The rule did not choose {CHOSEN!r}: the checkpoint stays as it is.")
        logit = Component("logit", 0, detector.head.config.level, "head")
        scoring = replace(detector.scoring, components=(*RESIDUALS, logit), combine="balanced")
        write_score(detector, scoring, films[val], options.cxr, options.out / "val.csv")


if __name__ == "__main__":
    main()
