"""The detector: a checkpoint that turns a radiograph and a patient's record into an Analysis."""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from .analysis import Analysis, Settings, place_among_normals
from .case import Case, FilmSource, open_film
from .checkpoint.folder import Checkpoint, CheckpointConfig, load_checkpoint
from .checkpoint.source import DEFAULT_CHECKPOINT, resolve_checkpoint
from .device import autocast, select_device, select_precision, to_channels_last
from .diffusion import Callback
from .ehr import EHRSchema, Record, category_of
from .estimates import Estimates
from .imaging import prepare_film
from .network import Condition
from .notes import notes_on
from .reconstruct import draw_noises, make_predictor, needed_levels, reconstruct, reconstruct_from_noise, scale_steps
from .released.inference import reconstruct_as_released
from .scoring.measure import compute_heat_map, measure_component, measure_contradiction, select_region
from .scoring.score import Component, Scoring


class Detector:
    """A loaded checkpoint on a device.

    device: default, the GPU where there is one. precision: "auto" (bfloat16 where the processor has it), "float32" or
    "bfloat16". Raises ValueError for a precision or a device that there is not.
    """

    def __init__(
        self, checkpoint: Checkpoint, device: str | torch.device | None = None, precision: str = "auto"
    ) -> None:
        self.checkpoint, self.config = checkpoint, checkpoint.config
        self.device = select_device(device)
        self.precision = select_precision(precision, self.device)
        self.network = to_channels_last(checkpoint.network, self.device).eval()

    @classmethod
    def from_pretrained(cls, source: str | os.PathLike = DEFAULT_CHECKPOINT, **options) -> Detector:
        """Load a checkpoint folder, a shipped checkpoint by name, or a Hugging Face Hub id ("owner/name").

        Raises CheckpointError.
        """
        return cls(load_checkpoint(resolve_checkpoint(source)), **options)

    @property
    def schema(self) -> EHRSchema:
        """The features of a record that this checkpoint knows."""
        return self.config.schema

    @property
    def scoring(self) -> Scoring:
        """How this checkpoint scores, with its calibration."""
        return self.config.scoring

    def settings(
        self, noise_level: int | None = None, steps: int | None = None, seed: int = 0, estimate: str | None = None
    ) -> Settings:
        """Fill in the checkpoint's own defaults, see `Settings.of`. Raises ValueError for values out of range."""
        return Settings.of(self.scoring, self.config.schedule.timesteps, noise_level, steps, seed, estimate)

    def case(self, film: FilmSource, record: Mapping[str, object] | None = None, *, accept: bool = False) -> Case:
        """Prepare one film and parse its record, once for the analysis and all explanations.

        film: a Radiograph, a grey array (H, W) or a file. record: values by feature name, missing or None = unknown;
        the film's header facts are not used unless given here. accept: go on knowingly with a file that the gate stops;
        the result says so. Raises RadiographError or EHRError.
        """
        parsed_record = self.schema.parse(record or {})
        radiograph = open_film(film, accept)
        return Case(radiograph, parsed_record, prepare_film(radiograph, self.config.preprocessing))

    def inputs(self, cases: Sequence[Case]) -> Tensor:
        """Return the prepared films of cases as the network's input, (B, 1, S, S) on the device.

        Raises ValueError for a case that was prepared for another checkpoint.
        """
        side = self.config.preprocessing.size
        if any(case.x0.shape != (side, side) or case.record.keys() != set(self.schema.names) for case in cases):
            raise ValueError("This case was prepared for another checkpoint: make it with this detector's `case`.")
        return torch.from_numpy(np.stack([case.x0 for case in cases]))[:, None].to(self.device)

    def analyze(
        self,
        film: Case | FilmSource,
        record: Mapping[str, object] | None = None,
        *,
        accept: bool = False,
        noise_level: int | None = None,
        steps: int | None = None,
        seed: int = 0,
        estimate: str | None = None,
        callback: Callback | None = None,
    ) -> Analysis:
        """Analyze one case, or a film and a record, which `case` prepares first.

        film, record, accept: see `case`; a `Case` holds its record already. noise_level, steps, seed, estimate: see
        `Settings`; default, the checkpoint's own. callback: receives a `Progress` after each step, and may raise to
        cancel.

        The same inputs and seed give the same output.
        Raises RadiographError or EHRError as `case` does, ValueError for settings out of range.
        """
        settings = self.settings(noise_level, steps, seed, estimate)
        if isinstance(film, Case) and record is not None:
            raise ValueError("A case holds its record already: give one or the other, or use `Case.with_record`.")
        case = film if isinstance(film, Case) else self.case(film, record, accept=accept)
        return self._analyze([case], settings, callback)[0]

    def analyze_many(
        self,
        cases: Iterable[Case],
        *,
        batch_size: int = 16,
        noise_level: int | None = None,
        steps: int | None = None,
        seed: int = 0,
        estimate: str | None = None,
    ) -> Iterator[Analysis]:
        """Analyze cases in batches, in order, drawing one batch at a time from `cases`. Errors as in `analyze`."""
        settings, remaining = self.settings(noise_level, steps, seed, estimate), iter(cases)
        while batch := list(itertools.islice(remaining, batch_size)):
            yield from self._analyze(batch, settings)

    @torch.no_grad()
    def _analyze(self, cases: Sequence[Case], settings: Settings, callback: Callback | None = None) -> list[Analysis]:
        x0, records = self.inputs(cases), [case.record for case in cases]
        seconds: dict[str, float] = {}
        with _measure_time(seconds, "condition"):
            condition = self.condition(x0, records)
        with _measure_time(seconds, "reconstruct"):
            estimates = self.estimates(x0, condition, self.scoring.keys, settings, callback)
        with _measure_time(seconds, "score"):
            values = self.measurements(x0, records, estimates, settings)
            heat_maps = compute_heat_map(x0, estimates.in_region[self.main_key(settings)], self.scoring.heat_sigma)
        batch = _Batch(settings, condition.attention, estimates, values, heat_maps, seconds)
        return [self._analysis(case, batch, row) for row, case in enumerate(cases)]

    def _analysis(self, case: Case, batch: _Batch, row: int) -> Analysis:
        """Return what a batch's row says of its case."""
        settings, estimates, values = batch.settings, batch.estimates, batch.values[row]
        placement = place_among_normals(values, category_of(case.record, "view"), self.scoring)
        source, noise_level = self.main_key(settings)
        reconstructions = {level: _to_array(films[row]) for level, films in estimates.by_level(source).items()}
        reconstruction = reconstructions[noise_level]
        return Analysis(
            film=case.x0,
            reconstruction=reconstruction,
            residual=case.x0 - reconstruction,
            heat_map=_to_array(batch.heat_maps[row]),
            score=placement.score,
            percentile=placement.percentile,
            compared_with=placement.compared_with,
            normals=placement.normals,
            attention={
                name: self.schema.sum_by_feature(name, weights[row].cpu().numpy())
                for name, weights in batch.attention.items()
            },
            record=case.record,
            settings=settings,
            reconstructions=reconstructions,
            components=tuple(zip(self.scoring.components, values.tolist(), placement.z_scores, strict=True)),
            aspect=case.aspect,
            notes=notes_on(case, placement, settings, self.config),
            seconds=batch.seconds,
            heat_sigma=self.scoring.heat_sigma,
            heat_normal=self.scoring.normal_limit,
            accepted=case.film.accepted,
            case=case,
        )

    @torch.no_grad()
    def condition(self, x0: Tensor, records: Sequence[Mapping], attention: bool = True) -> Condition:
        """Encode prepared films (B, 1, S, S) and parsed records by IECA.

        attention: also the attention weights, which cost a pass of the encoder where the query changes at every step.
        """
        values = torch.from_numpy(np.stack([self.schema.encode(record) for record in records])).to(self.device)
        with self.autocast():
            condition = self.network.condition(x0, values)
            if attention:
                condition = replace(condition, attention=self.network.attention(x0, condition))
        return condition.map(Tensor.float)

    @torch.no_grad()
    def estimates(
        self,
        x0: Tensor,
        condition: Condition,
        keys: Sequence[tuple[str, int]],
        settings: Settings,
        callback: Callback | None = None,
        with_reconstruction: bool = True,
    ) -> Estimates:
        """Compute the estimates that `keys`, pairs of (source, noise level), name.

        x0: prepared films (B, 1, S, S), with the condition of their records. with_reconstruction: also the one from the
        settings' own noise level, which an analysis shows.
        """
        all_keys = [*keys, self.main_key(settings)] if with_reconstruction else keys
        noising, one_step = {}, {}
        with self.autocast():
            inversion = self._reconstruct(x0, condition, needed_levels(all_keys, "inversion"), settings, callback)
            for level in needed_levels(all_keys, "noising"):
                steps = scale_steps(level, settings.steps, self.scoring.noise_level)
                rounds = self.scoring.rounds
                noising[level] = self._noise_and_denoise(x0, condition, level, steps, settings, callback, rounds)
            for level in needed_levels(keys, "one_step"):
                one_step[level] = self.one_step_estimate(x0, condition, level, settings)
        estimates = Estimates(inversion, noising, one_step)
        in_region = {key: select_region(x0, estimates.picture(key), self.scoring) for key in dict.fromkeys(all_keys)}
        return replace(estimates, in_region=in_region)

    def _reconstruct(
        self,
        x0: Tensor,
        condition: Condition,
        levels: Sequence[int],
        settings: Settings,
        callback: Callback | None,
    ) -> dict[int, Tensor]:
        """Return pseudo-healthy reconstructions by noise level, by the walk that the checkpoint's scoring names."""
        predict, schedule = make_predictor(self.network, condition, settings.estimate), self.config.schedule
        plan = {level: scale_steps(level, settings.steps, self.scoring.noise_level) for level in levels}
        if self.scoring.reconstruction != "released":
            return reconstruct(x0, predict, plan, schedule, settings.noise_level, callback)
        noises = {level: draw_noises(1, x0.shape[-1], level, settings.seed, self.device) for level in plan}
        return {level: reconstruct_as_released(x0, predict, level, noises[level], schedule, callback) for level in plan}

    @torch.no_grad()
    def measurements(self, x0: Tensor, records: Sequence[Record], estimates: Estimates, settings: Settings) -> Tensor:
        """Measure the score's components of prepared films under their records: (B, components) on the CPU."""
        columns = [
            self._contradictions(component, x0, records, estimates, settings)
            if component.feature
            else measure_component(component, x0, estimates.in_region[component.key], self.scoring.border)
            for component in self.scoring.components
        ]
        return torch.stack(columns, dim=1).cpu()

    def _contradictions(
        self, component: Component, x0: Tensor, records: Sequence[Record], estimates: Estimates, settings: Settings
    ) -> Tensor:
        """Measure one contradiction of each film (B,), NaN where its record has no value.

        In float32 whatever the detector's precision, because a direction is a small difference of two estimates.
        """
        detector, level, name = self.in_float32, component.level, component.feature
        values = torch.full((len(x0),), float("nan"), device=x0.device)
        rows = [row for row, record in enumerate(records) if record.get(name) is not None]
        if not rows:
            return values
        films, known = x0[rows], [records[row] for row in rows]

        def estimate_under(records: Sequence[Record]) -> Tensor:
            return detector.one_step_estimate(
                films, detector.condition(films, records, attention=False), level, settings
            )

        estimate = estimates.get(component.key) if detector is self else None
        own = estimate_under(known) if estimate is None else estimate[rows]
        higher = estimate_under([self.schema.with_higher(record, name) for record in known])
        values[rows] = measure_contradiction(films, own, higher, self.scoring.margin)
        return values

    @torch.no_grad()
    def one_step_estimate(self, x0: Tensor, condition: Condition, level: int, settings: Settings) -> Tensor:
        """Estimate x̂_0 in one step from a noise level, averaged over the scoring's fixed noises: (B, 1, S, S)."""
        return self._noise_and_denoise(x0, condition, level, 1, settings)

    def _noise_and_denoise(
        self,
        x0: Tensor,
        condition: Condition,
        level: int,
        steps: int,
        settings: Settings,
        callback: Callback | None = None,
        rounds: int = 1,
    ) -> Tensor:
        noises = self._noises(x0.shape[-1], level, settings)
        predict = make_predictor(self.network, condition, settings.estimate)
        return reconstruct_from_noise(x0, predict, level, steps, noises, self.config.schedule, callback, rounds)

    def main_key(self, settings: Settings) -> tuple[str, int]:
        """Return the source and noise level of the reconstruction that an analysis under these settings shows."""
        return self.scoring.main_key[0], settings.noise_level

    def _noises(self, side: int, level: int, settings: Settings) -> Tensor:
        """Return the scoring's fixed noises of one level: (n, 1, S, S)."""
        noises = draw_noises(self.scoring.one_step_noises, side, level, settings.seed, self.device)
        return torch.cat([noises, -noises]) if self.scoring.mirrored_noises else noises

    def autocast(self) -> AbstractContextManager:
        """Return the context of network passes in the detector's precision; everything outside is float32."""
        return autocast(self.device, self.precision)

    @cached_property
    def in_float32(self) -> Detector:
        """The same detector in float32."""
        return self if self.precision == "float32" else Detector(self.checkpoint, self.device, "float32")

    def with_config(self, config: CheckpointConfig) -> Detector:
        """Return the same network under another configuration, e.g. a new calibration."""
        return Detector(replace(self.checkpoint, config=config), self.device, self.precision)

    def with_scoring(self, scoring: Scoring) -> Detector:
        """Return the same network under another score or calibration."""
        return self.with_config(replace(self.config, scoring=scoring))


@dataclass(frozen=True, eq=False)
class _Batch:
    """What one batch of B films was measured with and gave; seconds by stage."""

    settings: Settings
    attention: Mapping[str, Tensor]
    estimates: Estimates
    values: Tensor
    heat_maps: Tensor
    seconds: dict[str, float]


@contextmanager
def _measure_time(seconds: dict[str, float], stage: str) -> Iterator[None]:
    """Add the seconds that a block takes under the name of its stage."""
    start = time.perf_counter()
    yield
    seconds[stage] = time.perf_counter() - start


def _to_array(image: Tensor) -> np.ndarray:
    return image[0].float().cpu().numpy()
