"""Measurements of MIMIC-IV's outpatient records, hosp/omr.csv, in the schema's units."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from ...ehr import paper_schema
from ...ehr.units import CM_PER_INCH, KG_PER_POUND
from .linkage import parse_days
from .report import Report
from .tables import open_table

OMR = "omr.csv"
PRESSURE = "Blood Pressure"
MEASUREMENTS = {
    "BMI (kg/m2)": ("bmi", 1.0),
    "BMI": ("bmi", 1.0),  # which has one unit only
    "Height (Inches)": ("height_cm", CM_PER_INCH),
    "Weight (Lbs)": ("weight_kg", KG_PER_POUND),
}
# beginnings of result names that are counted but not used: height and weight without a unit, pressures by posture
RELATED_RESULTS = ("BMI", "Height", "Weight", "Blood Pressure")
PRESSURES = ("systolic_mmhg", "diastolic_mmhg")
NAMES = (*dict.fromkeys(name for name, _ in MEASUREMENTS.values()), *PRESSURES)  # of the schema's features


def read_omr(iv: Path, patients: np.ndarray, report: Report) -> pd.DataFrame:
    """Read the measurements of hosp/omr.csv for some patients, within the schema's ranges.

    iv: folder of MIMIC-IV. patients: subject ids. Returns columns patient, day, name (of `NAMES`) and value, in the
    schema's units.
    """
    columns = {
        "subject_id": "int64",
        "chartdate": "string[pyarrow]",
        "seq_num": "float64",
        "result_name": "category",
        "result_value": "string[pyarrow]",
    }
    records = open_table(iv / "hosp", OMR, columns=list(columns), dtype=columns)
    records = records[records["subject_id"].isin(patients)].rename(columns={"subject_id": "patient"})
    usable = records["result_name"].isin((*MEASUREMENTS, PRESSURE))
    _omit_related(records[~usable], report)
    records = _drop_duplicates(records[usable], report)
    parts = []
    for source, (name, factor) in MEASUREMENTS.items():
        rows = records[records["result_name"] == source]
        values = pd.to_numeric(rows["result_value"], errors="coerce").astype("float64") * factor
        parts.append(rows[["patient", "day"]].assign(name=name, value=values))
    parts += _split_pressures(records[records["result_name"] == PRESSURE], report)
    measurements = pd.concat(parts, ignore_index=True)
    is_malformed = measurements["value"].isna()
    report.omit("measurement is no number", _name_records(measurements[is_malformed]))
    return _drop_implausible(measurements[~is_malformed], report)


def _split_pressures(rows: pd.DataFrame, report: Report) -> list[pd.DataFrame]:
    """Split pressures such as "120/80" into systolic and diastolic ones, and count those that cannot be used."""
    both = rows["result_value"].str.extract(r"^\s*(\d+(?:\.\d+)?)\s*/\s*(\d+(?:\.\d+)?)\s*$").astype("float64")
    complete = both.notna().all(axis=1)
    is_swapped = both[0] <= both[1]  # "80/120": neither number of a swapped pair is used
    report.omit("pressure whose diastolic is not below its systolic", _name_records(rows[is_swapped], "blood pressure"))
    bounds = [paper_schema()[name].bounds for name in PRESSURES]
    plausible = np.logical_and.reduce([both[index].between(*limits) for index, limits in enumerate(bounds)])
    unusual = ~is_swapped & complete & ~plausible
    report.omit("pressure outside the plausible range", _name_records(rows[unusual], "blood pressure"))
    report.omit("pressure that is not like 120/80", _name_records(rows[~complete], "blood pressure"))
    usable = ~is_swapped & ~unusual & complete
    return [
        rows.loc[usable, ["patient", "day"]].assign(name=name, value=both.loc[usable, index])
        for index, name in enumerate(PRESSURES)
    ]


def _omit_related(records: pd.DataFrame, report: Report) -> None:
    """Count measurements without a unit or in an unusual posture, which are not used, under their name in omr."""
    names = records["result_name"].astype("string").str.strip().str.casefold()
    records = records[names.str.startswith(tuple(map(str.casefold, RELATED_RESULTS))).fillna(False)]
    for name in sorted(records["result_name"].unique()):
        rows = records[records["result_name"] == name]
        why = "another posture than the usual" if name.startswith(PRESSURE) else "a name without a known unit"
        report.omit(
            f"{name} of omr, {why}",
            [f"patient {patient}, {date}" for patient, date in zip(rows["patient"], rows["chartdate"], strict=True)],
        )


def _drop_duplicates(records: pd.DataFrame, report: Report) -> pd.DataFrame:
    """Return the records of omr that have a day, each once, with the column `day`.

    A row that is the same in every column, `seq_num` included, is no second measurement.
    """

    def name_rows(rows: pd.DataFrame) -> list[str]:
        return [
            f"patient {patient}, {date}, {name}"
            for patient, date, name in zip(rows["patient"], rows["chartdate"], rows["result_name"], strict=True)
        ]

    is_duplicate = records.duplicated()
    report.omit("row of omr that is there twice", name_rows(records[is_duplicate]))
    records = records[~is_duplicate]
    records = records.assign(day=_parse_days(records["chartdate"]))
    report.omit("record whose date is not like 2180-12-31", name_rows(records[records["day"].isna()]))
    return records.dropna(subset=["day"]).astype({"day": "int64"})


def _name_records(records: pd.DataFrame, name: str | None = None) -> list[str]:
    """Name each record for the report: "patient …, day …, measurement"."""
    names = records["name"] if name is None else [name] * len(records)
    dates = pd.Timestamp(0) + pd.to_timedelta(records["day"], unit="D")
    return [
        f"patient {patient}, {date}, {name}"
        for patient, date, name in zip(records["patient"], dates.dt.strftime("%Y-%m-%d"), names, strict=True)
    ]


def _parse_days(dates: pd.Series) -> pd.Series:
    """Return dates as days since 1970, NaN for other text; each distinct text is parsed once."""
    codes, distinct = pd.factorize(dates)
    days = parse_days(pd.Series(distinct, dtype="string")).astype("float64").to_numpy()
    return pd.Series(np.where(codes >= 0, days[codes], np.nan), index=dates.index)


def _drop_implausible(records: pd.DataFrame, report: Report) -> pd.DataFrame:
    """Return the measurements within the schema's ranges; a height in m would spoil the mean of its day."""
    schema = paper_schema()
    low, high = (
        records["name"].map({name: schema[name].bounds[end] for name in records["name"].unique()}).astype(float)
        for end in (0, 1)
    )
    good = records["value"].between(low, high)
    report.omit("measurement outside the plausible range (wrong unit?)", _name_records(records[~good]))
    return records[good]
