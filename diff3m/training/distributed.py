"""Several processes of one run: they fail together, resume from one step, and end their group."""

from __future__ import annotations

import gc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch.distributed
from accelerate import Accelerator
from accelerate.utils import gather_object


class TrainingError(RuntimeError):
    """Training that cannot continue; the message says why and what is on disk."""


@contextmanager
def all_or_none() -> Iterator[None]:
    """Return a context that all processes enter; if one fails inside, each raises, so that none waits for it.

    The one that failed raises its own error, the others a TrainingError that quotes it.
    """
    try:
        yield
    except Exception as error:  # of any kind: the others have to learn of it
        gather_object([str(error) or type(error).__name__])
        raise
    messages = gather_object([""])
    for index, message in enumerate(messages):
        if message:
            raise TrainingError(f"Process {index} of {len(messages)} failed: {message}")


def leave_group(accelerator: Accelerator) -> None:
    """Destroy the group of processes and wait for its threads.

    One of them could abort the interpreter's end (SIGABRT). The threads end with the group's last reference, so delete
    first what `Accelerator.prepare` returned.
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
