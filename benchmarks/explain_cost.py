"""Cost of every explanation of one case: seconds, and multiples of one analysis, medians of interleaved runs.

    python benchmarks/explain_cost.py [CHECKPOINT …] [--repeats 3]

The film is a phantom; the record is whole, so that no coalition is left out. What an explanation takes over from
another one is computed anew, so that each stands for itself.
"""

from __future__ import annotations

import argparse
import statistics
import time
from dataclasses import dataclass

from diff3m.checkpoint.source import shipped_checkpoints
from diff3m.data.phantom import make_person
from diff3m.detector import Detector
from diff3m.explain import Context, Request
from diff3m.explain.attribution import TARGETS
from diff3m.explain.needs import meets
from diff3m.imaging import Radiograph

NUMBER = 2_071_000
REGIONS = (("first", (0.2, 0.2, 0.4, 0.4)), ("second", (0.5, 0.5, 0.8, 0.8)))


@dataclass(frozen=True)
class Measurement:
    """Seconds of one explanation, median and cost class of the registry ("" for the analysis itself)."""

    title: str
    seconds: float
    cost: str = ""


def measure_costs(detector: Detector, repeats: int) -> list[Measurement]:
    """Time the analysis and every explanation that the checkpoint can give, each with nothing computed before it."""
    person = make_person(NUMBER)
    case = detector.case(Radiograph(person.render(256)), person.patient.to_record())
    number = "bmi" if detector.schema["bmi"].trained else "age"
    sex = "F" if person.patient.sex == "M" else "M"
    request = Request(targets=TARGETS, numbers=(number,), changes=(("sex", sex),), regions=REGIONS)
    explanations = [
        explanation
        for explanation in Context(detector, case, request).list_requested()
        if all(meets(detector, need) for need in explanation.needs)
    ]
    work = {"": lambda: detector.analyze(case)}
    for explanation in explanations:
        work[explanation.name] = lambda name=explanation.name: Context(detector, case, request).compute(name)
    seconds: dict[str, list[float]] = {name: [] for name in work}
    detector.analyze(case)
    for _ in range(repeats):
        for name, function in work.items():
            start = time.perf_counter()
            function()
            seconds[name].append(time.perf_counter() - start)
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    rows = [Measurement(entry.title, medians[entry.name], entry.cost) for entry in explanations]
    return [Measurement("analysis", medians[""]), *rows]


def main() -> None:
    """Print a table for each checkpoint."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoints", nargs="*", default=shipped_checkpoints())
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    for source in options.checkpoints:
        detector = Detector.from_pretrained(source)
        analysis, *explanations = measure_costs(detector, options.repeats)
        print(f"| {detector.config.name}, {detector.precision} on {detector.device} | seconds | analyses | cost |")
        print("|---|---|---|---|")
        for row in (analysis, *explanations):
            print(f"| {row.title} | {row.seconds:.2f} | {row.seconds / analysis.seconds:.1f} | {row.cost} |")
        print()


if __name__ == "__main__":
    main()
