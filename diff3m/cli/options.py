"""Options that several commands share. Nothing heavy is imported here, so that `diff3m --help` answers at once."""

from __future__ import annotations

import argparse
from collections.abc import Callable

# the plain words of the paper's features; any feature of a checkpoint's schema can be given as --ehr NAME=VALUE
EHR_FLAGS = {
    "age": ("age", "years"),
    "sex": ("sex", "F or M"),
    "view": ("view", "PA or AP"),
    "bmi": ("bmi", "kg/m²; follows from height and weight"),
    "systolic": ("systolic_mmhg", "mmHg"),
    "diastolic": ("diastolic_mmhg", "mmHg"),
    "height-cm": ("height_cm", "cm"),
    "weight-kg": ("weight_kg", "kg"),
}


def add_command(commands, name: str, run: Callable | None, help_text: str) -> argparse.ArgumentParser:
    """Add a command.

    run: takes the parsed options; returns an exit status, or None for success. None where its own commands set it.
    """
    command = commands.add_parser(name, help=help_text, description=help_text)
    command.set_defaults(run=run)
    return command


def positive_int(text: str) -> int:
    """Parse a whole number of at least 1, as an argument's type."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, got {value}")
    return value


def add_model_options(command: argparse.ArgumentParser, default: str = "real-films") -> None:
    """Add --checkpoint, --device and --precision."""
    command.add_argument("--checkpoint", default=default, help=f"folder, shipped name or Hub id (default: {default})")
    command.add_argument("--device", default=None, help="cpu, cuda, … (default: a GPU if there is one)")
    command.add_argument("--precision", default="auto", choices=("auto", "float32", "bfloat16"))


def add_walk_options(command: argparse.ArgumentParser) -> None:
    """Add --steps, --noise-level and --seed."""
    command.add_argument("--steps", type=int, default=None, help="DDIM steps each way (default: the checkpoint's)")
    command.add_argument(
        "--noise-level", type=int, default=None, help="noise level of the shown reconstruction, 1 to 1000"
    )
    command.add_argument("--seed", type=int, default=0)


def add_accept_option(command: argparse.ArgumentParser) -> None:
    """Add --accept."""
    command.add_argument(
        "--accept",
        action="store_true",
        help="go on knowingly with what does not look like an upright frontal chest film; the result says so",
    )


def add_case_options(command: argparse.ArgumentParser, optional: bool = False) -> None:
    """Add the image, which may be optional, and the patient's record."""
    command.add_argument("image", nargs="?" if optional else None)
    add_accept_option(command)
    for flag, (feature, text) in EHR_FLAGS.items():
        metavar = flag.split("-")[0].upper()
        command.add_argument(f"--{flag}", dest=f"ehr_{feature}", default=None, metavar=metavar, help=text)
    command.add_argument(
        "--ehr", action="append", default=[], metavar="NAME=VALUE", help="any feature of the checkpoint's schema"
    )
    command.add_argument(
        "--no-header", action="store_true", help="ignore age, sex, view, height and weight in a DICOM header"
    )
