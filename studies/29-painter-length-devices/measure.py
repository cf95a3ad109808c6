"""Measure what a run of this study heals, keeps and detects.

PYTHONPATH=. python studies/29-painter-length-devices/measure.py CXR_DIR CHECKPOINT [CHECKPOINT …]

CXR_DIR holds the films and `metadata.csv`. Prints a line a checkpoint. Estimates are one step from level 60, the mean
of two noises with both signs; lesions and devices are those of the same random numbers for all checkpoints.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from diff3m import Detector
from diff3m.data.painted.devices import add_devices
from diff3m.data.painted.painter import HIDDEN, KINDS, paint_lesions
from diff3m.evaluation.labelled_films import assign_half
from diff3m.evaluation.metrics import auroc_within_view
from diff3m.imaging import prepare, read_radiograph
from diff3m.imaging.compose import smooth_difference
from diff3m.imaging.organs import Organs, segment_organs
from diff3m.scoring.score_file import read_score
from diff3m.training.films import Films
from diff3m.training.preview import paint_unseen_lesions

SCORE = Path(__file__).parents[1] / "26-192-pixels" / "score.yaml"
HELD_OUT = ("nodules", "atelectasis", "pneumothorax")
FEW = ("consolidation", "ground glass", "effusion")
COUNT, BATCH = 96, 16
VISIBLE = 0.02  # of the grey range: a lesion or device that changes the film by less on average is left out


def estimate(detector: Detector, films: np.ndarray, values: torch.Tensor) -> np.ndarray:
    """Estimate prepared films (N, S, S) in one step from level 60 under encoded records (N, slots)."""
    settings, parts = detector.settings(noise_level=60), []
    for start in range(0, len(films), BATCH):
        x0 = torch.from_numpy(films[start : start + BATCH])[:, None]
        with detector.autocast(), torch.no_grad():
            condition = detector.network.condition(x0, values[start : start + BATCH])
            parts.append(detector.one_step_estimate(x0, condition, 60, settings)[:, 0].float())
    return torch.cat(parts).numpy()


def heal(detector: Detector, films: np.ndarray) -> np.ndarray:
    """Return films (N, S, S) minus their smooth difference from the estimate under an unknown record."""
    unknown = detector.schema.encode(detector.schema.parse({}))
    differences = films - estimate(detector, films, torch.from_numpy(np.stack([unknown] * len(films))))
    return films - np.stack([smooth_difference(difference) for difference in differences])


def measure_share(detector: Detector, clean: np.ndarray, changed: np.ndarray, masks: np.ndarray, target: str) -> float:
    """Return the error inside the masks after healing, from the clean or the changed film, over the change itself."""
    before = np.abs(changed - clean) * masks
    rows = before.sum((1, 2)) >= VISIBLE * np.maximum(masks.sum((1, 2)), 1)
    healed = heal(detector, changed[rows])
    reference = {"clean": clean, "changed": changed}[target][rows]
    return float((np.abs(healed - reference) * masks[rows]).sum() / before[rows].sum())


def measure_lesions(detector: Detector, films: np.ndarray, organs: list[Organs]) -> dict[str, float]:
    """Measure what is left of each kind of lesion that the painter knows."""
    shares = {}
    for number, kind in enumerate(KINDS):
        if kind == HIDDEN:
            continue
        examples = [
            paint_lesions(film, organs[row], films[row - 1], np.random.default_rng([number, row]), (kind,))
            for row, film in enumerate(films)
        ]
        painted, masks = (np.stack([getattr(entry, name) for entry in examples]) for name in ("painted", "mask"))
        shares[kind] = measure_share(detector, films, painted, (masks > 0.1).astype(np.float32), "clean")
    return shares


def measure_devices(detector: Detector, films: np.ndarray) -> float:
    """Measure which share of devices and writing is taken away, though they should stay."""
    changed = np.stack([add_devices(film, np.random.default_rng([99, row])) for row, film in enumerate(films)])
    masks = (np.abs(changed - films) > 0.1).astype(np.float32)
    return measure_share(detector, films, changed.astype(np.float32), masks, "changed")


def measure_detection(detector: Detector, folder: Path) -> dict[str, float]:
    """Measure AUROC within view on half A, against normal films of radiologists, and with those of text mining too."""
    table = pd.read_csv(folder / "metadata.csv")
    table = table[(table.split == "dev") & (table.patient.map(assign_half) == "A")]
    films = np.stack([prepare(read_radiograph(folder / file), detector.config.preprocessing) for file in table.file])
    records = [detector.schema.parse({"age": row.age, "sex": row.sex, "view": row.view}) for row in table.itertuples()]
    settings, scores = detector.settings(), []
    for start in range(0, len(films), BATCH):
        rows = slice(start, start + BATCH)
        x0 = torch.from_numpy(films[rows])[:, None]
        condition = detector.condition(x0, records[rows], attention=False)
        estimates = detector.estimates(x0, condition, detector.scoring.keys, settings)
        scores.append(detector.measurements(x0, records[rows], estimates, settings)[:, 0].numpy())
    table = table.assign(score=np.concatenate(scores))
    results = {}
    for name, normals in (("41 normal", ("normal",)), ("all normal", ("normal", "nih_no_finding"))):
        for label in ("opacity", "other_abnormal"):
            rows = table[table.label.isin((*normals, label))]
            abnormal = (rows.label == label).to_numpy()
            results[f"{label}, {name}"] = auroc_within_view(rows.score.to_numpy(), abnormal, rows.view.to_numpy())
    return results


def main() -> None:
    """Print the measurements of each checkpoint."""
    folder = Path(sys.argv[1])
    files = pd.read_csv(folder / "metadata.csv").query("split == 'val'").file.iloc[:COUNT]
    for source in sys.argv[2:]:
        detector = Detector.from_pretrained(source)
        detector = detector.with_scoring(read_score(SCORE, detector.scoring))
        films = np.stack([prepare(read_radiograph(folder / file), detector.config.preprocessing) for file in files])
        images, side = np.round(films * 255).astype(np.uint8), films.shape[-1]
        masks = segment_organs(images)
        shares = measure_lesions(detector, films, [Organs.from_masks(mask, side) for mask in masks])
        unseen = paint_unseen_lesions(Films(images, np.zeros((len(images), 1), np.float32), masks), len(images))
        others = {kind: measure_share(detector, *arrays, "clean") for kind, arrays in unseen.items()}
        known = [kind for kind in shares if kind not in HELD_OUT]
        parts = {
            "held-out kinds": np.mean([shares[kind] for kind in HELD_OUT]),
            "few kinds": np.mean([shares[kind] for kind in FEW]),
            "kinds beside these": np.mean([shares[kind] for kind in known if kind not in FEW]),
            "other program": np.mean(list(others.values())),
            "devices taken away": measure_devices(detector, films),
            "unpainted films change by": np.abs(heal(detector, films) - films).mean(),
            **measure_detection(detector, folder),
        }
        for title, values in ((source, parts), ("  kinds", shares), ("  other program", others)):
            print(f"{title}: {', '.join(f'{name} {value:.3f}' for name, value in values.items())}", flush=True)


if __name__ == "__main__":
    main()
