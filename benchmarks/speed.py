"""Speed of one analysis against a straightforward evaluation of the same formulas, and against the arithmetic floor.

    python benchmarks/speed.py [--checkpoint real-films] [--repeats 7] [--paper] [--out FILE.json]

Medians of interleaved runs at the same weights and settings. "Straightforward" reads the formulas of docs/method.md
literally: every branch and the image query at every step, float32, contiguous tensors, one film and one noise level at
a time. --paper adds the published network (256², 128 channels, random weights, few steps): on a CPU minutes, on a GPU
seconds.
"""

from __future__ import annotations

import argparse
import itertools
import json
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from diff3m.checkpoint.folder import Checkpoint, CheckpointConfig
from diff3m.detector import Detector
from diff3m.diffusion import ddim_step, ddim_timesteps
from diff3m.ehr import paper_schema
from diff3m.imaging import Preprocessing, Radiograph
from diff3m.network import Condition, Diff3M, preset
from diff3m.network.masking import checkerboard, masks
from diff3m.reconstruct import CLAMP, scale_steps
from diff3m.scoring.score import Component, Scoring

LEVELS = (
    200,
    400,
    720,
)  # a film inverted to three levels and denoised: 51 passes, the same work whatever a checkpoint's score needs


def straightforward(detector: Detector, x0: Tensor, values: Tensor, plan: dict[int, int]) -> dict[int, Tensor]:
    """Reconstructions by noise level, as the formulas read: nothing shared, nothing skipped."""
    network, schedule, estimates = detector.network, detector.config.schedule, {}

    def predict(x: Tensor, t: Tensor) -> Tensor:
        condition = network.condition(x0, values)
        noise = network.predict_noise(x, t, condition)
        masked_pixels(network, x, t, condition)  # part of every pass, whether or not its result is used
        return noise

    for level, steps in plan.items():
        x = x0
        path = ddim_timesteps(level, steps)
        for walk in (path, path[::-1]):
            for t, t_next in itertools.pairwise(walk):
                x, _ = ddim_step(x, predict, t, t_next, schedule, CLAMP)
        estimates[level] = x.clamp(*CLAMP)
    return estimates


def masked_pixels(network: Diff3M, x: Tensor, t: Tensor, condition: Condition) -> Tensor:
    """x̃_t with the two masked branches one after the other and the masks made anew."""
    time_embedding = network.embed_time(t)
    e = network.encoder_embedding(time_embedding, condition)
    m1, m2 = masks(t, checkerboard(network.config.image_size).to(x.device))
    first, second = network.masked_encoders[0], network.masked_encoders[-1]
    features = first(x * m1, e)
    g1 = network.masked_decoder(features, network.decoder_embedding(time_embedding, condition, features))
    features = second(x * m2, e)
    g2 = network.masked_decoder(features, network.decoder_embedding(time_embedding, condition, features))
    return g1 * m2 + g2 * m1


