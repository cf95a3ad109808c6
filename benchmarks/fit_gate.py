"""Fit the gate before analysis on normal films, and measure whom it lets pass and whom it stops.

    python benchmarks/fit_gate.py --cxr DIR [--write]

DIR holds metadata.csv and the films. Rule: components from `train`, scale and limit from `val` (its largest distance passes); `dev` and the
pictures that are no films only report. --write replaces assets/film-gate.safetensors. Photographs are those that come with installed packages;
what is called "drawn" is drawn here.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from diff3m.imaging import (
    Radiograph,
    RadiographError,
    check_film,
    corrected,
    inspect,
    prepare,
    read_radiograph,
)
from diff3m.imaging.gate import THUMBNAIL, WEIGHTS, Gate, has_writing

PHOTOGRAPHS = (
    ("gradio", "media_assets/images/*.jp*g"),
    ("sklearn", "datasets/images/*.jpg"),
    ("matplotlib", "mpl-data/sample_data/*.jpg"),
)


def photographs(rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Ten grey details of each photograph that installed packages bring."""
    for package, pattern in PHOTOGRAPHS:
        for path in sorted(Path(find_spec(package).origin).parent.glob(pattern)):
            grey = np.asarray(Image.open(path).convert("L"), np.float32)
            for _ in range(10):
                side = int(rng.integers(max(64, min(grey.shape) // 3), min(grey.shape)))
                top, left = (int(rng.integers(0, length - side + 1)) for length in grey.shape)
                yield grey[top : top + side, left : left + side]


def noises(rng: np.random.Generator) -> Iterator[np.ndarray]:
    for sigma in np.tile([0.3, 2, 6, 15], 10):
        yield cv2.GaussianBlur(rng.normal(size=(200, 200)).astype(np.float32), (0, 0), float(sigma))


def charts(rng: np.random.Generator) -> Iterator[np.ndarray]:
    for index in range(40):
        figure = Figure(figsize=(3, 3))
        axes = figure.add_subplot()
        kind = index % 4
        if kind == 0:
            axes.plot(rng.normal(size=30).cumsum())
        elif kind == 1:
            axes.bar(range(8), rng.random(8))
        elif kind == 2:
            axes.text(0.05, 0.5, "Dear colleague,\nthank you for\nthis patient", fontsize=16)
        else:
            axes.scatter(rng.random(50), rng.random(50))
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        grey = np.asarray(canvas.buffer_rgba())[..., :3].mean(2)
        yield 255 - grey if index % 8 >= 4 else grey


def slices(rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Cross-sections as CT (lungs, spine) and as MR (soft tissue) show them."""
    y, x = np.mgrid[0:224, 0:224] / 224 - 0.5

    def ellipse(cx: float, cy: float, a: float, b: float) -> np.ndarray:
        return ((x - cx) / a) ** 2 + ((y - cy) / b) ** 2 < 1

    for index in range(40):
        picture = np.zeros((224, 224), np.float32)
        wide, high = 0.42 + 0.03 * rng.normal(), 0.3 + 0.03 * rng.normal()
        picture[ellipse(0, 0, wide, high)] = 0.5
        if index % 2:
            for _ in range(6):
                picture[ellipse(*(0.12 * rng.normal(size=2)), *rng.uniform(0.05, 0.13, 2))] = rng.random()
        else:
            for side in (-1, 1):
                picture[ellipse(side * 0.18, 0.02 * rng.normal(), 0.13, 0.19)] = 0.08
            picture[ellipse(0.05, -0.03, 0.09, 0.1)] = 0.6
            picture[ellipse(0, 0.2, 0.05, 0.05)] = 0.9
        yield cv2.GaussianBlur(picture, (0, 0), 1.2) + 0.02 * rng.normal(size=picture.shape)


def extremities(rng: np.random.Generator) -> Iterator[np.ndarray]:
    """One limb with its bone, or a hand's worth of fingers."""
    for index in range(40):
        fingers = 1 + index % 5
        picture = np.full((224, 224), 0.05, np.float32)
        for finger in range(fingers):
            offset = (finger - (fingers - 1) / 2) * 30
            limb, thick = np.zeros_like(picture), 30 if fingers > 1 else 90
            x = int(112 + offset)
            cv2.line(limb, (x, 10), (x, 214), 0.35, thick)
            cv2.line(limb, (x, 16), (x, 110), 0.5, thick // 3)
            cv2.line(limb, (x, 120), (x, 210), 0.5, thick // 3 + 2)
            turned = cv2.getRotationMatrix2D((112, 112), 20 * rng.normal() + offset / 6, 1)
            picture = np.maximum(picture, cv2.warpAffine(limb, turned, (224, 224)))
        yield cv2.GaussianBlur(picture, (0, 0), 2) + 0.01 * rng.normal(size=picture.shape)


def heads(rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Slices of a real head in three planes: MNI152, the T1-weighted mean of 152 people, of nilearn; none without nilearn and nibabel."""
    if find_spec("nilearn") is None or find_spec("nibabel") is None:
        return
    from nibabel import load

    path = Path(find_spec("nilearn").origin).parent / "datasets/data/mni_icbm152_t1_tal_nlin_sym_09a_converted.nii.gz"
    volume = np.asarray(load(path).dataobj, np.float32)
    for index in range(60):
        plane = np.take(volume, int(volume.shape[index % 3] * rng.uniform(0.25, 0.75)), axis=index % 3)
        yield np.rot90(plane)


def other_dicom(rng: np.random.Generator) -> Iterator[Radiograph]:
    """CT, MR and ultrasound files that come with pydicom and nibabel, of any size, as far as they can be read as one grey picture."""
    for package, pattern in (("pydicom", "data/test_files/*.dcm"), ("nibabel", "nicom/tests/data/*.dcm")):
        if find_spec(package) is not None:
            for path in sorted(Path(find_spec(package).origin).parent.glob(pattern)):
                with suppress(RadiographError):
                    yield read_radiograph(path)


NO_FILMS = {
    "head, MR, three planes": heads,
    "other DICOM files": other_dicom,
    "photographs": photographs,
    "noise": noises,
    "charts": charts,
    "CT and MR slices, drawn": slices,
    "extremities, drawn": extremities,
    "blank": lambda rng: (np.full((200, 200), value, np.float32) for value in np.linspace(0, 1, 10)),
}


def stopped(film: Radiograph | np.ndarray, gate: Gate) -> bool:
    """True if a picture never gets to the model: refused on reading, or by the gate."""
    try:
        return not inspect(
            film if isinstance(film, Radiograph) else Radiograph(check_film(np.asarray(film, np.float32))), gate
        ).passes
    except RadiographError:
        return True


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cxr", required=True, type=Path)
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    table = pd.read_csv(options.cxr / "metadata.csv")
    with ThreadPoolExecutor() as pool:
        films = dict(
            zip(table["file"], pool.map(lambda name: read_radiograph(options.cxr / name), table["file"]), strict=True)
        )
    split = {name: [films[file] for file in part["file"]] for name, part in table.groupby("split")}
    thumbnails = {name: np.stack([prepare(film, THUMBNAIL) for film in split[name]]) for name in ("train", "val")}
    gate = Gate.fit(thumbnails["train"], thumbnails["val"])
    print(f"limit {gate.limit:.2f}")

    dev = table[table["split"] == "dev"]
    for label, part in [("all", dev), *dev.groupby("label")]:
        passed = np.mean([not stopped(films[file], gate) for file in part["file"]])
        print(f"dev {label:<16} {len(part):>5} films, {passed:.1%} pass")
    print(f"dev with writing noted: {np.mean([has_writing(film.pixels) for film in split['dev']]):.1%}")
    rng = np.random.default_rng(0)
    for name, pictures in NO_FILMS.items():
        found = [stopped(picture, gate) for picture in pictures(rng)]
        print(
            f"{name:<28} {len(found):>5}, "
            + (f"{np.mean(found):.1%} stopped" if found else "its packages are not installed")
        )
    for negative in (False, True):
        for turn in range(4):
            if turn or negative:
                seen = [inspect(corrected(film, turn, negative), gate) for film in split["dev"]]
                right = np.mean([found.turn == (-turn) % 4 and found.negative == negative for found in seen])
                name = f"dev, turned {90 * turn}°{', negative' * negative}"
                print(
                    f"{name:<28} {len(seen):>5}, {np.mean([not found.passes for found in seen]):.1%} stopped, {right:.1%} with the right mending"
                )
    for name, cut in (("upper half", (0, 0, 0.5, 0)), ("one side", (0, 0.5, 0, 0)), ("middle 60 %", (0.2,) * 4)):
        found = np.mean([stopped(corrected(film, cut=cut), gate) for film in split["dev"]])
        print(f"dev, {name:<23} {len(split['dev']):>5}, {found:.1%} stopped")
    if options.write:
        gate.save(WEIGHTS)
        print(f"wrote {WEIGHTS}")


if __name__ == "__main__":
    main()
