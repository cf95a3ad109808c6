"""What the record does to the model's opinion, beyond attention: fit, attributions, influence curves, information, counterfactuals."""

from .attribution import Attribution, RegionAttribution, attribute, attribute_region
from .counterfactual import COUNTERFACTUAL_LEVEL, COUNTERFACTUAL_STEPS, Counterfactual, counterfactual, counterfactual_films
from .influence import Influence, influence
from .information import Information, information
from .record_fit import ExplanationError, RecordFit, calibrate_fit, record_fit
from .uncertainty import Uncertainty, uncertainty

__all__ = [
    "COUNTERFACTUAL_LEVEL",
    "COUNTERFACTUAL_STEPS",
    "Attribution",
    "Counterfactual",
    "ExplanationError",
    "Influence",
    "Information",
    "RecordFit",
    "RegionAttribution",
    "Uncertainty",
    "attribute",
    "attribute_region",
    "calibrate_fit",
    "counterfactual",
    "counterfactual_films",
    "influence",
    "information",
    "record_fit",
    "uncertainty",
]
