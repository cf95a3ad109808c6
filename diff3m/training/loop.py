"""The training loop, under accelerate: one CPU, one GPU or many processes, same code.

What a step sees depends on (seed, step) alone, and the state is replaced in one move, so a run that was killed goes on
from its last whole save as if nothing had happened. Of several processes the first writes and reports; where one fails, all end.
"""

from __future__ import annotations

import json
import math
import os
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import DistributedDataParallelKwargs, gather_object
from safetensors import SafetensorError

from ..checkpoint.folder import CONFIG_FILE, CheckpointConfig, save_checkpoint
from ..data.manifest import normal_cases
from ..detector import has_bfloat16
from ..diffusion import Schedule
from ..ehr import EHRSchema
from ..imaging import Preprocessing
from ..network import Diff3M, count_parameters
from ..scoring.score import Scoring
from .batch import Batch, draw, gaussian, prefetch
from .config import TrainingConfig
from .distributed import TrainingError, agreed_step, all_or_none, part
from .films import check_apart, load_films
from .log import LOG_FILE, Means, TrainingLog
from .loss import DiffusionLoss, Losses, diffusion_loss
from .preview import PREVIEW_FILMS, healing_ratios, one_step_estimates, write_grid
from .resume import check_same_run, cut_log, init_weights, read_state, rounded, start_from
from .simplex import SimplexPool

STATE_FILE, CHECKPOINT_DIR = "state.pt", "checkpoint"
VALIDATION_FILMS = 64


@dataclass(frozen=True)
class Progress:
    """What `report` hears: a stage ("films", "training"), how far, of how much, and the newest smoothed losses (nan before the first)."""

    stage: str
    done: int
    total: int
    noise: float = math.nan
    masked_pixels: float = math.nan
    healing: float = math.nan
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
            DiffusionLoss(network, self.schedule, config.weighting, config.healing_weight), optimizer
        )
        self.step, self.seconds = 0, 0.0
        self.log = TrainingLog(self.out)

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
        load = partial(load_films, schema=self.schema, settings=self.preprocessing, with_organs=config.heals)
        self.films = load(cases, progress=lambda n: self.report(Progress("films", n, len(cases))))
        self.sampler = SimplexPool(network_config.image_size).draw if config.noise == "simplex" else gaussian
        self.validation = load(held[:VALIDATION_FILMS]) if held else None
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
        recent: list[tuple[float, float, float]] = []
        started, first = time.monotonic(), self.step
        for batch in prefetch(self._draw, first, config.steps, self._workers()):
            *losses, save = self._train_step(batch, time.monotonic() - saved > 60 * config.save_minutes)
            recent.append(tuple(losses))
            self.step += 1
            if self.step % config.log_every == 0 or self.step == config.steps:
                rate = (self.step - first) * config.batch_size / (time.monotonic() - started)
                means = Means(*(float(value) for value in np.mean(recent, axis=0)), rate)
                recent = []
                with all_or_none():
                    self._log("training", means)
                    self.report(Progress("training", self.step, config.steps, *vars(means).values()))
            if self.step % config.validate_every == 0:
                with all_or_none():
                    self._validate()
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

    def _draw(self, step: int) -> Batch:
        place = self.accelerator.process_index, self.accelerator.num_processes
        return draw(self.films, self.schema, self.config, step, self.schedule.timesteps, *place, self.sampler)

    def _workers(self) -> int:
        """Threads that draw batches ahead: one where training itself takes the processor."""
        return 1 if self.accelerator.device.type == "cpu" else min(8, os.cpu_count() or 1)

    def _train_step(self, batch: Batch, save: bool) -> tuple[float, float, float, bool]:
        """Noise, masked pixel and healing loss of the whole batch, and whether to save, as the main process says."""
        config, accelerator = self.config, self.accelerator
        batch = batch.map(lambda tensor: tensor.to(accelerator.device))
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
        flag = losses.noise.new_tensor(float(save and accelerator.is_main_process))
        own = torch.stack([losses.noise.detach(), losses.masked_pixels.detach(), losses.healing.detach(), flag]).float()
        noise, masked, healing, flag = accelerator.reduce(own, "mean").tolist()  # the same numbers in every process
        return noise, masked, healing, flag > 0

    def _not_finite(self, what: str) -> TrainingError:
        """What ends a run that cannot go on as it is; the same settings would come to the same step, so others are named."""
        saved, hint = self._written(), "Lower learning_rate."
        if saved is not None:
            hint = f"Step {saved} is kept: start another `out` with `init: {self.out / CHECKPOINT_DIR}` and a lower learning_rate."
        return TrainingError(f"{what} is not finite at step {self.step}. {hint}")

    def _bare(self) -> Diff3M:
        return self.accelerator.unwrap_model(self.loss).network

    def _average(self) -> None:
        decay = min(self.config.ema, (1 + self.step) / (10 + self.step))
        live = self._bare().state_dict()
        torch._foreach_lerp_([self.ema[name] for name in live], [live[name] for name in live], 1 - decay)

    def _log(self, kind: str, means: Means) -> None:
        if self.accelerator.is_main_process:
            self.log.write(self.step, kind, means, learning_rate(self.config, self.step))

    @torch.no_grad()
    def _validate(self) -> None:
        """With the averaged weights: a picture of one-step estimates of validation films (without them, of the first training films), the
        losses on validation films at fixed timesteps and noise, and how unseen lesions heal on them."""
        if not self.accelerator.is_main_process:
            return
        network, films = self.averaged(), self.validation or self.films.first(PREVIEW_FILMS)
        generator = torch.Generator().manual_seed(1)
        count, size = len(films), films.images.shape[-1]
        x0 = torch.from_numpy(films.images).float()[:, None] / 255
        t = torch.arange(count) * self.schedule.timesteps // count
        noise = self.sampler(count, size, generator)
        batch = Batch(x0, noise, t, torch.from_numpy(films.values), torch.ones(count, dtype=torch.bool))
        with self.accelerator.autocast():
            preview = [one_step_estimates(network, part, self.schedule) for part in self._parts(batch, PREVIEW_FILMS)]
            if self.validation is not None:
                losses = [
                    (diffusion_loss(network, part, self.schedule), len(part.x0)) for part in self._parts(batch, count)
                ]
                mean = partial(_weighted_mean, losses)
                self._log("validation", Means(mean("noise"), mean("masked_pixels")))
                if self.config.heals:
                    device = self.accelerator.device
                    for kind, ratio in healing_ratios(network, films, self.schedule, device).items():
                        self._log(f"healing of {kind}", Means(healing=ratio))
        rows = [torch.cat(row) for row in zip(*preview, strict=True)]
        write_grid(rows, self.out / "samples" / f"step_{self.step:06d}.png")

    def _parts(self, batch: Batch, count: int) -> Iterator[Batch]:
        """The first films of a batch, as many at a time as this process takes in a step, on its device."""
        share = self.config.batch_size // self.accelerator.num_processes
        for start in range(0, min(count, len(batch.x0)), share):
            rows = slice(start, min(start + share, count))
            part = Batch(batch.x0[rows], batch.noise[rows], batch.t[rows], batch.values[rows], batch.masked[rows])
            yield part.map(lambda tensor: tensor.to(self.accelerator.device))

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


def _weighted_mean(losses: list[tuple[Losses, int]], name: str) -> float:
    total = sum(count for _, count in losses)
    return sum(getattr(part, name).item() * count for part, count in losses) / total


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
