"""The pseudo-healthy picture and the score of one film under its own record, an unknown one and another one."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
import torch

from ..analysis import Analysis, Placement, in_tenths, place_among_normals
from ..case import Case
from ..detector import Detector
from ..ehr import EHRSchema, Record, category_of
from .needs import Need, require
from .registry import Context, Explanation, Picture, register

NAMES = ("known", "unknown", "another")


@dataclass(frozen=True, eq=False)
class ThreeRecords:
    """One film under its own record, an unknown one and another patient's (`mirror_record`), in this order.

    records: the three records. reconstructions: (3, S, S) in [0, 1], the pseudo-healthy film under each. scores: of
    each, all against normal films of the film's own view; None for a checkpoint without calibration.
    """

    records: tuple[Record, Record, Record]
    reconstructions: np.ndarray
    scores: tuple[float | None, ...]

    @property
    def differences(self) -> np.ndarray:
        """The effect of the other two records: their reconstructions − that under the own record, (2, S, S)."""
        return self.reconstructions[1:] - self.reconstructions[0]


@dataclass(frozen=True)
class WithoutRecord:
    """The result of an analysis under an unknown record.

    score, percentile: among normal films of the film's own view, as in the analysis itself; None without calibration.
    change: mean absolute change of the pseudo-healthy film, in shares of the grey range.
    """

    score: float | None
    percentile: float | None
    change: float


def analyze_without_record(detector: Detector, analysis: Analysis) -> WithoutRecord:
    """Analyze the film of an analysis again under an unknown record, with the same settings.

    Raises ExplanationError for a checkpoint without tokens for unknown values, and ValueError for an analysis that was
    read from a file without its film.
    """
    require(detector, Need.UNKNOWN_TOKENS)
    if analysis.case is None:
        raise ValueError("The analysis was read from a file without its film.")
    nothing = analysis.case.with_record(dict.fromkeys(detector.schema.names))
    other = detector.analyze(nothing, **asdict(analysis.settings))
    placement = _place(detector, other, category_of(analysis.case.record, "view"))
    percentile = None if placement.percentile is None else in_tenths(placement.percentile)
    change = float(np.abs(other.reconstruction - analysis.reconstruction).mean())
    return WithoutRecord(placement.score, percentile, change)


def mirror_record(schema: EHRSchema, record: Record) -> Record:
    """Return the record of a patient who is as far from the average on the other side.

    Each known number is mirrored at its mean in training and clipped to its plausible range; each known category
    becomes the next one. Weight follows BMI and height. Unknown values stay unknown.
    """
    other = dict(record)
    for feature in schema.features:
        value = record.get(feature.name)
        if value is None or (feature.name == "weight_kg" and record.get("height_cm") is not None):
            continue
        if feature.kind == "category":
            places = feature.categories
            other[feature.name] = places[(places.index(value) + 1) % len(places)]
        else:
            mirrored = np.clip(2 * feature.mean - float(value), *schema.allowed_range(other, feature.name))
            other = schema.with_value(other, feature.name, float(mirrored))
    return other


def compare_three_records(detector: Detector, case: Case) -> ThreeRecords:
    """Analyze one film under its own record, an unknown one and another one.

    Raises ExplanationError for a checkpoint without tokens for unknown values.
    """
    require(detector, Need.UNKNOWN_TOKENS)
    schema = detector.schema
    records = (case.record, dict.fromkeys(schema.names), mirror_record(schema, case.record))
    analyses = list(detector.analyze_many(case.with_record(record) for record in records))
    scores = tuple(_place(detector, analysis, category_of(case.record, "view")).score for analysis in analyses)
    return ThreeRecords(records, np.stack([analysis.reconstruction for analysis in analyses]), scores)


def _place(detector: Detector, analysis: Analysis, view: str | None) -> Placement:
    """Place an analysis among the normal films of a view, whatever view its own record says."""
    values = torch.tensor([value for _, value, _ in analysis.components])
    return place_among_normals(values, view, detector.scoring)


def _explain(context: Context) -> ThreeRecords:
    return compare_three_records(context.detector, context.case)


def _to_dict(result: ThreeRecords) -> dict:
    sizes = [0.0, *(float(np.abs(change).mean()) for change in result.differences)]
    rows = zip(NAMES, result.records, result.scores, sizes, strict=True)
    return {
        name: {"record": record, "score": score, "mean_absolute_change": size} for name, record, score, size in rows
    }


def _describe(result: ThreeRecords) -> list[str]:
    lines = []
    for name, entry in _to_dict(result).items():
        score = "no score" if entry["score"] is None else f"score {entry['score']:+.2f}"
        lines.append(
            f"pseudo-healthy under the record {name}: {score}, picture differs by {entry['mean_absolute_change']:.2%}"
        )
    return lines


def _pictures(result: ThreeRecords) -> dict[str, Picture]:
    pairs = zip(NAMES, result.reconstructions, strict=True)
    pictures = {f"pseudo_healthy_{name}": Picture(image) for name, image in pairs}
    changes = zip(NAMES[1:], result.differences, strict=True)
    return pictures | {f"pseudo_healthy_change_{name}": Picture(change, signed=True) for name, change in changes}


register(
    Explanation(
        name="three_records",
        title="Known, unknown and another record",
        progress="Analyzing the film under no record and under another one …",
        order=105,
        cost="medium",
        explain=_explain,
        to_dict=_to_dict,
        describe=_describe,
        needs=(Need.UNKNOWN_TOKENS,),
        pictures=_pictures,
    )
)
