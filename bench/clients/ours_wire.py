"""Ours: `from_wire`, which holds every endpoint of a relay.json in one thread, or in none, with one epoll."""

import json
import os
import tempfile
from pathlib import Path
from time import monotonic_ns
from urllib.parse import urlsplit

from bench.clients._probe import Probe, run


def write_relay_json(home: Path, urls: list[str]) -> None:
    """wire's own file, with an endpoint for each stream."""
    endpoints = []
    for url in urls:
        parts = urlsplit(url)
        slot = parts.path.split("/")[-2]
        relay = f"{parts.scheme}://{parts.netloc}"
        endpoints.append({"relay_url": relay, "slot_id": slot, "slot_token": "token", "scope": "federation"})
    folder = home / "config" / "wire"
    folder.mkdir(parents=True)
    whole = {"self": {**endpoints[0], "endpoints": endpoints}, "peers": {}}
    (folder / "relay.json").write_text(json.dumps(whole))


def body(probe: Probe) -> None:
    from wire_rawsse import StreamSubscriber

    with tempfile.TemporaryDirectory() as folder:
        os.environ["WIRE_HOME"] = folder
        write_relay_json(Path(folder), probe.urls)
        with StreamSubscriber.from_wire(tls=probe.ca) as subscriber:
            while True:
                if subscriber.wait(timeout=5.0):
                    probe.woken(monotonic_ns())


if __name__ == "__main__":
    run("wake", body)
