"""Score files: components and settings of a score as YAML or JSON, for `diff3m calibrate` and `diff3m search-score`.

A score file is a mapping. Keys that it leaves out keep the checkpoint's values:

    components:            # the measurements, see `score.Component`
      - {kind: absolute, sigma: 2, level: 400}
      - {kind: ssim, sigma: 6, level: 30, source: one_step}
    noise_level: 400       # of the reconstruction that is displayed
    steps: 10              # DDIM steps each way at noise_level
    rounds: 1              # how often noising is repeated
    estimate: x_t          # or masked_pixels
    combine: mean          # or max
    window: [0.11, 0.09, 0.19, 0.09]   # shares of top, right, bottom and left that are left out; null: the margin

and likewise reconstruction, margin, chest, one_step_noises, mirrored_noises and heat_sigma of `score.Scoring`. A
component needs a kind; sigma is 0 and level is noise_level where they are left out.

A candidates file holds the same keys for all candidates, and `candidates`: by name, a mapping of the keys that differ.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, fields, replace
from pathlib import Path
from typing import Any

import yaml

from .score import Component, Scoring

COMPONENT_TYPES = {
    "kind": str,
    "sigma": float,
    "level": int,
    "source": str,
    "share": float,
    "relative": bool,
    "feature": str,
}
SETTING_TYPES = {
    "noise_level": int,
    "steps": int,
    "rounds": int,
    "estimate": str,
    "combine": str,
    "margin": float,
    "one_step_noises": int,
    "mirrored_noises": bool,
    "chest": bool,
    "heat_sigma": float,
    "reconstruction": str,
}
KEYS = ("components", "window", *SETTING_TYPES)
TYPE_WORDS = {str: "text", float: "a number", int: "a whole number", bool: "true or false"}


class ScoreFileError(ValueError):
    """A score or candidates file that cannot be used; the message names the key and says what it may be."""


def read_score(path: str | Path, base: Scoring) -> Scoring:
    """Read a score file.

    base: the scoring that gives the values of missing keys. Returns a scoring without calibration. Raises
    ScoreFileError.
    """
    return _scoring(_read_mapping(path), base, Path(path).name)


def read_candidates(path: str | Path, base: Scoring) -> dict[str, Scoring]:
    """Read a candidates file.

    base: as in `read_score`. Returns scorings without calibration, by name in the file's order. Raises ScoreFileError.
    """
    values, name = _read_mapping(path), Path(path).name
    candidates = values.pop("candidates", None)
    if not isinstance(candidates, Mapping) or not candidates:
        raise ScoreFileError(f"{name} needs `candidates`: a mapping of names to the score of each.")
    common = _scoring(values, base, name)
    scorings = {}
    for title, settings in candidates.items():
        if not isinstance(settings, Mapping):
            raise ScoreFileError(f"{name}: the candidate {title!r} must be a mapping, e.g. {{components: […]}}.")
        scorings[str(title)] = _scoring(settings, common, f"{name}, candidate {title!r}")
    return scorings


def write_score(path: str | Path, scoring: Scoring) -> None:
    """Write the score file of a scoring, without its calibration."""
    values: dict[str, Any] = {"components": [_component_values(component) for component in scoring.components]}
    values |= {name: getattr(scoring, name) for name in SETTING_TYPES}
    values["window"] = None if scoring.window is None else list(scoring.window)
    Path(path).write_text(yaml.safe_dump(values, sort_keys=False, allow_unicode=True))


def _component_values(component: Component) -> dict:
    """Return the values of a component that differ from the defaults."""
    values = {field.name: getattr(component, field.name) for field in fields(component)}
    return {f.name: values[f.name] for f in fields(component) if f.default is MISSING or values[f.name] != f.default}


def _read_mapping(path: str | Path) -> dict:
    """Read a file as a mapping. Raises ScoreFileError."""
    try:
        values = yaml.safe_load(Path(path).read_text())
    except FileNotFoundError:
        raise ScoreFileError(f"There is no score file {path}. Check the path.") from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ScoreFileError(f"{path} cannot be read as YAML or JSON: {str(error)[:200]}") from None
    if not isinstance(values, dict):
        raise ScoreFileError(f"{path} must be a mapping of {', '.join(KEYS)}.")
    return values


def _scoring(values: Mapping, base: Scoring, name: str) -> Scoring:
    """Return `base` with the values of a file, without calibration. name: of the file, for messages."""
    _check_keys(values, KEYS, name)
    settings: dict[str, Any] = {
        key: _check_type(values[key], kind, f"{name}: `{key}`") for key, kind in SETTING_TYPES.items() if key in values
    }
    if "window" in values:
        settings["window"] = _window(values["window"], name)
    try:
        scoring = replace(base, calibration=(), **settings)
    except ValueError as error:
        raise ScoreFileError(f"{name}: {error}.") from None
    if "components" not in values:
        return scoring
    return replace(scoring, components=_components(values["components"], scoring.noise_level, name))


def _window(value: object, name: str) -> tuple[float, float, float, float] | None:
    """Return a window of a file. name: of the file, for messages. Raises ScoreFileError."""
    if value is None:
        return None
    if not isinstance(value, list) or len(value) != 4:
        raise ScoreFileError(f"{name}: `window` must be four shares, of top, right, bottom and left, or null.")
    top, right, bottom, left = (_check_type(share, float, f"{name}: each share of `window`") for share in value)
    return top, right, bottom, left


def _components(entries: object, noise_level: int, name: str) -> tuple[Component, ...]:
    """Return the components of a file. noise_level: the default level. Raises ScoreFileError."""
    if not isinstance(entries, list) or not entries:
        raise ScoreFileError(f"{name}: `components` must be a list of at least one component.")
    components = []
    for number, entry in enumerate(entries, start=1):
        where = f"{name}, component {number}"
        if not isinstance(entry, Mapping) or "kind" not in entry:
            raise ScoreFileError(f"{where}: it must be a mapping with a `kind`, e.g. {{kind: absolute, sigma: 2}}.")
        _check_keys(entry, COMPONENT_TYPES, where)
        values = {key: _check_type(value, COMPONENT_TYPES[key], f"{where}: `{key}`") for key, value in entry.items()}
        try:
            component = Component(**{"sigma": 0.0, "level": noise_level, **values})
        except ValueError as error:
            raise ScoreFileError(f"{where}: {error}.") from None
        if component in components:
            raise ScoreFileError(f"{where} stands there twice. Remove one.")
        components.append(component)
    return tuple(components)


def _check_keys(values: Mapping, known, where: str) -> None:
    """Raise ScoreFileError for keys that are not known. where: beginning of the message."""
    unknown = [str(key) for key in values if key not in known]
    if unknown:
        raise ScoreFileError(f"{where}: there is no key {', '.join(unknown)}; it may hold {', '.join(known)}.")


def _check_type(value: object, kind: type, where: str):
    """Return a value as the type that it must have. Raises ScoreFileError."""
    if kind is float and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise ScoreFileError(f"{where} must be {TYPE_WORDS[kind]}, got {value!r}.")
    return value
