"""Attention by explanation group, as the model computes it: where it looked in the record, not what mattered."""

from __future__ import annotations

import os
from collections.abc import Mapping

import numpy as np

from ..detector import Detector
from ..imaging import Radiograph


def attention_by_group(
    detector: Detector, radiograph: Radiograph | np.ndarray | str | os.PathLike, ehr: Mapping[str, object] | None
) -> dict[str, float]:
    """IECA's weights summed to explanation groups; their sum is the number of attention groups (each of which sums to 1). Raises RadiographError or
    EHRError with a sentence."""
    schema = detector.schema
    x0 = detector.prepared([detector.film(radiograph)])
    by_feature: dict[str, float] = {}
    for name, weights in detector.condition(x0, [schema.parse(ehr or {})]).attention.items():
        by_feature |= schema.by_feature(name, weights[0].cpu().numpy())
    return {
        group: sum(by_feature[member.name] for member in members)
        for group, members in schema.explanation_groups.items()
    }
