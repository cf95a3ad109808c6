"""What commands share: the detector, the record from flags and header, progress bars."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence

from .options import EHR_FLAGS

LOG_SECONDS = 60.0  # between the lines of a bar that is written to a file


def load_detector(options, source: str | None = None):
    """Load the detector that --checkpoint (or `source` instead), --device and --precision name.

    Of several processes that a launcher starts on a machine, each takes a GPU of its own.
    """
    from ..detector import Detector

    device = options.device or select_gpu()
    return Detector.from_pretrained(source or options.checkpoint, device=device, precision=options.precision)


def select_gpu() -> str | None:
    """Return the GPU of this process where a launcher started several on a machine; None leaves it to the detector."""
    import torch

    rank = os.environ.get("LOCAL_RANK")
    if rank is None or not torch.cuda.is_available():
        return None
    return f"cuda:{int(rank) % torch.cuda.device_count()}"


def get_bar_settings() -> dict[str, float]:
    """Return settings of `tqdm`: where stderr is a file, a line every `LOG_SECONDS`, and none for shorter work."""
    return {} if sys.stderr.isatty() else {"delay": LOG_SECONDS, "mininterval": LOG_SECONDS}


def make_progress_bar(label: str, unit: str = "film") -> Callable[[int, int], None]:
    """Return a report(done, total) that draws a progress bar on stderr, see `get_bar_settings`."""
    from tqdm import tqdm

    progress = tqdm(desc=label, unit=unit, leave=False, **get_bar_settings())

    def report(done: int, total: int) -> None:
        progress.total = total
        progress.update(done - progress.n)
        if done >= total:
            progress.close()

    return report


def make_stage_progress_bars() -> Callable[[str, int, int], None]:
    """Return a report(stage, done, total) with a bar for each stage."""
    bars: dict[str, Callable[[int, int], None]] = {}

    def report(stage: str, done: int, total: int) -> None:
        if stage not in bars:
            bars[stage] = make_progress_bar(stage)
        bars[stage](done, total)

    return report


def print_exclusions(counts: Mapping[str, int]) -> None:
    """Print how many films of a manifest were stopped by the gate, accepted in spite of it, or unreadable."""
    if counts["stopped"]:
        print(f"{counts['stopped']} films were stopped by the gate; --accept takes them too, scores.csv says why")
    if counts["accepted"]:
        print(f"{counts['accepted']} films that the gate stops were judged knowingly (--accept)")
    if counts["unreadable"]:
        print(f"{counts['unreadable']} films could not be read; scores.csv says why")


def read_record(film, detector, options) -> tuple[dict, dict]:
    """Read the record from a command's options and the film's header.

    Returns the values by feature name, and those of them that come from the header. Raises ValueError for a feature
    that the checkpoint does not have.
    """
    flags = {feature: getattr(options, f"ehr_{feature}") for feature, _ in EHR_FLAGS.values()}
    values = {feature: value for feature, value in flags.items() if value is not None} | parse_pairs(
        options.ehr, "--ehr"
    )
    unknown = [name for name in values if name not in detector.schema]
    if unknown:
        raise ValueError(
            f"This checkpoint has no feature {', '.join(unknown)}; it knows {', '.join(detector.schema.names)}."
        )
    facts = {} if options.no_header else film.facts
    facts = {name: value for name, value in facts.items() if name in detector.schema and name not in values}
    return {**facts, **values}, facts


def parse_pairs(items: Sequence[str], flag: str) -> dict[str, str]:
    """Split ["a=b", …] into {"a": "b"}. Raises ValueError that names the flag."""
    values = {}
    for item in items:
        name, equals, value = item.partition("=")
        if not equals or not name:
            raise ValueError(f"{flag} takes NAME=VALUE, got {item!r}")
        values[name] = value
    return values
