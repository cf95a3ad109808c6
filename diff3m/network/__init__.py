"""The Diff3M network (docs/method.md, "Network"): configuration, blocks, masking, fusion and assembly."""

from .config import PRESETS, NetworkConfig, preset
from .diff3m import Condition, Diff3M, Prediction, count_parameters

__all__ = ["PRESETS", "Condition", "Diff3M", "NetworkConfig", "Prediction", "count_parameters", "preset"]
