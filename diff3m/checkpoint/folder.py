"""A checkpoint folder: config.json (network, schema, diffusion, preprocessing, calibration), model.safetensors, README.md, and head.safetensors of an
anomaly head."""

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
from ..scoring.anomaly_head import AnomalyHead, HeadConfig
from ..scoring.record_fit import GroupFit
from ..scoring.score import RELEASED_SCORING, Scoring

CONFIG_FILE, WEIGHTS_FILE, HEAD_FILE, CARD_FILE = "config.json", "model.safetensors", "head.safetensors", "README.md"
FORMAT = 1
Module = TypeVar("Module", bound=nn.Module)


class CheckpointError(ValueError):
    """A checkpoint folder that cannot be loaded; the message says what is wrong and what to do."""


@dataclass(frozen=True)
class CheckpointConfig:
    """What config.json holds. scoring carries the calibration, fit and prior_fit those of the record's fit by explanation
    group, beside the film and before it is seen (empty: not measured); training is a free record of how the weights were made;
    head says that an anomaly head lies beside the weights."""

    name: str
    network: NetworkConfig
    schema: EHRSchema
    schedule: Schedule = field(default_factory=Schedule)
    preprocessing: Preprocessing = field(default_factory=Preprocessing)
    scoring: Scoring = field(default_factory=Scoring)
    training: dict = field(default_factory=dict)
    fit: tuple[GroupFit, ...] = ()
    prior_fit: tuple[GroupFit, ...] = ()
    head: HeadConfig | None = None

    def to_dict(self) -> dict:
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
            "head": None if self.head is None else asdict(self.head),
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
                fit=tuple(map(GroupFit.from_dict, values.get("fit", ()))),
                prior_fit=tuple(map(GroupFit.from_dict, values.get("prior_fit", ()))),
                head=HeadConfig(**values["head"]) if values.get("head") else None,
                training=values.get("training", {}),
            )
        except Exception as error:  # any value may stand in the file
            raise CheckpointError(f"config.json is not a valid checkpoint configuration: {str(error)[:200]}") from None
        if config.network.slots != config.schema.slots:
            raise CheckpointError(
                "config.json contradicts itself: the network's token slots are not those of the EHR schema."
            )
        return config


@dataclass(frozen=True)
class Checkpoint:
    """A loaded checkpoint. sha256, head_sha256: of the weights file and the head's; "" for one never saved, or without a head."""

    config: CheckpointConfig
    network: Diff3M
    folder: Path | None = None
    sha256: str = ""
    head: AnomalyHead | None = None
    head_sha256: str = ""


def load_checkpoint(folder: str | Path) -> Checkpoint:
    """Load a folder, weights as float32, network in evaluation mode. Raises CheckpointError."""
    folder = Path(folder)
    config = read_config(folder)
    network = _filled(lambda: Diff3M(config.network, config.schedule), folder / WEIGHTS_FILE)
    sha256 = file_sha256(folder / WEIGHTS_FILE)
    if config.head is None:
        return Checkpoint(config, network, folder, sha256)
    head = _filled(lambda: AnomalyHead(config.network, config.head), folder / HEAD_FILE)
    return Checkpoint(config, network, folder, sha256, head, file_sha256(folder / HEAD_FILE))


def _filled(build: Callable[[], Module], weights: Path) -> Module:
    """A module with the weights of a file, in evaluation mode. Raises CheckpointError."""
    if weights.exists() and not weights.is_file():
        raise CheckpointError(f"{weights} is no ordinary file. Copy the whole checkpoint folder.")
    try:
        module = build()
        module.load_state_dict({name: tensor.float() for name, tensor in load_file(weights).items()})
    except FileNotFoundError:
        raise CheckpointError(f"{weights.parent} holds no {weights.name}. Copy the whole checkpoint folder.") from None
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{weights} is damaged or no safetensors file: {error}") from None
    except (RuntimeError, TypeError, ValueError) as error:
        raise CheckpointError(f"{weights} does not fit the network of {CONFIG_FILE}: {str(error)[:300]}") from None
    return module.eval()


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
    state = weights.read_weights(weights)
    network_config = weights.network_config(config, state)
    schedule = weights.schedule(config)
    network = Diff3M(network_config, schedule)
    try:
        network.load_state_dict(weights.rename(state, network_config))
    except RuntimeError as error:
        raise CheckpointError(f"{weights} does not fit the configuration: {str(error)[:300]}") from None
    made = CheckpointConfig(
        name=str(config.get("name", "released")),
        network=network_config,
        schema=weights.schema(config),
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


def save_checkpoint(
    folder: str | Path, config: CheckpointConfig, network: Diff3M, dtype: torch.dtype = torch.float16
) -> Path:
    """Write weights (as `dtype`) and config.json; each file appears whole or not at all. Returns the folder."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    _write_weights(folder / WEIGHTS_FILE, network, dtype)
    write_config(folder, config)
    return folder


def save_head(folder: str | Path, config: CheckpointConfig, head: AnomalyHead) -> None:
    """Put an anomaly head beside a checkpoint's weights, and say so in its config.json."""
    _write_weights(Path(folder) / HEAD_FILE, head, torch.float32)
    write_config(folder, replace(config, head=head.config))


def _write_weights(path: Path, module: nn.Module, dtype: torch.dtype) -> None:
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


def file_sha256(path: Path) -> str:
    """Hex digest of a file."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(2**20):
            digest.update(block)
    return digest.hexdigest()
