"""What the record does to the model's opinion: attributions, fit, information, counterfactuals, influence curves.

Importing this package fills the registry: every module in it is imported, and each registers its explanations.
"""

from importlib import import_module
from pkgutil import iter_modules

from .attention import sum_attention_by_group
from .attribution import Attribution, attribute
from .calibration import FitCalibration, calibrate_fit, calibrate_usual
from .counterfactual import (
    Counterfactual,
    change_record,
    compute_counterfactual,
    get_example_value,
    reconstruct_counterfactuals,
)
from .gradients import Agreement, Gradients, SecondOpinion, compare_methods, compute_integrated_gradients
from .influence import Influence, add_reconstructions, compute_influence
from .information import Information, compute_information
from .needs import ExplanationError, Need, meets
from .record_fit import RecordFit, list_explainable_groups, measure_record_fit
from .region import RegionAttribution, attribute_region, attribute_regions
from .registry import EXPLANATIONS, Box, Context, Explanation, Picture, Request, register
from .three_records import ThreeRecords, WithoutRecord, analyze_without_record, compare_three_records
from .uncertainty import Uncertainty, measure_uncertainty

__all__ = [
    "EXPLANATIONS",
    "Agreement",
    "Attribution",
    "Box",
    "Context",
    "Counterfactual",
    "Explanation",
    "ExplanationError",
    "FitCalibration",
    "Gradients",
    "Influence",
    "Information",
    "Need",
    "Picture",
    "RecordFit",
    "RegionAttribution",
    "Request",
    "SecondOpinion",
    "ThreeRecords",
    "Uncertainty",
    "WithoutRecord",
    "add_reconstructions",
    "analyze_without_record",
    "attribute",
    "attribute_region",
    "attribute_regions",
    "calibrate_fit",
    "calibrate_usual",
    "change_record",
    "compare_methods",
    "compare_three_records",
    "compute_counterfactual",
    "compute_influence",
    "compute_information",
    "compute_integrated_gradients",
    "get_example_value",
    "list_explainable_groups",
    "measure_record_fit",
    "measure_uncertainty",
    "meets",
    "reconstruct_counterfactuals",
    "register",
    "sum_attention_by_group",
]

for _module in iter_modules(__path__):
    import_module(f"{__name__}.{_module.name}")
