"""Notes beside a result, by code. Their words stand here alone; JSON, command line and page show these sentences."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .case import Case
from .checkpoint.folder import CheckpointConfig
from .ehr import ADULT_AGE, is_adult

if TYPE_CHECKING:
    from .analysis import Placement, Settings

NOTES = {
    "not_calibrated": ("This model was not calibrated on normal films, so there is no score: run `diff3m calibrate`."),
    "other_settings": "The percentile was calibrated with {steps} steps; with other settings it is approximate.",
    "feature_unknown": (
        "{features}: not known, so whether the film fits it is left out of the score, "
        "and the percentile is approximate."
    ),
    "minor": "The patient is under {age}; the model knows adult films only.",
    "features_ignored": "Not used by this model: {features}.",
}


def note(code: str, **values: object) -> str:
    """Return the sentence of a note, with its values filled in."""
    return NOTES[code].format(**values)


def notes_on(case: Case, placement: Placement, settings: Settings, config: CheckpointConfig) -> tuple[str, ...]:
    """Return the sentences that belong beside an analysis: of the film, then of the score and the record."""
    schema, scoring, record = config.schema, config.scoring, case.record
    notes = list(case.film.notes)
    if placement.score is None:
        notes.append(note("not_calibrated"))
    else:
        if (settings.steps, settings.estimate) != (scoring.steps, scoring.estimate):
            notes.append(note("other_settings", steps=scoring.steps))
        features = {component.feature for component in scoring.components if component.feature}
        if unknown := sorted(name for name in features if record.get(name) is None):
            notes.append(note("feature_unknown", features=", ".join(schema[name].label for name in unknown)))
    age = record.get("age")
    if (
        age is not None and not is_adult(float(age)) and "age" not in case.film.facts
    ):  # else the film's own note says it
        notes.append(note("minor", age=ADULT_AGE))
    if labels := [feature.label for feature in schema.ignored_features(record)]:
        notes.append(note("features_ignored", features=", ".join(labels)))
    return tuple(notes)
