"""Teach in a browser, as a class uses it: projector and phone, arrow keys, a reading from the first mark to the CSV."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path

import cv2
import pytest
from helpers import serving

from app.tabs.reading_report import read_csv
from diff3m.data.phantom import make_person
from diff3m.evaluation.free_response import count_marks

pytestmark = pytest.mark.slow  # a server of its own
SLOW = 240_000  # milliseconds that an answer may take on a busy machine
VIEWER = "document.querySelector('#{} .film-viewer')?.viewer"


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A set of two simulated films, as a teacher would write it: one with an opacity, one normal."""
    path = tmp_path_factory.mktemp("sets") / "my-films"
    path.mkdir()
    phantom = make_person(2_050_209, "opacity").render_with_lesion(300)
    for name, film in (("a", phantom.film), ("b", make_person(2_050_201).render(300))):
        cv2.imwrite(str(path / f"{name}.png"), (film * 255).clip(0, 255).astype("uint8"))
    x, y, width, height = cv2.boundingRect(phantom.mask.astype("uint8"))
    (path / "manifest.csv").write_text(
        "path,title,question,answer,boxes,label\n"
        f"a.png,First,What is here?,An opacity.,opacity {x} {y} {width} {height},\nb.png,,,,,normal\nno.png,,,,,\n"
    )
    return path


@pytest.fixture(scope="module")
def storage(tmp_path_factory) -> Path:
    """Where the server keeps its files."""
    return tmp_path_factory.mktemp("storage")


@pytest.fixture(scope="module")
def own_url(folder, storage, tmp_path_factory):
    """A page with the set; its results are computed when it starts."""
    log = tmp_path_factory.mktemp("log") / "log"
    with serving(log, "--cases", str(folder), TMPDIR=str(storage)) as address:
        yield address
    log_text = log.read_text()
    assert (
        "2 films ready, 1 left out" in log_text
        and "Row 3 (no.png) is left out" in log_text
        and "Traceback" not in log_text
    )


@pytest.fixture
def open_teach(own_url, browser):
    """Open the page at a link; at the end nothing may have been logged as an error."""

    @contextmanager
    def opened(query: str, width: int, height: int, viewer: str, **options):
        page = browser.new_page(viewport={"width": width, "height": height}, **options)
        page.set_default_timeout(120_000)
        errors = []
        page.on("console", lambda message: message.type == "error" and errors.append(message.text))
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(f"{own_url}{query}")
        page.wait_for_selector(f"#{viewer} .fv-stage")
        yield page
        assert not errors, errors
        page.close()

    return opened


def wait_for_answer(page, selector: str = "#lesson-answer") -> None:
    page.wait_for_function(
        f"document.querySelector('{selector} .card') && !document.querySelector('{selector}').innerText.includes('…')",
        timeout=SLOW,
    )


def show_answer(page) -> None:
    page.click("#lesson-ask")
    wait_for_answer(page)
    page.wait_for_function(f"{VIEWER.format('lesson-viewer')}.films[0].hasNormal")


@pytest.mark.slow
@pytest.mark.parametrize(("width", "height", "film"), [(1920, 1080, 800), (1440, 900, 600)])
def test_question_film_and_answer_stand_on_one_screen(open_teach, width, height, film):
    with open_teach("?lesson=my-films/a.png", width, height, "lesson-viewer") as page:
        assert "What is here?" in page.inner_text("#lesson-question") and page.locator("#lesson-guess").is_hidden()
        show_answer(page)
        assert page.evaluate("scrollY") == 0 and page.evaluate("document.documentElement.scrollWidth") == width
        boxes = [
            page.locator(name).bounding_box()
            for name in ("#lesson-ask", "#lesson-viewer", "#lesson-answer .card >> nth=0")
        ]
        for box in boxes:
            assert box["y"] >= 0 and box["y"] + box["height"] <= height, boxes
        question, viewer, answer = boxes
        assert question["x"] + question["width"] <= viewer["x"] and viewer["x"] + viewer["width"] <= answer["x"]
        assert viewer["height"] >= film and viewer["width"] >= film * 0.8
        assert "An opacity. The truth: opacity, outlined." in page.inner_text("#lesson-answer")
        assert page.evaluate(f"{VIEWER.format('lesson-viewer')}.films[0].findings[0].label") == "opacity, the truth"


@pytest.mark.slow
def test_on_a_phone_the_answer_comes_into_view_under_the_film(open_teach):
    with open_teach("?lesson=my-films/a.png", 390, 844, "lesson-viewer") as page:
        viewer = page.locator("#lesson-viewer").bounding_box()
        assert viewer["y"] + viewer["height"] < 844 and page.evaluate("document.documentElement.scrollWidth") == 390
        show_answer(page)
        page.wait_for_function("document.querySelector('#lesson-answer .card').getBoundingClientRect().top < 600")
        viewer, answer = (
            page.locator(name).bounding_box() for name in ("#lesson-viewer", "#lesson-answer .card >> nth=0")
        )
        assert viewer["y"] >= -1 and viewer["y"] + viewer["height"] <= answer["y"] + 1, (viewer, answer)


