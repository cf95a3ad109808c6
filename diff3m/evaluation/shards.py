"""One computation shared by several processes, GPUs and machines: in parts that are stored as Parquet and resumed.

`accelerate launch` (or torchrun) starts the processes, and a folder that all of them see holds the parts. How rows are
cut into parts and batches does not depend on the number of processes, so neither do the numbers.
"""

from __future__ import annotations

import json
import math
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from itertools import islice
from pathlib import Path
from typing import TypeVar, overload

import numpy as np
import pandas as pd
import pyarrow as pa
import torch.distributed
from pandas.api.types import union_categoricals
from pyarrow import parquet

Item = TypeVar("Item")
Report = Callable[[int, int], None]
MAX_PARTS = 256  # of a computation, where that needs no more than MAX_PART_ROWS rows a part
MAX_PART_ROWS = 4096  # what is lost at most when a process is killed
TIMEOUT = timedelta(days=30)  # a process may wait for as long as another computes
RUN_FILE = "run.json"
RESUME_HINT = "Run the same command again: parts that are done are not computed anew."


class ShardError(RuntimeError):
    """A computation in parts that cannot go on; the message says what to do."""


@dataclass(frozen=True)
class Processes:
    """The processes of one run, and which of them this one is."""

    index: int = 0
    count: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this is the process that merges, prints and writes."""
        return self.index == 0

    def wait(self) -> None:
        """Wait until all processes are here. Raises ShardError where one has ended."""
        if self.count == 1:
            return
        try:
            torch.distributed.barrier()
        except RuntimeError:
            raise ShardError(
                f"Another process of this run has ended; its own message says why. {RESUME_HINT}"
            ) from None

    @contextmanager
    def first_process_first(self) -> Iterator[None]:
        """Return a context that the other processes enter only after the first process has left it."""
        if not self.is_first:
            self.wait()
        yield
        if self.is_first:
            self.wait()


SINGLE_PROCESS = Processes()


@contextmanager
def join_processes() -> Iterator[Processes]:
    """Join the processes that a launcher started, for the duration of a command; without a launcher there is one.

    They only wait for each other and exchange no tensors, so the backend is gloo on GPUs too.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield SINGLE_PROCESS
        return
    torch.distributed.init_process_group("gloo", timeout=TIMEOUT)
    try:
        yield Processes(torch.distributed.get_rank(), torch.distributed.get_world_size())
    finally:
        torch.distributed.destroy_process_group()


