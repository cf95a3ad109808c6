"""The command `diff3m search-score`: choose a score among candidates on labelled films."""

from __future__ import annotations

from .options import add_accept_option, add_command, add_model_options
from .terminal import load_detector, make_stage_progress_bars


def add_parser(commands) -> None:
    """Add the command and its options."""
    command = add_command(
        commands,
        "search-score",
        run,
        "Choose a score among candidates on labelled films: one half of the patients chooses, the other reports.",
    )
    command.add_argument(
        "--candidates", required=True, metavar="FILE", help="YAML or JSON of scores by name (see docs/train.md)"
    )
    command.add_argument("--manifest", required=True, metavar="CSV", help="normal films that training never saw")
    command.add_argument(
        "--labelled", required=True, metavar="CSV", help="films with label, view and patient; `normal` against the rest"
    )
    command.add_argument(
        "--out", required=True, metavar="DIR", help="score.yaml, candidates.csv and search.md are written here"
    )
    add_accept_option(command)
    add_model_options(command)


def run(options) -> None:
    """Search, print the tables and write them and the chosen score file."""
    from ..evaluation.score_search import format_search, search_score, write_search
    from ..scoring.score_file import read_candidates

    detector = load_detector(options)
    candidates = read_candidates(options.candidates, detector.scoring)
    result = search_score(
        detector, candidates, options.manifest, options.labelled, make_stage_progress_bars(), options.accept
    )
    paths = write_search(result, options.out)
    print(format_search(result))
    for path in paths:
        print(f"wrote {path}")
    print(f"Use it: diff3m calibrate CHECKPOINT --manifest {options.manifest} --score {paths[0]}")
