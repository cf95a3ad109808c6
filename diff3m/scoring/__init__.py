"""From a film and its reconstruction to measurements, a score and regions.

filters ← score ← measure, calibrate, settings; regions and record_fit stand beside them.
"""

from .calibrate import calibrate_scoring
from .measure import compute_heat_map, measure_component
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
]
