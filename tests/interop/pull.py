"""The smallest program for a daemon to run on a wake: fetch what is new, and note the id of each event in a file.

`python -m tests.interop.pull INBOX`, with `WIRE_HOME` set. The last line of the file is where the next run goes on.
"""

from __future__ import annotations

import sys
from pathlib import Path

from wire_rawsse.testing import RelayClient, Slot
from wire_rawsse.wire import paths
from wire_rawsse.wire.relay_json import read_endpoints


def pull(inbox: Path) -> None:
    known = [None, *(inbox.read_text().split() if inbox.exists() else ())]
    [endpoint] = read_endpoints(paths.relay_json()).endpoints
    with RelayClient(endpoint.relay_url) as client:
        events = client.pull(Slot(endpoint.slot_id, endpoint.slot_token), known[-1])
    with inbox.open("a") as file:
        file.writelines(f"{event['event_id']}\n" for event in events)


if __name__ == "__main__":
    pull(Path(sys.argv[1]))
