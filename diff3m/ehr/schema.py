"""The patient's record and its schema.

Features and groups, what contradicts itself, missing values and their encoding for the network.

`EHRSchema` is the one place that knows which features a checkpoint was trained with. Forms, tokens, attributions,
reports and manifests all ask it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from .constraints import Record, Value, allowed_range, check_pressures, number_of, with_bmi, with_value
from .feature import Feature


@dataclass(frozen=True)
class EHRSchema:
    """The features of a checkpoint, in token order inside each group."""

    features: tuple[Feature, ...]

    def __post_init__(self) -> None:
        unique: dict[str, str] = {}
        for name in self.names:
            if name.lower() in unique:
                raise ValueError(
                    f"two features share a name: {unique[name.lower()]} and {name}. Rename one: a manifest's columns "
                    "may be in any case."
                )
            unique[name.lower()] = name

    def __getitem__(self, name: str) -> Feature:
        for feature in self.features:
            if feature.name == name:
                return feature
        raise KeyError(f"this checkpoint has no feature {name!r}")

    def __contains__(self, name: str) -> bool:
        return any(feature.name == name for feature in self.features)

    @property
    def names(self) -> tuple[str, ...]:
        """The features' names in token order."""
        return tuple(feature.name for feature in self.features)

    @property
    def groups(self) -> dict[str, tuple[Feature, ...]]:
        """Attention groups in order of first appearance."""
        return self._group("group")

    @property
    def explanation_groups(self) -> dict[str, tuple[Feature, ...]]:
        """Groups of features that are explained together."""
        return self._group("explanation_group")

    def _group(self, attribute: str) -> dict[str, tuple[Feature, ...]]:
        groups: dict[str, list[Feature]] = {}
        for feature in self.features:
            groups.setdefault(getattr(feature, attribute), []).append(feature)
        return {name: tuple(members) for name, members in groups.items()}

    @property
    def slots(self) -> tuple[tuple[str, int], ...]:
        """(group, number of token slots) for the network's configuration."""
        return tuple((name, sum(feature.slots for feature in members)) for name, members in self.groups.items())

    def parse(self, values: Mapping[str, object]) -> Record:
        """Check a record: every feature of the schema, None where unknown. Keys the schema lacks are ignored.

        BMI is filled in from height and weight. Raises EHRError naming the field.
        """
        record = {feature.name: feature.parse(values.get(feature.name)) for feature in self.features}
        complete = with_bmi(record)
        if complete.get("bmi") is not None and record.get("bmi") is None:
            self["bmi"].parse(complete["bmi"])  # height and weight may each be plausible, and give a BMI that is not
        check_pressures(complete)
        return complete

    def allowed_range(self, record: Record, name: str) -> tuple[float, float]:
        """Return the lowest and highest value a number may take beside the rest of a record; see `constraints`."""
        return allowed_range(record, name, self[name].plausible)

    def with_higher(self, record: Record, name: str) -> Record:
        """Return the record with one number a standard deviation higher; weight follows BMI.

        Unchanged where the number is unknown.

        Raises ValueError for a feature that is no number of this schema.
        """
        if name not in self or self[name].kind != "number":
            raise ValueError(f"{name!r} is no number of this checkpoint's record")
        value = number_of(record, name)
        return record if value is None else self.with_value(record, name, value + self[name].std)

    def with_value(self, record: Record, name: str, value: float) -> Record:
        """Return the record with another number, BMI, height and weight consistent; see `constraints.with_value`."""
        return with_value(record, name, value)

    def contrast_records(self, group: str) -> tuple[Record, Record]:
        """Return two records that know one explanation group alone.

        Its numbers lie a standard deviation below and above their mean, or it is the first and the last category.
        Habitus is moved by BMI alone, which height and weight then follow. Raises KeyError.
        """
        members = self.explanation_groups[group]
        members = tuple(feature for feature in members if feature.name == "bmi") or members
        unknown: Record = dict.fromkeys(self.names)
        low, high = dict(unknown), dict(unknown)
        for feature in members:
            if feature.kind == "category":
                low[feature.name], high[feature.name] = feature.categories[0], feature.categories[-1]
            else:
                low[feature.name], high[feature.name] = feature.mean - feature.std, feature.mean + feature.std
        return low, high

    def encode(self, record: Mapping[str, Value]) -> np.ndarray:
        """Return a parsed record as the network's float32 vector of slots, group by group; NaN where unknown."""
        slots: list[float] = []
        for members in self.groups.values():
            for feature in members:
                slots += feature.encode(record.get(feature.name))
        return np.asarray(slots, dtype=np.float32)

    def sum_by_feature(self, group: str, weights: np.ndarray) -> dict[str, float]:
        """Return the per-slot weights of one group summed to its features, e.g. for attention."""
        totals, start = {}, 0
        for feature in self.groups[group]:
            totals[feature.name] = float(np.sum(weights[start : start + feature.slots]))
            start += feature.slots
        return totals

    def feature_slices(self) -> dict[str, slice]:
        """Return where each feature's slots lie in the encoded vector."""
        places, start = {}, 0
        for members in self.groups.values():
            for feature in members:
                places[feature.name] = slice(start, start + feature.slots)
                start += feature.slots
        return places

    def ignored_features(self, record: Mapping[str, Value]) -> tuple[Feature, ...]:
        """Return features that the record gives but training never saw: they cannot change the result."""
        return tuple(
            feature for feature in self.features if not feature.trained and record.get(feature.name) is not None
        )

    def fit(self, records: list[Record]) -> EHRSchema:
        """Return the schema with mean, std and `trained` of parsed training records."""
        return EHRSchema(
            tuple(
                _fit(feature, [r[feature.name] for r in records if r[feature.name] is not None])
                for feature in self.features
            )
        )

    def to_list(self) -> list[dict]:
        """Return plain values for a JSON file; `from_list` reads them."""
        return [asdict(feature) for feature in self.features]

    @classmethod
    def from_list(cls, values: list[dict]) -> EHRSchema:
        """Read what `to_list` wrote (lists from JSON become tuples)."""
        return cls(tuple(Feature(**{str(key): _as_tuple(value) for key, value in entry.items()}) for entry in values))


def _as_tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _fit(feature: Feature, values: list) -> Feature:
    if not values:
        return replace(feature, trained=False)
    if feature.kind == "category":
        return replace(feature, trained=True)
    numbers = np.asarray(values, dtype=np.float64)
    return replace(feature, trained=True, mean=float(numbers.mean()), std=float(numbers.std()) or 1.0)
