"""The configuration of a training run, read from a YAML file."""

from __future__ import annotations

import math
import os
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path

import yaml

from ..data.painted.painter import KINDS
from ..diffusion import Schedule
from ..ehr import EHRSchema, paper_schema
from ..network import NetworkConfig, preset

CHOICES = {
    "noise": ("gaussian", "simplex"),
    "weighting": ("noise", "velocity"),
    "precision": ("auto", "bf16", "fp16", "no"),
}
POSITIVE = ("learning_rate", "gradient_clip")  # 0 would train nothing
RANGES = {  # of every other number, ends included
    **dict.fromkeys(("steps", "batch_size", "log_every", "validate_every"), (1, math.inf)),
    **dict.fromkeys(("warmup_steps", "weight_decay", "save_minutes", "zoom", "gamma"), (0, math.inf)),
    **dict.fromkeys(
        ("low_fraction", "feature_dropout", "record_dropout", "coalition_dropout", "masked_fraction", "ema"), (0, 1)
    ),
    **dict.fromkeys(("final_learning_rate", "shift"), (0, 1)),
    **dict.fromkeys(("healing_fraction", "healing_low_fraction", "painted_fraction", "device_fraction"), (0, 1)),
    **dict.fromkeys(("healing_weight", "lesion_weight"), (0, math.inf)),
    "low_level": (1, Schedule().timesteps),
    "healing_level": (1, Schedule().timesteps),
    "rotate_degrees": (0, 180),
    "seed": (0, 2**32 - 1),
}
# settings that may change when a run is resumed, because they do not change what is learned; films and features are
# compared themselves
BOOKKEEPING = (
    "name",
    "manifest",
    "validation",
    "schema",
    "out",
    "steps",
    "save_minutes",
    "log_every",
    "validate_every",
)


class ConfigError(ValueError):
    """A training configuration that cannot be used; the message names the setting."""


