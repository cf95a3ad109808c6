"""Cost of the page: seconds from `python app.py` to an answer, seconds of an analysis through it, peak memory of the server.

python benchmarks/app_cost.py FILM [--repeats 5]
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import statistics
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

from gradio_client import Client, handle_file

ROOT = Path(__file__).resolve().parent.parent
INPUTS = (400, 10, 0, 0.6, 0.03, "Brighter (red), darker (blue)", "60", "F", "PA", "", "", "", "", "")


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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("film")
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    starts, analyses, peaks = [], [], []
    for _ in range(options.repeats):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        began = time.perf_counter()
        process = subprocess.Popen([sys.executable, "app.py"], cwd=ROOT, env={**os.environ, "PORT": str(port)}, stdout=subprocess.DEVNULL)
        try:
            wait_for(f"http://127.0.0.1:{port}/", process)
            starts.append(time.perf_counter() - began)
            client = Client(f"http://127.0.0.1:{port}/", verbose=False)
            for _ in range(2):  # the first one warms up
                began = time.perf_counter()
                client.predict(handle_file(options.film), *INPUTS, api_name="/analyze")
                seconds = time.perf_counter() - began
            analyses.append(seconds)
            peaks.append(peak_megabytes(process.pid))
        finally:
            process.terminate()
            process.wait(20)
    medians = {"start_seconds": starts, "analysis_through_the_page_seconds": analyses, "peak_memory_mb": peaks}
    print(json.dumps({name: round(statistics.median(values), 2) for name, values in medians.items()}, indent=1))


if __name__ == "__main__":
    main()
