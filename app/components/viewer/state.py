"""What the viewer shows, as frozen values; `ViewerState.to_value` writes them in the package's JSON schema."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

Box = tuple[float, float, float, float]
WHOLE: Box = (0.0, 0.0, 1.0, 1.0)


@dataclass(frozen=True)
class Window:
    """A grey window. center, width: shares of the film's white."""

    name: str
    center: float
    width: float


@dataclass(frozen=True)
class ViewerFinding:
    """A place that is outlined.

    label: what it is, such as "right lower zone".
    value: its number with unit, as text.
    box: (top, left, bottom, right), shares of the film's sides.
    outline: places (row, column), shares; None for the box itself.
    stands_out: whether it is drawn with a full line, in front of the others.
    known: whether it is no finding but a place that is known to be abnormal, drawn in another color.
    """

    label: str
    value: str
    box: Box
    outline: tuple[tuple[float, float], ...] | None = None
    stands_out: bool = False
    known: bool = False


@dataclass(frozen=True)
class ViewerMap:
    """A map over a film.

    name: as in the map's control; also before its value under the pointer.
    file: what `encode_map` wrote (a path that Gradio may serve), or an address.
    scale: the second result of `encode_map`.
    full: value from which on the color is full.
    threshold: value below which nothing is colored, at first.
    signed: whether it has two directions (brighter, darker).
    factor, unit: a value times `factor` is shown with `unit`.
    box: where the map lies on the film: (top, left, bottom, right), shares of the film's sides.
    """

    name: str
    file: str | Path
    scale: float
    full: float
    threshold: float = 0.0
    signed: bool = True
    factor: float = 100.0
    unit: str = "%"
    box: Box = WHOLE


@dataclass(frozen=True)
class ViewerFilm:
    """One film with all that belongs to it.

    film, normal: what `encode_film` wrote (a path that Gradio may serve), or an address (str); normal is None before
        the analysis.
    maximum: the stored value that is white; None for the largest that the file can hold.
    spacing_mm: (row, column), millimeters between pixels.
    tags: short texts in the corner.
    """

    film: str | Path
    normal: str | Path | None = None
    maps: tuple[ViewerMap, ...] = ()
    findings: tuple[ViewerFinding, ...] = ()
    name: str = "Film"
    normal_name: str = "Normal for this record"
    maximum: int | None = None
    spacing_mm: tuple[float, float] | None = None
    tags: tuple[str, ...] = ()


@dataclass(frozen=True)
class Status:
    """A line in the viewer's corner. share: progress in 0..1, None where there is none to tell."""

    text: str
    share: float | None = None


@dataclass(frozen=True)
class Notice:
    """A message over the film. actions: (id, label) of its buttons; a press is the event `action` with the id."""

    text: str
    actions: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class ViewerState:
    """All that the viewer shows.

    film: None for an empty viewer; second: a prior or another film beside it.
    presets: grey windows that are offered after "Full range"; window: name of the one to begin with.
    mode: how a film with a normal film is shown where there is room, until the reader chooses: "film", "normal",
        "both" or "swipe".
    description: the picture in words, for screen readers; without a film, a hint in the middle of the picture.
    """

    film: ViewerFilm | None = None
    second: ViewerFilm | None = None
    presets: tuple[Window, ...] = ()
    window: str | None = None
    mode: str = "film"
    description: str = ""
    status: Status | None = None
    notice: Notice | None = None

    def __post_init__(self) -> None:
        if self.second is not None and self.film is None:
            raise ValueError("A second film needs a first one beside it: set `film`.")
        names = [preset.name for preset in self.presets]
        if self.window is not None and self.window not in names:
            raise ValueError(f"window must be the name of a preset, got {self.window!r}; the presets are {names}.")

    def to_value(self) -> dict:
        """Write the component's value, in the package's JSON schema. Paths become files that Gradio serves."""
        notice = self.notice and {
            "text": self.notice.text,
            "actions": [{"id": name, "label": label} for name, label in self.notice.actions],
        }
        return {
            "films": [_film_value(film) for film in (self.film, self.second) if film is not None],
            "presets": [asdict(preset) for preset in self.presets],
            "window": self.window,
            "mode": self.mode,
            "description": self.description,
            "status": self.status and asdict(self.status),
            "notice": notice,
        }


def _film_value(film: ViewerFilm) -> dict:
    value = asdict(film)
    value["film"], value["normal"] = _file(film.film), film.normal and _file(film.normal)
    value["maps"] = [{**asdict(entry), "file": _file(entry.file)} for entry in film.maps]
    return value


def _file(file: str | Path) -> str | dict:
    """Return a path as Gradio's description of a file, to which Gradio adds its address; an address as it is."""
    return {"path": str(file), "meta": {"_type": "gradio.FileData"}} if isinstance(file, Path) else file
