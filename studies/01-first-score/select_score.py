"""Choose a checkpoint's score by the rule of docs/evaluation.md, and report it on films that chose nothing.

    python benchmarks/select_score.py CHECKPOINT --cxr DIR --out DIR [--write]

DIR of --cxr holds metadata.csv and the films. Measurements are kept in OUT/measurements.npz and not made twice. --write puts
the chosen score and its calibration on `val` into the checkpoint.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from tqdm import tqdm

from diff3m.checkpoint import write_config
from diff3m.detector import Detector
from diff3m.evaluation.metrics import auroc_within_view, detection_metrics
from diff3m.evaluation.run import calibrate_checkpoint
from diff3m.radiograph import read_radiograph
from diff3m.scoring import ESTIMATES, Component, Scoring, measure

LEVELS, ONE_STEP_LEVELS = (200, 400, 720), (300, 500)
KINDS = (("absolute", 2), ("absolute", 4), ("brighter", 4), ("ssim", 6))
INVERSION = [Component(kind, sigma, level) for kind, sigma in KINDS for level in LEVELS]
ONE_STEP = [Component(kind, sigma, level, "one_step") for kind, sigma in KINDS[1:] for level in ONE_STEP_LEVELS]
RELEASED = [Component("mse", 0, 400), Component("max", 0, 400)]
MEASURED = INVERSION + ONE_STEP + RELEASED
CONTRASTS = (("opacity", "normal"), ("other_abnormal", "normal"), ("nih_finding", "nih_no_finding"))
TOLERANCE = 0.005


def candidates() -> dict[str, list[Component]]:
    """The fixed sets of the rule, by name."""

    def at(levels, kinds=(("absolute", 2), ("absolute", 4), ("ssim", 6))):
        return [component for component in INVERSION if component.level in levels and (component.kind, component.sigma) in kinds]

    sets = {f"{kind} {sigma} at 400": at((400,), ((kind, sigma),)) for kind, sigma in KINDS}
    combined = {"three at 400": (400,), "three at 200, 400": (200, 400), "three at 400, 720": (400, 720), "three at all levels": LEVELS}
    sets |= {name: at(levels) for name, levels in combined.items()}
    sets["four at all levels"] = INVERSION
    sets["one-step"] = ONE_STEP
    sets |= {f"{name} + one-step": [*sets[name], *ONE_STEP] for name in (*combined, "four at all levels")}
    return sets


def half(patient: int) -> str:
    """ "A" (chooses) or "B" (reports): the parity of the first byte of the SHA-256 of the patient number."""
    return "AB"[hashlib.sha256(str(patient).encode()).digest()[0] % 2]


def compare_estimates(detector: Detector, folder: Path, films: pd.DataFrame) -> None:
    """Rule 5: x_t against masked pixel generation, absolute σ = 4 at 400, on `val` and the radiologists' films of half A."""
    reader = films[(films["split"] == "val") | (films["label"].isin(("normal", "opacity", "other_abnormal")) & (films["patient"].map(half) == "A"))]
    val, views = (reader["split"] == "val").to_numpy(), reader["view"].to_numpy()
    for estimate in ESTIMATES:
        values = measurements(detector, folder, reader, [Component("absolute", 4, 400)], estimate=estimate)
        scores = z_scores(values[~val], views[~val], values[val], views[val])[:, 0]
        found = criterion(scores, reader[~val], CONTRASTS[:2])
        print(f"estimate {estimate:<14} opacity {found[0]:.3f} other {found[1]:.3f} mean {np.mean(found):.3f}")


def measurements(
    detector: Detector, folder: Path, films: pd.DataFrame, components: list[Component], batch: int = 16, estimate: str = "x_t"
) -> np.ndarray:
    """Component values (films, components)."""
    settings = detector.settings(estimate=estimate)
    keys, rows = [component.key for component in components], []
    for start in tqdm(range(0, len(films), batch), unit="batch"):
        part = films.iloc[start : start + batch]
        x0 = detector.prepared([read_radiograph(folder / name) for name in part["file"]])
        records = [detector.schema.parse(row) for row in part[["age", "sex", "view"]].to_dict("records")]
        made = detector.reconstructions(x0, detector.condition(x0, records), keys, settings)
        rows.append(torch.stack([measure(c, x0, made[c.key], detector.scoring.margin) for c in components], 1).cpu().numpy())
    return np.concatenate(rows)


def z_scores(values: np.ndarray, views: np.ndarray, reference: np.ndarray, reference_views: np.ndarray) -> np.ndarray:
    """Values against the reference films of the same view."""
    z = np.empty_like(values)
    for view in np.unique(views):
        normals = reference[reference_views == view]
        z[views == view] = (values[views == view] - normals.mean(0)) / normals.std(0, ddof=1)
    return z


