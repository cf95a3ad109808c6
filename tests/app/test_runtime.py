"""What the server needs around the page: storage that forgets, streams that can be cancelled, the model's thread."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial

import pytest

from app.runtime.model_thread import MODEL, ModelThread
from app.runtime.runs import Runs
from app.runtime.storage import Storage
from app.runtime.streaming import Cancelled, Done, stream


def test_the_storage_forgets_all_but_the_examples(monkeypatch):
    monkeypatch.setenv("GRADIO_TEMP_DIR", "elsewhere")
    storage = Storage(keep_seconds=100)
    try:
        assert os.environ["GRADIO_TEMP_DIR"] == str(storage.folder)
        example = storage.folder / "a" / "example.png"
        example.parent.mkdir()
        example.write_bytes(b"x")
        storage.keep_current_files()
        old, new = storage.folder / "a" / "old.png", storage.folder / "a" / "new.png"
        for path in (old, new):
            path.write_bytes(b"x")
        for path in (example, old):
            os.utime(path, (time.time() - 200,) * 2)
        assert storage.sweep() == 1
        assert example.exists() and new.exists() and not old.exists()
        process = subprocess.Popen([sys.executable, "-c", ""])
        process.wait()
        orphan, others = (
            storage.folder.parent / f"diff3m-explorer-{number}-x" for number in (process.pid, os.getppid())
        )
        for folder in (orphan, others):
            folder.mkdir()
        storage.sweep_orphans()
        assert not orphan.exists() and others.exists(), "only the folder of the process that ended is removed"
        others.rmdir()
    finally:
        storage.remove()
    assert not storage.folder.exists()


def test_a_stream_ends_raises_and_cancels():
    def count(callback):
        for number in range(3):
            callback(number)
            time.sleep(0.02)
        return "end"

    items = list(stream(count))
    assert isinstance(items[-1], Done) and items[-1].value == "end" and items[:-1] == [0, 1, 2]

    def fail(callback):
        callback(0)
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        list(stream(fail))

    cancellations = []

    def endless(callback):
        try:
            while True:
                callback(0)
                time.sleep(0.01)
        except Cancelled:
            cancellations.append(True)
            raise

    running = stream(endless)
    next(running)
    running.close()
    assert cancellations == [True]


def test_work_that_is_no_longer_wanted_ends_at_once_and_is_cancelled():
    demand, cancellation, release = threading.Event(), threading.Event(), threading.Event()
    demand.set()

    def work(callback):
        callback(1)
        release.wait(60)
        try:
            callback(2)
        except Cancelled:
            cancellation.set()
            raise

    running = stream(work, demand.is_set)
    assert next(running) == 1
    demand.clear()
    with pytest.raises(Cancelled):  # while the work still waits
        next(running)
    release.set()
    assert cancellation.wait(60)


def test_a_run_is_wanted_until_it_is_stopped_or_another_begins():
    runs = Runs()
    first = runs.start()
    assert first.is_current and first.is_wanted
    second = runs.start()
    assert not first.is_current and not first.is_stopped and second.is_wanted
    runs.stop()
    assert second.is_stopped and second.is_current and not second.is_wanted and not first.is_stopped
    third = runs.start()
    assert third.is_wanted and second.is_stopped and not second.is_current
    runs.end()
    assert not third.is_wanted and not third.is_stopped


def test_jobs_run_in_one_thread_in_order_and_a_long_job_lets_others_go_between():
    model, order = ModelThread(), []

    def add(name: str, part: int) -> int:
        order.append((name, part, threading.current_thread()))
        time.sleep(0.15)
        return part

    def long_job():
        for part in range(4):
            model.run(partial(add, "long", part))

    job = threading.Thread(target=long_job)
    job.start()
    time.sleep(0.05)
    assert model.run(partial(add, "short", 7)) == 7
    job.join()
    assert [name for name, *_ in order][1] == "short", "who comes during the first part goes before the second"
    assert len({thread for *_, thread in order}) == 1

    def fail() -> None:
        raise ValueError("x")

    with pytest.raises(ValueError, match="x"):
        model.run(fail)
    assert model.run(lambda: 1) == 1


def test_a_forked_process_has_a_model_thread_of_its_own():
    MODEL.run(lambda: None)
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("fork")) as pool:
        assert pool.submit(_run_on_the_model).result(timeout=60) == 3


def _run_on_the_model() -> int:
    return MODEL.run(lambda: 3)
