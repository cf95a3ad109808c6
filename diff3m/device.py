"""Where networks run and in which precision: the GPU where there is one, bfloat16 where it is native."""

from __future__ import annotations

import platform
from contextlib import AbstractContextManager, nullcontext
from typing import TypeVar

import torch
from torch import nn

PRECISIONS = ("auto", "float32", "bfloat16")
Network = TypeVar("Network", bound=nn.Module)


def select_device(device: str | torch.device | None = None) -> torch.device:
    """Return the device to compute on: the given one, or, by default, the GPU where there is one, else the CPU.

    Raises ValueError for CUDA where there is none.
    """
    selection = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    if selection.type == "cuda" and not torch.cuda.is_available():
        raise ValueError("There is no CUDA device here, or this torch was built without CUDA. Use the device cpu.")
    return selection


def select_precision(precision: str, device: torch.device) -> str:
    """Return "float32" or "bfloat16"; "auto" is bfloat16 where the device has it. Raises ValueError for others."""
    if precision not in PRECISIONS:
        raise ValueError(f'precision must be "auto", "float32" or "bfloat16", got {precision!r}')
    if precision == "auto":
        return "bfloat16" if has_bfloat16(device) else "float32"
    return precision


def has_bfloat16(device: torch.device) -> bool:
    """Tell whether bfloat16 convolutions are native, so that they are faster than float32.

    A processor needs AVX512-BF16, and torch must use AVX512, which ATEN_CPU_CAPABILITY can forbid.
    """
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported()
    if device.type != "cpu" or platform.machine().lower() not in ("x86_64", "amd64"):
        return False
    is_supported = getattr(torch.cpu, "_is_avx512_bf16_supported", None)
    return bool(is_supported and is_supported()) and torch.backends.cpu.get_cpu_capability().startswith("AVX512")


def autocast(device: torch.device, precision: str) -> AbstractContextManager:
    """Return the context of network passes in a precision of `select_precision`."""
    return nullcontext() if precision == "float32" else torch.autocast(device.type, torch.bfloat16)


def mixed_precision(precision: str) -> str:
    """Return accelerate's name of a precision: "auto" is bf16 where it is native, else float32.

    Emulated bf16 would be many times slower than float32.
    """
    if precision != "auto":
        return precision
    return "bf16" if has_bfloat16(select_device()) else "no"


def to_channels_last(network: Network, device: torch.device | None = None) -> Network:
    """Move a network to a device, in the memory layout in which convolutions are fastest. device: default, its own."""
    return network.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
