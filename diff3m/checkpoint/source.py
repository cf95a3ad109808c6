"""Finding a checkpoint: a folder, a name that comes with the project, or an id of the Hugging Face Hub."""

from __future__ import annotations

import os
from pathlib import Path

from ..resources import resource
from .folder import CARD_FILE, CONFIG_FILE, WEIGHTS_FILE, CheckpointError

SHIPPED = resource("checkpoints")
DEFAULT_CHECKPOINT = "real-films"


def shipped_checkpoints() -> tuple[str, ...]:
    """Return the names of the checkpoints that come with the project, the default first."""
    names = sorted(path.parent.name for path in SHIPPED.glob(f"*/{CONFIG_FILE}"))
    return tuple(sorted(names, key=lambda name: name != DEFAULT_CHECKPOINT))


def resolve_checkpoint(source: str | os.PathLike) -> Path:
    """Find the folder of a checkpoint.

    source: a folder, the name of a shipped checkpoint, or a Hugging Face Hub id ("owner/name"), which is downloaded.
    Raises CheckpointError.
    """
    text = os.fspath(source)
    for candidate in (Path(text), SHIPPED / text):
        if (candidate / CONFIG_FILE).is_file():
            return candidate
    if Path(text).is_dir():
        raise CheckpointError(f"{text} is no checkpoint folder: it holds no {CONFIG_FILE}.")
    if text.count("/") != 1 or text.startswith((".", "/", "~")):
        names = shipped_checkpoints()
        known = f"a shipped name: {', '.join(names)}" if names else "a shipped name (none came with this installation)"
        raise CheckpointError(f"There is no checkpoint {text!r}. Give a folder, a Hub id (owner/name), or {known}.")
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(text, allow_patterns=[CONFIG_FILE, WEIGHTS_FILE, CARD_FILE]))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        raise CheckpointError(
            f"The checkpoint {text!r} is no folder here, and the Hub did not give it ({type(error).__name__})."
        ) from None
