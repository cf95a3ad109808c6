"""How a run ends with a sentence, and how several processes fail and resume as one."""

from __future__ import annotations

import gc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch.distributed
from accelerate import Accelerator
from accelerate.utils import gather_object


class TrainingError(RuntimeError):
    """Training that cannot go on; the message says why and what is kept."""


@contextmanager
def all_or_none() -> Iterator[None]:
    """Every process enters; where one fails inside, each of them leaves with an error, so that none waits for it.

    The one that failed raises its own error, the others a TrainingError that quotes it.
    """
    try:
        yield
    except Exception as error:  # whatever it is, the others must hear of it
        gather_object([str(error) or type(error).__name__])
        raise
    told = gather_object([""])
    for index, sentence in enumerate(told):
        if sentence:
            raise TrainingError(f"Process {index} of {len(told)} failed: {sentence}")


def part(accelerator: Accelerator) -> None:
    """Leave the group of processes and wait for its threads: one that is still alive when the interpreter ends can abort it (SIGABRT).

    The group's threads end with its last reference, so let go first of whatever was prepared for several processes.
    """
    accelerator.free_memory()
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
    gc.collect()  # DistributedDataParallel, which holds the group, is in cycles


def agreed_step(steps: Sequence[int]) -> int:
    """The step that every process resumes from. Raises TrainingError where they differ."""
    if len(set(steps)) > 1:
        raise TrainingError(
            f"The processes found saves of different steps ({', '.join(map(str, steps))}; 0 is none). The output folder must lie on a disk that all "
            "machines share."
        )
    return steps[0]
