"""The network of the method: configuration, blocks, masking, fusion, assembly."""

from .config import PRESETS, NetworkConfig, preset
from .diff3m import Condition, Diff3M, Prediction, count_parameters

__all__ = ["PRESETS", "Condition", "Diff3M", "NetworkConfig", "Prediction", "count_parameters", "preset"]
