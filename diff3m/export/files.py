"""An Analysis as JSON and PNG files, with settings, checkpoint hash, versions, date and notice."""

from __future__ import annotations

import json
import math
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from ..analysis import Analysis
from ..detector import Detector
from ..ehr import Record
from ..scoring.score import Scoring
from .overlay import enlarge, full_color, overlay, signed, to_png, to_uint8

if TYPE_CHECKING:
    from ..explain import (
        Attribution,
        Counterfactual,
        Gradients,
        Influence,
        Information,
        RegionAttribution,
        Uncertainty,
    )

NOTICE = "For research and teaching. Not a medical device; not for diagnosis."
PICTURE_HEIGHT = 512
OPACITY = 0.6  # of the colors over the film
FULL_COLOR = 4.0  # full color at this multiple of the normal heat


def software_versions() -> dict[str, str]:
    """Versions that a result depends on."""
    try:
        own = version("diff3m")
    except PackageNotFoundError:
        own = "source"
    return {"diff3m": own, "torch": torch.__version__, "python": platform.python_version()}


def analysis_to_dict(analysis: Analysis, detector: Detector) -> dict:
    """Everything but the pictures, as plain JSON values. No file name and no header text is in it."""
    return {
        "notice": NOTICE,
        "score": analysis.score,
        "percentile": analysis.percentile,
        "compared_with": {"view": analysis.compared_with, "normal_films": analysis.normals},
        "components": [
            {**asdict(component), "value": _finite(value), "z": _finite(z)}
            for component, value, z in analysis.components
        ],
        "attention": analysis.attention,
        "record": analysis.record,
        "notes": list(analysis.notes),
        "accepted": list(analysis.accepted),
        "settings": asdict(analysis.settings),
        "seconds": {stage: round(value, 4) for stage, value in analysis.seconds.items()},
        **_provenance(detector),
    }


def _provenance(detector: Detector) -> dict:
    """What made a result: checkpoint, precision, versions, date."""
    return {
        "checkpoint": {
            "name": detector.config.name,
            "weights_sha256": detector.checkpoint.sha256,
            "head_sha256": detector.checkpoint.head_sha256,
        },
        "precision": detector.precision,
        "versions": software_versions(),
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
    }


def explanation_to_dict(
    detector: Detector,
    record: Record,
    attributions: Mapping[str, Attribution],
    curves: Sequence[Influence] = (),
    information: Information | None = None,
    region: RegionAttribution | None = None,
    uncertainty: Uncertainty | None = None,
    gradients: Gradients | None = None,
    attention: Mapping[str, float] | None = None,
    counterfactual: Counterfactual | None = None,
) -> dict:
    """Explanations as plain JSON values, without pictures. No file name and no header text is in it."""
    return {
        "notice": NOTICE,
        "record": record,
        "attention": attention,
        "attributions": {
            target: {
                "known": found.known,
                "unknown": found.unknown,
                "groups": found.groups,
                "parts": found.parts,
                "ablation": found.ablation,
                "unusual": found.unusual,
                "fit": [
                    {"group": f.group, "known": f.known, "z": f.z, "shift": f.shift, "unit": f.feature.unit}
                    for f in found.fits
                ],
            }
            for target, found in attributions.items()
        },
        "influence": {
            curve.feature: {
                "values": curve.values.tolist(),
                "misfit": curve.misfit.tolist(),
                "deviation": curve.deviation.tolist(),
                "region": {"box": list(curve.box), "residual": curve.region.tolist()},
                "score": None if curve.score is None else curve.score.tolist(),
                "own": curve.own,
                "trained": list(curve.trained),
            }
            for curve in curves
        },
        "information_bits": None
        if information is None
        else {"record": information.bits, "lost_without": information.groups},
        "region": None if region is None else asdict(region),
        "second_opinion": _second_opinion(attributions.get("misfit"), gradients),
        "z_score_by_noise_level": None
        if uncertainty is None
        else {str(level): score for level, score in uncertainty.by_level.items()},
        "score_by_seed": None
        if uncertainty is None
        else {str(seed): score for seed, score in uncertainty.by_seed.items()},
        "heat_map_spread": None if uncertainty is None else float(uncertainty.heat_spread.mean()),
        "other_records": None
        if counterfactual is None
        else [
            {"record": other, "mean_absolute_change": float(np.abs(change).mean()), "mean_change": float(change.mean())}
            for other, change in zip(counterfactual.others, counterfactual.differences, strict=True)
        ],
        **_provenance(detector),
    }


