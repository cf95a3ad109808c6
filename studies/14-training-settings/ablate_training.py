"""What one setting of training is worth on real films: the shipped weights go on for a little while with it changed, all else alike.

    python benchmarks/ablate_training.py --manifest TRAIN.csv --cxr DIR --out DIR [--steps N] [--only NAME ...]

Each arm is trained (again from OUT where it stopped) and measured by the shipped residual score on the films that radiologists read, z-scored
against `val` films measured by itself. With --only other arms are left for another process; without it the table of all is printed.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from compare_weights import radiologists_films, scores
from select_score import RADIOLOGISTS

from diff3m.detector import Detector
from diff3m.evaluation.labelled_films import half
from diff3m.evaluation.metrics import auroc_within_view, paired_difference
from diff3m.training.config import TrainingConfig
from diff3m.training.loop import train

CONFIG = Path(__file__).parents[1] / "configs" / "real-films.yaml"
SHIPPED = "real-films"
ARMS: dict[str, dict] = {
    "as shipped": {},
    "as shipped, other random numbers": {"seed": 1},
    "no augmentation": {"rotate_degrees": 0.0, "shift": 0.0, "zoom": 0.0, "gamma": 0.0},
    "augmentation twice as strong": {"rotate_degrees": 8.0, "shift": 0.06, "zoom": 0.1, "gamma": 0.4},
    "noise weighting": {"weighting": "noise"},
    "timesteps of the first run": {"low_level": 500, "low_fraction": 0.65},
    "fusion asked by the film": {"network": {"query": "film"}},
    "fusion by one softmax": {"network": {"fusion": "paper"}},
}


def trained(name: str, manifest: str, out: Path, steps: int) -> Detector:
    """One arm's weights after `steps` more steps from the shipped ones."""
    folder = out / name.replace(",", "").replace(" ", "-")
    changes = dict(init=SHIPPED, manifest=manifest, out=str(folder), steps=steps, learning_rate=2e-4, warmup_steps=25, save_minutes=2.0)
    config = TrainingConfig.from_yaml(CONFIG, **changes, **ARMS[name])
    config = TrainingConfig(**{**config.to_dict(), "name": name, "validation": None})
    return Detector.from_pretrained(train(config, report=lambda p: print(name, p.stage, p.done, p.total, f"{p.noise:.4f}", flush=True)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--manifest", required=True)
    parser.add_argument("--cxr", required=True, type=Path)
    parser.add_argument("--out", required=True, type=Path)
    parser.add_argument("--steps", type=int, default=250)
    parser.add_argument("--only", nargs="+", choices=list(ARMS), metavar="NAME")
    options = parser.parse_args()
    films = radiologists_films(options.cxr)
    options.out.mkdir(parents=True, exist_ok=True)
    scoring = Detector.from_pretrained(SHIPPED).scoring
    found = {}
    for name in options.only or ARMS:
        found[name] = scores(trained(name, options.manifest, options.out, options.steps), scoring, options.cxr, films, options.out)
    if options.only:
        return
    found = {"shipped weights": scores(Detector.from_pretrained(SHIPPED), scoring, options.cxr, films, options.out), **found}
    dev = films[films["split"] == "dev"]
    halves, views = dev["patient"].map(half).to_numpy(), dev["view"].to_numpy().astype(str)
    for part in ("A", "B"):
        for name, values in found.items():
            cells, areas = [], []
            for abnormal, normal in RADIOLOGISTS:
                pick = (halves == part) & dev["label"].isin((abnormal, normal)).to_numpy()
                flags = (dev["label"].to_numpy() == abnormal)[pick]
                areas.append(auroc_within_view(values[pick], flags, views[pick]))
                gain = paired_difference(values[pick], found["as shipped"][pick], flags, views[pick])
                cells.append(f"{abnormal} {areas[-1]:.3f} ({gain['difference']:+.3f} [{gain['interval'][0]:+.3f}, {gain['interval'][1]:+.3f}])")
            print(f"half {part}  {name:<34} mean {np.mean(areas):.3f}  {'  '.join(cells)}")


if __name__ == "__main__":
    main()
