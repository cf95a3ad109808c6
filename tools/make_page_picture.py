"""Make docs/page.png: the page in Chromium with an example, served by this checkout."""

from __future__ import annotations

import argparse
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BROWSERS = ("chromium", "chromium-browser", "google-chrome")


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


def take_picture(port: int, example: str, width: int, height: int, path: Path) -> None:
    """Open an example by its link and write a screenshot of the window."""
    from playwright.sync_api import sync_playwright

    browser_path = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=browser_path, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": width, "height": height})
        page.goto(f"http://127.0.0.1:{port}/?example={example}")
        shown = "document.querySelector('#viewer .film-viewer')?.viewer?.films[0]?.hasNormal"
        page.wait_for_function(shown, timeout=120_000)
        page.evaluate("document.querySelector('#viewer .film-viewer').viewer.setMode('both')")
        page.wait_for_timeout(1000)
        page.screenshot(path=path)
        browser.close()


def main() -> None:
    """Parse the options and write the picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--example", default="opacity-pa-man", help="id of the example, see assets/examples")
    parser.add_argument("--size", type=int, nargs=2, default=(1440, 900), metavar=("WIDTH", "HEIGHT"))
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "page.png")
    options = parser.parse_args()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = serve(port)
    try:
        take_picture(port, options.example, *options.size, options.out)
    finally:
        server.terminate()
        server.wait(20)


if __name__ == "__main__":
    main()
