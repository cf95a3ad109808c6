"""Where networks run and in which precision."""

import os
import subprocess
import sys

import pytest
import torch
from helpers import ROOT

from diff3m.device import has_bfloat16, select_device, select_precision

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    "processor, capability, expected",
    [(True, "AVX512", True), (True, "DEFAULT", False), (True, "AVX2", False), (False, "AVX512", False)],
)
def test_bfloat16_needs_the_processor_and_torch(monkeypatch, processor, capability, expected):
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    monkeypatch.setattr("torch.cpu._is_avx512_bf16_supported", lambda: processor, raising=False)
    monkeypatch.setattr("torch.backends.cpu.get_cpu_capability", lambda: capability)
    assert has_bfloat16(CPU) is expected
    assert select_precision("auto", CPU) == ("bfloat16" if expected else "float32")


def test_other_processors_have_no_bfloat16(monkeypatch):
    monkeypatch.setattr("platform.machine", lambda: "arm64")
    monkeypatch.setattr("torch.cpu._is_avx512_bf16_supported", lambda: True, raising=False)
    monkeypatch.setattr("torch.backends.cpu.get_cpu_capability", lambda: "AVX512")
    assert not has_bfloat16(CPU)


@pytest.mark.slow
def test_bfloat16_is_off_where_torch_may_not_use_avx512():
    script = """
import platform
import torch
platform.machine = lambda: "x86_64"
torch.cpu._is_avx512_bf16_supported = lambda: True
from diff3m.device import has_bfloat16
print(has_bfloat16(torch.device("cpu")))
"""
    environment = {**os.environ, "ATEN_CPU_CAPABILITY": "default"}
    command = [sys.executable, "-c", script]
    result = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "False"


def test_devices_and_precisions_that_there_are_not(monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert select_device() == CPU
    with pytest.raises(ValueError, match="no CUDA device"):
        select_device("cuda")
    with pytest.raises(ValueError, match="precision must be"):
        select_precision("float16", CPU)
