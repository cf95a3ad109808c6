"""The film viewer: its files and values in Python; what is drawn, moved and measured in Chromium, without a server."""

from __future__ import annotations

import json
import mimetypes
import re
from dataclasses import replace
from pathlib import Path

import cv2
import gradio as gr
import numpy as np
import pytest

from app.components.viewer import (
    MAX_SIDE,
    STATIC_FOLDER,
    Finding,
    Notice,
    Status,
    ViewerFilm,
    ViewerMap,
    ViewerState,
    Window,
    build_film,
    center_on,
    encode_film,
    encode_map,
    film_viewer,
    read_measurements,
    window_presets,
    with_measurements,
)

ORIGIN = "http://localhost/"  # answered by the test itself: nothing listens there
HEIGHT, WIDTH = 300, 260
VIEWER = "document.querySelector('.film-viewer').viewer"
RENDERERS = ("webgl2", "canvas")


def decode(data: bytes) -> np.ndarray:
    return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)


# --- files and values ---


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_film_is_stored_with_all_of_its_bits(dtype):
    pixels = np.random.default_rng(0).integers(0, np.iinfo(dtype).max, (70, 50), dtype, endpoint=True)
    stored = decode(encode_film(pixels))
    assert stored.dtype == dtype and np.array_equal(stored, pixels)


def test_a_float_film_is_stored_in_16_bits():
    pixels = np.linspace(0, 1, 65536, dtype=np.float32).reshape(256, 256)
    assert np.abs(decode(encode_film(pixels)) / 65535 - pixels).max() <= 0.51 / 65535


@pytest.mark.parametrize(
    ("pixels", "words"),
    [
        (np.zeros((4, 4, 3), np.uint8), "one grey picture"),
        (np.zeros((0, 4), np.uint8), "one grey picture"),
        (np.zeros((4, 4), np.int64), "uint8, uint16 or float"),
        (np.full((4, 4), np.nan), "not finite"),
    ],
)
def test_what_is_no_film_is_refused_in_words(pixels, words):
    with pytest.raises(ValueError, match=words):
        encode_film(pixels)


def test_a_larger_film_is_reduced_and_its_spacing_grows(tmp_path):
    def store(data: bytes) -> Path:
        path = tmp_path / f"{hash(data)}.png"
        path.write_bytes(data)
        return path

    film = build_film(np.zeros((2 * MAX_SIDE, 100), np.uint8), store=store, spacing_mm=(0.1, 0.2))
    assert decode(film.film.read_bytes()).shape == (MAX_SIDE, 50)
    assert film.spacing_mm == (0.2, 0.4) and film.normal is None
    same = build_film(np.zeros((100, 90), np.uint8), store=store, normal=np.ones((100, 90)), spacing_mm=(0.1, 0.1))
    assert same.spacing_mm == (0.1, 0.1) and decode(same.normal.read_bytes()).min() == 65535


def test_a_map_is_stored_with_its_sign():
    values = np.random.default_rng(1).normal(0, 0.03, (128, 128))
    data, scale = encode_map(values)
    assert scale == np.abs(values).max()
    assert np.abs((decode(data).astype(float) - 32768) / 32767 * scale - values).max() <= 0.51 * scale / 32767
    assert encode_map(np.zeros((4, 4)))[1] == 1.0
    with pytest.raises(ValueError, match="finite numbers"):
        encode_map(np.full((4, 4), np.inf))


def test_presets_lie_in_the_order_of_lungs_bones_and_mediastinum():
    pixels = np.tile(np.linspace(0, 4095, 1000), (1000, 1)).astype(np.uint16)
    lungs, mediastinum, bones = window_presets(pixels, maximum=4095)
    assert lungs.center < bones.center < mediastinum.center
    # the inner 900 columns of a ramp from 0 to 1 run from 0.05 to 0.95; the lungs end at their 70th percentile
    assert lungs.center + lungs.width / 2 == pytest.approx(0.05 + 0.7 * 0.9, abs=0.01)
    assert all(window.width > 0 for window in window_presets(np.full((80, 80), 7, np.uint8)))


