"""Equality with the released code, against tensors that it produced (tests/golden)."""

import json
import pickle
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers import GOLDEN, drawn_film
from safetensors.torch import load_file, save_file

from diff3m.checkpoint.folder import CheckpointConfig, CheckpointError
from diff3m.cli.main import main
from diff3m.detector import Detector
from diff3m.diffusion import Schedule
from diff3m.network import Diff3M, NetworkConfig
from diff3m.released.inference import RELEASED_SCORING, ReleasedSchedule, reconstruct_as_released
from diff3m.released.verify import verify_released
from diff3m.released.weights import (
    ReleasedError,
    load_released,
    read_network_config,
    read_schedule,
    read_weights,
    rename_weights,
    translate_name,
)
from diff3m.scoring.score import Component

OUTPUTS = {
    "noise_pred",
    "masked_pixel_pred",
    "demographic_attention",
    "ehr_attention",
    "pred_x0",
    "ddim_inversion_step",
    "ddim_denoise_step",
    "loss",
    "inverted_1_to_23",
    "denoised_23_to_0",
}


@pytest.fixture
def stem(tmp_path):
    """A copy of the golden files, to be changed."""
    for path in GOLDEN.glob("tiny32*"):
        shutil.copy(path, tmp_path)
    return tmp_path / "tiny32"


def test_every_output_equals_the_released_one():
    differences = verify_released(GOLDEN / "tiny32")
    assert {difference.name for difference in differences} == OUTPUTS
    for difference in differences:
        assert difference.scale > 0.1 and difference.within(1e-4), difference


@pytest.mark.slow
def test_the_command_passes_and_can_fail(stem, capsys):
    assert main(["verify-released", str(stem)]) == 0
    weights = load_file(f"{stem}.weights.safetensors")
    weights["apm_mask_output_blocks.1.0.in_layers.2.weight"][0, 0, 1, 1] += 0.05
    save_file(weights, f"{stem}.weights.safetensors")
    assert main(["verify-released", str(stem)]) == 1
    lines = {line.split()[0]: line.split()[-1] for line in capsys.readouterr().out.splitlines()[-10:]}
    assert (
        lines["noise_pred"] == "ok"
        and lines["masked_pixel_pred"] == "DIFFERS"
        and lines["denoised_23_to_0"] == "DIFFERS"
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        "x_start_blocks.1.0.in_layers.2.weight",
        "time_embed.0.weight",
        "ehr_tokenizer.b_embedding_layer.weight",
    ],
)
def test_any_perturbed_weight_is_caught(stem, name):
    weights = load_file(f"{stem}.weights.safetensors")
    weights[name] = weights[name] + 0.05 * torch.randn(weights[name].shape, generator=torch.Generator().manual_seed(0))
    save_file(weights, f"{stem}.weights.safetensors")
    assert not all(difference.within(1e-4) for difference in verify_released(stem))


