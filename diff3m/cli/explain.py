"""The command `diff3m explain`: computes every explanation of the registry in turn and prints each as it comes."""

from __future__ import annotations

import sys

from .terminal import detector_for, pairs, record_for


def explain(options) -> int:
    """Print and write all explanations; returns the exit status.

    One that cannot be given is named on stderr and makes the status 1; the others are not lost. A wrong request is
    refused before anything is computed.
    """
    from ..case import open_film
    from ..explain import Context, Request
    from ..export.explanations import explanations_to_dict, write_explanation_pictures
    from ..export.files import NOTICE, write_json

    film = open_film(options.image)
    detector = detector_for(options)
    record, _ = record_for(film, detector, options)
    # one by one, because a feature may be changed twice
    changes = [change for item in options.change for change in pairs([item], "--change").items()]
    request = Request(
        targets=tuple(options.target.split(",")),
        numbers=tuple(options.curve),
        changes=tuple(changes),
        box=None if options.box is None else tuple(options.box),
        pictures=bool(options.out),
    )
    context = Context(detector, detector.case(film, record), request)
    for explanation in context.requested():
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
