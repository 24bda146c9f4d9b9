"""A daemon that iterates over an `EventSource` and says what it is handed, the gaps included."""

from __future__ import annotations

import json
import time

from tests.faults.daemons.common import Given, Orders, clock_of, observe, say, sleep_under_faketime
from wire_rawsse import Closed, Event, EventSource, Opened


def one_round(given: Given, orders: Orders, last: str) -> str:
    """Until it is stopped; the id of the last event."""
    source = EventSource(given.url, bearer_token=given.slot.slot_token, last_event_id=last, **given.settings)
    orders.on_stop(source.close)
    handed = 0
    for item in source.items():
        if isinstance(item, Event):
            say("event", json.loads(item.data)["event_id"])
            handed += 1
            if given.slow and handed % 1000 == 0:
                time.sleep(given.slow)
        elif isinstance(item, Opened):
            say("opened")
        elif isinstance(item, Closed):
            say("closed", clock_of(item.error))
    source.close()
    say("over")
    return source.last_event_id


def main() -> None:
    given = Given()
    sleep_under_faketime()
    observe()
    orders = Orders()
    last = ""
    while orders.began():
        last = one_round(given, orders, last)


if __name__ == "__main__":
    main()