def released_state(config: NetworkConfig) -> dict[str, torch.Tensor]:
    """Random weights under the released names, laid out block by block as that code lists them."""
    state: dict[str, torch.Tensor] = {}

    def convolution(name, out, width, kernel=3):
        state[f"{name}.weight"], state[f"{name}.bias"] = (
            torch.randn(out, width, kernel, kernel) * 0.1,
            torch.randn(out) * 0.1,
        )

    def norm(name, width):
        state[f"{name}.weight"], state[f"{name}.bias"] = torch.ones(width), torch.zeros(width)

    def residual(name, width, out):
        norm(f"{name}.in_layers.0", width), convolution(f"{name}.in_layers.2", out, width)
        state[f"{name}.emb_layers.1.weight"], state[f"{name}.emb_layers.1.bias"] = (
            torch.randn(out, d) * 0.1,
            torch.zeros(out),
        )
        norm(f"{name}.out_layers.0", out), convolution(f"{name}.out_layers.3", out, out)
        if width != out:
            convolution(f"{name}.skip_connection", out, width, 1)

    def attention(name, width):
        norm(f"{name}.norm", width)
        state[f"{name}.qkv.weight"], state[f"{name}.qkv.bias"] = (
            torch.randn(3 * width, width, 1) * 0.1,
            torch.zeros(3 * width),
        )
        state[f"{name}.proj_out.weight"], state[f"{name}.proj_out.bias"] = (
            torch.randn(width, width, 1) * 0.1,
            torch.zeros(width),
        )

    d, widths = config.embedding_width, config.widths
    for name, (out, width) in {
        "time_embed.0": (d, config.channels),
        "time_embed.2": (d, d),
        "x_start_output_linear.0": (d, widths[-1]),
    }.items():
        state[f"{name}.weight"], state[f"{name}.bias"] = torch.randn(out, width) * 0.1, torch.zeros(out)
    norm("x_start_output_linear.1", d), norm("emb_norm", d)
    for name, rows in (("demo_tokenizer", 6), ("ehr_tokenizer", 5)):
        norm(f"{name}.norm", d)
        for part in "wb":
            state[f"{name}.{part}_embedding_layer.weight"] = torch.randn(rows, d)
    mirrored: list[int] = []
    for prefix in ("input_blocks", "apm_mask1_input_blocks", "apm_mask2_input_blocks", "x_start_blocks"):
        convolution(f"{prefix}.0.0", widths[0], 1)
        index, width, size, mirrored = 1, widths[0], config.image_size, [widths[0]]
        for level, target in enumerate(widths):
            for _ in range(config.blocks_per_level):
                residual(f"{prefix}.{index}.0", width, target)
                width = target
                if size in config.attention_resolutions:
                    attention(f"{prefix}.{index}.1", width)
                index, mirrored = index + 1, [*mirrored, width]
            if level < len(widths) - 1:
                convolution(f"{prefix}.{index}.0.op", width, width)
                index, size, mirrored = index + 1, size // 2, [*mirrored, width]
    for middle, output, head, out in (
        ("middle_block", "output_blocks", "out", 2),
        ("apm_mask_middle_blocks", "apm_mask_output_blocks", "apm_mask_out", 1),
    ):
        width, size, index, skip_widths = widths[-1], config.image_size // 2 ** (len(widths) - 1), 0, list(mirrored)
        residual(f"{middle}.0", width, width), attention(f"{middle}.1", width), residual(f"{middle}.2", width, width)
        for level, target in reversed(list(enumerate(widths))):
            for block in range(config.blocks_per_level + 1):
                residual(f"{output}.{index}.0", width + skip_widths.pop(), target)
                width, place = target, 1
                if size in config.attention_resolutions:
                    attention(f"{output}.{index}.1", width)
                    place = 2
                if level and block == config.blocks_per_level:
                    convolution(f"{output}.{index}.{place}.conv", width, width)
                    size *= 2
                index += 1
        norm(f"{head}.0", width), convolution(f"{head}.2", out, width)
    return state


@pytest.mark.parametrize(
    ("size", "multipliers", "blocks", "attention_sizes", "heads"),
    [
        (32, "1,2", 1, (16,), 1),
        (32, "1,2,2", 2, (16, 8), 1),
        (64, "1,1,2", 3, (), 4),
        (64, "", 1, (8,), 1),
        (16, "1", 2, (16,), 2),
    ],
)
def test_other_configurations_load_and_run(size, multipliers, blocks, attention_sizes, heads, tmp_path):
    numbers = tuple(int(m) for m in multipliers.split(",")) if multipliers else (1, 2, 3, 4)
    expected = NetworkConfig(
        image_size=size,
        channels=32,
        channel_multipliers=numbers,
        blocks_per_level=blocks,
        attention_resolutions=tuple(sorted(attention_sizes)),
        attention_heads=heads,
        noise_head_channels=2,
        unknown_tokens=False,
    )
    state = released_state(expected)
    settings = {
        "image_size": size,
        "num_channels": 32,
        "channel_mult": multipliers,
        "num_res_blocks": blocks,
        "num_heads": heads,
    }
    assert read_network_config(settings, state) == expected
    torch.save({f"module.{name}": tensor for name, tensor in state.items()}, tmp_path / "w.pt")
    checkpoint = load_released(tmp_path / "w.pt", settings)
    with torch.no_grad():
        prediction, _ = checkpoint.network(
            torch.randn(1, 1, size, size), torch.tensor([9]), torch.rand(1, 1, size, size), torch.randn(1, 10)
        )
    assert torch.isfinite(prediction.noise).all() and prediction.noise.shape == (1, 1, size, size)


@pytest.mark.slow
def test_imported_weights_analyze_as_released(tmp_path, capsys):
    out = tmp_path / "imported"
    assert (
        main(
            [
                "import-released",
                str(GOLDEN / "tiny32.weights.safetensors"),
                "--config",
                str(GOLDEN / "tiny32.json"),
                "--out",
                str(out),
            ]
        )
        == 0
    )
    assert "general adult values" in capsys.readouterr().out
    detector = Detector.from_pretrained(out, device="cpu", precision="float32")
    assert detector.scoring == RELEASED_SCORING
    detector = detector.with_scoring(
        replace(RELEASED_SCORING, components=(Component("mse", 0, 30),))
    )  # 58 passes, not 798
    assert verify_names(detector.network)
    record = {
        "age": 63,
        "sex": "F",
        "view": "PA",
        "bmi": 25,
        "systolic_mmhg": 120,
        "diastolic_mmhg": 80,
        "height_cm": 170,
        "weight_kg": 72,
    }
    progress = []
    analysis = detector.analyze(drawn_film(100), record, noise_level=30, callback=progress.append)
    assert progress[-1].done == progress[-1].total and np.isfinite(analysis.reconstruction).all()
    with pytest.raises(ValueError, match="missing value"):
        detector.analyze(drawn_film(100), {"age": 63})


