"""What the record does to the model's opinion, beyond attention: fit, attributions, influence curves, information, counterfactuals."""

from .attention import attention_by_group
from .attribution import (
    NOTHING_MOVED,
    Attribution,
    attribute,
    attribute_target,
    calibrate_usual,
    check_target,
    in_people,
)
from .counterfactual import (
    COUNTERFACTUAL_LEVEL,
    COUNTERFACTUAL_STEPS,
    Counterfactual,
    counterfactual,
    counterfactual_films,
    example_value,
    other_record,
)
from .gradients import Agreement, Gradients, agreements, integrated_gradients
from .influence import Influence, curve_feature, influence, influence_strip
from .information import Information, information
from .record_fit import ExplanationError, RecordFit, calibrate_fit, explainable_groups, record_fit
from .region import Box, RegionAttribution, attribute_region, attribute_regions, check_box
from .uncertainty import Uncertainty, uncertainty

__all__ = [
    "COUNTERFACTUAL_LEVEL",
    "COUNTERFACTUAL_STEPS",
    "NOTHING_MOVED",
    "Agreement",
    "Attribution",
    "Box",
    "Counterfactual",
    "ExplanationError",
    "Gradients",
    "Influence",
    "Information",
    "RecordFit",
    "RegionAttribution",
    "Uncertainty",
    "agreements",
    "attention_by_group",
    "attribute",
    "attribute_region",
    "attribute_regions",
    "attribute_target",
    "calibrate_fit",
    "calibrate_usual",
    "check_box",
    "check_target",
    "counterfactual",
    "counterfactual_films",
    "curve_feature",
    "example_value",
    "explainable_groups",
    "in_people",
    "influence",
    "influence_strip",
    "information",
    "integrated_gradients",
    "other_record",
    "record_fit",
    "uncertainty",
]
