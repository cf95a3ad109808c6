"""Measure checkpoints by the rule of this study and of study 22.

PYTHONPATH=. python studies/18-healing-pilots/measure.py CXR_DIR CHECKPOINT [CHECKPOINT …]
"""

from __future__ import annotations

import sys
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import torch

from diff3m import Detector
from diff3m.diffusion import add_noise, estimate_x0
from diff3m.evaluation.labelled_films import assign_half
from diff3m.evaluation.metrics import auroc_within_view
from diff3m.imaging.organs import segment_organs
from diff3m.imaging import Preprocessing, prepare, read_radiograph
from diff3m.imaging.compose import smooth_difference
from diff3m.scoring.filters import gaussian_blur
from diff3m.training.films import Films
from diff3m.training.preview import paint_unseen_lesions

LEVEL, NATIVE, BATCH = 60, 224, 16


@torch.no_grad()
def estimates(detector: Detector, films: np.ndarray, values: torch.Tensor, level: int = LEVEL) -> np.ndarray:
    """One-step estimates (N, S, S) of prepared films (N, S, S), mean of two noises and their negatives."""
    size, schedule = films.shape[-1], detector.config.schedule
    noises = torch.randn(2, 1, size, size, generator=torch.Generator().manual_seed(0))
    results = []
    for start in range(0, len(films), BATCH):
        x0 = torch.from_numpy(films[start : start + BATCH])[:, None]
        t = torch.full((len(x0),), level - 1)
        total = torch.zeros_like(x0)
        with detector.autocast():
            condition = detector.network.condition(x0, values[start : start + BATCH])
            for noise in (*noises, *(-noises)):
                x_t = add_noise(x0, noise.expand_as(x0), t, schedule)
                predicted = detector.network.predict_noise(x_t, t, condition).float()
                total += estimate_x0(x_t, predicted, t, schedule) / 4
        results.append(total[:, 0])
    return torch.cat(results).numpy()


def largest_mean(difference: np.ndarray, sigma: float = 4.0, share: float = 0.012, margin: float = 0.1) -> np.ndarray:
    """Mean of the most positive pixels of a blurred difference (N, S, S) without its margins: (N,)."""
    side = difference.shape[-1]
    blurred = gaussian_blur(torch.from_numpy(difference)[:, None], sigma * side / 128)[:, 0]
    cut = round(margin * side)
    inner = blurred[:, cut : side - cut, cut : side - cut].flatten(1)
    return inner.topk(max(1, round(share * inner.shape[1])), dim=1).values.mean(1).numpy()


def detection(detector: Detector, folder: Path, normals: tuple[str, ...]) -> tuple[float, float]:
    """AUROC within view on half A of `dev`: radiologists' opacity and other abnormal films against labels of normals."""
    table = pd.read_csv(folder / "metadata.csv")
    table = table[(table.split == "dev") & table.label.isin((*normals, "opacity", "other_abnormal"))]
    table = table[[assign_half(patient) == "A" for patient in table.patient]]
    settings = detector.config.preprocessing
    films = np.stack([prepare(read_radiograph(folder / file), settings) for file in table.file])
    schema = detector.schema
    records = [schema.parse({"age": row.age, "sex": row.sex, "view": row.view}) for row in table.itertuples()]
    values = torch.from_numpy(np.stack([schema.encode(record) for record in records]))
    scores = largest_mean(films - estimates(detector, films, values))
    results = []
    for label in ("opacity", "other_abnormal"):
        rows = table.label.isin((*normals, label)).to_numpy()
        results.append(auroc_within_view(scores[rows], table.label[rows] == label, table.view[rows].to_numpy()))
    return tuple(results)


def healing(detector: Detector, folder: Path, count: int = 96) -> dict[str, float]:
    """Error inside unseen lesions on `val` films at 224 pixels after composition, over before, by kind."""
    table = pd.read_csv(folder / "metadata.csv")
    files = table.file[table.split == "val"].iloc[:count]
    settings = Preprocessing(size=NATIVE)
    images = np.stack([prepare(read_radiograph(folder / file), settings) for file in files])
    images = np.round(images * 255).astype(np.uint8)
    unknown = detector.schema.encode(detector.schema.parse({}))
    values = torch.from_numpy(np.stack([unknown] * count))
    films = Films(images, values.numpy(), segment_organs(images))
    side, ratios = detector.config.preprocessing.size, {}
    plain = np.stack([cv2.resize(film, (side, side), interpolation=cv2.INTER_AREA) for film in images / np.float32(255)])
    changes = [smooth_difference(film) for film in plain - estimates(detector, plain, values)]
    ratios["unpainted films change by"] = float(np.abs(changes).mean())
    for kind, (clean, painted, masks) in paint_unseen_lesions(films, count).items():
        small = np.stack([cv2.resize(film, (side, side), interpolation=cv2.INTER_AREA) for film in painted])
        difference = small - estimates(detector, small, values)
        smooth = [smooth_difference(film) for film in difference]
        native = np.stack([cv2.resize(film, (NATIVE, NATIVE), interpolation=cv2.INTER_CUBIC) for film in smooth])
        healed = painted - native
        ratios[kind] = float(np.abs(healed - clean)[masks].sum() / np.abs(painted - clean)[masks].sum())
    return ratios


def main() -> None:
    folder = Path(sys.argv[1])
    for source in sys.argv[2:]:
        detector = Detector.from_pretrained(source)
        opacity, other = detection(detector, folder, ("normal",))
        more = sum(detection(detector, folder, ("normal", "nih_no_finding"))) / 2
        ratios = healing(detector, folder)
        criteria = (opacity + other) / 2, (ratios["opacity"] + ratios["nodule"]) / 2
        heals = ", ".join(f"{kind} {ratio:.3f}" for kind, ratio in ratios.items())
        print(
            f"{source}: opacity {opacity:.3f}, other {other:.3f}; healing {heals}; criteria {criteria[0]:.3f}, "
            f"{criteria[1]:.3f}; mean AUROC with text-mined normals {more:.3f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
