"""A checkpoint folder: config.json (network, schema, diffusion, preprocessing, calibration), model.safetensors, README.md."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from . import released
from .diffusion import Schedule
from .ehr import EHRSchema
from .fit import GroupFit
from .network import Diff3M, NetworkConfig
from .radiograph import Preprocessing
from .scoring import RELEASED_SCORING, Scoring

CONFIG_FILE, WEIGHTS_FILE, CARD_FILE = "config.json", "model.safetensors", "README.md"
FORMAT = 1


class CheckpointError(ValueError):
    """A checkpoint folder that cannot be loaded; the message says what is wrong and what to do."""


@dataclass(frozen=True)
class CheckpointConfig:
    """What config.json holds. scoring carries the calibration, fit and prior_fit those of the record's fit by explanation
    group, beside the film and before it is seen (empty: not measured); training is a free record of how the weights were made."""

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
        return {
            "format": FORMAT,
            "name": self.name,
            "network": self.network.to_dict(),
            "schema": self.schema.to_list(),
            "diffusion": asdict(self.schedule),
            "preprocessing": asdict(self.preprocessing),
            "scoring": self.scoring.to_dict(),
            "fit": [asdict(entry) for entry in self.fit],
            "prior_fit": [asdict(entry) for entry in self.prior_fit],
            "training": self.training,
        }

    @classmethod
    def from_dict(cls, values: dict) -> CheckpointConfig:
        """Read what `to_dict` wrote. Raises CheckpointError."""
        if not isinstance(values, dict) or values.get("format") != FORMAT:
            stated = str(values.get("format") if isinstance(values, dict) else "none")[:20]
            raise CheckpointError(f"config.json has format {stated}; this version reads format {FORMAT}.")
        try:
            config = cls(
                name=values["name"],
                network=NetworkConfig.from_dict(values["network"]),
                schema=EHRSchema.from_list(values["schema"]),
                schedule=Schedule(**values["diffusion"]),
                preprocessing=Preprocessing(**values["preprocessing"]),
                scoring=Scoring.from_dict(values["scoring"]),
                fit=tuple(GroupFit(**entry) for entry in values.get("fit", ())),
                prior_fit=tuple(GroupFit(**entry) for entry in values.get("prior_fit", ())),
                training=values.get("training", {}),
            )
        except Exception as error:  # any value may stand in the file
            raise CheckpointError(f"config.json is not a valid checkpoint configuration: {str(error)[:200]}") from None
        if config.network.slots != config.schema.slots:
            raise CheckpointError("config.json contradicts itself: the network's token slots are not those of the EHR schema.")
        return config


@dataclass(frozen=True)
class Checkpoint:
    """A loaded checkpoint. sha256 is that of the weights file, "" for one never saved."""

    config: CheckpointConfig
    network: Diff3M
    folder: Path | None = None
    sha256: str = ""


def load_checkpoint(folder: str | Path) -> Checkpoint:
    """Load a folder, weights as float32, network in evaluation mode. Raises CheckpointError."""
    folder = Path(folder)
    config = read_config(folder)
    weights = folder / WEIGHTS_FILE
    if weights.exists() and not weights.is_file():
        raise CheckpointError(f"{weights} is no ordinary file. Copy the whole checkpoint folder.")
    try:
        network = Diff3M(config.network, config.schedule)
        network.load_state_dict({name: tensor.float() for name, tensor in load_file(weights).items()})
    except FileNotFoundError:
        raise CheckpointError(f"{folder} holds no {WEIGHTS_FILE}. Copy the whole checkpoint folder.") from None
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{weights} is damaged or no safetensors file: {error}") from None
    except (RuntimeError, TypeError, ValueError) as error:
        raise CheckpointError(f"{weights} does not fit the network of {CONFIG_FILE}: {str(error)[:300]}") from None
    return Checkpoint(config, network.eval(), folder, file_sha256(weights))


def load_released(weights: str | Path, config: str | Path | dict) -> Checkpoint:
    """The released code's weights (.safetensors or .pt) and configuration (JSON file or mapping) as a checkpoint.

    Reference-compatible: ten token slots, no unknown tokens, masked pixel generation in place of x_t, the released path and
    scores. Raises CheckpointError (or ReleasedError) with a sentence.
    """
    if not isinstance(config, dict):
        try:
            config = json.loads(Path(config).read_text())
        except (OSError, json.JSONDecodeError) as error:
            raise CheckpointError(f"The configuration {config} cannot be read: {error}") from None
    state = released.read_weights(weights)
    network_config = released.network_config(config, state)
    schedule = released.schedule(config)
    network = Diff3M(network_config, schedule)
    try:
        network.load_state_dict(released.rename(state, network_config))
    except RuntimeError as error:
        raise CheckpointError(f"{weights} does not fit the configuration: {str(error)[:300]}") from None
    made = CheckpointConfig(
        name=str(config.get("name", "released")),
        network=network_config,
        schema=released.schema(config),
        schedule=schedule,
        preprocessing=Preprocessing(size=network_config.image_size),
        scoring=RELEASED_SCORING,
        training={"imported": True, "ehr_constants": "given" if "ehr_mean" in config else "general adult values"},
    )
    return Checkpoint(made, network.eval())


def read_config(folder: str | Path) -> CheckpointConfig:
    """config.json alone, without the weights. Raises CheckpointError."""
    path = Path(folder) / CONFIG_FILE
    try:
        return CheckpointConfig.from_dict(json.loads(path.read_text()))
    except FileNotFoundError:
        raise CheckpointError(f"{folder} is no checkpoint folder: it holds no {CONFIG_FILE}.") from None
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} cannot be read: {str(error)[:200]}") from None


def save_checkpoint(folder: str | Path, config: CheckpointConfig, network: Diff3M, dtype: torch.dtype = torch.float16) -> Path:
    """Write weights (as `dtype`) and config.json; each file appears whole or not at all. Returns the folder."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    state = {name: tensor.detach().to("cpu", dtype).contiguous() for name, tensor in network.state_dict().items()}
    partial = folder / f"{WEIGHTS_FILE}.partial"
    save_file(state, partial)
    os.replace(partial, folder / WEIGHTS_FILE)
    write_config(folder, config)
    return folder


def write_config(folder: str | Path, config: CheckpointConfig) -> None:
    """Replace config.json in one step."""
    path = Path(folder) / CONFIG_FILE
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(config.to_dict(), indent=1, ensure_ascii=False) + "\n")
    os.replace(partial, path)


def file_sha256(path: Path) -> str:
    """Hex digest of a file."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(2**20):
            digest.update(block)
    return digest.hexdigest()
