"""Progress and losses of a run: for a callback, as CSV and for TensorBoard."""

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
    """Mean losses over the last steps or over the validation films; NaN where a loss was not measured.

    noise, masked_pixels, healing: see `loss.Losses`. films_per_second: speed of training.
    """

    noise: float = math.nan
    masked_pixels: float = math.nan
    healing: float = math.nan
    films_per_second: float = math.nan


@dataclass(frozen=True)
class TrainingProgress:
    """What the `report` callback receives.

    stage: "films" or "training". done, total: films or steps. losses: means of the last steps; films_per_second is
    counted from the start or the resume.
    """

    stage: str
    done: int
    total: int
    losses: MeanLosses = MeanLosses()


class TrainingLog:
    """Writer of `log.csv` in a run's folder and of the same values for TensorBoard."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._board: SummaryWriter | None = None

    def write(self, step: int, kind: str, means: MeanLosses, learning_rate: float) -> None:
        """Append a row to both.

        kind: "training", "validation", or "healing of" a kind of lesion that training never paints.
        """
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
