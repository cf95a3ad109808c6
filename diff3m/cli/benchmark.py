"""The commands `diff3m benchmark …`: run a measurement and print its result."""

from __future__ import annotations

from pathlib import Path

from ..evaluation import BASELINES, RELEASED_STRIDE
from ..evaluation.format import format_interval, format_share
from .options import add_accept_option, add_command, add_model_options, positive_int
from .terminal import load_detector, make_stage_progress_bars, print_exclusions


def add_parser(commands) -> None:
    """Add the command and its kinds."""
    command = add_command(
        commands, "benchmark", None, "Measure a checkpoint beside other methods, or where the truth is known."
    )
    kinds = command.add_subparsers(dest="kind", required=True, metavar="KIND")
    _add_phantoms(kinds)
    _add_films(kinds)
    _add_explanations(kinds)


def _add_phantoms(kinds) -> None:
    phantoms = kinds.add_parser(
        "phantoms", help="detection, localization and counterfactuals on simulated patients that training never saw"
    )
    phantoms.set_defaults(run=_run_phantoms)
    phantoms.add_argument("--out", required=True, metavar="DIR", help="phantoms.json is written here")
    phantoms.add_argument("--normals", type=positive_int, default=200, help="normal phantoms")
    phantoms.add_argument("--each", type=positive_int, default=50, help="phantoms of each kind of lesion")
    phantoms.add_argument(
        "--people", type=positive_int, default=60, help="people whose films are compared under other records"
    )
    phantoms.add_argument(
        "--films", default=None, metavar="MANIFEST", help="also compare phantoms with these real films"
    )
    add_model_options(phantoms, default="phantoms")


def _add_films(kinds) -> None:
    films = kinds.add_parser(
        "films",
        help="detection on real films beside PCA, autoencoder, AnoDDPM and the released inference; runs in many "
        "processes under `accelerate launch`",
    )
    films.set_defaults(run=_run_films)
    films.add_argument("--manifest", required=True, metavar="CSV", help="labelled films that nothing was trained on")
    films.add_argument(
        "--train", required=True, metavar="CSV", help="normal films that PCA and the autoencoder learn from"
    )
    films.add_argument(
        "--boxes",
        default=None,
        metavar="CSV",
        help="image, x, y, w, h in pixels; matched to the manifest's column `image`",
    )
    films.add_argument(
        "--halves",
        default=None,
        metavar="COLUMN",
        help="cut the films in two by the hash of this column, report each half too",
    )
    films.add_argument(
        "--simplex", default=None, metavar="CHECKPOINT", help="trained with `noise: simplex`, for AnoDDPM"
    )
    films.add_argument(
        "--released-stride",
        type=positive_int,
        default=RELEASED_STRIDE,
        metavar="N",
        help="every N-th timestep of the released loop (default: %(default)s)",
    )
    films.add_argument(
        "--baselines",
        nargs="+",
        choices=BASELINES,
        default=BASELINES,
        metavar="NAME",
        help=f"of {'; '.join(BASELINES)} (default: all)",
    )
    films.add_argument(
        "--out", required=True, metavar="DIR", help="films.json, films.md, scores.csv and films.svg are written here"
    )
    add_accept_option(films)
    add_model_options(films)


def _add_explanations(kinds) -> None:
    explanations = kinds.add_parser(
        "explanations", help="attributions and attention against known causes, on simulated patients"
    )
    explanations.set_defaults(run=_run_explanations)
    explanations.add_argument(
        "--out",
        required=True,
        metavar="DIR",
        help="explanations.json, explanations.md, explanations.svg and cases.csv are written here",
    )
    explanations.add_argument("--each", type=positive_int, default=100, help="phantoms with each group extreme")
    explanations.add_argument(
        "--with-oracle", type=positive_int, default=40, help="of those, how many the oracle explains too"
    )
    explanations.add_argument(
        "--ignored",
        nargs=2,
        default=None,
        metavar=("CHECKPOINT", "NAME"),
        help="also a checkpoint that was trained with a random column, and the column's name "
        "(see `diff3m phantom --ignored`)",
    )
    add_model_options(explanations, default="phantoms")


