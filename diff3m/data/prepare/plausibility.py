"""Plausibility of a record's values: numbers, units, and measurements that fit each other.

Implausible values become unknown, and the report counts and names them.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from ...ehr import ADULT_AGE, EHRError, EHRSchema, Feature, Value, bmi_rounding, body_mass_index
from ...ehr.facts import read_text
from ...ehr.units import KG_PER_POUND
from .report import Report

MAX_DIFFERENCE = 0.1  # share by which BMI may differ from that of height and weight
HEAVY_MEDIAN = 125.0  # kg: no population has such a median weight
MIN_WEIGHTS = 20  # weights of which a median is trusted
RARE_BMI = 50.0  # kg/m²: a weight that makes a larger BMI as kg, and a usual one as lb, is assumed to be in lb
USUAL_BMI = (15.0, 45.0)  # kg/m²
STOUT_BMI = 38.0  # kg/m²: no population has a larger median BMI
CONFIRMATION = 0.1  # share by which a row's BMI may differ from that of height and weight and still confirm it


def parse_numbers(rows: pd.DataFrame, column: str, report: Report, name: str = "path") -> tuple[pd.Series, pd.Series]:
    """Return a column as float64, and by row whether its cell holds text that is no number.

    Empty cells and other text are NaN; the report counts the latter under the values of the column `name`.
    """
    values = pd.to_numeric(rows[column], errors="coerce").astype("float64")
    is_malformed = values.isna() & rows[column].map(read_text).astype(bool)
    report.refuse(f"{column} is no number", rows.loc[is_malformed, name])
    return values, is_malformed


def mask_implausible(
    rows: pd.DataFrame,
    schema: EHRSchema,
    report: Report,
    *,
    max_difference: float = MAX_DIFFERENCE,
    doubt_units: bool = True,
) -> pd.DataFrame:
    """Parse every feature's column by the schema; implausible values become unknown.

    Implausible are placeholders (an age of 0), a height in m or inches, a weight in lb where the height, a BMI or the
    whole column shows that it is not in kg, a category that is not listed, and swapped pressures.

    max_difference: share by which BMI may differ from that of height and weight before all three become unknown; larger
    where they were measured on different days. doubt_units: whether a weight may be in lb though the column says kg;
    False where the source gives the unit of each.
    """
    rows = rows.copy()
    for feature in schema.features:
        if feature.name in rows.columns:
            rows[feature.name] = _parse_column(rows, feature, report)
    if "weight_kg" in rows.columns:
        rows = _mask_pounds(rows, report, doubt_units)
    if {"height_cm", "weight_kg"} <= set(rows.columns):
        rows = _mask_single_pounds(rows, report, max_difference) if doubt_units else rows
        rows = _mask_contradictions(rows, schema, report, max_difference)
    if {"systolic_mmhg", "diastolic_mmhg"} <= set(rows.columns):
        is_swapped = rows["systolic_mmhg"] <= rows["diastolic_mmhg"]
        report.refuse("diastolic not below systolic", rows.loc[is_swapped, "path"])
        rows.loc[is_swapped, ["systolic_mmhg", "diastolic_mmhg"]] = np.nan
    if "age" in rows.columns and "age" in schema:
        report.note(
            f"under {ADULT_AGE}, and the shipped models know adults only", rows.loc[rows["age"] < ADULT_AGE, "path"]
        )
    return rows


def _parse_column(rows: pd.DataFrame, feature: Feature, report: Report) -> pd.Series:
    """Parse one feature's column, each distinct value once."""
    codes, distinct = pd.factorize(rows[feature.name])
    values, reasons = [], []
    for value in distinct:
        result, reason = _parse(feature, value)
        values.append(result)
        reasons.append(reason)
    reasons = np.array([*reasons, ""], dtype=object)[codes]  # code −1: missing
    for reason in sorted(set(reasons) - {""}):
        report.refuse(f"{feature.name} {reason}", rows.loc[reasons == reason, "path"])
    kind = "float64" if feature.kind == "number" else "object"
    return pd.Series(pd.Series([*values, None], dtype=kind).to_numpy()[codes], index=rows.index, dtype=kind)


def _parse(feature: Feature, value: object) -> tuple[Value, str]:
    """Return a cell's value, and the reason why it is unknown though the cell is not empty; "" otherwise."""
    try:
        result = feature.parse(value)
    except EHRError as error:
        if feature.kind == "category":
            return None, "not listed"
        return None, "no number" if "not a number" in str(error) else "outside the plausible range (wrong unit?)"
    return result, "that stands for unknown" if result is None and read_text(value) else ""


