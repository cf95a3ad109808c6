"""Weights of the released Diff3M code, under its names, as our network (reference-compatible mode)."""

from __future__ import annotations

import json
import pickle
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from ..checkpoint.folder import Checkpoint, CheckpointConfig
from ..diffusion import Schedule
from ..ehr import EHRSchema, paper_schema
from ..ehr.units import CM_PER_INCH, KG_PER_POUND
from ..imaging import Preprocessing
from ..network import Diff3M, NetworkConfig
from .inference import RELEASED_SCORING

_PREFIXES = (
    ("apm_mask1_input_blocks.", "masked_encoders.0."),
    ("apm_mask2_input_blocks.", "masked_encoders.1."),
    ("apm_mask_middle_blocks.", "masked_decoder.middle."),
    ("apm_mask_output_blocks.", "masked_decoder.stages."),
    ("apm_mask_out.0.", "masked_decoder.norm."),
    ("apm_mask_out.2.", "masked_decoder.head."),
    ("x_start_output_linear.", "query_head."),
    ("x_start_blocks.", "query_encoder."),
    ("input_blocks.", "noise_encoder."),
    ("middle_block.", "noise_decoder.middle."),
    ("output_blocks.", "noise_decoder.stages."),
    ("out.0.", "noise_decoder.norm."),
    ("out.2.", "noise_decoder.head."),
    ("demo_tokenizer.", "fusion.tokenizers.demographics."),
    ("ehr_tokenizer.", "fusion.tokenizers.ehr."),
    ("emb_norm.", "embedding_norm."),
    ("time_embed.", "time_embed."),
)
_PARTS = (
    ("w_embedding_layer.weight", "weight"),
    ("b_embedding_layer.weight", "bias"),
    (".in_layers.0.", ".norm1."),
    (".in_layers.2.", ".conv1."),
    (".emb_layers.1.", ".embedding."),
    (".out_layers.0.", ".norm2."),
    (".out_layers.3.", ".conv2."),
    (".skip_connection.", ".skip."),
    (".op.", ".conv."),
    (".proj_out.", ".proj."),
)
_STAGE = re.compile(r"(noise_encoder|query_encoder|masked_encoders\.\d)\.(\d+)\.(\d+)\.(.*)")


class ReleasedError(ValueError):
    """Weights or a configuration that are not the released network's; the message says what is wrong."""


def _read_settings(path: Path) -> Mapping:
    try:
        return json.loads(path.read_text())
    except (OSError, json.JSONDecodeError) as error:
        raise ReleasedError(f"The configuration {path} cannot be read: {error}") from None


def load_released(path: str | Path, settings: str | Path | Mapping) -> Checkpoint:
    """Load weights of the released code as a checkpoint.

    path: .safetensors or .pt. settings: its configuration, a JSON file or a mapping. The checkpoint computes as the
    released code does: ten token slots, no unknown tokens, masked pixel generation in place of x_t, the released path
    and scores. Raises ReleasedError or CheckpointError.
    """
    if not isinstance(settings, Mapping):
        settings = _read_settings(Path(settings))
    state = read_weights(path)
    config = read_network_config(settings, state)
    diffusion = read_schedule(settings)
    network = Diff3M(config, diffusion)
    try:
        network.load_state_dict(rename_weights(state, config))
    except RuntimeError as error:
        raise ReleasedError(f"{path} does not fit the configuration: {str(error)[:300]}") from None
    constants = "given" if "ehr_mean" in settings else "general adult values"
    checkpoint_config = CheckpointConfig(
        name=str(settings.get("name", "released")),
        network=config,
        schema=released_schema(settings),
        schedule=diffusion,
        preprocessing=Preprocessing(size=config.image_size),
        scoring=RELEASED_SCORING,
        training={"imported": True, "ehr_constants": constants},
    )
    return Checkpoint(checkpoint_config, network.eval())


def translate_name(name: str) -> str:
    """Translate the name of a released parameter to ours. Raises ValueError for a name that is none."""
    for theirs, ours in _PREFIXES:
        if name.startswith(theirs):
            name = ours + name[len(theirs) :]
            break
    else:
        raise ValueError(f"{name!r} is not a parameter of the released Diff3M network")
    for theirs, ours in _PARTS:
        name = name.replace(theirs, ours)
    match = _STAGE.fullmatch(name)
    if match:
        encoder, stage, layer, rest = match.groups()
        name = f"{encoder}.stem.{rest}" if stage == "0" else f"{encoder}.stages.{int(stage) - 1}.{layer}.{rest}"
    return name


def rename_weights(state: dict[str, Tensor], config: NetworkConfig) -> dict[str, Tensor]:
    """Rename a released state dict to our names; spare rows of the token tables are dropped."""
    weights = {translate_name(key): value for key, value in state.items()}
    for group, slots in config.slots:
        for part in ("weight", "bias"):
            key = f"fusion.tokenizers.{group}.{part}"
            if key in weights:
                weights[key] = weights[key][:slots]
    return weights


