"""The command `diff3m evaluate`: scores and metrics of a manifest."""

from __future__ import annotations

from pathlib import Path

from ..evaluation.format import format_interval
from .options import add_accept_option, add_command, add_model_options, add_walk_options, positive_int
from .terminal import load_detector, make_progress_bar, print_exclusions


def add_parser(commands) -> None:
    """Add the command and its options."""
    command = add_command(
        commands,
        "evaluate",
        run,
        "Score a manifest; write metrics.json, scores.csv and the table of subgroups. Runs in many processes under "
        "`accelerate launch`.",
    )
    command.add_argument("--manifest", required=True, metavar="CSV")
    command.add_argument("--out", required=True, metavar="DIR", help="a run that was ended goes on from what is there")
    command.add_argument("--limit", type=positive_int, default=None, metavar="N", help="only the first N rows")
    command.add_argument("--batch-size", type=positive_int, default=16)
    command.add_argument(
        "--card",
        action="store_true",
        help="also write the table of subgroups into the checkpoint's model card, which the page shows under About",
    )
    add_accept_option(command)
    add_model_options(command)
    add_walk_options(command)


def run(options) -> None:
    """Score a manifest and print its metrics."""
    from ..evaluation.run import evaluate
    from ..evaluation.shards import join_processes

    with join_processes() as processes:
        detector = load_detector(options)
        metrics = evaluate(
            detector,
            options.manifest,
            options.out,
            options.limit,
            options.batch_size,
            make_progress_bar("evaluating") if processes.is_first else None,
            options.accept,
            processes,
            noise_level=options.noise_level,
            steps=options.steps,
            seed=options.seed,
        )
    if metrics is None:
        return
    print(f"{metrics['films']} labelled films: {metrics['normal']} normal, {metrics['abnormal']} abnormal")
    print_exclusions(metrics)
    if metrics["duplicates"]:
        print(f"{metrics['duplicates']} rows name a film that an earlier row names too; each row counts in the metrics")
    _print_metrics("all", metrics)
    for label, part in metrics["labels"].items():
        _print_metrics(label, part)
    table = (Path(options.out) / "subgroups.md").read_text(encoding="utf-8")
    print(table)
    print(f"wrote {Path(options.out) / 'metrics.json'}, scores.csv, subgroups.json and subgroups.md")
    if options.card:
        from ..evaluation.subgroups import write_card_section

        films = (
            f"{metrics['films']} labelled films of `{Path(options.manifest).name}`, {metrics['normal']} of them normal."
        )
        print(f"wrote {write_card_section(detector.checkpoint.saved_folder, table, films)}")


def _print_metrics(name: str, metrics: dict) -> None:
    def with_interval(key: str) -> str:
        return format_interval({key: metrics[key], "interval": metrics[f"{key}_interval"]}, key, ".3f")

    print(f"{name:>16}: AUROC within view {with_interval('auroc_within_view')}, views mixed {with_interval('auroc')}")
    print(
        f"{'':>16}  average precision within view {with_interval('average_precision_within_view')}, "
        f"views mixed {with_interval('average_precision')}"
    )
