"""The demo's sender, a process of its own: posts an event to the relay for each line on its standard input.

First line: `{"url", "slot_id", "slot_token"}`. Then `{"post": EVENT_ID}` each, answered by `{"posted": EVENT_ID,
"sent": seconds}`, the moment (CLOCK_MONOTONIC) just before its request was written. It ends with its standard input.
"""

from __future__ import annotations

import json
import sys
import time

from wire_rawsse.testing import RelayClient, Slot


def main() -> None:
    given = json.loads(sys.stdin.readline())
    slot = Slot(given["slot_id"], given["slot_token"])
    with RelayClient(given["url"]) as relay:
        relay.request("GET", "/healthz")  # So that the connection is there before the first event is.
        for line in sys.stdin:
            event_id = json.loads(line)["post"]
            event = {"event_id": event_id, "kind": 1, "body": {"text": "hello from the sender"}}
            sent = time.monotonic()
            relay.post(slot, event)
            print(json.dumps({"posted": event_id, "sent": sent}), flush=True)


if __name__ == "__main__":
    main()
