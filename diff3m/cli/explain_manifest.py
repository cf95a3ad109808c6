"""`diff3m explain --manifest`: every explanation of every film of a manifest, in parts over many processes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from .options import EHR_FLAGS
from .terminal import load_detector, make_progress_bar

RUN_KEYS = ("notice", "checkpoint", "precision", "versions", "date")  # the same for all rows


def explain_manifest(options, request) -> int:
    """Write explanations.jsonl, one line for each film in order, and run.json, the provenance of all of them.

    request: `explain.Request` for every film. The lines of films that cannot be read, or that the gate stops, have
    "error" instead of explanations. Returns the exit status, 1 where no film could be explained. Raises ValueError for
    options that only one film has, ManifestError or ShardError.
    """
    import pyarrow as pa

    from ..data.manifest import Manifest
    from ..evaluation.run import describe_run
    from ..evaluation.shards import Parts, join_processes
    from ..export.files import NOTICE, describe_provenance, write_json

    _check_options(options)
    out = Path(options.out)
    with join_processes() as processes:
        detector = load_detector(options)
        rows = Manifest(options.manifest, detector.schema)
        identity = describe_run(detector, options.manifest, request=repr(request), accept=options.accept)
        schema = pa.schema([("line", pa.string()), ("error", pa.string())])
        parts = Parts(out / "parts", len(rows), 1, schema, identity)

        def explain(part) -> Iterator[dict]:
            return (_explain_row(detector, case, request, options.accept) for case in part)

        parts.compute(rows.cases, explain, processes, make_progress_bar("explaining") if processes.is_first else None)
        if not processes.is_first:
            return 0
    failures = 0
    with (out / "explanations.jsonl").open("w", encoding="utf-8") as file:
        for row in parts.read_rows():
            file.write(row["line"] + "\n")
            failures += bool(row["error"])
    write_json(out / "run.json", {"notice": NOTICE, **describe_provenance(detector)})
    parts.remove()
    print(f'{len(rows) - failures} of {len(rows)} films were explained; the others say why under "error"')
    print(f"wrote {out / 'explanations.jsonl'} and run.json")
    print(NOTICE)
    return 1 if failures == len(rows) else 0


def _check_options(options) -> None:
    """Raise ValueError for options that only one film has."""
    if options.image:
        raise ValueError("Give one film or a --manifest, not both.")
    if not options.out:
        raise ValueError("With --manifest, --out names the folder for explanations.jsonl.")
    if options.json:
        raise ValueError("--json is of one film; with --manifest, explanations.jsonl is written into --out.")
    if options.ehr or any(getattr(options, f"ehr_{feature}") is not None for feature, _ in EHR_FLAGS.values()):
        raise ValueError("With --manifest, the records come from its columns: leave --age, --ehr and the like out.")


def _explain_row(detector, case, request, accept: bool) -> dict:
    """Explain one film of a manifest; return its line of JSON and its error, "" for none."""
    from ..evaluation.run import format_exclusion, prepare_case
    from ..explain import Context
    from ..export.explanations import explanations_to_dict
    from ..imaging import GateError, RadiographError

    line: dict = {"row": case.row, "path": str(case.path), "label": case.label}
    prepared, error = prepare_case(detector, case, accept), ""
    if isinstance(prepared, RadiographError):
        error = format_exclusion(case, prepared)
        line |= {"error": error, "stopped": isinstance(prepared, GateError)}
    else:
        context = Context(detector, prepared, request)
        for explanation in context.list_requested():
            context.attempt(explanation.name)
        line |= {name: value for name, value in explanations_to_dict(context).items() if name not in RUN_KEYS}
        line["notes"] = [*line["notes"], *case.notes]
    return {"line": json.dumps(line, ensure_ascii=False), "error": error}
