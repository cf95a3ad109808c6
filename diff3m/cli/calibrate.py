"""The command `diff3m calibrate`: the scale of scores and percentiles, written into a checkpoint."""

from __future__ import annotations

from dataclasses import replace

from .options import add_accept_option, add_command
from .terminal import make_progress_bar, make_stage_progress_bars, select_gpu


def add_parser(commands) -> None:
    """Add the command and its options."""
    command = add_command(
        commands,
        "calibrate",
        run,
        "Measure normal films, so that scores and percentiles have a scale. Runs in many processes under `accelerate "
        "launch`.",
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
    from ..detector import Detector
    from ..evaluation.shards import join_processes

    with join_processes() as processes:
        detector = Detector.from_pretrained(options.checkpoint, device=select_gpu())
        calibrate = _calibrate_fit if options.fit else _calibrate_score
        calibrate(detector, options, processes)


def _calibrate_score(detector, options, processes) -> None:
    from ..checkpoint.folder import save_scoring
    from ..evaluation.calibration import calibrate_on_normals
    from ..scoring.score_file import read_score

    scoring = read_score(options.score, detector.scoring) if options.score else None
    folder = detector.checkpoint.saved_folder
    report = make_progress_bar("calibrating") if processes.is_first else None
    scoring = calibrate_on_normals(
        detector, options.manifest, scoring, report, options.accept, folder / "calibration-parts", processes
    )
    if not processes.is_first:
        return
    save_scoring(folder, scoring)
    for view, entry in scoring.calibration:
        print(f"{view:>4}: {entry.count} normal films")
    print(f"wrote {folder / 'config.json'}")


def _calibrate_fit(detector, options, processes) -> None:
    from ..checkpoint.folder import write_config
    from ..evaluation.fit_calibration import calibrate_fit_on_normals

    folder = detector.checkpoint.saved_folder
    report = make_stage_progress_bars() if processes.is_first else None
    calibration = calibrate_fit_on_normals(detector, options.manifest, folder, report, options.accept, processes)
    if not processes.is_first:
        return
    write_config(folder, replace(detector.config, fit=calibration.fit, prior_fit=calibration.prior_fit))
    for fit in calibration.fit:
        print(f"{fit.group}: {fit.count} normal films, noise level {fit.level}")
    for fit in calibration.prior_fit:
        if fit.movements:
            middle = fit.movements[len(fit.movements) // 2]
            print(f"{fit.group}: moves normal by up to {middle:.2f} alone in half of the people")
    print(f"wrote {folder / 'config.json'}")
