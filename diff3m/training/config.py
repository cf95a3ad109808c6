"""What a training run is: a YAML file read into one frozen value."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields
from pathlib import Path

import yaml

from ..ehr import EHRSchema, paper_schema
from ..network import NetworkConfig, preset


class ConfigError(ValueError):
    """A training configuration that cannot be used; the message names the setting."""


@dataclass(frozen=True)
class TrainingConfig:
    """Settings of one run.

    name, manifest, validation: the checkpoint's name; normals to train on; normals for validation and calibration.
    schema: YAML or JSON file with a list of features (the fields of `diff3m.ehr.Feature`); default, the paper's eight.
    out: folder of the run. preset, network: preset name and fields to replace. init: a checkpoint (folder, shipped name or Hub id) to start from:
    its weights are taken wherever name and shape agree.
    steps, batch_size (over all processes), learning_rate, warmup_steps, final_learning_rate (as a fraction), weight_decay,
    gradient_clip, ema: optimization. low_level, low_fraction: this share of timesteps is uniform under low_level, the
    rest over all. noise: "gaussian", or "simplex" (the baseline AnoDDPM).
    weighting: of the noise error, "noise" (paper) or "velocity" (see `diffusion_loss`).
    feature_dropout, record_dropout: chance that one feature, or all, become unknown. coalition_dropout: chance that each explanation
    group becomes unknown by a coin of its own, so that every coalition that attributions ask about was seen.
    masked_fraction: share of each batch on which masked pixel generation is trained (its expected loss is unchanged).
    rotate_degrees, shift, zoom, gamma: augmentation ranges (±; gamma and zoom as log factors).
    precision: "auto" (bf16 where the processor or GPU has it, else float32), "bf16", "fp16" or "no".
    save_minutes, log_every, validate_every: bookkeeping.
    """

    name: str
    manifest: str
    out: str
    validation: str | None = None
    schema: str | None = None
    preset: str = "compact"
    network: dict = field(default_factory=dict)
    init: str | None = None
    steps: int = 6000
    batch_size: int = 16
    learning_rate: float = 4e-4
    warmup_steps: int = 300
    final_learning_rate: float = 0.05
    weight_decay: float = 0.01
    gradient_clip: float = 1.0
    ema: float = 0.999
    low_level: int = 500
    low_fraction: float = 0.65
    noise: str = "gaussian"
    weighting: str = "noise"
    feature_dropout: float = 0.1
    record_dropout: float = 0.1
    coalition_dropout: float = 0.0
    masked_fraction: float = 0.25
    rotate_degrees: float = 0.0
    shift: float = 0.0
    zoom: float = 0.0
    gamma: float = 0.0
    precision: str = "auto"
    seed: int = 0
    save_minutes: float = 5.0
    log_every: int = 20
    validate_every: int = 500

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size", "log_every", "validate_every"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} must be at least 1, got {getattr(self, name)}")
        for name in ("low_fraction", "feature_dropout", "record_dropout", "coalition_dropout", "masked_fraction", "ema"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"{name} must lie between 0 and 1, got {getattr(self, name)}")
        if self.noise not in ("gaussian", "simplex"):
            raise ConfigError(f'noise must be "gaussian" or "simplex", got {self.noise!r}')
        if self.weighting not in ("noise", "velocity"):
            raise ConfigError(f'weighting must be "noise" or "velocity", got {self.weighting!r}')
        if self.precision not in ("auto", "bf16", "fp16", "no"):
            raise ConfigError(f'precision must be "auto", "bf16", "fp16" or "no", got {self.precision!r}')

    def network_config(self, slots: tuple[tuple[str, int], ...]) -> NetworkConfig:
        """The network of this run for a schema's slots. Raises ConfigError."""
        try:
            return preset(self.preset, **{**self.network, "slots": slots})
        except (ValueError, TypeError) as error:
            raise ConfigError(f"network: {error}") from None

    def ehr_schema(self) -> EHRSchema:
        """The features to train with. Raises ConfigError."""
        if self.schema is None:
            return paper_schema()
        try:
            return EHRSchema.from_list(yaml.safe_load(Path(self.schema).read_text(encoding="utf-8")))
        except (OSError, yaml.YAMLError, TypeError, ValueError, AttributeError) as error:
            raise ConfigError(f"schema: {self.schema} is no list of features ({error}).") from None

    @classmethod
    def from_yaml(cls, path: str | Path, **changes) -> TrainingConfig:
        """Read a YAML file; `changes` that are not None replace its values. Raises ConfigError naming the setting."""
        try:
            values = yaml.safe_load(Path(path).read_text()) or {}
        except FileNotFoundError:
            raise ConfigError(f"There is no configuration {path}. Check the path.") from None
        except (OSError, yaml.YAMLError) as error:
            raise ConfigError(f"The configuration {path} is not valid YAML: {error}") from None
        if not isinstance(values, dict):
            raise ConfigError(f"The configuration {path} must be a list of `setting: value` lines.")
        values.update({key: value for key, value in changes.items() if value is not None})
        known = {f.name: f for f in fields(cls)}
        unknown = set(values) - set(known)
        if unknown:
            raise ConfigError(f"unknown setting(s) in {path}: {', '.join(sorted(unknown))}")
        missing = [name for name in ("name", "manifest", "out") if name not in values]
        if missing:
            raise ConfigError(f"{path} lacks: {', '.join(missing)}")
        for name, value in values.items():  # YAML reads 4e-4 as text
            if known[name].type in ("float", "int") and isinstance(value, str):
                try:
                    values[name] = float(value) if known[name].type == "float" else int(value)
                except ValueError:
                    raise ConfigError(f"{name} must be a number, got {value!r}") from None
        return cls(**values)

    def to_dict(self) -> dict:
        return asdict(self)
