"""A function that reports to a callback, as a generator: work runs in a thread, events come out, closing cancels it."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Generator
from typing import Generic, TypeVar

JOIN_SECONDS = 2  # work that still waits for its turn ends later, at its first report
Event = TypeVar("Event")
Result = TypeVar("Result")


class Cancelled(Exception):
    """Raised inside the work when the listener has gone."""


class Done(Generic[Result]):
    """The last item of a stream: the work's result."""

    def __init__(self, value: Result) -> None:
        self.value = value


def stream(work: Callable[[Callable[[Event], None]], Result]) -> Generator[Event | Done[Result], None, None]:
    """Yield what `work(callback)` reports, skipping to the newest when the listener is slow, then Done(result).

    An exception in the work is raised here. Closing the generator makes the next report raise Cancelled in the work.
    """
    events: queue.Queue = queue.Queue()
    gone = threading.Event()

    def callback(event: Event) -> None:
        if gone.is_set():
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
            item = events.get()
            while not isinstance(item, Done | BaseException) and not events.empty():
                item = events.get()
            if isinstance(item, BaseException):
                raise item
            yield item
            if isinstance(item, Done):
                return
    finally:
        gone.set()
        thread.join(timeout=JOIN_SECONDS)
