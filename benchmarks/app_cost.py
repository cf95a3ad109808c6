"""Cost of the page as a user waits for it: server start, first visit, example, upload, 20 users at once, many cases.

    python benchmarks/app_cost.py FILM [--repeats 5] [--users 20] [--cases 200]

The browser's part needs playwright and Chromium and is left out without them. Many cases are phantoms. Prints the
smallest and the median of each time.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
from gradio_client import Client, handle_file

from diff3m.data.phantom import make_person

ROOT = Path(__file__).resolve().parent.parent
RECORD = {"age": 60, "sex": "F", "view": "PA"}
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
FIRST_PHANTOM = 2_070_000
RESULT = "document.querySelector('#findings .chips')"
VIEWER = "document.querySelector('#viewer .film-viewer')?.viewer"


def wait_for(address: str, process: subprocess.Popen) -> None:
    while True:
        try:
            urllib.request.urlopen(address, timeout=1)
            return
        except (urllib.error.URLError, OSError):
            if process.poll() is not None:
                raise SystemExit("the app did not start") from None
            time.sleep(0.05)


def peak_megabytes(pid: int) -> float:
    """VmHWM of a process, in MB (Linux)."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


def analyze(client: Client, film: str) -> float:
    """Seconds of one analysis through the API."""
    began = time.perf_counter()
    client.predict(handle_file(film), RECORD, None, True, api_name="/analyze_film")
    return time.perf_counter() - began


def visit(browser, address: str, film: str) -> dict[str, float]:
    """Measure the seconds of one visit.

    They are: to a usable page, from an example's click to its result, from an upload to the film on the screen, and
    from Analyze to the first estimate of the normal film and to the result.
    """
    times, page = {}, browser.new_page(viewport={"width": 1440, "height": 900})

    def until(name: str, start: float, condition: str) -> None:
        page.wait_for_function(condition, arg=None, timeout=120_000)
        times[name] = time.perf_counter() - start

    start = time.perf_counter()
    page.goto(address)
    until("first visit to usable page", start, f"{VIEWER} && document.querySelector('#examples button img')")
    start = time.perf_counter()
    page.locator("#examples button:has(img)").first.click()
    until("example click to result", start, f"{VIEWER}.films[0]?.hasNormal && {RESULT}")
    page.goto(address)
    page.wait_for_function(f"{VIEWER} && document.querySelector('#film-file input[type=file]')")
    start = time.perf_counter()
    page.set_input_files("#film-file input[type=file]", film)
    until("upload to preview of the film", start, f"{VIEWER}.films.length === 1 && !{VIEWER}.pending")
    start = time.perf_counter()
    page.click("#analyze")
    until("Analyze to first estimate", start, f"{VIEWER}.films[0].hasNormal")
    until("Analyze to result", start, f"{VIEWER}.films[0].maps.length && {RESULT}")
    page.close()
    return times


def many_cases(browser, address: str, count: int, film: str) -> dict[str, float]:
    """Seconds of `count` phantoms through the page, and of another user's single case meanwhile."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "films.zip"
        with zipfile.ZipFile(path, "w") as archive:
            for index in range(count):
                film_bytes = cv2.imencode(
                    ".png", (make_person(FIRST_PHANTOM + index).render(256) * 255).astype(np.uint8)
                )[1].tobytes()
                archive.writestr(f"{index}.png", film_bytes)
        page = browser.new_page(viewport={"width": 1440, "height": 1000})
        page.goto(address)
        page.get_by_role("tab", name="Many cases", exact=True).click()
        page.set_input_files("#cohort-zip input[type=file]", str(path))
        page.wait_for_selector("#cohort-zip :text('films')")
        began = time.perf_counter()
        page.click("#cohort-run")
        page.wait_for_selector("#cohort-status progress", timeout=60_000)
        single = analyze(Client(address, verbose=False), film)
        page.wait_for_selector(f"#cohort-status :text('Done: {count} films')", timeout=3_600_000)
        seconds = time.perf_counter() - began
        page.close()
    return {f"{count} cases": seconds, "a single case meanwhile": single}


def at_once(address: str, users: int, film: str) -> dict[str, float]:
    """Seconds until as many users as that have their answers, and until the one in the middle has."""
    began = time.perf_counter()
    with ThreadPoolExecutor(users) as pool:
        each = list(pool.map(lambda _: analyze(Client(address, verbose=False), film), range(users)))
    return {
        f"{users} users at once, the last": time.perf_counter() - began,
        f"{users} users at once, the median": statistics.median(each),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("film")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--users", type=int, default=0)
    parser.add_argument("--cases", type=int, default=0)
    options = parser.parse_args()
    times: dict[str, list[float]] = {}

    def note(values: dict[str, float]) -> None:
        for name, value in values.items():
            times.setdefault(name, []).append(value)

    for repeat in range(options.repeats):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        address, began = f"http://127.0.0.1:{port}/", time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, "app.py"], cwd=ROOT, env={**os.environ, "PORT": str(port)}, stdout=subprocess.DEVNULL
        )
        try:
            wait_for(address, process)
            note({"start of the server to a page that answers": time.perf_counter() - began})
            client = Client(address, verbose=False)
            analyze(client, options.film)  # warms up
            note({"analysis through the API": analyze(client, options.film)})
            in_browser(note, address, options, last=repeat == options.repeats - 1)
            if options.users and repeat == options.repeats - 1:
                note(at_once(address, options.users, options.film))
            note({"peak memory, MB": peak_megabytes(process.pid)})
        finally:
            process.terminate()
            process.wait(20)
    rows = {name: [round(pick(values), 2) for pick in (min, statistics.median)] for name, values in times.items()}
    print(json.dumps({"[smallest, median]": rows, "load of the machine": os.getloadavg()}, indent=1))


def in_browser(note, address: str, options, last: bool) -> None:
    """The browser's part, where there is a browser."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        return
    if CHROMIUM is None:
        return
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        note(visit(browser, address, options.film))
        if options.cases and last:
            note(many_cases(browser, address, options.cases, options.film))
        browser.close()


if __name__ == "__main__":
    main()
