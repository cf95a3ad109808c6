"""The patient's record: its features and groups, what contradicts itself, missing values and their encoding for the network.

`EHRSchema` is the one place that knows which features a checkpoint was trained with. Forms, tokens, attributions,
reports and manifests all ask it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace

import numpy as np

from .feature import EHRError, Feature, Value
from .units import CM_PER_INCH

Record = dict[str, Value]

HABITUS = ("bmi", "height_cm", "weight_kg")  # move as one: two of them tell the third
PULSE_PRESSURE = 10.0  # mmHg between systolic and diastolic, at least, where one of them is set beside the other


@dataclass(frozen=True)
class EHRSchema:
    """The features of a checkpoint, in token order inside each group."""

    features: tuple[Feature, ...]

    def __post_init__(self) -> None:
        seen: dict[str, str] = {}
        for name in self.names:
            if name.lower() in seen:
                raise ValueError(
                    f"two features share a name: {seen[name.lower()]} and {name}. Rename one: a manifest's columns may be in any case."
                )
            seen[name.lower()] = name

    def __getitem__(self, name: str) -> Feature:
        for feature in self.features:
            if feature.name == name:
                return feature
        raise KeyError(f"this checkpoint has no feature {name!r}")

    def __contains__(self, name: str) -> bool:
        return any(feature.name == name for feature in self.features)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(feature.name for feature in self.features)

    @property
    def groups(self) -> dict[str, tuple[Feature, ...]]:
        """Attention groups in order of first appearance."""
        return self._grouped("group")

    @property
    def explanation_groups(self) -> dict[str, tuple[Feature, ...]]:
        """Groups of features that are explained together."""
        return self._grouped("explanation_group")

    def _grouped(self, attribute: str) -> dict[str, tuple[Feature, ...]]:
        found: dict[str, list[Feature]] = {}
        for feature in self.features:
            found.setdefault(getattr(feature, attribute), []).append(feature)
        return {name: tuple(members) for name, members in found.items()}

    @property
    def slots(self) -> tuple[tuple[str, int], ...]:
        """(group, number of token slots) for the network's configuration."""
        return tuple((name, sum(feature.slots for feature in members)) for name, members in self.groups.items())

    def parse(self, values: Mapping[str, object]) -> Record:
        """Check a record: every feature of the schema, None where unknown. Keys the schema lacks are ignored.

        BMI is filled in from height and weight. Raises EHRError naming the field.
        """
        record = {feature.name: feature.parse(values.get(feature.name)) for feature in self.features}
        return self._reconcile(record)

    def _reconcile(self, record: Record) -> Record:
        height, weight, bmi = (record.get(name) for name in ("height_cm", "weight_kg", "bmi"))
        if height is not None and weight is not None and "bmi" in record:
            implied = body_mass_index(float(height), float(weight))
            if bmi is None:
                record["bmi"] = self["bmi"].parse(round(implied, 1))
            elif abs(float(bmi) - implied) > bmi_rounding(float(height), float(weight)):
                raise EHRError(
                    f"BMI: {float(bmi):g} contradicts height {float(height):g} cm and weight {float(weight):g} kg, which give "
                    f"{implied:.1f}. Correct one of the three, or leave one unknown."
                )
        systolic, diastolic = record.get("systolic_mmhg"), record.get("diastolic_mmhg")
        if systolic is not None and diastolic is not None and float(diastolic) >= float(systolic):
            raise EHRError(
                f"Blood pressure: diastolic {float(diastolic):g} mmHg is not below systolic {float(systolic):g} mmHg. "
                "They may be swapped: correct them, or leave one unknown."
            )
        return record

    def room(self, record: Record, name: str) -> tuple[float, float]:
        """Between what values one number may be set beside the rest of the record: what is plausible, and `PULSE_PRESSURE` between pressures."""
        low, high = self[name].plausible or (-math.inf, math.inf)
        systolic, diastolic = record.get("systolic_mmhg"), record.get("diastolic_mmhg")
        if name == "systolic_mmhg" and diastolic is not None:
            low = max(low, float(diastolic) + PULSE_PRESSURE)
        if name == "diastolic_mmhg" and systolic is not None:
            high = min(high, float(systolic) - PULSE_PRESSURE)
        return low, high

    def raised(self, record: Record, name: str) -> Record:
        """The record with one number a standard deviation higher; weight follows BMI. Unchanged where the number is unknown.

        Raises ValueError for a feature that is no number of this schema.
        """
        if name not in self or self[name].kind != "number":
            raise ValueError(f"{name!r} is no number of this checkpoint's record")
        if record.get(name) is None:
            return record
        return self.changed(record, name, float(record[name]) + self[name].std)

    def changed(self, record: Record, name: str, value: float) -> Record:
        """The record with another number. BMI, height and weight stay consistent: weight follows BMI and height, BMI follows weight."""
        changed = {**record, name: value}
        height = changed.get("height_cm")
        if name == "weight_kg" and "bmi" in changed:
            if height is not None:
                changed["bmi"] = body_mass_index(float(height), value)
            elif record.get("bmi") is not None and record.get("weight_kg") is not None:
                changed["bmi"] = float(record["bmi"]) * value / float(record["weight_kg"])
        elif (
            name in ("bmi", "height_cm")
            and record.get("weight_kg") is not None
            and height is not None
            and changed.get("bmi") is not None
        ):
            changed["weight_kg"] = float(changed["bmi"]) * (float(height) / 100) ** 2
        elif name == "bmi" and record.get("weight_kg") is not None and record.get("bmi") is not None:
            changed["weight_kg"] = float(record["weight_kg"]) * value / float(record["bmi"])
        return changed

    def ends(self, group: str) -> tuple[Record, Record]:
        """Two records that know one explanation group alone: its numbers a standard deviation below and above their mean, or its
        first and last category. Habitus is moved by BMI alone, which height and weight then follow. Raises KeyError."""
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
        """A parsed record as the network's float32 vector of slots, group by group; NaN where unknown."""
        slots: list[float] = []
        for members in self.groups.values():
            for feature in members:
                slots += feature.encode(record.get(feature.name))
        return np.asarray(slots, dtype=np.float32)

    def by_feature(self, group: str, weights: np.ndarray) -> dict[str, float]:
        """Per-slot weights of one group summed to its features, e.g. for attention."""
        summed, start = {}, 0
        for feature in self.groups[group]:
            summed[feature.name] = float(np.sum(weights[start : start + feature.slots]))
            start += feature.slots
        return summed

    def feature_slots(self) -> dict[str, slice]:
        """Where each feature's slots lie in the encoded vector."""
        places, start = {}, 0
        for members in self.groups.values():
            for feature in members:
                places[feature.name] = slice(start, start + feature.slots)
                start += feature.slots
        return places

    def ignored(self, record: Mapping[str, Value]) -> tuple[Feature, ...]:
        """Features that the record gives but training never saw: they cannot change the result."""
        return tuple(
            feature for feature in self.features if not feature.trained and record.get(feature.name) is not None
        )

    def fitted(self, records: list[Record]) -> EHRSchema:
        """The schema with mean, std and `trained` taken from parsed training records."""
        return EHRSchema(
            tuple(
                _fit(feature, [r[feature.name] for r in records if r[feature.name] is not None])
                for feature in self.features
            )
        )

    def to_list(self) -> list[dict]:
        return [asdict(feature) for feature in self.features]

    @classmethod
    def from_list(cls, values: list[dict]) -> EHRSchema:
        """Read what `to_list` wrote (lists from JSON become tuples)."""
        return cls(
            tuple(
                Feature(**{key: tuple(v) if isinstance(v, list) else v for key, v in entry.items()}) for entry in values
            )
        )