def compute_part_size(rows: int, batch_size: int) -> int:
    """Return how many rows each part but the last has: whole batches, and independent of the number of processes."""
    target = min(max(-(-rows // MAX_PARTS), 1), MAX_PART_ROWS)
    return -(-target // batch_size) * batch_size


class Parts:
    """The parts of one computation in a folder.

    folder: that all processes see. rows: how many items there are. batch_size: items that are computed together, so
    that no part ends inside a batch. schema: of a row of the result. identity: plain JSON values that the result
    depends on; parts of another identity are refused.
    """

    def __init__(
        self, folder: Path, rows: int, batch_size: int, schema: pa.Schema, identity: Mapping[str, object]
    ) -> None:
        self.folder, self.rows, self.schema = folder, rows, schema
        self.part_rows = compute_part_size(rows, batch_size)
        self.identity = json.loads(json.dumps({**identity, "rows": rows, "batch size": batch_size}))

    @property
    def count(self) -> int:
        """How many parts there are."""
        return -(-self.rows // self.part_rows)

    def get_path(self, number: int) -> Path:
        """Return the file of a part."""
        return self.folder / f"part-{number:05d}.parquet"

    def list_pending(self) -> list[int]:
        """Return the numbers of the parts that are not computed yet."""
        return [number for number in range(self.count) if not self.get_path(number).is_file()]

    def compute(
        self,
        items: Callable[[Callable[[int], bool]], Iterable[Item]],
        compute: Callable[[list[Item]], Iterable[dict]],
        processes: Processes = SINGLE_PROCESS,
        report: Report | None = None,
    ) -> None:
        """Compute the parts that are missing, each in one of the processes, and wait until all are there.

        items: given a function of positions, yields the items at those positions for which that is true, in order.
        compute: the rows of a part's items, in order, one for each. report: called with (items of this process that
        are done, all of them). Raises ShardError for parts of another run, or where another process has ended.
        """
        self._check_identity(processes)
        own = set(self.list_pending()[processes.index :: processes.count])
        processes.wait()  # all have looked before the first part is written
        source = iter(items(lambda position: position // self.part_rows in own))
        done, total = 0, sum(self._count_rows(number) for number in own)
        for number in sorted(own):
            part = list(islice(source, self._count_rows(number)))
            rows = []
            for row in compute(part):
                rows.append(row)
                if report:
                    report(done + len(rows), total)
            if len(rows) != self._count_rows(number):
                raise ShardError(f"The manifest changed while it was read. {RESUME_HINT}")
            done += len(rows)
            self._write(number, rows)
        processes.wait()

    def _count_rows(self, number: int) -> int:
        return min(self.part_rows, self.rows - number * self.part_rows)

    def _check_identity(self, processes: Processes) -> None:
        """Raise ShardError where the folder holds parts of another run; write what these are of."""
        path = self.folder / RUN_FILE
        if path.is_file():
            other = json.loads(path.read_text(encoding="utf-8"))
            names = sorted(name for name in self.identity | other if self.identity.get(name) != other.get(name))
            if names:
                raise ShardError(
                    f"{self.folder} holds parts of a run that was not finished, with other {', '.join(names)}. "
                    "Remove that folder, or choose another output."
                )
        elif processes.is_first:
            self.folder.mkdir(parents=True, exist_ok=True)
            _write_whole(path, lambda partial: partial.write_text(json.dumps(self.identity, indent=1) + "\n"))
        processes.wait()
        if not path.is_file():
            raise ShardError(
                f"This process does not see {path}, which the first one wrote. The output must lie on a disk that all "
                "machines share."
            )

    def _write(self, number: int, rows: Sequence[dict]) -> None:
        table = pa.Table.from_pylist(list(rows), schema=self.schema)
        _write_whole(self.get_path(number), lambda partial: parquet.write_table(table, partial))

    def read(self, number: int, columns: Sequence[str] | None = None) -> pa.Table:
        """Read the rows of a part. columns: all by default."""
        return parquet.read_table(self.get_path(number), columns=None if columns is None else list(columns))

    def read_rows(self, columns: Sequence[str] | None = None) -> Iterator[dict]:
        """Yield all rows in order, a part in memory at a time."""
        for number in range(self.count):
            yield from self.read(number, columns).to_pylist()

    def read_frame(self, columns: Sequence[str]) -> pd.DataFrame:
        """Read some columns of all rows; texts as categories, which take a byte a row."""
        parts = [self.read(number, columns).to_pandas(strings_to_categorical=True) for number in range(self.count)]
        return pd.DataFrame({name: _join_columns([part.pop(name) for part in parts]) for name in columns})

    def write_csv(self, path: Path) -> None:
        """Write all rows as one CSV file, a part in memory at a time."""
        with path.open("w", newline="", encoding="utf-8") as file:
            for number in range(self.count):
                self.read(number).to_pandas().to_csv(file, index=False, header=number == 0)

    def remove(self, processes: Processes = SINGLE_PROCESS) -> None:
        """Remove the folder with all parts, once all processes have read what they need."""
        processes.wait()
        if processes.is_first:
            shutil.rmtree(self.folder)


def _join_columns(columns: Sequence[pd.Series]) -> pd.Categorical | np.ndarray:
    """Join the pieces of one column, whose texts are categories."""
    if isinstance(columns[0].dtype, pd.CategoricalDtype):
        return union_categoricals(columns, ignore_order=True)
    return np.concatenate([column.to_numpy() for column in columns])


def _write_whole(path: Path, write: Callable[[Path], object]) -> None:
    """Write a file under another name and rename it, so that it is there whole or not at all."""
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    write(partial)
    os.replace(partial, path)


def pack_image(image: np.ndarray) -> bytes:
    """Return a square image as float32, for a binary column."""
    return image.astype(np.float32).tobytes()


@overload
def unpack_image(data: bytes) -> np.ndarray: ...


@overload
def unpack_image(data: None) -> None: ...


def unpack_image(data: bytes | None) -> np.ndarray | None:
    """Return the (S, S) float32 image that `pack_image` wrote; None for none."""
    if data is None:
        return None
    values = np.frombuffer(data, np.float32)
    side = math.isqrt(len(values))
    return values.reshape(side, side).copy()  # what lies over bytes cannot be written to
