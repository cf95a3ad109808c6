"""The command `diff3m train`: train a checkpoint, then calibrate it."""

from __future__ import annotations

import math
import os
from typing import Any

from .options import add_command
from .terminal import get_bar_settings, make_progress_bar


def add_parser(commands) -> None:
    """Add the command and its options."""
    command = add_command(commands, "train", run, "Train a checkpoint, or go on with one, as a YAML file says.")
    command.add_argument("config", metavar="CONFIG.yaml")
    for name in ("manifest", "validation", "out"):
        command.add_argument(f"--{name}", default=None, help=f"instead of the file's `{name}`")
    command.add_argument("--steps", type=int, default=None, help="instead of the file's `steps`")


def run(options) -> None:
    """Train as a YAML file says, and calibrate on its validation films."""
    from ..training.config import TrainingConfig
    from ..training.loop import train

    config = TrainingConfig.from_yaml(
        options.config, manifest=options.manifest, validation=options.validation, out=options.out, steps=options.steps
    )
    report = _TrainingBars()
    folder = train(config, report=report)
    if int(os.environ.get("RANK", 0)) != 0:  # of several processes the first one calibrates
        return
    report.close()
    print(f"wrote {folder}")
    if config.validation:
        from ..checkpoint.folder import save_scoring
        from ..detector import Detector
        from ..evaluation.calibration import calibrate_on_normals

        # training took these films as they are, so calibration does too
        detector = Detector.from_pretrained(folder)
        scoring = calibrate_on_normals(
            detector, config.validation, report=make_progress_bar("calibrating"), accept=True
        )
        save_scoring(folder, scoring)
        print(f"calibrated on {dict(scoring.calibration)['any'].count} normal films of {config.validation}")


class _TrainingBars:
    """Progress bars of a training, one for each stage."""

    def __init__(self) -> None:
        self.bars: dict[str, Any] = {}  # of tqdm, which has no types

    def __call__(self, progress) -> None:
        from tqdm import tqdm

        if progress.stage not in self.bars:
            unit = "step" if progress.stage == "training" else "film"
            self.bars[progress.stage] = tqdm(
                desc=progress.stage,
                total=progress.total,
                unit=unit,
                initial=progress.done,  # a resumed run's earlier steps
                **get_bar_settings(),
            )
        stage_bar = self.bars[progress.stage]
        losses = progress.losses
        if not math.isnan(losses.noise):
            text = f"noise {losses.noise:.4f}, masked {losses.masked_pixels:.4f}, healing {losses.healing:.4f}"
            stage_bar.set_postfix_str(f"{text}, {losses.films_per_second:.1f} films/s", refresh=False)
        stage_bar.update(progress.done - stage_bar.n)

    def close(self) -> None:
        for stage_bar in self.bars.values():
            stage_bar.close()
