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
    viewer = bench(state, files)
    pointer = viewer.on_screen(0.3, 0.4)
    whole = viewer.ask("v.view.drawnScale")
    viewer.page.mouse.move(*pointer)
    viewer.page.mouse.wheel(0, -400)
    viewer.settle()
    assert viewer.ask("v.view.drawnScale") == pytest.approx(whole * np.exp(0.64), rel=1e-3)
    assert viewer.on_screen(0.3, 0.4) == pytest.approx(pointer, abs=1), "the place under the pointer stays"
    viewer.drag(pointer, (pointer[0] + 60, pointer[1] - 30))
    assert viewer.on_screen(0.3, 0.4) == pytest.approx((pointer[0] + 60, pointer[1] - 30), abs=1.5)
    viewer.page.mouse.dblclick(*pointer)
    viewer.settle()
    assert viewer.ask("v.view.isWhole") and viewer.ask("v.view.center") == {"x": 0.5, "y": 0.5}
    assert viewer.requests == []


def test_right_drag_and_w_drag_and_sliders_set_the_window(bench, state, files):
    viewer = bench(state, files)
    start = viewer.on_screen(0.5, 0.5)
    viewer.drag(start, (start[0] - 100, start[1] + 40), button="right")
    window = viewer.ask("v.view.window")
    assert window["width"] == pytest.approx(np.exp(-0.5), rel=0.02) and window["center"] > 0.5
    assert viewer.ask("v.view.center") == {"x": 0.5, "y": 0.5}, "the film stays where it is"
    viewer.page.keyboard.down("w")
    viewer.drag(start, (start[0] + 100, start[1]))
    viewer.page.keyboard.up("w")
    assert viewer.ask("v.view.window.width") == pytest.approx(1, rel=0.02)
    viewer.page.get_by_label("Level").focus()
    viewer.page.keyboard.press("ArrowRight")
    assert viewer.ask("v.view.window.center") == pytest.approx(window["center"], abs=0.011)
    assert viewer.page.locator("select[aria-label=Window]").input_value() == "Own window"
    assert viewer.requests == []


def test_modes_by_keyboard_alone(bench, state, files, arrays):
    viewer = bench(state, files)
    viewer.key("O", "3", "0")
    film, normal = (viewer.picture()[viewer.film_area(pane)][..., 0].astype(float) for pane in (0, 1))
    assert np.array_equal(film, arrays["film"]) and np.abs(normal - arrays["normal"] / 257).max() <= 0.51
    viewer.key("4", "0")
    for _ in range(40):
        viewer.page.keyboard.press("Tab")
        if viewer.page.evaluate("document.activeElement.className") == "fv-divider":
            break
    viewer.page.keyboard.press("PageDown")
    viewer.page.keyboard.press("ArrowLeft")
    viewer.settle()
    assert viewer.ask("v.view.swipe") == pytest.approx(0.38)
    rows, columns = viewer.film_area()
    pixels, split = viewer.picture()[rows, columns][..., 0].astype(float), round(830 * 0.38) - columns.start
    assert np.array_equal(pixels[:, :split], arrays["film"][:, :split])
    assert np.abs(pixels[:, split:] - arrays["normal"][:, split:] / 257).max() <= 0.51
    viewer.page.locator("input[value=film]").focus()
    viewer.page.keyboard.press("ArrowRight")
    assert viewer.ask("v.view.mode") == "normal", "the radio buttons follow the arrow keys"
    assert viewer.requests == []


def test_the_normal_film_comes_beside_the_film_until_the_reader_chooses(bench, before, state, files):
    before, state = replace(before, mode="both"), replace(state, mode="both")
    viewer = bench(before, files)
    assert viewer.ask("v.view.mode") == "film"
    viewer.load(state)
    assert viewer.ask("v.view.mode") == "both"
    viewer.key("4")
    viewer.load(state)
    assert viewer.ask("v.view.mode") == "swipe"
    viewer.load(before)
    assert viewer.ask("v.view.mode") == "film"
    viewer.load(state)
    assert viewer.ask("v.view.mode") == "swipe", "what the reader chose last"


def test_on_a_narrow_window_the_film_stays_alone(bench, before, state, files):
    viewer = bench(replace(before, mode="both"), files)
    viewer.page.set_viewport_size({"width": 500, "height": 700})
    viewer.load(replace(state, mode="both"))
    assert viewer.ask("v.view.mode") == "film"


