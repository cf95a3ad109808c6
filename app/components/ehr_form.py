"""The EHR form, generated from a checkpoint's schema. Every field may stay unknown."""

from __future__ import annotations

from dataclasses import dataclass

import gradio as gr

from diff3m.ehr import EHRError, EHRSchema, Feature

UNKNOWN, EMPTY = "unknown", "empty = unknown"
WRITTEN = {"cm": "cm, or 5'10\", 70 in", "kg": "kg, or 154 lb"}  # by unit, where another is in use
FROM_HEADER = "filled in from the DICOM header"
FROM_TABLE = "filled in from the table"
FROM_EXAMPLE = "filled in from the example"
COMPUTED = "computed from height and weight"

Facts = dict[str, object]


@dataclass(frozen=True)
class EHRForm:
    """The form's fields, in the schema's order."""

    schema: EHRSchema
    fields: tuple[gr.components.Component, ...]

    def record(self, values: tuple) -> dict[str, object]:
        """Field values as a mapping by feature name, unchecked."""
        return dict(zip(self.schema.names, values, strict=True))

    def filled(self, facts: Facts, origin: str, keep: tuple = ()) -> tuple[list, str]:
        """Updates that put facts into the fields and mark them; and the BMI that was computed, if any.

        keep: what the fields hold, where that is to stay; without it every other field becomes unknown.
        """
        facts, computed = with_bmi(self.schema, facts)
        updates = []
        for feature in self.schema.features:
            if feature.name in facts:
                source = COMPUTED if feature.name in computed else origin
                updates.append(gr.update(value=_shown(feature, facts[feature.name]), info=_info(feature, source)))
            elif keep:
                updates.append(gr.skip())
            else:
                updates.append(gr.update(value=_shown(feature, None), info=_info(feature)))
        return updates, _shown(self.schema["bmi"], facts["bmi"]) if computed else ""


def build_form(schema: EHRSchema, suffix: str = "") -> EHRForm:
    """Fields for every feature: those that training knew first, the others folded away with the reason. suffix: of
    element ids."""
    fields: dict[str, gr.components.Component] = {}
    with gr.Group():
        _rows([feature for feature in schema.features if feature.trained], fields, suffix)
    untrained = [feature for feature in schema.features if not feature.trained]
    if untrained:
        with gr.Accordion(f"{len(untrained)} more values that this checkpoint was not trained with", open=False):
            gr.Markdown(
                "No training film came with these, so the model treats them as unknown: they are recorded, and **cannot change the result**."
            )
            _rows(untrained, fields, suffix)
    form = EHRForm(schema, tuple(fields[name] for name in schema.names))
    return form


def follow_height_and_weight(form: EHRForm, computed: gr.State) -> None:
    """Wire BMI to height and weight, where the schema has the three. computed: the BMI last computed, as text."""
    if not all(name in form.schema for name in ("height_cm", "weight_kg", "bmi")):
        return
    height, weight, bmi = (form.fields[form.schema.names.index(name)] for name in ("height_cm", "weight_kg", "bmi"))
    feature = form.schema["bmi"]

    def update(height_cm: str, weight_kg: str, held: str, before: str) -> tuple:
        try:
            value = form.schema.parse({"height_cm": height_cm, "weight_kg": weight_kg})["bmi"]
        except EHRError:
            value = None
        if value is not None:
            text = _shown(feature, value)
            return gr.update(value=text, info=COMPUTED), text
        if before and held == before:  # what it was computed from is gone
            return gr.update(value="", info=_info(feature)), ""
        return gr.skip(), ""

    events = [height.input, weight.input]
    gr.on(
        events,
        update,
        [height, weight, bmi, computed],
        [bmi, computed],
        show_progress="hidden",
        queue=False,
        api_visibility="private",
    )


def _rows(features: list[Feature], fields: dict[str, gr.components.Component], suffix: str) -> None:
    """Numbers side by side, two a row; categories on lines of their own."""
    numbers = [feature for feature in features if feature.kind == "number"]
    for start in range(0, len(numbers), 2):
        with gr.Row():
            for feature in numbers[start : start + 2]:
                fields[feature.name] = gr.Textbox(  # gr.Number shows, and sends, 0 for "no value"
                    "",
                    label=f"{feature.label} ({feature.unit})",
                    info=_info(feature),
                    placeholder="unknown",
                    max_lines=1,
                    min_width=130,
                    elem_id=f"ehr-{feature.name}{suffix}",
                    html_attributes=gr.InputHTMLAttributes(autocomplete="off"),
                )
    for feature in (feature for feature in features if feature.kind == "category"):
        choices = [*zip(feature.labels or feature.categories, feature.categories, strict=True), ("Unknown", UNKNOWN)]
        fields[feature.name] = gr.Radio(
            choices, value=UNKNOWN, label=feature.label, info=_info(feature), elem_id=f"ehr-{feature.name}{suffix}"
        )


def _info(feature: Feature, origin: str = "") -> str:
    """What stands under a field: where its value came from, or how it may be written."""
    return origin or WRITTEN.get(feature.unit, EMPTY) if feature.kind == "number" else origin


def _shown(feature: Feature, value: object) -> str:
    """A value as its field holds it: text, "" or "unknown" for none."""
    if value is None:
        return "" if feature.kind == "number" else UNKNOWN
    return f"{float(value):g}" if feature.kind == "number" else str(value)


def with_bmi(schema: EHRSchema, facts: Facts) -> tuple[Facts, set[str]]:
    """Facts the schema knows, with BMI where height and weight give it; and the names of what was computed."""
    known = {name: value for name, value in facts.items() if name in schema}
    if "bmi" not in schema or "bmi" in known or not {"height_cm", "weight_kg"} <= set(known):
        return known, set()
    try:
        return {**known, "bmi": schema.parse(known)["bmi"]}, {"bmi"}
    except EHRError:
        return known, set()
