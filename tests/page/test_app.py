"""The page in a browser, as a reader uses it: one screen, nothing wiped, nothing scrolled. By element id."""

from __future__ import annotations

import json
import re
import zipfile

import cv2
import numpy as np
import pytest
from page_steps import (
    ANALYZED,
    VALUE_OF,
    VIEWER,
    assert_one_screen,
    box_of,
    choose_example,
    drop,
    field,
    set_steps,
    wait_for_result,
)

from diff3m.data.phantom import make_person


def test_an_example_fills_one_screen(open_page):
    with open_page() as page:
        page.wait_for_selector("#examples button img")
        assert_one_screen(page)
        assert page.locator("#examples button img").count() >= 6
        assert (
            page.get_by_label("Normal", exact=True).is_disabled()
            and page.get_by_label("Difference", exact=True).is_disabled()
        )
        choose_example(page, 3)
        assert_one_screen(page)
        assert page.locator("#examples").is_hidden(), "the strip gives way"
        assert field(page, "age").input_value() == "61" and "from the example" in page.inner_text("#ehr-age")
        text = page.inner_text("#verdict")
        assert re.search(r"percentile > \d+\.\d, above all \d+ normal PA films", text) and "stand" in text
        chips = page.locator("#findings .chip")
        zone = chips.first.inner_text().split("\n")[0].removeprefix("1 ")
        assert zone in text, "the main finding stands in verdict and list"
        assert page.get_by_label("Normal", exact=True).is_enabled()
        before = page.evaluate(f"{VIEWER}.view.drawnScale")
        chips.nth(1).click()
        page.wait_for_function(f"{VIEWER}.finding.index === 1 && {VIEWER}.view.drawnScale !== {before}")
        for words in ("disagree", "None of them", "checkpoint", "misfit"):
            assert words not in page.inner_text("#right-rail"), words
        assert page.evaluate("window.shifted") < 0.1
        href = page.locator("#link a").get_attribute("href")
        assert "example=opacity-pa-man" in href


def test_the_film_is_shown_with_its_own_pixels(open_page, films):
    with open_page() as page:
        drop(page, films["chest"])
        pixels = cv2.imread(films["chest"], cv2.IMREAD_UNCHANGED)
        viewer_pixels = page.evaluate(f"Array.from({VIEWER}.films[0].image.data)")
        assert np.array_equal(np.reshape(viewer_pixels, pixels.shape), pixels)
        assert "chest.png" in page.inner_text("#film-card") and "300×300" in page.inner_text("#film-card")
        requests = []
        page.on("request", lambda request: requests.append(request.url))
        page.locator(".fv-stage").focus()
        for key in "0+IR":
            page.keyboard.press(key)
        page.locator(".fv-stage").hover()
        before = page.evaluate(f"{VIEWER}.view.drawnScale")
        page.mouse.wheel(0, 200)
        page.wait_for_function(f"{VIEWER}.view.drawnScale !== {before}")
        assert page.evaluate("window.scrollY") == 0 and not requests


def test_analyze_never_scrolls_and_never_wipes_what_is_there(open_page, films):
    with open_page() as page:
        field(page, "age").fill("63")
        drop(page, films["drawn"])
        assert field(page, "age").input_value() == "63", "typed before the first film"
        assert "turned" in page.inner_text(".fv-notice"), "a drawn film is none to the gate"
        page.click("#analyze")
        page.wait_for_selector("#status .alert")
        assert_one_screen(page)
        set_steps(page, 8)  # so that the analysis takes long enough to be seen
        page.locator(".fv-notice").get_by_role("button", name="Analyze as it is").click()
        page.wait_for_selector("#cancel")
        assert_one_screen(page, "#cancel")
        page.wait_for_function(
            f"{VIEWER}.films[0].hasNormal && document.querySelector('#cancel')?.checkVisibility()", timeout=ANALYZED
        )  # the first estimate comes before the result
        wait_for_result(page)
        assert_one_screen(page)
        assert page.locator("#cancel").is_hidden() and page.locator("#analyze").is_visible()
        page.wait_for_selector(".record-effect:has-text('Without the record')")
        verdict = page.inner_text("#verdict")
        assert "percentile" in verdict and page.locator("#film-gate :text('You go on')").count() == 1
        field(page, "age").fill("200")
        page.keyboard.press("Enter")
        page.wait_for_selector("#status .alert:has-text('Age')")
        assert page.locator("#ehr-age.invalid").count() == 1 and page.locator("#ehr-sex.invalid").count() == 0
        assert page.inner_text("#verdict") == verdict and page.evaluate(f"{VIEWER}.films[0].hasNormal")
        set_steps(page, 8)
        field(page, "age").fill("64")
        page.keyboard.press("Enter")
        page.click("#cancel")
        page.wait_for_selector("#status :text('Stopped')")
        assert page.inner_text("#verdict") == verdict and page.locator("#ehr-age.invalid").count() == 0
        page.wait_for_selector("#analyze")  # the parts of one update are not all drawn in the same frame
        assert page.locator("#analyze").is_visible() and page.locator("#cancel").is_hidden()
        set_steps(page, 2)
        field(page, "age").press("Enter")
        wait_for_result(page)
        assert page.evaluate(f"{VIEWER}.films[0].maps.length") == 1
        drop(page, films["chest"])
        page.wait_for_selector("#film-card :text('chest.png')")
        # the page draws its components one after another
        page.wait_for_function("!document.querySelector('#verdict').innerText.includes('percentile')")
        page.wait_for_function(f"!{VIEWER}.films[0].hasNormal")
        assert field(page, "age").input_value() == ""
        assert page.get_by_label("Normal", exact=True).is_disabled()


