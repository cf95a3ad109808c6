"""Coordination of several processes of one run: failing together, resuming from one step, leaving their group."""

from __future__ import annotations

import gc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch.distributed
from accelerate import Accelerator
from accelerate.utils import gather_object


class TrainingError(RuntimeError):
    """Training that cannot start or continue; the message says why and what to do."""


@contextmanager
def all_or_none() -> Iterator[None]:
    """Run a block in all processes; if one of them fails, all raise, so that none waits for it.

    The process that failed raises its own error, the others a TrainingError that quotes it.
    """
    try:
        yield
    except Exception as error:  # of any kind: the other processes must be informed
        gather_object([str(error) or type(error).__name__])
        raise
    messages = gather_object([""])
    for index, message in enumerate(messages):
        if message:
            raise TrainingError(f"Process {index} of {len(messages)} failed: {message}")


def leave_group(accelerator: Accelerator) -> None:
    """Destroy the group of processes and wait for its threads, which could otherwise abort the interpreter's exit.

    The threads end with the last reference to the group, so delete first what `Accelerator.prepare` returned.
    """
    accelerator.free_memory()
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
    gc.collect()  # DistributedDataParallel, which holds the group, is in cycles


def common_step(steps: Sequence[int]) -> int:
    """Return the step that every process resumes from. Raises TrainingError where they differ."""
    if len(set(steps)) > 1:
        raise TrainingError(
            f"The processes found saves of different steps ({', '.join(map(str, steps))}; 0 is none). "
            "The output folder must lie on a disk that all machines share."
        )
    return steps[0]
