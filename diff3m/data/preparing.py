"""What every `diff3m prepare` does with its rows: check them, count what is dropped and why, write manifests and a report."""

from __future__ import annotations

import hashlib
import json
import os
import zlib
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from ..dicom import looks_like_dicom
from ..ehr import EHRError, EHRSchema, Feature, bmi_rounding, body_mass_index
from ..radiograph import Preprocessing, RadiographError, prepare, read_radiograph
from ..units import KG_PER_POUND
from .manifest import NORMAL, PARQUET, ManifestError, label_key, patient_key, read_csv

CONTRADICTS = 0.1  # share by which BMI may differ from that of height and weight
NOT_FRONTAL = "not a frontal film"  # a reason to drop a row that is no problem: a report names `NAMED` of them, of any other reason all
NAMED = 20
SHOWN_LABELS = 10  # the most frequent, as lines
MAGIC = (b"\x89PNG", b"\xff\xd8\xff", b"II*\x00", b"MM\x00*", b"RIFF")
ENDS = {b"\xff\xd8\xff": b"\xff\xd9", b"\x89PNG": b"IEND"}
HEAVY, ENOUGH = 125.0, 20  # kg: no population has such a median; of as many weights as that
RARE, USUAL = 50.0, (15.0, 45.0)  # kg/m²: a BMI above the first, where the weight read as lb makes one between the others, is taken for lb
STOUT = 38.0  # kg/m²: no population has such a median BMI as kg that is a usual one as lb
CONFIRMS = 0.1  # share by which a BMI of the row's own may differ from that of height and weight and still bear it out
TWO_SPLITS, CONTRADICTORY, DUPLICATE = "patient in two splits", "rows of one film that contradict each other", "duplicate row"  # why rows are dropped
SPLITS = ("train", "val", "test")
UNCHECKED = "without a patient number, so that its split could not be checked"  # something to know of a row
END_BYTES = 1024  # some writers pad their files


@dataclass
class Report:
    """Counts of rows kept, dropped and why, values missing or refused, records of the source left, rows to be looked at, each by name, and of
    labels ("" for none)."""

    read: int = 0
    kept: int = 0
    dropped: Counter = field(default_factory=Counter)
    refused: Counter = field(default_factory=Counter)
    left: Counter = field(default_factory=Counter)
    noted: Counter = field(default_factory=Counter)
    missing: dict[str, int] = field(default_factory=dict)
    labels: Counter = field(default_factory=Counter)
    named: dict[str, list[str]] = field(default_factory=dict)

    def drop(self, reason: str, names: Iterable[object]) -> None:
        """Count dropped rows under a reason."""
        self._count(self.dropped, reason, names)

    def refuse(self, reason: str, names: Iterable[object]) -> None:
        """Count values that were set to unknown under a reason; their rows stay."""
        self._count(self.refused, reason, names)

    def leave(self, reason: str, names: Iterable[object]) -> None:
        """Count records of the source that entered no mean; whether a film misses a value for it is another question."""
        self._count(self.left, reason, names)

    def note(self, reason: str, names: Iterable[object]) -> None:
        """Count rows that stay as they are, of which something is to be known."""
        self._count(self.noted, reason, names)

    def _count(self, counter: Counter, reason: str, names: Iterable[object]) -> None:
        names = [str(name) for name in names]
        if names:
            counter[reason] += len(names)
            named = self.named.setdefault(reason, [])
            named.extend(names[: NAMED - len(named)] if reason == NOT_FRONTAL else names)

    def lines(self) -> list[str]:
        """The report as sentences."""
        lines = [f"{self.read} rows read, {self.kept} kept"]
        lines += [f"dropped, {reason}: {count}" for reason, count in self.dropped.most_common()]
        lines += [f"value left unknown, {reason}: {count}" for reason, count in self.refused.most_common()]
        lines += [f"record of the source not used, {reason}: {count}" for reason, count in self.left.most_common()]
        lines += [f"kept, {reason}: {count}" for reason, count in self.noted.most_common()]
        lines += [f"missing {name}: {count} of {self.kept}" for name, count in self.missing.items()]
        return lines + self._label_lines() if self.kept else lines

    def _label_lines(self) -> list[str]:
        """How many films have which label, `normal` first; and a warning where no film can be learned from."""
        others = [(label, count) for label, count in self.labels.most_common() if label not in (NORMAL, "")]
        shown = [(NORMAL, self.labels[NORMAL]), *others[:SHOWN_LABELS]]
        shown += [(f"{len(others) - SHOWN_LABELS} others", sum(count for _, count in others[SHOWN_LABELS:]))] if others[SHOWN_LABELS:] else []
        shown += [("without one", self.labels[""])] if self.labels[""] else []
        lines = ["label: " + ", ".join(f"{label} {count}" for label, count in shown)]
        if not self.labels[NORMAL]:
            lines.append(f"warning: no film is labelled `{NORMAL}`, so none can be trained or calibrated on. Write `{NORMAL}` in the column `label`.")
        return lines

    def to_dict(self) -> dict:
        values = {name: getattr(self, name) for name in ("read", "kept", "missing", "named")}
        return values | {name: dict(getattr(self, name)) for name in ("dropped", "refused", "left", "noted", "labels")}


