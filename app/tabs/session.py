"""The session of a reader on the Explore tab: the open films and their results."""

from __future__ import annotations

from dataclasses import dataclass, replace

from diff3m.analysis import Analysis
from diff3m.findings import Finding
from diff3m.imaging import Quality

from ..components.film_edit import Corrections
from ..components.viewer import Notice, Status, ViewerFilm, ViewerState, Window

EMPTY = "Drop a film here, or choose an example."
GATE_ACTIONS = {"correct": "Correct it", "accept": "Analyze as it is"}


@dataclass(frozen=True, eq=False)
class OpenFilm:
    """A film that was read.

    path: its file on the server. name: for the reader. corrections: by hand. quality: what the gate says.
    facts: its kind and size. notes: of its file and of the gate. thumbnail: an <img>. picture: for the viewer, before
    the analysis. presets, preset: grey windows and the first one's name. example: id of the example that it is, or "".
    analysis: its result, or None; findings, result_picture (for the viewer) and verdict (one sentence) follow from it.
    record_effect: what the record changed in it, in one sentence; "" while that is unknown.
    """

    path: str
    name: str
    corrections: Corrections
    quality: Quality
    facts: str
    notes: tuple[str, ...]
    thumbnail: str
    picture: ViewerFilm
    presets: tuple[Window, ...]
    preset: str | None
    example: str = ""
    analysis: Analysis | None = None
    findings: tuple[Finding, ...] = ()
    result_picture: ViewerFilm | None = None
    verdict: str = ""
    record_effect: str = ""

    @property
    def is_stopped(self) -> bool:
        """Whether the gate stops it."""
        return bool(self.quality.reasons) and not self.corrections.accepted

    @property
    def viewer_film(self) -> ViewerFilm:
        """The viewer's picture, with the result where there is one."""
        return self.result_picture or self.picture

    def without_result(self) -> OpenFilm:
        """Return the same film before its analysis."""
        return replace(self, analysis=None, findings=(), result_picture=None, verdict="", record_effect="")


@dataclass(frozen=True, eq=False)
class Session:
    """What a reader has open.

    model: the checkpoint's name. film: the first film. prior: a second one beside it.
    """

    model: str
    film: OpenFilm | None = None
    prior: OpenFilm | None = None

    @property
    def films(self) -> tuple[OpenFilm, ...]:
        """The films that are open, the first one first."""
        return tuple(film for film in (self.film, self.prior) if film is not None)

    @property
    def stopped(self) -> OpenFilm | None:
        """The first film that the gate stops."""
        return next((film for film in self.films if film.is_stopped), None)

    def without_results(self) -> Session:
        """Return the same films before their analysis."""
        film, prior = (entry and entry.without_result() for entry in (self.film, self.prior))
        return replace(self, film=film, prior=prior)

    def with_film(self, index: int, film: OpenFilm) -> Session:
        """Return the same with another first (0) or second (1) film."""
        return replace(self, film=film) if index == 0 else replace(self, prior=film)

    def viewer_value(self, status: Status | None = None, pictures: tuple[ViewerFilm | None, ...] = ()) -> dict:
        """Return the viewer's value.

        status: a line in its corner. pictures: instead of the films' own, where not None, such as a forming normal.
        """
        if self.film is None:
            return ViewerState(description=EMPTY, status=status).to_value()
        instead = [*pictures, None, None]
        films = [other or film.viewer_film for film, other in zip(self.films, instead, strict=False)]
        state = ViewerState(
            film=films[0],
            second=films[1] if len(films) > 1 else None,
            presets=self.film.presets,
            window=self.film.preset,
            mode="film" if self.prior else "both",
            description=self.film.verdict,
            status=status,
            notice=self.notice if status is None else None,
        )
        return state.to_value()

    @property
    def notice(self) -> Notice | None:
        """The gate's stop, as a message over the film."""
        film = self.stopped
        if film is None:
            return None
        can_correct = bool(film.quality.turn or film.quality.negative)
        actions = tuple(GATE_ACTIONS.items()) if can_correct else (("accept", GATE_ACTIONS["accept"]),)
        return Notice(" ".join(film.quality.reasons), actions)
