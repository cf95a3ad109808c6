"""Choose a checkpoint's score by the rule of docs/evaluation.md, and report it on films that chose nothing.

    python benchmarks/select_score.py CHECKPOINT --cxr DIR --out DIR [--write]

DIR of --cxr holds metadata.csv and the films. Measurements are kept in OUT/measurements.npz and not made twice. --write puts
the chosen score and its calibration on `val` into the checkpoint.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from tqdm import tqdm

from diff3m.checkpoint.folder import write_config
from diff3m.detector import Detector
from diff3m.ehr import Record
from diff3m.evaluation.labelled_films import box_mask, drawn_boxes, half
from diff3m.evaluation.metrics import auroc_within_view, detection_metrics
from diff3m.evaluation.run import calibrate_checkpoint
from diff3m.imaging.radiograph import read_radiograph
from diff3m.scoring.score import ESTIMATES, Component, Scoring, heat_map, inner

LEVEL = 400
KINDS = (("absolute", 2), ("absolute", 4), ("brighter", 4), ("ssim", 6))
THREE = (("absolute", 2), ("absolute", 4), ("ssim", 6))
INVERSION = [Component(kind, sigma, LEVEL) for kind, sigma in KINDS]
LOW = {level: [Component(kind, sigma, level, "one_step") for kind, sigma in THREE] for level in (30, 60)}
ALONE = Component("absolute", 3, 30, "one_step")
RELEASED = [Component("mse", 0, LEVEL), Component("max", 0, LEVEL)]
MEASURED = [*INVERSION, *LOW[30], *LOW[60], ALONE, *RELEASED]
WINDOW, NOISES = (0.11, 0.094, 0.1875, 0.094), 2  # of every candidate; noises with both signs
CONTRASTS = (("opacity", "normal"), ("other_abnormal", "normal"), ("nih_finding", "nih_no_finding"))
RADIOLOGISTS = CONTRASTS[:2]
TOLERANCE = 0.01
HEAT_SOURCES = (
    ("inversion", 200),
    ("inversion", 400),
    ("inversion", 720),
    ("one_step", 30),
    ("one_step", 60),
    ("one_step", 100),
)
HEAT_SIGMAS = (2.0, 3.0, 4.0, 6.0, 8.0)


def candidates() -> dict[str, list[Component]]:
    """The fixed sets of the rule, by name."""
    return {
        "four at 400": INVERSION,
        "absolute 3, one step at 30": [ALONE],
        "three, one step at 30": LOW[30],
        "three, one step at 60": LOW[60],
        "three, one step at 30, 60": LOW[30] + LOW[60],
        "four at 400 + three at 30": INVERSION + LOW[30],
        "four at 400 + three at 30, 60": INVERSION + LOW[30] + LOW[60],
    }


def share_above(scores: np.ndarray, films: pd.DataFrame, normals: np.ndarray, normal_views: np.ndarray) -> float:
    """Share of the radiologists' abnormal films above the 95th percentile of the normal scores of their view."""
    limits = {view: np.percentile(normals[normal_views == view], 95) for view in np.unique(normal_views)}
    rows = films["label"].isin([abnormal for abnormal, _ in RADIOLOGISTS]).to_numpy()
    return float(
        np.mean(
            [score > limits[view] for score, view in zip(scores[rows], films["view"].to_numpy()[rows], strict=True)]
        )
    )


def compare_heat(detector: Detector, folder: Path, films: pd.DataFrame) -> None:
    """Pointing-game hits on half A's opacity films with boxes, for every source of the heat map and every blur; half B's beside it."""
    boxes = drawn_boxes(folder / "boxes.csv")
    chosen = films[(films["split"] == "dev") & (films["label"] == "opacity") & films["image"].isin(boxes)].reset_index(
        drop=True
    )
    opened = [read_radiograph(folder / name) for name in chosen["file"]]
    settings = detector.config.preprocessing
    masks = [box_mask(boxes[name], film, settings) for film, name in zip(opened, chosen["image"], strict=True)]
    half_a = (chosen["patient"].map(half) == "A").to_numpy()
    hits: dict[tuple, list[bool]] = {}
    settings = detector.settings()
    for start in tqdm(range(0, len(chosen), 8), unit="batch"):
        x0 = detector.inputs([detector.case(film) for film in opened[start : start + 8]])
        records = [
            detector.schema.parse(row)
            for row in chosen[["age", "sex", "view"]].iloc[start : start + 8].to_dict("records")
        ]
        made = detector.estimates(x0, detector.condition(x0, records, attention=False), HEAT_SOURCES, settings)
        for source in HEAT_SOURCES:
            for sigma in HEAT_SIGMAS:
                heat = heat_map(x0, getattr(made, source[0])[source[1]], sigma)[:, 0]
                for kind, values in (("size", heat.abs()), ("brighter", heat)):
                    for index, image in enumerate(values):
                        mask = inner(torch.from_numpy(masks[start + index]), WINDOW)
                        hit = bool(mask.flatten()[inner(image.cpu(), WINDOW).flatten().argmax()])
                        hits.setdefault((*source, sigma, kind), []).append(hit)
    table = {key: (np.mean(np.array(row)[half_a]), np.mean(np.array(row)[~half_a])) for key, row in hits.items()}
    for key, (first, second) in sorted(table.items(), key=lambda item: -item[1][0]):
        print(
            f"{key[0]:>10} {key[1]:>4} σ {key[2]:.0f} {key[3]:<9} half A {first:.2f} ({half_a.sum()} films), half B {second:.2f} ({(~half_a).sum()})"
        )


