"""Mouse, touch and keys of the viewer, what it says, and the viewer inside Gradio."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import gradio as gr
import numpy as np
import pytest
from viewer_bench import HEIGHT, ORIGIN, VIEWER, WIDTH

from app.components.viewer import (
    STATIC_FOLDER,
    Notice,
    Status,
    ViewerState,
    build_film,
    encode_film,
    film_viewer,
    read_measurements,
    with_measurements,
)


def test_wheel_drag_and_double_click_move_the_film_without_a_request(bench, state, files):
    opened = bench(state, files)
    pointer = opened.on_screen(0.3, 0.4)
    whole = opened.ask("v.view.drawnScale")
    opened.page.mouse.move(*pointer)
    opened.page.mouse.wheel(0, -400)
    opened.settle()
    assert opened.ask("v.view.drawnScale") == pytest.approx(whole * np.exp(0.64), rel=1e-3)
    assert opened.on_screen(0.3, 0.4) == pytest.approx(pointer, abs=1), "the place under the pointer stays"
    opened.drag(pointer, (pointer[0] + 60, pointer[1] - 30))
    assert opened.on_screen(0.3, 0.4) == pytest.approx((pointer[0] + 60, pointer[1] - 30), abs=1.5)
    opened.page.mouse.dblclick(*pointer)
    opened.settle()
    assert opened.ask("v.view.isWhole") and opened.ask("v.view.center") == {"x": 0.5, "y": 0.5}
    assert opened.requests == []


def test_right_drag_and_w_drag_and_sliders_set_the_window(bench, state, files):
    opened = bench(state, files)
    start = opened.on_screen(0.5, 0.5)
    opened.drag(start, (start[0] - 100, start[1] + 40), button="right")
    narrowed = opened.ask("v.view.window")
    assert narrowed["width"] == pytest.approx(np.exp(-0.5), rel=0.02) and narrowed["center"] > 0.5
    assert opened.ask("v.view.center") == {"x": 0.5, "y": 0.5}, "the film stays where it is"
    opened.page.keyboard.down("w")
    opened.drag(start, (start[0] + 100, start[1]))
    opened.page.keyboard.up("w")
    assert opened.ask("v.view.window.width") == pytest.approx(1, rel=0.02)
    opened.page.get_by_label("Level").focus()
    opened.page.keyboard.press("ArrowRight")
    assert opened.ask("v.view.window.center") == pytest.approx(narrowed["center"], abs=0.011)
    assert opened.page.locator("select[aria-label=Window]").input_value() == "Own window"
    assert opened.requests == []


def test_modes_by_keyboard_alone(bench, state, files, arrays):
    opened = bench(state, files)
    opened.key("O", "3", "0")
    film, normal = (opened.picture()[opened.film_area(pane)][..., 0].astype(float) for pane in (0, 1))
    assert np.array_equal(film, arrays["film"]) and np.abs(normal - arrays["normal"] / 257).max() <= 0.51
    opened.key("4", "0")
    for _ in range(40):
        opened.page.keyboard.press("Tab")
        if opened.page.evaluate("document.activeElement.className") == "fv-divider":
            break
    opened.page.keyboard.press("PageDown")
    opened.page.keyboard.press("ArrowLeft")
    opened.settle()
    assert opened.ask("v.view.swipe") == pytest.approx(0.38)
    rows, columns = opened.film_area()
    shown, split = opened.picture()[rows, columns][..., 0].astype(float), round(830 * 0.38) - columns.start
    assert np.array_equal(shown[:, :split], arrays["film"][:, :split])
    assert np.abs(shown[:, split:] - arrays["normal"][:, split:] / 257).max() <= 0.51
    opened.page.locator("input[value=film]").focus()
    opened.page.keyboard.press("ArrowRight")
    assert opened.ask("v.view.mode") == "normal", "the radio buttons follow the arrow keys"
    assert opened.requests == []


def test_the_normal_film_comes_beside_the_film_until_the_reader_chooses(bench, before, state, files):
    before, state = replace(before, mode="both"), replace(state, mode="both")
    opened = bench(before, files)
    assert opened.ask("v.view.mode") == "film"
    opened.load(state)
    assert opened.ask("v.view.mode") == "both"
    opened.key("4")
    opened.load(state)
    assert opened.ask("v.view.mode") == "swipe"
    opened.load(before)
    assert opened.ask("v.view.mode") == "film"
    opened.load(state)
    assert opened.ask("v.view.mode") == "swipe", "what the reader chose last"


def test_on_a_narrow_window_the_film_stays_alone(bench, before, state, files):
    opened = bench(replace(before, mode="both"), files)
    opened.page.set_viewport_size({"width": 500, "height": 700})
    opened.load(replace(state, mode="both"))
    assert opened.ask("v.view.mode") == "film"


def test_every_control_is_reached_by_tab_and_is_named(bench, state, files):
    opened = bench(state, files)
    opened.choose("Mean difference inside a rectangle")
    opened.key("Enter", "4")
    opened.page.evaluate("document.activeElement.blur()")
    names = set()
    for _ in range(60):
        opened.page.keyboard.press("Tab")
        names.add(
            opened.page.evaluate(
                "(e => e.getAttribute('aria-label') ?? e.closest('label')?.innerText ?? '')(document.activeElement)"
            )
        )
    wanted = {"Swipe", "Difference", "Opacity", "Threshold", "Full screen (F)", "Keys (?)", "Window", "Level", "Width"}
    wanted |= {"Invert (I)", "Map colors", "Reset zoom and window (R)", "Film", "Divider between film and normal"}
    wanted |= {"Whole film", "Magnify (+)", "Reduce (−)"}
    assert wanted <= {name.split("\n")[0] for name in names}, wanted - names
    assert any(name.startswith("Area, end 1") for name in names) and any(
        name.startswith("Explain this region") for name in names
    )


def test_before_the_analysis_normal_and_map_are_disabled(bench, before, state, files):
    opened = bench(before, files)
    for name in ("Normal", "Side by side", "Swipe", "Difference", "Size"):
        assert opened.page.get_by_label(name, exact=True).is_disabled()
    opened.key("2")
    assert opened.ask("v.view.mode") == "film" and "once the film is analyzed" in opened.page.inner_text(".fv-hint")
    opened.key("+")
    opened.choose("Measure a length")
    opened.key("Enter")
    scale = opened.ask("v.view.drawnScale")
    opened.load(state)
    assert opened.page.get_by_label("Swipe", exact=True).is_enabled()
    assert opened.ask("v.view.drawnScale") == scale and len(opened.ask("v.measurements().measurements")) == 1
    assert [url.removeprefix(ORIGIN) for url in opened.requests] == ["normal.png", "map.png"], (
        "the film itself comes once"
    )
    opened.load(replace(state, film=replace(state.film, film="prior.png")))
    assert opened.ask("v.view.isWhole") and opened.ask("v.measurements().measurements") == [], (
        "another film begins anew"
    )


def test_touch_pinches_pans_and_opens_the_tools(bench, state, files):
    opened = bench(state, files, viewport={"width": 390, "height": 700}, has_touch=True)
    x, y = opened.on_screen(0.5, 0.5)
    scale = opened.ask("v.view.drawnScale")
    opened.touch("touchStart", (x - 40, y))
    opened.touch("touchStart", (x - 40, y), (x + 40, y))
    opened.touch("touchMove", (x - 80, y), (x + 80, y))
    opened.touch("touchEnd")
    opened.settle()
    assert opened.ask("v.view.drawnScale") == pytest.approx(2 * scale, rel=0.02)
    assert opened.on_screen(0.5, 0.5) == pytest.approx((x, y), abs=2)
    opened.touch("touchStart", (x - 40, y))
    opened.touch("touchStart", (x - 40, y), (x + 40, y))
    opened.touch("touchMove", (x - 10, y + 50), (x + 70, y + 50))
    opened.touch("touchEnd")
    opened.settle()
    assert opened.on_screen(0.5, 0.5) == pytest.approx((x + 30, y + 50), abs=2)
    assert opened.page.locator(".fv-extra").is_hidden()
    opened.touch("touchStart", (x, y))
    opened.page.wait_for_timeout(700)
    opened.touch("touchEnd")
    assert opened.page.locator(".fv-extra").is_visible()
    opened.choose("Measure a length")
    opened.touch("touchStart", (x - 50, y))
    opened.touch("touchMove", (x + 50, y))
    opened.touch("touchEnd")
    assert opened.ask("v.measurements().measurements[0].kind") == "ruler"


def test_full_screen_fills_the_window(bench, state, files):
    opened = bench(state, files)
    opened.page.evaluate("document.querySelector('#viewer').style.height = '400px'")
    opened.key("f")
    opened.page.wait_for_function(f"{VIEWER}.isFullScreen")
    opened.settle()
    sides = opened.ask("[v.root.clientWidth - innerWidth, v.root.clientHeight - innerHeight]")
    assert sides == [0, 0]
    opened.key("f")
    opened.page.wait_for_function(f"!{VIEWER}.isFullScreen")


def test_help_lists_the_keys(bench, state, files):
    opened = bench(state, files)
    opened.key("?")
    assert opened.page.get_by_role("dialog", name="Keys").is_visible() and "Invert" in opened.page.inner_text("dialog")
    opened.page.keyboard.press("i")
    assert not opened.ask("v.view.inverted"), "keys rest while the list is open"
    opened.page.keyboard.press("Escape")
    assert opened.page.get_by_role("dialog", name="Keys").is_hidden()


def test_letters_in_a_field_of_the_page_are_not_keys_of_the_viewer(bench, state, files):
    opened = bench(state, files)
    opened.page.evaluate(
        "document.body.insertAdjacentHTML('beforeend', '<input id=age style=\"position:fixed;top:0\">')"
    )
    opened.page.locator("#age").focus()
    opened.page.keyboard.type("i2m")
    assert not opened.ask("v.view.inverted") and opened.ask("v.view.mode") == "film"
    assert opened.page.locator("#age").input_value() == "i2m"


def test_notice_status_and_description_are_told(bench, state, files):
    notice = Notice("This film is turned.", (("rotate", "Set it right"), ("go", "Analyze anyway")))
    opened = bench(replace(state, notice=notice, status=Status("Analyzing", 0.4)), files)
    opened.page.evaluate("document.addEventListener('viewer-action', event => { window.pressed = event.detail; })")
    opened.page.get_by_role("button", name="Set it right").click()
    assert opened.page.evaluate("window.pressed") == {"id": "rotate"}
    assert opened.page.get_by_role("progressbar", name="Analyzing").get_attribute("value") == "0.4"
    told = opened.page.text_content("#" + opened.page.get_attribute(".fv-stage", "aria-describedby"))
    assert (
        told.startswith("One place stands out: right upper zone. Film, 260 by 300 pixels.")
        and "left lower zone" in told
    )
    opened.load(state)
    assert opened.page.locator(".fv-notice").is_hidden() and opened.page.locator(".fv-status").is_hidden()


@pytest.mark.parametrize(
    "broken", [None, b"no picture", cv2.imencode(".png", np.zeros((9, 9, 3), np.uint8))[1].tobytes()]
)
def test_a_file_that_is_no_film_is_said_in_words(bench, before, files, broken):
    opened = bench(None, files)
    if broken is None:
        del files["film.png"]
    else:
        files["film.png"] = broken
    opened.load(before)
    words = opened.page.inner_text(".fv-notice")
    assert ("Load the film again" if broken is None else "plain grey PNG") in words
    opened.errors[:] = [error for error in opened.errors if "404" not in error]  # the browser's own line
    files["film.png"] = encode_film(np.zeros((9, 9), np.uint8))
    opened.load(before)
    assert opened.ask("v.films.length") == 1 and opened.page.locator(".fv-notice").is_hidden()


@pytest.mark.parametrize(
    ("width", "height"),
    [(390, 700), (1440, 900), *(pytest.param(*size, marks=pytest.mark.slow) for size in ((720, 700), (1920, 1080)))],
)
def test_axe_finds_nothing_serious_at_any_width(bench, pair, files, width, height):
    axe = pytest.importorskip("axe_core_python.sync_playwright").Axe()
    opened = bench(pair, files, viewport={"width": width, "height": height})
    opened.ask("v.root.classList.add('fv-tools-open')")
    opened.choose("Cardiothoracic ratio, by two lines")
    opened.key("Enter", "4")
    violations = [entry for entry in axe.run(opened.page)["violations"] if entry["impact"] in ("serious", "critical")]
    assert not violations, [(entry["id"], [node["html"][:160] for node in entry["nodes"][:3]]) for entry in violations]
    assert opened.page.evaluate("document.documentElement.scrollWidth") <= width
    stage = opened.page.locator(".fv-stage").bounding_box()
    assert stage["height"] >= (0.5 if width < 500 else 0.75) * height
    for control in opened.page.locator(
        ".fv-bar button:visible, .fv-bar select:visible, .fv-bar fieldset:visible"
    ).all():
        box = control.bounding_box()
        assert box["x"] >= 0 and box["x"] + box["width"] <= width


@pytest.fixture(scope="module", params=["", "/reading"])
def address(request, tmp_path_factory):
    """A page of Gradio with the viewer, at the root or under a path."""
    folder = tmp_path_factory.mktemp("films")

    def store(data: bytes) -> Path:
        path = folder / f"{hash(data)}.png"
        path.write_bytes(data)
        return path

    def explain(event: gr.EventData) -> str:
        return f"{event.film} {[round(share, 2) for share in event.box]}"

    def save(measured: str) -> str:
        return "; ".join(measurement.text for measurement in read_measurements(measured))

    pixels = np.random.default_rng(3).integers(0, 256, (HEIGHT, WIDTH), np.uint8)
    gr.set_static_paths([STATIC_FOLDER])
    with gr.Blocks(analytics_enabled=False) as demo:
        load, measure = gr.Button("Load", elem_id="load"), gr.Button("Save", elem_id="save")
        viewer = film_viewer(height="600px")
        text, measured = gr.Textbox(elem_id="text"), gr.Textbox(visible="hidden")
        load.click(lambda: ViewerState(build_film(pixels, store=store)).to_value(), outputs=viewer)
        measure.click(save, measured, text, js=with_measurements("viewer"))
        viewer.explain(explain, None, text)
    _, url, _ = demo.launch(prevent_thread_lock=True, quiet=True, root_path=request.param, allowed_paths=[str(folder)])
    yield url.rstrip("/") + request.param + "/"
    demo.close()


@pytest.mark.slow
def test_inside_gradio_values_go_in_and_events_come_out(browser, address):
    page = browser.new_page(viewport={"width": 1440, "height": 900})
    errors = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(address)
    page.wait_for_selector("#viewer .fv-stage canvas", timeout=30_000)
    page.click("#load")
    page.wait_for_function(f"{VIEWER}.films.length === 1")
    page.get_by_label("Mean difference inside a rectangle", exact=True).check(force=True)
    box = page.locator(".fv-stage").bounding_box()
    middle = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(middle[0] - 60, middle[1] - 60)
    page.mouse.down()
    page.mouse.move(middle[0] + 60, middle[1] + 60)
    page.mouse.up()
    page.get_by_role("button", name="Explain this region").click()
    page.wait_for_function("document.querySelector('#text textarea, #text input').value.startsWith('0 [')")
    page.click("#save")
    page.wait_for_function("document.querySelector('#text textarea, #text input').value.startsWith('Area ')")
    assert not errors, errors
    page.close()