def test_a_state_is_written_as_its_schema_says():
    film = ViewerFilm(
        Path("/films/a.png"), None, (ViewerMap("Difference", "map.png", 0.1, 0.05),), spacing_mm=(0.1, 0.1)
    )
    notice = Notice("Tilted.", (("go", "Go on"),))
    presets = (Window("Header", 0.4, 0.2),)
    state = ViewerState(film, presets=presets, window="Header", status=Status("Analyzing", 0.5), notice=notice)
    value = json.loads(json.dumps(state.to_value()))
    assert value["films"][0]["film"] == {"path": "/films/a.png", "meta": {"_type": "gradio.FileData"}}
    assert value["films"][0]["normal"] is None and value["films"][0]["maps"][0]["file"] == "map.png"
    assert value["window"] == "Header" and value["notice"]["actions"] == [{"id": "go", "label": "Go on"}]
    assert ViewerState().to_value()["films"] == []
    with pytest.raises(ValueError, match="name of a preset"):
        ViewerState(film, window="Lungs")
    with pytest.raises(ValueError, match="first one"):
        ViewerState(second=film)


@pytest.mark.parametrize(
    "exported",
    [
        "{",
        "[]",
        {"version": 2, "measurements": []},
        {"version": 1, "measurements": [{"kind": "ruler", "film": 0, "length": float("nan"), "unit": "mm"}]},
        {"version": 1, "measurements": [{"kind": "ruler", "film": 2, "length": 1, "unit": "mm"}]},
        {"version": 1, "measurements": [{"kind": "ruler", "film": 0, "length": 1, "unit": "<b>"}]},
        {"version": 1, "measurements": [{"kind": "angle", "film": 0, "unit": "mm"}]},
        {"version": 1, "measurements": [{"kind": "ratio", "film": 0, "ratio": "0.5", "normal_ratio": None}]},
        {"version": 1, "measurements": [{}] * 51},
        "[" * 100_000,
    ],
)
def test_measurements_from_elsewhere_are_refused_in_words(exported):
    with pytest.raises(ValueError, match="measure again"):
        read_measurements(exported)


def test_no_measurements_are_no_error():
    assert (
        read_measurements(None)
        == read_measurements("null")
        == read_measurements('{"version": 1, "measurements": []}')
        == ()
    )


# --- in the browser ---


