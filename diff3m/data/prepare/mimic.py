"""A manifest from MIMIC-CXR-JPG and MIMIC-IV, as PhysioNet releases them, with the EHR linked as in the paper."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import yaml

from ...ehr import FRONTAL_VIEWS, VITALS, EHRError, EHRSchema, paper_schema
from ...ehr.facts import read_age, read_text
from .films import FilmCheck, select_usable_films
from .linkage import link_nearest, parse_days, parse_seconds
from .mimic_omr import NAMES, OMR, read_omr
from .plausibility import compare_bmi, parse_numbers
from .report import NOT_FRONTAL, Report, keep_rows
from .splits import drop_shared_patients
from .tables import (
    assign_labels,
    drop_ambiguous_keys,
    drop_duplicate_films,
    list_table_paths,
    make_path_beside,
    open_table,
    refuse_overwriting,
    write_manifests,
)

VERSIONS = ("2.1.0", "2.0.0")
PARTS = ("metadata", "split", "chexpert")
PATIENTS, STAYS, TRIAGES = "patients.csv", "edstays.csv", "triage.csv"
STAY_HOURS = 6  # how long before its arrival or after its departure an emergency stay still counts
# share by which BMI, height and weight of different days may differ: people change, but wrong units differ by more
MAX_DIFFERENCE_OF_DAYS = 0.5
TRIAGE = {
    "heartrate": "heart_rate_bpm",
    "resprate": "respiratory_rate",
    "o2sat": "spo2_percent",
    "temperature": "temperature_c",
}


def prepare_mimic(cxr: Path, iv: Path, out: Path, ed: Path | None = None, check: FilmCheck | None = None) -> Report:
    """Write a manifest of the frontal films of MIMIC-CXR-JPG with the records of MIMIC-IV.

    Normal films are those with "No Finding"; age is that at the study. A measurement that a patient lacks is unknown.

    cxr, iv: folders of MIMIC-CXR-JPG and MIMIC-IV. out: path of the manifest. ed: folder of MIMIC-IV-ED, whose triage
    adds vital signs; the schema to train with is then written to OUT-schema.yaml. check: see `FilmCheck`. Raises
    ManifestError.
    """
    tables = [
        *list_table_paths(cxr, *(name for part in PARTS for name in _list_file_names(part))),
        *list_table_paths(iv / "hosp", PATIENTS, OMR),
    ]
    refuse_overwriting(out, tables + (list_table_paths(ed / "ed", STAYS, TRIAGES) if ed is not None else []))
    report = Report()
    films = _read_films(cxr, report)
    films = _add_demographics(films, iv, report)
    films = _add_measurements(films, iv, report)
    schema = paper_schema()
    if ed is not None:
        films, schema = _add_triage(films, ed, report), EHRSchema(schema.features + VITALS)
    films = select_usable_films(films, cxr, report, check)
    names = ["path", "label", "split", "patient", "study", *[name for name in schema.names if name in films.columns]]
    write_manifests(films[names], cxr, out, schema, report, max_difference=MAX_DIFFERENCE_OF_DAYS, doubt_units=False)
    if ed is not None:
        plain = [
            {key: value for key, value in entry.items() if value not in ("", None, ())} for entry in schema.to_list()
        ]
        lists = [
            {key: list(value) if isinstance(value, tuple) else value for key, value in entry.items()} for entry in plain
        ]
        make_path_beside(out, "schema.yaml").write_text(yaml.safe_dump(lists, sort_keys=False, allow_unicode=True))
    return report


def _open_part(cxr: Path, part: str, **options) -> pd.DataFrame:
    """Read a part of MIMIC-CXR-JPG, one of `PARTS`. Options as in `open_table`."""
    return open_table(cxr, *_list_file_names(part), **options)


def _list_file_names(part: str) -> list[str]:
    return [f"mimic-cxr-{version}-{part}.csv" for version in VERSIONS]


def _parse_ids(rows: pd.DataFrame, names: list[str]) -> tuple[pd.DataFrame, pd.Series]:
    """Return the table with its ids as int64, and by row whether all of them are whole numbers; others become 0.

    An id may be written as 10000032.0, as in a column of floats.
    """
    ids = rows[names].apply(lambda cells: pd.to_numeric(cells, errors="coerce").astype("float64"))
    good = (ids % 1 == 0).all(axis=1)
    return rows.assign(**{name: ids[name].where(good, 0).astype("int64") for name in names}), good


def _keep_whole_ids(rows: pd.DataFrame, names: list[str], table: str, report: Report) -> pd.DataFrame:
    """Return the rows of a source table whose ids are whole numbers, and count the others as omissions."""
    rows, good = _parse_ids(rows, names)
    report.omit(
        f"row of the {table} table whose {' or '.join(names)} is no number",
        [f"row {index + 1}" for index in rows.index[~good]],
    )
    return rows[good]


def _read_films(cxr: Path, report: Report) -> pd.DataFrame:
    """Return the frontal films with path, split, label, patient, study, and day and second of the study since 1970."""
    columns = ["dicom_id", "subject_id", "study_id", "ViewPosition", "StudyDate", "StudyTime"]
    films = _open_part(cxr, "metadata", columns=columns)
    report.input_rows = len(films)
    films, good = _parse_ids(films, ["subject_id", "study_id"])
    films = keep_rows(films, good, report, "no patient or study number", "dicom_id")
    films = drop_duplicate_films(films, "dicom_id", report)
    films = keep_rows(films, films["ViewPosition"].isin(FRONTAL_VIEWS), report, NOT_FRONTAL, "dicom_id")
    films = films.assign(day=parse_days(films["StudyDate"]))
    films = keep_rows(films, films["day"].notna(), report, "no study date like 21801231", "dicom_id")
    films = _add_split(films, cxr, report)
    films = films.merge(_read_findings(films, cxr, report), on="study_id", how="left")
    subject, study = films["subject_id"].astype(str), films["study_id"].astype(str)
    films = films.assign(
        path="files/p" + subject.str.slice(0, 2) + "/p" + subject + "/s" + study + "/" + films["dicom_id"] + ".jpg",
        label=assign_labels(films["No Finding"] == 1, films["known"].eq(True)),
        view=films["ViewPosition"].astype(str),
        split=films["split"].replace({"validate": "val"}),
        patient=films["subject_id"],
        study=films["study_id"],
        day=films["day"].astype("int64"),
        second=films["day"].astype("int64") * 86400 + _parse_times(films["StudyTime"]),
    )
    return drop_shared_patients(films, report)


def _add_split(films: pd.DataFrame, cxr: Path, report: Report) -> pd.DataFrame:
    """Return the films that are in exactly one split of the split table, with the column `split`."""
    splits = _open_part(cxr, "split", columns=["dicom_id", "split"]).drop_duplicates()
    several = splits.loc[splits["dicom_id"].duplicated(), "dicom_id"]
    films = keep_rows(
        films, ~films["dicom_id"].isin(several), report, "film in two splits of the split table", "dicom_id"
    )
    films = films.merge(splits[~splits["dicom_id"].isin(several)], on="dicom_id", how="left")
    return keep_rows(films, films["split"].notna(), report, "in no split", "dicom_id")


def _read_findings(films: pd.DataFrame, cxr: Path, report: Report) -> pd.DataFrame:
    """Return the studies of films with "No Finding" as a number, and whether that is `known`."""
    findings = _keep_whole_ids(
        _open_part(cxr, "chexpert", columns=["study_id", "No Finding"]), ["study_id"], "chexpert", report
    )
    findings = findings[findings["study_id"].isin(films["study_id"])]
    values, is_malformed = parse_numbers(findings, "No Finding", report, "study_id")
    findings = findings.assign(**{"No Finding": values}, known=~is_malformed)
    return drop_ambiguous_keys(findings, "study_id", report, "study with two labels in the chexpert table")


def _parse_times(times: pd.Series) -> pd.Series:
    """Convert times, written as numbers HHMMSS.ffff, to seconds of the day; midday where one is missing."""
    whole = pd.to_numeric(times, errors="coerce").astype("float64").fillna(120000.0).astype("int64")
    return whole // 10000 * 3600 + whole // 100 % 100 * 60 + whole % 100


def _add_demographics(films: pd.DataFrame, iv: Path, report: Report) -> pd.DataFrame:
    """Add sex, and the age at the study: anchor_age + study year − anchor_year."""
    people = open_table(iv / "hosp", PATIENTS, columns=["subject_id", "gender", "anchor_age", "anchor_year"])
    people = _keep_whole_ids(people, ["subject_id"], "patients", report)
    people = people[people["subject_id"].isin(films["subject_id"])]
    report.refuse("patient is in no patients table", films.loc[~films["subject_id"].isin(people["subject_id"]), "path"])
    people = drop_ambiguous_keys(
        people, "subject_id", report, "patient with two rows in the patients table that differ"
    )
    people = people.assign(
        anchor_age=_read_anchor_ages(people, report),
        anchor_year=parse_numbers(people, "anchor_year", report, "subject_id")[0],
    )
    films = films.merge(people, on="subject_id", how="left")
    year = (pd.Timestamp(0) + pd.to_timedelta(films["day"], unit="D")).dt.year
    return films.assign(age=films["anchor_age"] + (year - films["anchor_year"]), sex=films["gender"])


def _read_anchor_ages(people: pd.DataFrame, report: Report) -> pd.Series:
    """Return ages in years, read as `read_age` reads them; count cells that hold text but no age."""
    ages, is_malformed = [], []
    for cell in people["anchor_age"]:
        try:
            ages.append(read_age(cell))
        except EHRError:
            ages.append(None)
        is_malformed.append(ages[-1] is None and bool(read_text(cell)))
    report.refuse("anchor_age is no number", people.loc[is_malformed, "subject_id"])
    return pd.Series(ages, index=people.index, dtype="float64")


def _add_measurements(films: pd.DataFrame, iv: Path, report: Report) -> pd.DataFrame:
    """Add the measurements of the outpatient records, linked by day and rounded to one decimal."""
    records = read_omr(iv, films["patient"].unique(), report)
    links = {name: link_nearest(films, records[records["name"] == name]) for name in NAMES}
    films = films.assign(**{name: link["value"].round(1) for name, link in links.items()})
    return _reconcile_bmi(films, {name: link["days"] for name, link in links.items()}, report)


def _reconcile_bmi(films: pd.DataFrame, days: dict[str, pd.Series], report: Report) -> pd.DataFrame:
    """Where BMI differs from that of height and weight, keep what was measured nearer to the film.

    The distance of height and weight is the larger one of the two; where it equals that of BMI, height and weight are
    kept. The others become unknown. Differences above `MAX_DIFFERENCE_OF_DAYS` are left to `mask_implausible`. days:
    distance of each measurement in days, by name.
    """
    differ, _ = compare_bmi(films["bmi"], films["height_cm"], films["weight_kg"], MAX_DIFFERENCE_OF_DAYS)
    nearer = days["bmi"] < np.maximum(days["height_cm"], days["weight_kg"])
    report.refuse(
        "bmi replaced by that of height and weight, measured as near to the film or nearer",
        films.loc[differ & ~nearer, "path"],
    )
    report.refuse(
        "height and weight that contradict a bmi measured nearer to the film", films.loc[differ & nearer, "path"]
    )
    both = {name: films[name].mask(differ & nearer) for name in ("height_cm", "weight_kg")}
    return films.assign(bmi=films["bmi"].mask(differ & ~nearer), **both)


def _add_triage(films: pd.DataFrame, ed: Path, report: Report) -> pd.DataFrame:
    """Add the vital signs of the emergency stay around each film, that of the nearest arrival where there are several.

    A film belongs to a stay from STAY_HOURS before arrival until STAY_HOURS after departure.
    """
    stays = open_table(ed / "ed", STAYS, columns=["subject_id", "stay_id", "intime", "outtime"])
    stays = _keep_whole_ids(stays, ["subject_id", "stay_id"], "edstays", report)
    stays = stays[stays["subject_id"].isin(films["subject_id"])]
    stays = stays.assign(**{name: parse_seconds(stays[name]).astype("float64") for name in ("intime", "outtime")})
    has_times = stays[["intime", "outtime"]].notna().all(axis=1)
    report.omit(
        "emergency stay whose times are not like 2180-12-31 14:30:00",
        [f"stay_id {stay}" for stay in stays.loc[~has_times, "stay_id"]],
    )
    pairs = films[["dicom_id", "subject_id", "second"]].merge(stays[has_times], on="subject_id")
    margin = STAY_HOURS * 3600
    pairs = pairs[(pairs["second"] >= pairs["intime"] - margin) & (pairs["second"] <= pairs["outtime"] + margin)]
    pairs = (
        pairs.assign(distance=(pairs["second"] - pairs["intime"]).abs())
        .sort_values(["distance", "stay_id"])
        .drop_duplicates("dicom_id")
    )
    triage = _keep_whole_ids(
        open_table(ed / "ed", TRIAGES, columns=["stay_id", *TRIAGE]), ["stay_id"], "triage", report
    )
    triage = triage[triage["stay_id"].isin(pairs["stay_id"])]
    triage = drop_ambiguous_keys(
        triage, "stay_id", report, "emergency stay with two rows in the triage table that differ"
    )
    triage = triage.assign(
        temperature=((parse_numbers(triage, "temperature", report, "stay_id")[0] - 32) / 1.8).round(1)
    )  # °F in the file
    vitals = pairs.merge(triage, on="stay_id")[["dicom_id", *TRIAGE]].rename(columns=TRIAGE)
    return films.merge(vitals, on="dicom_id", how="left")
