"""The losses of a run: for its callback, as CSV and for TensorBoard."""

from __future__ import annotations

import csv
import math
from dataclasses import dataclass
from pathlib import Path

from torch.utils.tensorboard import SummaryWriter

LOG_FILE, BOARD_DIR = "log.csv", "tensorboard"
COLUMNS = ("step", "kind", "noise_mse", "masked_pixel_mse", "healing", "learning_rate", "films_per_second")


@dataclass(frozen=True)
class MeanLosses:
    """Means over the last steps, or over the validation films; NaN where nothing was measured."""

    noise: float = math.nan
    masked_pixels: float = math.nan
    healing: float = math.nan
    films_per_second: float = math.nan


@dataclass(frozen=True)
class TrainingProgress:
    """What the `report` callback receives.

    stage: "films" or "training". done, total: films or steps. noise, masked_pixels, healing: means of the last steps,
    NaN before the first. films_per_second: since the start or the resume.
    """

    stage: str
    done: int
    total: int
    noise: float = math.nan
    masked_pixels: float = math.nan
    healing: float = math.nan
    films_per_second: float = math.nan


class TrainingLog:
    """Appends rows to `log.csv` in a run's folder, and the same values to TensorBoard."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._board: SummaryWriter | None = None

    def write(self, step: int, kind: str, means: MeanLosses, learning_rate: float) -> None:
        """Write one row. kind: "training", "validation" or "healing of" a kind of lesion that training never paints."""
        path = self.folder / LOG_FILE
        is_new = not path.exists()
        with path.open("a", newline="") as file:
            writer = csv.writer(file)
            if is_new:
                writer.writerow(COLUMNS)
            values = [f"{value:.6f}" for value in (means.noise, means.masked_pixels, means.healing)]
            writer.writerow([step, kind, *values, f"{learning_rate:.3e}", f"{means.films_per_second:.2f}"])
        self._board = self._board or SummaryWriter(str(self.folder / BOARD_DIR), purge_step=step)
        for name, value in vars(means).items():
            if math.isfinite(value):
                self._board.add_scalar(f"{kind}/{name}", value, step)
        self._board.flush()