def test_every_control_is_reached_by_tab_and_is_named(bench, state, files):
    viewer = bench(state, files)
    viewer.choose("Mean difference inside a rectangle")
    viewer.key("Enter", "4")
    viewer.page.evaluate("document.activeElement.blur()")
    names = set()
    for _ in range(60):
        viewer.page.keyboard.press("Tab")
        names.add(
            viewer.page.evaluate(
                "(e => e.getAttribute('aria-label') ?? e.closest('label')?.innerText ?? '')(document.activeElement)"
            )
        )
    expected_names = {
        "Swipe",
        "Difference",
        "Opacity",
        "Threshold",
        "Full screen (F)",
        "Keys (?)",
        "Window",
        "Level",
        "Width",
    }
    expected_names |= {
        "Invert (I)",
        "Map colors",
        "Reset zoom and window (R)",
        "Film",
        "Divider between film and normal",
    }
    expected_names |= {"Whole film", "Magnify (+)", "Reduce (−)"}
    assert expected_names <= {name.split("\n")[0] for name in names}, expected_names - names
    assert any(name.startswith("Area, end 1") for name in names) and any(
        name.startswith("Explain this region") for name in names
    )


def test_before_the_analysis_normal_and_map_are_disabled(bench, before, state, files):
    viewer = bench(before, files)
    for name in ("Normal", "Side by side", "Swipe", "Difference", "Size"):
        assert viewer.page.get_by_label(name, exact=True).is_disabled()
    viewer.key("2")
    assert viewer.ask("v.view.mode") == "film" and "once the film is analyzed" in viewer.page.inner_text(".fv-hint")
    viewer.key("+")
    viewer.choose("Measure a length")
    viewer.key("Enter")
    scale = viewer.ask("v.view.drawnScale")
    viewer.load(state)
    assert viewer.page.get_by_label("Swipe", exact=True).is_enabled()
    assert viewer.ask("v.view.drawnScale") == scale and len(viewer.ask("v.measurements().measurements")) == 1
    assert [url.removeprefix(ORIGIN) for url in viewer.requests] == ["normal.png", "map.png"], (
        "the film itself comes once"
    )
    viewer.load(replace(state, film=replace(state.film, film="prior.png")))
    assert viewer.ask("v.view.isWhole") and viewer.ask("v.measurements().measurements") == [], (
        "another film begins anew"
    )


def test_touch_pinches_pans_and_opens_the_tools(bench, state, files):
    viewer = bench(state, files, viewport={"width": 390, "height": 700}, has_touch=True)
    x, y = viewer.on_screen(0.5, 0.5)
    scale = viewer.ask("v.view.drawnScale")
    viewer.touch("touchStart", (x - 40, y))
    viewer.touch("touchStart", (x - 40, y), (x + 40, y))
    viewer.touch("touchMove", (x - 80, y), (x + 80, y))
    viewer.touch("touchEnd")
    viewer.settle()
    assert viewer.ask("v.view.drawnScale") == pytest.approx(2 * scale, rel=0.02)
    assert viewer.on_screen(0.5, 0.5) == pytest.approx((x, y), abs=2)
    viewer.touch("touchStart", (x - 40, y))
    viewer.touch("touchStart", (x - 40, y), (x + 40, y))
    viewer.touch("touchMove", (x - 10, y + 50), (x + 70, y + 50))
    viewer.touch("touchEnd")
    viewer.settle()
    assert viewer.on_screen(0.5, 0.5) == pytest.approx((x + 30, y + 50), abs=2)
    assert viewer.page.locator(".fv-extra").is_hidden()
    viewer.touch("touchStart", (x, y))
    viewer.page.wait_for_timeout(700)
    viewer.touch("touchEnd")
    assert viewer.page.locator(".fv-extra").is_visible()
    viewer.choose("Measure a length")
    viewer.touch("touchStart", (x - 50, y))
    viewer.touch("touchMove", (x + 50, y))
    viewer.touch("touchEnd")
    assert viewer.ask("v.measurements().measurements[0].kind") == "ruler"


def test_full_screen_fills_the_window(bench, state, files):
    viewer = bench(state, files)
    viewer.page.evaluate("document.querySelector('#viewer').style.height = '400px'")
    viewer.key("f")
    viewer.page.wait_for_function(f"{VIEWER}.isFullScreen")
    viewer.settle()
    sides = viewer.ask("[v.root.clientWidth - innerWidth, v.root.clientHeight - innerHeight]")
    assert sides == [0, 0]
    viewer.key("f")
    viewer.page.wait_for_function(f"!{VIEWER}.isFullScreen")


