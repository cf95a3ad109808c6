"""The command `diff3m explain`: computes the explanations of the registry and prints each when it is ready."""

from __future__ import annotations

import sys

from .explain_manifest import explain_manifest
from .options import add_case_options, add_command, add_model_options
from .terminal import load_detector, parse_pairs, read_record


def add_parser(commands) -> None:
    """Add the command and its options."""
    command = add_command(
        commands,
        "explain",
        run,
        "What the record does to the opinion on one radiograph: attributions, fit, information, influence curves.",
    )
    add_case_options(command, optional=True)
    command.add_argument(
        "--manifest",
        default=None,
        metavar="CSV",
        help="explain all films of a manifest instead; runs in many processes under `accelerate launch`",
    )
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
        "--out",
        default=None,
        metavar="DIR",
        help="write maps, normals under other records and strips of curves as PNG; with --manifest, explanations.jsonl",
    )
    add_model_options(command)


def run(options) -> int:
    """Print and write all explanations; return the exit status.

    The status is 1 where an explanation cannot be computed; stderr says why, and the others are computed all the same.
    A wrong request is refused before anything is computed.
    """
    from ..explain import Context, Request
    from ..export.explanations import explanations_to_dict, write_explanation_pictures
    from ..export.files import NOTICE, write_json
    from ..imaging import read_film

    # one by one, because a feature may be changed twice
    changes = [change for item in options.change for change in parse_pairs([item], "--change").items()]
    request = Request(
        targets=tuple(options.target.split(",")),
        numbers=tuple(options.curve),
        changes=tuple(changes),
        box=None if options.box is None else tuple(options.box),
        pictures=bool(options.out) and not options.manifest,
    )
    if options.manifest:
        return explain_manifest(options, request)
    if not options.image:
        raise ValueError("There is no film: name one, or a --manifest.")
    film = read_film(options.image, options.accept)
    for note in film.notes:
        print(f"note: {note}")
    detector = load_detector(options)
    record, _ = read_record(film, detector, options)
    context = Context(detector, detector.case(film, record), request)
    for explanation in context.list_requested():
        failures = len(context.failures)
        result = context.attempt(explanation.name)
        for line in [] if result is None else explanation.describe(result):
            print(line)
        for failure in context.failures[failures:]:
            print(f"diff3m explain: {failure}", file=sys.stderr)
    if options.json:
        write_json(options.json, explanations_to_dict(context))
        print(f"wrote {options.json}")
    for path in write_explanation_pictures(options.out, context) if options.out else []:
        print(f"wrote {path}")
    print(NOTICE)
    return 1 if context.failures else 0
