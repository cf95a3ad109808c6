"""Each idea of docs/performance.md on its own: what one analysis' reconstructions cost with that idea taken away.

    python benchmarks/ideas.py [--checkpoint real-films] [--repeats 7]

Medians of interleaved runs of one film; the ratio is to the reconstructions as shipped.
"""

from __future__ import annotations

import argparse
import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from unittest import mock

import numpy as np
import torch
import torch.nn.functional as F
from speed import LEVELS, copy_of, interleaved, masked_pixels, synthetic_film
from torch import Tensor

from diff3m.detector import Detector
from diff3m.diffusion import Schedule
from diff3m.reconstruct import predictor, reconstruct, steps_to


def explicit_attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """softmax(qkᵀ/√d)v in three steps."""
    return (q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5).softmax(-1) @ v


@contextmanager
def schedule_made_anew() -> Iterator[None]:
    """ᾱ computed from β at every use."""
    plain = property(Schedule.alpha_bars.func)
    with mock.patch.object(Schedule, "alpha_bars", plain):
        yield


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", default="real-films")
    parser.add_argument("--repeats", type=int, default=7)
    options = parser.parse_args()
    detector = Detector.from_pretrained(options.checkpoint)
    film, record = synthetic_film(), detector.schema.parse({"age": 60, "sex": "F", "view": "PA"})
    x0, scoring = detector.inputs([detector.case(film)]), detector.scoring
    values = torch.from_numpy(np.stack([detector.schema.encode(record)])).to(detector.device)
    plan = {level: steps_to(level, scoring.steps, scoring.noise_level) for level in LEVELS}
    plain = Detector(
        replace(detector.checkpoint, network=copy_of(detector.checkpoint)), detector.device, detector.precision
    )
    plain.network.to(memory_format=torch.contiguous_format)

    def run(who: Detector = detector, predict: Callable | None = None, each: bool = False) -> None:
        with torch.no_grad(), who.autocast():
            chosen = predict or predictor(who.network, who.network.condition(x0, values))
            for part in [{level: steps} for level, steps in plan.items()] if each else [plan]:
                reconstruct(x0, chosen, part, who.config.schedule)

    def conditioned_anew(x: Tensor, t: Tensor) -> Tensor:
        return predictor(detector.network, detector.network.condition(x0, values))(x, t)

    def with_masked(x: Tensor, t: Tensor, together: bool) -> Tensor:
        condition = detector.network.condition(x0, values).repeat(len(x))
        if together:
            detector.network.predict_masked_pixels(x, t, condition)
        else:
            masked_pixels(detector.network, x, t, condition)
        return detector.network.predict_noise(x, t, condition).float()

    def patched(context) -> None:
        with context:
            run()

    single = Detector(detector.checkpoint, detector.device, "float32")
    runs = {
        "as shipped": run,
        "float32 instead of bfloat16": lambda: run(single),
        "contiguous instead of channels_last": lambda: run(plain),
        "condition and image query at every step": lambda: run(predict=conditioned_anew),
        "masked pixels at every step too, both masks in one batch": lambda: run(
            predict=functools.partial(with_masked, together=True)
        ),
        "masked pixels at every step too, one mask after the other": lambda: run(
            predict=functools.partial(with_masked, together=False)
        ),
        "each noise level walked on its own": lambda: run(each=True),
        "attention in three steps instead of fused": lambda: patched(
            mock.patch.object(F, "scaled_dot_product_attention", explicit_attention)
        ),
        "noise schedule made anew at every use": lambda: patched(schedule_made_anew()),
    }
    seconds = interleaved(runs, options.repeats, detector.device)
    for name, value in seconds.items():
        print(f"{name:<60} {value:.3f} s  {value / seconds['as shipped']:.2f}")


if __name__ == "__main__":
    main()