def open_table(folder: Path, *names: str, **options) -> pd.DataFrame:
    """The first of several file names that exists under a folder, as a table; each is tried plain and gzipped.

    Raises ManifestError naming what was looked for, and what is wrong with the file; a table without rows is wrong.
    """
    path = next((path for path in places(folder, *names) if path.is_file()), None)
    if path is None:
        raise ManifestError(f"There is no {' or '.join(names)} (or .gz) in {folder}. Check the folder.")
    try:
        table = read_csv(path, **options)
    except ManifestError:
        raise
    except (ValueError, OSError, EOFError, zlib.error) as error:
        raise ManifestError(f"{path} cannot be read ({str(error)[:200]}). Load it again from where it came.") from None
    if table.empty:
        raise ManifestError(f"{path} has no rows. Load it again from where it came.")
    return table


def places(folder: Path, *names: str) -> list[Path]:
    """Where `open_table` looks for a table, in turn."""
    return [folder / f"{name}{end}" for name in names for end in ("", ".gz")]


def beside(out: Path, end: str) -> Path:
    """What is written beside OUT: OUT-report.json for report.json."""
    return out.with_name(f"{out.stem}-{end}")


def refuse_overwriting(out: Path, tables: Iterable[Path], splits: bool = True) -> None:
    """Raise ManifestError where OUT, or a file that is written beside it (those of splits too, if `splits`), is a table to be read."""
    ends = ["report.json", *([f"{name}{out.suffix}" for name in SPLITS] + ["boxes.csv", "schema.yaml"] if splits else [])]
    written = [path for path in (out, *(beside(out, end) for end in ends)) if path.exists()]
    for table in tables:
        if same := next((path for path in written if table.exists() and path.samefile(table)), None):
            raise ManifestError(f"{same} is a table to be read, and would be overwritten. Choose another --out.")


def keep(rows: pd.DataFrame, good: pd.Series | np.ndarray, report: Report, reason: str, name: str = "path") -> pd.DataFrame:
    """The rows that are good; the others are counted under a reason."""
    good = np.asarray(good, dtype=bool)
    report.drop(reason, rows.loc[~good, name])
    return rows[good]


def contradictory(told: pd.DataFrame, keys: pd.Series) -> pd.Series:
    """By row, whether another row of the same key says something else; rows without a key are False."""
    answers = told.groupby(list(told.columns), sort=False, dropna=False).ngroup()
    return answers.groupby(keys).transform("nunique") > 1


def without_duplicates(rows: pd.DataFrame, column: str, report: Report, told: list[str] | None = None) -> pd.DataFrame:
    """One row for each film that a column names: the same row twice counts once, and of rows that differ in what they tell of a film (all columns,
    or those `told`) none is kept, since nobody can say which is right."""
    rows = keep(rows, ~contradictory(rows[told or list(rows.columns)], rows[column]), report, CONTRADICTORY, column)
    return keep(rows, ~rows[column].duplicated(), report, DUPLICATE, column)


def one_row_each(rows: pd.DataFrame, key: str, report: Report, reason: str) -> pd.DataFrame:
    """Rows of a table of the source that should have one for each key: the same row twice counts once; keys whose rows differ are left out, since
    nobody can say which is right, and counted under a reason."""
    several = contradictory(rows, rows[key])
    report.leave(reason, [f"{key} {value}" for value in rows.loc[several, key].unique()])
    return rows[~several].drop_duplicates()


