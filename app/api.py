"""Named endpoints of the page for programs (gradio_client, OpenAPI), which are MCP tools where it runs with --mcp.

The endpoints use ordinary hidden components, whose checks prevent a caller from naming a file of the server as a film.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from typing import Any

import gradio as gr

from diff3m.detector import Detector
from diff3m.ehr import Record
from diff3m.explain import Context, Request
from diff3m.export.explanations import explanations_to_dict
from diff3m.export.files import render_pictures
from diff3m.export.overlay import to_png, to_uint8
from diff3m.findings import find_findings
from diff3m.imaging import GateError, Radiograph, inspect, pass_gate, read_radiograph
from diff3m.sample import draw_normals

from .components.widgets import ON_MODEL
from .render.report import result_to_dict
from .runtime.gpu import on_gpu
from .runtime.model_thread import MODEL, analyze_in_turn
from .runtime.storage import store_file


class Api:
    """The functions behind the endpoints, for the checkpoints of the page by name.

    Their docstrings are what callers read.
    """

    def __init__(self, detectors: Sequence[Detector]) -> None:
        self.detectors = {detector.config.name: detector for detector in detectors}

    def _get_detector(self, model: str | None) -> Detector:
        name = model or next(iter(self.detectors))
        if name not in self.detectors:
            raise ValueError(f"There is no model {name!r} here; choose one of: {', '.join(self.detectors)}.")
        return self.detectors[name]

    @staticmethod
    def _read_film(path: str | None, anyway: bool) -> Radiograph:
        """Read a film, with what the gate says among its notes. Raises ValueError."""
        try:
            return pass_gate(_read(path), anyway)
        except GateError as error:
            raise ValueError(f"{' '.join(error.quality.reasons)} Send anyway=true to go on knowingly.") from None

    def inspect_film(self, film: str) -> dict:
        """Look at a film before analysis: is it a whole, upright, positive frontal chest film?

        And what does its header say of the patient?

        Args:
            film: the film as DICOM, PNG, JPEG, WebP or TIFF.
        """
        with _raise_sentences():
            radiograph = _read(film)
            quality = inspect(radiograph)
            return {
                **asdict(quality),
                "notes": [*radiograph.notes, *quality.notes],
                "facts": radiograph.facts,
                "source": radiograph.source,
                "height_width": list(radiograph.pixels.shape),
            }

    def analyze_film(
        self, film: str, record: dict | None = None, model: str | None = None, anyway: bool = False
    ) -> tuple[dict, list[str]]:
        """What would a normal chest film of this patient look like, and where and how much does the real one differ?

        For research and teaching; not for diagnosis. Returns the numbers, and PNG files: film and normal_film
        on the film's own pixels, difference (over the film), reconstruction (the model's own picture) and residual.

        The numbers say under "percentile" how many of a hundred normal films have a lower score, and list under
        "findings" the places that differ, the main one first: "zone" and "side" of the patient, "box" (top, left,
        bottom and right as shares of the film's sides), "share" of the film that it covers, 0 to 1, "mean" and
        "largest" difference inside (film minus normal, in shares of the grey range: positive is brighter than normal),
        and "stands_out": whether it is larger than nearly all places of normal films.

        Args:
            film: the film as DICOM, PNG, JPEG, WebP or TIFF.
            record: what is known of the patient, by feature name: age (years), sex (F or M), view (PA or AP), bmi,
                systolic_mmhg, diastolic_mmhg, height_cm, weight_kg. What is missing counts as unknown; header facts are
                not used unless they are given here.
            model: name of the checkpoint; the first one if empty.
            anyway: analyze the picture even if it does not look like a frontal chest film.
        """
        with _raise_sentences():
            detector = self._get_detector(model)
            analysis = analyze_in_turn(detector, self._read_film(film, anyway), _parse_record(detector, record))
            findings = find_findings(analysis, analysis.case, detector.scoring)
            images = render_pictures(analysis, detector.scoring)
            return result_to_dict(analysis, findings, detector), [
                str(store_file(f"{name}.png", to_png(picture))) for name, picture in images.items()
            ]

    def explain_film(
        self,
        film: str,
        record: dict | None = None,
        feature: str | None = None,
        model: str | None = None,
        anyway: bool = False,
    ) -> dict:
        """What did the patient's record change?

        Returns every explanation by name under "explanations": fit of film and record, Shapley values by group of the
        record, information in bits, the region that differs most, and others. not_explained: why the checkpoint cannot
        give some of it.

        Args:
            film: the film as DICOM, PNG, JPEG, WebP or TIFF.
            record: what is known of the patient, by feature name, as for analyze_film.
            feature: a number of the record whose influence curve is wanted, e.g. bmi or age; none if empty.
            model: name of the checkpoint; the first one if empty.
            anyway: explain the picture even if it does not look like a frontal chest film.
        """
        with _raise_sentences():
            detector = self._get_detector(model)
            case = detector.case(self._read_film(film, anyway), _parse_record(detector, record))
            context = Context(detector, case, Request(numbers=(feature,) if feature else (), pictures=False))
            for explanation in context.list_requested():
                MODEL.run(partial(context.attempt, explanation.name))  # one job each, so that others may go between
            return explanations_to_dict(context)

    def draw_normal(self, record: dict | None = None, seed: int = 0, model: str | None = None) -> str:
        """Draw a synthetic normal chest film for a record, from pure noise.

        It is no patient's film. Returns a PNG file.

        Args:
            record: of the patient who does not exist, by feature name, as for analyze_film.
            seed: another seed, another person.
            model: name of the checkpoint; the first one if empty.
        """
        with _raise_sentences():
            detector = self._get_detector(model)
            values = _parse_record(detector, record)
            film = MODEL.run(lambda: draw_normals(detector, [values], seed=int(seed or 0)))[0]
            return str(store_file("synthetic.png", to_png(to_uint8(film))))

    def describe_models(self) -> dict:
        """List the checkpoints of this page.

        Returns their weights and the features of a record with unit, plausible range and categories, by name.
        """
        return {
            name: {"weights_sha256": detector.checkpoint.sha256, "features": detector.schema.to_list()}
            for name, detector in self.detectors.items()
        }


@contextmanager
def _raise_sentences():
    """Turn errors that a caller can correct into a gr.Error with their sentence alone."""
    try:
        yield
    except (ValueError, RuntimeError) as error:
        raise gr.Error(str(error), print_exception=False) from None


def _read(path: str | None) -> Radiograph:
    if not path:
        raise ValueError("There is no film: send one as DICOM, PNG, JPEG, WebP or TIFF.")
    return read_radiograph(path)


def _parse_record(detector: Detector, record: Any) -> Record:
    """Validate a caller's record.

    Raises ValueError, also for a name that the model does not know: a misspelt value must not count as unknown.
    """
    values = _check_record(record)
    unknown = [str(name) for name in values if name not in detector.schema]
    if unknown:
        raise ValueError(f"The record has no {', '.join(unknown)}; its names are {', '.join(detector.schema.names)}.")
    return detector.schema.parse(values)


def _check_record(record: Any) -> dict:
    if record is None or record == "":
        return {}
    if not isinstance(record, dict):
        raise ValueError('The record must be an object of values by feature name, e.g. {"age": 63, "view": "PA"}.')
    return record


def build_api(detectors: Sequence[Detector]) -> None:
    """Add the endpoints, which are not visible on the page; called inside a Blocks."""
    api, names = Api(detectors), [detector.config.name for detector in detectors]
    with gr.Group(visible=False):
        film, record, model = gr.File(label="film"), gr.JSON(label="record"), gr.Textbox(names[0], label="model")
        anyway, feature, seed = (
            gr.Checkbox(False, label="anyway"),
            gr.Textbox("", label="feature"),
            gr.Number(0, label="seed", precision=0),
        )
        numbers, files, picture = (
            gr.JSON(label="numbers"),
            gr.File(label="pictures", file_count="multiple"),
            gr.File(label="picture"),
        )
        _add_endpoint(api.inspect_film, [film], numbers)
        _add_endpoint(api.analyze_film, [film, record, model, anyway], [numbers, files])
        _add_endpoint(api.explain_film, [film, record, feature, model, anyway], numbers)
        _add_endpoint(api.draw_normal, [record, seed, model], picture)
        _add_endpoint(api.describe_models, None, numbers)


def _add_endpoint(function: Callable, inputs: list | None, outputs: object) -> None:
    button = gr.Button(visible=False)
    button.click(
        on_gpu(function), inputs, outputs, api_name=function.__name__, **{**ON_MODEL, "api_visibility": "public"}
    )
