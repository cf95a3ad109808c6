"""What a run goes on from: its last save, its log, or the weights of a checkpoint; and whether a save is of the same run."""

from __future__ import annotations

import json
import os
from pathlib import Path

import torch

from ..checkpoint.folder import WEIGHTS_FILE, CheckpointError, file_sha256, load_checkpoint
from ..checkpoint.source import resolve_checkpoint
from ..ehr import EHRSchema
from ..network import Diff3M
from .distributed import TrainingError

INIT_SHA256 = "init_sha256"  # of the weights that a run began with, in what its saves hold


def read_state(path: Path, mmap: bool = False) -> dict:
    """A save's content. mmap: only what is looked at is read. Raises TrainingError."""
    try:
        state = torch.load(path, map_location="cpu", weights_only=True, mmap=mmap)
        if not {"network", "optimizer", "ema", "step", "seconds"} <= set(state):
            raise ValueError("it is no save of a training")
        return state
    except Exception as error:  # a damaged file ends in many kinds
        reason = str(error).partition("\n")[0][:200]
        raise TrainingError(
            f"{path} cannot be read ({reason}). Remove it to start anew, or choose another `out`."
        ) from None


def check_same_run(path: Path, lasting: dict) -> dict:
    """What the saves of a run are to hold of its settings, films and features (`lasting`); the weights it began with are named as its first save did.

    Raises TrainingError where the save that it would go on from cannot be read, or is of others.
    """
    if not path.exists():
        return lasting
    saved = json.loads(read_state(path, mmap=True).get("lasting", "{}"))  # a save of an earlier version names none
    mine = json.loads(json.dumps(lasting))
    other = [
        name if isinstance(mine[name], list | dict) else f"{name} ({value} there, {mine[name]} here)"
        for name, value in saved.items()
        if name in mine and mine[name] != value
    ]
    if other:
        raise TrainingError(
            f"{path} is of a run with other settings: {', '.join(other)}. Restore them to go on, or choose another `out`."
        )
    mine.pop(INIT_SHA256, None)
    return mine | {name: value for name, value in saved.items() if name == INIT_SHA256}


def init_weights(source: str | None, own: Path) -> dict[str, str]:
    """The sha256 of the weights that `init` names, for `check_same_run`. Empty without `init`, where it is gone, since a run that goes on does not
    need it, and where it is the run's `own` checkpoint, which each save replaces."""
    if source is None:
        return {}
    try:
        folder = resolve_checkpoint(source)
        return {} if folder.resolve() == own.resolve() else {INIT_SHA256: file_sha256(folder / WEIGHTS_FILE)}
    except (CheckpointError, OSError):
        return {}


def rounded(schema: EHRSchema) -> list[dict]:
    """A schema's features, numbers to six digits: what two runs have in common if their films and features are the same."""
    return [
        {key: float(f"{value:.6g}") if isinstance(value, float) else value for key, value in entry.items()}
        for entry in schema.to_list()
    ]


def cut_log(path: Path, step: int) -> None:
    """Take out of a log the lines after a step, and what a killed process left of one: the run comes to those steps again."""
    if not path.exists():
        return
    header, *lines = path.read_bytes().splitlines(keepends=True) or [b""]
    kept = [
        line
        for line in lines
        if line.endswith(b"\n") and line.partition(b",")[0].isdigit() and int(line.partition(b",")[0]) <= step
    ]
    if not header.endswith(b"\n"):
        path.unlink()
    elif kept != lines:
        partial = path.with_name(f"{path.name}.partial")
        partial.write_bytes(b"".join([header, *kept]))
        os.replace(partial, path)


def start_from(source: str, network: Diff3M) -> int:
    """Copy a checkpoint's weights into a network wherever name and shape agree; returns how many tensors that were. Raises TrainingError."""
    try:
        given = load_checkpoint(resolve_checkpoint(source)).network.state_dict()
    except CheckpointError as error:
        raise TrainingError(f"init: {error}") from None
    wanted = network.state_dict()
    fitting = {name: tensor for name, tensor in given.items() if name in wanted and tensor.shape == wanted[name].shape}
    if 2 * sum(tensor.numel() for tensor in fitting.values()) < sum(tensor.numel() for tensor in wanted.values()):
        raise TrainingError(
            f"init: most weights of {source} do not fit this network. Choose a checkpoint of the same preset, or leave `init` out."
        )
    network.load_state_dict(fitting, strict=False)
    return len(fitting)
