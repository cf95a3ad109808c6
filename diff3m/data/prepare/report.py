"""A report on the rows of a table: which were dropped, changed or noted, and why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from ..manifest import NORMAL

NOT_FRONTAL = "not a frontal film"
MAX_NAMES = 20  # rows that a report names of those that are no frontal films; of any other reason it names all
MAX_LABELS = 10  # labels that are listed, the most frequent first


@dataclass
class Report:
    """Counts of a table's rows by what was done with them.

    input_rows, output_rows: of the table, and of the manifest.
    drops: rows that were left out, by reason.
    refusals: values that were set to unknown, by reason; their rows stay.
    omissions: records of the source that gave no value, by reason.
    notes: rows that stay as they are, by what the user should know of them.
    missing: rows without a value, by feature.
    labels: rows by label, "" for none.
    names: the rows of each reason.
    """

    input_rows: int = 0
    output_rows: int = 0
    drops: Counter = field(default_factory=Counter)
    refusals: Counter = field(default_factory=Counter)
    omissions: Counter = field(default_factory=Counter)
    notes: Counter = field(default_factory=Counter)
    missing: dict[str, int] = field(default_factory=dict)
    labels: Counter = field(default_factory=Counter)
    names: dict[str, list[str]] = field(default_factory=dict)

    def drop(self, reason: str, names: Iterable[object]) -> None:
        """Count dropped rows under a reason."""
        self._count(self.drops, reason, names)

    def refuse(self, reason: str, names: Iterable[object]) -> None:
        """Count values that were set to unknown under a reason; their rows stay."""
        self._count(self.refusals, reason, names)

    def omit(self, reason: str, names: Iterable[object]) -> None:
        """Count records of the source that gave no value; a film may still have the value from another record."""
        self._count(self.omissions, reason, names)

    def note(self, reason: str, names: Iterable[object]) -> None:
        """Count rows that stay as they are, but of which the user should know something."""
        self._count(self.notes, reason, names)

    def _count(self, counter: Counter, reason: str, names: Iterable[object]) -> None:
        texts = [str(name) for name in names]
        if texts:
            counter[reason] += len(texts)
            examples = self.names.setdefault(reason, [])
            examples.extend(texts[: MAX_NAMES - len(examples)] if reason == NOT_FRONTAL else texts)

    def format_lines(self) -> list[str]:
        """Return the report as lines of text."""
        lines = [f"{self.input_rows} rows read, {self.output_rows} kept"]
        lines += [f"dropped, {reason}: {count}" for reason, count in self.drops.most_common()]
        lines += [f"value left unknown, {reason}: {count}" for reason, count in self.refusals.most_common()]
        lines += [f"record of the source not used, {reason}: {count}" for reason, count in self.omissions.most_common()]
        lines += [f"kept, {reason}: {count}" for reason, count in self.notes.most_common()]
        lines += [f"missing {name}: {count} of {self.output_rows}" for name, count in self.missing.items()]
        return lines + self._format_labels() if self.output_rows else lines

    def _format_labels(self) -> list[str]:
        """Return a line on the number of films by label, `normal` first, and a warning where none is normal."""
        others = [(label, count) for label, count in self.labels.most_common() if label not in (NORMAL, "")]
        counts = [(NORMAL, self.labels[NORMAL]), *others[:MAX_LABELS]]
        if rest := others[MAX_LABELS:]:
            counts.append((f"{len(rest)} others", sum(count for _, count in rest)))
        if self.labels[""]:
            counts.append(("without one", self.labels[""]))
        lines = ["label: " + ", ".join(f"{label} {count}" for label, count in counts)]
        if not self.labels[NORMAL]:
            lines.append(
                f"warning: no film is labelled `{NORMAL}`, so none can be trained or calibrated on. Write `{NORMAL}` "
                "in the column `label`."
            )
        return lines

    def to_dict(self) -> dict:
        """Return plain values for a JSON file."""
        return {name: dict(value) if isinstance(value, dict) else value for name, value in vars(self).items()}


def keep_rows(
    rows: pd.DataFrame, good: pd.Series | np.ndarray, report: Report, reason: str, name: str = "path"
) -> pd.DataFrame:
    """Return the rows that are good; the others are counted as dropped, under the values of the column `name`."""
    good = np.asarray(good, dtype=bool)
    report.drop(reason, rows.loc[~good, name])
    return rows[good]
