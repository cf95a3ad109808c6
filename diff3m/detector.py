"""The detector: a checkpoint that turns a radiograph and a patient's record into an Analysis."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from .analysis import Analysis, Settings
from .checkpoint.folder import Checkpoint, load_checkpoint
from .checkpoint.source import DEFAULT_CHECKPOINT, resolve_checkpoint
from .diffusion import Progress
from .ehr import EHRSchema, Record
from .imaging import Radiograph, check_film, film_aspect, prepare, read_radiograph
from .network import Condition
from .reconstruct import (
    draw_noises,
    estimate_in_one_step,
    needed_levels,
    predictor,
    reconstruct,
    steps_to,
    validate_seed,
)
from .released.inference import reconstruct_as_released
from .scoring.anomaly_head import anomaly_logits, anomaly_map
from .scoring.measure import contradiction, heat_map, measure_component
from .scoring.score import ANY_VIEW, ESTIMATES, Component, Scoring

ADULT = 18  # years


class Detector:
    """A loaded checkpoint on a device. `precision`: "auto" (bfloat16 where the processor has it), "float32" or "bfloat16"."""

    def __init__(
        self, checkpoint: Checkpoint, device: str | torch.device | None = None, precision: str = "auto"
    ) -> None:
        if precision not in ("auto", "float32", "bfloat16"):
            raise ValueError(f'precision must be "auto", "float32" or "bfloat16", got {precision!r}')
        self.checkpoint, self.config = checkpoint, checkpoint.config
        self.device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        if self.device.type == "cuda" and not torch.cuda.is_available():
            raise ValueError("There is no CUDA device here, or this torch was built without CUDA. Use the device cpu.")
        self.precision = ("bfloat16" if has_bfloat16(self.device) else "float32") if precision == "auto" else precision
        self.network = checkpoint.network.to(self.device, memory_format=torch.channels_last).eval()
        self.head = None if checkpoint.head is None else checkpoint.head.to(self.device).eval()

    @classmethod
    def from_pretrained(cls, source: str | os.PathLike = DEFAULT_CHECKPOINT, **options) -> Detector:
        """From a checkpoint folder, the name of a shipped checkpoint, or a Hugging Face Hub id ("owner/name").

        Raises CheckpointError with a sentence.
        """
        return cls(load_checkpoint(resolve_checkpoint(source)), **options)

    @property
    def schema(self) -> EHRSchema:
        return self.config.schema

    @property
    def head_key(self) -> tuple[str, int] | None:
        """The key of the anomaly head's map among `reconstructions`; None without a head."""
        return None if self.head is None else ("head", self.head.config.level)

    @property
    def scoring(self) -> Scoring:
        return self.config.scoring

    def settings(
        self, noise_level: int | None = None, steps: int | None = None, seed: int = 0, estimate: str | None = None
    ) -> Settings:
        """Settings with the checkpoint's own defaults filled in. Raises ValueError for values out of range."""
        scoring = self.scoring
        level = scoring.noise_level if noise_level is None else noise_level
        steps = scoring.steps if steps is None else steps
        estimate = scoring.estimate if estimate is None else estimate
        if estimate not in ESTIMATES:
            raise ValueError(f"The estimate must be one of {', '.join(ESTIMATES)}, got {estimate!r}.")
        if not 1 <= level <= self.config.schedule.timesteps:
            raise ValueError(f"The noise level must lie between 1 and {self.config.schedule.timesteps}, got {level}.")
        if not 1 <= steps <= scoring.noise_level:
            raise ValueError(f"The number of steps must lie between 1 and {scoring.noise_level}, got {steps}.")
        return Settings(int(level), int(steps), validate_seed(seed), estimate)

    def analyze(
        self,
        radiograph: Radiograph | np.ndarray | str | os.PathLike,
        ehr: Mapping[str, object] | None = None,
        *,
        noise_level: int | None = None,
        steps: int | None = None,
        seed: int = 0,
        estimate: str | None = None,
        callback: Callable[[Progress], None] | None = None,
    ) -> Analysis:
        """Analyze one film. ehr: values by feature name, missing or None = unknown; header facts are not used unless given.

        Same inputs and seed give the same output. The callback hears each step and may raise to cancel.
        Raises RadiographError or EHRError with a sentence, ValueError for settings out of range.
        """
        settings = self.settings(noise_level, steps, seed, estimate)
        return self._analyze([self.film(radiograph)], [self.schema.parse(ehr or {})], settings, callback)[0]

    def analyze_many(
        self,
        cases: Sequence[tuple[Radiograph | np.ndarray | str | os.PathLike, Mapping[str, object] | None]],
        *,
        batch_size: int = 16,
        noise_level: int | None = None,
        steps: int | None = None,
        seed: int = 0,
        estimate: str | None = None,
    ) -> Iterator[Analysis]:
        """Analyze films in batches, in order, one batch in memory at a time. Errors as in `analyze`."""
        settings = self.settings(noise_level, steps, seed, estimate)
        for start in range(0, len(cases), batch_size):
            part = cases[start : start + batch_size]
            yield from self._analyze(
                [self.film(film) for film, _ in part], [self.schema.parse(ehr or {}) for _, ehr in part], settings
            )

    @torch.no_grad()
    def _analyze(
        self,
        films: list[Radiograph],
        records: list[Record],
        settings: Settings,
        callback: Callable[[Progress], None] | None = None,
    ) -> list[Analysis]:
        started = time.perf_counter()
        x0 = self.prepared(films)
        prepared = time.perf_counter()
        condition = self.condition(x0, records)
        conditioned = time.perf_counter()
        keys = self.scoring.keys if self.head is None else [*self.scoring.keys, self.head_key]
        made = self.reconstructions(x0, condition, keys, settings, callback)
        reconstructed = time.perf_counter()
        values = self.measurements(x0, records, made, settings)
        shown = made["inversion", settings.noise_level]
        heat = heat_map(x0, shown, self.scoring.heat_sigma)
        stages = {
            "prepare": prepared - started,
            "condition": conditioned - prepared,
            "reconstruct": reconstructed - conditioned,
        }
        stages["score"] = time.perf_counter() - reconstructed
        return [
            self._assemble(i, films[i], records[i], settings, (x0, shown, heat), made, condition, values[i], stages)
            for i in range(len(films))
        ]

    @staticmethod
    def film(source: Radiograph | np.ndarray | str | os.PathLike) -> Radiograph:
        """A Radiograph from a Radiograph, a grey array (H, W) or a file. Raises RadiographError."""
        if isinstance(source, Radiograph):
            return source
        if isinstance(source, np.ndarray):
            return Radiograph(check_film(source.astype(np.float32)))
        return read_radiograph(source)

    def prepared(self, films: Sequence[Radiograph]) -> Tensor:
        """Films as the network's input (B, 1, S, S) on the device."""
        stacked = np.stack([prepare(film, self.config.preprocessing) for film in films])
        return torch.from_numpy(stacked)[:, None].to(self.device)

    @torch.no_grad()
    def condition(self, x0: Tensor, records: Sequence[Mapping], attention: bool = True) -> Condition:
        """IECA for prepared films and parsed records. attention: also what `Diff3M.attention` gives, a pass of the encoder where the query is
        asked at every step."""
        values = torch.from_numpy(np.stack([self.schema.encode(record) for record in records])).to(self.device)
        with self.autocast():
            condition = self.network.condition(x0, values)
            if attention:
                condition = replace(condition, attention=self.network.attention(x0, condition))
        return condition.map(Tensor.float)

    @torch.no_grad()
    def reconstructions(
        self,
        x0: Tensor,
        condition: Condition,
        keys: Sequence[tuple[str, int]],
        settings: Settings,
        callback: Callable[[Progress], None] | None = None,
        with_shown: bool = True,
    ) -> dict[tuple[str, int], Tensor]:
        """Reconstructions by (source, noise level): those that `keys` name, and (unless with_shown is False) the shown one. Of the source "head" it
        is the anomaly head's logits."""
        predict, schedule = predictor(self.network, condition, settings.estimate), self.config.schedule
        shown = settings.noise_level
        wanted = [*keys, ("inversion", shown)] if with_shown else keys
        plan = {
            level: steps_to(level, settings.steps, self.scoring.noise_level)
            for level in needed_levels(wanted, "inversion")
        }
        with self.autocast():
            if self.scoring.released_path:
                noises = {level: draw_noises(1, x0.shape[-1], level, settings.seed, self.device) for level in plan}
                walked = {
                    level: reconstruct_as_released(x0, predict, level, noises[level], schedule, callback)
                    for level in plan
                }
            else:
                walked = reconstruct(x0, predict, plan, schedule, shown, callback)
            made = {("inversion", level): image for level, image in walked.items()}
            for level in needed_levels(keys, "one_step"):
                made["one_step", level] = self.one_step_estimate(x0, condition, level, settings)
            if self.head is not None and self.head_key in keys:
                noises = self._noises(x0.shape[-1], self.head.config.level, settings)
                made[self.head_key] = anomaly_logits(self.network, self.head, schedule, x0, noises, condition)[0]
        return made

    @torch.no_grad()
    def measurements(
        self, x0: Tensor, records: Sequence[Record], made: Mapping[tuple[str, int], Tensor], settings: Settings
    ) -> Tensor:
        """The score's components for prepared films and their reconstructions under the same records: (B, components) on the CPU."""
        columns = [
            self._contradictions(component, x0, records, made, settings)
            if component.feature
            else measure_component(component, x0, made[component.key], self.scoring.border)
            for component in self.scoring.components
        ]
        return torch.stack(columns, dim=1).cpu()

    def _contradictions(
        self,
        component: Component,
        x0: Tensor,
        records: Sequence[Record],
        made: Mapping[tuple[str, int], Tensor],
        settings: Settings,
    ) -> Tensor:
        """One contradiction of each film (B,), NaN where its record has no value. In float32 whatever the detector's precision, because a direction
        is a small difference of two estimates."""
        twin, level, name = self.in_float32, component.level, component.feature
        found = torch.full((len(x0),), float("nan"), device=x0.device)
        rows = [row for row, record in enumerate(records) if record.get(name) is not None]
        if rows:
            films, known = x0[rows], [records[row] for row in rows]

            def expected(under: Sequence[Record]) -> Tensor:
                return twin.one_step_estimate(films, twin.condition(films, under, attention=False), level, settings)

            own = made[component.key][rows] if twin is self and component.key in made else expected(known)
            found[rows] = contradiction(
                films, own, expected([self.schema.raised(record, name) for record in known]), self.scoring.margin
            )
        return found

    @torch.no_grad()
    def one_step_estimate(self, x0: Tensor, condition: Condition, level: int, settings: Settings) -> Tensor:
        """x̂_0 in one step from a level, over the scoring's fixed noises."""
        noises = self._noises(x0.shape[-1], level, settings)
        return estimate_in_one_step(
            x0, predictor(self.network, condition, settings.estimate), level, noises, self.config.schedule
        )

    def _noises(self, side: int, level: int, settings: Settings) -> Tensor:
        """The scoring's fixed noises of one level: (n, 1, S, S)."""
        noises = draw_noises(self.scoring.one_step_noises, side, level, settings.seed, self.device)
        return torch.cat([noises, -noises]) if self.scoring.mirrored_noises else noises

    def autocast(self) -> AbstractContextManager:
        """The precision of network passes; everything outside them is float32."""
        if self.precision == "float32":
            return nullcontext()
        return torch.autocast(self.device.type, torch.bfloat16)

    def _assemble(self, index, film, record, settings, images, made, condition, values, stages) -> Analysis:
        x0, shown, heat = (_array(tensor[index]) for tensor in images)
        scoring, view = self.scoring, record.get("view")
        notes = list(film.notes)
        score = percentile = None
        group, normals, z = ANY_VIEW, 0, [None] * len(values)
        try:
            group, calibration = scoring.for_view(view)
            score, normals = scoring.score(values, view), calibration.count
            percentile = scoring.percentile(score, view)
            z = scoring.z_scores(values, view).tolist()
        except LookupError:
            notes.append(
                "This checkpoint has not been calibrated on normal films, so there is no score: run `diff3m calibrate`."
            )
        if score is not None and (settings.steps, settings.estimate) != (scoring.steps, scoring.estimate):
            notes.append(
                f"The percentile was calibrated with {scoring.steps} steps; with other settings it is approximate."
            )
        unknown = {c.feature for c in scoring.components if c.feature and record.get(c.feature) is None}
        if score is not None and unknown:
            listed = ", ".join(self.schema[name].label for name in sorted(unknown))
            notes.append(
                f"{listed}: not known, so whether the film fits it is left out of the score, and the percentile is approximate."
            )
        age = record.get("age")
        if age is not None and float(age) < ADULT and "age" not in film.facts:
            notes.append(f"The patient is under {ADULT}; the model knows adult films only.")
        for feature in self.schema.ignored(record):
            notes.append(
                f"{feature.label}: this checkpoint was trained without it, so the value cannot change the result."
            )
        return Analysis(
            film=x0,
            reconstruction=shown,
            residual=x0 - shown,
            heat_map=heat,
            score=score,
            percentile=percentile,
            compared_with=group,
            normals=normals,
            attention={
                name: self.schema.by_feature(name, weights[index].cpu().numpy())
                for name, weights in condition.attention.items()
            },
            record=record,
            settings=settings,
            reconstructions={
                level: _array(image[index]) for (source, level), image in made.items() if source == "inversion"
            },
            components=tuple(zip(scoring.components, values.tolist(), z, strict=True)),
            aspect=film_aspect(film, self.config.preprocessing),
            notes=tuple(notes),
            seconds=stages,
            accepted=film.accepted,
            anomaly_map=_array(anomaly_map(made[self.head_key][index : index + 1])[0])
            if self.head_key in made
            else None,
        )

    @cached_property
    def in_float32(self) -> Detector:
        """The same detector in float32."""
        return self if self.precision == "float32" else Detector(self.checkpoint, self.device, "float32")

    def with_scoring(self, scoring: Scoring) -> Detector:
        """The same network under another score or calibration."""
        changed = replace(self.checkpoint, config=replace(self.config, scoring=scoring))
        return Detector(changed, self.device, self.precision)


def _array(image: Tensor) -> np.ndarray:
    return image[0].float().cpu().numpy()


def has_bfloat16(device: torch.device) -> bool:
    """True where bfloat16 convolutions are native, so that they are faster than float32."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported()
    if device.type != "cpu" or platform.machine().lower() not in ("x86_64", "amd64"):
        return False
    supported = getattr(torch.cpu, "_is_avx512_bf16_supported", None)
    return bool(supported and supported())
