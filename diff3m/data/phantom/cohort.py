"""Cohorts of phantoms on disk: PNGs, masks of lesions and a manifest."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pandas as pd

from ...ehr import EHRError, paper_schema
from ..manifest import NORMAL, ManifestError
from .person import is_diseased, make_person

MANIFEST_FILE, FILMS, MASKS, COUNTERFACTUALS = "manifest.csv", "films", "masks", "counterfactuals"
COLUMNS = ("path", "label", "patient", "seed", "mask", "counterfactual")


def write_cohort(
    out: Path,
    count: int,
    size: int,
    seed: int,
    *,
    lesions: float = 0.0,
    counterfactual: Mapping[str, object] | None = None,
    ignored_column: str | None = None,
    report: Callable[[int, int], None] | None = None,
) -> pd.DataFrame:
    """Write the phantoms of the numbers `seed` to `seed` + `count` − 1, and their manifest.

    out: folder, without a cohort. size: pixels a side, 64 to 1024. lesions: share of films with a lesion.
    counterfactual: values by feature name; each person's film under the record with these values is written too, and
    named in the column `counterfactual`. ignored_column: name of a further column of standard normal numbers on which
    nothing in a film depends. report: called with the number of films written so far, and of all. Returns the
    manifest. Raises ManifestError or EHRError.
    """
    if count < 1 or not 64 <= size <= 1024 or seed < 0 or not 0 <= lesions <= 1:
        raise ManifestError(
            "A cohort needs n of at least 1, a size of 64 to 1024 pixels, a seed of at least 0 and a share of lesions "
            "of 0 to 1."
        )
    changes = parse_changes(counterfactual or {})
    if ignored_column is not None and (
        ignored_column in paper_schema() or ignored_column in COLUMNS or not ignored_column.isidentifier()
    ):
        raise ManifestError(
            f"The ignored column needs a name of its own, of letters, digits and _, got {ignored_column!r}."
        )
    if (out / MANIFEST_FILE).exists():
        raise ManifestError(f"{out} already holds a cohort. Choose another folder, or remove it.")
    for folder in (FILMS, *([MASKS] if lesions else []), *([COUNTERFACTUALS] if changes else [])):
        (out / folder).mkdir(parents=True, exist_ok=True)
    work = partial(_write_phantom, out=out, size=size, lesions=lesions, changes=changes, ignored_column=ignored_column)
    rows = []
    fresh = multiprocessing.get_context("spawn")  # a forked copy of a process with threads may hang
    with ProcessPoolExecutor(min(count, os.cpu_count() or 1), fresh) as pool:
        for row in pool.map(work, range(seed, seed + count), chunksize=16):
            rows.append(row)
            if report:
                report(len(rows), count)
    table = pd.DataFrame(rows)
    partial_file = out / f"{MANIFEST_FILE}.partial"
    table.to_csv(partial_file, index=False)
    os.replace(partial_file, out / MANIFEST_FILE)
    return table


def parse_changes(values: Mapping[str, object]) -> dict:
    """Parse the values of a counterfactual by feature name. Raises EHRError for an unknown feature or a bad value."""
    schema, changes = paper_schema(), {}
    for name, value in values.items():
        if name not in schema:
            raise EHRError(f"There is no feature {name!r}. The features are: {', '.join(schema.names)}.")
        changes[name] = schema[name].parse(value)
        if changes[name] is None:
            raise EHRError(f"{schema[name].label}: give the value of the other record, e.g. {name}=35.")
    return changes


def _write_phantom(
    number: int, out: Path, size: int, lesions: float, changes: Mapping, ignored_column: str | None
) -> dict:
    """Write the films and the mask of one phantom, and return its row of the manifest."""
    cv2.setNumThreads(1)
    person = make_person(number, "any" if is_diseased(number, lesions) else None)
    name = f"{number:07d}.png"
    row = {
        "path": f"{FILMS}/{name}",
        "label": person.lesion.kind if person.lesion else NORMAL,
        **person.patient.to_record(),
        "patient": number,
        "seed": number,
        "mask": "",
    }
    if person.lesion:
        row["mask"] = f"{MASKS}/{name}"
        rendering = person.render_with_lesion(size)
        _write_image(out / MASKS / name, rendering.mask.astype(np.float32))
    _write_image(out / FILMS / name, rendering.film if person.lesion else person.render(size))
    if ignored_column is not None:
        row[ignored_column] = draw_ignored_value(number)
    if changes:
        row["counterfactual"] = f"{COUNTERFACTUALS}/{name}"
        _write_image(out / COUNTERFACTUALS / name, person.render(size, person.patient.with_values(**changes)))
    return row


def draw_ignored_value(number: int) -> float:
    """Draw the standard normal number of a person on which nothing in the film depends; always the same."""
    return float(np.random.default_rng([number, 7]).standard_normal())


def _write_image(path: Path, image: np.ndarray) -> None:
    if not cv2.imwrite(str(path), np.round(image * 255).astype(np.uint8)):
        raise ManifestError(f"{path} could not be written. Check the folder and the free space.")