def numbers(rows: pd.DataFrame, column: str, report: Report, name: str = "path") -> tuple[pd.Series, pd.Series]:
    """A column as float64, NaN for what is empty or no number; and by row whether a cell says something that is no number, which is counted."""
    values = pd.to_numeric(rows[column], errors="coerce").astype("float64")
    unread = values.isna() & (rows[column].astype("string").str.strip().fillna("") != "").astype(bool)
    report.refuse(f"{column} is no number", rows.loc[unread, name])
    return values, unread


def with_readable_images(rows: pd.DataFrame, root: Path, report: Report, decode: bool = False) -> pd.DataFrame:
    """Rows whose `path` under root is there, begins as an image does (or is DICOM) and, for JPEG and PNG, ends as one. decode: each is also read
    whole, as training does, which takes as long as reading them: damaged in the middle, blank, tiny or far too long films are named as well."""

    def state(name: str) -> str:
        try:
            with (root / name).open("rb") as file:
                start = file.read(132)
                file.seek(max(0, file.seek(0, os.SEEK_END) - END_BYTES))
                end = file.read()
        except OSError:
            return "missing image"
        known = start.startswith(MAGIC) or looks_like_dicom(start)
        whole = all(mark in end for begin, mark in ENDS.items() if start.startswith(begin))
        if not (known and whole):
            return "unreadable image"
        try:
            if decode:
                prepare(read_radiograph(root / name), Preprocessing(size=64))
        except RadiographError:
            return "image that no film can be made of"
        return ""

    with ThreadPoolExecutor(16) as pool:
        states = np.array(list(pool.map(state, rows["path"], chunksize=256)), dtype=object)
    for reason in sorted(set(states) - {""}):
        report.drop(reason, rows.loc[states == reason, "path"])
    return rows[states == ""]


def plausible(rows: pd.DataFrame, schema: EHRSchema, report: Report, apart: float = CONTRADICTS, doubted: bool = True) -> pd.DataFrame:
    """Every feature's column as the schema reads it; values it refuses become unknown, counted and named.

    A height in m or inches, a weight in lb declared as kg where its height, a BMI or the whole column show it, a category that is not listed, swapped
    pressures. apart: share by which BMI may differ from that of height and weight before all three are refused; larger where each was measured on
    a day of its own. doubted: whether weights that heights speak against may be in lb; False where the source says the unit of each.
    """
    rows = rows.copy()
    for feature in schema.features:
        if feature.name in rows.columns:
            rows[feature.name] = _parsed(rows, feature, report)
    if "weight_kg" in rows.columns:
        rows = _without_pounds(rows, report, doubted)
    if {"height_cm", "weight_kg"} <= set(rows.columns):
        rows = _without_single_pounds(rows, report, apart) if doubted else rows
        rows = _consistent_body(rows, schema, report, apart)
    if {"systolic_mmhg", "diastolic_mmhg"} <= set(rows.columns):
        crossed = rows["systolic_mmhg"] <= rows["diastolic_mmhg"]
        report.refuse("diastolic not below systolic", rows.loc[crossed, "path"])
        rows.loc[crossed, ["systolic_mmhg", "diastolic_mmhg"]] = np.nan
    return rows


def _parsed(rows: pd.DataFrame, feature: Feature, report: Report) -> pd.Series:
    """One column read by the feature itself, each distinct value once."""
    codes, distinct = pd.factorize(rows[feature.name])
    values, reasons = [], []
    for value in distinct:
        try:
            values.append(feature.parse(value))
            reasons.append("")
        except EHRError as error:
            values.append(None)
            outside = "outside the plausible range (wrong unit?)" if feature.plausible else "not listed"
            reasons.append("no number" if "number" in str(error) else outside)
    reasons = np.array([*reasons, ""], dtype=object)[codes]  # code −1: missing
    for reason in sorted(set(reasons) - {""}):
        report.refuse(f"{feature.name} {reason}", rows.loc[reasons == reason, "path"])
    kind = "float64" if feature.kind == "number" else "object"
    return pd.Series(pd.Series([*values, None], dtype=kind).to_numpy()[codes], index=rows.index, dtype=kind)


