"""Equality with the released code, against tensors that it produced (tests/golden)."""

import json

import pytest
import torch
from conftest import GOLDEN
from safetensors.torch import load_file

from diff3m.diffusion import Schedule, add_noise, estimate_x0, implied_noise, walk
from diff3m.network import Diff3M, NetworkConfig
from diff3m.released import our_name, rename

TOLERANCE = 1e-4  # of the tensor's scale


@pytest.fixture(scope="module")
def released():
    settings = json.loads((GOLDEN / "tiny32.json").read_text())
    config = NetworkConfig(
        image_size=settings["image_size"], channels=settings["num_channels"],
        channel_multipliers=tuple(int(v) for v in settings["channel_mult"].split(",")), blocks_per_level=settings["num_res_blocks"],
        noise_head_channels=2, unknown_tokens=False,
    )  # fmt: skip
    network = Diff3M(config)
    network.load_state_dict(rename(load_file(GOLDEN / "tiny32.weights.safetensors"), config))
    io = load_file(GOLDEN / "tiny32.io.safetensors")
    sex, age, view = io["demographics"].unbind(1)
    values = torch.cat([torch.stack([age, 1 - sex, sex, 1 - view, view], 1), io["ehr"]], 1)
    return network.eval(), io, values


def equal(ours: torch.Tensor, theirs: torch.Tensor) -> bool:
    return bool((ours - theirs).abs().max() <= TOLERANCE * theirs.abs().max())


@torch.no_grad()
def test_a_pass_equals_the_released_one(released):
    network, io, values = released
    prediction, attention = network(io["x_t"], io["t"], io["x0"], values)
    assert equal(prediction.noise, io["noise_pred"])
    assert equal(prediction.masked_pixels, io["masked_pixel_pred"])
    assert equal(attention["demographics"], io["demographic_attention"])
    assert equal(attention["ehr"], io["ehr_attention"])
    loss = 0.5 * ((io["noise"] - prediction.noise).square() + (io["x_t"] - prediction.masked_pixels).square()).mean(dim=(1, 2, 3))
    assert equal(loss, io["loss"])


@torch.no_grad()
def test_steps_and_trajectories_equal_the_released_ones(released):
    network, io, values = released
    schedule, t = Schedule(released_rounding=True), io["t"]
    condition = network.condition(io["x0"], values)

    def predict(x, t):
        prediction = network.predict(x, t, condition)
        return prediction.noise, prediction.masked_pixels

    noise, pixels = predict(io["x_t"], t)
    x0 = estimate_x0(pixels, noise, t, schedule, (-1, 1))
    direction = implied_noise(io["x_t"], x0, t, schedule)
    assert equal(x0, io["pred_x0"])
    assert equal(add_noise(x0, direction, t + 1, schedule), io["ddim_inversion_step"])
    assert equal(add_noise(x0, direction, t - 1, schedule), io["ddim_denoise_step"])
    assert equal(walk(io["x0"], predict, range(1, 25), schedule, clamp=(-1, 1)), io["inverted_1_to_23"])
    assert equal(walk(io["inverted_1_to_23"], predict, range(23, -2, -1), schedule, clamp=(-1, 1)), io["denoised_23_to_0"])


@torch.no_grad()
def test_a_perturbed_weight_is_caught(released):
    network, io, values = released
    weight = network.masked_decoder.stages[0][0].conv1.weight
    saved = weight.clone()
    try:
        weight[0, 0, 1, 1] += 0.05
        prediction, _ = network(io["x_t"], io["t"], io["x0"], values)
        assert equal(prediction.noise, io["noise_pred"])
        assert not equal(prediction.masked_pixels, io["masked_pixel_pred"])
    finally:
        weight.copy_(saved)


def test_an_unknown_name_is_refused():
    with pytest.raises(ValueError, match="not a parameter"):
        our_name("classifier.weight")
