"""The form of a patient's record, generated from a checkpoint's schema. Every field may stay unknown."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import gradio as gr
from gradio.components import Component

from diff3m.ehr import EHRError, EHRSchema, Feature

from .events import Updates

UNKNOWN = "unknown"
PLACEHOLDERS = {"cm": "170 cm, 5'10\"", "kg": "70 kg, 154 lb"}  # by unit, where another is in use
FROM_HEADER = "from the header"
FROM_TABLE = "from the table"
FROM_EXAMPLE = "from the example"
COMPUTED = "from height and weight"
PRESSURES = ("systolic_mmhg", "diastolic_mmhg")

Facts = Mapping[str, object]


@dataclass(frozen=True)
class EHRForm:
    """The form of one schema.

    fields: in the schema's order. computed_bmi: state, the BMI that was last computed from height and weight, as text.
    """

    schema: EHRSchema
    fields: tuple[Component, ...]
    computed_bmi: gr.State

    @property
    def components(self) -> tuple[Component, ...]:
        """Every component that the form reads or writes."""
        return (*self.fields, self.computed_bmi)

    def get_field(self, name: str) -> Component:
        """Return the field of a feature."""
        return self.fields[self.schema.names.index(name)]

    def to_record(self, values: tuple) -> dict[str, object]:
        """Return field values in the schema's order as a mapping by feature name, unchecked."""
        return dict(zip(self.schema.names, values, strict=True))

    def read(self, values: Mapping[Component, Any]) -> dict[str, object]:
        """Return the values of the features that the model was trained with, by name, unchecked.

        A computed BMI is left out, because height and weight, from which it follows, may have changed meanwhile.
        """
        record = {
            feature.name: values[field]
            for feature, field in zip(self.schema.features, self.fields, strict=True)
            if feature.trained
        }
        if record.get("bmi") and record["bmi"] == values[self.computed_bmi]:
            record["bmi"] = ""
        return record

    def complete(self, values: Mapping[Component, Any], record: Facts) -> Updates:
        """Show the BMI of a parsed record where its field still holds an older computed value."""
        if record.get("bmi") is None or values[self.get_field("bmi")] not in ("", values[self.computed_bmi]):
            return {}
        text = _format_value(self.schema["bmi"], record["bmi"])
        return {self.get_field("bmi"): gr.update(value=text, info=COMPUTED, elem_classes=[]), self.computed_bmi: text}

    def read_entries(self, values: Mapping[Component, Any]) -> dict[str, object]:
        """Return what the fields hold, without the unknown, by feature name."""
        record = self.to_record(tuple(values[field] for field in self.fields))
        return {name: value for name, value in record.items() if value not in ("", None, UNKNOWN)}

    def fill(self, facts: Facts, origin: str, keep: bool = False) -> Updates:
        """Put facts into the fields, with a note on their origin.

        keep: whether the other fields keep their values; otherwise they become unknown.
        """
        facts, bmi_names = add_bmi(self.schema, facts)
        updates: Updates = {} if keep else {self.computed_bmi: ""}
        for feature, field in zip(self.schema.features, self.fields, strict=True):
            if feature.name in facts:
                source = COMPUTED if feature.name in bmi_names else origin
                updates[field] = gr.update(
                    value=_format_value(feature, facts[feature.name]), info=source, elem_classes=[]
                )
            elif not keep:
                updates[field] = gr.update(value=_format_value(feature, None), info="", elem_classes=[])
        if "bmi" in facts and {"height_cm", "weight_kg"} <= set(facts):
            updates[self.computed_bmi] = _format_value(self.schema["bmi"], facts["bmi"])
        return updates

    def mark(self, error: EHRError | None = None) -> Updates:
        """Mark the fields that an error names, and no other."""
        at_fault = set() if error is None else find_features_at_fault(error, self.schema)
        names = zip(self.schema.names, self.fields, strict=True)
        return {field: gr.update(elem_classes=["invalid"] if name in at_fault else []) for name, field in names}


