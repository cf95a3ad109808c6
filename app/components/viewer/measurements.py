"""Measurements that come back from the viewer. A browser writes them, so every value is checked."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass

MAX_MEASUREMENTS = 50
MAX_TEXT = 2**17
UNITS = ("mm", "px")


@dataclass(frozen=True)
class Measurement:
    """One measurement of a film.

    kind: "ruler", "ratio" (cardiothoracic) or "rectangle". film: 0 for the first film, 1 for the second.
    length: of a ruler, in `unit` ("mm" or "px").
    ratio: here; normal_ratio: on the normal film, None until its lines were moved.
    box: of a rectangle, (top, left, bottom, right) in shares; width, height: in `unit`.
    mean_difference: of the first signed map inside the rectangle, in the map's own units; None without a map.
    """

    kind: str
    film: int
    unit: str | None = None
    length: float | None = None
    ratio: float | None = None
    normal_ratio: float | None = None
    box: tuple[float, float, float, float] | None = None
    width: float | None = None
    height: float | None = None
    mean_difference: float | None = None

    @property
    def text(self) -> str:
        """The measurement as a sentence for the report; a difference in percent of the whole grey range."""
        if self.kind == "ruler":
            return f"Length {_length(self.length, self.unit)}"
        if self.kind == "ratio":
            here = f"Cardiothoracic ratio {self.ratio:.2f}"
            if self.normal_ratio is None:
                return here
            return f"{here} here, {self.normal_ratio:.2f} in what is normal for this record"
        area = f"Area {_length(self.width, self.unit)} × {_length(self.height, self.unit)}"
        if self.mean_difference is None:
            return area
        return f"{area}, mean difference {100 * self.mean_difference:+.1f} %".replace("-", "−")


def read_measurements(export: str | dict | None) -> tuple[Measurement, ...]:
    """Return the viewer's export (JSON text, or the value of the event `measure`) as checked values; nothing for None.

    Raises ValueError, with a sentence for the reader, for anything else than what the viewer writes.
    """
    try:
        if isinstance(export, str):
            if len(export) > MAX_TEXT:
                raise ValueError("too long")
            export = json.loads(export)
        if export is None:
            return ()
        entries = export["measurements"]
        if export["version"] != 1 or not isinstance(entries, list) or len(entries) > MAX_MEASUREMENTS:
            raise ValueError("unknown version, or too many")
        return tuple(_measurement(entry) for entry in entries)
    except (ValueError, TypeError, KeyError, RecursionError):
        raise ValueError("The measurements could not be read. Erase them in the viewer and measure again.") from None


def _measurement(entry: dict) -> Measurement:
    kind, film = entry["kind"], entry["film"]
    if film not in (0, 1) or isinstance(film, bool):
        raise ValueError("no such film")
    if kind == "ratio":
        return Measurement(kind, film, ratio=_number(entry["ratio"]), normal_ratio=_optional(entry["normal_ratio"]))
    if entry["unit"] not in UNITS:
        raise ValueError("unknown unit")
    if kind == "ruler":
        return Measurement(kind, film, entry["unit"], length=_number(entry["length"]))
    if kind != "rectangle":
        raise ValueError("unknown kind")
    top, left, bottom, right = (_number(share) for share in entry["box"])
    return Measurement(
        kind,
        film,
        entry["unit"],
        box=(top, left, bottom, right),
        width=_number(entry["width"]),
        height=_number(entry["height"]),
        mean_difference=_optional(entry["mean_difference"]),
    )


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or abs(value) > 1e6:
        raise ValueError("not a number in range")
    return float(value)


def _optional(value: object) -> float | None:
    return None if value is None else _number(value)


def _length(value: float, unit: str) -> str:
    return f"{value:.1f} mm" if unit == "mm" else f"{value:.0f} px"
