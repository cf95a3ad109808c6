"""Reading and writing of checkpoint folders.

A checkpoint folder has config.json (network, schema, diffusion schedule, preprocessing, scoring and calibration),
model.safetensors (weights) and README.md (model card).
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TypeVar

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from ..diffusion import Schedule
from ..ehr import EHRSchema
from ..imaging import Preprocessing
from ..network import Diff3M, NetworkConfig
from ..scoring.record_fit import GroupFit
from ..scoring.score import Scoring

CONFIG_FILE, WEIGHTS_FILE, CARD_FILE = "config.json", "model.safetensors", "README.md"
FORMAT = 1
Module = TypeVar("Module", bound=nn.Module)


class CheckpointError(ValueError):
    """A checkpoint folder that cannot be loaded; the message says what is wrong and what to do."""


@dataclass(frozen=True)
class CheckpointConfig:
    """The content of config.json.

    name: of the checkpoint. scoring: of films, with its calibration. training: a record of how the weights were
    trained, of any keys. fit, prior_fit: calibrations of the fit of film and record by explanation group, for estimates
    from the film and before the film is seen; empty where not measured.
    """

    name: str
    network: NetworkConfig
    schema: EHRSchema
    schedule: Schedule = field(default_factory=Schedule)
    preprocessing: Preprocessing = field(default_factory=Preprocessing)
    scoring: Scoring = field(default_factory=Scoring)
    training: dict = field(default_factory=dict)
    fit: tuple[GroupFit, ...] = ()
    prior_fit: tuple[GroupFit, ...] = ()

    def to_dict(self) -> dict:
        """Return plain values for JSON."""
        return {
            "format": FORMAT,
            "name": self.name,
            "network": self.network.to_dict(),
            "schema": self.schema.to_list(),
            "diffusion": asdict(self.schedule),
            "preprocessing": asdict(self.preprocessing),
            "scoring": self.scoring.to_dict(),
            "fit": [entry.to_dict() for entry in self.fit],
            "prior_fit": [entry.to_dict() for entry in self.prior_fit],
            "training": self.training,
        }

    @classmethod
    def from_dict(cls, values: dict) -> CheckpointConfig:
        """Read what `to_dict` wrote. Raises CheckpointError."""
        if not isinstance(values, dict) or values.get("format") != FORMAT:
            format_name = str(values.get("format") if isinstance(values, dict) else "none")[:20]
            raise CheckpointError(f"config.json has format {format_name}; this version reads format {FORMAT}.")
        try:
            config = cls(
                name=values["name"],
                network=NetworkConfig.from_dict(values["network"]),
                schema=EHRSchema.from_list(values["schema"]),
                schedule=_read_schedule(values["diffusion"]),
                preprocessing=Preprocessing(**values["preprocessing"]),
                scoring=Scoring.from_dict(values["scoring"]),
                fit=tuple(map(GroupFit.from_dict, values.get("fit", ()))),
                prior_fit=tuple(map(GroupFit.from_dict, values.get("prior_fit", ()))),
                training=values.get("training", {}),
            )
        except Exception as error:  # any value may stand in the file
            raise CheckpointError(f"config.json is not a valid checkpoint configuration: {str(error)[:200]}") from None
        if config.network.slots != config.schema.slots:
            raise CheckpointError(
                "config.json contradicts itself: the network's token slots are not those of the EHR schema."
            )
        return config


def _read_schedule(values: dict) -> Schedule:
    """Read a schedule. `released_rounding`, a key of some checkpoints, follows from `Scoring.reconstruction`."""
    return Schedule(**{name: value for name, value in values.items() if name != "released_rounding"})


@dataclass(frozen=True)
class Checkpoint:
    """A loaded checkpoint.

    folder: from which it was loaded; None for one that was never saved. sha256: of the weights file, "" for one that
    was never saved.
    """

    config: CheckpointConfig
    network: Diff3M
    folder: Path | None = None
    sha256: str = ""

    @property
    def saved_folder(self) -> Path:
        """The folder, to write into it. Raises CheckpointError for a checkpoint that was never saved."""
        if self.folder is None:
            raise CheckpointError("This checkpoint was never saved. Save it before anything is written beside it.")
        return self.folder


def load_checkpoint(folder: str | Path) -> Checkpoint:
    """Load a checkpoint folder, with weights as float32 on the CPU and the network in evaluation mode.

    Raises CheckpointError.
    """
    folder = Path(folder)
    config = read_config(folder)
    network = _load_module(lambda: Diff3M(config.network, config.schedule), folder / WEIGHTS_FILE)
    return Checkpoint(config, network, folder, file_sha256(folder / WEIGHTS_FILE))


def _load_module(build: Callable[[], Module], path: Path) -> Module:
    """Build a module with the weights of a file, in evaluation mode. Raises CheckpointError."""
    if path.exists() and not path.is_file():
        raise CheckpointError(f"{path} is no ordinary file. Copy the whole checkpoint folder.")
    try:
        weights = {name: tensor.float() for name, tensor in load_file(path).items()}
        module = build()
        module.load_state_dict(weights, assign=True)  # no second copy of the weights
    except FileNotFoundError:
        raise CheckpointError(f"{path.parent} holds no {path.name}. Copy the whole checkpoint folder.") from None
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path} is damaged or no safetensors file: {error}") from None
    except (RuntimeError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path} does not fit the network of {CONFIG_FILE}: {str(error)[:300]}") from None
    return module.eval()


def read_config(folder: str | Path) -> CheckpointConfig:
    """Read config.json alone, without the weights. Raises CheckpointError."""
    path = Path(folder) / CONFIG_FILE
    try:
        return CheckpointConfig.from_dict(json.loads(path.read_text()))
    except FileNotFoundError:
        raise CheckpointError(f"{folder} is no checkpoint folder: it holds no {CONFIG_FILE}.") from None
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} cannot be read: {str(error)[:200]}") from None


def save_checkpoint(
    folder: str | Path, config: CheckpointConfig, network: Diff3M, dtype: torch.dtype = torch.float16
) -> Path:
    """Write weights (as `dtype`) and config.json; each file appears whole or not at all. Returns the folder."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    _write_weights(folder / WEIGHTS_FILE, network, dtype)
    write_config(folder, config)
    return folder


def _write_weights(path: Path, module: nn.Module, dtype: torch.dtype) -> None:
    """Replace a weights file in one step."""
    state = {name: tensor.detach().to("cpu", dtype).contiguous() for name, tensor in module.state_dict().items()}
    partial = path.with_name(f"{path.name}.partial")
    save_file(state, partial)
    os.replace(partial, path)


def write_config(folder: str | Path, config: CheckpointConfig) -> None:
    """Replace config.json in one step."""
    path = Path(folder) / CONFIG_FILE
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(config.to_dict(), indent=1, ensure_ascii=False) + "\n")
    os.replace(partial, path)


def save_scoring(folder: str | Path, scoring: Scoring) -> None:
    """Replace the scoring, calibration included, in a checkpoint's config.json. Raises CheckpointError."""
    write_config(folder, replace(read_config(folder), scoring=scoring))


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file as hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(2**20):
            digest.update(block)
    return digest.hexdigest()
