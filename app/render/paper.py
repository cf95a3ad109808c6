"""Text on a page of paper: columns that wrap by the measured width of their words, so that nothing runs over."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import text_to_path

MM = 1 / 25.4  # inches
A4 = (210.0, 297.0)  # millimeters
LINE = 1.35  # line height, in font sizes
POINT = 25.4 / 72  # millimeters
ELLIPSIS = "…"
DPI = 300  # of printed pictures
BREAK = re.compile(r"(?<!\d)\s+|\s+(?!(?:%|mmHg|kg|cm|mm)(?:\W|$))")  # not between a number and its unit


def new_page() -> Figure:
    """Return an empty A4 page, upright."""
    return Figure(figsize=(A4[0] * MM, A4[1] * MM), dpi=DPI)


def area(left: float, top: float, width: float, height: float) -> tuple[float, float, float, float]:
    """Return a rectangle in millimeters from the upper left corner as matplotlib's (left, bottom, width, height)."""
    return left / A4[0], 1 - (top + height) / A4[1], width / A4[0], height / A4[1]


@dataclass
class Column:
    """A column of text on a page, filled from the top. Lengths are in millimeters from the upper left corner.

    left, width: of the column. top: where the next line begins; moves down. bottom: nothing is written below it.
    """

    page: Figure
    left: float
    width: float
    top: float
    bottom: float
    widths: dict[tuple[str, float, str], float] = field(default_factory=dict, repr=False)

    def write(self, text: str, size: float = 8.5, weight: str = "normal", color: str = "#102030") -> bool:
        """Write a paragraph.

        size: of the font in points. Returns whether all of it fitted; where not, the last line ends in "…".
        """
        lines = self.wrap(text, size, weight)
        height = size * LINE * POINT
        room = int((self.bottom - self.top) / height + 1e-6)
        if room < 1:
            return False
        if len(lines) > room:
            lines = [*lines[: room - 1], self._shorten(f"{lines[room - 1]} {ELLIPSIS}", size, weight)]
        for line in lines:
            self._line(self.left, line, size, weight, color)
            self.top += height
        return lines[-1:] != [] and not lines[-1].endswith(ELLIPSIS)

    def rows(self, rows: Sequence[tuple[str, str]], size: float = 8.5, share: float = 0.45) -> bool:
        """Write rows of a name and its value, each wrapped in its own part of the width.

        share: of the width that the names have. Returns whether all rows fitted; where not, a last line says how many
        are missing.
        """
        height = size * LINE * POINT
        names = Column(self.page, self.left, share * self.width - 2, 0, 0, self.widths)
        values = Column(self.page, self.left + share * self.width, (1 - share) * self.width, 0, 0, self.widths)
        for index, (name, value) in enumerate(rows):
            parts = [names.wrap(name, size), values.wrap(value, size)]
            lines = max(map(len, parts))
            spare = 0 if index == len(rows) - 1 else 1  # for the line that says what is missing
            if self.top + (lines + spare) * height > self.bottom + 1e-6:
                self.write(f"{ELLIPSIS} {len(rows) - index} more", size)
                return False
            for column, text_lines in zip((names, values), parts, strict=True):
                for number, line in enumerate(text_lines):
                    self._line(column.left, line, size, "normal", "#102030", self.top + number * height)
            self.top += lines * height
        return True

    def space(self, height: float) -> None:
        """Leave some height empty."""
        self.top += height

    def wrap(self, text: str, size: float, weight: str = "normal") -> list[str]:
        """Break a text into lines of at most the column's width, but never between a number and its unit.

        A word that is longer than a line is broken too.
        """
        lines, line = [], ""
        for word in BREAK.split(text.strip()):
            attempt = f"{line} {word}".strip()
            if self._measure(attempt, size, weight) <= self.width:
                line = attempt
                continue
            if line:
                lines.append(line)
            line = word
            while self._measure(line, size, weight) > self.width:
                end = self._fitting(line, size, weight)
                lines.append(line[:end])
                line = line[end:]
        return [*lines, line] if line else lines

    def _fitting(self, word: str, size: float, weight: str) -> int:
        """Return how many characters of a word fit into a line, at least one."""
        low, high = 1, len(word)
        while low < high:
            middle = (low + high + 1) // 2
            if self._measure(word[:middle], size, weight) <= self.width:
                low = middle
            else:
                high = middle - 1
        return low

    def _shorten(self, line: str, size: float, weight: str) -> str:
        """Take words from the end of a line, before its "…", until it fits."""
        words = line.split()[:-1]
        while len(words) > 1 and self._measure(" ".join([*words, ELLIPSIS]), size, weight) > self.width:
            words.pop()
        return " ".join([*words, ELLIPSIS])

    def _measure(self, text: str, size: float, weight: str) -> float:
        """Return the width of a text in millimeters."""
        key = (text, size, weight)
        if key not in self.widths:
            font = FontProperties(size=size, weight=weight)
            width, _, _ = text_to_path.get_text_width_height_descent(_plain(text), font, ismath=False)
            self.widths[key] = width * POINT
        return self.widths[key]

    def _line(self, left: float, text: str, size: float, weight: str, color: str, top: float | None = None) -> None:
        top = self.top if top is None else top
        baseline = top + 0.95 * size * POINT
        self.page.text(
            left / A4[0],
            1 - baseline / A4[1],
            _plain(text),
            fontsize=size,
            fontweight=weight,
            color=color,
            verticalalignment="baseline",
            parse_math=False,
        )


def place_labels(
    places: Sequence[tuple[float, float]], sizes: Sequence[tuple[float, float]], room: tuple[float, float]
) -> list[tuple[float, float]]:
    """Return where labels begin so that none covers another and each stays inside a picture.

    Each goes to the free place that is nearest to its best one, in their order; to its best one where all is taken.
    Lengths are in millimeters from the picture's upper left corner.

    Parameters:
        places: (left, top) where each label would best begin.
        sizes: (width, height) of each label.
        room: (width, height) of the picture.
    """
    result: list[tuple[float, float]] = []
    for (left, top), (width, height) in zip(places, sizes, strict=True):
        limits = max(room[0] - width, 0.0), max(room[1] - height, 0.0)
        best = min(max(left, 0.0), limits[0]), min(max(top, 0.0), limits[1])
        columns, rows = (np.append(np.arange(0.0, limit, height / 2), limit) for limit in limits)
        grid = np.stack(np.meshgrid(columns, rows), axis=-1).reshape(-1, 2)
        candidates = np.vstack([best, grid[np.argsort(np.linalg.norm(grid - best, axis=1), kind="stable")]])
        free = np.ones(len(candidates), bool)
        for (x, y), (other_width, other_height) in zip(result, sizes, strict=False):
            beside = (candidates[:, 0] >= x + other_width) | (candidates[:, 0] + width <= x)
            free &= beside | (candidates[:, 1] >= y + other_height) | (candidates[:, 1] + height <= y)
        x, y = candidates[np.argmax(free)]
        result.append((float(x), float(y)))
    return result


def _plain(text: str) -> str:
    """Return a text without characters that a font cannot draw as one line."""
    return "".join(character if character.isprintable() else " " for character in text)
