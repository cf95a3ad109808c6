"""The command `diff3m prepare`: a data set as a manifest."""

from __future__ import annotations

from pathlib import Path

from .options import add_command
from .terminal import pairs


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
    for name, text, run in (
        ("chexpert", "CheXpert, demographics only", _prepare_chexpert),
        ("nih", "NIH ChestX-ray14, demographics only", _prepare_nih),
    ):
        kind = kinds.add_parser(name, help=text)
        kind.set_defaults(run=run)
        kind.add_argument("--dir", required=True, metavar="DIR", help="as released")
        kind.add_argument("--out", required=True, metavar="MANIFEST")
        kind.add_argument("--seed", type=int, default=0, help="of the split of patients, where the release has none")
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
            "--decode",
            action="store_true",
            help="read every image whole, so that training will not stop at a damaged one (slow)",
        )


def _prepare_folder(options) -> None:
    from ..data.prepare.folder import manifest_from_table

    where = {name: set(values.split(",")) for name, values in pairs(options.where, "--where").items()}
    _print_report(
        manifest_from_table(
            Path(options.table), Path(options.out), pairs(options.column, "--column"), where, options.decode
        ),
        options.out,
    )


def _prepare_mimic(options) -> None:
    from ..data.prepare.mimic import prepare_mimic

    ed = Path(options.ed) if options.ed else None
    _print_report(
        prepare_mimic(Path(options.cxr), Path(options.iv), Path(options.out), ed, options.decode), options.out
    )


def _prepare_chexpert(options) -> None:
    from ..data.prepare.open_sets import prepare_chexpert

    _print_report(prepare_chexpert(Path(options.dir), Path(options.out), options.seed, options.decode), options.out)


def _prepare_nih(options) -> None:
    from ..data.prepare.open_sets import prepare_nih

    _print_report(prepare_nih(Path(options.dir), Path(options.out), options.seed, options.decode), options.out)


def _print_report(report, out: str) -> None:
    for line in report.lines():
        print(line)
    print(f"wrote {out} and {Path(out).stem}-report.json")
