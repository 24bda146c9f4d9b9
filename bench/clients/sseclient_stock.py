"""Peer: sseclient-py over requests, as its README shows it, in a thread."""

from collections.abc import Iterator

import requests
import sseclient

from bench.clients._handover import in_thread
from bench.clients._probe import Probe, run


def body(probe: Probe) -> None:
    def events() -> Iterator[object]:
        headers = {"Accept": "text/event-stream"}
        with requests.get(probe.url, stream=True, headers=headers, verify=probe.ca or True) as response:
            yield from sseclient.SSEClient(iter(response)).events()

    in_thread(probe, events)


if __name__ == "__main__":
    run("event", body)
