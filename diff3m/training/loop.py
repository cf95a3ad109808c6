"""The training loop, with accelerate: the same code for one CPU, one GPU or many processes.

The batch of a step depends on (seed, step) alone, and the state on disk is replaced atomically, so a run that was
killed resumes from its last complete save with the same result. Of several processes the first writes and reports; if
one fails, all end.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import DistributedDataParallelKwargs, gather_object
from safetensors import SafetensorError

from ..checkpoint.folder import CheckpointConfig, save_checkpoint
from ..device import mixed_precision, to_channels_last
from ..diffusion import Schedule
from ..imaging import Preprocessing
from ..network import Diff3M, count_parameters
from ..scoring.score import HEALED, Scoring
from .batch import Batch, draw_batch, draw_gaussian, prefetch
from .config import TrainingConfig
from .distributed import TrainingError, all_or_none, common_step, leave_group
from .films import load_films, read_normals
from .log import LOG_FILE, MeanLosses, TrainingLog, TrainingProgress
from .loss import DiffusionLoss, LossSettings
from .preview import PREVIEW_FILMS, write_grid
from .resume import (
    check_same_run,
    checkpoint_step,
    copy_weights,
    divergence_error,
    hash_init_weights,
    read_state,
    rounded_features,
    truncate_log,
)
from .simplex import SimplexPool
from .validation import Validation

STATE_FILE, CHECKPOINT_DIR = "state.pt", "checkpoint"
VALIDATION_FILMS = 64
PATH_SETTINGS = ("manifest", "validation", "out")  # of the machine that trains, and so not stored in checkpoints


def train(config: TrainingConfig, report: Callable[[TrainingProgress], None] | None = None) -> Path:
    """Train, or resume, the run that `config` describes.

    report: callback, called in the main process alone. Processes leave their group at the end, so a process of several
    can train only once. Returns the folder of the checkpoint with the averaged (EMA) weights. Raises ManifestError,
    ConfigError or TrainingError.
    """
    # the image query's encoder has no time embedding, so its embedding layers get no gradient
    distributed = DistributedDataParallelKwargs(find_unused_parameters=True)
    accelerator = Accelerator(mixed_precision=mixed_precision(config.precision), kwargs_handlers=[distributed])
    run = None
    try:
        run = _Run(accelerator, config, report or (lambda progress: None))
        run.resume()
        run.train()
        return run.out / CHECKPOINT_DIR
    finally:
        if run is not None:
            run.release()
        leave_group(accelerator)


class _Run:
    """The state of a run: films, network, optimizer and averaged weights."""

    def __init__(
        self,
        accelerator: Accelerator,
        config: TrainingConfig,
        report: Callable[[TrainingProgress], None],
    ) -> None:
        self.accelerator, self.config, self.out = accelerator, config, Path(config.out)
        if config.batch_size % self.accelerator.num_processes:
            processes = self.accelerator.num_processes
            raise TrainingError(
                f"batch_size {config.batch_size} cannot be shared evenly by {processes} processes. "
                f"Give a multiple of {processes}."
            )
        self.report = report if self.accelerator.is_main_process else (lambda progress: None)
        self.schedule = Schedule()
        with all_or_none():
            network = self._prepare()
        self.ema = {
            name: tensor.detach().clone().to(self.accelerator.device) for name, tensor in network.state_dict().items()
        }
        optimizer = torch.optim.AdamW(
            network.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay, fused=True
        )
        settings = LossSettings(
            weighting=config.weighting, healing_weight=config.healing_weight, lesion_weight=config.lesion_weight
        )
        loss = DiffusionLoss(network, self.schedule, settings)
        self.loss, self.optimizer = self.accelerator.prepare(loss, optimizer)
        self.step, self.seconds = 0, 0.0
        self.log = TrainingLog(self.out)

    def _prepare(self) -> Diff3M:
        """Check the settings against the last save, read the films, and return the network to start with."""
        config, schema = self.config, self.config.ehr_schema()
        cases, validation_cases = read_normals(config, schema, warns=self.accelerator.is_main_process)
        self.schema = schema.fit([case.record for case in cases])
        self.identity = check_same_run(
            self.out / STATE_FILE,
            {
                **config.fixed_settings(),
                "films": len(cases),
                "features": rounded_features(self.schema),
                **hash_init_weights(config.init, self.out / CHECKPOINT_DIR),
            },
        )
        network_config = config.network_config(self.schema.slots)
        self.preprocessing = Preprocessing(size=network_config.image_size)
        torch.manual_seed(config.seed)
        network = to_channels_last(Diff3M(network_config, self.schedule))
        if config.init and not (self.out / STATE_FILE).exists():  # a resumed run has its own weights
            copy_weights(config.init, network)  # before films are read, which takes long
        load = partial(load_films, schema=self.schema, settings=self.preprocessing, with_organs=config.heals)
        self.films = load(cases, progress=lambda n: self.report(TrainingProgress("films", n, len(cases))))
        self.sampler = SimplexPool(network_config.image_size).draw if config.noise == "simplex" else draw_gaussian
        self.validation = load(validation_cases[:VALIDATION_FILMS]) if validation_cases else None
        self.out.mkdir(parents=True, exist_ok=True)
        return network

    def resume(self) -> None:
        """Load the last complete save, if there is one. Raises TrainingError where processes have different saves."""
        with all_or_none():
            self._load()
        common_step(gather_object([self.step]))
        with all_or_none():
            if self.accelerator.is_main_process:
                truncate_log(self.out / LOG_FILE, self.step)

    def _load(self) -> None:
        """Load the training state from disk, if there is one. Raises TrainingError for one of another network."""
        path = self.out / STATE_FILE
        if not path.exists():
            return
        state = read_state(path)
        try:
            self._unwrap().load_state_dict(state["network"])
        except RuntimeError as error:
            raise TrainingError(
                f"{path} belongs to another network; choose another `out` or remove it. ({str(error)[:200]})"
            ) from None
        self.optimizer.load_state_dict(state["optimizer"])
        self.ema = {name: tensor.to(self.accelerator.device) for name, tensor in state["ema"].items()}
        self.step, self.seconds = int(state["step"]), float(state["seconds"])
        if self.accelerator.scaler is not None and state.get("scaler"):
            self.accelerator.scaler.load_state_dict(state["scaler"])

    def train(self) -> None:
        """Train until the last step; log, validate and save in between."""
        config, last_save = self.config, time.monotonic()
        if self.step >= config.steps and gather_object([checkpoint_step(self.out / CHECKPOINT_DIR)])[0] == self.step:
            return  # complete already; its calibration stays
        with all_or_none():  # the first report, so that the time left counts from the resume
            self.report(TrainingProgress("training", self.step, config.steps))
        recent: list[tuple[float, float, float]] = []
        start, first = time.monotonic(), self.step
        on_gpu = self.accelerator.device.type == "cuda"
        for batch in prefetch(self._drawing(), first, config.steps, self._workers(), pin_memory=on_gpu):
            is_due = time.monotonic() - last_save > 60 * config.save_minutes
            noise, masked_pixels, healing, save = self._train_step(batch, is_due)
            recent.append((noise, masked_pixels, healing))
            self.step += 1
            if self.step % config.log_every == 0 or self.step == config.steps:
                rate = (self.step - first) * config.batch_size / (time.monotonic() - start)
                noise, masked_pixels, healing = np.mean(recent, axis=0).tolist()
                means = MeanLosses(noise, masked_pixels, healing, rate)
                recent = []
                with all_or_none():
                    self._log("training", means)
                    self.report(TrainingProgress("training", self.step, config.steps, means))
            if self.step % config.validate_every == 0:
                with all_or_none():
                    self._validate()
            if save and self.step < config.steps:
                self.seconds += time.monotonic() - last_save
                self.save()
                last_save = time.monotonic()
        self.seconds += time.monotonic() - last_save
        self.save()

    def release(self) -> None:
        """Delete references to the group of processes; the run cannot be used afterwards."""
        del self.loss, self.optimizer

    def _drawing(self) -> Callable[[int], Batch]:
        """Return the function that draws this process's share of the batch of a step."""
        return partial(
            draw_batch,
            self.films,
            self.schema,
            self.config,
            timesteps=self.schedule.timesteps,
            rank=self.accelerator.process_index,
            world_size=self.accelerator.num_processes,
            sampler=self.sampler,
        )

    def _workers(self) -> int:
        """Return the number of processes that draw batches ahead: one where training itself uses the processor."""
        if self.accelerator.device.type == "cpu":
            return 1
        return max(1, (os.cpu_count() or 1) // self.accelerator.num_processes - 1)

    def _train_step(self, batch: Batch, save: bool) -> tuple[float, float, float, bool]:
        """Take one step. Returns noise, masked pixel and healing loss of the whole batch, and whether to save.

        save: whether it is time to save; the main process's answer counts for all.
        """
        config, accelerator = self.config, self.accelerator
        batch = batch.map(lambda tensor: tensor.to(accelerator.device, non_blocking=True))
        for group in self.optimizer.param_groups:
            group["lr"] = config.learning_rate_at(self.step)
        with accelerator.autocast():
            losses = self.loss(batch)
        total = accelerator.reduce(losses.total.detach(), "mean")  # of all processes, so that none continues alone
        if not bool(torch.isfinite(total)):
            raise divergence_error("The loss", self.step, self.out / CHECKPOINT_DIR)
        accelerator.backward(losses.total)
        norm = accelerator.clip_grad_norm_(self.loss.parameters(), config.gradient_clip)
        if accelerator.scaler is None and not bool(torch.isfinite(norm)):  # a scaler skips such a step itself
            raise divergence_error("A gradient", self.step, self.out / CHECKPOINT_DIR)
        self.optimizer.step()
        self.optimizer.zero_grad()
        self._update_average()
        flag = losses.noise.new_tensor(float(save and accelerator.is_main_process))
        own = torch.stack([losses.noise.detach(), losses.masked_pixels.detach(), losses.healing.detach(), flag]).float()
        noise, masked_pixels, healing, save_votes = accelerator.reduce(own, "mean").tolist()  # equal in all processes
        return noise, masked_pixels, healing, save_votes > 0

    def _unwrap(self) -> Diff3M:
        """Return the network without its distributed wrapper."""
        return self.accelerator.unwrap_model(self.loss).network

    def _update_average(self) -> None:
        """Update the averaged weights; the decay rises with the steps, so that the first weights are soon forgotten."""
        decay = min(self.config.ema, (1 + self.step) / (10 + self.step))
        live = self._unwrap().state_dict()
        torch._foreach_lerp_([self.ema[name] for name in live], [live[name] for name in live], 1 - decay)

    def _log(self, kind: str, means: MeanLosses) -> None:
        if self.accelerator.is_main_process:
            self.log.write(self.step, kind, means, self.config.learning_rate_at(self.step))

    @torch.no_grad()
    def _validate(self) -> None:
        """Log the losses of the averaged weights on validation films, and how well they heal unseen lesions.

        Also write a picture of one-step estimates; without validation films, of the first training films.
        """
        if not self.accelerator.is_main_process:
            return
        network, films = self.averaged_network(), self.validation or self.films.first(PREVIEW_FILMS)
        share = self.config.batch_size // self.accelerator.num_processes
        validation = Validation(films, self.schedule, self.sampler, share, self.accelerator.device)
        with self.accelerator.autocast():
            preview = validation.preview(network)
            if self.validation is not None:
                self._log("validation", validation.measure_losses(network))
                if self.config.heals:
                    for kind, ratio in validation.measure_healing(network).items():
                        self._log(f"healing of {kind}", MeanLosses(healing=ratio))
        write_grid(preview, self.out / "samples" / f"step_{self.step:06d}.png")

    def averaged_network(self) -> Diff3M:
        """Return a copy of the network with the averaged weights, in evaluation mode."""
        network = Diff3M(self._unwrap().config, self.schedule).to(self.accelerator.device)
        network.load_state_dict(self.ema)
        return to_channels_last(network.eval())

    def save(self) -> None:
        """Replace the training state and the checkpoint folder.

        Raises TrainingError where they cannot be written; the last save stays.
        """
        with all_or_none():  # nobody reads the checkpoint before it is whole
            if self.accelerator.is_main_process:
                self._replace()

    def _replace(self) -> None:
        """Write state and checkpoint; remove incomplete files where that fails. Raises TrainingError."""
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
        """Write the training state, and then the checkpoint, each replaced in one step."""
        state = {
            "network": self._unwrap().state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "ema": self.ema,
            "step": self.step,
            "seconds": self.seconds,
            "identity": json.dumps(self.identity),
            "scaler": None if self.accelerator.scaler is None else self.accelerator.scaler.state_dict(),
        }
        partial = self.out / f"{STATE_FILE}.partial"
        torch.save(state, partial)
        os.replace(partial, self.out / STATE_FILE)
        network = self.averaged_network()
        training = {key: value for key, value in self.config.to_dict().items() if key not in PATH_SETTINGS}
        if self.config.init and Path(self.config.init).is_absolute():  # a path of this machine, too
            training["init"] = Path(self.config.init).name
        training |= {
            "steps_done": self.step,
            "films": len(self.films),
            "seconds": round(self.seconds),
            "parameters": count_parameters(network),
        }
        config = CheckpointConfig(
            name=self.config.name,
            network=network.config,
            schema=self.schema,
            schedule=self.schedule,
            preprocessing=self.preprocessing,
            scoring=HEALED if self.config.heals else Scoring(),
            training=training,
        )
        save_checkpoint(self.out / CHECKPOINT_DIR, config, network)
