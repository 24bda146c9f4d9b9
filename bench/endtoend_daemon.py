"""A daemon at its smallest, for `endtoend`: it sleeps, pulls what is new, and notes when it had it.

    python -m bench.endtoend_daemon inline|thread|poll RELAY SECONDS [CA file]

`inline` and `thread` sleep on the slot's event stream with a timeout of SECONDS; `poll` has no stream and looks every
SECONDS. The slot comes as a line of JSON on standard input, since an argument could be read by others. Standard output:
`connected` after the first wake, and when standard input ends one JSON line, `{"had": {event_id: [woken_ns, had_ns]}}`,
by the monotonic clock.
"""

from __future__ import annotations

import json
import ssl
import sys
import threading
import time
from collections.abc import Callable

from bench.sender import say
from wire_rawsse import StreamSubscriber, WakeChannel, spawn_stream_subscriber
from wire_rawsse.testing import RelayClient, Slot


def sleeper(way: str, relay: str, slot: Slot, seconds: float, ca: str | None) -> Callable[[], object]:
    """The daemon calls this to sleep until it should look."""
    if way == "poll":
        return lambda: time.sleep(seconds)
    subscriber = StreamSubscriber(f"{relay}{slot.path}/stream", bearer_token=slot.slot_token, tls=ca)
    if way == "inline":
        return lambda: subscriber.wait(seconds)
    wake = WakeChannel()
    spawn_stream_subscriber(wake, subscriber)
    return lambda: wake.wait(seconds)


def main() -> None:
    way, relay, seconds = sys.argv[1], sys.argv[2], float(sys.argv[3])
    ca = sys.argv[4] if len(sys.argv) > 4 else None
    slot = Slot(**json.loads(sys.stdin.readline()))
    sleep = sleeper(way, relay, slot, seconds, ca)
    had: dict[str, tuple[int, int]] = {}
    over = threading.Event()

    def report() -> None:
        sys.stdin.read()
        over.set()

    threading.Thread(target=report, daemon=True).start()
    since: str | None = None
    connected = False
    with RelayClient(relay, tls=ssl.create_default_context(cafile=ca) if ca else None) as client:
        while not over.is_set():
            if way == "poll" and not connected:
                connected = True
                say("connected")
            wake = sleep()
            woken = time.monotonic_ns()
            events = client.pull(slot, since)
            now = time.monotonic_ns()
            if wake and not connected:
                connected = True
                say("connected")
            for event in events:
                since = event["event_id"]
                had[since] = woken, now
    say(json.dumps({"had": had}))


if __name__ == "__main__":
    main()