def test_help_lists_the_keys(bench, state, files):
    viewer = bench(state, files)
    viewer.key("?")
    assert viewer.page.get_by_role("dialog", name="Keys").is_visible() and "Invert" in viewer.page.inner_text("dialog")
    viewer.page.keyboard.press("i")
    assert not viewer.ask("v.view.inverted"), "keys rest while the list is open"
    viewer.page.keyboard.press("Escape")
    assert viewer.page.get_by_role("dialog", name="Keys").is_hidden()


def test_letters_in_a_field_of_the_page_are_not_keys_of_the_viewer(bench, state, files):
    viewer = bench(state, files)
    viewer.page.evaluate(
        "document.body.insertAdjacentHTML('beforeend', '<input id=age style=\"position:fixed;top:0\">')"
    )
    viewer.page.locator("#age").focus()
    viewer.page.keyboard.type("i2m")
    assert not viewer.ask("v.view.inverted") and viewer.ask("v.view.mode") == "film"
    assert viewer.page.locator("#age").input_value() == "i2m"


def test_notice_status_and_description_are_told(bench, state, files):
    notice = Notice("This film is turned.", (("rotate", "Set it right"), ("go", "Analyze anyway")))
    viewer = bench(replace(state, notice=notice, status=Status("Analyzing", 0.4)), files)
    viewer.page.evaluate("document.addEventListener('viewer-action', event => { window.pressed = event.detail; })")
    viewer.page.get_by_role("button", name="Set it right").click()
    assert viewer.page.evaluate("window.pressed") == {"id": "rotate"}
    assert viewer.page.get_by_role("progressbar", name="Analyzing").get_attribute("value") == "0.4"
    description = viewer.page.text_content("#" + viewer.page.get_attribute(".fv-stage", "aria-describedby"))
    assert (
        description.startswith("One place stands out: right upper zone. Film, 260 by 300 pixels.")
        and "left lower zone" in description
    )
    viewer.load(state)
    assert viewer.page.locator(".fv-notice").is_hidden() and viewer.page.locator(".fv-status").is_hidden()


@pytest.mark.parametrize(
    "data", [None, b"no picture", cv2.imencode(".png", np.zeros((9, 9, 3), np.uint8))[1].tobytes()]
)
def test_a_file_that_is_no_film_is_said_in_words(bench, before, files, data):
    viewer = bench(None, files)
    if data is None:
        del files["film.png"]
    else:
        files["film.png"] = data
    viewer.load(before)
    words = viewer.page.inner_text(".fv-notice")
    assert ("Load the film again" if data is None else "plain grey PNG") in words
    viewer.errors[:] = [error for error in viewer.errors if "404" not in error]  # the browser's own line
    files["film.png"] = encode_film(np.zeros((9, 9), np.uint8))
    viewer.load(before)
    assert viewer.ask("v.films.length") == 1 and viewer.page.locator(".fv-notice").is_hidden()


@pytest.mark.parametrize(
    ("width", "height"),
    [(390, 700), (1440, 900), *(pytest.param(*size, marks=pytest.mark.slow) for size in ((720, 700), (1920, 1080)))],
)
def test_axe_finds_nothing_serious_at_any_width(bench, pair, files, width, height):
    axe = pytest.importorskip("axe_core_python.sync_playwright").Axe()
    viewer = bench(pair, files, viewport={"width": width, "height": height})
    viewer.ask("v.root.classList.add('fv-tools-open')")
    viewer.choose("Cardiothoracic ratio, by two lines")
    viewer.key("Enter", "4")
    violations = [entry for entry in axe.run(viewer.page)["violations"] if entry["impact"] in ("serious", "critical")]
    assert not violations, [(entry["id"], [node["html"][:160] for node in entry["nodes"][:3]]) for entry in violations]
    assert viewer.page.evaluate("document.documentElement.scrollWidth") <= width
    stage = viewer.page.locator(".fv-stage").bounding_box()
    assert stage["height"] >= (0.5 if width < 500 else 0.75) * height
    for control in viewer.page.locator(
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

    def save(export: str) -> str:
        return "; ".join(measurement.text for measurement in read_measurements(export))

    pixels = np.random.default_rng(3).integers(0, 256, (HEIGHT, WIDTH), np.uint8)
    gr.set_static_paths([STATIC_FOLDER])
    with gr.Blocks(analytics_enabled=False) as demo:
        load, measure = gr.Button("Load", elem_id="load"), gr.Button("Save", elem_id="save")
        viewer = film_viewer(height="600px")
        text, export_field = gr.Textbox(elem_id="text"), gr.Textbox(visible="hidden")
        load.click(lambda: ViewerState(build_film(pixels, store=store)).to_value(), outputs=viewer)
        measure.click(save, export_field, text, js=with_measurements("viewer"))
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
