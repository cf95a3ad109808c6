"""The command `diff3m analyze`: one film, its score, percentile and attention."""

from __future__ import annotations

from .options import add_case_options, add_command, add_model_options, add_walk_options
from .terminal import load_detector, make_progress_bar, read_record


def add_parser(commands) -> None:
    """Add the command and its options."""
    command = add_command(commands, "analyze", run, "Analyze one radiograph (DICOM, PNG, JPEG, WebP or TIFF).")
    add_case_options(command)
    command.add_argument("--json", default=None, metavar="FILE", help="write score, percentile, attention and settings")
    command.add_argument(
        "--out",
        default=None,
        metavar="DIR",
        help="write film, normal film, difference, reconstruction and residual as PNG",
    )
    add_model_options(command)
    add_walk_options(command)


def run(options) -> None:
    """Analyze one film, print the result and write the files that the options name."""
    from ..export.files import NOTICE, analysis_to_dict, write_json, write_pictures
    from ..imaging import read_film

    film = read_film(options.image, options.accept)
    detector = load_detector(options)
    record, facts = read_record(film, detector, options)
    report = make_progress_bar("analyzing", "step")
    analysis = detector.analyze(
        film,
        record,
        noise_level=options.noise_level,
        steps=options.steps,
        seed=options.seed,
        callback=lambda progress: report(progress.done, progress.total),
    )
    if options.json:
        write_json(options.json, analysis_to_dict(analysis, detector))
    paths = write_pictures(options.out, analysis, detector.scoring) if options.out else []
    _print_analysis(analysis, detector, facts)
    for path in paths:
        print(f"wrote {path}")
    print(NOTICE)


def _print_analysis(analysis, detector, facts: dict) -> None:
    from ..analysis import format_percentile

    if analysis.score is not None:
        against = f"{analysis.compared_with} " if analysis.compared_with != "any" else ""
        print(f"anomaly score  {analysis.score:+.2f}  (0 = an average normal film, in standard deviations)")
        percentile = format_percentile(analysis.percentile, analysis.normals)
        print(f"percentile     {percentile}  (the share of {analysis.normals} normal {against}films that score lower)")
    for group, weights in analysis.attention.items():
        print(f"attention over {group}, summing to 1")
        for name, weight in weights.items():
            feature = detector.schema[name]
            origin = " (from the header)" if name in facts else ""
            print(f"  {feature.label:<20} {weight:.3f}  {feature.describe(analysis.record[name])}{origin}")
    for note in analysis.notes:
        print(f"note: {note}")
    seconds = sum(analysis.seconds.values())
    print(f"{detector.config.name}, {seconds:.2f} s, {detector.precision} on {detector.device.type}")
