"""What became of the rows of a table, counted and named, for who has to answer for the data."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from ..manifest import NORMAL

NOT_FRONTAL = "not a frontal film"  # a reason to drop a row that is no problem: a report names `NAMED` of them, of any other reason all
NAMED = 20
SHOWN_LABELS = 10  # the most frequent, as lines


@dataclass
class Report:
    """Counts of rows kept, dropped and why, values missing or refused, records of the source left, rows to be looked at, each by name, and of
    labels ("" for none)."""

    read: int = 0
    kept: int = 0
    dropped: Counter = field(default_factory=Counter)
    refused: Counter = field(default_factory=Counter)
    left: Counter = field(default_factory=Counter)
    noted: Counter = field(default_factory=Counter)
    missing: dict[str, int] = field(default_factory=dict)
    labels: Counter = field(default_factory=Counter)
    named: dict[str, list[str]] = field(default_factory=dict)

    def drop(self, reason: str, names: Iterable[object]) -> None:
        """Count dropped rows under a reason."""
        self._count(self.dropped, reason, names)

    def refuse(self, reason: str, names: Iterable[object]) -> None:
        """Count values that were set to unknown under a reason; their rows stay."""
        self._count(self.refused, reason, names)

    def leave(self, reason: str, names: Iterable[object]) -> None:
        """Count records of the source that entered no mean; whether a film misses a value for it is another question."""
        self._count(self.left, reason, names)

    def note(self, reason: str, names: Iterable[object]) -> None:
        """Count rows that stay as they are, of which something is to be known."""
        self._count(self.noted, reason, names)

    def _count(self, counter: Counter, reason: str, names: Iterable[object]) -> None:
        names = [str(name) for name in names]
        if names:
            counter[reason] += len(names)
            named = self.named.setdefault(reason, [])
            named.extend(names[: NAMED - len(named)] if reason == NOT_FRONTAL else names)

    def lines(self) -> list[str]:
        """The report as sentences."""
        lines = [f"{self.read} rows read, {self.kept} kept"]
        lines += [f"dropped, {reason}: {count}" for reason, count in self.dropped.most_common()]
        lines += [f"value left unknown, {reason}: {count}" for reason, count in self.refused.most_common()]
        lines += [f"record of the source not used, {reason}: {count}" for reason, count in self.left.most_common()]
        lines += [f"kept, {reason}: {count}" for reason, count in self.noted.most_common()]
        lines += [f"missing {name}: {count} of {self.kept}" for name, count in self.missing.items()]
        return lines + self._label_lines() if self.kept else lines

    def _label_lines(self) -> list[str]:
        """How many films have which label, `normal` first; and a warning where no film can be learned from."""
        others = [(label, count) for label, count in self.labels.most_common() if label not in (NORMAL, "")]
        shown = [(NORMAL, self.labels[NORMAL]), *others[:SHOWN_LABELS]]
        shown += (
            [(f"{len(others) - SHOWN_LABELS} others", sum(count for _, count in others[SHOWN_LABELS:]))]
            if others[SHOWN_LABELS:]
            else []
        )
        shown += [("without one", self.labels[""])] if self.labels[""] else []
        lines = ["label: " + ", ".join(f"{label} {count}" for label, count in shown)]
        if not self.labels[NORMAL]:
            lines.append(
                f"warning: no film is labelled `{NORMAL}`, so none can be trained or calibrated on. Write `{NORMAL}` in the column `label`."
            )
        return lines

    def to_dict(self) -> dict:
        values = {name: getattr(self, name) for name in ("read", "kept", "missing", "named")}
        return values | {name: dict(getattr(self, name)) for name in ("dropped", "refused", "left", "noted", "labels")}


def keep(
    rows: pd.DataFrame, good: pd.Series | np.ndarray, report: Report, reason: str, name: str = "path"
) -> pd.DataFrame:
    """The rows that are good; the others are counted under a reason."""
    good = np.asarray(good, dtype=bool)
    report.drop(reason, rows.loc[~good, name])
    return rows[good]
