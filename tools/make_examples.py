"""Make the synthetic example cases of a checkpoint: films drawn by its own model, some with a painted finding.

    python tools/make_examples.py real-films --training MANIFEST --sheet SHEET.png      # candidates to choose from
    python tools/make_examples.py real-films --training MANIFEST                        # write assets/examples
    python tools/make_examples.py phantoms                                              # the simulated ones

No film is a patient's: each is drawn from pure noise under a record that was made up. That it is no copy of a
training film either is checked: its nearest training film must not be nearer than real films of different patients
are to each other. The result of each is stored beside it (.npz), so that the page shows it at once.
"""

from __future__ import annotations

import argparse
import functools
import json
from pathlib import Path

import cv2
import numpy as np
import yaml

from app.examples import load_examples
from diff3m.data.manifest import read_manifest
from diff3m.data.painted.lesions import paint_lesion
from diff3m.data.phantom import make_person
from diff3m.detector import Detector
from diff3m.export.cache import save_analysis
from diff3m.export.files import draw_difference
from diff3m.export.overlay import enlarge, reduce_height, to_uint8
from diff3m.sample import draw_normals
from diff3m.training.films import load_films

FOLDER = Path(__file__).resolve().parent.parent / "assets" / "examples"
ORIGIN = "Synthetic, drawn by the model itself."
PHANTOM = "A simulated phantom, no patient."
STEPS, SIDE, THUMBNAIL = 100, 512, 224
GRAIN = 0.012  # spread of the noise that is added, so that a drawn film is as grainy as a real one


def nearest(film: np.ndarray, others: np.ndarray) -> float:
    """Smallest root-mean-square difference of a film (S, S) to the others, (N, 32, 32)."""
    small = cv2.resize(film, (32, 32), interpolation=cv2.INTER_AREA)
    return float(np.sqrt(((others - small) ** 2).mean(axis=(1, 2))).min())


@functools.cache
def _drawn(detector: Detector, records: str, seed: int) -> np.ndarray:
    films = draw_normals(detector, json.loads(records), seed=seed, steps=STEPS)
    rng = np.random.default_rng(seed)
    return np.stack([grainy(without_grid(film), rng) for film in films])