def _consistent_body(rows: pd.DataFrame, schema: EHRSchema, report: Report, share: float) -> pd.DataFrame:
    """Height, weight and BMI that contradict each other by more than a share, or imply an impossible BMI, become unknown; a BMI that differs
    by less (the three were taken on different days) is left out, and follows from height and weight wherever the manifest is read."""
    height, weight = rows["height_cm"], rows["weight_kg"]
    implied = body_mass_index(height, weight)
    names = ["height_cm", "weight_kg"]
    if "bmi" in schema:
        wrong = implied.notna() & ~implied.between(*schema["bmi"].plausible)
        report.refuse("height and weight imply an impossible BMI (wrong unit?)", rows.loc[wrong, "path"])
        rows.loc[wrong, names] = np.nan
    if "bmi" not in rows.columns:
        return rows
    apart, contradicted = bmi_differs(rows["bmi"], height, weight, share)
    report.refuse("bmi, height and weight contradict each other (wrong unit?)", rows.loc[contradicted, "path"])
    rows.loc[contradicted, ["bmi", *names]] = np.nan
    report.refuse("bmi replaced by that of height and weight", rows.loc[apart, "path"])
    rows.loc[apart, "bmi"] = np.nan
    return rows


def bmi_differs(bmi: pd.Series, height: pd.Series, weight: pd.Series, share: float) -> tuple[pd.Series, pd.Series]:
    """By row, whether BMI differs from that of height and weight by more than rounding explains, but no more than a share; and by more than it."""
    implied = body_mass_index(height, weight)
    difference = (bmi - implied).abs()
    contradicted = difference > share * implied
    return (difference > 0.5 * bmi_rounding(height, weight)) & ~contradicted, contradicted


def _without_pounds(rows: pd.DataFrame, report: Report, doubted: bool) -> pd.DataFrame:
    """A column of weights that can only be pounds becomes unknown: they are too heavy for people as a whole (median above `HEAVY`), or for their
    heights, if they may be `doubted`."""
    weight = rows["weight_kg"].dropna()
    if len(weight) < ENOUGH or not (float(weight.median()) >= HEAVY or (doubted and _too_stout(rows))):
        return rows
    report.refuse(f"the weights as a whole (median {weight.median():.0f}) seem to be in lb, not kg", rows.loc[weight.index, "path"])
    return rows.assign(weight_kg=np.nan)


def _too_stout(rows: pd.DataFrame) -> bool:
    """Whether weights and heights make a median BMI above `STOUT` as kg and one in `USUAL` as lb, which most BMIs of the rows' own do not confirm."""
    if "height_cm" not in rows.columns:
        return False
    implied = body_mass_index(rows["height_cm"], rows["weight_kg"]).dropna()
    middle = float(implied.median())
    if len(implied) < ENOUGH or middle <= STOUT or not USUAL[0] <= middle * KG_PER_POUND <= USUAL[1]:
        return False
    own = rows["bmi"].reindex(implied.index).dropna() if "bmi" in rows.columns else implied[:0]
    confirmed = (own - implied[own.index]).abs() <= CONFIRMS * implied[own.index]
    return not 2 * confirmed.sum() > len(own)


def _without_single_pounds(rows: pd.DataFrame, report: Report, share: float) -> pd.DataFrame:
    """A single weight that makes a BMI above `RARE` with its height, but one in `USUAL` if it is lb, becomes unknown; the height stays. A BMI of
    the row's own goes before: the weight stays if it confirms it, and one that differs by more than a share is left to `_consistent_body`. From
    `STOUT` to `RARE`, where a slim person's weight in lb and a stout one's in kg look alike, it stays and is counted."""
    implied = body_mass_index(rows["height_cm"], rows["weight_kg"])
    doubtful = (implied > STOUT) & (implied * KG_PER_POUND).between(*USUAL)
    if "bmi" in rows.columns:
        difference = (rows["bmi"] - implied).abs()
        doubtful &= rows["bmi"].isna() | ((difference > CONFIRMS * implied) & (difference <= share * implied))
    pounds = doubtful & (implied > RARE)
    report.note(f"weight_kg that may be in lb: it makes a BMI above {STOUT:g} as kg, a usual one as lb", rows.loc[doubtful & ~pounds, "path"])
    report.refuse(f"weight_kg that makes a BMI above {RARE:g} as kg, a usual one as lb (wrong unit?)", rows.loc[pounds, "path"])
    return rows.assign(weight_kg=rows["weight_kg"].mask(pounds))


