"""The command `diff3m prepare`: a data set as a manifest."""

from __future__ import annotations

from pathlib import Path

from .options import add_command, positive_int
from .terminal import make_progress_bar, parse_pairs

# data sets that are one folder, as released, by the name of `diff3m prepare NAME`
RELEASES = {
    "chexpert": "CheXpert: age, sex and view",
    "chexpert-plus": "CheXpert Plus: age, sex, view and BMI",
    "nih": "NIH ChestX-ray14: age, sex and view",
    "padchest": "PadChest: age, sex and view",
}


def add_parser(commands) -> None:
    """Add the command and its options."""
    command = add_command(commands, "prepare", None, "Turn a data set into a manifest.")
    kinds = command.add_subparsers(dest="kind", required=True, metavar="KIND")
    mimic = kinds.add_parser("mimic", help="MIMIC-CXR-JPG with the record of MIMIC-IV, linked as the paper does")
    mimic.set_defaults(run=_prepare_mimic)
    mimic.add_argument("--cxr", required=True, metavar="DIR", help="of mimic-cxr-2.…-metadata.csv.gz and files/")
    mimic.add_argument("--iv", required=True, metavar="DIR", help="of hosp/patients.csv.gz and hosp/omr.csv.gz")
    mimic.add_argument(
        "--ed", default=None, metavar="DIR", help="of ed/edstays.csv.gz and ed/triage.csv.gz: adds vitals"
    )
    mimic.add_argument("--out", required=True, metavar="MANIFEST")
    for name, text in RELEASES.items():
        kind = kinds.add_parser(name, help=text)
        kind.set_defaults(run=_prepare_release)
        kind.add_argument("--dir", required=True, metavar="DIR", help="as released")
        kind.add_argument("--out", required=True, metavar="MANIFEST")
        kind.add_argument("--seed", type=int, default=0, help="of the split of patients, where the release has none")
    tree = kinds.add_parser(
        "dicom", help="a tree of DICOM files: age, sex, view, height, weight and so BMI from the headers"
    )
    tree.set_defaults(run=_prepare_dicom)
    tree.add_argument("dir", metavar="DIR")
    tree.add_argument("--out", required=True, metavar="MANIFEST")
    tree.add_argument(
        "--salt", required=True, metavar="TEXT", help="that ids are hashed with; @FILE reads it from a file"
    )
    tree.add_argument("--labels", default=None, metavar="CSV", help="columns label, and accession or path")
    tree.add_argument("--seed", type=int, default=0, help="of the split of patients")
    tree.add_argument("--processes", type=positive_int, default=None, metavar="N", help="default: all processors")
    folder = kinds.add_parser("folder", help="images and a table of anything")
    folder.set_defaults(run=_prepare_folder)
    folder.add_argument("--table", required=True, metavar="CSV")
    folder.add_argument("--out", required=True, metavar="CSV")
    folder.add_argument(
        "--column", action="append", default=[], metavar="NAME=COLUMN", help="which column is which, e.g. path=file"
    )
    folder.add_argument(
        "--where", action="append", default=[], metavar="COLUMN=A,B", help="keep only rows with these values"
    )
    for kind in kinds.choices.values():
        kind.add_argument(
            "--accept", action="store_true", help="also use films that the gate would stop; the report counts them"
        )
        kind.add_argument(
            "--quick",
            action="store_true",
            help="read only the first and last bytes of each film: damage in the middle and turned films go unnoticed",
        )


def _prepare_folder(options) -> None:
    from ..data.prepare.folder import prepare_folder

    conditions = {name: set(values.split(",")) for name, values in parse_pairs(options.where, "--where").items()}
    columns = parse_pairs(options.column, "--column")
    report = prepare_folder(Path(options.table), Path(options.out), columns, conditions, _make_film_check(options))
    _print_report(report, options.out)


def _prepare_mimic(options) -> None:
    from ..data.prepare.mimic import prepare_mimic

    ed = Path(options.ed) if options.ed else None
    report = prepare_mimic(Path(options.cxr), Path(options.iv), Path(options.out), ed, _make_film_check(options))
    _print_report(report, options.out)


def _prepare_release(options) -> None:
    """Prepare a data set that is one folder, as released."""
    from ..data.prepare import RELEASES

    prepare = RELEASES[options.kind]
    _print_report(prepare(Path(options.dir), Path(options.out), options.seed, _make_film_check(options)), options.out)


def _prepare_dicom(options) -> None:
    from ..data.prepare import prepare_dicom

    salt = _read_salt(Path(options.salt[1:])) if options.salt.startswith("@") else options.salt
    labels = Path(options.labels) if options.labels else None
    check = _make_film_check(options)
    report = prepare_dicom(
        Path(options.dir), Path(options.out), salt, labels, seed=options.seed, processes=options.processes, check=check
    )
    _print_report(report, options.out)


def _read_salt(path: Path) -> str:
    """Read the salt from a file. Raises ValueError."""
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        raise ValueError(
            f"The salt cannot be read from {path}. Write any 8 characters or more into that file."
        ) from None


def _make_film_check(options):
    from ..data.prepare.films import FilmCheck

    return FilmCheck(whole=not options.quick, accept=options.accept, progress=make_progress_bar("judging films"))


def _print_report(report, out: str) -> None:
    for line in report.format_lines():
        print(line)
    print(f"wrote {out} and {Path(out).stem}-report.json")
