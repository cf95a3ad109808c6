"""Resuming a run: reading its last save, checking that it is of the same run, and copying initial weights."""

from __future__ import annotations

import json
import os
from pathlib import Path

import torch

from ..checkpoint.folder import CONFIG_FILE, WEIGHTS_FILE, CheckpointError, file_sha256, load_checkpoint
from ..checkpoint.source import resolve_checkpoint
from ..ehr import EHRSchema
from ..network import Diff3M
from .distributed import TrainingError

INIT_SHA256 = "init_sha256"  # key of a save: the hash of the weights that the run started from


def read_state(path: Path, mmap: bool = False) -> dict:
    """Read a save. mmap: load only the parts that are used. Raises TrainingError for a damaged or other file."""
    try:
        state = torch.load(path, map_location="cpu", weights_only=True, mmap=mmap)
        if not {"network", "optimizer", "ema", "step", "seconds"} <= set(state):
            raise ValueError("it is not a save of a training run")
        return state
    except Exception as error:  # a damaged file raises many kinds
        reason = str(error).partition("\n")[0][:200]
        raise TrainingError(
            f"{path} cannot be read ({reason}). Remove it to start anew, or choose another `out`."
        ) from None


def checkpoint_step(folder: Path) -> int | None:
    """Return the step of a checkpoint folder, None for one that is incomplete: config.json is written last."""
    try:
        return json.loads((folder / CONFIG_FILE).read_text())["training"]["steps_done"]
    except (OSError, ValueError, KeyError, TypeError):
        return None


def check_same_run(path: Path, identity: dict) -> dict:
    """Check that a save, if there is one, is of the run that would resume from it.

    path: of the save. identity: the settings, films and features that must not change. Returns the identity for further
    saves, with the hash of the initial weights as this save has it. Raises TrainingError where the save cannot be read
    or is of another run.
    """
    if not path.exists():
        return identity
    state = read_state(path, mmap=True)
    previous = json.loads(state.get("identity", "{}"))
    current = json.loads(json.dumps(identity))
    differences = [
        name if isinstance(current[name], list | dict) else f"{name} ({value} there, {current[name]} here)"
        for name, value in previous.items()
        if name in current and current[name] != value
    ]
    if differences:
        raise TrainingError(
            f"{path} is of a run with other settings: {', '.join(differences)}. Restore them to go on, or choose "
            "another `out`."
        )
    current.pop(INIT_SHA256, None)
    return current | {name: value for name, value in previous.items() if name == INIT_SHA256}


def hash_init_weights(source: str | None, own: Path) -> dict[str, str]:
    """Return the SHA-256 of the weights that `init` names, as an entry for `check_same_run`.

    It is empty without `init`, for one that no longer exists, because a resumed run does not need it, and for the run's
    own checkpoint, which each save replaces. own: folder of that.
    """
    if source is None:
        return {}
    try:
        folder = resolve_checkpoint(source)
        return {} if folder.resolve() == own.resolve() else {INIT_SHA256: file_sha256(folder / WEIGHTS_FILE)}
    except (CheckpointError, OSError):
        return {}


def rounded_features(schema: EHRSchema) -> list[dict]:
    """Return a schema's features with numbers rounded to six digits, so that equal ones compare as equal."""
    return [
        {key: float(f"{value:.6g}") if isinstance(value, float) else value for key, value in entry.items()}
        for entry in schema.to_list()
    ]


def truncate_log(path: Path, step: int) -> None:
    """Remove the lines after a step, which will be repeated, and an incomplete last line from a log."""
    if not path.exists():
        return
    header, *lines = path.read_bytes().splitlines(keepends=True) or [b""]
    complete = [
        line
        for line in lines
        if line.endswith(b"\n") and line.partition(b",")[0].isdigit() and int(line.partition(b",")[0]) <= step
    ]
    if not header.endswith(b"\n"):
        path.unlink()
    elif complete != lines:
        partial = path.with_name(f"{path.name}.partial")
        partial.write_bytes(b"".join([header, *complete]))
        os.replace(partial, path)


def divergence_error(what: str, step: int, folder: Path) -> TrainingError:
    """Return the error of a run that diverged, with advice, because the same settings would diverge again.

    what: that is not finite. folder: of the run's checkpoint.
    """
    saved_step, hint = checkpoint_step(folder), "Lower learning_rate."
    if saved_step is not None:
        hint = f"Step {saved_step} is kept: start another `out` with `init: {folder}` and a lower learning_rate."
    return TrainingError(f"{what} is not finite at step {step}. {hint}")


def copy_weights(source: str, network: Diff3M) -> int:
    """Copy a checkpoint's weights into a network where name and shape agree.

    source: see `resolve_checkpoint`. Returns the number of tensors copied. Raises TrainingError where there is no such
    checkpoint, or its weights are less than half of the network.
    """
    try:
        weights = load_checkpoint(resolve_checkpoint(source)).network.state_dict()
    except CheckpointError as error:
        raise TrainingError(f"init: {error}") from None
    own = network.state_dict()
    matching = {name: tensor for name, tensor in weights.items() if name in own and tensor.shape == own[name].shape}
    if 2 * sum(tensor.numel() for tensor in matching.values()) < sum(tensor.numel() for tensor in own.values()):
        raise TrainingError(
            f"init: most weights of {source} do not fit this network. Choose a checkpoint of the same preset, or leave "
            "`init` out."
        )
    network.load_state_dict(matching, strict=False)
    return len(matching)