def compare_estimates(detector: Detector, folder: Path, films: pd.DataFrame) -> None:
    """Rule 5: x_t against masked pixel generation, absolute σ = 4 at 400, on `val` and the radiologists' films of half A."""
    reader = films[
        (films["split"] == "val")
        | (films["label"].isin(("normal", "opacity", "other_abnormal")) & (films["patient"].map(half) == "A"))
    ]
    val, views = (reader["split"] == "val").to_numpy(), reader["view"].to_numpy()
    for estimate in ESTIMATES:
        values = measurements(detector, folder, reader, [Component("absolute", 4, 400)], estimate=estimate)
        scores = z_scores(values[~val], views[~val], values[val], views[val])[:, 0]
        found = criterion(scores, reader[~val], RADIOLOGISTS)
        print(f"estimate {estimate:<14} opacity {found[0]:.3f} other {found[1]:.3f} mean {np.mean(found):.3f}")


def batches(detector: Detector, folder: Path, films: pd.DataFrame, batch: int) -> Iterator[tuple[Tensor, list[Record]]]:
    """Prepared films and parsed records, batch by batch."""
    for start in tqdm(range(0, len(films), batch), unit="batch"):
        part = films.iloc[start : start + batch]
        x0 = detector.inputs([detector.case(folder / name) for name in part["file"]])
        yield x0, [detector.schema.parse(row) for row in part[["age", "sex", "view"]].to_dict("records")]


def measurements(
    detector: Detector, folder: Path, films: pd.DataFrame, components: list[Component], batch: int = 16, **settings
) -> np.ndarray:
    """Component values (films, components); settings as in `Detector.settings`."""
    settings = detector.settings(**settings)
    detector = detector.with_scoring(replace(detector.scoring, components=tuple(components)))
    keys, rows = [component.key for component in components], []
    for x0, records in batches(detector, folder, films, batch):
        made = detector.estimates(x0, detector.condition(x0, records), keys, settings)
        rows.append(detector.measurements(x0, records, made, settings).numpy())
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


def write_score(detector: Detector, scoring: Scoring, normals: pd.DataFrame, folder: Path, manifest: Path) -> None:
    """Put a score and its calibration on normal films into the detector's checkpoint."""
    normals.assign(path=[str((folder / name).resolve()) for name in normals["file"]]).to_csv(manifest, index=False)
    write_config(detector.checkpoint.folder, detector.with_scoring(scoring).config)
    calibrate_checkpoint(Detector.from_pretrained(detector.checkpoint.folder), manifest)
    print(f"wrote {detector.checkpoint.folder}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint")
    parser.add_argument("--cxr", required=True, type=Path)
    parser.add_argument("--out", required=True, type=Path)
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--estimates", action="store_true", help="compare x_t and masked pixel generation, and stop")
    parser.add_argument(
        "--heat", action="store_true", help="compare sources of the heat map by the pointing game, and stop"
    )
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)

    films = pd.read_csv(options.cxr / "metadata.csv")
    films = films[films["split"].isin(("val", "dev"))].reset_index(drop=True)
    detector = Detector.from_pretrained(options.checkpoint)
    base = Scoring(
        noise_level=LEVEL,
        window=WINDOW,
        mirrored_noises=True,
        one_step_noises=NOISES,
        heat_sigma=detector.scoring.heat_sigma,
    )
    detector = detector.with_scoring(replace(base, components=tuple(MEASURED)))
    if options.estimates:
        compare_estimates(detector, options.cxr, films)
        return
    if options.heat:
        compare_heat(detector, options.cxr, films)
        return
    measured_as = f"{detector.checkpoint.sha256} {len(MEASURED)} {base.window}"
    kept = options.out / "measurements.npz"
    if kept.exists() and "measured_as" in np.load(kept) and str(np.load(kept)["measured_as"]) == measured_as:
        values = np.load(kept)["values"]
    else:
        values = measurements(detector, options.cxr, films, MEASURED)
        np.savez(kept, values=values, measured_as=measured_as)

    val, dev = films["split"] == "val", films["split"] == "dev"
    views = films["view"].to_numpy()
    z = z_scores(values[dev], views[dev], values[val], views[val])
    z_val = z_scores(values[val], views[val], values[val], views[val])
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
            table[name][part] = dict(zip((a for a, _ in CONTRASTS), found, strict=True)) | {
                "mean": float(np.mean(found))
            }
            normals = z_val[:, [index[c] for c in components]].mean(1)
            table[name][part]["above 95"] = share_above(scores[rows], dev_films[rows], normals, views[val])
    allowed = {name: row for name, row in table.items() if name in candidates()}
    best = max(row["A"]["mean"] for row in allowed.values())
    near = [name for name, row in allowed.items() if row["A"]["mean"] >= best - TOLERANCE]
    chosen = max(near, key=lambda name: allowed[name]["A"]["above 95"])

    print(f"{'candidate':<34} n   half A: opacity other nih mean, share above 95   half B: the same")
    for name, row in table.items():
        parts = "   ".join(
            " ".join(
                f"{row[part][key]:.3f}" for key in ("opacity", "other_abnormal", "nih_finding", "mean", "above 95")
            )
            for part in "AB"
        )
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
                print(
                    f"{part:>4} {abnormal:<15} {name:<6} within view {metrics['auroc_within_view']:.3f} [{low:.3f}, {high:.3f}]"
                )
    (options.out / "selection.json").write_text(json.dumps(report, indent=1))

    if options.write:
        write_score(
            detector,
            replace(base, components=tuple(candidates()[chosen])),
            films[val],
            options.cxr,
            options.out / "val.csv",
        )


if __name__ == "__main__":
    main()