def write_explanation_pictures(
    folder: Path,
    aspect: float,
    information: Information | None = None,
    uncertainty: Uncertainty | None = None,
    counterfactual: Counterfactual | None = None,
    curves: Sequence[Influence] = (),
) -> list[Path]:
    """What can only be seen of explanations, as PNG files 512 pixels high; returns their paths. Signed maps: red for + (brighter; the record helps),
    blue for −, full color at the 99.5th percentile of the sizes."""
    made: dict[str, np.ndarray] = {}
    if information is not None:
        made |= {"information": _signed(information.map), "residual": _signed(information.residual)}
        made |= {
            f"information_{group.replace(' ', '_')}": _signed(part) for group, part in information.group_maps.items()
        }
    if uncertainty is not None:
        made["heat_spread"] = to_uint8(uncertainty.heat_spread / max(float(uncertainty.heat_spread.max()), 1e-6))
    if counterfactual is not None:
        made |= {"film": to_uint8(counterfactual.film), "normal": to_uint8(counterfactual.reconstruction)}
        names = ["record_unknown", *(f"other_record_{index}" for index in range(1, len(counterfactual.others)))]
        for name, image, change in zip(names, counterfactual.reconstructions, counterfactual.differences, strict=True):
            made |= {f"normal_{name}": to_uint8(image), f"change_{name}": _signed(change)}
    for curve in curves:
        if curve.reconstructions is not None:
            made[f"influence_{curve.feature}"] = to_uint8(np.concatenate(list(curve.reconstructions), axis=1))
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name, picture in made.items():
        path = folder / f"{name}.png"
        wide = picture.shape[1] / picture.shape[0] * aspect
        path.write_bytes(to_png(enlarge(picture, PICTURE_HEIGHT, wide)))
        written.append(path)
    return written


def _signed(values: np.ndarray) -> np.ndarray:
    return signed(values, full_color(values))


def _second_opinion(found: Attribution | None, gradients: Gradients | None) -> dict | None:
    """Integrated gradients of the misfit, and whether they and leaving one group out agree with its Shapley values."""
    if found is None or gradients is None:
        return None
    from ..explain import agreements

    agreed = {name: asdict(one) for name, one in agreements(found, gradients).items()}
    return {"integrated_gradients": gradients.groups, "gap": gradients.gap, "agreement_with_shapley": agreed}


def _finite(value: float | None) -> float | None:
    """The number, or None for one that is not known (JSON has no NaN)."""
    return None if value is None or math.isnan(value) else value


def write_json(path: str | Path, values: dict) -> None:
    """Indented UTF-8 JSON; folders are made."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(values, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def heat_over_film(film: np.ndarray, heat: np.ndarray, heat_normal: float) -> np.ndarray:
    """A heat map over its film, both (H, W), as it is shown before anybody moves a control: (H, W, 3) uint8."""
    return overlay(film, heat, alpha=OPACITY, threshold=heat_normal, full=FULL_COLOR * heat_normal)


def pictures(analysis: Analysis, scoring: Scoring) -> dict[str, np.ndarray]:
    """film, reconstruction, residual (mid-grey = no difference), heat_map over the film and, where there is one, anomaly_map over it; 512 pixels
    high, RGB or grey uint8."""
    film, reconstruction = (
        enlarge(image, PICTURE_HEIGHT, analysis.aspect) for image in (analysis.film, analysis.reconstruction)
    )
    heat = enlarge(analysis.heat_map, PICTURE_HEIGHT, analysis.aspect)
    residual = enlarge(analysis.residual, PICTURE_HEIGHT, analysis.aspect)
    made = {
        "film": to_uint8(film),
        "reconstruction": to_uint8(reconstruction),
        "residual": to_uint8(0.5 + residual),
        "heat_map": heat_over_film(film, heat, scoring.heat_normal),
    }
    if analysis.anomaly_map is not None:
        found = enlarge(analysis.anomaly_map, PICTURE_HEIGHT, analysis.aspect)
        made["anomaly_map"] = overlay(
            film, found, alpha=OPACITY, threshold=scoring.map_normal, full=1.0, mode="absolute"
        )
    return made


def write_pictures(folder: str | Path, analysis: Analysis, scoring: Scoring) -> list[Path]:
    """Write `pictures` as PNG files; returns their paths."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name, picture in pictures(analysis, scoring).items():
        path = folder / f"{name}.png"
        path.write_bytes(to_png(picture))
        written.append(path)
    return written