def test_a_turned_film_is_stopped_on_the_film_and_corrected(open_page, films):
    with open_page() as page:
        drop(page, films["turned"])
        notice = page.locator(".fv-notice")
        assert "turned" in notice.inner_text() and "negative" in page.inner_text("#film-gate")
        inside, viewer = notice.bounding_box(), box_of(page, "#viewer")
        assert inside["y"] > viewer["y"] and inside["y"] + inside["height"] < viewer["y"] + viewer["height"]
        assert_one_screen(page)
        notice.get_by_role("button", name="Correct it").click()
        page.wait_for_selector(".fv-notice", state="hidden")
        assert page.inner_text("#film-gate").strip() == "" and page.locator("#correct").is_hidden()
        assert page.evaluate(f"[{VIEWER}.films[0].width, {VIEWER}.films[0].height]") == [300, 300]


@pytest.mark.slow
def test_bmi_follows_at_any_typing_speed(open_page):
    with open_page("?example=phantom-opacity") as page:
        page.wait_for_function(f"{VALUE_OF}('weight_kg') === '85.5'", timeout=60_000)
        weight, bmi = field(page, "weight_kg", "_phantoms"), field(page, "bmi", "_phantoms")
        for text, delay in (("124", 60), ("90", 20), ("95", 0)):
            weight.click()
            page.keyboard.press("Control+A")
            page.keyboard.type(text, delay=delay)
            expected = f"{round(float(text) / 1.78**2, 1):g}"
            page.wait_for_function(f"expected => {VALUE_OF}('bmi') === expected", arg=expected)
        set_steps(page, 20)
        weight.fill("110")  # one event, and at once
        page.click("#analyze")
        page.wait_for_selector("#cancel", timeout=60_000)
        page.wait_for_function(f"{VALUE_OF}('bmi') === '34.7'")
        page.click("#cancel")
        page.wait_for_selector("#status :text('Stopped')")
        bmi.fill("45")
        page.click("#analyze")
        page.wait_for_selector("#status .alert:has-text('contradicts')")
        assert page.locator("#ehr-bmi_phantoms.invalid").count() == 1
        assert "percentile" in page.inner_text("#verdict"), "the result stays"


@pytest.mark.slow
def test_a_link_opens_an_example_under_its_model(open_page):
    with open_page("?example=phantom-opacity") as page:
        page.wait_for_function(f"{VIEWER}.films[0]?.hasNormal", timeout=60_000)
        assert page.locator("#model input").input_value() == "Simulated patients"
        assert page.locator("#record").is_hidden() and page.locator("#record_phantoms").is_visible()
        assert page.locator("#unused").count() == 0 or page.locator("#unused").is_hidden()
        values = [field(page, name, "_phantoms").input_value() for name in ("age", "bmi", "systolic_mmhg", "weight_kg")]
        assert values == ["45", "27", "128", "85.5"]
        page.wait_for_selector("#findings:has-text('the truth')")
        page.get_by_role("tab", name="Record", exact=True).click()
        assert "systolic pressure" in page.inner_text("#record-summary")
        page.locator("#model input").click()
        page.get_by_role("option", name="Real films").click()
        page.wait_for_selector("#record", state="visible")
        assert field(page, "age").input_value() == "45", "the record stays with the film"
        assert "percentile" not in page.inner_text("#verdict") and page.evaluate(f"{VIEWER}.films.length") == 1


