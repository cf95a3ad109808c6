"""What the viewer measures and finds, and two films beside each other."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import cv2
import numpy as np
import pytest
from viewer_bench import HEIGHT, RENDERERS, VIEWER, WIDTH

from app.components.viewer import center_on, read_measurements


def test_a_ruler_measures_millimeters_or_pixels(bench, state, files):
    viewer = bench(state, files)
    viewer.choose("Measure a length")
    viewer.drag(viewer.on_screen(0.2, 0.3), viewer.on_screen(0.7, 0.3))
    (ruler,) = viewer.ask("v.measurements().measurements")
    assert ruler["unit"] == "mm" and ruler["length"] == pytest.approx(0.5 * WIDTH * 0.5, abs=0.5)
    assert np.allclose(ruler["points"], [[0.3, 0.2], [0.3, 0.7]], atol=0.005)
    viewer.drag(viewer.on_screen(0.7, 0.3), viewer.on_screen(0.8, 0.3))  # its end is taken by the mouse
    assert viewer.ask("v.measurements().measurements[0].length") == pytest.approx(0.6 * WIDTH * 0.5, abs=0.5)
    viewer.load(replace(state, film=replace(state.film, spacing_mm=None)))
    (measurement,) = read_measurements(json.dumps(viewer.ask("v.measurements()")))
    assert measurement.unit == "px" and measurement.length == pytest.approx(0.6 * WIDTH, abs=1)
    assert measurement.text == f"Length {measurement.length:.0f} px"
    assert viewer.requests == []


def test_the_ratio_is_carried_over_to_the_normal_film(bench, state, files):
    viewer = bench(state, files)
    viewer.page.evaluate(
        "document.addEventListener('viewer-measure', event => { window.lastMeasured = event.detail; })"
    )
    viewer.choose("Cardiothoracic ratio, by two lines")
    viewer.drag(viewer.on_screen(0.3, 0.6), viewer.on_screen(0.7, 0.6))
    assert viewer.ask("v.measurements().measurements") == [], "half a ratio is none"
    viewer.drag(viewer.on_screen(0.1, 0.8), viewer.on_screen(0.9, 0.8))
    (ratio,) = read_measurements(viewer.ask("v.measurements()"))
    assert ratio.ratio == pytest.approx(0.5, abs=0.01) and ratio.normal_ratio is None
    assert ratio.text == f"Cardiothoracic ratio {ratio.ratio:.2f}"
    assert "move the lines on the normal film" in viewer.page.inner_text(".fv-measured")
    viewer.key("2")
    viewer.drag(viewer.on_screen(0.7, 0.6), viewer.on_screen(0.62, 0.6))
    (ratio,) = read_measurements(viewer.page.evaluate("window.lastMeasured"))
    assert ratio.ratio == pytest.approx(0.5, abs=0.01) and ratio.normal_ratio == pytest.approx(0.4, abs=0.01)
    words = f"Cardiothoracic ratio {ratio.ratio:.2f} here, {ratio.normal_ratio:.2f} in what is normal for this record"
    assert ratio.text == words and words in viewer.page.inner_text(".fv-measured")
    viewer.page.locator(".fv-handle").last.focus()
    viewer.page.keyboard.press("Delete")
    assert viewer.ask("v.measurements().measurements") == [] and viewer.page.locator(".fv-measured").is_hidden()
    assert viewer.requests == []


def test_an_area_has_the_maps_mean_and_asks_for_its_explanation(bench, state, files, arrays):
    viewer = bench(state, files)
    viewer.page.evaluate("document.addEventListener('viewer-explain', event => { window.explained = event.detail; })")
    viewer.choose("Mean difference inside a rectangle")
    viewer.drag(viewer.on_screen(0.25, 0.125), viewer.on_screen(0.5, 0.5))
    (entry,) = viewer.ask("v.measurements().measurements")
    top, left, bottom, right = entry["box"]
    fine = cv2.resize(arrays["map"], (3200, 3200), interpolation=cv2.INTER_NEAREST)  # the mean by counting
    inside = fine[round(top * 3200) : round(bottom * 3200), round(left * 3200) : round(right * 3200)]
    assert entry["mean_difference"] == pytest.approx(inside.mean(), abs=2e-5)
    rows, columns = (np.arange(HEIGHT) + 0.5) / HEIGHT, (np.arange(WIDTH) + 0.5) / WIDTH
    grey = arrays["film"][(rows >= top) & (rows < bottom)][:, (columns >= left) & (columns < right)].mean()
    assert entry["mean_grey"] == pytest.approx(grey, abs=1e-6)
    viewer.page.get_by_role("button", name="Explain this region").click()
    assert viewer.page.evaluate("window.explained") == {"film": 0, "box": entry["box"]}
    viewer.page.get_by_role("button", name="Erase: Area").click()
    assert viewer.ask("v.measurements().measurements") == []
    assert viewer.requests == []


def test_tools_are_placed_and_moved_by_keyboard(bench, state, files):
    viewer = bench(state, files)
    viewer.choose("Cardiothoracic ratio, by two lines")
    viewer.key("Enter")
    (ratio,) = read_measurements(viewer.ask("v.measurements()"))
    assert ratio.ratio == pytest.approx(0.6, abs=0.01)
    viewer.choose("Measure a length")
    viewer.key("Enter")
    assert viewer.page.evaluate("document.activeElement.getAttribute('aria-label')").startswith("Ruler, end 1")
    length = viewer.ask("v.measurements().measurements[1].length")
    for _ in range(4):
        viewer.page.keyboard.press("ArrowLeft")
    viewer.page.keyboard.press("Shift+ArrowLeft")
    assert viewer.ask("v.measurements().measurements[1].length") == pytest.approx(length + 14 * 0.5, abs=0.01)
    viewer.page.keyboard.press("Delete")
    assert [entry["kind"] for entry in viewer.ask("v.measurements().measurements")] == ["ratio"]


def test_the_pointer_tells_the_values_of_its_place(bench, state, files, arrays):
    viewer = bench(state, files)
    viewer.key("0")
    row, column = 120, 77
    viewer.page.mouse.move(*viewer.on_screen((column + 0.5) / WIDTH, (row + 0.5) / HEIGHT))
    text = viewer.page.inner_text(".fv-pointer")
    grey, normal = (int(re.search(rf"{name} (\d+)", text)[1]) for name in ("grey", "normal"))
    assert grey == arrays["film"][row, column] and normal == round(arrays["normal"][row, column] / 257)
    own = cv2.resize(arrays["map"], (WIDTH, HEIGHT), interpolation=cv2.INTER_LINEAR)[row, column] * 100
    difference = float(re.search(r"difference ([+−][\d.]+)", text)[1].replace("−", "-"))
    assert difference == pytest.approx(own, abs=0.06)
    across, down = (float(number) for number in re.search(r"([\d.]+), ([\d.]+) mm", text).groups())
    assert (across, down) == pytest.approx(((column + 0.5) / 2, (row + 0.5) / 2), abs=0.06)
    viewer.page.mouse.move(5, 5)
    assert viewer.page.inner_text(".fv-pointer") == ""


@pytest.mark.parametrize("motion", ["reduce", "no-preference"])
def test_arrows_and_chips_center_on_findings(bench, state, files, motion):
    viewer = bench(state, files, reduced_motion=motion)
    viewer.key("ArrowRight")
    if motion == "no-preference":
        viewer.page.wait_for_function(f"Math.abs({VIEWER}.view.center.x - 0.275) < 1e-9")
    assert viewer.ask("v.view.center") == pytest.approx({"x": 0.275, "y": 0.25})
    assert "right upper zone, +4.1 %" in viewer.page.text_content("[aria-live]")
    viewer.page.evaluate(center_on("viewer", 1))
    viewer.page.wait_for_function(f"Math.abs({VIEWER}.view.center.x - 0.7) < 1e-9")
    assert viewer.page.locator(".fv-finding.fv-active").get_attribute("data-finding") == "1"
    viewer.key("ArrowRight")
    assert viewer.ask("v.finding") == {"film": 0, "index": 0}
    viewer.key("ArrowLeft")
    assert viewer.ask("v.finding.index") == 1
    viewer.page.wait_for_timeout(300)
    center = viewer.ask("v.view.center.x")
    viewer.key("Shift+ArrowRight")
    assert viewer.ask("v.view.center.x") > center


def test_two_films_share_window_zoom_and_pan(bench, pair, files, arrays):
    viewer = bench(pair, files)
    panes = viewer.ask("v.view.panes.map(({film, layers}) => [film, layers[0]])")
    assert panes == [[0, "film"], [1, "film"]]
    assert viewer.ask("v.view.scaleOf(1)") == pytest.approx(2 * viewer.ask("v.view.scaleOf(0)"))
    viewer.page.mouse.move(*viewer.on_screen(0.4, 0.4, pane=1))
    viewer.page.mouse.wheel(0, -300)
    viewer.settle()
    middles = viewer.ask("v.view.panes.map(p => v.view.toFilm(p, {x: p.x + p.width / 2, y: p.y + p.height / 2}))")
    assert middles[0]["x"] == pytest.approx(middles[1]["x"], abs=0.01)
    assert middles[0]["y"] == pytest.approx(middles[1]["y"], abs=0.01)
    viewer.choose("Between films")
    viewer.settle()
    between = np.array(viewer.ask("Array.from(v.mapOf(0).data)")).reshape(32, 32)
    assert np.allclose(between, 1.5 * arrays["map"], atol=1e-4) and viewer.ask("v.mapOf(1)") is None
    assert "Film minus Prior, not aligned" in viewer.page.inner_text(".fv-legend")
    viewer.key("3")
    assert len(viewer.ask("v.view.panes")) == 4
    assert viewer.requests == []


@pytest.mark.parametrize("renderer", RENDERERS)
def test_the_maps_of_two_films_have_one_color_scale(bench, pair, files, renderer):
    """Both films use the color scale of the first film, which the legend shows."""
    files["prior.png"] = files["film.png"]
    other = replace(pair.film.maps[0], full=0.02, threshold=0.001)
    pair = replace(pair, second=replace(pair.film, maps=(other,), findings=(), name="Prior"))
    viewer = bench(pair, files, renderer=renderer)
    viewer.key("0")
    pixels = viewer.picture()
    assert np.array_equal(pixels[viewer.film_area(0)], pixels[viewer.film_area(1)])
