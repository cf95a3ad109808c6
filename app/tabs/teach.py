"""Tab: what the record contributes. Lessons to project, a playground, and normals drawn for a record."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence

import gradio as gr
import numpy as np

from diff3m.data.phantom import KINDS, person
from diff3m.detector import Detector
from diff3m.ehr import VIEW_LABELS, EHRError
from diff3m.evaluation.phantom_numbers import first_number
from diff3m.export.files import heat_over_film
from diff3m.export.overlay import outlined, to_uint8
from diff3m.imaging import Radiograph, prepare
from diff3m.reconstruct import MAX_SEED
from diff3m.sample import draw_normals, to_pictures

from ..components.ehr_form import build_form
from ..render import panels, wording
from ..render.images import Frame, strip
from ..runtime.gpu import on_gpu
from ..runtime.model_lock import MODEL
from ..runtime.streaming import Done, stream
from .explore import ON_MODEL, SILENT, slider
from .explore_handlers import analyzed
from .lessons import LESSONS

NO_LESION = "none: a normal phantom"
SIDE = 256
DRAWN = 4  # films at once
PHANTOMS = "phantoms"


def build_teach(detectors: Sequence[Detector]) -> None:
    """Lay the tab out; called inside a Blocks. Lessons and playground need the phantoms' checkpoint."""
    simulated = next((detector for detector in detectors if detector.config.name == PHANTOMS), None)
    if simulated is None:
        gr.Markdown("Lessons and playground need the checkpoint `phantoms`, which this page was started without.")
    else:
        with gr.Tabs():
            with gr.Tab("Lessons"):
                _build_lessons(simulated)
            with gr.Tab("Playground"):
                _build_playground(simulated)
            with gr.Tab("Draw normals"):
                _build_draw(detectors)
        return
    _build_draw(detectors)


def _build_lessons(detector: Detector) -> None:
    titles = [lesson.title for lesson in LESSONS]
    gr.HTML(
        panels.quiet(
            "Each lesson: look, guess, then let the model answer. The films are simulated: whatever is in them is known."
        )
    )
    chosen = gr.Radio(titles, value=titles[0], label="Lesson", elem_id="lesson")
    question = gr.Markdown(_question(0), elem_id="lesson-question")
    shown = gr.HTML(elem_id="lesson-shown")
    guess = gr.Radio(list(LESSONS[0].choices), label="What does the class think?", elem_id="lesson-guess")
    ask = gr.Button("Show the answer", variant="primary", elem_id="lesson-ask")
    answer = gr.HTML(elem_id="lesson-answer")

    def choose(title: str) -> tuple:
        index = titles.index(title)
        lesson = LESSONS[index]
        return _question(index), lesson.shown(detector), gr.Radio(choices=list(lesson.choices), value=None), ""

    def tell(title: str, guessed: str | None) -> Iterator[str]:
        start = panels.quiet(f"The class thinks: {guessed}.") if guessed else panels.quiet("No guess was made.")
        yield start + panels.status("The model is working …")
        for part in LESSONS[titles.index(title)].answer(detector):
            yield start + part

    asked = ask.click(on_gpu(tell), [chosen, guess], answer, **ON_MODEL)
    chosen.change(choose, chosen, [question, shown, guess, answer], cancels=[asked], **SILENT)
    shown.value = LESSONS[0].shown(detector)


def _question(index: int) -> str:
    return f"## {LESSONS[index].title}\n{LESSONS[index].question}"