def find_features_at_fault(error: EHRError, schema: EHRSchema) -> set[str]:
    """Return the names of the features that an error names first; both pressures where they contradict each other."""
    label = str(error).split(":")[0]
    names = {feature.name for feature in schema.features if feature.label == label}
    return names or ({*PRESSURES} & {*schema.names} if label == "Blood pressure" else set())


def build_form(schema: EHRSchema, suffix: str = "") -> EHRForm:
    """Lay out fields for every feature, two a row: those that the model knows first, the others folded.

    suffix: of element ids.
    """
    fields: dict[str, Component] = {}
    with gr.Column(elem_classes="record-grid", min_width=0):
        fields |= {feature.name: _build_field(feature, suffix) for feature in schema.features if feature.trained}
    unused = [feature for feature in schema.features if not feature.trained]
    if unused:
        with (
            gr.Accordion("Not used by this model", open=False, elem_id=f"unused{suffix}"),
            gr.Column(elem_classes="record-grid", min_width=0),
        ):
            fields |= {feature.name: _build_field(feature, suffix) for feature in unused}
    form = EHRForm(schema, tuple(fields[name] for name in schema.names), gr.State(""))
    _follow_height_and_weight(form)
    return form


def _follow_height_and_weight(form: EHRForm) -> None:
    """Wire BMI to height and weight, where the schema has the three."""
    schema = form.schema
    if not all(name in schema for name in ("height_cm", "weight_kg", "bmi")):
        return
    height, weight, bmi = (form.get_field(name) for name in ("height_cm", "weight_kg", "bmi"))

    def update(values: dict[Component, Any]) -> Updates:
        try:
            value = schema.parse({"height_cm": values[height], "weight_kg": values[weight]})["bmi"]
        except EHRError:
            value = None
        if value is not None:
            text = _format_value(schema["bmi"], value)
            return {bmi: gr.update(value=text, info=COMPUTED), form.computed_bmi: text}
        before = values[form.computed_bmi]
        if before and values[bmi] == before:  # what it was computed from is gone
            return {bmi: gr.update(value="", info=""), form.computed_bmi: ""}
        return {form.computed_bmi: ""}

    gr.on(
        [height.input, weight.input],
        update,
        {height, weight, bmi, form.computed_bmi},
        [bmi, form.computed_bmi],
        trigger_mode="always_last",  # otherwise a key that comes while the one before is answered is lost
        show_progress="hidden",
        queue=False,
        api_visibility="private",
    )


def _build_field(feature: Feature, suffix: str) -> Component:
    if feature.kind == "category":
        labels = feature.labels or feature.categories
        return gr.Dropdown(
            [("Unknown", UNKNOWN), *zip(labels, feature.categories, strict=True)],
            value=UNKNOWN,
            label=feature.label,
            info="",
            min_width=0,
            elem_id=f"ehr-{feature.name}{suffix}",
        )
    return gr.Textbox(  # gr.Number shows, and sends, 0 for "no value"
        "",
        label=f"{feature.label} ({feature.unit})",
        info="",
        placeholder=PLACEHOLDERS.get(feature.unit, UNKNOWN),
        max_lines=1,
        min_width=0,
        elem_id=f"ehr-{feature.name}{suffix}",
        html_attributes=gr.InputHTMLAttributes(autocomplete="off"),
    )


def _format_value(feature: Feature, value: object) -> str:
    """Return a value as its field holds it: text, "" or "unknown" for none."""
    return UNKNOWN if value is None and feature.kind == "category" else feature.format_value(value)


def add_bmi(schema: EHRSchema, facts: Facts) -> tuple[dict[str, object], set[str]]:
    """Return the facts that the schema knows, with BMI where it follows, and the names of what was computed."""
    known = {name: value for name, value in facts.items() if name in schema}
    if "bmi" not in schema or "bmi" in known or not {"height_cm", "weight_kg"} <= set(known):
        return known, set()
    try:
        return {**known, "bmi": schema.parse(known)["bmi"]}, {"bmi"}
    except EHRError:
        return known, set()
