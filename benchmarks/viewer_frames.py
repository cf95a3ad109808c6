"""Frame time of the film viewer on a film of 2,048 × 2,048 pixels of 16 bits with its normal film and its map.

    PYTHONPATH=. python benchmarks/viewer_frames.py [--side 2048] [--seconds 1.5] [--repeats 1] [--renderers NAME …]

For each way of drawing (WebGL2, canvas) and each movement: the milliseconds that the viewer takes for one frame, as
[lower quartile, median] over the frames of the fastest run. On a machine that works on other things too,
the first is nearer to what the viewer needs. A film is drawn at 60 frames a second where that is under 16.7.
WebGL2 in Chromium without a graphics card is drawn by the processor; the viewer then takes the canvas by itself.
Needs playwright and Chromium.
"""

from __future__ import annotations

import argparse
import json
import mimetypes
import os
import shutil

import cv2
import numpy as np

from app.components.viewer import STATIC_FOLDER, ViewerFilm, ViewerMap, ViewerState, encode_film, encode_map
from diff3m.data.phantom import make_person

ORIGIN = "http://localhost/"  # answered by this script: nothing listens there
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = ["--no-sandbox", "--no-first-run", "--disable-background-networking"]
RENDERERS = ("webgl2", "canvas")
PHANTOM = 2_070_000
# what changes from one frame to the next; t runs from 0 to 1
MOVEMENTS = {
    "drag": "v.pan(6 * Math.sin(40 * t), 6 * Math.cos(40 * t))",
    "wheel": "v.zoomTo(v.view.fitting * (1 + 2 * t))",
    "window": "v.setWindow(0.4 + 0.2 * t, 0.9 - 0.4 * t)",
    "swipe": "v.setSwipe(t)",
}
# Draws outside of the browser's own frames, so that only the viewer's work is counted. Reading a pixel waits for
# WebGL; the canvas draws at once.
MEASURE = """async ([movement, seconds]) => {
  const v = document.querySelector(".film-viewer").viewer;
  const move = new Function("v", "t", movement);
  const { gl } = v.renderer;
  const pixel = new Uint8Array(4);
  const times = [];
  const begin = performance.now();
  for (let share = 0; share < 1 || times.length < 5; share = (performance.now() - begin) / (1000 * seconds)) {
    const start = performance.now();
    move(v, Math.min(share, 1));
    v.draw();
    if (gl) gl.readPixels(0, 0, 1, 1, gl.RGBA, gl.UNSIGNED_BYTE, pixel);
    times.push(performance.now() - start);
    await new Promise(requestAnimationFrame);
  }
  return times;
}"""

DRAWN_BY = """() => {
  const { gl } = document.querySelector(".film-viewer").viewer.renderer;
  const names = gl?.getExtension("WEBGL_debug_renderer_info");
  return names ? gl.getParameter(names.UNMASKED_RENDERER_WEBGL) : "";
}"""


def viewer_files(side: int) -> dict[str, bytes]:
    """Return film, normal film, map and value by file name. side: of the film in pixels."""
    film = cv2.resize(make_person(PHANTOM).render(512).astype(np.float32), (side, side), interpolation=cv2.INTER_CUBIC)
    film = np.clip(film + np.random.default_rng(0).normal(0, 0.01, film.shape), 0, 1)
    normal = cv2.GaussianBlur(film, (0, 0), side / 256)
    difference = cv2.resize((film - normal).astype(np.float32), (128, 128), interpolation=cv2.INTER_AREA)
    data, scale = encode_map(difference)
    level = float(np.percentile(np.abs(difference), 90))
    picture = ViewerFilm("film.png", "normal.png", (ViewerMap("Difference", "map.png", scale, 3 * level, level),))
    value = json.dumps(ViewerState(picture).to_value()).encode()
    return {"film.png": encode_film(film), "normal.png": encode_film(normal), "map.png": data, "value.json": value}


def frame_times(browser, files: dict[str, bytes], renderer: str, seconds: float) -> tuple[dict[str, list[float]], str]:
    """Measure the viewer in 830 × 760 pixels, for so many seconds each movement.

    Returns [lower quartile, median] of the milliseconds of a frame by movement, and what draws WebGL, "" for a canvas.
    """

    def answer(route) -> None:
        name = route.request.url.removeprefix(ORIGIN).split("?")[0]
        body = files.get(name) or (STATIC_FOLDER / name).read_bytes()
        route.fulfill(body=body, content_type=mimetypes.guess_type(name)[0] or "application/octet-stream")

    page = browser.new_page(viewport={"width": 830, "height": 760})
    page.route("**/*", answer)
    page.goto(f"{ORIGIN}viewer.html?value=value.json&renderer={renderer}")
    page.wait_for_selector("html[data-ready]", state="attached", timeout=120_000)
    result = {}
    for name, movement in MOVEMENTS.items():
        page.evaluate("mode => document.querySelector('.film-viewer').viewer.setMode(mode)", "swipe")
        page.evaluate("() => document.querySelector('.film-viewer').viewer.reset()")
        times = page.evaluate(MEASURE, [movement, seconds])
        result[name] = [round(float(value), 2) for value in np.percentile(times, (25, 50))]
    drawn_by = page.evaluate(DRAWN_BY)
    page.close()
    return result, drawn_by


def main() -> None:
    """Parse the options, measure and print a table as JSON."""
    from playwright.sync_api import sync_playwright

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=2048)
    parser.add_argument("--seconds", type=float, default=1.5, help="of each movement")
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--renderers", nargs="+", choices=RENDERERS, default=RENDERERS)
    options = parser.parse_args()
    if CHROMIUM is None:
        raise SystemExit("There is no Chromium: install it to measure the viewer.")
    files = viewer_files(options.side)
    fastest: dict[str, dict[str, list[float]]] = {}
    webgl = ""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        for _ in range(options.repeats):
            for renderer in options.renderers:
                times, drawn_by = frame_times(browser, files, renderer, options.seconds)
                webgl = drawn_by or webgl
                best = fastest.setdefault(renderer, times)
                fastest[renderer] = {name: min(best[name], time) for name, time in times.items()}
        browser.close()
    result = {"milliseconds a frame": fastest, "WebGL drawn by": webgl, "load of the machine": os.getloadavg()}
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
