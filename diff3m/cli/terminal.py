"""What commands share: the detector, the record from flags and header, progress bars."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence

from tqdm import tqdm

from .parser import EHR_FLAGS

LOG_SECONDS = 60.0  # between the lines of a bar that is written to a file


def detector_for(options, source: str | None = None):
    """The detector that --checkpoint (or `source` instead), --device and --precision name."""
    from ..detector import Detector

    return Detector.from_pretrained(source or options.checkpoint, device=options.device, precision=options.precision)


def seldom() -> dict[str, float]:
    """Settings of a bar: in a file it is a line a minute, and none of what ends sooner."""
    return {} if sys.stderr.isatty() else {"delay": LOG_SECONDS, "mininterval": LOG_SECONDS}


def bar(label: str) -> Callable[[int, int], None]:
    """A report(done, total) that draws a progress bar on a terminal's stderr, `seldom` in a file."""
    drawn = tqdm(desc=label, unit="film", leave=False, **seldom())

    def report(done: int, total: int) -> None:
        drawn.total = total
        drawn.update(done - drawn.n)
        if done >= total:
            drawn.close()

    return report


def stage_bars() -> Callable[[str, int, int], None]:
    """A report(stage, done, total) with a bar for each stage."""
    bars: dict[str, Callable[[int, int], None]] = {}

    def report(stage: str, done: int, total: int) -> None:
        bars.setdefault(stage, bar(stage))(done, total)

    return report


def record_for(film, detector, options) -> tuple[dict, dict]:
    """The record of a command: (values by name, those of them that came from the film's header). Raises ValueError."""
    given = {feature: getattr(options, f"ehr_{feature}") for feature, _ in EHR_FLAGS.values()}
    given = {feature: value for feature, value in given.items() if value is not None} | pairs(options.ehr, "--ehr")
    unknown = [name for name in given if name not in detector.schema]
    if unknown:
        raise ValueError(
            f"This checkpoint has no feature {', '.join(unknown)}; it knows {', '.join(detector.schema.names)}."
        )
    facts = (
        {}
        if options.no_header
        else {name: value for name, value in film.facts.items() if name in detector.schema and name not in given}
    )
    return {**facts, **given}, facts


def pairs(items: Sequence[str], flag: str) -> dict[str, str]:
    """["a=b", …] → {"a": "b"}."""
    found = {}
    for item in items:
        name, equals, value = item.partition("=")
        if not equals or not name:
            raise ValueError(f"{flag} takes NAME=VALUE, got {item!r}")
        found[name] = value
    return found
