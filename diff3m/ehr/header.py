"""Facts of a DICOM header: the values of its attributes as the record holds them, with a note where one was not used.

Arguments are the attributes' values as text ("" where absent). No note quotes the header, where anything may stand.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from .errors import EHRError
from .facts import (
    ADULT_AGE,
    AGE_RANGE,
    OTHER_VIEWS,
    age_from_dates,
    is_adult,
    is_counted_from_placeholder,
    read_age,
    read_sex,
    read_text,
    read_view,
    read_view_codes,
)
from .paper import PLAUSIBLE
from .units import read_number, read_quantity

MINOR = f"The header says the patient is under {ADULT_AGE}; the model knows adult films only."
MAX_AGE_DIFFERENCE = 2.0  # years between PatientAge and the dates, which are rounded and sometimes shifted a little
TWO_AGES = "The header's age and birth date contradict each other; the age was used."
OTHER_VIEW = "The header's view is neither PA nor AP, and was not used."
TWO_VIEWS = "The header's ViewPosition and ViewCodeSequence name two views; {view}, the first, was used."
TALLEST_METERS = 3.0  # a height without a unit is in meters below it, as DICOM says, and in centimeters from it


class Fact(NamedTuple):
    """A header's value, None where it is not known, and a sentence for the reader, "" where there is nothing to say."""

    value: float | str | None
    note: str = ""


def read_header_age(age: object = "", birth_date: object = "", *study_dates: object) -> Fact:
    """Read PatientAge in years, else the years from PatientBirthDate to the first valid date of the study.

    Placeholders, and ages that a device counted from them, are not used.
    """
    years, years_by_dates = _plausible_age(age), _age_by_dates(birth_date, study_dates)
    if years is not None and any(is_counted_from_placeholder(years, birth_date, day) for day in study_dates):
        years = None
    if years is None and years_by_dates is None:
        unusable = read_text(age) or read_text(birth_date)
        return Fact(None, "The header's age is a placeholder or no age, and was not used." if unusable else "")
    differ = years is not None and years_by_dates is not None and abs(years - years_by_dates) > MAX_AGE_DIFFERENCE
    years = years_by_dates if years is None else years
    return Fact(years, " ".join([TWO_AGES] * differ + [MINOR] * (not is_adult(years))))


def _age_by_dates(birth_date: object, study_dates: Iterable[object]) -> float | None:
    """Return the years from a birth to the first of a study's dates that is one."""
    ages = (age_from_dates(birth_date, day) for day in study_dates)
    return next((years for years in ages if years is not None), None)


def _plausible_age(age: object) -> float | None:
    try:
        years = read_age(age)
    except EHRError:
        return None
    return years if years is not None and AGE_RANGE[0] <= years <= AGE_RANGE[1] else None


def read_header_sex(sex: object) -> Fact:
    """Read PatientSex: F or M; None for O and for what is not understood, which is noted."""
    try:
        return Fact(read_sex(sex))
    except EHRError:
        return Fact(None, "The header's sex is neither F nor M, and was not used.")


def read_any_view(position: object = "", codes: Iterable[tuple[str, str]] = ()) -> str | None:
    """Return the view as `facts.read_view` gives it, from ViewPosition, else from (code, meaning) of ViewCodeSequence.

    Raises EHRError where the header says something of a view and nothing of it is understood.
    """
    views, problem = _views(position, codes)
    if not views and problem:
        raise EHRError(OTHER_VIEW)
    return views[0] if views else None


def read_header_view(position: object = "", codes: Iterable[tuple[str, str]] = ()) -> Fact:
    """Read PA or AP; any other view is None with a note. Arguments as in `read_any_view`."""
    views, problem = _views(position, codes)
    if not views:
        return Fact(None, OTHER_VIEW if problem else "")
    if views[0] in OTHER_VIEWS:
        return Fact(None, f"The header says this is {OTHER_VIEWS[views[0]]}; the model knows frontal films only.")
    return Fact(views[0], TWO_VIEWS.format(view=views[0]) if len(set(views)) > 1 else "")


def _views(position: object, codes: Iterable[tuple[str, str]]) -> tuple[list[str], bool]:
    """Return the views that a header names, and whether it mentions a view without naming one ("frontal")."""
    views, problem = [], bool(read_text(position))
    for reader in (lambda: read_view(position), lambda: read_view_codes(codes)):
        try:
            view = reader()
        except EHRError:
            problem = True
            continue
        views += [view] if view else []
    return views, problem


def read_header_height(size: object) -> Fact:
    """Read PatientSize in cm. DICOM says meters; some devices write centimeters, and a few the unit."""
    return _read_quantity(size, "height_cm", "cm", 100.0)


def read_header_weight(weight: object) -> Fact:
    """Read PatientWeight in kg."""
    return _read_quantity(weight, "weight_kg", "kg", 1.0)


def _read_quantity(value: object, name: str, unit: str, factor: float) -> Fact:
    text = read_text(value)
    if not text:
        return Fact(None)
    what = name.partition("_")[0]
    try:
        number = read_quantity(text, unit)
        if number is None:
            number = read_number(text)
            number *= factor if factor == 1 or number < TALLEST_METERS else 1.0
    except ValueError:
        return Fact(None, f"The header's {what} is no number, and was not used.")
    if number == 0:  # what devices write where nobody typed a value
        return Fact(None)
    low, high = PLAUSIBLE[name]
    if not low <= number <= high:
        return Fact(None, f"The header's {what} is not plausible, and was not used.")
    return Fact(round(number, 1))
