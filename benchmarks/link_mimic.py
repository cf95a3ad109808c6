"""The MIMIC linkage on synthetic tables of the true size: 377,110 images, 7.75 million omr rows, 364,627 patients.

    python benchmarks/link_mimic.py [--scale 1.0] [--dir DIR]

Prints seconds and peak memory of the linkage, run as a process of its own. The search for image files is left out,
since it depends on the disk alone.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

IMAGES, ROWS, PATIENTS, WITH_FILMS = 377_110, 7_750_000, 364_627, 65_379
RESULTS = (
    "Blood Pressure",
    "Weight (Lbs)",
    "BMI (kg/m2)",
    "Height (Inches)",
    "eGFR (CKD-EPI)",
    "Blood Pressure Sitting",
)


def write_tables(folder: Path, scale: float) -> None:
    """metadata, chexpert, split, patients and omr with PhysioNet's columns."""
    rng = np.random.default_rng(0)
    images, rows, people, film_patients = (
        max(10, round(scale * count)) for count in (IMAGES, ROWS, PATIENTS, WITH_FILMS)
    )
    subjects = 10_000_000 + rng.permutation(9_000_000)[:people]
    owner = rng.choice(subjects[:film_patients], images)
    study = 50_000_000 + np.arange(images) // 2
    owner = owner[np.arange(images) // 2 * 2]  # two films a study
    days = pd.Timestamp("2150-01-01") + pd.to_timedelta(
        rng.integers(0, 18_000, images)[np.arange(images) // 2 * 2], unit="D"
    )
    dicom = pd.Series(np.arange(images)).map("{:08x}-aaaa".format)
    views = rng.choice(["PA", "AP", "LATERAL", "LL"], images, p=[0.26, 0.39, 0.20, 0.15])
    metadata = pd.DataFrame({"dicom_id": dicom, "subject_id": owner, "study_id": study, "ViewPosition": views})
    metadata["StudyDate"], metadata["StudyTime"] = days.strftime("%Y%m%d"), 120000.0
    (folder / "hosp").mkdir(parents=True)
    metadata.to_csv(
        folder / "mimic-cxr-2.0.0-metadata.csv.gz", index=False, compression={"method": "gzip", "compresslevel": 1}
    )
    findings = metadata[["subject_id", "study_id"]].drop_duplicates().assign(**{"No Finding": 1.0})
    findings.to_csv(folder / "mimic-cxr-2.0.0-chexpert.csv.gz", index=False)
    metadata[["dicom_id", "study_id", "subject_id"]].assign(split="train").to_csv(
        folder / "mimic-cxr-2.0.0-split.csv.gz", index=False
    )
    patients = pd.DataFrame(
        {"subject_id": subjects, "gender": rng.choice(["F", "M"], people), "anchor_age": rng.integers(18, 91, people)}
    )
    patients.assign(anchor_year=2160).to_csv(folder / "hosp/patients.csv.gz", index=False)
    names = rng.choice(RESULTS, rows, p=[0.36, 0.28, 0.20, 0.12, 0.02, 0.02])
    numbers = rng.normal(0, 1, rows)
    values = np.where(
        names == "Blood Pressure",
        "",
        np.round(
            np.select([names == "Height (Inches)", names == "BMI (kg/m2)"], [66, 28], 170) * (1 + 0.1 * numbers), 1
        ).astype(str),
    )
    pressures = (
        pd.Series(np.round(122 + 15 * numbers).astype(int).astype(str))
        + "/"
        + pd.Series(np.round(74 + 8 * numbers).astype(int).astype(str))
    )
    dates = (pd.Timestamp("2150-01-01") + pd.to_timedelta(rng.integers(0, 18_000, rows), unit="D")).strftime("%Y-%m-%d")
    # half of the rows belong to patients with films, near their films as often as not
    subject = np.where(rng.random(rows) < 0.5, rng.choice(subjects[:film_patients], rows), rng.choice(subjects, rows))
    omr = pd.DataFrame(
        {
            "subject_id": subject,
            "chartdate": dates,
            "seq_num": 1,
            "result_name": names,
            "result_value": np.where(values == "", pressures, values),
        }
    )
    omr.to_csv(folder / "hosp/omr.csv.gz", index=False, compression={"method": "gzip", "compresslevel": 1})


def link(folder: Path, out: Path) -> tuple[float, float]:
    """Link the tables of a folder into a manifest at `out`.

    Returns seconds, and GB of the largest process started so far. Raises CalledProcessError.
    """
    code = (
        "import diff3m.data.prepare.mimic as m, sys; from pathlib import Path; "
        "m.select_usable_films = lambda rows, *_: rows; "
        "f = Path(sys.argv[1]); print('\\n'.join(m.prepare_mimic(f, f, Path(sys.argv[2])).format_lines()))"
    )
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", code, str(folder), str(out)], check=True)
    seconds = time.perf_counter() - start
    return seconds, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument(
        "--dir", type=Path, default=None, help="keep the tables here, and take them from here if they are there"
    )
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.dir or Path(temporary) / "tables"
        if not (folder / "hosp" / "omr.csv.gz").exists():
            write_tables(folder, options.scale)
        seconds, peak = link(folder, Path(temporary) / "out.csv")
        print(f"{seconds:.0f} s, peak {peak:.1f} GB (files of images not looked for)")


if __name__ == "__main__":
    main()
