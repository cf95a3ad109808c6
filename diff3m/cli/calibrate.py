"""The command `diff3m calibrate`: the scale of scores and percentiles, written into a checkpoint."""

from __future__ import annotations

from .options import add_accept_option, add_command
from .terminal import bar


def add_parser(commands) -> None:
    """Add the command and its options."""
    command = add_command(
        commands, "calibrate", run, "Measure normal films, so that scores and percentiles have a scale."
    )
    command.add_argument("checkpoint", help="checkpoint folder; its config.json is rewritten")
    command.add_argument("--manifest", required=True, metavar="CSV", help="normal films that training never saw")
    add_accept_option(command)
    what = command.add_mutually_exclusive_group()
    what.add_argument(
        "--score",
        default=None,
        metavar="FILE",
        help="YAML or JSON of components and settings, in place of the checkpoint's score (see docs/train.md)",
    )
    what.add_argument(
        "--fit", action="store_true", help="measure how films fit their record, for explanations, instead of scores"
    )


def run(options) -> None:
    """Calibrate a checkpoint's score, or the fit of its records."""
    from ..checkpoint.folder import save_scoring
    from ..detector import Detector
    from ..evaluation.calibration import calibrate_on_normals
    from ..scoring.score_file import read_score

    detector = Detector.from_pretrained(options.checkpoint)
    if options.fit:
        _calibrate_fit(detector, options.manifest, options.accept)
        return
    scoring = read_score(options.score, detector.scoring) if options.score else None
    calibrated = calibrate_on_normals(detector, options.manifest, scoring, bar("calibrating"), options.accept)
    save_scoring(detector.checkpoint.folder, calibrated)
    for view, entry in calibrated.calibration:
        print(f"{view:>4}: {entry.count} normal films")
    print(f"wrote {detector.checkpoint.folder / 'config.json'}")


def _calibrate_fit(detector, manifest: str, accept: bool) -> None:
    from ..data.manifest import normal_cases
    from ..detector import Detector
    from ..explain import calibrate_fit, calibrate_usual

    normals = normal_cases(manifest, detector.schema)
    cases = [(case.path, case.record) for case in normals if accept or _passes_gate(case.path)]
    for entry in calibrate_fit(detector, cases, report=bar("calibrating")):
        print(f"{entry.group}: {entry.count} normal films, noise level {entry.level}")
    fitted = Detector.from_pretrained(detector.checkpoint.folder)
    for group, usual in calibrate_usual(fitted, cases, report=bar("what is usual")).items():
        print(f"{group}: moves normal by {usual:.2f} in half of the people")


def _passes_gate(path) -> bool:
    """Whether the gate lets a film pass; an unreadable one goes on to its own error."""
    from ..imaging import GateError, RadiographError, read_film

    try:
        read_film(path)
    except GateError:
        return False
    except RadiographError:
        pass
    return True
