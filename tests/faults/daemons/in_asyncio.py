"""A daemon that lives in asyncio: it waits on an `AsyncStreamSubscriber` and pulls, or iterates over an
`AsyncEventSource`. The pull blocks, so it is in a thread, and the event loop attends the stream meanwhile.
"""

from __future__ import annotations

import asyncio
import json
import sys
from concurrent.futures import ThreadPoolExecutor

from tests.faults.daemons.common import AGAIN_SECONDS, Given, Orders, Pull, clock_of, observe, say, sleep_under_faketime
from wire_rawsse import Closed, Event, Opened
from wire_rawsse.aio import AsyncEventSource, AsyncStreamSubscriber
from wire_rawsse.errors import ClosedError


async def wake_and_pull(given: Given, orders: Orders, pull: Pull) -> None:
    """One round, until it is stopped."""
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(1))  # Or it may start another for each pull.
    subscriber = AsyncStreamSubscriber.from_wire(**given.settings)
    orders.on_stop(subscriber.close)
    try:
        while True:
            if await subscriber.wait(AGAIN_SECONDS if pull.owed else None):
                say("wake")
                pull.owed = True
            if pull.owed:
                await asyncio.to_thread(pull)
                await asyncio.sleep(given.slow)
                say("waits")
    except ClosedError:
        pass
    say("over")


async def events(given: Given, orders: Orders, last: str) -> str:
    """One round, until it is stopped; the id of the last event."""
    source = AsyncEventSource(given.url, bearer_token=given.slot.slot_token, last_event_id=last, **given.settings)
    orders.on_stop(source.close)
    handed = 0
    async for item in source.items():
        if isinstance(item, Event):
            say("event", json.loads(item.data)["event_id"])
            handed += 1
            if given.slow and handed % 1000 == 0:
                await asyncio.sleep(given.slow)
        elif isinstance(item, Opened):
            say("opened")
        elif isinstance(item, Closed):
            say("closed", clock_of(item.error))
    source.close()
    say("over")
    return source.last_event_id


def main(consumer: str) -> None:
    given = Given()
    sleep_under_faketime()
    observe()
    pull, orders, last = Pull(given), Orders(), ""
    while orders.began():
        if consumer == "subscriber":
            asyncio.run(wake_and_pull(given, orders, pull))
        else:
            last = asyncio.run(events(given, orders, last))


if __name__ == "__main__":
    main(sys.argv[1])
