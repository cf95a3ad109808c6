"""Make docs/page.png and docs/page.webp: the page in Chromium with a synthetic example, served by this checkout.

    python tools/make_page_picture.py [--example ID] [--size WIDTH HEIGHT] [--out FOLDER]

The second is an animation of a few steps: the film, what is normal, swipe, a finding, a measurement.
"""

from __future__ import annotations

import argparse
import io
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
VIEWER = "document.querySelector('#viewer .film-viewer')?.viewer"
RATIO_LINES = ((0.66, 0.42, 0.70), (0.74, 0.16, 0.86))  # row, left, right in the default example: heart, then chest
TIMEOUT = 300_000  # milliseconds that a busy machine may take for one step
MAX_BYTES = 1_500_000  # of the animation
ANIMATION_WIDTH = 1000  # pixels
LONG, SHORT = 1600, 90  # milliseconds that a picture stays: to be read, and in a movement


def serve(port: int) -> subprocess.Popen:
    """Start the page and wait until it answers. Raises RuntimeError if it ends before."""
    process = subprocess.Popen([sys.executable, "app.py"], cwd=ROOT, env={**os.environ, "PORT": str(port)})
    while process.poll() is None:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5).close()
            return process
        except (urllib.error.URLError, OSError):
            time.sleep(0.5)
    raise RuntimeError("The page could not be started; its message stands above.")


def screenshot(page) -> Image.Image:
    """Return the window as a picture, after what was changed is drawn."""
    page.evaluate("() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
    return Image.open(io.BytesIO(page.screenshot())).convert("RGB")


def steps(page) -> Iterator[tuple[Image.Image, int]]:
    """Walk through the result of an example: (picture, milliseconds that it stays)."""
    page.emulate_media(reduced_motion="reduce")
    page.evaluate(f"() => {{ const v = {VIEWER}; v.setMode('film'); v.setMap('off'); v.fit(); }}")
    yield screenshot(page), LONG
    page.evaluate(f"{VIEWER}.setMode('swipe')")
    for step in range(17):
        share = 1 - step / 16 if step <= 8 else step / 16
        page.evaluate(f"{VIEWER}.setSwipe({share})")
        yield screenshot(page), LONG // 2 if step == 8 else SHORT
    page.evaluate(f"() => {{ const v = {VIEWER}; v.setMode('film'); v.setMap('0'); }}")
    yield screenshot(page), LONG
    page.locator("#findings .chip").first.click()
    yield screenshot(page), LONG
    page.evaluate(f"() => {{ const v = {VIEWER}; v.fit(); v.setMap('off'); v.setTool('ratio'); }}")
    for row, left, right in RATIO_LINES:
        start, end = f"{{x: {left}, y: {row}}}", f"{{x: {right}, y: {row}}}"
        page.evaluate(f"() => {{ const t = {VIEWER}.tools; t.begin(0, {start}); t.drag({end}); t.finish(); }}")
        yield screenshot(page), LONG // 2
    page.evaluate(f"() => {{ const v = {VIEWER}; v.tools.erase(); v.setTool('move'); v.setMap('0'); }}")
    page.evaluate(f"{VIEWER}.setMode('both')")
    yield screenshot(page), LONG


def save_animation(frames: list[tuple[Image.Image, int]], path: Path) -> None:
    """Write frames as a WebP animation, at the best quality that stays under `MAX_BYTES`."""
    height = round(ANIMATION_WIDTH * frames[0][0].height / frames[0][0].width)
    first, *others = [frame.resize((ANIMATION_WIDTH, height), Image.Resampling.LANCZOS) for frame, _ in frames]
    durations = [milliseconds for _, milliseconds in frames]
    for quality in (80, 65, 50, 35):
        first.save(path, save_all=True, append_images=others, duration=durations, loop=0, quality=quality, method=4)
        if path.stat().st_size <= MAX_BYTES:
            return
    raise RuntimeError(f"{path} is larger than {MAX_BYTES:,} bytes: leave out frames or make it smaller.")


def make_pictures(port: int, example: str, width: int, height: int, folder: Path) -> None:
    """Open an example by its link and write page.png and page.webp."""
    from playwright.sync_api import sync_playwright

    browser_path = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=browser_path, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": width, "height": height})
        page.set_default_timeout(TIMEOUT)
        page.goto(f"http://127.0.0.1:{port}/?example={example}")
        page.wait_for_function(f"{VIEWER}?.films[0]?.hasNormal")
        page.wait_for_selector("#findings .chip")
        screenshot(page).save(folder / "page.png", optimize=True)
        save_animation(list(steps(page)), folder / "page.webp")
        browser.close()


def main() -> None:
    """Parse the options and write the pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--example", default="opacity-pa-man", help="id of the example, see assets/examples")
    parser.add_argument("--size", type=int, nargs=2, default=(1440, 900), metavar=("WIDTH", "HEIGHT"))
    parser.add_argument("--out", type=Path, default=ROOT / "docs", help="folder, default docs")
    options = parser.parse_args()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = serve(port)
    try:
        make_pictures(port, options.example, *options.size, options.out)
    finally:
        server.terminate()
        server.wait(60)


if __name__ == "__main__":
    main()