def timed(function: Callable[[], object], device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    start = time.perf_counter()
    function()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - start


def interleaved(runs: dict[str, Callable[[], object]], repeats: int, device: torch.device) -> dict[str, float]:
    """Median seconds of each, run in turn after one warm-up of each."""
    times: dict[str, list[float]] = {name: [] for name in runs}
    for function in runs.values():
        function()
    for _ in range(repeats):
        for name, function in runs.items():
            times[name].append(timed(function, device))
    return {name: statistics.median(values) for name, values in times.items()}


def convolution_rate(detector: Detector, x0: Tensor, values: Tensor, repeats: int) -> float:
    """FLOP/s of the noise branch's own convolutions alone.

    Each runs on an input of its own shape, in the detector's precision and layout.
    """
    shapes: list[tuple[torch.nn.Module, torch.Size]] = []
    hooks = [
        module.register_forward_hook(lambda m, args, out: shapes.append((m, args[0].shape)))
        for module in detector.network.modules()
        if isinstance(module, torch.nn.Conv2d)
    ]
    with torch.no_grad(), detector.autocast():
        condition = detector.network.condition(x0, values)
        shapes.clear()
        detector.network.predict_noise(x0, torch.full((len(x0),), 200, device=x0.device), condition)
    for hook in hooks:
        hook.remove()
    dtype = torch.bfloat16 if detector.precision == "bfloat16" else torch.float32
    ready = [
        (
            torch.nn.functional.conv2d,
            torch.randn(shape, device=x0.device, dtype=dtype).contiguous(memory_format=torch.channels_last),
            module.weight.detach().to(dtype).contiguous(memory_format=torch.channels_last),
            module.bias.detach().to(dtype),
            module.stride,
            module.padding,
        )
        for module, shape in shapes
    ]

    def all_of_them() -> None:
        for function, *arguments in ready:
            function(*arguments)

    with torch.no_grad():
        with FlopCounterMode(display=False) as counter:
            all_of_them()
        seconds = interleaved({"convolutions": all_of_them}, 5 * repeats, x0.device)["convolutions"]
    return counter.get_total_flops() / seconds


def measure_detector(checkpoint: Checkpoint, film: Radiograph, record: dict, repeats: int, device: str | None) -> dict:
    """Measure float32 and bfloat16 against the straightforward form.

    Returns seconds, ratios, differences and the distance from the floor.
    """
    full = Detector(checkpoint, device, "float32")
    records = [full.schema.parse(record)]
    x0 = full.inputs([full.case(film)])
    values = torch.from_numpy(np.stack([full.schema.encode(records[0])])).to(full.device)
    scoring = full.scoring
    plan = {level: scale_steps(level, scoring.steps, scoring.noise_level) for level in LEVELS}
    keys = [("inversion", level) for level in plan]

    plain = Detector(replace(checkpoint, network=copy_of(checkpoint)), device, "float32")
    plain.network.to(memory_format=torch.contiguous_format)

    def ours(detector: Detector) -> dict[int, Tensor]:
        return dict(detector.estimates(x0, detector.condition(x0, records), keys, detector.settings()).inversion)

    with torch.no_grad():
        reference = straightforward(plain, x0, values, plan)
        runs = {
            "straightforward float32": lambda: torch.no_grad()(straightforward)(plain, x0, values, plan),
            "ours float32": lambda: ours(full),
        }
        half = Detector(checkpoint, device, "bfloat16")
        runs |= {"ours bfloat16": lambda: ours(half), "whole analysis bfloat16": lambda: half.analyze(film, record)}
        seconds = interleaved(runs, repeats, full.device)
        differences = {
            name: max(float((ours(detector)[level] - reference[level]).abs().max()) for level in plan)
            for name, detector in (("float32", full), ("bfloat16", half))
        }
        mean_difference = max(float((ours(half)[level] - reference[level]).abs().mean()) for level in plan)
        half.network.requires_grad_(False)  # the counter fails on parameters that require gradients
        with FlopCounterMode(display=False) as counter:
            ours(half)
        rate = convolution_rate(half, x0, values, repeats)
    floor = counter.get_total_flops() / rate
    base = seconds["straightforward float32"]
    result = {
        "seconds": seconds,
        "ratio": {name: base / value for name, value in seconds.items()},
        "largest_difference": differences,
        "mean_difference_bfloat16": mean_difference,
        "gflop_needed": counter.get_total_flops() / 1e9,
        "convolution_gflops_per_second": rate / 1e9,
        "floor_seconds": floor,
        "whole_analysis_over_floor": seconds["whole analysis bfloat16"] / floor,
    }
    if scoring.calibration:
        scores = [
            Detector(checkpoint, device, precision).analyze(film, record).score for precision in ("float32", "bfloat16")
        ]
        result["score_float32_bfloat16"] = scores
    return result


def copy_of(checkpoint: Checkpoint) -> Diff3M:
    network = Diff3M(checkpoint.config.network, checkpoint.config.schedule)
    network.load_state_dict(checkpoint.network.state_dict())
    return network


def throughput(checkpoint: Checkpoint, film: Radiograph, record: dict, device: str | None) -> dict[int, float]:
    """Films a second by batch size."""
    detector = Detector(checkpoint, device)
    rates = {}
    for batch in (1, 2, 4, 8, 16, 32):
        cases = [detector.case(film, record)] * batch
        list(detector.analyze_many(cases, batch_size=batch))
        times = [
            timed(lambda c=cases, b=batch: list(detector.analyze_many(c, batch_size=b)), detector.device)
            for _ in range(3)
        ]
        rates[batch] = batch / statistics.median(times)
    return rates


def paper_checkpoint() -> Checkpoint:
    """The published network with random weights and few steps: for its cost, not its pictures."""
    schema = paper_schema()
    network_config = preset("paper", slots=schema.slots)
    torch.manual_seed(0)
    network = Diff3M(network_config)
    scoring = Scoring((Component("mse", 0, 400),), steps=2, margin=0.0)
    return Checkpoint(
        CheckpointConfig("paper", network_config, schema, preprocessing=Preprocessing(256), scoring=scoring),
        network.eval(),
    )


def synthetic_film(size: int = 512) -> Radiograph:
    y, x = np.mgrid[0:size, 0:size] / size
    film = 0.8 - sum(0.5 * np.exp(-(((x - c) / 0.13) ** 2) - ((y - 0.45) / 0.28) ** 2) for c in (0.3, 0.7))
    return Radiograph((film + 0.02 * np.random.default_rng(0).normal(size=film.shape)).clip(0, 1).astype(np.float32))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", default="real-films")
    parser.add_argument("--device", default=None)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--paper", action="store_true")
    parser.add_argument("--out", default=None)
    options = parser.parse_args()
    film, record = synthetic_film(), {"age": 60, "sex": "F", "view": "PA"}
    checkpoint = Detector.from_pretrained(options.checkpoint, device=options.device).checkpoint
    device = "cuda" if torch.cuda.is_available() and options.device is None else (options.device or "cpu")
    name = (
        torch.cuda.get_device_name()
        if device.startswith("cuda")
        else f"{platform.machine()}, {torch.get_num_threads()} threads"
    )
    result = {"machine": name, "torch": torch.__version__}
    result[checkpoint.config.name] = measure_detector(checkpoint, film, record, options.repeats, device)
    result["films_per_second_by_batch"] = throughput(checkpoint, film, record, device)
    if options.paper:
        result["paper"] = measure_detector(paper_checkpoint(), film, record, max(1, options.repeats // 3), device)
    text = json.dumps(result, indent=1)
    print(text)
    if options.out:
        with open(options.out, "w") as file:
            file.write(text + "\n")


if __name__ == "__main__":
    main()
