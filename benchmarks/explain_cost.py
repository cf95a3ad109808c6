"""Cost of every explanation of one case: seconds, and multiples of one analysis, medians of interleaved runs.

    python benchmarks/explain_cost.py [CHECKPOINT …] [--repeats 3]

The film is a phantom; the record is whole, so that no coalition is left out.
"""

from __future__ import annotations

import argparse
import statistics
import time

from diff3m.checkpoint.source import shipped_checkpoints
from diff3m.data.phantom import person
from diff3m.detector import Detector
from diff3m.explain import (
    attention_by_group,
    attribute,
    attribute_regions,
    counterfactual,
    influence,
    information,
    integrated_gradients,
    uncertainty,
)
from diff3m.imaging import Radiograph

NUMBER = 2_071_000
BOXES = (None, (0.2, 0.2, 0.4, 0.4), (0.5, 0.5, 0.8, 0.8))


def costs(detector: Detector, repeats: int) -> dict[str, float]:
    """Median seconds by explanation."""
    who = person(NUMBER)
    film, record = Radiograph(who.film(256)), who.patient.record()
    number = "bmi" if detector.schema["bmi"].trained else "age"
    work = {
        "analysis": lambda: detector.analyze(film, record),
        "attribution of the misfit, groups": lambda: attribute(detector, film, record, parts=False),
        "attribution of the misfit, groups and single values": lambda: attribute(detector, film, record),
        "attribution of what is expected before the film, groups": lambda: attribute(
            detector, film, record, target="prior", parts=False
        ),
        "attention by group": lambda: attention_by_group(detector, film, record),
        "attribution of the anomaly score, groups": lambda: attribute(
            detector, film, record, target="score", parts=False
        ),
        "attribution of three regions": lambda: attribute_regions(detector, film, record, BOXES),
        "integrated gradients of the misfit": lambda: integrated_gradients(detector, film, record),
        "influence curve of 9 points (misfit, region)": lambda: influence(detector, film, record, number, strip=False),
        "influence curve of 9 points with the score": lambda: influence(
            detector, film, record, number, strip=False, score=True
        ),
        "influence curve of 9 points with its strip": lambda: influence(detector, film, record, number),
        "influence curve of 9 points with score and strip, as on the page": lambda: influence(
            detector, film, record, number, score=True
        ),
        "known, unknown and another record, drawn": lambda: counterfactual(
            detector, film, record, [{}, {**record, "sex": "F"}]
        ),
        "information": lambda: information(detector, film, record),
        "spread over levels and seeds": lambda: uncertainty(detector, film, record),
    }
    taken: dict[str, list[float]] = {name: [] for name in work}
    detector.analyze(film, record)
    for _ in range(repeats):
        for name, function in work.items():
            began = time.perf_counter()
            function()
            taken[name].append(time.perf_counter() - began)
    return {name: statistics.median(values) for name, values in taken.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoints", nargs="*", default=shipped_checkpoints())
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    for source in options.checkpoints:
        detector = Detector.from_pretrained(source)
        found = costs(detector, options.repeats)
        print(
            f"| {detector.config.name}, {detector.precision} on {detector.device} | seconds | analyses |\n|---|---|---|"
        )
        for name, seconds in found.items():
            print(f"| {name} | {seconds:.2f} | {seconds / found['analysis']:.1f} |")
        print()


if __name__ == "__main__":
    main()
