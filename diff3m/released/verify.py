"""Proof of equality: our network on inputs for which the released code's outputs are known."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from ..checkpoint.folder import Checkpoint
from ..diffusion import add_noise, estimate_x0, implied_noise, walk
from ..reconstruct import make_predictor
from .inference import CLAMP, ReleasedSchedule
from .weights import ReleasedError, encode_released, load_released

TRAJECTORY = re.compile(r"(inverted|denoised)_(\d+)_to_(\d+)")


@dataclass(frozen=True)
class Difference:
    """One output tensor: the largest absolute difference, and the largest absolute value of the released one."""

    name: str
    largest: float
    scale: float

    def within(self, tolerance: float) -> bool:
        """Tell whether the difference is at most tolerance × scale; False for NaN."""
        return self.largest <= tolerance * max(self.scale, 1e-12)


def verify_released(stem: str | Path) -> list[Difference]:
    """Compare every output in STEM.io.safetensors with ours, from STEM.json and STEM.weights.safetensors.

    Outputs: noise_pred, masked_pixel_pred, demographic_attention, ehr_attention, pred_x0, ddim_inversion_step,
    ddim_denoise_step, loss, inverted_A_to_B (inversion steps at t = A..B from x0), denoised_A_to_B (denoising steps at
    t = A..B from the inverted tensor that ends at A, else from ours). Raises ReleasedError or CheckpointError.
    """
    files = {part: Path(f"{stem}{part}") for part in (".json", ".weights.safetensors", ".io.safetensors")}
    for path in files.values():
        if not path.is_file():
            raise ReleasedError(
                f"There is no file {path}. A stem needs STEM.json, STEM.weights.safetensors and STEM.io.safetensors."
            )
    settings = json.loads(files[".json"].read_text())
    checkpoint = load_released(files[".weights.safetensors"], settings)
    return compare_outputs(checkpoint, load_file(files[".io.safetensors"]))


@torch.no_grad()
def compare_outputs(checkpoint: Checkpoint, io: dict[str, Tensor]) -> list[Difference]:
    """Compare all outputs in `io`, in the order of the method. Raises ReleasedError for a tensor that is no output."""
    ours = _outputs(checkpoint, io)
    inputs = {"x0", "noise", "t", "x_t", "demographics", "ehr"}
    unknown = set(io) - inputs - set(ours)
    if unknown:
        raise ReleasedError(f"These tensors are no output that can be compared: {', '.join(sorted(unknown))}.")
    differences = []
    for name, tensor in ours.items():
        if name in io:
            theirs = io[name].double()
            differences.append(
                Difference(name, float((tensor.double() - theirs).abs().max()), float(theirs.abs().max()))
            )
    return differences


def _outputs(checkpoint: Checkpoint, io: dict[str, Tensor]) -> dict[str, Tensor]:
    network, schedule = checkpoint.network, ReleasedSchedule.of(checkpoint.config.schedule)
    x0, x_t, t, values = io["x0"], io["x_t"], io["t"], encode_released(io["demographics"], io["ehr"])
    condition = network.condition(x0, values)
    predict = make_predictor(network, condition, "masked_pixels")
    noise, pixels = predict(x_t, t)
    estimate = estimate_x0(pixels, noise, t, schedule, CLAMP)
    direction = implied_noise(x_t, estimate, t, schedule)
    outputs = {
        "noise_pred": noise,
        "masked_pixel_pred": pixels,
        "demographic_attention": condition.attention["demographics"],
        "ehr_attention": condition.attention["ehr"],
        "pred_x0": estimate,
        "ddim_inversion_step": add_noise(estimate, direction, t + 1, schedule),
        "ddim_denoise_step": add_noise(estimate, direction, t - 1, schedule),
        "loss": 0.5 * ((io["noise"] - noise).square() + (x_t - pixels).square()).mean(dim=(1, 2, 3)),
    }
    walks = sorted(
        (match for match in map(TRAJECTORY.fullmatch, io) if match), key=lambda match: match[1], reverse=True
    )
    ends: dict[int, Tensor] = {}  # the inverted tensors by their last t
    for match in walks:
        name, (start, end) = match[0], (int(match[2]), int(match[3]))
        if match[1] == "inverted":
            outputs[name] = walk(x0, predict, range(start, end + 2), schedule, clamp=CLAMP)
            ends[end] = io[name]
        else:
            begin = ends[start] if start in ends else walk(x0, predict, range(1, start + 2), schedule, clamp=CLAMP)
            outputs[name] = walk(begin, predict, range(start, end - 2, -1), schedule, clamp=CLAMP)
    return outputs
