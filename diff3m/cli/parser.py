"""The command line's arguments: every command adds its own."""

from __future__ import annotations

import argparse

from . import analyze, benchmark, calibrate, evaluate, explain, phantom, prepare, released, search_score, train


def build_parser() -> argparse.ArgumentParser:
    """Build the parser of all commands; the parsed options hold the function to call as `run`."""
    parser = argparse.ArgumentParser(
        prog="diff3m", description="Anomaly detection on chest X-rays, conditioned on the patient's record."
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    analyze.add_parser(commands)
    explain.add_parser(commands)
    evaluate.add_parser(commands)
    train.add_parser(commands)
    calibrate.add_parser(commands)
    search_score.add_parser(commands)
    prepare.add_parser(commands)
    phantom.add_parser(commands)
    benchmark.add_parser(commands)
    released.add_parser(commands)
    return parser
