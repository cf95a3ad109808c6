"""A page in Chromium that holds the viewer and nothing else, for the tests of this folder."""

from __future__ import annotations

import json
import mimetypes

import cv2
import numpy as np

from app.components.viewer import STATIC_FOLDER, ViewerState

ORIGIN = "http://localhost/"  # answered by the test itself: nothing listens there
HEIGHT, WIDTH = 300, 260
VIEWER = "document.querySelector('.film-viewer').viewer"
RENDERERS = ("webgl2", "canvas")


def decode(data: bytes) -> np.ndarray:
    return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)


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
