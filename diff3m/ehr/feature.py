"""One entry of a patient's record: its unit, its range, how it is read, encoded and written."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from numbers import Real

from .constraints import Value
from .errors import EHRError
from .facts import MAX_TEXT, OTHER_VIEWS, format_age, read_age, read_sex, read_text, read_view
from .units import read_number, read_quantity

QUOTES = "Give text, in quotes where YAML would read a number, yes or no."
CATEGORY_READERS = {"sex": read_sex, "view": read_view}  # by the feature's name


@dataclass(frozen=True)
class Feature:
    """One entry of a patient's record.

    name: key in records and manifests, with its unit where two exist. label: what a person reads.
    kind: "number" or "category". group: attention group. explanation_group: features that move together when explained.
    unit, plausible (lowest, highest), mean, std: numbers only; mean and std are those of the training set, and the
    encoding is (value − mean)/std. categories and labels: allowed values, in slot order, and what a person reads.
    trained: False if the training set never held a value: the network knows the feature only as unknown.
    """

    name: str
    label: str
    kind: str
    group: str
    explanation_group: str
    unit: str = ""
    plausible: tuple[float, float] | None = None
    mean: float = 0.0
    std: float = 1.0
    categories: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    trained: bool = True

    def __post_init__(self) -> None:
        self._check_kinds()
        if self.kind not in ("number", "category"):
            raise ValueError(f'{self.name}: kind must be "number" or "category", got {self.kind!r}')
        if self.kind == "category" and len(self.categories) < 2:
            raise ValueError(f"{self.name}: a category needs at least two categories")
        if self.kind == "number" and not self.std > 0:
            raise ValueError(f"{self.name}: std must be positive, got {self.std}")
        if len(self.labels) not in (0, len(self.categories)):
            raise ValueError(
                f"{self.name}: labels must be as many as categories. Give every category a label, or leave labels out."
            )

    def _check_kinds(self) -> None:
        """Raise ValueError naming the entry that is of another kind than its field: a schema file may hold anything."""
        for field in ("name", "label", "kind", "group", "explanation_group", "unit"):
            value = getattr(self, field)
            if not isinstance(value, str) or not (value.strip() or field == "unit"):
                raise ValueError(f"{self.name}: {field} must be text, got {value!r}. {QUOTES}")
        for field in ("categories", "labels"):
            values = getattr(self, field)
            if not isinstance(values, tuple) or not all(isinstance(value, str) for value in values):
                raise ValueError(f"{self.name}: {field} must be a list of texts, got {_format(values)}. {QUOTES}")
        if not _is_number(self.mean) or not _is_number(self.std):
            raise ValueError(
                f"{self.name}: mean and std must be numbers, got {self.mean!r} and {self.std!r}. Leave them out: "
                "training finds them."
            )
        if not isinstance(self.trained, bool):
            raise ValueError(
                f"{self.name}: trained must be true or false, got {self.trained!r}. Leave it out: training finds it."
            )
        ends = self.plausible
        if ends is not None and not (
            isinstance(ends, tuple) and len(ends) == 2 and all(map(_is_number, ends)) and ends[0] < ends[1]
        ):
            raise ValueError(
                f"{self.name}: plausible must be the lowest and the highest number, such as [0, 120], got "
                f"{_format(ends)}."
            )

    @property
    def slots(self) -> int:
        """Token slots that the feature takes: 1 for a number, one per category otherwise (one-hot)."""
        return len(self.categories) if self.kind == "category" else 1

    @property
    def bounds(self) -> tuple[float, float]:
        """The lowest and highest plausible number; infinite where the schema names none."""
        return self.plausible or (-math.inf, math.inf)

    def parse(self, value: object) -> Value:
        """Return a cell, form field or argument as a value; None for unknown.

        Raises EHRError naming the field for text that is no number, an implausible number or an unlisted category.
        """
        text = read_text(value)
        if len(text) > MAX_TEXT:
            raise EHRError(f"{self.label}: the value is too long. Give a plain {self.kind}, or leave it unknown.")
        if not text:
            return None
        try:
            return self._parse_category(text) if self.kind == "category" else self._parse_number(text)
        except EHRError as error:
            raise EHRError(f"{self.label}: {error}") from None

    def _parse_category(self, text: str) -> str | None:
        """Read a category by its name or label, else as the reader of that fact understands text and label."""
        pairs = list(zip(self.categories, self.labels or self.categories, strict=True))
        for category, label in pairs:
            if text.casefold() in (category.casefold(), label.casefold()):
                return category
        reader = CATEGORY_READERS.get(self.name)
        fact = _read_as(reader, text) if reader else text
        if fact is None:
            return None
        if reader:
            for category, label in pairs:
                if fact in (category, _read_as(reader, category), _read_as(reader, label)):
                    return category
        if fact in OTHER_VIEWS:
            raise EHRError(
                f"{text!r} is {OTHER_VIEWS[fact]}; the model knows frontal films only. Leave the film out, or the view "
                "unknown."
            )
        raise EHRError(f"{text!r} is not one of {', '.join(self.categories)}. Choose one of them, or leave it unknown.")

    def _parse_number(self, text: str) -> float | None:
        number = read_age(text) if self.name == "age" else self._read_number(text)
        if number is None:
            return None
        if not math.isfinite(number):
            raise EHRError(f"{text!r} is not a finite number. Leave it unknown instead.")
        if self.plausible and not self.plausible[0] <= number <= self.plausible[1]:
            low, high = self.plausible
            raise EHRError(
                f"{number:g} {self.unit} is not plausible (expected {low:g} to {high:g} {self.unit}). "
                "Check the unit, or leave it unknown."
            )
        return number

    def _read_number(self, text: str) -> float:
        try:
            quantity = read_quantity(text, self.unit)
            return read_number(text) if quantity is None else quantity
        except ValueError:
            raise EHRError(
                f"{text!r} is not a number. Give it in {self.unit or 'plain numbers'}, or leave it unknown."
            ) from None

    def encode(self, value: Value) -> list[float]:
        """Return the feature's slots: z-score, or one-hot; NaN in each if unknown or never seen in training."""
        if value is None or not self.trained:
            return [math.nan] * self.slots
        if self.kind == "category":
            return [float(value == category) for category in self.categories]
        return [(float(value) - self.mean) / self.std]

    def format_value(self, value: Value) -> str:
        """Return the value as `parse` reads it and a form shows it, e.g. "63", "4 days", "F"; "" for unknown."""
        if value is None or self.kind == "category":
            return str(value or "")
        return format_age(float(value)) if self.name == "age" else f"{float(value):g}"

    def describe(self, value: Value) -> str:
        """Return the value as a person reads it, e.g. "63 years", "Female", "unknown"."""
        if value is None:
            return "unknown"
        if self.kind == "category":
            return dict(zip(self.categories, self.labels or self.categories, strict=True))[str(value)]
        if self.name == "age" and (text := format_age(float(value)))[-1].isalpha():
            return text
        return f"{float(value):.4g} {self.unit}".strip()


def _read_as(reader: Callable[[str], str | None], text: str) -> str | None:
    """Return what a reader makes of a text; the text itself where it does not understand it."""
    try:
        return reader(text)
    except EHRError:
        return text


def _is_number(value: object) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


def _format(value: object) -> str:
    """Return a value as a schema file has it: lists in brackets."""
    return repr(list(value) if isinstance(value, tuple) else value)
