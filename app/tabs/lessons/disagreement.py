"""Lesson: the score and the map disagree. Films are analyzed until both kinds of disagreement are seen, or none is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from diff3m.analysis import Analysis
from diff3m.detector import Detector
from diff3m.findings import Finding as Place
from diff3m.scoring.score import UNUSUAL

from ...components.viewer import ViewerFilm, ViewerFinding, ViewerState
from ...render import wording
from ..teach_films import PhantomFilm, make_phantom_film
from . import answers
from .lesson import Lesson, Step

LOW_PRESSURE = {"systolic_mmhg": 95.0, "diastolic_mmhg": 60.0}


@dataclass(frozen=True)
class Candidate:
    """A phantom that may show a disagreement.

    number, lesion: of the phantom. record: changes to what the model knows.
    """

    name: str
    number: int
    lesion: str | None = None
    record: Mapping[str, object] | None = None

    @property
    def phantom(self) -> PhantomFilm:
        """The phantom's film."""
        return make_phantom_film(self.number, self.lesion)


CANDIDATES = (
    Candidate("1: nodule", 2_050_206, "nodule"),
    Candidate("2: healthy", 2_050_213),
    Candidate("3: healthy", 2_050_204),
    Candidate("4: opacity", 2_050_207, "opacity"),
    Candidate("5: healthy, record says 95/60 mmHg", 2_050_202, record=LOW_PRESSURE),
    Candidate("6: opacity", 2_050_200, "opacity"),
)


@dataclass(frozen=True)
class Outcome:
    """What score and map say of one candidate."""

    candidate: Candidate
    analysis: Analysis
    places: tuple[Place, ...]

    @property
    def is_unusual(self) -> bool:
        """Whether the score says so."""
        return (self.analysis.percentile or 0) >= UNUSUAL

    @property
    def percentile(self) -> str:
        """Its percentile as text."""
        return answers.percentile_text(self.analysis.percentile, self.analysis.normals)

    @property
    def agrees(self) -> bool:
        """Whether score and map say the same."""
        return self.is_unusual == bool(self.places)

    @property
    def row(self) -> tuple[str, ...]:
        """The row of the table: name, percentile, places, and whether score and map agree."""
        alone = "score alone" if self.is_unusual else "map alone"
        agreement = "agree" if self.agrees else alone
        return self.candidate.name, self.percentile, answers.places_text(self.places), agreement


def find_map_alone(outcomes: Sequence[Outcome]) -> Outcome | None:
    """Return the film of an ordinary score with the strongest place that stands out; None where there is none."""
    films = [outcome for outcome in outcomes if not outcome.is_unusual and outcome.places]
    return max(films, key=lambda outcome: abs(outcome.places[0].largest), default=None)


def find_score_alone(outcomes: Sequence[Outcome]) -> Outcome | None:
    """Return the film of the highest unusual score on which no place stands out; None where there is none."""
    films = [outcome for outcome in outcomes if outcome.is_unusual and not outcome.places]
    return max(films, key=lambda outcome: outcome.analysis.percentile or 0, default=None)


def conclusion_sentences(outcomes: Sequence[Outcome], detector: Detector) -> list[str]:
    """Say how often score and map disagree, and how to read each kind of disagreement, or that it did not occur."""
    by_map, by_score = find_map_alone(outcomes), find_score_alone(outcomes)
    count = sum(not outcome.agrees for outcome in outcomes)
    sentences = [f"Score and map disagree on {count} of {len(outcomes)} films."]
    if by_map is None:
        sentences.append("On no film of an ordinary score does a place stand out.")
    else:
        place = by_map.places[0]
        sentences.append(
            f"Film {by_map.candidate.name}: the score is ordinary (percentile {by_map.percentile}), but {place.zone} "
            f"differs by {wording.signed_percent(place.largest)} on {place.share:.1%} of the picture. "
            "The score is made of the sharpest differences, the map of wider ones: look there."
        )
    if by_score is None:
        sentences.append("No film of an unusual score is without such a place.")
    else:
        fit = answers.describe_record_fit(by_score.analysis, detector)
        sentences.append(
            f"Film {by_score.candidate.name}: the score is unusual (percentile {by_score.percentile}), but no place "
            f"stands out. {fit} Such a film differs in places too small for the map, "
            "or contradicts its record: check record and view first."
        )
    return [*sentences, "Neither is a diagnosis; where they disagree, say which of the two you follow."]


def _make_viewer_film(outcome: Outcome, detector: Detector) -> ViewerFilm:
    phantom = outcome.candidate.phantom
    findings = tuple(
        ViewerFinding(place.zone, wording.signed_percent(place.largest), place.box, place.outline)
        for place in outcome.places
    )
    name = f"Film {outcome.candidate.name}, percentile {outcome.percentile}"
    return answers.make_analyzed_view(phantom, outcome.analysis, detector, name, findings)


def show_candidate() -> ViewerState:
    """Return the first film before the answer."""
    return answers.make_question_state(CANDIDATES[0].phantom, "Film 1 of 6")


def answer_disagreement(detector: Detector) -> Iterator[Step]:
    """Analyze the candidates one by one, then show a film of each disagreement side by side."""
    title, text = "What score and map say", f"Unusual: percentile {UNUSUAL} or more. Outlined: what stands out."
    head, outcomes, steps = ("film", "percentile", "stands out", ""), [], ""
    for candidate in CANDIDATES:
        analysis = answers.analyze(detector, candidate.phantom, candidate.record)
        outcomes.append(Outcome(candidate, analysis, tuple(answers.find_outstanding_places(analysis, detector))))
        steps = answers.card(title, text, answers.table(head, [outcome.row for outcome in outcomes]))
        yield Step(steps)
    disagreements = [outcome for outcome in (find_map_alone(outcomes), find_score_alone(outcomes)) if outcome]
    films = (_make_viewer_film(outcome, detector) for outcome in disagreements or outcomes[:1])
    state = ViewerState(*films, description="Films on which score and map disagree")
    yield Step(answers.conclusion(steps, conclusion_sentences(outcomes, detector)), state)


DISAGREEMENT = Lesson(
    "disagree",
    "The score and the map disagree",
    f"Six films of phantoms; this is the first. The score calls a film unusual from percentile {UNUSUAL} on; the map "
    "says whether a place stands out. On how many of the six do the two disagree?",
    ("None", "One or two", "Three or more"),
    "Before the answer, ask why the largest difference of a film need not lie where the illness is. Afterwards let the "
    "class explain each disagreement: a place too small for the score, or a record that does not fit the film. Films "
    "2, 3 and 5 hold no lesion.",
    show_candidate,
    answer_disagreement,
)