def _run_phantoms(options) -> None:
    from ..evaluation.phantoms import benchmark_phantoms
    from ..evaluation.realism import benchmark_realism

    detector = load_detector(options)
    result = benchmark_phantoms(
        detector, options.out, options.normals, options.each, options.people, make_stage_progress_bars()
    )
    for record, kinds in result["detection"].items():
        print(f"AUROC, {record} record: " + ", ".join(f"{kind} {entry['auroc']:.3f}" for kind, entry in kinds.items()))
    for other, kinds in result["gain"].items():
        print(
            f"AUROC, true above {other}: "
            + ", ".join(f"{kind} {format_interval(entry, 'difference')}" for kind, entry in kinds.items())
        )
    for record, entry in result["localization"].items():
        precision, dice = entry["average_precision"]["all"], entry["best_dice"]["all"]
        print(f"pixels, {record} record: average precision {precision:.3f}, best Dice {dice:.3f}")
    for record, kinds in result["twins"].items():
        everyone = kinds["all"]
        print(
            f"distance to the healthy twin, {record} record: in the lesion {everyone['before_inside']:.4f} before and "
            f"{everyone['after_inside']:.4f} after, elsewhere {everyone['after_outside']:.4f}"
        )
        if hearts := kinds.get("cardiomegaly"):
            print(
                f"width of large hearts against the twin's, {record} record: {hearts['before_heart']:.1%} of the film "
                f"before and {hearts['after_heart']:.1%} after"
            )
    for name, entry in result["counterfactual"]["features"].items():
        print(
            f"counterfactual {name}: correlation {format_interval(entry, 'correlation')}, "
            f"control {entry['control']:+.3f}"
        )
    if options.films:
        distances = benchmark_realism(options.films, detector.config.preprocessing, Path(options.out))
        histograms, spectra = distances["histogram_distance"], distances["spectrum_distance"]
        print(f"phantoms against real films: histograms {histograms:.3f}, spectra {spectra:.3f}")
    print(f"wrote {Path(options.out) / 'phantoms.json'}")


def _run_films(options) -> None:
    from ..evaluation.film_comparison import benchmark_films
    from ..evaluation.shards import join_processes

    with join_processes() as processes:
        result = benchmark_films(
            load_detector(options),
            options.manifest,
            options.train,
            options.out,
            options.boxes,
            options.halves,
            load_detector(options, options.simplex) if options.simplex else None,
            make_stage_progress_bars() if processes.is_first else lambda stage, done, total: None,
            options.baselines,
            options.released_stride,
            options.accept,
            processes,
        )
    if result is None:
        return
    print_exclusions(result)
    for part, labels in result["parts"].items():
        for label, entry in labels.items():
            print(f"{label} against normal, films of part {part}: AUROC within view (views mixed), seconds a film")
            for name, scores in entry["methods"].items():
                text = ", ".join(
                    f"{score} {format_share(values['auroc_within_view'])} ({format_share(values['auroc'])})"
                    for score, values in scores.items()
                )
                print(f"  {name:<24} {text}, {result['seconds_a_film'][name]:.2f} s")
            for name, difference in entry["difference"].items():
                print(f"  ours with the true record {name}: {format_interval(difference, 'difference')}")
    for name, labels in result["localization"].items():
        for label, entry in (labels or {}).items():
            for side in ("size", "brighter"):
                hits, precision = (entry[side][key]["mean"] for key in ("pointing_game", "average_precision"))
                print(
                    f"{name}, {label}, heat by {side}: pointing game {hits:.2f}, "
                    f"box average precision {precision:.2f}; chance {entry['chance']:.2f}"
                )
    print(f"wrote {Path(options.out) / 'films.json'}, films.md, scores.csv and films.svg")


def _run_explanations(options) -> None:
    from ..evaluation.explanation_truth import METHODS, benchmark_explanations

    detector, ignored_feature = load_detector(options), None
    if options.ignored:
        source, name = options.ignored
        ignored_feature = load_detector(options, source), name
    result = benchmark_explanations(
        detector,
        options.out,
        options.each,
        options.with_oracle,
        other_checkpoint=ignored_feature,
        report=make_stage_progress_bars(),
    )
    for name in METHODS:
        top = ", ".join(f"{group} {entry['share']:.2f}" for group, entry in result[name]["top_1"].items())
        rank = "".join(
            f"; rank correlation with the oracle, {kind} phantoms {format_interval(correlation, 'value')}"
            for kind, correlation in result[name]["rank_correlation"].items()
        )
        print(f"{name}: top-1 {top}{rank}")
    for feature, entry in result["influence"].items():
        print(f"influence of {feature}: sign agreement with the oracle {format_interval(entry, 'agreement')}")
    if ignored_feature:
        entry = result["ignored"]
        print(
            f"attribution of the ignored {entry['feature']}: {format_interval(entry, 'mean')}, "
            f"mean size {entry['size']:.2f}"
        )
    print(f"wrote {Path(options.out) / 'explanations.json'}")
