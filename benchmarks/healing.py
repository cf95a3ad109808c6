"""How well lesions heal on real films, and what the record contributes where much is hidden.

    PYTHONPATH=. python benchmarks/healing.py DIR [CHECKPOINT]

DIR holds the films, `metadata.csv` (`file`, `image`, `split`, `label`, `age`, `sex`, `view`) and `boxes.csv` (`image`,
`x`, `y`, `w`, `h`, `source`) in pixels of a square film of 224. Lesions are drawn into the normal films of the split
`dev` (`diff3m.data.painted.lesions`, which training never uses) and large parts of the same films are hidden. The
opacities are those that radiologists marked by a single box and that are brighter than the other side. What high noise
hides is estimated on films of the split `val`. Prints tables.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from diff3m import Analysis, Detector
from diff3m.data.painted.transplants import paint_hidden
from diff3m.diffusion import add_noise, estimate_x0
from diff3m.evaluation.metrics import bootstrap_interval
from diff3m.evaluation.phantoms import RECORDS, select_records
from diff3m.imaging import Preprocessing, Radiograph, prepare, read_radiograph
from diff3m.imaging.organs import Organs, segment_organs
from diff3m.scoring.chest import chest_regions
from diff3m.training.films import Films
from diff3m.training.preview import paint_unseen_lesions

SIDE = 224
BRIGHTER = 0.05  # an opacity counts from this difference of its box to the mirrored box on, in shares of the grey range
LEVELS, NOISED_FILMS, BATCH = (60, 200, 350, 600, 850), 64, 16


def analyze(detector: Detector, films: Sequence[np.ndarray], records: Sequence[dict]) -> list[Analysis]:
    """Analyze films (H, W) in [0, 1]; those that the gate stops too."""
    cases = [detector.case(Radiograph(film), record, accept=True) for film, record in zip(films, records, strict=True)]
    return list(detector.analyze_many(cases))


def describe_mean(values: np.ndarray) -> str:
    """Write the mean of values (N,) with its 95 % bootstrap interval."""
    low, high = bootstrap_interval(lambda rows: float(values[rows].mean()), np.zeros(len(values))) or (np.nan, np.nan)
    return f"{values.mean():.3f} [{low:.3f}, {high:.3f}]"


def report_lesions(detector: Detector, films: np.ndarray, organs: np.ndarray, records: Sequence[dict]) -> None:
    """Print what is left of drawn lesions and of hidden parts by kind and record."""
    images = np.round(films * 255).astype(np.uint8)
    values = np.stack([detector.schema.encode(detector.schema.parse(record)) for record in records])
    painted = paint_unseen_lesions(Films(images, values, organs), len(films))
    covered_films, masks = [], []
    for row, film in enumerate(films):
        rng = np.random.default_rng([9, row])
        image, mask = paint_hidden(film, Organs.from_masks(organs[row], SIDE), films[row - 1], rng)
        covered_films.append(image)
        masks.append(mask > 0.5)
    painted["hidden part"] = films, np.stack(covered_films).astype(np.float32), np.stack(masks)
    print("\n| left of | record | all pixels | mean of the films | median | minus true |\n|---|---|---|---|---|---|")
    for kind, (clean, images, lesion) in painted.items():
        rows = [row for row in range(len(films)) if lesion[row].any()]
        before = np.array([np.abs(images[row] - clean[row])[lesion[row]].sum() for row in rows])
        ratios = {}
        for record in RECORDS:
            analyses = analyze(detector, images, select_records(records, {}, record))
            after = [np.abs(analyses[row].pseudo_healthy - clean[row])[lesion[row]].sum() for row in rows]
            ratio = ratios[record] = np.array(after) / np.maximum(before, 1e-9)
            gain = "" if record == "true" else describe_mean(ratio - ratios["true"])
            cells = f"{sum(after) / before.sum():.3f} | {describe_mean(ratio)} | {np.median(ratio):.3f} | {gain}"
            print(f"| {kind} | {record} | {cells} |", flush=True)


def report_changes(detector: Detector, films: np.ndarray, records: Sequence[dict]) -> None:
    """Print by how much unpainted films change, in shares of the grey range."""
    pictures = np.stack([analysis.pseudo_healthy for analysis in analyze(detector, films, records)])
    changes = np.abs(pictures - films)
    everywhere, in_chest = changes.mean(), changes[chest_regions(films) > 0.5].mean()
    print(f"\nUnpainted films change by {everywhere:.4f}, in the chest by {in_chest:.4f}.", flush=True)


def report_opacities(detector: Detector, folder: Path, table: pd.DataFrame) -> None:
    """Print how much of the extra brightness of radiologists' boxes goes, over the mirrored box."""
    boxes = pd.read_csv(folder / "boxes.csv")
    boxes = boxes[(boxes.source == "RSNA") & boxes.groupby("image").image.transform("size").eq(1)].set_index("image")
    table = table[(table.label == "opacity") & table.image.isin(boxes.index)]
    films = [read_radiograph(folder / file).pixels for file in table.file]
    extra = []
    analyses = analyze(detector, films, make_records(table))
    for row, film, analysis in zip(table.itertuples(), films, analyses, strict=True):
        box = boxes.loc[row.image]
        scale = film.shape[1] / SIDE
        x, y, w, h = (round(float(box[name]) * scale) for name in "xywh")
        mirrored = slice(max(0, film.shape[1] - x - w), film.shape[1] - x)
        pair = (film, analysis.pseudo_healthy)
        excess = [image[y : y + h, x : x + w].mean() - image[y : y + h, mirrored].mean() for image in pair]
        if excess[0] >= BRIGHTER:
            extra.append(excess)
    if not extra:
        print("\nNo single opacity is brighter than the other side.")
        return
    before, after = np.array(extra).T

    def compute_share(rows: np.ndarray) -> float:
        return float(1 - after[rows].sum() / before[rows].sum())

    low, high = bootstrap_interval(compute_share, np.zeros(len(extra))) or (np.nan, np.nan)
    share = compute_share(np.arange(len(extra)))
    print(f"\nOf {len(extra)} real opacities {share:.0%} [{low:.0%}, {high:.0%}] of the extra brightness goes.")


