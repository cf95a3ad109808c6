"""Compositions of the pseudo-healthy film: python studies/20-composition/compose.py CXR_DIR CHECKPOINT"""

from __future__ import annotations

import sys
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import torch

sys.path.insert(0, str(Path(__file__).parent.parent / "18-healing-pilots"))
from measure import NATIVE, estimates

from diff3m import Detector
from diff3m.imaging import Preprocessing, prepare, read_radiograph
from diff3m.imaging.compose import smooth_difference
from diff3m.imaging.organs import segment_organs
from diff3m.training.films import Films
from diff3m.training.preview import unseen_lesions

COUNT, LEVELS, SIGMA = 32, (20, 60, 150), 1.2


def resize(images: np.ndarray, side: int, how: int) -> np.ndarray:
    return np.stack([cv2.resize(image, (side, side), interpolation=how) for image in images])


def smooth(differences: np.ndarray, sigma: float) -> np.ndarray:
    return np.stack([smooth_difference(difference, sigma) for difference in differences])


def weight(heat: np.ndarray, low: float, high: float) -> np.ndarray:
    ramp = np.clip((np.abs(heat) - low) / (high - low), 0, 1)
    return ramp * ramp * (3 - 2 * ramp)


def spectrum(films: np.ndarray) -> np.ndarray:
    """Radial power, mean over films, without the constant."""
    side = films.shape[-1]
    window = np.outer(np.hanning(side), np.hanning(side))
    centered = (films - films.mean((1, 2), keepdims=True)) * window
    power = (np.abs(np.fft.fftshift(np.fft.fft2(centered), axes=(1, 2))) ** 2).mean(0)
    y, x = np.indices(power.shape) - side // 2
    radius = np.hypot(x, y).astype(int).ravel()
    return (np.bincount(radius, power.ravel()) / np.bincount(radius))[1 : side // 2]


def main() -> None:
    folder, detector = Path(sys.argv[1]), Detector.from_pretrained(sys.argv[2])
    table = pd.read_csv(folder / "metadata.csv")
    files = table.file[table.split == "val"].iloc[:COUNT]
    films = np.stack([prepare(read_radiograph(folder / file), Preprocessing(size=NATIVE)) for file in files])
    films = np.round(films * 255).astype(np.uint8)
    unknown = np.stack([detector.schema.encode(detector.schema.parse({}))] * COUNT)
    plain = films.astype(np.float32) / 255
    sets = {"plain": (plain, plain, np.ones(films.shape, bool))}
    sets |= unseen_lesions(Films(films, unknown, segment_organs(films)), COUNT)
    side, values = detector.config.preprocessing.size, torch.from_numpy(unknown)
    differences = {}
    for kind, (_, painted, _) in sets.items():
        small = resize(painted, side, cv2.INTER_AREA)
        differences[kind] = {level: small - estimates(detector, small, values, level) for level in LEVELS}

    def report(name: str, compose) -> None:
        texts = []
        for kind, (clean, painted, masks) in sets.items():
            change = resize(compose(differences[kind]), NATIVE, cv2.INTER_CUBIC)
            if kind == "plain":
                ratio, edge = spectrum(painted - change) / spectrum(clean), NATIVE // 8
                texts.append(f"change {np.abs(change)[:, edge:-edge, edge:-edge].mean():.4f}")
                texts.append(f"spectrum {ratio.min():.2f} to {ratio.max():.2f}")
            else:
                errors = [np.abs(picture - clean)[masks].sum() for picture in (painted - change, painted)]
                texts.append(f"{kind} {errors[0] / errors[1]:.3f}")
        print(f"{name}: {', '.join(texts)}", flush=True)

    for level in LEVELS:
        report(f"{level}, everywhere", lambda part, level=level: smooth(part[level], SIGMA))
    report("60, σ = 3", lambda part: smooth(part[60], 3))
    report("150 and 20", lambda part: smooth(part[150], 4) + smooth(part[20], SIGMA) - smooth(part[20], 4))
    edge = round(0.08 * side)
    for level in LEVELS:
        for sigma in (3, 4):
            usual = np.abs(smooth(differences["plain"][level], sigma))[:, edge:-edge, edge:-edge]
            limit = float(np.percentile(usual, 95))
            for low, high in ((0.5, 1), (0.7, 1.4), (1, 2)):

                def compose(part, level=level, sigma=sigma, low=low * limit, high=high * limit):
                    return weight(smooth(part[level], sigma), low, high) * smooth(part[level], SIGMA)

                report(f"{level}, w from {low} to {high}, σ = {sigma}", compose)


if __name__ == "__main__":
    main()
