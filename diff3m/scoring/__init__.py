"""Scoring: measurements of a film and its reconstruction, their calibration, the anomaly score, and regions.

`score` defines components and scores, `measure` computes components, `calibrate` compares them with normal films,
`score_file` reads and writes them, and `filters` has the filters. `regions` and `record_fit` are independent of them.
"""

from .calibrate import calibrate_scoring
from .measure import compute_heat_map, measure_component, select_region
from .regions import Region, find_regions
from .score import Component, Scoring, ViewCalibration

__all__ = [
    "Component",
    "Region",
    "Scoring",
    "ViewCalibration",
    "calibrate_scoring",
    "compute_heat_map",
    "find_regions",
    "measure_component",
    "select_region",
]
