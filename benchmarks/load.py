"""Many users of the API at once: does everyone get the answer to their own film and record, and how long do they wait?

    python benchmarks/load.py [--users 100] [--url http://127.0.0.1:8080/] [--out load.json]

Each user sends another simulated film and another record, all at the same moment, and checks that record and film of
the answer are the own ones. Whom the full queue refuses asks again, as a person would. Without --url a server of one
copy is started here.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np
from app_cost import wait_for
from gradio_client import Client, handle_file

from diff3m.data.phantom import make_person
from diff3m.imaging import Preprocessing, prepare, read_radiograph

ROOT = Path(__file__).resolve().parent.parent
FIRST_PHANTOM = 2_080_000
SIDE = 128  # pixels of the compared films
AGAIN_SECONDS = 10.0  # until a user whom the queue refused asks again
FULL = re.compile(r"queue.{0,20}full|too many requests", re.IGNORECASE)


@dataclass(frozen=True)
class Answer:
    """What one user got: seconds from the common start, refusals by the full queue, whether the answer is the own."""

    seconds: float
    refusals: int
    own_record: bool
    own_film: bool


@dataclass(frozen=True)
class User:
    """A user with a film and a record that nobody else has."""

    number: int
    film: Path
    record: dict
    prepared: np.ndarray


def make_users(count: int, folder: Path) -> list[User]:
    """Write a film for each user; their ages and BMI differ pairwise."""
    users = []
    for number in range(count):
        path = folder / f"{number}.png"
        cv2.imwrite(str(path), (make_person(FIRST_PHANTOM + number).render(160) * 255).astype(np.uint8))
        record = {"age": 20 + number % 70, "bmi": 20 + number // 70, "view": ("PA", "AP")[number % 2]}
        users.append(User(number, path, record, prepare_file(path)))
    return users


def prepare_file(path: str | Path) -> np.ndarray:
    """Return a film file as it is compared: float, 0 to 1, (SIDE, SIDE)."""
    return prepare(read_radiograph(path), Preprocessing(size=SIDE))


def ask(user: User, users: list[User], address: str, start: threading.Barrier) -> Answer:
    """Send a user's film, asking again while the queue is full, and compare the answer with what was sent."""
    client = Client(address, verbose=False, httpx_kwargs={"timeout": 3600})
    start.wait()
    began, refusals = time.perf_counter(), 0
    while True:
        try:
            numbers, pictures = client.predict(
                handle_file(str(user.film)), user.record, None, True, api_name="/analyze_film"
            )
            break
        except Exception as error:  # of several kinds, by the way that the client learns of it
            if not FULL.search(str(error)):
                raise
            refusals += 1
            time.sleep(AGAIN_SECONDS)
    seconds = time.perf_counter() - began
    film = prepare_file(next(path for path in pictures if Path(path).name == "film.png"))
    distances = [np.abs(film - other.prepared).mean() for other in users]
    own = all(numbers["record"][name] == value for name, value in user.record.items())
    return Answer(seconds, refusals, own, int(np.argmin(distances)) == user.number)


def measure(address: str, count: int) -> dict:
    """Let as many users ask at once; returns counts, waits and the load of this machine meanwhile."""
    with tempfile.TemporaryDirectory() as folder:
        users, start = make_users(count, Path(folder)), threading.Barrier(count)
        load_before = os.getloadavg()[0]
        with ThreadPoolExecutor(count) as pool:
            answers = list(pool.map(lambda user: ask(user, users, address, start), users))
    waits = [answer.seconds for answer in answers]
    return {
        "users": count,
        "wrong records": sum(not answer.own_record for answer in answers),
        "wrong films": sum(not answer.own_film for answer in answers),
        "median wait, s": round(statistics.median(waits), 1),
        "last wait, s": round(max(waits), 1),
        "users whom the full queue refused": sum(answer.refusals > 0 for answer in answers),
        "refusals": sum(answer.refusals for answer in answers),
        "processors": os.cpu_count(),
        "load average before and after": [round(load_before, 1), round(os.getloadavg()[0], 1)],
        "answers": [asdict(answer) for answer in answers],
    }


@contextmanager
def served(url: str | None) -> Iterator[str]:
    """The address of a server: the given one, or one that is started and ended here."""
    if url:
        yield url
        return
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    address = f"http://127.0.0.1:{port}/"
    environment = {**os.environ, "PORT": str(port), "HF_HUB_OFFLINE": "1"}
    process = subprocess.Popen([sys.executable, "app.py"], cwd=ROOT, env=environment, stdout=subprocess.DEVNULL)
    try:
        wait_for(address, process)
        yield address
    finally:
        process.terminate()
        process.wait(120)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--users", type=int, default=100)
    parser.add_argument("--url", default=None, help="of a running server or proxy (default: one is started)")
    parser.add_argument("--out", default=None, metavar="FILE", help="write all answers as JSON")
    options = parser.parse_args()
    with served(options.url) as address:
        result = measure(address, options.users)
    if options.out:
        Path(options.out).write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps({name: value for name, value in result.items() if name != "answers"}, indent=1))
    if result["wrong records"] or result["wrong films"]:
        raise SystemExit("Somebody got an answer that is not their own.")


if __name__ == "__main__":
    main()