def criterion(scores: np.ndarray, films: pd.DataFrame, contrasts=CONTRASTS) -> list[float]:
    """Within-view AUROC of each contrast."""
    label, view = films["label"].to_numpy(), films["view"].to_numpy()
    found = []
    for abnormal, normal in contrasts:
        rows = np.isin(label, (abnormal, normal))
        found.append(auroc_within_view(scores[rows], label[rows] == abnormal, view[rows].astype(str)))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint")
    parser.add_argument("--cxr", required=True, type=Path)
    parser.add_argument("--out", required=True, type=Path)
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--estimates", action="store_true", help="compare x_t and masked pixel generation, and stop")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)

    films = pd.read_csv(options.cxr / "metadata.csv")
    films = films[films["split"].isin(("val", "dev"))].reset_index(drop=True)
    detector = Detector.from_pretrained(options.checkpoint)
    detector = detector.with_scoring(replace(Scoring(), components=tuple(MEASURED)))
    if options.estimates:
        compare_estimates(detector, options.cxr, films)
        return
    kept = options.out / "measurements.npz"
    if kept.exists() and str(np.load(kept)["sha256"]) == detector.checkpoint.sha256:
        values = np.load(kept)["values"]
    else:
        values = measurements(detector, options.cxr, films, MEASURED)
        np.savez(kept, values=values, sha256=detector.checkpoint.sha256)

    val, dev = films["split"] == "val", films["split"] == "dev"
    views = films["view"].to_numpy()
    z = z_scores(values[dev], views[dev], values[val], views[val])
    dev_films = films[dev].reset_index(drop=True)
    halves = dev_films["patient"].map(half).to_numpy()
    index = {component: place for place, component in enumerate(MEASURED)}

    table = {}
    for name, components in {**candidates(), "MSE (released)": RELEASED[:1], "max (released)": RELEASED[1:]}.items():
        scores = z[:, [index[c] for c in components]].mean(1)
        table[name] = {"components": len(components)}
        for part in "AB":
            rows = halves == part
            found = criterion(scores[rows], dev_films[rows])
            table[name][part] = dict(zip((a for a, _ in CONTRASTS), found, strict=True)) | {"mean": float(np.mean(found))}
    allowed = {name: row for name, row in table.items() if name in candidates()}
    best = max(row["A"]["mean"] for row in allowed.values())
    near = [name for name, row in allowed.items() if row["A"]["mean"] >= best - TOLERANCE]
    chosen = min(near, key=lambda name: (allowed[name]["components"], -allowed[name]["A"]["mean"]))

    print(f"{'candidate':<34} n   half A: opacity other nih  mean   half B: opacity other nih  mean")
    for name, row in table.items():
        parts = "   ".join(" ".join(f"{row[part][key]:.3f}" for key in ("opacity", "other_abnormal", "nih_finding", "mean")) for part in "AB")
        print(f"{name:<34} {row['components']:>2}   {parts}{'   <- chosen' if name == chosen else ''}")

    scores = z[:, [index[c] for c in candidates()[chosen]]].mean(1)
    report = {"chosen": chosen, "table": table, "results": {}}
    for part in ("dev", "B"):
        rows = np.ones(len(dev_films), dtype=bool) if part == "dev" else halves == part
        for abnormal, normal in CONTRASTS:
            pick = rows & np.isin(dev_films["label"], (abnormal, normal))
            flags, view = (dev_films["label"][pick] == abnormal).to_numpy(), views[dev][pick].astype(str)
            for name, measured in (("score", scores), ("mse", values[dev][:, index[RELEASED[0]]])):
                metrics = detection_metrics(measured[pick], flags, view)
                report["results"][f"{part} {abnormal} {name}"] = metrics
                low, high = metrics["auroc_within_view_interval"]
                print(f"{part:>4} {abnormal:<15} {name:<6} within view {metrics['auroc_within_view']:.3f} [{low:.3f}, {high:.3f}]")
    (options.out / "selection.json").write_text(json.dumps(report, indent=1))

    if options.write:
        scoring = replace(Scoring(), components=tuple(candidates()[chosen]))
        manifest = options.out / "val.csv"
        films[val].assign(path=[str((options.cxr / name).resolve()) for name in films[val]["file"]]).to_csv(manifest, index=False)
        write_config(detector.checkpoint.folder, detector.with_scoring(scoring).config)
        calibrate_checkpoint(Detector.from_pretrained(options.checkpoint), manifest)
        print(f"wrote {options.checkpoint}")


if __name__ == "__main__":
    main()