@pytest.mark.slow
def test_the_slider_of_a_lesson_obeys_arrow_keys(open_teach):
    with open_teach("?lesson=heal", 1440, 900, "lesson-viewer") as page:
        address = f"{VIEWER.format('lesson-viewer')}.films[0]?.name"
        page.wait_for_function(f"{address} === 'Three lesions at strength 0.40'")
        page.focus("#lesson-setting input[type=range]")
        page.keyboard.press("ArrowRight")
        page.wait_for_function(f"{address} === 'Three lesions at strength 0.42'", timeout=SLOW)


def test_an_unknown_lesson_is_said(open_teach):
    with open_teach("?lesson=nothing", 1440, 900, "lesson-viewer") as page:
        page.wait_for_selector("text=There is no lesson")


def test_own_films_are_the_examples_of_explore(open_teach):
    with open_teach("?example=my-films/a.png", 1440, 900, "viewer") as page:
        page.wait_for_function(f"{VIEWER.format('viewer')}?.films[0]?.hasNormal")
        assert "percentile" in page.inner_text("#verdict")
        labels = page.evaluate(f"{VIEWER.format('viewer')}.films[0].findings.map((finding) => finding.label)")
        assert any("truth" in label for label in labels)


def place(page, row: float, column: float) -> tuple[float, float]:
    """A place of the first film, in shares of its sides, as one of the window."""
    spot = page.evaluate(
        f"(([x, y]) => {{ const viewer = {VIEWER.format('reading-viewer')}; const pane = viewer.view.panes[0];"
        "const at = viewer.view.toCanvas(pane, { x, y }); const stage = viewer.root.querySelector('.fv-stage');"
        "const box = stage.getBoundingClientRect();"
        "return [box.x + at.x / viewer.ratio, box.y + at.y / viewer.ratio]; })",
        [column, row],
    )
    return tuple(spot)


def test_a_reading_from_the_first_mark_to_the_class(open_teach, folder, storage, tmp_path):
    viewer = VIEWER.format("reading-viewer")
    text = (folder / "manifest.csv").read_text().splitlines()[1].split("opacity ")[1].rstrip(",")
    x, y, width, height = (float(number) / 300 for number in text.split())
    with open_teach("?read=my-films", 1440, 900, "reading-viewer", accept_downloads=True) as page:
        page.click("#reading-start")
        page.wait_for_function(f"{viewer}?.films[0]?.name === 'Film 1' && {viewer}.tools.tool === 'rectangle'")
        assert page.evaluate(f"{viewer}.films[0].hasNormal") is False
        page.mouse.click(*place(page, 0.9, 0.1))  # a point, and a wrong one
        page.wait_for_selector("#reading-mark-1")
        page.mouse.move(*place(page, y, x))
        page.mouse.down()
        page.mouse.move(*place(page, y + height / 2, x + width / 2), steps=3)
        page.mouse.move(*place(page, y + height, x + width), steps=3)
        page.mouse.up()
        page.wait_for_selector("#reading-mark-2")
        numbers = page.locator("#reading-viewer .fv-overlay .fv-label").all_text_contents()
        assert numbers == ["1", "2"], "marks have numbers"
        page.click("#reading-mark-2 label:has-text('certain')")
        page.click("#reading-mark-1 label:has-text('a guess')")
        assert page.locator("#reading-viewer .fv-measured button:visible").all_inner_texts() == ["×", "×", "Erase all"]
        page.click("#reading-submit")
        page.wait_for_selector("#reading-result h3", timeout=SLOW)
        result = page.inner_text("#reading-result")
        assert "You found 1 of 1." in result and "False marks: 1." in result and "An opacity." in result
        page.wait_for_function(f"{viewer}.films[0].hasNormal && {viewer}.films[0].maps.length > 0")
        assert page.evaluate(f"{viewer}.films[0].findings[0].label") == "opacity, the truth"
        page.click("#reading-next")
        page.wait_for_function(f"{viewer}.films[0].name === 'Film 2' && {viewer}.tools.measurements.length === 0")
        page.click("#reading-submit")
        page.wait_for_selector("#reading-result :text('You left it alone')", timeout=SLOW)
        page.click("#reading-next")
        page.wait_for_selector("#reading-result svg")
        assert "You: sensitivity 100% of 1, 0.5 false marks a film." in page.inner_text("#reading-result")
        with page.expect_download() as download:
            page.click("#reading-save")
        table = tmp_path / "mine.csv"
        download.value.save_as(table)
        first, second = read_csv(table.read_bytes())
        assert count_marks(first.reading) == (1, 1) and count_marks(first.reading, 4) == (1, 0)
        assert second.reading.truths == () == second.reading.marks and first.seconds > 0
        page.click("#reading-class-fold button")
        page.set_input_files("#reading-class input[type=file]", [str(table)])
        page.wait_for_selector("#reading-class-result :text('The class: one reader')")
        assert not list(storage.rglob("*.csv")), "nothing of the readers is kept on the server"
