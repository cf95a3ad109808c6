"""The command `diff3m phantom`: simulated chest films."""

from __future__ import annotations

from pathlib import Path

from .options import add_command, positive_int
from .terminal import make_progress_bar, parse_pairs


def add_parser(commands) -> None:
    """Add the command and its options."""
    command = add_command(
        commands,
        "phantom",
        run,
        "Simulate chest films whose anatomy follows from the record; write films, masks and a manifest.",
    )
    command.add_argument("--n", type=positive_int, required=True, metavar="N", help="how many")
    command.add_argument("--size", type=positive_int, default=256, help="pixels a side (default 256)")
    command.add_argument(
        "--seed", type=int, default=0, help="number of the first person; the same number is the same person"
    )
    command.add_argument(
        "--lesions", type=float, default=0.0, metavar="SHARE", help="share of films with a lesion, 0 to 1"
    )
    command.add_argument(
        "--counterfactual",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="also each person under another record, e.g. bmi=35",
    )
    command.add_argument(
        "--ignored",
        default=None,
        metavar="NAME",
        help="also a column of random numbers on which nothing in a film depends",
    )
    command.add_argument("--out", required=True, metavar="DIR")


def run(options) -> None:
    """Render and write a cohort of phantoms."""
    from ..data.phantom import write_cohort

    table = write_cohort(
        Path(options.out),
        options.n,
        options.size,
        options.seed,
        lesions=options.lesions,
        counterfactual=parse_pairs(options.counterfactual, "--counterfactual"),
        ignored_column=options.ignored,
        report=make_progress_bar("rendering"),
    )
    normal = int((table["label"] == "normal").sum())
    print(f"wrote {Path(options.out) / 'manifest.csv'}: {normal} normal phantoms, {len(table) - normal} with a lesion")