def disjoint(rows: pd.DataFrame, report: Report, patient: str = "patient", split: str = "split") -> pd.DataFrame:
    """Rows of patients who are in one split only."""
    return keep(rows, in_one_split(rows, patient, split), report, TWO_SPLITS)


def in_one_split(rows: pd.DataFrame, patient: str = "patient", split: str = "split") -> pd.Series:
    """By row, whether its patient is in one split only, however it is spelled; rows with an unknown patient, of whom nobody can say, are True."""
    keys = rows[patient].map(patient_key)
    return (keys == "") | (split_key(rows[split]).groupby(keys).transform("nunique") <= 1)


def split_key(splits: pd.Series) -> pd.Series:
    """A split's name without case or blanks around it; <NA> where there is none."""
    names = splits.astype("string").str.strip().str.casefold()
    return names.mask(names == "")


def assign_splits(rows: pd.DataFrame, shares: tuple[float, float] = (0.8, 0.1), seed: int = 0) -> pd.DataFrame:
    """Train, val and test by a hash of (seed, patient): a patient's split is the same whatever else the table holds. All films of unknown patients
    go to one split, since any two of them may be of one patient."""

    def split(patient: str) -> str:
        number = int.from_bytes(hashlib.sha256(f"{seed}/{patient}".encode()).digest()[:8], "big") / 2**64
        return SPLITS[0] if number < shares[0] else SPLITS[1] if number < shares[0] + shares[1] else SPLITS[2]

    keys = rows["patient"].map(patient_key)
    return rows.assign(split=keys.map({key: split(key) for key in keys.unique()}))


def write_manifests(
    rows: pd.DataFrame,
    root: Path,
    out: Path,
    schema: EHRSchema,
    report: Report,
    split: bool = True,
    apart: float = CONTRADICTS,
    doubted: bool = True,
) -> pd.DataFrame:
    """Write OUT, one file a split (OUT-train.csv …, if `split`) and OUT-report.json; paths become relative to OUT's folder.

    CSV, or Parquet where OUT ends in .parquet. apart, doubted: see `plausible`. Raises ManifestError if no row is left.
    """
    rows = plausible(rows, schema, report, apart, doubted).reset_index(drop=True)
    if rows.empty:
        raise ManifestError(f"No film is left of {report.read} rows. " + "; ".join(report.lines()[1:]))
    report.kept = len(rows)
    report.labels = Counter(rows["label"].map(label_key) if "label" in rows.columns else [""] * len(rows))
    report.missing = {name: int((rows[name].isna() | (rows[name].astype(str) == "")).sum()) for name in schema.names if name in rows.columns}
    if {"height_cm", "weight_kg", "bmi"} <= set(rows.columns):
        report.missing["bmi"] = int((rows["bmi"].isna() & (rows["height_cm"].isna() | rows["weight_kg"].isna())).sum())
    start = os.path.relpath(os.path.realpath(root), os.path.realpath(out.parent))  # the folders themselves: links do not survive "../"
    rows = rows.assign(path=[os.path.normpath(os.path.join(start, name)) for name in rows["path"]])
    out.parent.mkdir(parents=True, exist_ok=True)
    _write(rows, out)
    for name in sorted(rows["split"].unique()) if split else ():
        _write(rows[rows["split"] == name], beside(out, f"{name}{out.suffix}"))
    beside(out, "report.json").write_text(json.dumps(report.to_dict(), indent=1) + "\n")
    return rows


def _write(rows: pd.DataFrame, path: Path) -> None:
    partial = path.with_name(f"{path.name}.partial")
    if path.suffix.lower() in PARQUET:
        rows.to_parquet(partial, index=False)
    else:
        rows.to_csv(partial, index=False)
    os.replace(partial, path)


def label_of(normal: pd.Series, known: pd.Series) -> np.ndarray:
    """`normal`, `abnormal`, or empty where nothing is known."""
    return np.where(~known, "", np.where(normal, NORMAL, "abnormal"))
