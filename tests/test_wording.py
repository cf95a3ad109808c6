"""What the reader is told, from numbers made by hand."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from app.render import figures, wording
from app.render.cards.attention import attention_card
from app.render.cards.region import drop_repeated_region, region_sentence
from app.render.explanation_summary import summarize_explanations
from diff3m.analysis import Analysis, Settings, format_percentile
from diff3m.ehr import EHRSchema, paper_schema
from diff3m.explain import RegionAttribution
from diff3m.explain.three_records import ThreeRecords
from diff3m.findings import Finding
from diff3m.imaging.zones import OUTSIDE
from diff3m.scoring.score import Component, Scoring

IMAGE = np.full((8, 8), 0.5, np.float32)
METHOD_WORDS = ("checkpoint", "residual", "misfit", "bits", "reconstruction", "noise level")


@pytest.fixture
def schema() -> EHRSchema:
    """Age, sex and view are used; the rest is not."""
    whole = paper_schema()
    return EHRSchema(
        tuple(replace(feature, trained=feature.name in ("age", "sex", "view")) for feature in whole.features)
    )


def analysis_of(percentile: float | None = 60.0, components: tuple = (), **record) -> Analysis:
    return Analysis(
        film=IMAGE,
        reconstruction=IMAGE,
        residual=0 * IMAGE,
        heat_map=0 * IMAGE,
        score=None if percentile is None else 0.5,
        percentile=percentile,
        compared_with="PA",
        normals=273,
        attention={"demographics": {"age": 0.7, "sex": 0.3}, "ehr": {"bmi": 1.0}},
        record=dict.fromkeys(paper_schema().names) | record,
        settings=Settings(400, 10, 0, "x_t"),
        reconstructions={},
        components=components,
        aspect=1.0,
        notes=(),
        seconds={},
    )


def finding_of(zone: str, stands_out: bool = True, mean: float = 0.043, largest: float = 0.074) -> Finding:
    box = (0.1, 0.1, 0.2, 0.2)
    return Finding(zone, box, ((0.1, 0.1), (0.2, 0.2)), box, mean, largest, 0.02, 0.001, stands_out)


@pytest.mark.parametrize(
    ("percentile", "findings", "sentence"),
    [
        (57.1, [finding_of("right lower zone")], "Ordinary as a whole, but one place stands out: right lower zone."),
        (
            57.1,
            [finding_of("heart", stands_out=False)],
            "Ordinary as a whole, and no place differs more than normal films do.",
        ),
        (57.1, [finding_of(OUTSIDE, stands_out=False)], "Ordinary as a whole, and no place stands out."),
        (85.0, [], "In the upper range of normal films as a whole, and no place stands out."),
        (
            97.3,
            [finding_of("right mid zone"), finding_of("heart"), finding_of("heart")],
            "Unusual as a whole; two places stand out: right mid zone and heart.",
        ),
        (99.6, [], "Very unusual as a whole; no place stands out."),
        (
            99.6,
            [finding_of("left mid and lower zones"), finding_of("heart")],
            "Very unusual as a whole; two places stand out: left mid and lower zones; heart.",
        ),
        (
            None,
            [finding_of("heart")],
            "This model gives no score: it was not compared with normal films; one place stands out: heart.",
        ),
    ],
)
def test_the_verdict_joins_score_and_findings(schema, percentile, findings, sentence):
    assert wording.verdict_sentence(analysis_of(percentile), findings, schema) == sentence


def test_the_verdict_does_not_forget_the_part_of_the_record():
    """A score that the pressure alone drives was called unusual beside "None of them finds the film unusual"."""
    pressure = Component("contradiction", 0, 350, "one_step", feature="systolic_mmhg")
    difference = Component("brighter", 2, 60)
    analysis = analysis_of(97.0, ((difference, 0.0, 0.1), (pressure, 0.0, 3.4)), systolic_mmhg=120.0)
    sentence = wording.verdict_sentence(analysis, [], paper_schema())
    assert sentence == (
        "Unusual as a whole; the film looks like one of a higher systolic pressure than 120 mmHg, and no place "
        "stands out."
    )
    assert wording.contradiction_sentences(analysis, paper_schema()) == [
        "The film looks like one of a higher systolic pressure than 120 mmHg "
        "(+3.4 standard deviations of normal films)."
    ]


@pytest.mark.parametrize(
    ("percentile", "text", "says"),
    [
        (94.97, "94.9", "upper range"),
        (95.2, "95.2", "Unusual"),
        (99.96, "99.9", "Very unusual"),
        (78.947, "78.9", "Ordinary"),
    ],
)
def test_one_percentile_with_one_decimal_names_no_limit_that_it_did_not_reach(percentile, text, says):
    analysis = analysis_of(percentile)
    assert analysis.percentile == float(text) and replace(analysis).percentile == float(text)
    assert f"Percentile {text} among 273 normal PA films" in wording.score_sentence(analysis)
    assert says in wording.verdict_words(analysis.percentile)


@pytest.mark.parametrize(
    ("normals", "text", "says"), [(273, "> 99.6", "Very unusual as a whole"), (38, "> 97.4", "Unusual as a whole")]
)
def test_no_film_is_at_percentile_100(schema, normals, text, says):
    """A film above all normal films was at "percentile 100.0", and very unusual even among 38 of them."""
    analysis = replace(analysis_of(100.0), normals=normals)
    assert wording.score_sentence(analysis).startswith(f"Percentile {text}, above all {normals} normal PA films (")
    assert wording.verdict_sentence(analysis, [], schema).startswith(f"{says};")
    assert format_percentile(99.9, normals) == "99.9"


def test_the_reader_is_told_from_where_on_a_colored_place_stands_out():
    """The map was colored, and nothing said why no place stood out."""
    assert wording.standing_out(Scoring((), heat_normal=0.036, place_normal=0.137)) == (
        "The map is colored from a difference of 3.6 % of the grey range on; a place stands out (bold) from 13.7 % on, "
        "which one normal film in twenty reaches."
    )


@pytest.mark.parametrize(
    ("value", "text"), [(-0.04, "0.0"), (0.04, "0.0"), (-0.25, "−0.2"), (1.0, "+1.0"), (-10, "−10.0")]
)
def test_a_number_that_rounds_to_nothing_has_no_sign(value, text):
    assert wording.signed(value) == text


def test_every_tenth_stays_as_it_is():
    assert [analysis_of(tenths / 10).percentile for tenths in range(1001)] == [tenths / 10 for tenths in range(1001)]


def test_the_first_level_has_no_words_of_the_method(schema):
    components = ((Component("brighter", 2, 60), 0.0, 1.8),)
    for percentile in (None, 20.0, 98.0):
        analysis = analysis_of(percentile, components, age=60.0, view="PA", bmi=31.0)
        findings = [finding_of("heart"), finding_of(OUTSIDE, stands_out=False)]
        texts = [
            wording.verdict_sentence(analysis, findings, schema),
            wording.score_sentence(analysis),
            wording.findings_summary(findings, 0.02),
            wording.findings_summary([], 0.02),
            wording.explained_record(analysis.record, schema),
            wording.attention_caption(analysis, schema),
            *map(wording.finding_sentence, findings),
            *wording.limit_sentences(analysis),
            *wording.contradiction_sentences(analysis, schema),
        ]
        assert not [(word, text) for text in texts for word in METHOD_WORDS if word in text.lower()]
        assert not [text for text in texts if "disagree" in text or "with care" in text], "no warning on the best case"


def test_the_normal_film_has_a_record_in_its_title_only_where_something_is_known():
    assert wording.normal_film_title({"age": 63.0, "sex": None}) == "Normal for this record"
    assert wording.normal_film_title({"age": None, "sex": None}) == "Normal, record unknown"


def test_nothing_is_said_of_values_that_the_model_ignores(schema):
    record = analysis_of(age=63.0, sex="F", bmi=29.0, systolic_mmhg=150.0).record
    assert wording.explained_record(record, schema) == "Explained for this record: Age 63 years, Sex Female."
    assert [label for label, _ in wording.record_rows(record, schema)] == ["Age", "Sex", "View"]
    caption = wording.attention_caption(analysis_of(age=63.0, bmi=29.0), schema)
    assert "Demographics" in caption and "EHR" not in caption and "BMI" not in caption


def test_the_attention_chart_leaves_out_what_the_model_ignores(schema):
    """The tallest bar was the habitus, for a model that never learned any; and "AGE" stood beside "View"."""
    context = SimpleNamespace(
        detector=SimpleNamespace(schema=schema), case=SimpleNamespace(record=analysis_of(age=63.0).record)
    )
    page = attention_card({"age": 0.3, "view": 0.7, "habitus": 0.6, "blood pressure": 0.4}, context)
    assert ">Age<" in page and ">View<" in page and "Habitus" not in page and "Blood" not in page


def test_a_finding_in_words():
    assert wording.finding_sentence(finding_of("right mid zone")) == (
        "Right mid zone: 7.4 % brighter than normal at most, 4.3 % on average"
    )
    assert "darker" in wording.finding_sentence(finding_of("heart", mean=-0.02, largest=-0.03))
    assert wording.signed_percent(-0.0307) == "−3.1 %" and wording.signed_percent(0.074) == "+7.4 %"
    assert wording.findings_summary([finding_of("heart")], 0.02) == (
        "The main finding is in the heart: up to 7.4 % of the grey range brighter than normal."
    )
    assert "by more than 2.0 % of the grey range" in wording.findings_summary([], 0.02)


def test_the_score_by_its_parts_without_a_judgement():
    components = (
        (Component("brighter", 2, 60), 0.0, 1.8),
        (Component("darker", 2, 60), 0.0, -1.0),
        (Component("absolute", 2, 400), 0.0, None),
        (Component("contradiction", 0, 350, "one_step", feature="age"), 0.0, float("nan")),
    )
    parts = dict(wording.score_parts(analysis_of(98.0, components), paper_schema()))
    assert parts == {"Difference from noise level 60 (middle sizes)": pytest.approx(0.4)}
    scoring = Scoring(tuple(component for component, _, _ in components), combine="max")
    assert wording.score_meaning(scoring).startswith("The score says which is most unusual")


def test_singular_and_plural():
    assert wording.cohort_sentence(1, 1, 1) == "1 of 1 film was scored; 1 lies above percentile 95 of normal films."
    assert wording.cohort_sentence(4, 5, 2) == "4 of 5 films were scored; 2 lie above percentile 95 of normal films."
    assert wording.count_words(1, "place") == "one place" and wording.count_words(12, "place") == "12 places"
    assert wording.join_words(["a", "b", "c"]) == "a, b and c" and wording.join_words([]) == ""


def region(unknown: float, **groups: float) -> RegionAttribution:
    return RegionAttribution((0.1, 0.1, 0.2, 0.2), groups, unknown + sum(groups.values()), unknown)


def three_records(change: float) -> ThreeRecords:
    return ThreeRecords(({}, {}, {}), np.stack([IMAGE, IMAGE + change, IMAGE]), (0.1, 0.2, 0.3))


def test_the_summary_of_the_explanations(schema):
    results = {
        "three_records": three_records(0.004),
        "region": {"heart": region(0.06, view=-0.02, age=0.004), "right lower zone": region(-0.03, view=0.012)},
    }
    summary = summarize_explanations(results, analysis_of(age=63.0, view="AP").record, schema)
    assert summary.sentence == (
        "The record changed little (0.4 % of the grey range on average): knowing that this is an AP film explains a "
        "third of the heart's difference."
    )
    assert summary.effects == {"view": pytest.approx(-2.0), "age": pytest.approx(0.4)}
    (axes,) = summary.figure.axes
    assert [bar.get_width() for bar in axes.patches] == [pytest.approx(-2.0), pytest.approx(0.4)]


@pytest.mark.parametrize(
    ("results", "says"),
    [
        (
            {"three_records": three_records(0.0)},
            "The record changed next to nothing (0.0 % of the grey range on average).",
        ),
        (
            {"region": {"heart": region(0.05, view=0.02)}},
            "Knowing that this is an AP film makes the heart's difference larger.",
        ),
        (
            {"region": {"": region(-0.04, age=0.03)}},
            "Knowing the age of 63 years explains three quarters of the largest difference.",
        ),
        (
            {"region": {"heart (2)": region(0.05, view=-0.004)}},
            "No part of the record changes the heart's difference by as much as 1 % of the grey range.",
        ),
        (  # 1.0 % stands beside its bar: it was said to be less than 1 %
            {"region": {"heart": region(0.05, view=-0.0098)}},
            "Knowing that this is an AP film explains a fifth of the heart's difference.",
        ),
        (
            {"region": {"heart": region(0.002, view=-0.02)}},
            "Knowing that this is an AP film changes the heart's difference by 2.0 % of the grey range.",
        ),
        (
            {"region": {OUTSIDE: region(0.05, sex=-0.05)}},
            "Knowing that the patient is female explains all of the difference outside the lungs.",
        ),
        ({}, "Nothing was measured of what the record changed."),
    ],
)
def test_the_summary_says_what_the_numbers_support(schema, results, says):
    record = analysis_of(age=63.0, sex="F", view="AP").record
    assert summarize_explanations(results, record, schema).sentence == says


def test_the_main_finding_has_one_name_in_the_summary():
    """The box that is explained is one of the findings: it is not told again as "the largest difference"."""
    heart = region(0.05, view=-0.02)
    regions = {"": heart, "heart": heart, "left lower zone": replace(region(0.03), box=(0.5, 0.5, 0.6, 0.6))}
    assert list(drop_repeated_region(regions)) == ["heart", "left lower zone"]
    assert list(drop_repeated_region({"": heart})) == [""]
    assert region_sentence(heart, "heart").startswith("With the record, the heart is 3.0 % of the grey range brighter")
    assert "the place outside the lungs is" in region_sentence(heart, OUTSIDE)
    assert "that of view (−1.0 %)" in region_sentence(region(0.05, view=-0.0098), "heart"), "as beside its bar"
    assert "the left mid and lower zones are 3.0 %" in region_sentence(heart, "left mid and lower zones")
    assert wording.zone_difference("left mid and lower zones") == "the left mid and lower zones' difference"


def test_the_summary_leaves_out_what_is_unknown_or_ignored(schema):
    regions = {"region": {"heart": region(0.05, habitus=-0.04, age=-0.02)}}
    summary = summarize_explanations(regions, analysis_of(bmi=29.0, view="PA").record, schema)
    assert "BMI" not in summary.sentence and summary.effects is None
    assert summarize_explanations(regions, analysis_of(bmi=29.0).record, schema).sentence.startswith(
        "The record is empty"
    )


def test_the_small_histogram_is_sixty_pixels_high_and_marks_the_film():
    figure = figures.small_histogram([-1.0, 0.0, 0.5, 1.0], 40.0)
    svg = figures.inline_svg(figure, "percentile 97.3", max_width=figures.SMALL_WIDTH)
    width, height = (float(value) for value in svg.split('viewBox="0 0 ')[1].split('"')[0].split())
    assert figures.SMALL_WIDTH * height / width == pytest.approx(60) and "max-width: 280px" in svg
    (axes,) = figure.axes
    line = axes.lines[0].get_xdata()[0]
    assert axes.get_xlim()[1] == pytest.approx(line, rel=0.01), "a score beyond the axis is marked at its edge"
