"""Lessons of a teacher's own: the rows of a case set that ask a question."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from diff3m.detector import Detector
from diff3m.imaging import RadiographError

from ...components.viewer import ViewerState
from ...render import panels, wording
from ..folder_set import FolderSet
from ..set_examples import make_case_id
from ..teach_films import make_analyzed_film, make_plain_film
from ..truth import describe_truth, make_truth_findings
from . import answers
from .lesson import Lesson, Step


def make_own_lessons(sets: Sequence[FolderSet]) -> tuple[Lesson, ...]:
    """Return a lesson for each row with a question."""
    return tuple(
        _make_lesson(cases, index) for cases in sets for index, entry in enumerate(cases.entries) if entry.question
    )


def _make_lesson(cases: FolderSet, index: int) -> Lesson:
    entry = cases.entries[index]
    title = entry.title or f"Film {index + 1}"

    def show() -> ViewerState:
        try:
            pixels = cases.read_case(index).pixels
        except RadiographError:  # the answer says so
            return ViewerState(description="The film cannot be read")
        return ViewerState(make_plain_film(pixels, title), description=title)

    def answer(detector: Detector | None) -> Iterator[Step]:
        try:
            case = cases.read_case(index)
            analysis = cases.analyze(index, case)
        except ValueError as error:
            yield Step(panels.status_line(str(error), alert=True))
            return
        film = make_analyzed_film(case.pixels, analysis, cases.detector, make_truth_findings(case), name=title)
        places = answers.places_text(answers.find_outstanding_places(analysis, cases.detector))
        model = " ".join(
            (
                wording.score_sentence(analysis),
                f"Places that stand out: {places}.",
                answers.describe_record_fit(analysis, cases.detector),
            )
        )
        text = answers.card("The answer", " ".join(filter(None, (case.answer, *describe_truth(case)))))
        yield Step(text + answers.card("The model", model), ViewerState(film, description=title))

    return Lesson(make_case_id(cases, entry.name), f"{cases.title}: {title}", entry.question, (), "", show, answer)
