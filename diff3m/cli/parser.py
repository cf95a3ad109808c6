"""The command line's arguments: every command adds its own."""

from __future__ import annotations

import argparse

from . import analyze, benchmark, calibrate, evaluate, head, phantom, prepare, released, search_score, train
from .explain import explain
from .options import add_case_options, add_command, add_model_options


def build_parser() -> argparse.ArgumentParser:
    """Build the parser of all commands; the parsed options hold the function to call as `run`."""
    parser = argparse.ArgumentParser(
        prog="diff3m", description="Anomaly detection on chest X-rays, conditioned on the patient's record."
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    analyze.add_parser(commands)
    _add_explain(commands)
    evaluate.add_parser(commands)
    train.add_parser(commands)
    head.add_parser(commands)
    calibrate.add_parser(commands)
    search_score.add_parser(commands)
    prepare.add_parser(commands)
    phantom.add_parser(commands)
    benchmark.add_parser(commands)
    released.add_parser(commands)
    return parser


def _add_explain(commands) -> None:
    command = add_command(
        commands,
        "explain",
        explain,
        "What the record does to the opinion on one radiograph: attributions, fit, information, influence curves.",
    )
    add_case_options(command)
    command.add_argument(
        "--target",
        default="misfit,expectation,prior",
        help="any of misfit, expectation, prior and score, with commas (default: the first three; score takes longer)",
    )
    command.add_argument(
        "--curve", action="append", default=[], metavar="NAME", help="also an influence curve of a number, e.g. bmi"
    )
    command.add_argument(
        "--change",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="also what normal looks like under this change of the record, e.g. bmi=38",
    )
    command.add_argument(
        "--box", type=float, nargs=4, default=None, metavar=("TOP", "LEFT", "BOTTOM", "RIGHT"),
        help="a region to explain, as shares of the film (default: around the largest difference)",
    )  # fmt: skip
    command.add_argument("--json", default=None, metavar="FILE", help="write everything but the pictures")
    command.add_argument(
        "--out", default=None, metavar="DIR", help="write maps, normals under other records and strips of curves as PNG"
    )
    add_model_options(command)
