"""Running one coroutine to its end on the shipped inline host, with real sockets."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from tests.support.server import PATIENCE
from wire_rawsse.hosts.loop import Loop
from wire_rawsse.services import HostServices
from wire_rawsse.waits import WAKE, Coroutine

T = TypeVar("T")


def drive(start: Callable[[HostServices], Coroutine[T]]) -> T:
    """The coroutine's value, or what it raises."""
    results: list[T] = []
    errors: list[BaseException] = []

    def whole(services: HostServices) -> Coroutine[None]:
        try:
            results.append((yield from start(services)))
        except Exception as error:
            errors.append(error)
        yield WAKE

    loop = Loop()
    loop.add(whole)
    try:
        until = time.monotonic() + PATIENCE
        while not loop.run(max(0.0, until - time.monotonic())):
            assert time.monotonic() < until, "the coroutine does not end"
    finally:
        loop.close()
    if errors:
        raise errors[0]
    return results[0]
