"""The training loop, under accelerate: one CPU, one GPU or many processes, same code.

What a step sees depends on (seed, step) alone, and the state is replaced in one move, so a run that was killed goes on
from its last whole save as if nothing had happened. Of several processes the first writes and reports; where one fails, all end.
"""

from __future__ import annotations

import csv
import json
import math
import os
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import DistributedDataParallelKwargs, gather_object
from safetensors import SafetensorError
from torch.utils.tensorboard import SummaryWriter

from ..checkpoint.folder import CONFIG_FILE, CheckpointConfig, save_checkpoint
from ..data.manifest import normal_cases
from ..detector import has_bfloat16
from ..diffusion import Schedule
from ..ehr import EHRSchema
from ..imaging import Preprocessing
from ..network import Diff3M, count_parameters
from ..scoring.score import Scoring
from .config import TrainingConfig
from .distributed import TrainingError, agreed_step, all_or_none, part
from .films import Batch, Films, check_apart, draw, gaussian, load_films
from .loss import DiffusionLoss, diffusion_loss
from .preview import SAMPLE_FILMS, estimated, write_grid
from .resume import check_same_run, cut_log, init_weights, read_state, rounded, start_from
from .simplex import SimplexPool

STATE_FILE, LOG_FILE, BOARD_DIR, CHECKPOINT_DIR = "state.pt", "log.csv", "tensorboard", "checkpoint"
VALIDATION_FILMS = 64


@dataclass(frozen=True)
class Progress:
    """What `report` hears: a stage ("films", "training"), how far, of how much, and the newest smoothed losses (nan before the first)."""

    stage: str
    done: int
    total: int
    noise: float = math.nan
    masked_pixels: float = math.nan
    films_per_second: float = math.nan


def train(
    config: TrainingConfig, schema: EHRSchema | None = None, report: Callable[[Progress], None] | None = None
) -> Path:
    """Train, or resume, the run that `config` describes. Returns the folder of its checkpoint (EMA weights).

    report is called in the main process alone. Several processes part at the end, so each can train once. Raises ManifestError, ConfigError or
    TrainingError with a sentence.
    """
    # the image query's encoder has no time embedding, so its embedding layers get no gradient
    distributed = DistributedDataParallelKwargs(find_unused_parameters=True)
    accelerator = Accelerator(mixed_precision=mixed_precision(config.precision), kwargs_handlers=[distributed])
    run = None
    try:
        run = _Run(accelerator, config, schema or config.ehr_schema(), report or (lambda progress: None))
        run.resume()
        run.go()
        return run.out / CHECKPOINT_DIR
    finally:
        if run is not None:
            run.let_go()
        part(accelerator)