class Bench:
    """A page with the viewer and nothing else; every request is answered from the viewer's folder or from `files`."""

    def __init__(
        self, browser, state: ViewerState | None, files: dict[str, bytes], renderer: str | None = None, **options
    ):
        self.files, self.requests, self.errors, self.fingers = files, [], [], None
        self.page = browser.new_page(**{"viewport": {"width": 830, "height": 760}, **options})
        self.page.on("console", lambda message: message.type == "error" and self.errors.append(message.text))
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.route("**/*", self.answer)
        self.files["value.json"] = json.dumps(state.to_value()).encode() if state else b"null"
        self.page.goto(f"{ORIGIN}viewer.html?value=value.json" + (f"&renderer={renderer}" if renderer else ""))
        self.page.wait_for_selector("html[data-ready]", state="attached")
        self.settle()
        self.requests.clear()

    def answer(self, route) -> None:
        self.requests.append(route.request.url)
        name = route.request.url.removeprefix(ORIGIN).split("?")[0]
        own = STATIC_FOLDER / name
        if name not in self.files and not own.is_file():
            route.fulfill(status=404)
        else:
            body = self.files.get(name) or own.read_bytes()
            route.fulfill(body=body, content_type=mimetypes.guess_type(name)[0] or "application/octet-stream")

    def settle(self) -> None:
        """Wait until what was changed is drawn."""
        self.page.evaluate("() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")

    def ask(self, expression: str):
        return self.page.evaluate(f"() => {{ const v = {VIEWER}; return {expression}; }}")

    def load(self, state: ViewerState) -> None:
        self.page.evaluate(f"value => {VIEWER}.load(value)", state.to_value())
        self.settle()

    def key(self, *keys: str) -> None:
        self.page.locator(".fv-stage").focus()
        for key in keys:
            self.page.keyboard.press(key)
        self.settle()

    def choose(self, label: str) -> None:
        self.page.get_by_label(label, exact=True).check(force=True)

    def on_screen(self, x: float, y: float, pane: int = 0) -> tuple[float, float]:
        """A place of the film (shares) as a place of the page."""
        box = self.page.locator(".fv-stage").bounding_box()
        place = self.ask(f"v.view.toCanvas(v.view.panes[{pane}], {{x: {x}, y: {y}}})")
        ratio = self.ask("v.ratio")
        return box["x"] + place["x"] / ratio, box["y"] + place["y"] / ratio

    def drag(self, start, end, button: str = "left") -> None:
        self.page.mouse.move(*start)
        self.page.mouse.down(button=button)
        self.page.mouse.move((start[0] + end[0]) / 2, (start[1] + end[1]) / 2)
        self.page.mouse.move(*end)
        self.page.mouse.up(button=button)
        self.settle()

    def touch(self, kind: str, *points: tuple[float, float]) -> None:
        self.fingers = self.fingers or self.page.context.new_cdp_session(self.page)
        places = [{"x": x, "y": y, "id": number} for number, (x, y) in enumerate(points)]
        self.fingers.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": places})

    def picture(self) -> np.ndarray:
        """The stage as it is on the screen, without what lies over the canvas. (H, W, 3) RGB."""
        style = ".fv-stage > :not(canvas), .fv-stage > :not(canvas) * { visibility: hidden !important; }"
        shot = self.page.locator(".fv-stage").screenshot(style=style)
        return cv2.cvtColor(decode(shot)[..., :3], cv2.COLOR_BGR2RGB)

    def film_area(self, pane: int = 0) -> tuple[slice, slice]:
        """Where the film lies on the stage at 100 %."""
        origin = self.ask(f"v.view.originOf(v.view.panes[{pane}])")
        return slice(origin["y"], origin["y"] + HEIGHT), slice(origin["x"], origin["x"] + WIDTH)

    def close(self) -> None:
        self.page.close()
        assert not self.errors, self.errors


@pytest.fixture
def bench(browser):
    benches = []

    def open_bench(state: ViewerState | None, files: dict[str, bytes], **options) -> Bench:
        benches.append(Bench(browser, state, files, **options))
        return benches[-1]

    yield open_bench
    for each in benches:
        each.close()