@dataclass(frozen=True)
class TrainingConfig:
    """Settings of one run.

    name: of the checkpoint.
    manifest: films and records to train on; only normals are used.
    out: folder of the run.
    validation: manifest whose normals validation uses; None for no validation.
    schema: YAML or JSON file with a list of features (the fields of `diff3m.ehr.Feature`); default, the paper's eight.
    preset, network: name of a `diff3m.network` preset, and fields of it to replace.
    init: checkpoint (folder, shipped name or Hub id) to start from; weights are copied where name and shape agree.
    steps, batch_size: optimization steps, and films in each over all processes.
    learning_rate, warmup_steps, final_learning_rate: its peak, the steps of its linear rise, and its end as a fraction
        of the peak.
    weight_decay, gradient_clip, ema: of AdamW, the largest norm of the gradient, and the decay of averaged weights.
    low_level, low_fraction: the fraction low_fraction of timesteps is uniform below low_level, the rest over all.
    noise: "gaussian", or "simplex" (the baseline AnoDDPM).
    weighting: of the noise error, "noise" (paper) or "velocity" (see `LossSettings`).
    feature_dropout, record_dropout: probability that one feature, or all, become unknown.
    coalition_dropout: probability that a record loses each explanation group with probability ½, so that training
        sees every coalition that attributions evaluate.
    masked_fraction: share of each batch on which masked pixel generation is trained (its expected loss is unchanged).
    rotate_degrees, shift, zoom, gamma: augmentation ranges (±; shift as a share of the side, gamma and zoom as log
        factors).
    healing_weight: weight of the healing term in the loss (0 = none).
    lesion_weight: how much more an error inside a painted lesion counts in it than elsewhere.
    healing_fraction: share of each batch that healing is trained on.
    healing_level, healing_low_fraction: the fraction healing_low_fraction of healing's timesteps is uniform below
        healing_level, the rest over all.
    painted_fraction, device_fraction: probability that a healing film has lesions on the input alone, and devices,
        writing and the like on input and target.
    held_out_kinds: kinds of painted lesions (`diff3m.data.painted.painter.KINDS`) that training leaves out, to measure
        on them.
    precision: "auto" (bf16 where the processor or GPU has it, else float32), "bf16", "fp16" or "no".
    seed: of weights, order, noise and augmentation.
    save_minutes: time between saves, minutes.
    log_every, validate_every: steps between log rows and between validations.

    Raises ConfigError for values out of range.
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
    healing_weight: float = 0.0
    lesion_weight: float = 3.0
    healing_fraction: float = 0.5
    healing_level: int = 300
    healing_low_fraction: float = 0.85
    painted_fraction: float = 0.6
    device_fraction: float = 0.5
    held_out_kinds: list = field(default_factory=list)
    precision: str = "auto"
    seed: int = 0
    save_minutes: float = 5.0
    log_every: int = 20
    validate_every: int = 500

    def __post_init__(self) -> None:
        for setting in fields(self):
            name, kind, value = setting.name, setting.type, getattr(self, setting.name)
            if name in CHOICES:
                _check_choice(name, value)
            elif kind in ("int", "float"):
                _check_number(name, kind, value)
            elif kind == "list":
                _check_kinds(name, value)
            elif kind == "dict":
                if not isinstance(value, dict):
                    raise ConfigError(f"{name} must be `field: value` pairs, got {value!r}")
            elif not (isinstance(value, str | os.PathLike) and str(value)) and not (
                value is None and kind == "str | None"
            ):
                raise ConfigError(f"{name} must be text, got {value!r}")

        if self.heals and round(self.batch_size * self.healing_fraction) + self._masked_count > self.batch_size:
            raise ConfigError(
                "healing_fraction and masked_fraction must leave room for each other in a batch; lower one."
            )

    @property
    def heals(self) -> bool:
        """Whether the healing term is part of the loss."""
        return self.healing_weight > 0 and round(self.batch_size * self.healing_fraction) > 0

    @property
    def _masked_count(self) -> int:
        return max(1, round(self.masked_fraction * self.batch_size))

    def learning_rate_at(self, step: int) -> float:
        """Return the learning rate of a step, from 0: a linear rise, then a linear fall to `final_learning_rate`."""
        warm = min(1.0, (step + 1) / max(1, self.warmup_steps))
        decay = 1 - (1 - self.final_learning_rate) * min(1.0, step / self.steps)
        return self.learning_rate * warm * decay

    def network_config(self, slots: tuple[tuple[str, int], ...]) -> NetworkConfig:
        """Return the network of this run for a schema's slots. Raises ConfigError."""
        try:
            return preset(self.preset, **{**self.network, "slots": slots})
        except (ValueError, TypeError) as error:
            raise ConfigError(f"network: {error}") from None

    def ehr_schema(self) -> EHRSchema:
        """Return the features to train with. Raises ConfigError."""
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
            values = yaml.safe_load(Path(path).read_text(encoding="utf-8")) or {}
        except FileNotFoundError:
            raise ConfigError(f"There is no configuration {path}. Check the path.") from None
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise ConfigError(f"The configuration {path} is not valid YAML: {error}") from None
        if not isinstance(values, dict):
            raise ConfigError(f"The configuration {path} must be a list of `setting: value` lines.")
        values.update({key: value for key, value in changes.items() if value is not None})
        known = {f.name: f for f in fields(cls)}
        unknown = set(values) - set(known)
        if unknown:
            raise ConfigError(f"unknown setting(s) in {path}: {', '.join(sorted(map(str, unknown)))}")
        missing = [name for name in ("name", "manifest", "out") if name not in values]
        if missing:
            raise ConfigError(f"{path} lacks: {', '.join(missing)}")
        if values.get("precision") is False:  # YAML reads no as false
            values["precision"] = "no"
        for name, value in values.items():  # YAML reads 4e-4 as text
            if known[name].type in ("float", "int") and isinstance(value, str):
                try:
                    values[name] = float(value) if known[name].type == "float" else int(value)
                except ValueError:
                    raise ConfigError(f"{name} must be a number, got {value!r}") from None
        return cls(**values)

    def to_dict(self) -> dict:
        """Return plain values for JSON."""
        return asdict(self)

    def fixed_settings(self) -> dict:
        """Return the settings that must not change while a run goes on: all but `BOOKKEEPING`."""
        return {name: value for name, value in self.to_dict().items() if name not in BOOKKEEPING}


def _check_choice(name: str, value: object) -> None:
    """Raise ConfigError for a value that is not one of the setting's choices."""
    if value not in CHOICES[name]:
        *others, last = (f'"{choice}"' for choice in CHOICES[name])
        raise ConfigError(f"{name} must be {', '.join(others)} or {last}, got {value!r}")


def _check_kinds(name: str, value: object) -> None:
    """Raise ConfigError for unknown kinds of lesions, or for all of them."""
    values = value if isinstance(value, list) else [value]
    unknown = [str(kind) for kind in values if kind not in KINDS]
    if unknown:
        raise ConfigError(f"{name} must be a list of {', '.join(KINDS)}; got {', '.join(unknown)}")
    if len(set(values)) == len(KINDS):
        raise ConfigError(f"{name} leaves no lesion to paint; take one out of the list.")


def _check_number(name: str, kind: str, value: object) -> None:
    """Raise ConfigError for a value that is no finite number of its kind ("int", "float") or is out of range."""
    whole = kind == "int"
    if (
        isinstance(value, bool)
        or not isinstance(value, int if whole else int | float)
        or (not whole and not math.isfinite(value))
    ):
        raise ConfigError(f"{name} must be {'a whole' if whole else 'a finite'} number, got {value!r}")
    if name in POSITIVE:
        if not value > 0:
            raise ConfigError(f"{name} must be above 0, got {value}")
        return
    low, high = RANGES[name]
    if not low <= value <= high:
        raise ConfigError(
            f"{name} must {f'be at least {low}' if high == math.inf else f'lie between {low} and {high}'}, got {value}"
        )
