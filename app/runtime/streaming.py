"""Turns work that reports to a callback into a generator: it runs in a thread, and closing the generator cancels it."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Generator
from typing import Generic, TypeVar

JOIN_SECONDS = 2  # work that still waits for its turn ends later, at its first report
POLL_SECONDS = 0.1  # how often it is asked whether the work is still wanted
Event = TypeVar("Event")
Result = TypeVar("Result")


class Cancelled(Exception):
    """Raised in the work when the generator was closed, and in the generator when the work is no longer wanted."""


class Done(Generic[Result]):
    """The last item of a stream, which holds the result of the work."""

    def __init__(self, value: Result) -> None:
        self.value = value


def stream(
    work: Callable[[Callable[[Event], None]], Result], is_wanted: Callable[[], bool] = lambda: True
) -> Generator[Event | Done[Result], None, None]:
    """Run `work(callback)` in a thread and yield what it reports, then Done(result).

    A listener that is slow gets only the newest report. An exception in the work is raised here. Once the generator is
    closed, or the work is no longer wanted, the next report raises Cancelled in the work.

    Parameters:
        work: takes a callback for its reports and returns its result.
        is_wanted: asked between reports; where it says no, Cancelled is raised here too, without waiting for the work.
    """
    events: queue.Queue = queue.Queue()
    is_over = threading.Event()

    def callback(event: Event) -> None:
        if is_over.is_set():
            raise Cancelled
        events.put(event)

    def run() -> None:
        try:
            events.put(Done(work(callback)))
        except BaseException as error:  # handed to the listener below
            events.put(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        while True:
            item = _get_newest(events)
            if not is_wanted():
                raise Cancelled
            if item is None:
                continue
            if isinstance(item, BaseException):
                raise item
            yield item
            if isinstance(item, Done):
                return
    finally:
        is_over.set()
        if is_wanted():
            thread.join(timeout=JOIN_SECONDS)


def _get_newest(events: queue.Queue) -> object | None:
    """Return the newest event, or the first one that ends the stream; None if none comes within `POLL_SECONDS`."""
    item = None
    try:
        item = events.get(timeout=POLL_SECONDS)
        while not isinstance(item, Done | BaseException):
            item = events.get_nowait()
    except queue.Empty:
        pass
    return item
