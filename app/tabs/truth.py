"""What is known of a film, for the viewer and in words: marked places, a label of the whole film, or nothing."""

from __future__ import annotations

from diff3m.data.manifest import NORMAL

from ..components.viewer import ViewerFinding
from ..render import wording
from .case_set import ReadingCase


def make_truth_findings(case: ReadingCase) -> tuple[ViewerFinding, ...]:
    """Return the known places as outlines of the viewer."""
    return tuple(ViewerFinding(f"{truth.label}, the truth", "", truth.box, truth.outline) for truth in case.truths)


def describe_truth(case: ReadingCase) -> list[str]:
    """Return what the film shows, as far as it is known."""
    if case.truths:
        labels = list(dict.fromkeys(truth.label for truth in case.truths))
        return [f"The truth: {wording.join_words(labels)}, outlined."]
    if case.is_counted:
        return ["The truth: a normal film."]
    if case.label and case.label != NORMAL:
        return [f"The label says {case.label}; nobody marked the place, so the film is not counted."]
    return ["What is on this film is not known: the table gives no box and no label, so the film is not counted."]