def _build_playground(detector: Detector) -> None:
    gr.HTML(
        panels.quiet(
            "Choose a simulated person and move the record. Beside the phantom: its true normal, which only a simulator can know, and the model's "
            "guess."
        )
    )
    with gr.Row():
        with gr.Column(scale=4, min_width=260):
            number = gr.Number(
                1, label="Person (a number)", precision=0, minimum=0, maximum=9_999, elem_id="play-person"
            )
            lesion = gr.Dropdown([NO_LESION, *KINDS], value=NO_LESION, label="Lesion", elem_id="play-lesion")
            age = slider(18, 95, 55, step=1, label="Age (years)", elem_id="play-age")
            sex = gr.Radio([("Female", "F"), ("Male", "M")], value="F", label="Sex", elem_id="play-sex")
            view = gr.Radio(
                [(label, view) for view, label in VIEW_LABELS.items()],
                value="PA",
                label="View",
                elem_id="play-view",
            )
            bmi = slider(16, 48, 26, step=0.5, label="BMI (kg/m²)", elem_id="play-bmi")
            systolic = slider(90, 210, 125, step=1, label="Systolic pressure (mmHg)", elem_id="play-systolic")
            told = gr.Checkbox(True, label="Tell the model this record", elem_id="play-told")
        with gr.Column(scale=8, min_width=280):
            shown = gr.HTML(panels.status("Move anything to begin."), elem_id="play-shown")
    inputs = [number, lesion, age, sex, view, bmi, systolic, told]

    def play(number, lesion, age, sex, view, bmi, systolic, told) -> Generator[str, None, None]:
        who = person(first_number("test", "teaching") + int(number or 0), None if lesion == NO_LESION else lesion)
        changes = dict(
            age=float(age),
            sex=sex,
            view=view,
            bmi=float(bmi),
            systolic_mmhg=float(systolic),
            diastolic_mmhg=round(40 + 0.3 * systolic, 1),
        )
        patient = who.patient.under(**changes)
        settings, mask = detector.config.preprocessing, None
        normal = prepare(Radiograph(who.healthy.film(SIDE, patient)), settings)
        film = Radiograph(who.film(SIDE, patient))
        if who.lesion is not None:
            diseased = who.diseased(SIDE, patient)
            film, mask = Radiograph(diseased.film), diseased.mask
        seen = prepare(film, settings)
        phantom = outlined(np.repeat(to_uint8(seen)[..., None], 3, axis=2), mask) if mask is not None else seen
        frames = [
            Frame(phantom, "the phantom" + (", its lesion outlined" if mask is not None else "")),
            Frame(normal, "its true normal"),
        ]
        yield panels.status("The model is working …") + strip(frames)
        found = analyzed(detector, film, patient.record() if told else {})
        heat = heat_over_film(found.film, found.heat_map, detector.scoring.heat_normal)
        frames += [
            Frame(found.reconstruction, "the model's normal"),
            Frame(heat, "where film and model's normal differ"),
        ]
        apart = float(np.abs(found.reconstruction - normal).mean())
        said = f"{wording.score_sentence(found)} {' '.join(wording.contradiction_sentences(found, detector.schema))}"
        how = panels.quiet(
            f"The model's normal lies {apart:.1%} of the grey range from the true one, on average over the picture."
        )
        yield f"{panels.status('Done.')}{strip(frames)}<p>{said}</p>{how}"

    for control in inputs:
        event = (
            control.release
            if isinstance(control, gr.Slider)
            else control.change
            if isinstance(control, gr.Checkbox | gr.Dropdown)
            else control.input
        )
        event(on_gpu(play), inputs, shown, trigger_mode="always_last", **ON_MODEL)


def _build_draw(detectors: Sequence[Detector]) -> None:
    gr.HTML(
        panels.quiet(
            "Films drawn by the model alone, from pure noise, under a record that you make up. None is a patient's: each is synthetic. "
            "What they share is what the model believes of such a patient."
        )
    )
    if len(detectors) == 1:
        _draw_for(detectors[0])
        return
    with gr.Tabs():
        for detector in detectors:
            with gr.Tab(wording.model_title(detector.config.name)):
                _draw_for(detector)


def _draw_for(detector: Detector) -> None:
    suffix = f"_draw_{detector.config.name}"
    with gr.Row():
        with gr.Column(scale=4, min_width=260):
            form = build_form(detector.schema, suffix)
            seed = gr.Number(
                0, label="Seed", info="another seed, other people", precision=0, minimum=0, maximum=MAX_SEED
            )
            draw = gr.Button("Draw normals for this record", variant="primary", elem_id=f"draw{suffix}")
        with gr.Column(scale=8, min_width=280):
            shown = gr.HTML(elem_id=f"drawn{suffix}")

    def drawn(seed, *values) -> Generator[str, None, None]:
        try:
            record = detector.schema.parse(form.record(values))
        except EHRError as error:
            yield panels.status(str(error), alert=True)
            return

        def work(callback):
            with MODEL.turn():
                return draw_normals(detector, [record] * DRAWN, seed=int(seed or 0), callback=callback)

        yield panels.status("Waiting for its turn …")
        for event in stream(work):
            done = isinstance(event, Done)
            films = event.value if done else to_pictures(event.preview)
            said = "Synthetic: no patient's films." if done else f"Step {event.done} of {event.total}"
            yield panels.status(said) + strip(
                [Frame(film, f"synthetic film {index + 1}") for index, film in enumerate(films)]
            )

    draw.click(on_gpu(drawn), [seed, *form.fields], shown, **ON_MODEL)
