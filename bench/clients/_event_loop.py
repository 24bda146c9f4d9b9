"""Runs what is written for asyncio in the main thread, on asyncio's own event loop or on uvloop. Knows no HTTP."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Awaitable, Callable

from bench.clients._probe import Probe, Stop


def run(probe: Probe, one: Callable[[str], Awaitable[object]], *, use_uvloop: bool = False) -> None:
    """Run `one(url)` for each stream, until SIGTERM, which cancels them. Raises `Stop`."""
    main = _until_stopped(probe, one)
    if not use_uvloop:
        asyncio.run(main)
        return
    import uvloop

    if sys.version_info >= (3, 11):
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(main)
    else:
        uvloop.install()
        asyncio.run(main)


async def _until_stopped(probe: Probe, one: Callable[[str], Awaitable[object]]) -> None:
    task = asyncio.current_task()
    assert task is not None
    # uvloop would swallow what a signal handler raises.
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    try:
        await asyncio.gather(*map(one, probe.urls))
    except asyncio.CancelledError:
        raise Stop from None
