"""The demo's daemon, a process of its own: sleeps in `StreamSubscriber.wait`, and pulls when it is woken.

It finds its endpoint as every wire daemon does, in relay.json (`WIRE_HOME` is the demo's own folder). First line on its
standard input: `{"read", "initial"}`, the scaled clocks in seconds. Its reports, one JSON object a line:
`{"woke": seconds, "pulled": [EVENT_ID, …], "reconnects": N}` after each wake, the moment (CLOCK_MONOTONIC) taken first
of all; `{"lost": seconds, "why": text}` when it gives a stream up. It ends with its standard input.
"""

from __future__ import annotations

import json
import os
import threading
import time

from wire_rawsse import Backoff, StreamSubscriber, Timeouts
from wire_rawsse.cli import logs
from wire_rawsse.testing import RelayClient, Slot
from wire_rawsse.wire import paths
from wire_rawsse.wire.relay_json import read_endpoints


def report(**facts: object) -> None:
    print(json.dumps(facts), flush=True)


def close_with_parent(subscriber: StreamSubscriber) -> None:
    while os.read(0, 4096):
        pass
    subscriber.close()


def main() -> None:
    with open(0, "rb", buffering=0, closefd=False) as first:  # Unbuffered: the rest is for the thread.
        given = json.loads(first.readline())
    endpoint = read_endpoints(paths.relay_json()).endpoints[0]
    slot = Slot(endpoint.slot_id, endpoint.slot_token)
    subscriber = StreamSubscriber.from_wire(
        timeouts=Timeouts(read=given["read"]), backoff=Backoff(initial=given["initial"], healthy_after=1)
    )
    threading.Thread(target=close_with_parent, args=(subscriber,), daemon=True).start()
    logs.route(
        lambda text: None if "connected again after" in text else report(lost=time.monotonic(), why=text),
        failures_only=True,
    )
    last = None
    with RelayClient(endpoint.relay_url) as relay:
        while subscriber.wait():
            woke = time.monotonic()
            pulled = [event["event_id"] for event in relay.pull(slot, since=last)]
            last = pulled[-1] if pulled else last
            report(woke=woke, pulled=pulled, reconnects=subscriber.state.reconnect_count)


if __name__ == "__main__":
    main()
