"""A manifest from a folder of DICOM files: age, sex, view, height and weight of the headers, and labels of a table.

Nothing of a header that identifies a patient enters the manifest: ids are hashed with a salt of the user's, dates and
names are left out. The paths of the films are written as the folder has them.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import re
from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from itertools import islice
from multiprocessing import get_context
from pathlib import Path

import pandas as pd
import pydicom

from ...ehr import EHRError, paper_schema
from ...ehr.facts import FRONTAL_VIEWS, OTHER_VIEWS
from ...ehr.header import MINOR, OTHER_VIEW, read_any_view
from ...imaging.dicom import read_dataset
from ...imaging.dicom_content import looks_like_dicom
from ...imaging.dicom_header import RECORD_ATTRIBUTES, record_facts, view_attributes
from ...imaging.dicom_values import text
from ..manifest import ManifestError, normalize_label, normalize_patient, read_table
from ..paths import clean_name, is_junk
from .films import NOT_JUDGED, FilmCheck, inspect_film, to_clause
from .report import NOT_FRONTAL, Report, keep_rows
from .splits import UNCHECKED, assign_splits
from .tables import CONTRADICTORY, find_contradictions, make_path_beside, refuse_overwriting, write_manifests

COLUMNS = ["path", "label", "split", "patient", "study", "age", "sex", "view", "height_cm", "weight_kg"]
IDS = {"patient": "PatientID", "study": "StudyInstanceUID", "accession": "AccessionNumber", "film": "SOPInstanceUID"}
TAGS = [*IDS.values(), *RECORD_ATTRIBUTES]
# columns, in any case and spacing, by which a table of labels names a film
ACCESSION_COLUMNS = ("accession", "accessionnumber")
FILE_COLUMNS = ("path", "file", "filename")
MIN_SALT = 8  # characters
BATCH = 512  # files between two writes of the journal
MIN_FILES_FOR_PROCESSES = 200
HASH_DIGITS = 16
NO_DICOM = "no DICOM file"
COPY = "copy of another file (same SOP instance)"
UNUSED_LABEL = "row of the table of labels whose film is not there or was dropped"
MIXED_RECORD = "patient whose films say two sexes"


def prepare_dicom(
    folder: Path,
    out: Path,
    salt: str,
    labels: Path | None = None,
    *,
    seed: int = 0,
    processes: int | None = None,
    check: FilmCheck | None = None,
) -> Report:
    """Write a manifest of the DICOM files below `folder`. Frontal films only.

    salt: at least 8 characters that nobody else knows. Ids of patients and studies are hashed with it; the same salt
    gives the same ids in another run.
    labels: a table with the columns `label` and `accession` or `path` (relative to the table's folder or to `folder`).
    Without it, and for films that it does not name, the label is empty.
    seed: of the split of patients into train, val and test, 80, 10 and 10 %.
    processes: how many read files; all processors by default.
    check: see `FilmCheck`.

    What was read is stored in OUT-headers.jsonl until the manifest is written, so that an interrupted run continues
    from there. Raises ManifestError.
    """
    if len(salt) < MIN_SALT:
        raise ManifestError(f"The salt must have at least {MIN_SALT} characters. Choose any, and keep it to yourself.")
    check, salt_key = check or FilmCheck(), salt.encode()
    journal = make_path_beside(out, "headers.jsonl")
    refuse_overwriting(out, [] if labels is None else [labels])
    names = sorted(_list_files(folder))
    if not names:
        raise ManifestError(f"There is no file in {folder}. Check the folder.")
    table_labels = None if labels is None else _read_labels(labels, folder)
    entries = _read_all(folder, names, journal, salt_key, check, processes)
    rows = pd.DataFrame([entries[name] for name in names])
    report = Report(input_rows=len(rows))
    rows = keep_rows(rows, rows["problem"] != NO_DICOM, report, NO_DICOM)
    for problem in sorted(set(rows["problem"]) - {""}):
        rows = keep_rows(rows, rows["problem"] != problem, report, problem)
    for note in sorted({note for notes in rows["notes"] for note in notes}):
        report.note(note, rows.loc[rows["notes"].map(lambda notes, note=note: note in notes), "path"])
    if not check.whole:
        report.note(NOT_JUDGED, rows["path"])
    rows = keep_rows(rows, (rows["film"] == "") | ~rows["film"].duplicated(), report, COPY)
    known = rows[(rows["sex"] != "") & (rows["patient"] != "")]
    is_mixed = rows["patient"].isin(known.loc[find_contradictions(known[["sex"]], known["patient"]), "patient"])
    report.refuse(MIXED_RECORD, rows.loc[is_mixed, "path"])
    rows = rows.assign(sex=rows["sex"].mask(is_mixed, ""))
    report.note(UNCHECKED, rows.loc[rows["patient"] == "", "path"])
    rows = _add_labels(rows, table_labels, salt_key, report)
    rows = assign_splits(rows, seed=seed)
    write_manifests(rows[COLUMNS], folder, out, paper_schema(), report)
    journal.unlink(missing_ok=True)
    return report


def hash_id(text: str, salt: bytes) -> str:
    """Return the HMAC-SHA256 of an id, 16 hexadecimal digits, which does not reveal it; "" for an unknown id."""
    key = normalize_patient(text)
    return hmac.new(salt, key.encode(), hashlib.sha256).hexdigest()[:HASH_DIGITS] if key else ""


def _list_files(folder: Path) -> Iterator[str]:
    """Yield the paths, relative to the folder, of all files below it that `is_junk` does not exclude."""
    for directory, _, files in os.walk(folder):
        for file in files:
            name = os.path.relpath(os.path.join(directory, file), folder)
            if not is_junk(name):
                yield name


def _read_all(
    folder: Path, names: list[str], journal: Path, salt: bytes, check: FilmCheck, processes: int | None
) -> dict[str, dict]:
    """Return each file's entry by name: from the journal where it is there, else read in several processes."""
    settings = hashlib.sha256(salt + f"{os.path.realpath(folder)} {check.whole} {check.accept}".encode()).hexdigest()
    entries = _read_journal(journal, settings)
    remaining = [name for name in names if name not in entries]
    journal.parent.mkdir(parents=True, exist_ok=True)
    reader = partial(read_header, folder, salt=salt, whole=check.whole, accept=check.accept)
    stream = iter(remaining)
    with journal.open("a" if entries else "w", encoding="utf-8") as file:
        if not entries:
            file.write(json.dumps({"settings": settings}) + "\n")
        with _make_pool(processes or os.cpu_count() or 1, len(remaining)) as pool:
            while part := list(islice(stream, BATCH)):
                for entry in pool.map(reader, part, chunksize=8):
                    entries[entry["path"]] = entry
                    file.write(json.dumps(entry) + "\n")
                file.flush()
                if check.progress:
                    check.progress(sum(name in entries for name in names), len(names))
    return entries


def _make_pool(processes: int, files: int) -> Executor:
    """Return a pool of processes; of threads for one process or few files, because a process takes seconds to start."""
    if processes == 1 or files < MIN_FILES_FOR_PROCESSES:
        return ThreadPoolExecutor(processes)
    return ProcessPoolExecutor(processes, mp_context=get_context("spawn"))


def _read_journal(journal: Path, settings: str) -> dict[str, dict]:
    """Return the entries of an interrupted run, by file name; none where it had other settings.

    A last line that is incomplete is left out.
    """
    entries: dict[str, dict] = {}
    with suppress(OSError):
        lines = journal.read_text(encoding="utf-8").splitlines()
        for number, line in enumerate(lines):
            with suppress(ValueError, KeyError):
                entry = json.loads(line)
                if number == 0 and entry.get("settings") != settings:
                    return {}
                if number:
                    entries[entry["path"]] = entry
    return entries


def read_header(folder: Path, name: str, salt: bytes, whole: bool = True, accept: bool = False) -> dict:
    """Read one file's entry: path, problem ("" if there is none), notes, hashed ids, and the record, "" where unknown.

    name: of the file below the folder. whole, accept: see `FilmCheck`.
    """
    notes: list[str] = []
    entry: dict = {"path": name, "problem": "", "notes": notes, **dict.fromkeys((*IDS, *COLUMNS[4:]), "")}
    path = folder / name
    try:
        with path.open("rb") as file:
            if not looks_like_dicom(file.read(512)):
                return entry | {"problem": NO_DICOM}
        dataset: pydicom.Dataset = pydicom.dcmread(
            path, stop_before_pixels=True, force=True, specific_tags=[*TAGS, "Rows"]
        )
        if "Rows" not in dataset:  # an odd encoding, perhaps
            dataset = read_dataset(path.read_bytes())
    except Exception:  # pydicom raises many kinds of error on damaged files
        return entry | {"problem": "header that cannot be read"}
    entry |= {name: hash_id(text(dataset, tag), salt) for name, tag in IDS.items()}
    try:
        view = read_any_view(*view_attributes(dataset))
    except EHRError:
        view = None
        notes.append("view in the header that is neither PA nor AP")
    if view in OTHER_VIEWS:
        return entry | {"problem": NOT_FRONTAL}
    facts = record_facts(dataset)
    entry |= {feature: "" if fact.value is None else fact.value for feature, fact in facts.items()}
    entry["view"] = view if view in FRONTAL_VIEWS else ""
    if facts["view"].value is None:  # noted above
        del facts["view"]
    sentences = (fact.note.replace(MINOR, "").strip() for fact in facts.values())  # the whole table counts minors
    notes += [to_clause(sentence) for sentence in sentences if sentence]
    if not whole:
        return entry
    problem, film_notes = inspect_film(path, accept)
    counted_elsewhere = {to_clause(MINOR), to_clause(OTHER_VIEW)}  # with the whole table, and in other words
    film_notes = [note for note in film_notes if note not in counted_elsewhere]
    return entry | {"problem": problem, "notes": list(dict.fromkeys([*notes, *film_notes]))}


def _read_labels(path: Path, folder: Path) -> pd.DataFrame:
    """Read a table of labels.

    Returns columns key (an accession number, or a path relative to `folder`), by ("accession" or "path") and label.
    Raises ManifestError.
    """
    table = read_table(path)
    table.columns = [re.sub(r"[\s_]+", "", str(name)).lower() for name in table.columns]
    by = next((name for name in (*ACCESSION_COLUMNS, *FILE_COLUMNS) if name in table.columns), None)
    if by is None or "label" not in table.columns:
        raise ManifestError(
            f"The table of labels {path.name} needs the columns `label` and `accession` or `path`. Its columns are: "
            f"{', '.join(table.columns)[:300]}."
        )
    keys = table[by].map(normalize_patient) if by in ACCESSION_COLUMNS else table[by].map(clean_name)
    if by in FILE_COLUMNS:
        beside_table = keys.map(lambda name: os.path.relpath(path.parent / name, folder))
        keys = keys.map(os.path.normpath).where(keys.map(lambda name: (folder / name).is_file()), beside_table)
    by = "accession" if by in ACCESSION_COLUMNS else "path"
    return pd.DataFrame({"key": keys, "by": by, "label": table["label"].map(normalize_label)}).drop_duplicates()


def _add_labels(rows: pd.DataFrame, labels: pd.DataFrame | None, salt: bytes, report: Report) -> pd.DataFrame:
    """Add the column `label`. Rows to which the table gives two labels are dropped."""
    if labels is None:
        return rows.assign(label="")
    by = labels["by"].iloc[0] if len(labels) else "path"
    keys = labels["key"].map(lambda key: hash_id(key, salt)) if by == "accession" else labels["key"]
    several = keys.duplicated(keep=False)
    label_of_key = labels["label"][~several].set_axis(keys[~several])
    own = rows[by] if by == "accession" else rows["path"].map(os.path.normpath)
    unused = sorted((set(keys) - set(own)) | (set(keys) & {""}))  # accession numbers are hashed
    report.omit(UNUSED_LABEL, [key or "without accession or path" for key in unused])
    rows = keep_rows(rows, ~own.isin(set(keys[several]) - {""}), report, CONTRADICTORY)
    own = own[rows.index]
    has_label = own.isin(label_of_key.index) & (own != "")
    report.note("in no row of the table of labels, so without one", rows.loc[~has_label, "path"])
    return rows.assign(label=own.map(label_of_key).where(has_label, ""))
