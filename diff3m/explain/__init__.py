"""What the record does to the model's opinion: attributions, fit, information, counterfactuals, influence curves.

Importing this package fills the registry: every module in it is imported, and each registers its explanations.
"""

from importlib import import_module
from pkgutil import iter_modules

from .attention import attention_by_group
from .attribution import Attribution, attribute
from .calibration import FitCalibration, calibrate_fit, calibrate_usual
from .counterfactual import Counterfactual, counterfactual, counterfactual_films, example_value, other_record
from .gradients import Agreement, Gradients, SecondOpinion, agreements, integrated_gradients
from .influence import Influence, influence, influence_strip
from .information import Information, information
from .needs import ExplanationError, Need, has
from .record_fit import RecordFit, explainable_groups, record_fit
from .region import RegionAttribution, attribute_region, attribute_regions
from .registry import EXPLANATIONS, Box, Context, Explanation, Picture, Request, register
from .three_records import ThreeRecords, WithoutRecord, three_records, without_record
from .uncertainty import Uncertainty, uncertainty

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
    "agreements",
    "attention_by_group",
    "attribute",
    "attribute_region",
    "attribute_regions",
    "calibrate_fit",
    "calibrate_usual",
    "counterfactual",
    "counterfactual_films",
    "example_value",
    "explainable_groups",
    "has",
    "influence",
    "influence_strip",
    "information",
    "integrated_gradients",
    "other_record",
    "record_fit",
    "register",
    "three_records",
    "uncertainty",
    "without_record",
]

for _module in iter_modules(__path__):
    import_module(f"{__name__}.{_module.name}")
