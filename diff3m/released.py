"""Weights of the released Diff3M code, under its names, as our network (reference-compatible mode)."""

from __future__ import annotations

import re

from torch import Tensor

from .network import NetworkConfig

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


def our_name(released: str) -> str:
    """The name that a released parameter has in our network. Raises ValueError for a name the method does not have."""
    for theirs, ours in _PREFIXES:
        if released.startswith(theirs):
            name = ours + released[len(theirs) :]
            break
    else:
        raise ValueError(f"{released!r} is not a parameter of the released Diff3M network")
    for theirs, ours in _PARTS:
        name = name.replace(theirs, ours)
    match = _STAGE.fullmatch(name)
    if match:
        encoder, stage, layer, rest = match.groups()
        name = f"{encoder}.stem.{rest}" if stage == "0" else f"{encoder}.stages.{int(stage) - 1}.{layer}.{rest}"
    return name


def rename(state: dict[str, Tensor], config: NetworkConfig) -> dict[str, Tensor]:
    """A released state dict under our names; spare rows of the token tables are dropped."""
    renamed = {our_name(key): value for key, value in state.items()}
    for group, slots in config.slots:
        for part in ("weight", "bias"):
            key = f"fusion.tokenizers.{group}.{part}"
            if key in renamed:
                renamed[key] = renamed[key][:slots]
    return renamed
