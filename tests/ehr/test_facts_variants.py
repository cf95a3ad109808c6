"""Ages, dates, views and heights as other devices and languages write them: the right value, at every door alike."""

import pytest

from diff3m.ehr import paper_schema
from diff3m.ehr.facts import age_from_dates, is_counted_from_placeholder, read_age, read_date, read_view
from diff3m.ehr.header import read_header_age, read_header_view
from diff3m.ehr.units import read_quantity


@pytest.mark.parametrize("text, view", [
    ("postéro-antérieur", "PA"), ("antéro-postérieure", "AP"), ("postero-anteriore", "PA"), ("póstero-anterior", "PA"),
    ("antero-posteriore", "AP"), ("dorsoventral", "PA"), ("ventro-dorsal", "AP"), ("DV", "PA"), ("后前位", "PA"),
    ("胸部前后位", "AP"), ("задне-передняя", "PA"), ("передне-задняя", "AP"), ("posterior to anterior", "PA"),
    ("POSTERO_ANTERIOR", "PA"), ("ANTERIORPOSTERIOR", "AP"), ("ant. post.", "AP"), ("侧位", "LATERAL"),
])  # fmt: skip
def test_views_of_other_languages(text, view):
    assert read_view(text) == view
    assert read_header_view(text).value == (view if view in ("PA", "AP") else None)


@pytest.mark.parametrize("text, age", [
    ("63 yrs old", 63), ("63 year old", 63), ("63-year-old", 63), ("001D", 0.01), ("002W", 0.04), ("018M", 1.5)
])  # fmt: skip
def test_ages_in_words_and_of_infants(text, age):
    assert read_age(text) == age
    assert read_age(read_age(text)) == age  # the header's value is read again by the schema


def test_the_days_of_dicom_dates_with_times():
    assert str(read_date("20150601103000.000000+0100")) == str(read_date("201506011030")) == "2015-06-01"
    assert read_date("2015060110") is None and str(read_date("1950123")) == "1950-12-03"


def test_infants_by_their_dates_are_no_unknown_ages():
    assert age_from_dates("20150531", "20150601") == 0.01 and age_from_dates("20141201", "20150601") == 0.5
    assert age_from_dates("20140601", "20150601") == 1


@pytest.mark.parametrize("study", ["19700101", "19800101", "19000101"])
def test_a_study_on_the_day_a_clock_begins_tells_no_age(study):
    assert age_from_dates("19400101", study) is None
    assert read_header_age("", "19400101", study, "20150601").value == 75


def test_ages_that_a_device_counted_from_a_placeholder():
    assert is_counted_from_placeholder(119, "19000101", "20190416")
    assert is_counted_from_placeholder(70, "19000101", "19700101")
    assert not is_counted_from_placeholder(63, "19000101", "20190416")
    assert not is_counted_from_placeholder(102, "19170101", "20190416")
    assert read_header_age("063Y", "19000101", "20190416") == (63, "")
    assert read_header_age("119Y", "19000101", "20190416").value is None


@pytest.mark.parametrize("text", ["5’11 1/2”", "5' 11 1/2\"", "5'11-1/2", "5’11½”", "5ʼ11.5ˮ"])
def test_heights_with_halves_of_inches(text):
    assert read_quantity(text, "cm") == pytest.approx(71.5 * 2.54)


@pytest.mark.parametrize(
    ("header", "text"),
    [
        ("004D", "4 days"),
        ("007M", "7 months"),
        ("018M", "18 months"),
        ("001Y", "1"),
        ("063Y", "63"),
    ],
)
def test_an_age_is_written_as_it_is_read(header, text):
    age = paper_schema()["age"]
    years = age.parse(header)
    assert age.format_value(years) == text and age.parse(text) == pytest.approx(years, abs=0.01)
    assert age.describe(years) == (text if " " in text else f"{text} years")
