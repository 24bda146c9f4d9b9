"""Short ways to hold a stream in a test, with clocks that suit one."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable
from typing import Any, TypeVar

from tests.support.server import PATIENCE
from wire_rawsse import Backoff, Closed, Comment, Event, EventSource, Opened, StreamSubscriber, Timeouts

Item = Opened | Event | Comment | Closed
Wanted = TypeVar("Wanted", Opened, Event, Comment, Closed)

LENIENT = Timeouts(connect=PATIENCE, response=PATIENCE, read=PATIENCE, min_rate=0)
"""For tests that no clock should end."""
SOON = Backoff(initial=0.02, maximum=0.04, healthy_after=0)
"""Every stream is healthy, and the next connection is at hand."""

LONG = Backoff(initial=40, maximum=60, healthy_after=0.05)
"""Delays that nobody waits for: tests read them from `Closed`."""


def source(url: str | Callable[[], str], **settings: Any) -> EventSource:
    """An `EventSource` that no clock ends, unless the test says so."""
    return EventSource(url, **{"timeouts": LENIENT, "backoff": SOON, **settings})


def subscriber(url: str | Callable[[], str], **settings: Any) -> StreamSubscriber:
    return StreamSubscriber(url, **{"timeouts": LENIENT, "backoff": SOON, **settings})


def event(listening: EventSource) -> Event:
    """The next event, which must come."""
    found = listening.next(timeout=PATIENCE)
    assert found is not None, "no event came"
    return found


def first(listening: EventSource, kind: type[Wanted], where: Callable[[Wanted], bool] = lambda _: True) -> Wanted:
    """The first item of a kind, and with a property; items before it are dropped."""
    for item in listening.items():
        if isinstance(item, kind) and where(item):
            return item
    raise AssertionError(f"the stream ended without {kind.__name__}")


def end(url: str, **settings: Any) -> Closed:
    """How the first connection to `url` ends."""
    with source(url, **settings) as listening:
        for item in listening.items():
            if isinstance(item, Closed):
                return item
    raise AssertionError("the stream ended without Closed")


def run_until(listening: EventSource, condition: Callable[[], bool]) -> None:
    """Keep a source running, which it only is while it is asked, until something has come true."""
    until = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < until, "it has not come true"
        listening.next(0.01)


def wakes(listening: StreamSubscriber, seconds: float) -> int:
    """How many wakes come within so many seconds."""
    until = time.monotonic() + seconds
    count = 0
    while (left := until - time.monotonic()) > 0:
        count += listening.wait(left)
    return count


def told(error: BaseException) -> str:
    """All that a program could print of an error: text, repr, and the traceback with every cause.

    But for the lines of source in it, which are the test's own, and name whatever it looks for.
    """
    whole = traceback.TracebackException.from_exception(error)
    link: traceback.TracebackException | None = whole
    while link is not None:
        link.stack.clear()
        link = link.__cause__ or link.__context__
    return "\n".join([str(error), repr(error), *whole.format()])