def verify_names(network: Diff3M) -> bool:
    """Every parameter of the network has exactly one released name."""
    state = load_file(GOLDEN / "tiny32.weights.safetensors")
    return {translate_name(name) for name in state} == set(network.state_dict()) and len(
        {translate_name(name) for name in state}
    ) == len(state)


def test_the_released_loop_makes_its_798_passes_at_its_timesteps():
    timesteps = []

    def predict(x, t):
        timesteps.append(int(t[0]))
        return torch.zeros_like(x), x

    progress = []
    reconstruct_as_released(
        torch.rand(1, 1, 8, 8), predict, 400, torch.randn(1, 1, 8, 8), read_schedule({}), progress.append
    )
    assert len(timesteps) == 798 == progress[-1].total == progress[-1].done
    assert timesteps == [*range(1, 400), *range(398, -1, -1)]


def test_the_released_schedule_rounds_only_the_level_stepped_to():
    exact, released_schedule = Schedule(), ReleasedSchedule.of(Schedule())
    like = torch.zeros(1, 1, 1, 1)
    for t in (0, 5, 400):
        a = exact.alpha_bar(t)
        signal, sigma = (value.item() for value in released_schedule.target_coefficients(t, like))
        assert signal == pytest.approx(a.sqrt().item(), rel=1e-6)
        assert sigma == ((1 - a.float()).sqrt()).item(), "1 − ᾱ is taken in float32"
        assert released_schedule.coefficients(t, like)[1].item() == pytest.approx((1 - a).sqrt().item(), rel=1e-7)
    gap = abs(released_schedule.target_coefficients(0, like)[1] / exact.target_coefficients(0, like)[1] - 1)
    assert 1e-5 < gap < 1e-3, "1 − ᾱ cancels at t = 0"


def test_configurations_that_state_the_rounding_are_read():
    config = load_released(GOLDEN / "tiny32.weights.safetensors", GOLDEN / "tiny32.json").config
    values = config.to_dict()
    values["diffusion"]["released_rounding"] = True
    assert CheckpointConfig.from_dict(values) == config and config.scoring.reconstruction == "released"


def test_given_constants_reach_the_schema_in_our_units():
    settings = {
        **json.loads((GOLDEN / "tiny32.json").read_text()),
        "ehr_mean": [28, 130, 75, 66, 180],
        "ehr_std": [7, 20, 11, 4, 45],
    }
    schema = load_released(GOLDEN / "tiny32.weights.safetensors", settings).config.schema
    assert schema["height_cm"].mean == pytest.approx(167.64) and schema["weight_kg"].std == pytest.approx(
        20.41, abs=0.01
    )
    assert schema["age"].encode(100.0) == [1.0] and schema["age"].encode(1.0) == [0.0]


class Harm:
    def __reduce__(self):
        return (print, ("harm",))


def test_files_with_anything_but_tensors_are_refused(tmp_path, capsys):
    for name, value in {"code.pt": {"a": Harm()}, "numbers.pt": {"a": 1}, "list.pt": [1, 2]}.items():
        torch.save(value, tmp_path / name)
        with pytest.raises(ReleasedError, match="state dict"):
            read_weights(tmp_path / name)
    (tmp_path / "raw.pt").write_bytes(pickle.dumps(Harm()))
    for path in (tmp_path / "raw.pt", tmp_path / "absent.pt"):
        with pytest.raises(ReleasedError):
            read_weights(path)
    assert "harm" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"num_res_blocks": 2}, "does not fit"),
        ({"num_channels": 64}, "does not fit"),
        ({"num_channels": None}, "malformed"),
        ({"channel_mult": "one"}, "malformed"),
        ({"channel_mult": ""}, "channel_mult"),
        ({"image_size": 33}, "impossible"),
        ({"noise_schedule": "cosine"}, "linear"),
    ],
)
def test_a_wrong_configuration_gets_a_sentence(change, word):
    settings = {**json.loads((GOLDEN / "tiny32.json").read_text()), **change}
    with pytest.raises((ReleasedError, CheckpointError), match=word):
        load_released(GOLDEN / "tiny32.weights.safetensors", settings)


def test_an_unknown_name_is_refused():
    with pytest.raises(ValueError, match="not a parameter"):
        translate_name("classifier.weight")
    with pytest.raises(ValueError, match="not a parameter"):
        rename_weights({"head.bias": torch.zeros(1)}, NetworkConfig())