@torch.no_grad()
def report_estimates(detector: Detector, folder: Path, table: pd.DataFrame) -> None:
    """Print the squared error of one-step estimates by noise level and record, and paired differences."""
    table = table[table.split == "val"].iloc[:NOISED_FILMS]
    records, network = [detector.schema.parse(record) for record in make_records(table)], detector.network.float()
    cases = [detector.case(read_radiograph(folder / file), accept=True) for file in table.file]
    x0, schedule, generator = detector.inputs(cases), detector.config.schedule, torch.Generator().manual_seed(0)
    print("\n| noise level | true | unknown | shuffled | unknown − true | shuffled − true |\n" + "|---" * 6 + "|")
    for level in LEVELS:
        noise, errors = torch.randn(x0.shape, generator=generator).to(x0), []
        for kind in RECORDS:
            known = select_records(records, detector.schema.parse({}), kind)
            values, parts = torch.from_numpy(np.stack([detector.schema.encode(record) for record in known])).to(x0), []
            for rows in torch.arange(len(x0)).split(BATCH):
                film, t = x0[rows], torch.full((len(rows),), level, device=x0.device)
                x_t = add_noise(film, noise[rows], t, schedule)
                predicted = network.predict_noise(x_t, t, network.condition(film, values[rows]))
                parts.append((estimate_x0(x_t, predicted, t, schedule) - film).square().mean((1, 2, 3)).cpu())
            errors.append(torch.cat(parts))
        gains = [other - errors[0] for other in errors[1:]]
        cells = [f"{error.mean():.4f}" for error in errors]
        cells += [f"{gain.mean():.5f} ± {gain.std() / len(gain) ** 0.5:.5f}" for gain in gains]
        print(f"| {level} | {' | '.join(cells)} |", flush=True)


def make_records(table: pd.DataFrame) -> list[dict]:
    """Return the records of the rows."""
    return [{"age": row.age, "sex": row.sex, "view": row.view} for row in table.itertuples()]


def main(folder: Path, checkpoint: str) -> None:
    """Print every table for a checkpoint."""
    detector = Detector.from_pretrained(checkpoint)
    metadata = pd.read_csv(folder / "metadata.csv")
    table = metadata[metadata.split == "dev"]
    normal = table[table.label == "normal"]
    settings = Preprocessing(size=SIDE)
    films = np.stack([prepare(read_radiograph(folder / file), settings) for file in normal.file])
    organs, records = segment_organs(np.round(films * 255).astype(np.uint8)), make_records(normal)
    report_lesions(detector, films, organs, records)
    report_changes(detector, films, records)
    report_opacities(detector, folder, table)
    report_estimates(detector.in_float32, folder, metadata)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else "real-films")
