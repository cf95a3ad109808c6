"""Films a second on a GPU: the shipped and the published network, by batch size, eager, compiled and with CUDA graphs.

    make bench-gpu        (python benchmarks/gpu.py --out runs/bench-gpu [--minutes 30])

Whole analyses of films that are prepared already, in bfloat16. `compile` is torch.compile, `graphs` the same with CUDA
graphs (mode "reduce-overhead"): both compile the noise branch, which every step of the walk calls. What does not fit
into memory or does not compile is written down as such. gpu.json and gpu.md are written.
"""

from __future__ import annotations

import argparse
import itertools
import json
import platform
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from speed import paper_checkpoint, synthetic_film

from diff3m.case import Case
from diff3m.checkpoint.folder import Checkpoint, load_checkpoint
from diff3m.checkpoint.source import resolve_checkpoint
from diff3m.detector import Detector

RECORD = {"age": 60, "sex": "F", "view": "PA", "bmi": 27}
# the quickest first
MODES: dict[str, dict | None] = {"eager": None, "graphs": {"mode": "reduce-overhead"}, "compile": {}}
BATCHES = (1, 8, 32, 128)
REPEATS = 5


@contextmanager
def compiled(detector: Detector, options: dict | None) -> Iterator[None]:
    """Context in which the detector's noise branch is compiled. options: of torch.compile; None leaves it as it is."""
    network = detector.network
    if options is None:
        yield
        return
    torch._dynamo.reset()
    # a clone, because CUDA graphs write every result into the same memory
    branch = torch.compile(type(network).predict_noise, dynamic=False, **options)
    network.predict_noise = lambda *arguments: branch(network, *arguments).clone()
    try:
        yield
    finally:
        del network.predict_noise
        torch._dynamo.reset()


def seconds_of(function: Callable[[], object], device: torch.device, repeats: int) -> float:
    """Return the median seconds of a function that has been called before."""
    times = []
    for _ in range(repeats):
        _synchronize(device)
        start = time.perf_counter()
        function()
        _synchronize(device)
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def _synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def measure(detector: Detector, case: Case, batch: int, mode: str, repeats: int, expected: np.ndarray) -> dict:
    """Measure one mode at one batch size.

    expected: the eager reconstruction of the case, which the other modes must give. Returns films_per_second,
    seconds_a_batch, peak_gib, first_seconds (with compiling) and largest_difference; or "failure", a line.
    """
    if detector.device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(detector.device)
    start = time.perf_counter()
    try:
        with compiled(detector, MODES[mode]):

            def analyze() -> np.ndarray:
                first, *_ = detector.analyze_many([case] * batch, batch_size=batch)
                return first.reconstruction

            reconstruction = analyze()
            _synchronize(detector.device)
            first_seconds = time.perf_counter() - start
            seconds = seconds_of(analyze, detector.device, repeats)
    except torch.OutOfMemoryError:
        return {"failure": "out of memory"}
    except Exception as error:  # torch.compile raises many kinds; the other measurements are not lost
        return {"failure": f"{type(error).__name__}: {str(error).strip().splitlines()[0][:160]}"}
    peak = torch.cuda.max_memory_allocated(detector.device) / 2**30 if detector.device.type == "cuda" else None
    return {
        "films_per_second": batch / seconds,
        "seconds_a_batch": seconds,
        "first_seconds": first_seconds,
        "peak_gib": peak,
        "largest_difference": float(np.abs(reconstruction - expected).max()),
    }


@dataclass(frozen=True)
class Subject:
    """A network to be measured: its detector, a prepared case, and the eager reconstruction of that."""

    detector: Detector
    case: Case
    expected: np.ndarray
    facts: dict

    @classmethod
    def of(cls, checkpoint: Checkpoint, device: str) -> Subject:
        """Prepare a network, and count the passes of the noise branch's encoder in one analysis."""
        detector, calls = Detector(checkpoint, device), []
        record = {name: value for name, value in RECORD.items() if name in detector.schema}
        case = detector.case(synthetic_film(), record)
        handle = detector.network.noise_encoder.register_forward_hook(lambda *_: calls.append(1))
        expected = detector.analyze(case).reconstruction
        handle.remove()
        facts = {
            "side": detector.config.network.image_size,
            "precision": detector.precision,
            "passes": len(calls),
            "parameters": sum(parameter.numel() for parameter in detector.network.parameters()),
        }
        return cls(detector, case, expected, facts)


def table(result: dict) -> str:
    """Write the result as Markdown: films a second by batch size, a row for each network and mode."""
    head = f"{result['machine']}, torch {result['torch']}"
    rows = [
        head,
        "",
        "| network | mode | batch | films/s | peak memory, GiB | largest difference |",
        "|---|---|---|---|---|---|",
    ]
    for name, network in result["networks"].items():
        label = f"{name}, {network['side']}², {network['passes']} passes, {network['precision']}"
        for mode, batches in network["modes"].items():
            for batch, entry in batches.items():
                if "failure" in entry:
                    values = [entry["failure"].replace("|", "/"), "–", "–"]
                else:
                    peak = "–" if entry["peak_gib"] is None else f"{entry['peak_gib']:.1f}"
                    values = [f"{entry['films_per_second']:.1f}", peak, f"{entry['largest_difference']:.1e}"]
                rows.append(f"| {label} | {mode} | {batch} | {' | '.join(values)} |")
    return "\n".join(rows) + "\n"


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", required=True, metavar="DIR")
    parser.add_argument("--device", default=None, help="default: the GPU")
    parser.add_argument("--checkpoint", default="real-films")
    parser.add_argument("--batches", type=int, nargs="+", default=BATCHES)
    parser.add_argument("--modes", nargs="+", choices=MODES, default=list(MODES))
    parser.add_argument("--repeats", type=int, default=REPEATS)
    parser.add_argument("--minutes", type=float, default=30, help="after which no measurement is begun")
    parser.add_argument("--no-paper", action="store_true", help="leave the published network out")
    options = parser.parse_args(arguments)
    device = options.device or ("cuda" if torch.cuda.is_available() else None)
    if device is None:
        raise SystemExit("There is no GPU here. Give --device cpu to measure the processor.")
    checkpoints = [load_checkpoint(resolve_checkpoint(options.checkpoint))]
    checkpoints += [] if options.no_paper else [paper_checkpoint()]
    subjects = {checkpoint.config.name: Subject.of(checkpoint, device) for checkpoint in checkpoints}
    on_gpu = torch.device(device).type == "cuda"
    result: dict = {
        "machine": torch.cuda.get_device_name(device) if on_gpu else f"{platform.machine()} processor",
        "torch": torch.__version__,
        "networks": {name: {**subject.facts, "modes": {}} for name, subject in subjects.items()},
    }
    out, start = Path(options.out), time.perf_counter()
    out.mkdir(parents=True, exist_ok=True)
    for mode, (name, subject), batch in itertools.product(options.modes, subjects.items(), options.batches):
        if time.perf_counter() - start > 60 * options.minutes:
            entry = {"failure": f"not measured: {options.minutes:g} minutes were over"}
        else:
            entry = measure(subject.detector, subject.case, batch, mode, options.repeats, subject.expected)
        result["networks"][name]["modes"].setdefault(mode, {})[batch] = entry
        (out / "gpu.json").write_text(json.dumps(result, indent=1) + "\n")  # a run that is ended is not lost
        (out / "gpu.md").write_text(table(result))
    print(table(result))


if __name__ == "__main__":
    main()
