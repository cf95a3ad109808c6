"""Counterfactual reconstructions: one film reconstructed under an unknown record and under changed ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..case import Case
from ..detector import Detector
from ..diffusion import denoise, invert
from ..ehr import EHRError, EHRSchema, Feature, Record
from ..reconstruct import CLAMP, make_predictor
from .registry import Context, Explanation, Picture, register

COUNTERFACTUAL_LEVEL, COUNTERFACTUAL_STEPS = 1000, 40


@dataclass(frozen=True, eq=False)
class Counterfactual:
    """Reconstructions of one film under other records.

    film: the prepared film, (S, S) in [0, 1]. reconstruction: (S, S) in [0, 1], under the patient's own record.
    others: n other records. reconstructions: (n, S, S) in [0, 1], under these, from the same noise.
    """

    film: np.ndarray
    reconstruction: np.ndarray
    record: Record
    others: tuple[Record, ...]
    reconstructions: np.ndarray

    @property
    def differences(self) -> np.ndarray:
        """The effect of each change of the record: reconstructions − reconstruction, (n, S, S)."""
        return self.reconstructions - self.reconstruction


def compute_counterfactual(
    detector: Detector,
    case: Case,
    others: Sequence[Mapping[str, object]],
    *,
    noise_level: int | None = None,
    steps: int = COUNTERFACTUAL_STEPS,
) -> Counterfactual:
    """Reconstruct a film under its own record and under others, from the same noise.

    Abduction, action, prediction (Pearl, *Causality*, ch. 7): DDIM inversion under the own record leaves in the noise
    what that record does not explain; denoising the same noise under another record keeps it. others: values by feature
    name. noise_level: default, `get_highest_level`. steps: DDIM steps each way. Raises EHRError for a wrong record,
    ValueError for settings out of range.
    """
    noise_level = get_highest_level(detector) if noise_level is None else noise_level
    timesteps = detector.config.schedule.timesteps
    if not 1 <= steps <= noise_level <= timesteps:
        raise ValueError(f"steps must lie between 1 and the noise level, and that below {timesteps + 1}.")
    parsed_records = tuple(detector.schema.parse(other) for other in others)
    x0 = detector.inputs([case])
    films = reconstruct_counterfactuals(detector, x0, [case.record], [parsed_records], noise_level, steps)[0, :, 0]
    reconstruction, *reconstructions = films.float().cpu().numpy()
    side = x0.shape[-1]
    return Counterfactual(
        case.x0, reconstruction, case.record, parsed_records, np.array(reconstructions).reshape(-1, side, side)
    )


def get_highest_level(detector: Detector) -> int:
    """Return the noise level from which records are compared: `COUNTERFACTUAL_LEVEL`, or the checkpoint's highest."""
    return min(COUNTERFACTUAL_LEVEL, detector.config.schedule.timesteps)


@torch.no_grad()
def reconstruct_counterfactuals(
    detector: Detector,
    x0: Tensor,
    records: Sequence[Record],
    others: Sequence[Sequence[Record]],
    noise_level: int,
    steps: int,
) -> Tensor:
    """Reconstruct prepared films (B, 1, S, S) under their own record and n others each: (B, 1 + n, 1, S, S).

    noise_level, steps: as in `compute_counterfactual`.
    """
    own = detector.condition(x0, records)
    every = [record for record, changes in zip(records, others, strict=True) for record in (record, *changes)]
    count = len(every) // len(records)
    conditions = detector.condition(x0.repeat_interleave(count, dim=0), every)
    schedule = detector.config.schedule
    with detector.autocast():
        noise = invert(x0, make_predictor(detector.network, own), noise_level, steps, schedule, clamp=CLAMP)
        start = noise.repeat_interleave(count, dim=0)
        films = denoise(start, make_predictor(detector.network, conditions), noise_level, steps, schedule, clamp=CLAMP)
    return films.clamp(*CLAMP).view(len(records), count, *x0.shape[1:])


def change_record(schema: EHRSchema, record: Record, name: str, value: str) -> Record:
    """Return the record with another value of one feature; features that depend on it follow.

    name: of the feature. value: as typed. Raises EHRError for a value that is empty, wrong or unchanged.
    """
    parsed_value = schema[name].parse(value)
    if parsed_value is None:
        raise EHRError(
            f"Another record: give the other value of {schema[name].label}, e.g. {get_example_value(schema[name])}."
        )
    if parsed_value == record.get(name):
        raise EHRError(
            f"Another record: {schema[name].label} {schema[name].describe(parsed_value)} is what the record says "
            "already. Give another value."
        )
    return schema.parse(
        {**record, name: parsed_value}
        if isinstance(parsed_value, str)
        else schema.with_value(record, name, parsed_value)
    )