class _Run:
    """State of one run: films, network, optimizer, moving average."""

    def __init__(
        self, accelerator: Accelerator, config: TrainingConfig, schema: EHRSchema, report: Callable[[Progress], None]
    ) -> None:
        self.accelerator, self.config, self.out = accelerator, config, Path(config.out)
        if config.batch_size % self.accelerator.num_processes:
            processes = self.accelerator.num_processes
            raise TrainingError(
                f"batch_size {config.batch_size} cannot be shared evenly by {processes} processes. Give a multiple of {processes}."
            )
        self.report = report if self.accelerator.is_main_process else (lambda progress: None)
        self.schedule = Schedule()
        with all_or_none():
            network = self._prepared(schema)
        self.ema = {
            name: tensor.detach().clone().to(self.accelerator.device) for name, tensor in network.state_dict().items()
        }
        optimizer = torch.optim.AdamW(
            network.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay, fused=True
        )
        self.loss, self.optimizer = self.accelerator.prepare(
            DiffusionLoss(network, self.schedule, config.weighting), optimizer
        )
        self.step, self.seconds = 0, 0.0
        self.board: SummaryWriter | None = None

    def _prepared(self, schema: EHRSchema) -> Diff3M:
        """Read the films; returns the network to start with."""
        config = self.config
        cases = normal_cases(config.manifest, schema)
        held = normal_cases(config.validation, schema) if config.validation else []
        if (
            config.validation
            and not check_apart(config.manifest, config.validation, cases, held)
            and self.accelerator.is_main_process
        ):
            warnings.warn(
                f"Whether a patient is in both {config.manifest} and {config.validation} could not be checked: give both a column `patient`, or "
                "split by patient.",
                stacklevel=2,
            )
        self.schema = schema.fitted([case.record for case in cases])
        begun = init_weights(config.init, self.out / CHECKPOINT_DIR)
        lasting = {**config.lasting(), "films": len(cases), "features": rounded(self.schema), **begun}
        self.lasting = check_same_run(self.out / STATE_FILE, lasting)
        network_config = config.network_config(self.schema.slots)
        self.preprocessing = Preprocessing(size=network_config.image_size)
        torch.manual_seed(config.seed)
        network = Diff3M(network_config, self.schedule).to(memory_format=torch.channels_last)
        if config.init and not (self.out / STATE_FILE).exists():  # a run that goes on has its own weights
            start_from(config.init, network)  # before films are read, which takes long
        self.films = load_films(
            cases, self.schema, self.preprocessing, lambda n: self.report(Progress("films", n, len(cases)))
        )
        self.noises = SimplexPool(network_config.image_size).draw if config.noise == "simplex" else gaussian
        self.validation = load_films(held[:VALIDATION_FILMS], self.schema, self.preprocessing) if held else None
        self.out.mkdir(parents=True, exist_ok=True)
        return network

    def resume(self) -> None:
        """Go on from the last whole save, if there is one. Raises TrainingError where processes find different saves."""
        with all_or_none():
            self._load()
        agreed_step(gather_object([self.step]))
        with all_or_none():
            if self.accelerator.is_main_process:
                cut_log(self.out / LOG_FILE, self.step)

    def _load(self) -> None:
        path = self.out / STATE_FILE
        if not path.exists():
            return
        state = read_state(path)
        try:
            self._bare().load_state_dict(state["network"])
        except RuntimeError as error:
            raise TrainingError(
                f"{path} belongs to another network; choose another `out` or remove it. ({str(error)[:200]})"
            ) from None
        self.optimizer.load_state_dict(state["optimizer"])
        self.ema = {name: tensor.to(self.accelerator.device) for name, tensor in state["ema"].items()}
        self.step, self.seconds = int(state["step"]), float(state["seconds"])
        if self.accelerator.scaler is not None and state.get("scaler"):
            self.accelerator.scaler.load_state_dict(state["scaler"])

    def go(self) -> None:
        """Steps until the end; logs, saves and samples on the way."""
        config, saved = self.config, time.monotonic()
        if self.step >= config.steps and gather_object([self._written()])[0] == self.step:
            return  # finished before; its calibration stays
        with all_or_none():
            self.report(
                Progress("training", self.step, config.steps)
            )  # where it goes on from, so that time left counts from here
        recent: list[tuple[float, float]] = []
        started, first = time.monotonic(), self.step
        while self.step < config.steps:
            noise, masked, save = self._one_step(time.monotonic() - saved > 60 * config.save_minutes)
            recent.append((noise, masked))
            self.step += 1
            if self.step % config.log_every == 0 or self.step == config.steps:
                noise, masked = (float(v) for v in np.mean(recent, axis=0))
                recent = []
                rate = (self.step - first) * config.batch_size / (time.monotonic() - started)
                with all_or_none():
                    self._log("training", noise, masked, rate)
                    self.report(Progress("training", self.step, config.steps, noise, masked, rate))
            if self.step % config.validate_every == 0:
                with all_or_none():
                    self._sample()
            if save and self.step < config.steps:
                self.seconds += time.monotonic() - saved
                self.save()
                saved = time.monotonic()
        self.seconds += time.monotonic() - saved
        self.save()

    def let_go(self) -> None:
        """Of what was prepared for several processes; the run cannot go on after it."""
        del self.loss, self.optimizer

    def _written(self) -> int | None:
        """The steps that the checkpoint folder holds: its config.json is written last. None where there is no whole one."""
        try:
            return json.loads((self.out / CHECKPOINT_DIR / CONFIG_FILE).read_text())["training"]["steps_done"]
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def _one_step(self, save: bool) -> tuple[float, float, bool]:
        """The losses of the whole batch, and whether to save: as the main process says (its `save`), so that all of them do or none does."""
        config, accelerator = self.config, self.accelerator
        place = accelerator.process_index, accelerator.num_processes
        batch = self._to_device(
            draw(self.films, self.schema, config, self.step, self.schedule.timesteps, *place, self.noises)
        )
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(config, self.step)
        with accelerator.autocast():
            losses = self.loss(batch)
        if not bool(
            torch.isfinite(accelerator.reduce(losses.total.detach(), "mean"))
        ):  # of every process, so that none goes on alone
            raise self._not_finite("The loss")
        accelerator.backward(losses.total)
        norm = accelerator.clip_grad_norm_(self.loss.parameters(), config.gradient_clip)
        if accelerator.scaler is None and not bool(torch.isfinite(norm)):  # a scaler leaves such a step out by itself
            raise self._not_finite("A gradient")
        self.optimizer.step()
        self.optimizer.zero_grad()
        self._average()
        told = losses.noise.new_tensor(float(save and accelerator.is_main_process))
        mine = torch.stack([losses.noise.detach(), losses.masked_pixels.detach(), told]).float()
        noise, masked, told = accelerator.reduce(mine, "mean").tolist()  # of the whole batch, whichever process logs
        return noise, masked, told > 0

    def _not_finite(self, what: str) -> TrainingError:
        """What ends a run that cannot go on as it is; the same settings would come to the same step, so others are named."""
        saved, hint = self._written(), "Lower learning_rate."
        if saved is not None:
            hint = f"Step {saved} is kept: start another `out` with `init: {self.out / CHECKPOINT_DIR}` and a lower learning_rate."
        return TrainingError(f"{what} is not finite at step {self.step}. {hint}")

    def _bare(self) -> Diff3M:
        return self.accelerator.unwrap_model(self.loss).network

    def _to_device(self, batch: Batch) -> Batch:
        tensors = {name: getattr(batch, name).to(self.accelerator.device) for name in batch.__dataclass_fields__}
        return Batch(**tensors)

    def _average(self) -> None:
        decay = min(self.config.ema, (1 + self.step) / (10 + self.step))
        live = self._bare().state_dict()
        torch._foreach_lerp_([self.ema[name] for name in live], [live[name] for name in live], 1 - decay)

    def _log(self, kind: str, noise: float, masked: float, rate: float) -> None:
        if not self.accelerator.is_main_process:
            return
        path = self.out / LOG_FILE
        fresh = not path.exists()
        with path.open("a", newline="") as file:
            writer = csv.writer(file)
            if fresh:
                writer.writerow(["step", "kind", "noise_mse", "masked_pixel_mse", "learning_rate", "films_per_second"])
            writer.writerow(
                [
                    self.step,
                    kind,
                    f"{noise:.6f}",
                    f"{masked:.6f}",
                    f"{learning_rate(self.config, self.step):.3e}",
                    f"{rate:.2f}",
                ]
            )
        self.board = self.board or SummaryWriter(str(self.out / BOARD_DIR), purge_step=self.step)
        for name, value in (("noise_mse", noise), ("masked_pixel_mse", masked), ("films_per_second", rate)):
            if math.isfinite(value):
                self.board.add_scalar(f"{kind}/{name}", value, self.step)
        self.board.flush()

    @torch.no_grad()
    def _sample(self) -> None:
        """By the averaged weights a grid of one-step reconstructions; of validation films, if there are any, also the losses at fixed timesteps
        and noise; else of the first training films."""
        if not self.accelerator.is_main_process:
            return
        films = self.validation
        if films is None:
            films = Films(self.films.images[:SAMPLE_FILMS], self.films.values[:SAMPLE_FILMS])
        averaged = self.averaged()
        generator = torch.Generator().manual_seed(1)
        n, size = len(films), films.images.shape[-1]
        x0 = torch.from_numpy(films.images).float()[:, None] / 255
        t = torch.arange(n) * self.schedule.timesteps // n
        noise = self.noises(n, size, generator)
        whole = Batch(x0, noise, t, torch.from_numpy(films.values), torch.ones(n, dtype=torch.bool))
        with self.accelerator.autocast():
            parts = (
                []
                if self.validation is None
                else [(diffusion_loss(averaged, part, self.schedule), len(part.x0)) for part in self._parts(whole, n)]
            )
            rows = [estimated(averaged, part, self.schedule) for part in self._parts(whole, min(SAMPLE_FILMS, n))]
        if parts:
            means = (
                sum(getattr(losses, name).item() * count for losses, count in parts) / n
                for name in ("noise", "masked_pixels")
            )
            self._log("validation", *means, math.nan)
        write_grid(
            [torch.cat(row) for row in zip(*rows, strict=True)], self.out / "samples" / f"step_{self.step:06d}.png"
        )

    def _parts(self, batch: Batch, count: int) -> Iterator[Batch]:
        """The first films of a batch, as many at a time as this process takes in a step, on its device."""
        share = self.config.batch_size // self.accelerator.num_processes
        for start in range(0, count, share):
            rows = slice(start, min(start + share, count))
            yield self._to_device(
                Batch(batch.x0[rows], batch.noise[rows], batch.t[rows], batch.values[rows], batch.masked[rows])
            )

    def averaged(self) -> Diff3M:
        """A copy of the network with the averaged weights, in evaluation mode."""
        network = Diff3M(self._bare().config, self.schedule).to(self.accelerator.device)
        network.load_state_dict(self.ema)
        return network.eval().to(memory_format=torch.channels_last)

    def save(self) -> None:
        """Replace the training state and the checkpoint folder. Raises TrainingError where they cannot be written; the last save stays."""
        with all_or_none():  # nobody reads the checkpoint before it is whole
            if self.accelerator.is_main_process:
                self._replace()

    def _replace(self) -> None:
        try:
            self._write()
        except (OSError, RuntimeError, SafetensorError) as error:
            for partial in (*self.out.glob("*.partial"), *(self.out / CHECKPOINT_DIR).glob("*.partial")):
                with suppress(OSError):
                    partial.unlink()
            reason = str(error)[:200].partition("\n")[0]
            hint = "The last save is kept: free some space and run the same command again."
            raise TrainingError(f"Step {self.step} could not be saved in {self.out} ({reason}). {hint}") from None

    def _write(self) -> None:
        state = {
            "network": self._bare().state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "ema": self.ema,
            "step": self.step,
            "seconds": self.seconds,
            "lasting": json.dumps(self.lasting),
            "scaler": None if self.accelerator.scaler is None else self.accelerator.scaler.state_dict(),
        }
        partial = self.out / f"{STATE_FILE}.partial"
        torch.save(state, partial)
        os.replace(partial, self.out / STATE_FILE)
        averaged = self.averaged()
        made = {
            **self.config.to_dict(),
            "steps_done": self.step,
            "films": len(self.films),
            "seconds": round(self.seconds),
        }
        made = {key: value for key, value in made.items() if key not in ("manifest", "validation", "out")}
        made["parameters"] = count_parameters(averaged)
        config = CheckpointConfig(
            self.config.name, averaged.config, self.schema, self.schedule, self.preprocessing, Scoring(), made
        )
        save_checkpoint(self.out / CHECKPOINT_DIR, config, averaged)


def mixed_precision(asked: str) -> str:
    """What accelerate is told: "auto" is bf16 where it is native, else float32, since emulated bf16 is many times slower."""
    if asked != "auto":
        return asked
    return "bf16" if has_bfloat16(torch.device("cuda" if torch.cuda.is_available() else "cpu")) else "no"


def learning_rate(config: TrainingConfig, step: int) -> float:
    """Linear warm-up, then linear decay to `final_learning_rate` of the peak."""
    warm = min(1.0, (step + 1) / max(1, config.warmup_steps))
    decay = 1 - (1 - config.final_learning_rate) * min(1.0, step / config.steps)
    return config.learning_rate * warm * decay
