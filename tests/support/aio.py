"""Event loops to run a test on, and the run itself, which leaves nothing pending."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable, Coroutine
from typing import Any, Final, TypeAlias, TypeVar

import pytest

from tests.hosts.support import PATIENCE

T = TypeVar("T")


class WithoutReaders(asyncio.SelectorEventLoop):
    """Like Windows' Proactor event loop, it cannot watch a descriptor for its user."""

    def add_reader(self, *_: Any) -> None:  # type: ignore[override]
        raise NotImplementedError

    def remove_reader(self, *_: Any) -> bool:
        raise NotImplementedError


def _uvloop() -> asyncio.AbstractEventLoop:
    import uvloop

    made: asyncio.AbstractEventLoop = uvloop.new_event_loop()
    return made


def _eager() -> asyncio.AbstractEventLoop:
    made = asyncio.SelectorEventLoop()
    if sys.version_info >= (3, 12):
        made.set_task_factory(asyncio.eager_task_factory)
    return made


MakeLoop: TypeAlias = "Callable[[], asyncio.AbstractEventLoop]"

LOOPS: Final[dict[str, MakeLoop]] = {
    "asyncio": asyncio.SelectorEventLoop,
    "uvloop": _uvloop,
    "thread": WithoutReaders,
    **({"eager": _eager} if sys.version_info >= (3, 12) else {}),
}


@pytest.fixture(scope="session")
def libuv() -> None:
    """libuv opens a pipe with its first event loop, and keeps it for the life of the process."""
    _uvloop().close()


@pytest.fixture(params=LOOPS)
def make(request: pytest.FixtureRequest, libuv: None) -> MakeLoop:
    """How to make an event loop, of each kind in turn."""
    return LOOPS[request.param]


def run(make: MakeLoop, main: Coroutine[Any, Any, T], *, debug: bool = True) -> T:
    """`asyncio.run` with such an event loop. No task may be left, and nothing may be reported to its handler."""
    loop = make()
    reported: list[dict[str, Any]] = []
    loop.set_exception_handler(lambda _, context: reported.append(context))
    loop.set_debug(debug)
    try:
        result = loop.run_until_complete(main)
        assert not asyncio.all_tasks(loop)
    finally:
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()
    assert not reported, reported
    return result


async def until(true: Callable[[], object]) -> None:
    """Let the event loop run until something is true."""
    end = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < end
        await asyncio.sleep(0.002)
