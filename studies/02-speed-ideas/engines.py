"""One pass of the noise branch under other engines: eager, torch.compile, ONNX Runtime, OpenVINO.

    python -m pip install onnxruntime onnx onnxscript openvino
    python benchmarks/engines.py [--checkpoint real-films] [--repeats 20]

Medians of interleaved runs for one and for three films at once; the largest difference from float32 eager stands beside each. An engine that
is not installed, or fails, is named and left out.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from speed import interleaved

from diff3m.detector import Detector
from diff3m.network import Condition


class Pass(torch.nn.Module):
    """ε̂ from tensors alone, so that it can be traced: x_t, t, the record's embedding and its tokens by group."""

    def __init__(self, detector: Detector, condition: Condition) -> None:
        super().__init__()
        self.network, self.groups = detector.network, list(condition.tokens)

    def forward(self, x: torch.Tensor, t: torch.Tensor, embedding: torch.Tensor, *tokens: torch.Tensor) -> torch.Tensor:
        return self.network.predict_noise(x, t, Condition(embedding, {}, dict(zip(self.groups, tokens, strict=True))))


def eager(module: Pass, dtype: torch.dtype | None) -> Callable:
    def run(*inputs: torch.Tensor) -> torch.Tensor:
        with torch.inference_mode(), torch.autocast("cpu", dtype or torch.bfloat16, enabled=dtype is not None):
            return module(*inputs)

    return run


def compiled(module: Pass, _inputs: tuple) -> Callable:
    return eager(torch.compile(module), torch.bfloat16)


def onnx_runtime(module: Pass, inputs: tuple) -> Callable:
    import onnxruntime

    session = onnxruntime.InferenceSession(_onnx(module, inputs), providers=["CPUExecutionProvider"])
    names = [entry.name for entry in session.get_inputs()]
    return lambda *values: torch.from_numpy(session.run(None, {n: v.numpy() for n, v in zip(names, values, strict=True)})[0])


def open_vino(module: Pass, inputs: tuple) -> Callable:
    import openvino

    core = openvino.Core()
    model = core.compile_model(core.read_model(_onnx(module, inputs)), "CPU", {"INFERENCE_PRECISION_HINT": "bf16", "PERFORMANCE_HINT": "LATENCY"})
    return lambda *values: torch.from_numpy(np.array(model([value.numpy() for value in values])[0]))


def _onnx(module: Pass, inputs: tuple) -> str:
    path = str(Path(tempfile.mkdtemp()) / "pass.onnx")
    torch.onnx.export(module, inputs, path, dynamo=True)
    return path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", default="real-films")
    parser.add_argument("--repeats", type=int, default=20)
    options = parser.parse_args()
    detector = Detector.from_pretrained(options.checkpoint, device="cpu")
    size = detector.config.network.image_size
    for films in (1, 3):
        generator = torch.Generator().manual_seed(0)
        x = torch.rand(films, 1, size, size, generator=generator).contiguous(memory_format=torch.channels_last)
        condition = detector.condition(x, [detector.schema.parse({"age": 60, "sex": "F", "view": "PA"})] * films, attention=False)
        inputs = (x, torch.full((films,), 300), condition.embedding, *condition.tokens.values())
        module = Pass(detector, condition).eval()
        runs = {"eager float32": eager(module, None), "eager bfloat16": eager(module, torch.bfloat16)}
        makers = {"torch.compile bfloat16": compiled, "ONNX Runtime float32": onnx_runtime, "OpenVINO bfloat16": open_vino}
        for name, make in makers.items():
            try:
                runs[name] = make(module, inputs)
                runs[name](*inputs)
            except Exception as error:
                runs.pop(name, None)
                print(f"{name}: left out ({type(error).__name__}: {str(error).splitlines()[0][:120] if str(error) else ''})")
        reference = runs["eager float32"](*inputs)
        times = interleaved({name: (lambda run=run, given=inputs: run(*given)) for name, run in runs.items()}, options.repeats, torch.device("cpu"))
        for name, seconds in times.items():
            difference = float((runs[name](*inputs).float() - reference).abs().max())
            ratio = times["eager bfloat16"] / seconds
            print(f"{films} film(s)  {name:<24} {1000 * seconds:7.1f} ms  {ratio:.2f} of eager bfloat16's speed  largest difference {difference:.2g}")


if __name__ == "__main__":
    main()
