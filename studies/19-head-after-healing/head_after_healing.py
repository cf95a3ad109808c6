"""Measure the rule of this study: python studies/19-head-after-healing/head_after_healing.py CXR_DIR CHECKPOINT …"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import torch

sys.path.insert(0, str(Path(__file__).parent.parent / "18-healing-pilots"))
from measure import BATCH, estimates, largest_mean

from diff3m import Detector
from diff3m.evaluation.labelled_films import half
from diff3m.evaluation.metrics import auroc_within_view
from diff3m.imaging import prepare, read_radiograph
from diff3m.scoring.anomaly_head import anomaly_logits
from diff3m.scoring.measure import measure_component

VAL_NORMALS = 300


def films_of(detector: Detector, table: pd.DataFrame, folder: Path) -> tuple[np.ndarray, torch.Tensor]:
    films = np.stack([prepare(read_radiograph(folder / file), detector.config.preprocessing) for file in table.file])
    records = [detector.schema.parse({"age": row.age, "sex": row.sex, "view": row.view}) for row in table.itertuples()]
    return films, torch.from_numpy(np.stack([detector.schema.encode(record) for record in records]))


@torch.no_grad()
def head_values(detector: Detector, films: np.ndarray, values: torch.Tensor) -> np.ndarray:
    """The head's components of the shipped score: (N, components)."""
    components = [component for component in detector.scoring.components if component.source == "head"]
    rows = []
    for start in range(0, len(films), BATCH):
        x0 = torch.from_numpy(films[start : start + BATCH])[:, None]
        with detector.autocast():
            condition = detector.network.condition(x0, values[start : start + BATCH])
            noises = detector._noises(x0.shape[-1], detector.head.config.level, detector.settings())
            logits = anomaly_logits(detector.network, detector.head, detector.config.schedule, x0, noises, condition)[0]
        measured = [measure_component(part, x0, logits.float(), detector.scoring.border) for part in components]
        rows.append(torch.stack(measured, 1))
    return torch.cat(rows).numpy()


def standardize(values: np.ndarray, views: np.ndarray, normals: np.ndarray, normal_views: np.ndarray) -> np.ndarray:
    result = np.empty_like(values)
    for view in np.unique(views):
        own = normals[normal_views == view]
        result[views == view] = (values[views == view] - own.mean(0)) / own.std(0)
    return result


def main() -> None:
    folder = Path(sys.argv[1])
    table = pd.read_csv(folder / "metadata.csv")
    dev = table[(table.split == "dev") & table.label.isin(("normal", "opacity", "other_abnormal"))]
    dev = dev[[half(patient) == "A" for patient in dev.patient]]
    val = table[(table.split == "val") & (table.label == "normal")].sample(VAL_NORMALS, random_state=0)
    shipped = Detector.from_pretrained("real-films")
    head = [head_values(shipped, *films_of(shipped, part, folder)) for part in (dev, val)]
    views = dev.view.to_numpy(), val.view.to_numpy()
    head_z = standardize(head[0], views[0], head[1], views[1])
    for source in sys.argv[2:]:
        detector = Detector.from_pretrained(source)
        scores = []
        for part in (dev, val):
            films, values = films_of(detector, part, folder)
            scores.append(largest_mean(films - estimates(detector, films, values))[:, None])
        healed = standardize(scores[0], views[0], scores[1], views[1])[:, 0]
        named = {"healed": healed}
        for index in range(head_z.shape[1]):
            named[f"head {index}"] = head_z[:, index]
            named[f"healed + head {index}"] = healed + head_z[:, index]
        named["healed + head"] = healed + head_z.mean(1)
        for name, score in named.items():
            parts = []
            for label in ("opacity", "other_abnormal"):
                rows = dev.label.isin(("normal", label)).to_numpy()
                parts.append(auroc_within_view(score[rows], dev.label[rows] == label, views[0][rows]))
            print(f"{source}, {name}: opacity {parts[0]:.3f}, other {parts[1]:.3f}, mean {np.mean(parts):.4f}", flush=True)


if __name__ == "__main__":
    main()