# the released code's own defaults where a configuration leaves the multipliers out
DEFAULT_MULTIPLIERS = {512: (0.5, 1, 1, 2, 2, 4, 4), 256: (1, 1, 2, 2, 4, 4), 128: (1, 1, 2, 3, 4), 64: (1, 2, 3, 4)}


def read_weights(path: str | Path) -> dict[str, Tensor]:
    """Read a state dict from .safetensors, or from a .pt file that holds tensors alone. Raises ReleasedError."""
    path = Path(path)
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise ReleasedError(f"There is no file {path}. Check the path.") from None
    except SafetensorError as error:
        raise ReleasedError(f"{path} is damaged or no safetensors file: {error}") from None
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError, ValueError):
        raise ReleasedError(
            f"{path} is no plain PyTorch state dict, or holds code that will not be run. "
            "Save only the state dict, as safetensors."
        ) from None
    for key in ("state_dict", "model", "ema"):
        if isinstance(state, dict) and isinstance(state.get(key), dict):
            state = state[key]
    if not isinstance(state, dict) or not state or not all(isinstance(value, Tensor) for value in state.values()):
        raise ReleasedError(
            f"{path} holds something other than named tensors. Save only the state dict, as safetensors."
        )
    return {str(name).removeprefix("module."): value for name, value in state.items()}


def read_network_config(settings: Mapping, state: Mapping[str, Tensor]) -> NetworkConfig:
    """Read the network of a released configuration. Raises ReleasedError.

    settings: the configuration. state: the weights, which say where self-attention sits.
    """
    try:
        size, channels, blocks = (int(settings[key]) for key in ("image_size", "num_channels", "num_res_blocks"))
        multipliers = _multipliers(settings.get("channel_mult", ""), size)
        heads = int(settings.get("num_heads", 1))
    except KeyError as error:
        raise ReleasedError(f"The configuration lacks {error}.") from None
    except (TypeError, ValueError) as error:
        raise ReleasedError(f"The configuration is malformed: {error}") from None
    attention_sizes = set()
    for level in range(len(multipliers)):
        first = 1 + level * (blocks + 1)  # the stem is block 0; a down-sampling ends each level
        if f"input_blocks.{first}.1.qkv.weight" in state:
            attention_sizes.add(size // 2**level)
    noise_channels = state["out.2.weight"].shape[0] if "out.2.weight" in state else 1
    try:
        return NetworkConfig(
            image_size=size,
            channels=channels,
            channel_multipliers=multipliers,
            blocks_per_level=blocks,
            attention_heads=heads,
            attention_resolutions=tuple(sorted(attention_sizes)),
            noise_head_channels=noise_channels,
            unknown_tokens=False,
        )
    except ValueError as error:
        raise ReleasedError(f"The configuration is impossible: {error}") from None


def _multipliers(value: str | Sequence | None, size: int) -> tuple[float, ...]:
    parts = value.split(",") if isinstance(value, str) else list(value or ())
    numbers = [float(part) for part in parts if str(part).strip()]
    if not numbers:
        if size not in DEFAULT_MULTIPLIERS:
            raise ValueError(f"channel_mult must be given for image_size {size}")
        return DEFAULT_MULTIPLIERS[size]
    return tuple(int(number) if number == int(number) else number for number in numbers)


def read_schedule(settings: Mapping) -> Schedule:
    """Read the linear schedule of a released configuration. Raises ReleasedError for another schedule."""
    if settings.get("noise_schedule", "linear") != "linear":
        raise ReleasedError(f"Only the linear noise schedule is known, not {settings['noise_schedule']!r}.")
    steps = int(settings.get("diffusion_steps", 1000))
    return Schedule(steps, 1e-4 * 1000 / steps, 0.02 * 1000 / steps)


def released_schema(settings: Mapping) -> EHRSchema:
    """Return the paper's features with the released encoding: (age − 1)/99, one-hot sex and view, z-scored EHR.

    settings: `ehr_mean` and `ehr_std` (BMI, systolic, diastolic, height in inches, weight in pounds) of the training
    set, which the released code does not store; without them general adult values stand in.
    """
    features = {feature.name: feature for feature in paper_schema().features}
    features["age"] = replace(features["age"], mean=1.0, std=99.0)
    names = ("bmi", "systolic_mmhg", "diastolic_mmhg", "height_cm", "weight_kg")
    units = (1, 1, 1, CM_PER_INCH, KG_PER_POUND)
    if "ehr_mean" in settings and "ehr_std" in settings:
        for name, unit, mean, std in zip(names, units, settings["ehr_mean"], settings["ehr_std"], strict=True):
            features[name] = replace(features[name], mean=float(mean) * unit, std=float(std) * unit)
    return EHRSchema(tuple(features.values()))


def encode_released(demographics: Tensor, ehr: Tensor) -> Tensor:
    """Encode released inputs as our slots (B, 10).

    demographics: (B, 3), sex, age' and view. ehr: (B, 5), z-scored.
    """
    sex, age, view = demographics.unbind(1)
    return torch.cat([torch.stack([age, 1 - sex, sex, 1 - view, view], dim=1), ehr], dim=1).float()