def get_example_value(feature: Feature) -> str:
    """Return an example of a feature's value, as a user types it."""
    return feature.categories[-1] if feature.kind == "category" else f"{feature.mean + 2 * feature.std:.0f}"


@dataclass(frozen=True, eq=False)
class RecordChanges:
    """The counterfactual under the changed records of a request.

    changes: (feature, value as typed) of each record in the counterfactual's `others`.
    """

    changes: tuple[tuple[str, str], ...]
    counterfactual: Counterfactual


def _list_records(context: Context) -> list[Record]:
    schema, record = context.detector.schema, context.case.record
    return [change_record(schema, record, name, value) for name, value in context.request.changes]


def _validate(context: Context) -> None:
    _list_records(context)


def _explain_unknown(context: Context) -> Counterfactual:
    """Reconstruct under an unknown record; the changed ones are computed in the same batch, for `_explain_changes`."""
    result = _compute_once(context)
    return Counterfactual(
        result.film, result.reconstruction, result.record, result.others[:1], result.reconstructions[:1]
    )


def _explain_changes(context: Context) -> RecordChanges:
    result = _compute_once(context)
    changes = Counterfactual(
        result.film, result.reconstruction, result.record, result.others[1:], result.reconstructions[1:]
    )
    return RecordChanges(context.request.changes, changes)


def _compute_once(context: Context) -> Counterfactual:
    others = [{}, *_list_records(context)]
    return context.compute_once(
        "counterfactual", lambda: compute_counterfactual(context.detector, context.case, others)
    )


def _unknown_to_dict(result: Counterfactual) -> dict:
    return _change_to_dict(result, 0)


def _change_to_dict(result: Counterfactual, index: int) -> dict:
    change = result.differences[index]
    sizes = {"mean_absolute_change": float(np.abs(change).mean()), "mean_change": float(change.mean())}
    return {"record": result.others[index], **sizes}


def _changes_to_dict(result: RecordChanges) -> list[dict]:
    return [_change_to_dict(result.counterfactual, index) for index in range(len(result.changes))]


def _describe_difference(name: str, difference: np.ndarray) -> str:
    size = np.abs(difference).mean()
    return f"normal under another record ({name}): differs by {size:.2%} of the grey range on average"


def _describe_unknown(result: Counterfactual) -> list[str]:
    return [_describe_difference("nothing known", result.differences[0])]


def _describe_changes(result: RecordChanges) -> list[str]:
    names = [f"{name}={value}" for name, value in result.changes]
    return [
        _describe_difference(name, change)
        for name, change in zip(names, result.counterfactual.differences, strict=True)
    ]


def _unknown_pictures(result: Counterfactual) -> dict[str, Picture]:
    own = {"film": Picture(result.film), "normal": Picture(result.reconstruction)}
    return own | _collect_pictures(result, ["record_unknown"])


def _changes_pictures(result: RecordChanges) -> dict[str, Picture]:
    names = [f"other_record_{number}" for number in range(1, len(result.changes) + 1)]
    return _collect_pictures(result.counterfactual, names)


def _collect_pictures(result: Counterfactual, names: Sequence[str]) -> dict[str, Picture]:
    pictures: dict[str, Picture] = {}
    for name, image, change in zip(names, result.reconstructions, result.differences, strict=True):
        pictures |= {f"normal_{name}": Picture(image), f"change_{name}": Picture(change, signed=True)}
    return pictures


register(
    Explanation(
        name="record_unknown",
        title="Normal with and without the record",
        progress="Drawing this person without a record …",
        order=70,
        cost="medium",
        explain=_explain_unknown,
        to_dict=_unknown_to_dict,
        describe=_describe_unknown,
        pictures=_unknown_pictures,
        validate=_validate,
    )
)
register(
    Explanation(
        name="record_changed",
        title="Normal under another record",
        progress="Drawing this person under another record …",
        order=80,
        cost="medium",
        explain=_explain_changes,
        to_dict=_changes_to_dict,
        describe=_describe_changes,
        pictures=_changes_pictures,
        is_requested=lambda request: bool(request.changes),
    )
)
