"""The patient's record: features, schema, units, and the one reader of each fact."""

from .constraints import HABITUS, Record, Value, bmi_rounding, body_mass_index, category_of, number_of
from .errors import EHRError
from .facts import ADULT_AGE, FRONTAL_VIEWS, UNKNOWN_WORDS, VIEW_LABELS, is_adult
from .feature import Feature
from .paper import PLAUSIBLE, VITALS, paper_schema
from .schema import EHRSchema

__all__ = [
    "ADULT_AGE",
    "FRONTAL_VIEWS",
    "HABITUS",
    "PLAUSIBLE",
    "UNKNOWN_WORDS",
    "VIEW_LABELS",
    "VITALS",
    "EHRError",
    "EHRSchema",
    "Feature",
    "Record",
    "Value",
    "bmi_rounding",
    "body_mass_index",
    "category_of",
    "is_adult",
    "number_of",
    "paper_schema",
]