@pytest.fixture(scope="module")
def arrays() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(2)
    smooth = cv2.resize(rng.uniform(-0.06, 0.06, (8, 8)), (32, 32), interpolation=cv2.INTER_CUBIC)
    return {
        "film": rng.integers(0, 256, (HEIGHT, WIDTH), np.uint8),
        "normal": rng.integers(0, 65536, (HEIGHT, WIDTH), np.uint16),
        "prior": rng.integers(0, 256, (HEIGHT // 2, WIDTH // 2), np.uint8),
        "map": smooth,
        "prior_map": -0.5 * smooth,
    }


@pytest.fixture
def files(arrays) -> dict[str, bytes]:
    pictures = {f"{name}.png": encode_film(arrays[name]) for name in ("film", "normal", "prior")}
    return {**pictures, **{f"{name}.png": encode_map(arrays[name])[0] for name in ("map", "prior_map")}}


@pytest.fixture
def state(arrays) -> ViewerState:
    """A film after its analysis."""
    difference = ViewerMap("Difference", "map.png", encode_map(arrays["map"])[1], full=0.06, threshold=0.02)
    findings = (
        Finding("right upper zone", "+4.1 %", (0.2, 0.2, 0.3, 0.35)),
        Finding("left lower zone", "−2.0 %", (0.6, 0.6, 0.8, 0.8), ((0.6, 0.6), (0.6, 0.8), (0.8, 0.7))),
    )
    film = ViewerFilm("film.png", "normal.png", (difference,), findings, spacing_mm=(0.5, 0.5))
    presets = (Window("Lungs", 0.3, 0.5), Window("Bones", 0.8, 0.3))
    return ViewerState(film, presets=presets, description="One place stands out: right upper zone.")


@pytest.fixture
def before(state) -> ViewerState:
    """The same film before its analysis."""
    return replace(state, film=replace(state.film, normal=None, maps=(), findings=()))


@pytest.fixture
def pair(state, arrays) -> ViewerState:
    """The film and a prior of half its resolution."""
    entry = replace(state.film.maps[0], file="prior_map.png", scale=encode_map(arrays["prior_map"])[1])
    return replace(state, second=ViewerFilm("prior.png", None, (entry,), name="Prior"))


@pytest.mark.parametrize("renderer", RENDERERS)
def test_at_100_percent_the_canvas_shows_the_films_own_pixels(bench, state, files, arrays, renderer):
    opened = bench(state, files, renderer=renderer)
    assert opened.ask("v.renderer.name") == renderer
    opened.key("O", "0")  # without the map
    assert opened.ask("v.view.drawnScale") == 1
    shown = opened.picture()[opened.film_area()]
    assert np.array_equal(shown, np.repeat(arrays["film"][..., None], 3, axis=2))
    opened.key("2")
    shown = opened.picture()[opened.film_area()][..., 0].astype(float)
    assert np.abs(shown - arrays["normal"] / 257).max() <= 0.51
    opened.key("I")
    assert np.abs(255 - opened.picture()[opened.film_area()][..., 0] - arrays["normal"] / 257).max() <= 0.51


@pytest.mark.parametrize("renderer", RENDERERS)
def test_a_normal_film_of_fewer_pixels_covers_its_film(bench, state, files, renderer):
    files["normal.png"] = encode_film(np.full((HEIGHT // 2, WIDTH // 2), 200, np.uint8))
    opened = bench(state, files, renderer=renderer)
    opened.key("O", "2", "0")
    assert np.abs(opened.picture()[opened.film_area()].astype(int) - 200).max() <= 1


@pytest.mark.parametrize("renderer", RENDERERS)
def test_a_narrow_window_shows_every_value_of_a_16_bit_film(bench, before, files, renderer):
    codes = np.tile(np.arange(30_000, 30_000 + WIDTH, dtype=np.uint16), (HEIGHT, 1))
    files["film.png"] = encode_film(codes)
    opened = bench(before, files, renderer=renderer)
    opened.ask(f"v.setWindow({(30_000 + (WIDTH - 1) / 2) / 65535}, {(WIDTH - 1) / 65535})")
    opened.key("0")
    shown = opened.picture()[opened.film_area()][0, :, 0].astype(float)
    assert np.abs(shown - np.linspace(0, 255, WIDTH)).max() <= 1, "an 8-bit film would have two greys here"


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("strategy", range(5))
def test_every_png_filter_is_undone(bench, before, files, bits, strategy):
    """Rows of every filter of the PNG specification, section 9: cv2 chooses among them, so each gets a file."""
    rng = np.random.default_rng(bits + strategy)
    pixels = np.cumsum(rng.integers(0, 9, (40, 30)), axis=1).astype(np.uint8 if bits == 8 else np.uint16) * (
        (bits == 16 and 200) or 1
    )
    files["film.png"] = filtered_png(pixels, strategy)
    assert np.array_equal(decode(files["film.png"]), pixels)
    opened = bench(before, files)
    assert opened.ask("Array.from(v.films[0].image.data)") == pixels.ravel().tolist()


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


def test_presets_and_reset_change_the_greys(bench, state, files, arrays):
    opened = bench(state, files)
    opened.key("O", "0")
    opened.page.get_by_label("Window", exact=True).select_option("Lungs")
    opened.settle()
    shown = opened.picture()[opened.film_area()][..., 0]
    expected = np.clip((arrays["film"] / 255 - 0.05) / 0.5, 0, 1) * 255
    assert np.abs(shown - expected).max() <= 0.51
    opened.key("R")
    assert opened.ask("v.view.window") == {"center": 0.5, "width": 1} and opened.ask("v.look.preset") == "Full range"
    assert opened.requests == []


def test_the_header_s_own_window_is_the_first_where_it_is_named(bench, state, files):
    presets = (Window("From the file", 0.4, 0.6), *state.presets)
    opened = bench(replace(state, presets=presets, window="From the file"), files)
    assert opened.ask("v.view.window") == {"center": 0.4, "width": 0.6}
    opened.key("I", "R")
    assert opened.ask("v.view.window") == {"center": 0.4, "width": 0.6} and not opened.ask("v.view.inverted")


@pytest.mark.parametrize("renderer", RENDERERS)
def test_the_map_is_colored_by_its_sign_above_the_threshold(bench, state, files, arrays, renderer):
    opened = bench(state, files, renderer=renderer)
    opened.ask("(v.setOpacity(1), v.setThreshold(0.02))")
    opened.key("0")
    shown = opened.picture()[opened.film_area()].astype(int)
    values = cv2.resize(arrays["map"], (WIDTH, HEIGHT), interpolation=cv2.INTER_LINEAR)
    grey, warm = np.ptp(shown, axis=2) == 0, shown[..., 0] - shown[..., 2]
    assert grey[np.abs(values) < 0.01].all(), "below the threshold the film shows as it is"
    assert warm[values > 0.04].min() > 30 and warm[values < -0.04].max() < -30
    opened.key("M")
    assert opened.ask("v.look.map") == "size"
    opened.key("M", "M", "]", "[", "[")
    assert opened.ask("v.look.map") == "0" and opened.ask("v.look.opacity") == pytest.approx(0.8)
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


def test_a_ruler_measures_millimeters_or_pixels(bench, state, files):
    opened = bench(state, files)
    opened.choose("Measure a length")
    opened.drag(opened.on_screen(0.2, 0.3), opened.on_screen(0.7, 0.3))
    (ruler,) = opened.ask("v.measurements().measurements")
    assert ruler["unit"] == "mm" and ruler["length"] == pytest.approx(0.5 * WIDTH * 0.5, abs=0.5)
    assert np.allclose(ruler["points"], [[0.3, 0.2], [0.3, 0.7]], atol=0.005)
    opened.drag(opened.on_screen(0.7, 0.3), opened.on_screen(0.8, 0.3))  # its end is taken by the mouse
    assert opened.ask("v.measurements().measurements[0].length") == pytest.approx(0.6 * WIDTH * 0.5, abs=0.5)
    opened.load(replace(state, film=replace(state.film, spacing_mm=None)))
    (measurement,) = read_measurements(json.dumps(opened.ask("v.measurements()")))
    assert measurement.unit == "px" and measurement.length == pytest.approx(0.6 * WIDTH, abs=1)
    assert measurement.text == f"Length {measurement.length:.0f} px"
    assert opened.requests == []


def test_the_ratio_is_carried_over_to_the_normal_film(bench, state, files):
    opened = bench(state, files)
    opened.page.evaluate(
        "document.addEventListener('viewer-measure', event => { window.lastMeasured = event.detail; })"
    )
    opened.choose("Cardiothoracic ratio, by two lines")
    opened.drag(opened.on_screen(0.3, 0.6), opened.on_screen(0.7, 0.6))
    assert opened.ask("v.measurements().measurements") == [], "half a ratio is none"
    opened.drag(opened.on_screen(0.1, 0.8), opened.on_screen(0.9, 0.8))
    (ratio,) = read_measurements(opened.ask("v.measurements()"))
    assert ratio.ratio == pytest.approx(0.5, abs=0.01) and ratio.normal_ratio is None
    assert "move the lines on the normal film" in opened.page.inner_text(".fv-measured")
    opened.key("2")
    opened.drag(opened.on_screen(0.7, 0.6), opened.on_screen(0.62, 0.6))
    (ratio,) = read_measurements(opened.page.evaluate("window.lastMeasured"))
    assert ratio.ratio == pytest.approx(0.5, abs=0.01) and ratio.normal_ratio == pytest.approx(0.4, abs=0.01)
    words = f"Cardiothoracic ratio {ratio.ratio:.2f} here, {ratio.normal_ratio:.2f} in what is normal for this record"
    assert ratio.text == words and words in opened.page.inner_text(".fv-measured")
    opened.page.locator(".fv-handle").last.focus()
    opened.page.keyboard.press("Delete")
    assert opened.ask("v.measurements().measurements") == [] and opened.page.locator(".fv-measured").is_hidden()
    assert opened.requests == []


def test_an_area_has_the_maps_mean_and_asks_for_its_explanation(bench, state, files, arrays):
    opened = bench(state, files)
    opened.page.evaluate("document.addEventListener('viewer-explain', event => { window.explained = event.detail; })")
    opened.choose("Mean difference inside a rectangle")
    opened.drag(opened.on_screen(0.25, 0.125), opened.on_screen(0.5, 0.5))
    (entry,) = opened.ask("v.measurements().measurements")
    top, left, bottom, right = entry["box"]
    fine = cv2.resize(arrays["map"], (3200, 3200), interpolation=cv2.INTER_NEAREST)  # the mean by counting
    inside = fine[round(top * 3200) : round(bottom * 3200), round(left * 3200) : round(right * 3200)]
    assert entry["mean_difference"] == pytest.approx(inside.mean(), abs=2e-5)
    rows, columns = (np.arange(HEIGHT) + 0.5) / HEIGHT, (np.arange(WIDTH) + 0.5) / WIDTH
    grey = arrays["film"][(rows >= top) & (rows < bottom)][:, (columns >= left) & (columns < right)].mean()
    assert entry["mean_grey"] == pytest.approx(grey, abs=1e-6)
    opened.page.get_by_role("button", name="Explain this region").click()
    assert opened.page.evaluate("window.explained") == {"film": 0, "box": entry["box"]}
    opened.page.get_by_role("button", name="Erase: Area").click()
    assert opened.ask("v.measurements().measurements") == []
    assert opened.requests == []


def test_tools_are_placed_and_moved_by_keyboard(bench, state, files):
    opened = bench(state, files)
    opened.choose("Cardiothoracic ratio, by two lines")
    opened.key("Enter")
    (ratio,) = read_measurements(opened.ask("v.measurements()"))
    assert ratio.ratio == pytest.approx(0.6, abs=0.01)
    opened.choose("Measure a length")
    opened.key("Enter")
    assert opened.page.evaluate("document.activeElement.getAttribute('aria-label')").startswith("Ruler, end 1")
    length = opened.ask("v.measurements().measurements[1].length")
    for _ in range(4):
        opened.page.keyboard.press("ArrowLeft")
    opened.page.keyboard.press("Shift+ArrowLeft")
    assert opened.ask("v.measurements().measurements[1].length") == pytest.approx(length + 14 * 0.5, abs=0.01)
    opened.page.keyboard.press("Delete")
    assert [entry["kind"] for entry in opened.ask("v.measurements().measurements")] == ["ratio"]


def test_the_pointer_tells_the_values_of_its_place(bench, state, files, arrays):
    opened = bench(state, files)
    opened.key("0")
    row, column = 120, 77
    opened.page.mouse.move(*opened.on_screen((column + 0.5) / WIDTH, (row + 0.5) / HEIGHT))
    text = opened.page.inner_text(".fv-pointer")
    grey, normal = (int(re.search(rf"{name} (\d+)", text)[1]) for name in ("grey", "normal"))
    assert grey == arrays["film"][row, column] and normal == round(arrays["normal"][row, column] / 257)
    own = cv2.resize(arrays["map"], (WIDTH, HEIGHT), interpolation=cv2.INTER_LINEAR)[row, column] * 100
    shown = float(re.search(r"difference ([+−][\d.]+)", text)[1].replace("−", "-"))
    assert shown == pytest.approx(own, abs=0.06)
    across, down = (float(number) for number in re.search(r"([\d.]+), ([\d.]+) mm", text).groups())
    assert (across, down) == pytest.approx(((column + 0.5) / 2, (row + 0.5) / 2), abs=0.06)
    opened.page.mouse.move(5, 5)
    assert opened.page.inner_text(".fv-pointer") == ""


@pytest.mark.parametrize("motion", ["reduce", "no-preference"])
def test_arrows_and_chips_center_on_findings(bench, state, files, motion):
    opened = bench(state, files, reduced_motion=motion)
    opened.key("ArrowRight")
    if motion == "no-preference":
        opened.page.wait_for_function(f"Math.abs({VIEWER}.view.center.x - 0.275) < 1e-9")
    assert opened.ask("v.view.center") == pytest.approx({"x": 0.275, "y": 0.25})
    assert "right upper zone, +4.1 %" in opened.page.text_content("[aria-live]")
    opened.page.evaluate(center_on("viewer", 1))
    opened.page.wait_for_function(f"Math.abs({VIEWER}.view.center.x - 0.7) < 1e-9")
    assert opened.page.locator(".fv-finding.fv-active").get_attribute("data-finding") == "1"
    opened.key("ArrowRight")
    assert opened.ask("v.finding") == {"film": 0, "index": 0}
    opened.key("ArrowLeft")
    assert opened.ask("v.finding.index") == 1
    opened.page.wait_for_timeout(300)
    center = opened.ask("v.view.center.x")
    opened.key("Shift+ArrowRight")
    assert opened.ask("v.view.center.x") > center


def test_two_films_share_window_zoom_and_pan(bench, pair, files, arrays):
    opened = bench(pair, files)
    panes = opened.ask("v.view.panes.map(({film, layers}) => [film, layers[0]])")
    assert panes == [[0, "film"], [1, "film"]]
    assert opened.ask("v.view.scaleOf(1)") == pytest.approx(2 * opened.ask("v.view.scaleOf(0)"))
    opened.page.mouse.move(*opened.on_screen(0.4, 0.4, pane=1))
    opened.page.mouse.wheel(0, -300)
    opened.settle()
    middles = opened.ask("v.view.panes.map(p => v.view.toFilm(p, {x: p.x + p.width / 2, y: p.y + p.height / 2}))")
    assert middles[0]["x"] == pytest.approx(middles[1]["x"], abs=0.01)
    assert middles[0]["y"] == pytest.approx(middles[1]["y"], abs=0.01)
    opened.choose("Between films")
    opened.settle()
    between = np.array(opened.ask("Array.from(v.mapOf(0).data)")).reshape(32, 32)
    assert np.allclose(between, 1.5 * arrays["map"], atol=1e-4) and opened.ask("v.mapOf(1)") is None
    assert "Film minus Prior, not aligned" in opened.page.inner_text(".fv-legend")
    opened.key("3")
    assert len(opened.ask("v.view.panes")) == 4
    assert opened.requests == []


@pytest.mark.parametrize("renderer", RENDERERS)
def test_the_maps_of_two_films_have_one_color_scale(bench, pair, files, renderer):
    """The legend is the first film's: the same difference has the same color over either, whatever the second's own
    scale.
    """
    files["prior.png"] = files["film.png"]
    other = replace(pair.film.maps[0], full=0.02, threshold=0.001)
    pair = replace(pair, second=replace(pair.film, maps=(other,), findings=(), name="Prior"))
    opened = bench(pair, files, renderer=renderer)
    opened.key("0")
    shown = opened.picture()
    assert np.array_equal(shown[opened.film_area(0)], shown[opened.film_area(1)])


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


@pytest.mark.parametrize(("width", "height"), [(390, 700), (720, 700), (1440, 900), (1920, 1080)])
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


# --- inside Gradio ---


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
