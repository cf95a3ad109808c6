"""Whether the film fits its record, and what each part of the record explains."""

from __future__ import annotations

import html

from diff3m.ehr import Record
from diff3m.explain import Attribution, Context, RecordFit

from .. import figures, panels, wording
from .registry import card

FAR = 3.0  # spreads of the training values from which a shift is no longer given as a number


@card("misfit", "How well the film fits its record")
def misfit_card(attribution: Attribution, context: Context) -> str:
    """Return two cards: the fit by group, and the Shapley values of the misfit."""
    return fit_card(attribution, context.case.record) + attribution_card(attribution)


def fit_card(attribution: Attribution, record: Record) -> str:
    """Return the card that says group by group whether the film fits its record."""
    items = "".join(f"<li>{html.escape(fit_sentence(fit, record))}</li>" for fit in attribution.fits)
    how = panels.small_text(
        "Measured along what each part of the record does to a film; habitus is BMI, height and weight together. "
        "The values “the film looks like” are the model's guess from the picture: they show direction and rough "
        "size, and are no measurement of the patient."
    )
    return f'<div class="card"><h3>Does the film fit the record?</h3><ul>{items}</ul>{how}</div>'


def fit_sentence(fit: RecordFit, record: Record) -> str:
    """Say in one sentence how the film fits one group of the record."""
    name = fit.group.capitalize()
    if not fit.known:
        return f"{name}: not in the record."
    value = record.get(fit.feature.name)
    subject = name if value is None else f"{fit.feature.label} {fit.feature.describe(value)}"
    if abs(fit.z) < wording.FITS:
        return f"{subject}: the film fits ({fit.z:+.1f} standard deviations of normal films)."
    if fit.shift is None:
        end = -1 if fit.z > 0 else 0
        toward = fit.feature.labels[end] if fit.feature.labels else ("the last", "the first")[fit.z < 0]
        verb = "looks even more like" if value == fit.feature.categories[end] else "looks more like"
        return f"{subject}: the film {verb} {toward} than such films do ({fit.z:+.1f} standard deviations)."
    way = "higher" if fit.shift > 0 else "lower"
    far = abs(fit.shift) > FAR * fit.feature.std
    amount = f"a value far {way}" if far else f"a value about {abs(fit.shift):.0f} {fit.feature.unit} {way}"
    return f"{subject}: the film looks like {amount} ({fit.z:+.1f} standard deviations)."


def attribution_card(attribution: Attribution) -> str:
    """Return the card of what each part of the record adds to the misfit."""
    caption = attribution_sentence(attribution)
    chart = figures.inline_svg(figures.attribution_bars(attribution.groups), caption)
    how = panels.small_text(
        "Shapley values: each group's share of the change from knowing nothing to knowing the whole record, "
        "averaged over the orders in which the groups could become known. Read the largest bar, not the order of "
        "the others: on simulated patients in whom one part is extreme, the largest bar names it in most films, but "
        "the order of the rest does not follow what truly changes. On real films nothing can be checked against a "
        "truth."
    )
    return (
        '<div class="card columns">'
        f"<div><h3>What the record explains</h3><p>{html.escape(caption)}</p></div><div>{chart}</div>"
        f'<div class="wide">{how}</div></div>'
    )


def attribution_sentence(attribution: Attribution) -> str:
    """Say in words what the record explains of the misfit."""
    start = (
        f"On a scale where a normal film has about {len(attribution.fits)}, the film contradicts what the model "
        f"expects by {attribution.unknown:.1f} without the record and by {attribution.known:.1f} with it. "
    )
    group = max(attribution.groups, key=lambda name: abs(attribution.groups[name]))
    value = attribution.groups[group]
    if abs(value) < 1:
        return start + "No part of the record changes that by more than 1: nothing here is explained by the record."
    if value < 0 and attribution.known < attribution.unknown:
        return start + f"The largest part of what the record explains is explained by {group} ({value:+.1f})."
    if value < 0:
        return (
            f"{start}The record as a whole explains nothing; the largest single effect is that of {group}, which "
            f"explains some ({value:+.1f})."
        )
    return (
        f"{start}It is {group} that makes the film more unusual, not less ({value:+.1f}): the picture does not show "
        "what the record says."
    )
