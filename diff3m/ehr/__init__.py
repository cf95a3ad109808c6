"""The patient's record: features, schema, units and reading of values."""

from .feature import EHRError, Feature
from .schema import HABITUS, EHRSchema, Record, bmi_rounding, body_mass_index, paper_schema

__all__ = ["HABITUS", "EHRError", "EHRSchema", "Feature", "Record", "bmi_rounding", "body_mass_index", "paper_schema"]
