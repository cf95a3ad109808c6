"""What the viewer draws: pixels, windows and maps, in Chromium, without a server."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
from viewer_bench import HEIGHT, RENDERERS, VIEWER, WIDTH, decode

from app.components.viewer import ViewerFinding, Window, encode_film


@pytest.mark.parametrize("renderer", RENDERERS)
def test_at_100_percent_the_canvas_shows_the_films_own_pixels(bench, state, files, arrays, renderer):
    viewer = bench(state, files, renderer=renderer)
    assert viewer.ask("v.renderer.name") == renderer
    viewer.key("O", "0")  # without the map
    assert viewer.ask("v.view.drawnScale") == 1
    pixels = viewer.picture()[viewer.film_area()]
    assert np.array_equal(pixels, np.repeat(arrays["film"][..., None], 3, axis=2))
    viewer.key("2")
    pixels = viewer.picture()[viewer.film_area()][..., 0].astype(float)
    assert np.abs(pixels - arrays["normal"] / 257).max() <= 0.51
    viewer.key("I")
    assert np.abs(255 - viewer.picture()[viewer.film_area()][..., 0] - arrays["normal"] / 257).max() <= 0.51


@pytest.mark.parametrize("renderer", RENDERERS)
def test_a_normal_film_of_fewer_pixels_covers_its_film(bench, state, files, renderer):
    files["normal.png"] = encode_film(np.full((HEIGHT // 2, WIDTH // 2), 200, np.uint8))
    viewer = bench(state, files, renderer=renderer)
    viewer.key("O", "2", "0")
    assert np.abs(viewer.picture()[viewer.film_area()].astype(int) - 200).max() <= 1


@pytest.mark.parametrize("renderer", RENDERERS)
def test_a_narrow_window_shows_every_value_of_a_16_bit_film(bench, before, files, renderer):
    codes = np.tile(np.arange(30_000, 30_000 + WIDTH, dtype=np.uint16), (HEIGHT, 1))
    files["film.png"] = encode_film(codes)
    viewer = bench(before, files, renderer=renderer)
    viewer.ask(f"v.setWindow({(30_000 + (WIDTH - 1) / 2) / 65535}, {(WIDTH - 1) / 65535})")
    viewer.key("0")
    pixels = viewer.picture()[viewer.film_area()][0, :, 0].astype(float)
    assert np.abs(pixels - np.linspace(0, 255, WIDTH)).max() <= 1, "an 8-bit film would have two greys here"


@pytest.mark.parametrize(("dtype", "scale"), [(np.uint8, 1), (np.uint16, 200)])
def test_every_png_filter_is_undone(bench, before, files, dtype, scale):
    """Rows of every filter of the PNG specification, section 9: cv2 chooses among them, so each gets a file."""
    viewer = bench(before, files)
    for strategy in range(5):
        rng = np.random.default_rng(strategy)
        pixels = np.cumsum(rng.integers(0, 9, (40, 30)), axis=1).astype(dtype) * scale
        name = f"filter-{strategy}.png"
        files[name] = filtered_png(pixels, strategy)
        assert np.array_equal(decode(files[name]), pixels)
        viewer.load(replace(before, film=replace(before.film, film=name)))
        assert viewer.ask("Array.from(v.films[0].image.data)") == pixels.ravel().tolist(), strategy


def filtered_png(pixels: np.ndarray, kind: int) -> bytes:
    """A grey PNG all of whose rows have one filter."""
    import struct
    import zlib

    height, width = pixels.shape
    size = pixels.itemsize
    raw = pixels.astype(f">u{size}").tobytes()
    rows = np.frombuffer(raw, np.uint8).reshape(height, width * size).astype(int)
    left, above, corner = np.zeros_like(rows), np.zeros_like(rows), np.zeros_like(rows)
    left[:, size:], above[1:], corner[1:, size:] = rows[:, :-size], rows[:-1], rows[:-1, :-size]
    estimate = left + above - corner
    near = [np.abs(estimate - value) for value in (left, above, corner)]
    paeth = np.where((near[0] <= near[1]) & (near[0] <= near[2]), left, np.where(near[1] <= near[2], above, corner))
    guess = (np.zeros_like(rows), left, above, (left + above) // 2, paeth)[kind]
    lines = np.hstack([np.full((height, 1), kind), (rows - guess) % 256]).astype(np.uint8)

    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    header = struct.pack(">IIBBBBB", width, height, 8 * size, 0, 0, 0, 0)
    data = zlib.compress(lines.tobytes())
    parts = [chunk(b"IHDR", header), chunk(b"IDAT", data[:50]), chunk(b"IDAT", data[50:]), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def test_presets_and_reset_change_the_greys(bench, state, files, arrays):
    viewer = bench(state, files)
    viewer.key("O", "0")
    viewer.page.get_by_label("Window", exact=True).select_option("Lungs")
    viewer.settle()
    pixels = viewer.picture()[viewer.film_area()][..., 0]
    expected = np.clip((arrays["film"] / 255 - 0.05) / 0.5, 0, 1) * 255
    assert np.abs(pixels - expected).max() <= 0.51
    viewer.key("R")
    assert viewer.ask("v.view.window") == {"center": 0.5, "width": 1} and viewer.ask("v.look.preset") == "Full range"
    assert viewer.requests == []


def test_the_header_s_own_window_is_the_first_where_it_is_named(bench, state, files):
    presets = (Window("From the file", 0.4, 0.6), *state.presets)
    viewer = bench(replace(state, presets=presets, window="From the file"), files)
    assert viewer.ask("v.view.window") == {"center": 0.4, "width": 0.6}
    viewer.key("I", "R")
    assert viewer.ask("v.view.window") == {"center": 0.4, "width": 0.6} and not viewer.ask("v.view.inverted")


def test_beside_its_film_the_normal_film_stays_free_of_the_map(bench, state, files):
    viewer = bench(state, files)
    tiles = (
        "v.view.tiles((film, layer) => v.films[film][layer === 'normal' ? 'normal' : 'image'], film => v.mapOf(film))"
    )
    maps = {}
    for key in "1234":
        viewer.key(key)
        maps[key] = viewer.ask(f"{tiles}.map(({{ map }}) => Boolean(map))")
    assert maps == {"1": [True], "2": [True], "3": [True, False], "4": [True, False]}


@pytest.mark.parametrize("renderer", RENDERERS)
def test_the_map_is_colored_by_its_sign_above_the_threshold(bench, state, files, arrays, renderer):
    viewer = bench(state, files, renderer=renderer)
    viewer.ask("(v.setOpacity(1), v.setThreshold(0.02))")
    viewer.key("0")
    pixels = viewer.picture()[viewer.film_area()].astype(int)
    values = cv2.resize(arrays["map"], (WIDTH, HEIGHT), interpolation=cv2.INTER_LINEAR)
    grey, warm = np.ptp(pixels, axis=2) == 0, pixels[..., 0] - pixels[..., 2]
    assert grey[np.abs(values) < 0.01].all(), "below the threshold the film shows as it is"
    assert warm[values > 0.04].min() > 30 and warm[values < -0.04].max() < -30
    viewer.key("M")
    assert viewer.ask("v.look.map") == "size"
    viewer.key("M", "M", "]", "[", "[")
    assert viewer.ask("v.look.map") == "0" and viewer.ask("v.look.opacity") == pytest.approx(0.8)
    assert viewer.requests == []


@pytest.mark.slow
def test_the_canvas_paints_no_more_of_a_large_film_than_is_near_what_is_seen(bench, before, files):
    film = np.random.default_rng(5).integers(0, 256, (2000, 2400), np.uint8)
    files["film.png"] = encode_film(film)
    viewer = bench(before, files, renderer="canvas")
    viewer.page.evaluate(
        f"""() => {{
            const {{ renderer }} = {VIEWER};
            const paint = renderer.paintFilm;
            window.painted = [];
            renderer.paintFilm = function (level, maximum, look, part, out) {{
                window.painted.push(part.width * part.height);
                paint.call(this, level, maximum, look, part, out);
            }};
        }}"""
    )
    viewer.key("0")
    stage = viewer.page.locator(".fv-stage").bounding_box()
    x, y = stage["x"] + stage["width"] / 2, stage["y"] + stage["height"] / 2
    for across, down in ((60, 10), (60, 10), (-300, -200), (5, 5), (0, 0)):
        viewer.drag((x, y), (x + across, y + down))
        pixels = viewer.picture()[..., 0]
        left, top = viewer.ask("Object.values(v.view.originOf(v.view.panes[0]))")
        assert np.array_equal(pixels, film[-top : pixels.shape[0] - top, -left : pixels.shape[1] - left])
    painted = viewer.page.evaluate("window.painted")
    assert max(painted) <= 2.3 * stage["width"] * stage["height"], "the seen part and a quarter around it"
    assert len(painted) < 8, "a short movement needs nothing new"


RECTANGLES = """(selector) => [...document.querySelectorAll(selector)]
    .filter((node) => node.checkVisibility({ visibilityProperty: true }))
    .map((node) => node.getBoundingClientRect().toJSON())"""


def overlap(a: dict, b: dict) -> bool:
    return a["left"] < b["right"] and b["left"] < a["right"] and a["top"] < b["bottom"] and b["top"] < a["bottom"]


def inside(a: dict, b: dict, slack: float = 1) -> bool:
    return (
        a["left"] >= b["left"] - slack
        and a["right"] <= b["right"] + slack
        and a["top"] >= b["top"] - slack
        and a["bottom"] <= b["bottom"] + slack
    )


@pytest.mark.parametrize("size", [(830, 760), (390, 600)])
def test_numbers_of_findings_never_overlap_and_stay_inside_the_picture(bench, state, files, size):
    boxes = [(0.3, 0.4, 0.4, 0.5)] * 6 + [(0, 0, 0.05, 0.05), (0, 0.01, 0.06, 0.06), (0.9, 0.95, 1, 1)]
    findings = tuple(ViewerFinding("heart", "+4.1 %", box) for box in boxes)
    viewer = bench(replace(state, film=replace(state.film, findings=findings)), files)
    viewer.page.set_viewport_size({"width": size[0], "height": size[1]})
    viewer.ask("v.setTool('ruler')")
    viewer.key("Enter")
    for key in "1234":
        viewer.key(key)
        labels = viewer.page.evaluate(RECTANGLES, ".fv-label")
        panes = viewer.page.evaluate(RECTANGLES, ".fv-frame")
        assert len(labels) == (len(findings) + 1) * len(panes)
        for index, label in enumerate(labels):
            assert not [other for other in labels[:index] if overlap(label, other)], (key, index)
            assert any(inside(label, pane) for pane in panes), (key, label)
    viewer.key("1")
    viewer.ask("(v.zoomTo(v.view.fitting * 8), v.view.moveTo({x: 0.45, y: 0.35}), v.changed())")
    viewer.settle()
    (stage,) = viewer.page.evaluate(RECTANGLES, ".fv-stage")
    labels = viewer.page.evaluate(RECTANGLES, "[data-finding] + .fv-label")
    assert len(labels) == 6 and all(inside(label, stage) for label in labels), "what is out of view has no number"


@pytest.mark.parametrize("size", [(830, 760), (390, 600)])
def test_legend_scale_and_zoom_lie_beside_the_picture(bench, pair, files, size):
    viewer = bench(pair, files)
    viewer.page.set_viewport_size({"width": size[0], "height": size[1]})
    for choice in ("Difference", "Between films"):
        viewer.choose(choice)
        viewer.settle()
        (stage,) = viewer.page.evaluate(RECTANGLES, ".fv-stage")
        (root,) = viewer.page.evaluate(RECTANGLES, ".film-viewer")
        pieces = [viewer.page.evaluate(RECTANGLES, name) for name in (".fv-legend", ".fv-scale", ".fv-zoom")]
        assert pieces[0] and pieces[2]
        pieces = [piece for group in pieces for piece in group]
        assert all(inside(piece, root) and not overlap(piece, stage) for piece in pieces)
        assert not any(overlap(a, b) for index, a in enumerate(pieces) for b in pieces[:index])


def test_a_slow_film_that_a_newer_value_outran_leaves_the_newer_one_s_pictures(bench, state, pair, files):
    viewer = bench(state, files)
    other = replace(state, film=pair.second)
    loads = f"([slow, newest]) => Promise.all([slow, newest].map(value => {VIEWER}.load(value)))"
    viewer.page.evaluate(loads, [other.to_value(), state.to_value()])
    assert any(url.endswith("prior.png") for url in viewer.requests)
    viewer.requests.clear()
    viewer.load(state)
    assert not viewer.requests, "its pictures are still there"


def test_names_stand_right_over_their_films(bench, state, files):
    viewer = bench(state, files)
    viewer.key("3")
    tops = [viewer.on_screen(0, 0, pane)[1] for pane in (0, 1)]
    names = viewer.page.evaluate(RECTANGLES, ".fv-title")
    assert [name["bottom"] for name in names] == pytest.approx(tops, abs=1)
    viewer.ask("v.zoomTo(4)")
    viewer.settle()
    (stage,) = viewer.page.evaluate(RECTANGLES, ".fv-stage")
    assert all(name["top"] == stage["top"] for name in viewer.page.evaluate(RECTANGLES, ".fv-title"))


def test_of_two_films_the_normal_film_names_its_film(bench, pair, files):
    second = replace(pair.second, normal="normal.png")
    viewer = bench(replace(pair, second=second), files)
    viewer.key("2")
    names = viewer.page.locator(".fv-title").all_inner_texts()
    assert [name.split("\n")[0] for name in names] == ["Film: Normal for this record", "Prior: Normal for this record"]


@pytest.mark.parametrize(("size", "columns"), [((830, 760), 2), ((390, 760), 1)])
def test_films_beside_each_other_are_as_large_as_they_can_be(bench, state, files, size, columns):
    viewer = bench(state, files)
    viewer.page.set_viewport_size({"width": size[0], "height": size[1]})
    viewer.key("3")
    assert len(set(viewer.ask("v.view.panes.map(({ x }) => x)"))) == columns
    width, height = viewer.ask("[v.view.width, v.view.height]")
    row_scale = min((width - 4) / 2 / WIDTH, height / HEIGHT)
    column_scale = min(width / WIDTH, (height - 4) / 2 / HEIGHT)
    assert viewer.ask("v.view.fitting") == pytest.approx(max(row_scale, column_scale), rel=0.01)