def grainy(film: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A film (S, S) with the grain of real ones; a drawn film is smoother."""
    noise = cv2.GaussianBlur(rng.normal(size=film.shape), (0, 0), 0.6)
    return (film + GRAIN * noise / noise.std()).clip(0, 1).astype(np.float32)


def without_grid(film: np.ndarray, period: int = 4, radius: float = 7.5) -> np.ndarray:
    """A film (S, S) without the pattern of that period that space-to-depth leaves: its harmonics are taken out of the
    spectrum.
    """
    around = film.shape[0]
    size = 3 * around
    frequencies = np.fft.fftfreq(size) * size
    step = size / period
    away = frequencies - step * np.round(frequencies / step)  # bins from the nearest harmonic
    distance = np.hypot(away[:, None], away)
    near_zero = np.hypot(*np.meshgrid(frequencies, frequencies, indexing="ij")) < step / 2
    transmission = np.where(near_zero, 1.0, 1 - np.exp(-0.5 * (distance / radius) ** 2))
    mirrored = np.pad(film, around, mode="symmetric")  # so that its edges are no steps
    without_hatching = np.fft.ifft2(np.fft.fft2(mirrored) * transmission).real[around:-around, around:-around]
    return without_hatching.clip(0, 1).astype(np.float32)


def drawn(detector: Detector, cases: list[dict], seed: int) -> np.ndarray:
    """Draw one film a case from one seed, (cases, S, S), without the 4-pixel grid and with the grain of a film."""
    return _drawn(detector, json.dumps([case["record"] for case in cases]), seed)


def rendered(detector: Detector) -> list[dict]:
    """Write the simulated cases of phantoms.yaml; returns their entries."""
    entries = []
    for case in yaml.safe_load((FOLDER / "phantoms.yaml").read_text(encoding="utf-8")):
        changes, record, lesion = case.pop("patient", {}), case.pop("record", {}), case.pop("lesion", None)
        person = make_person(case["number"], lesion)
        patient = person.patient.with_values(
            **{name: float(value) if isinstance(value, int) else value for name, value in changes.items()}
        )
        entry = {
            **case,
            "record": {**patient.to_record(), **record},
            "origin": PHANTOM,
            "checkpoint": detector.config.name,
            "file": f"{case['id']}.png",
        }
        cv2.imwrite(str(FOLDER / entry["file"]), to_uint8(person.render(SIDE, patient)))
        if lesion:
            entry["mask"] = f"{case['id']}.mask.png"
            cv2.imwrite(
                str(FOLDER / entry["mask"]), person.render_with_lesion(SIDE, patient).mask.astype(np.uint8) * 255
            )
        entries.append(entry)
    return entries


def store_results(detector: Detector) -> None:
    """Store the result of every example beside its film, and write docs/examples-<checkpoint>.webp.

    The picture shows film, normal film and difference of each, two examples in a row.
    """
    rows = []
    for example in load_examples(detector.config.name):
        analysis = detector.analyze(example.path, example.record)
        save_analysis(FOLDER / f"{example.id}.npz", analysis, detector)
        print(f"{example.id:<34} percentile {analysis.percentile:.0f}")
        pictures = (analysis.analyzed_case.film.pixels, analysis.pseudo_healthy)
        films = [to_uint8(reduce_height(picture, THUMBNAIL)) for picture in pictures]
        difference = draw_difference(analysis, detector.scoring, THUMBNAIL)
        rows.append(np.hstack([*(cv2.cvtColor(film, cv2.COLOR_GRAY2RGB) for film in films), difference]))
    half = (len(rows) + 1) // 2
    rows += [np.zeros_like(rows[0])] * (2 * half - len(rows))
    sheet = np.vstack([np.hstack(pair) for pair in zip(rows[:half], rows[half:], strict=True)])
    path = FOLDER.parent.parent / "docs" / f"examples-{detector.config.name}.webp"
    cv2.imwrite(str(path), cv2.cvtColor(sheet, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_WEBP_QUALITY, 80])


def write_entries(entries: list[dict], checkpoint: str) -> None:
    """Replace a checkpoint's entries in examples.json; the others stay."""
    index = FOLDER / "examples.json"
    others = (
        [entry for entry in json.loads(index.read_text()) if entry["checkpoint"] != checkpoint]
        if index.exists()
        else []
    )
    index.write_text(json.dumps([*others, *entries], indent=1) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint")
    parser.add_argument("--training", default=None, help="manifest of the films that the checkpoint was trained on")
    parser.add_argument(
        "--results",
        action="store_true",
        help="keep the films; only store their results anew, for other weights or another score",
    )
    parser.add_argument("--sheet", default=None, help="only draw several seeds a case into this picture")
    options = parser.parse_args()
    detector = Detector.from_pretrained(options.checkpoint)
    if options.results:
        store_results(detector)
        return
    if detector.config.name == "phantoms":
        write_entries(rendered(detector), "phantoms")
        store_results(detector)
        return
    if not options.training:
        parser.error("--training is needed, to check that no drawn film is a copy of a training film")
    cases = yaml.safe_load((FOLDER / "cases.yaml").read_text(encoding="utf-8"))
    if options.sheet:
        rows = []
        for seed in range(10, 22):
            rows.append(np.hstack(list(drawn(detector, cases, seed))))
        cv2.imwrite(options.sheet, to_uint8(np.vstack(rows)))
        return

    films = load_films(read_manifest(options.training, detector.schema), detector.schema, detector.config.preprocessing)
    small = (
        np.stack([cv2.resize(film, (32, 32), interpolation=cv2.INTER_AREA) for film in films.images]).astype(np.float32)
        / 255
    )
    rng = np.random.default_rng(0)
    among = [nearest(small[i], np.delete(small, i, axis=0)) for i in rng.choice(len(small), 200, replace=False)]
    limit = float(np.percentile(among, 5))
    print(f"nearest other training film, 200 training films: median {np.median(among):.4f}, 5th percentile {limit:.4f}")

    entries = []
    for place, case in enumerate(cases):
        name, finding = case["id"], case.pop("finding", None)
        film = drawn(detector, cases, case["seed"])[place]
        distance = nearest(film, small)
        if distance < limit:
            raise SystemExit(
                f"{name}: its nearest training film is at {distance:.4f}, nearer than {limit:.4f}; choose another seed."
            )
        entry = {
            **case,
            "origin": ORIGIN,
            "checkpoint": detector.config.name,
            "file": f"{name}.png",
            "nearest_training_film": round(distance, 4),
        }
        if finding is not None:
            film, mask = paint_lesion(
                film, finding["kind"], tuple(finding["center"]), finding["extent"], finding["strength"], case["seed"]
            )
            entry["mask"] = f"{name}.mask.png"
            cv2.imwrite(
                str(FOLDER / entry["mask"]),
                cv2.resize(mask.astype(np.uint8) * 255, (SIDE, SIDE), interpolation=cv2.INTER_NEAREST),
            )
        cv2.imwrite(str(FOLDER / entry["file"]), to_uint8(enlarge(film, SIDE)))
        print(f"{name:<20} nearest training film {distance:.4f}")
        entries.append(entry)
    write_entries(entries, detector.config.name)
    store_results(detector)


if __name__ == "__main__":
    main()