def _fit(feature: Feature, values: list) -> Feature:
    if not values:
        return replace(feature, trained=False)
    if feature.kind == "category":
        return replace(feature, trained=True)
    numbers = np.asarray(values, dtype=np.float64)
    return replace(feature, trained=True, mean=float(numbers.mean()), std=float(numbers.std()) or 1.0)


def body_mass_index(height_cm: float, weight_kg: float) -> float:
    """Weight in kg over the square of height in m."""
    return weight_kg / (height_cm / 100) ** 2


def bmi_rounding(height_cm: float, weight_kg: float) -> float:
    """How far a BMI may lie from height and weight when each was rounded: half an inch or 1 cm, 1 kg, and 0.5 BMI."""
    implied = body_mass_index(height_cm, weight_kg)
    return 0.5 + implied * (2 * (CM_PER_INCH / 2) / height_cm + 1 / weight_kg)


def paper_schema() -> EHRSchema:
    """The eight features of the paper, with general adult means and standard deviations until `fitted` replaces them."""

    def number(name, label, group, explanation, unit, low, high, mean, std) -> Feature:
        return Feature(name, label, "number", group, explanation, unit, (low, high), mean, std)

    return EHRSchema(
        (
            number("age", "Age", "demographics", "age", "years", 0, 120, 50, 17),
            Feature("sex", "Sex", "category", "demographics", "sex", categories=("F", "M"), labels=("Female", "Male")),
            Feature(
                "view",
                "View",
                "category",
                "demographics",
                "view",
                categories=("PA", "AP"),
                labels=("PA (standing)", "AP (lying or bedside)"),
            ),
            number("bmi", "BMI", "ehr", "habitus", "kg/m²", 10, 90, 27.5, 6),
            number("systolic_mmhg", "Systolic pressure", "ehr", "blood pressure", "mmHg", 50, 280, 125, 18),
            number("diastolic_mmhg", "Diastolic pressure", "ehr", "blood pressure", "mmHg", 20, 180, 75, 11),
            number("height_cm", "Height", "ehr", "habitus", "cm", 100, 230, 169, 10),
            number("weight_kg", "Weight", "ehr", "habitus", "kg", 25, 300, 79, 19),
        )
    )