def _mask_contradictions(rows: pd.DataFrame, schema: EHRSchema, report: Report, share: float) -> pd.DataFrame:
    """Make height, weight and BMI unknown where they contradict each other or imply an impossible BMI.

    They contradict each other if BMI differs by more than `share`. A BMI that differs by less, for example because it
    was measured on another day, becomes unknown alone; it then follows from height and weight when the manifest is
    read.
    """
    height, weight = rows["height_cm"], rows["weight_kg"]
    bmi_of_body: pd.Series = body_mass_index(height, weight)
    names = ["height_cm", "weight_kg"]
    if "bmi" in schema:
        wrong = bmi_of_body.notna() & ~bmi_of_body.between(*schema["bmi"].bounds)
        report.refuse("height and weight imply an impossible BMI (wrong unit?)", rows.loc[wrong, "path"])
        rows.loc[wrong, names] = np.nan
    if "bmi" not in rows.columns:
        return rows
    apart, contradicts = compare_bmi(rows["bmi"], height, weight, share)
    report.refuse("bmi, height and weight contradict each other (wrong unit?)", rows.loc[contradicts, "path"])
    rows.loc[contradicts, ["bmi", *names]] = np.nan
    report.refuse("bmi replaced by that of height and weight", rows.loc[apart, "path"])
    rows.loc[apart, "bmi"] = np.nan
    return rows


def compare_bmi(bmi: pd.Series, height: pd.Series, weight: pd.Series, share: float) -> tuple[pd.Series, pd.Series]:
    """Compare BMI with that of height (cm) and weight (kg), by row.

    Returns two masks: where they differ by more than rounding explains but at most by `share`, and where by more.
    """
    bmi_of_body = body_mass_index(height, weight)
    difference = (bmi - bmi_of_body).abs()
    contradicts = difference > share * bmi_of_body
    return (difference > 0.5 * bmi_rounding(height, weight)) & ~contradicts, contradicts


def _mask_pounds(rows: pd.DataFrame, report: Report, doubt_units: bool) -> pd.DataFrame:
    """Make all weights unknown if the column as a whole can only be in pounds.

    Its median is then at least `HEAVY_MEDIAN`, or, if `doubt_units`, too heavy for the heights.
    """
    weight = rows["weight_kg"].dropna()
    if len(weight) < MIN_WEIGHTS or not (
        float(weight.median()) >= HEAVY_MEDIAN or (doubt_units and _is_too_stout(rows))
    ):
        return rows
    report.refuse(
        f"the weights as a whole (median {weight.median():.0f}) seem to be in lb, not kg",
        rows.loc[weight.index, "path"],
    )
    return rows.assign(weight_kg=np.nan)


def _is_too_stout(rows: pd.DataFrame) -> bool:
    """Tell whether weights as a whole fit their heights as pounds and not as kilograms.

    Their median BMI is then above `STOUT_BMI` as kg and in `USUAL_BMI` as lb, and at most half of the rows' own BMIs
    confirm the former.
    """
    if "height_cm" not in rows.columns:
        return False
    bmi_of_body: pd.Series = body_mass_index(rows["height_cm"], rows["weight_kg"])
    bmi_of_body = bmi_of_body.dropna()
    middle = float(bmi_of_body.median())
    if (
        len(bmi_of_body) < MIN_WEIGHTS
        or middle <= STOUT_BMI
        or not USUAL_BMI[0] <= middle * KG_PER_POUND <= USUAL_BMI[1]
    ):
        return False
    own = rows["bmi"].reindex(bmi_of_body.index).dropna() if "bmi" in rows.columns else bmi_of_body[:0]
    confirms = (own - bmi_of_body[own.index]).abs() <= CONFIRMATION * bmi_of_body[own.index]
    return not 2 * confirms.sum() > len(own)


def _mask_single_pounds(rows: pd.DataFrame, report: Report, share: float) -> pd.DataFrame:
    """Make single weights unknown that fit their heights as pounds only.

    Such a weight gives a BMI above `RARE_BMI` as kg, and one in `USUAL_BMI` as lb; the height stays. The row's own BMI
    has precedence: the weight stays if that confirms it, and is left to `_mask_contradictions` if that differs by more
    than `share`. From `STOUT_BMI` to `RARE_BMI`, where a slim person's weight in lb and a heavy person's in kg look
    alike, the weight stays and is counted.
    """
    bmi_of_body: pd.Series = body_mass_index(rows["height_cm"], rows["weight_kg"])
    doubtful = (bmi_of_body > STOUT_BMI) & (bmi_of_body * KG_PER_POUND).between(*USUAL_BMI)
    if "bmi" in rows.columns:
        difference = (rows["bmi"] - bmi_of_body).abs()
        doubtful &= rows["bmi"].isna() | (
            (difference > CONFIRMATION * bmi_of_body) & (difference <= share * bmi_of_body)
        )
    pounds = doubtful & (bmi_of_body > RARE_BMI)
    report.note(
        f"weight_kg that may be in lb: it makes a BMI above {STOUT_BMI:g} as kg, a usual one as lb",
        rows.loc[doubtful & ~pounds, "path"],
    )
    report.refuse(
        f"weight_kg that makes a BMI above {RARE_BMI:g} as kg, a usual one as lb (wrong unit?)",
        rows.loc[pounds, "path"],
    )
    return rows.assign(weight_kg=rows["weight_kg"].mask(pounds))
