"""Checkpoints: reading and writing their folders, and finding them by name."""

from .folder import Checkpoint, CheckpointConfig, CheckpointError, load_checkpoint, save_checkpoint
from .source import DEFAULT_CHECKPOINT, resolve_checkpoint, shipped_checkpoints

__all__ = [
    "DEFAULT_CHECKPOINT",
    "Checkpoint",
    "CheckpointConfig",
    "CheckpointError",
    "load_checkpoint",
    "resolve_checkpoint",
    "save_checkpoint",
    "shipped_checkpoints",
]