@pytest.mark.slow
def test_measurements_are_saved_and_a_rectangle_is_explained(open_page, tmp_path):
    with open_page() as page:
        page.wait_for_selector("#examples button img")
        choose_example(page, 3)
        page.get_by_label("Mean difference inside a rectangle", exact=True).check(force=True)
        stage = box_of(page, ".fv-stage")
        middle = stage["x"] + stage["width"] / 2, stage["y"] + stage["height"] / 2
        page.mouse.move(middle[0] - 80, middle[1] - 60)
        page.mouse.down()
        page.mouse.move(middle[0] + 60, middle[1] + 60)
        page.mouse.up()
        draw = "(t, from, to) => { t.begin(0, from); t.drag(to); t.finish(); }"
        lines = [("ruler", 0.3, 0.2, 0.6), ("ratio", 0.6, 0.4, 0.7), ("ratio", 0.7, 0.2, 0.8)]
        for tool, row, left, right in lines:
            start, end = f"{{x: {left}, y: {row}}}", f"{{x: {right}, y: {row}}}"
            page.evaluate(f"() => {{ {VIEWER}.setTool('{tool}'); ({draw})({VIEWER}.tools, {start}, {end}); }}")
        page.click("#save")
        page.wait_for_selector("#saved :text('.zip')", timeout=90_000)
        with page.expect_download() as download:
            page.locator("#saved a[download]").first.click()
        download.value.save_as(tmp_path / "result.zip")
        with zipfile.ZipFile(tmp_path / "result.zip") as archive:
            assert {"report.pdf", "result.json"} <= set(archive.namelist())
            result = json.loads(archive.read("result.json"))
            area, length, ratio = result["measurements"]
            assert "mean difference" in area and length == "Length 205 px" and ratio == "Cardiothoracic ratio 0.50"
            assert "film" not in result and result["findings"]
        page.get_by_role("button", name="Explain this region").click()
        page.wait_for_selector("#status :text('Explained in')", timeout=ANALYZED)
        assert page.locator("#explanation .card p").count() == 2, "one region alone, and how it was measured"
        page.get_by_role("button", name="Explain this region").click()
        page.locator("#findings .chip-explain").first.click()  # at once: the later click has the page
        zone = page.locator("#findings .chip").first.inner_text().split("\n")[0].removeprefix("1 ")
        page.wait_for_selector(f"#explanation .card :text('With the record, the {zone} ')", timeout=ANALYZED)
        page.wait_for_selector("#status :text('Explained in')", timeout=ANALYZED)
        assert page.evaluate("window.scrollY") == 0 and "percentile" in page.inner_text("#verdict")


def test_a_second_film_is_analyzed_beside_the_first(open_page, films):
    with open_page() as page:
        drop(page, films["chest"])
        drop(page, films["prior"], "prior-file", 2)
        page.click("#analyze")
        wait_for_result(page)
        page.wait_for_function(f"{VIEWER}.films.every(film => film.hasNormal && film.maps.length === 1)")
        assert "The second film: percentile" in page.inner_text("#verdict")
        assert page.locator("#findings h4").all_inner_texts() == ["chest.png", "prior.png"]
        assert_one_screen(page)
        assert page.evaluate("window.shifted") < 0.1
        page.click("#close-film")
        page.wait_for_selector("#examples", state="visible")
        assert page.evaluate(f"{VIEWER}.films.length") == 0


@pytest.mark.slow
def test_a_row_of_many_cases_opens_with_its_record(open_page, tmp_path):
    with zipfile.ZipFile(tmp_path / "films.zip", "w") as archive:
        for index in range(2):
            film = (make_person(2_050_001 + index).render(200) * 255).astype(np.uint8)
            archive.writestr(f"{index}.png", cv2.imencode(".png", film)[1].tobytes())
    (tmp_path / "manifest.csv").write_text("path,age,sex,view\n0.png,39,F,AP\n1.png,52,M,PA\n")
    with open_page() as page:
        page.get_by_role("tab", name="Many cases", exact=True).click()
        page.set_input_files("#cohort-manifest input[type=file]", str(tmp_path / "manifest.csv"))
        page.set_input_files("#cohort-zip input[type=file]", str(tmp_path / "films.zip"))
        page.wait_for_selector("#cohort-zip :text('films')")
        page.click("#cohort-run")
        page.wait_for_selector("#cohort-status :text('Done: 2 films')", timeout=ANALYZED)
        page.locator("#cohort-table").get_by_text("1.png").last.click()
        page.wait_for_selector("#film-card :text('200×200')", timeout=60_000)
        assert field(page, "age").input_value() == "52" and "from the table" in page.inner_text("#ehr-age")
        assert "The record is that of the table's row" in page.inner_text("#status"), "nothing was emptied"


@pytest.mark.slow
def test_a_stopped_explanation_leaves_the_result(open_page):
    with open_page("?example=phantom-nodule") as page:
        page.wait_for_function(f"{VIEWER}.films[0]?.hasNormal", timeout=60_000)
        page.get_by_role("tab", name="Record", exact=True).click()
        page.click("#explain")
        page.wait_for_selector("#explanation details", state="attached", timeout=ANALYZED)
        page.click("#cancel")
        page.wait_for_selector("#status :text('Stopped')")
        assert page.locator("#explanation details").count() >= 1 and "percentile" in page.inner_text("#verdict")
        assert page.evaluate(f"{VIEWER}.films[0].hasNormal") and page.locator("#analyze").is_visible()
